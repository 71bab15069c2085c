"""A SLURM cluster on this machine's loopback, for as long as a test needs it.

It needs no root, no systemd and no cgroups. Its daemons are children of this process, so each
is stopped by its process id. By hand: `python tests/slurm/cluster.py`, until Ctrl-C.
"""

from __future__ import annotations

import getpass
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HOST = socket.gethostname().partition(".")[0]
ACCOUNT = "spotmill"
NODES = {"c1": "cpu", "c2": "cpu", "g1": "gpu"}  # node: its partition

SLURM_CONF = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser={user}
SlurmdUser={user}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={munge}
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
TaskPlugin=task/none
ProctrackType=proctrack/linuxproc
ReturnToService=2
KillWait=2
# The profile asks squeue; jobs that ended must stay visible to it.
MinJobAge=600
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=0,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# Without cgroups: memory is looked at every second, and a job over its limit is killed.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={munge}
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
# The node lines count, not what this machine has.
SlurmdParameters=config_overrides
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes=c1,c2 Default=YES MaxTime=1-00:00:00 DefaultTime=5 State=UP
PartitionName=gpu Nodes=g1 MaxTime=1-00:00:00 DefaultTime=5 State=UP
"""

NODE = (
    "NodeName={node} NodeAddr=127.0.0.1 NodeHostname={host} Port={port} CPUs=8 Boards=1 "
    "SocketsPerBoard=1 CoresPerSocket=8 ThreadsPerCore=1 RealMemory=24000 State=UNKNOWN{gres}"
)

DBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={munge}
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={dbd}
CommunicationParameters=NoInAddrAny
SlurmUser={user}
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql}
StorageUser=slurm
StoragePass={password}
StorageLoc=accounts
"""


def wait_for(what: str, is_so: Callable[[], object], seconds: float = 300) -> None:
    """Wait until something is so; raise TimeoutError with its words when it never is."""
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    """Return neighbouring ports of the loopback on which nothing listens."""
    while True:
        first = random.randrange(20000, 32000)
        try:
            for port in range(first, first + count):
                with socket.socket() as door:
                    door.bind(("127.0.0.1", port))
        except OSError:
            continue
        return list(range(first, first + count))


class Cluster:
    """Two nodes for ordinary jobs, one with two counted GPUs that are no devices."""

    def __init__(self) -> None:
        # munged wants a folder whose every parent others may enter.
        self.folder = Path(tempfile.mkdtemp(prefix="spotmill-slurm-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        # Snakemake's job step drops SLURM_CONF before it calls srun; this one puts it back.
        self.bin = self.folder / "bin"
        self.environment = os.environ | {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{self.bin}:{os.environ['PATH']}:/usr/sbin",
        }

    def start(self) -> None:
        """Start every daemon and wait until all nodes are idle."""
        self._configure()
        self._start_accounting()
        self.start_controller()
        for node in NODES:
            (self.folder / "spool" / node).mkdir(parents=True)
            self._daemon(f"slurmd.{node}", "slurmd", "-D", "-N", node)
        wait_for("all nodes idle", lambda: self.run("sinfo", "-hNt", "idle").count("\n") == 3)

    def start_controller(self) -> None:
        """Start slurmctld, also again after it was killed."""
        self._daemon("slurmctld", "slurmctld", "-D")
        wait_for("slurmctld answers", lambda: self.says("scontrol", "ping"))

    def kill_controller(self) -> None:
        """End slurmctld without a chance to tidy up."""
        daemon = self.daemons.pop("slurmctld")
        daemon.kill()
        daemon.wait()

    def remember(self, job: str) -> None:
        """Wait until slurmctld has written down what it knows of a job.

        It writes some seconds after a change. Killed before, it takes a job that runs for one
        that waits, starts it a second time and drains the node on which it finds it twice.
        """
        asked = time.time()
        self.run("scontrol", "update", f"JobId={job}", "AdminComment=remembered")
        state = self.folder / "state/job_state"
        wait_for("slurmctld writes its state", lambda: state.stat().st_mtime > asked, 60)

    def stop(self) -> None:
        """Cancel all jobs, stop every daemon, end what jobs left behind, remove the folder."""
        try:
            if "slurmctld" in self.daemons:
                self.cancel_all()
        finally:
            for daemon in reversed(self.daemons.values()):
                daemon.terminate()
                try:
                    daemon.wait(20)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()
            for process in self.left_behind():
                os.kill(process, signal.SIGKILL)
            shutil.rmtree(self.folder)

    def cancel_all(self) -> None:
        """Cancel every job and wait until none is left."""
        self.run("scancel", "--user", getpass.getuser())
        wait_for("the queue is empty", lambda: not self.run("squeue", "-h"), 60)

    def left_behind(self) -> list[int]:
        """Return the processes of this cluster's jobs: they carry its SLURM_CONF."""
        mark = f"SLURM_CONF={self.folder}/slurm.conf".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                said = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if mark in said and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        return found

    def run(self, *words: str) -> str:
        """Return what a command of SLURM prints; raise where it fails."""
        return subprocess.run(
            words, env=self.environment, check=True, capture_output=True, text=True
        ).stdout

    def says(self, *words: str) -> bool:
        """Return whether a command of SLURM succeeds."""
        done = subprocess.run(words, env=self.environment, capture_output=True)
        return done.returncode == 0

    def jobs(self) -> dict[str, str]:
        """Return the jobs that wait or run: rule and wildcards to the job's number."""
        lines = self.run("squeue", "-h", "-o", "%i|%k", "-t", "PD,R,CF").splitlines()
        return {name: number for number, name in (line.split("|") for line in lines)}

    def _configure(self) -> None:
        self.munge = self.folder / "munge.socket"
        self.ports = free_ports(3 + len(NODES))
        self.password = secrets.token_hex(8)
        (self.folder / "state").mkdir()
        self.bin.mkdir()
        srun = self.bin / "srun"
        srun.write_text(
            f"#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf "
            f'exec {shutil.which("srun", path="/usr/local/bin:/usr/bin:/bin")} "$@"\n'
        )
        srun.chmod(0o755)
        # A GPU without a file counts as none; an empty file is enough.
        for gpu in ("gpu0", "gpu1"):
            (self.folder / gpu).touch()
        (self.folder / "gres.conf").write_text(
            f"NodeName=g1 Name=gpu File={self.folder}/gpu[0-1]\n"
        )
        ctld, dbd, sql = self.ports[:3]
        nodes = "\n".join(
            NODE.format(node=node, host=HOST, port=port, gres=" Gres=gpu:2" if node == "g1" else "")
            for node, port in zip(NODES, self.ports[3:], strict=True)
        )
        values = {
            "host": HOST,
            "user": getpass.getuser(),
            "folder": self.folder,
            "munge": self.munge,
            "ctld": ctld,
            "dbd": dbd,
            "sql": sql,
            "nodes": nodes,
            "password": self.password,
        }
        (self.folder / "slurm.conf").write_text(SLURM_CONF.format(**values))
        secret = self.folder / "slurmdbd.conf"
        secret.touch(0o600)
        secret.write_text(DBD_CONF.format(**values))

    def _start_accounting(self) -> None:
        folder, user = self.folder, getpass.getuser()
        key = folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(128))
        self._daemon(
            "munged",
            *("munged", "--foreground", f"--key-file={key}", f"--socket={self.munge}"),
            *(f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munge.seed"),
            f"--log-file={folder}/munged.own.log",
        )
        wait_for("munged answers", self.munge.exists)
        data = folder / "sql"
        self.run(
            *("mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}"),
            *("--skip-test-db", "--auth-root-authentication-method=normal"),
        )
        self._daemon(
            "mariadbd",
            *("mariadbd", "--no-defaults", f"--datadir={data}", f"--user={user}"),
            *(f"--socket={folder}/sql.socket", "--bind-address=127.0.0.1"),
            *(f"--port={self.ports[2]}", f"--pid-file={folder}/sql.pid"),
            *("--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0"),
        )
        client = ("mariadb", "--no-defaults", f"--socket={folder}/sql.socket", "-u", "root", "-e")
        wait_for("mariadbd answers", lambda: self.says(*client, "select 1"))
        for place in ("127.0.0.1", "localhost"):
            self.run(
                *client,
                f"create or replace user slurm@'{place}' identified by '{self.password}';"
                f"grant all on accounts.* to slurm@'{place}'",
            )
        self._daemon("slurmdbd", "slurmdbd", "-D")
        sacctmgr = ("sacctmgr", "--immediate")
        wait_for("slurmdbd answers", lambda: self.says(*sacctmgr, "show", "cluster"))
        self.run(*sacctmgr, "add", "cluster", "loopback")
        self.run(*sacctmgr, "add", "account", ACCOUNT, "Description=test", "Organization=test")
        self.run(*sacctmgr, "add", "user", user, f"Account={ACCOUNT}")

    def _daemon(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(
                words, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )


if __name__ == "__main__":
    cluster = Cluster()
    try:
        cluster.start()
        print(f"export SLURM_CONF={cluster.folder}/slurm.conf PATH={cluster.bin}:$PATH")
        signal.pause()
    except KeyboardInterrupt:
        print("stopping")
    finally:
        cluster.stop()
