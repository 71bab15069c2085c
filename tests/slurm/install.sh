#!/usr/bin/env bash
# Put Debian's SLURM, munge and MariaDB in place for `make test-slurm`, starting none of them.
# Exit 0: all is there. Exit 75: it cannot be had here; the last line says why.
set -euo pipefail

cannot() {
    echo "make test-slurm: SKIPPED: $*"
    exit 75
}

missing() {
    for program in munged slurmctld slurmd slurmdbd sbatch mariadbd mariadb-install-db; do
        PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null || echo "$program"
    done
}

if [ -n "$(missing)" ]; then
    [ "$(id -u)" = 0 ] || cannot "not here: $(missing | xargs); root could install them"
    command -v apt-get >/dev/null || cannot "not here: $(missing | xargs); and no apt-get"
    # Debian's packages start their daemons unless this file says no.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    export DEBIAN_FRONTEND=noninteractive
    packages=(slurmctld slurmd slurm-client slurmdbd munge mariadb-server)
    apt-get install --yes --quiet --no-install-recommends "${packages[@]}" >/dev/null 2>&1 ||
        { apt-get update --quiet >/dev/null && apt-get install --yes --quiet \
            --no-install-recommends "${packages[@]}" >/dev/null; } ||
        cannot "apt-get could not install ${packages[*]}"
    [ -z "$(missing)" ] || cannot "still not here: $(missing | xargs)"
fi

# SLURM's daemons find each other by the name of this machine, which must be the loopback.
name=$(hostname -s)
if ! getent hosts "$name" | grep -q '^127\.'; then
    [ "$(id -u)" = 0 ] || cannot "$name is not 127.0.0.1 in /etc/hosts; root could put it there"
    # In place: in a container the file is mounted and cannot be replaced.
    hosts=$(cat /etc/hosts)
    printf '127.0.0.1 %s\n%s\n' "$name" "$hosts" >/etc/hosts
fi
