"""Entries of the Protein Data Bank: fetched over HTTPS, checked, kept in a cache."""

import http.client
import ipaddress
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from spotmill.errors import SpotmillError
from spotmill.formats.atomic import atomic
from spotmill.formats.structures import read_entry_ids, read_structure

PDB_URL = "https://files.rcsb.org/download"
ENTRY = re.compile(r"pdb:([1-9][a-z0-9]{3}|pdb_[a-z0-9]{8})", re.IGNORECASE)
LARGEST_ENTRY = 512 * 2**20  # bytes
SILENCE = 30.0  # s without a byte before giving up
PATIENCE = 600.0  # s for the whole entry
CHUNK = 2**16  # bytes


def is_entry(name: str) -> bool:
    """Say whether a structure is named as an entry of the PDB (``pdb:...``)."""
    return name.lower().startswith("pdb:")


def fetch(entry: str, cache_folder: str | Path, base_url: str = PDB_URL) -> Path:
    """Return the mmCIF file of an entry, from the cache or else from the PDB.

    Parameters
    ----------
    entry
        ``pdb:1IC6`` or, extended, ``pdb:pdb_00001ic6``.
    base_url
        HTTPS only, but for a server on this machine.

    Raises
    ------
    SpotmillError
        When the name is no entry's, the server cannot be reached or refuses, or what it
        sends is incomplete, too large, no structure, or another entry.
    """
    identifier = _identifier(entry)
    final = Path(cache_folder) / f"{identifier}.cif"
    if final.is_file() and _is_whole(final, identifier):
        return final
    url = f"{base_url.rstrip('/')}/{identifier}.cif"
    _check_url(url)
    with atomic(final) as temporary:
        # The format is told by the name's end, which a temporary name does not keep.
        download = temporary.with_name(f"{temporary.name}.cif")
        try:
            _download(url, download)
            _check(download, identifier, url)
            download.replace(temporary)
        finally:
            download.unlink(missing_ok=True)
    return final


def _identifier(entry: str) -> str:
    match = ENTRY.fullmatch(entry)
    if not match:
        raise SpotmillError(
            f"{entry}: is not an entry of the PDB; write it as pdb:1IC6 or pdb:pdb_00001ic6"
        )
    return _canonical(match[1])


def _canonical(identifier: str) -> str:
    """Return the short identifier in capitals where there is one, else the extended one."""
    lower = identifier.lower()
    if lower.startswith("pdb_0000"):
        return lower.removeprefix("pdb_0000").upper()
    return lower if lower.startswith("pdb_") else lower.upper()


def _is_whole(path: Path, identifier: str) -> bool:
    try:
        _check(path, identifier, str(path))
    except SpotmillError:
        return False
    return True


def _check(path: Path, identifier: str, source: str) -> None:
    """Raise SpotmillError unless the file parses and declares the identifier."""
    try:
        read_structure(path)
        declared = [_canonical(name) for name in read_entry_ids(path)]
    except SpotmillError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise SpotmillError(f"{source}: {reason}") from error
    if identifier not in declared:
        said = ", ".join(dict.fromkeys(declared)) or "no entry"
        raise SpotmillError(f"{source}: holds {said}, not {identifier}; check the address")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.hostname and parts.scheme == "https":
        return
    if not (parts.hostname and parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise SpotmillError(f"{url}: only https addresses are used; correct SPOTMILL_PDB_URL")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirections to HTTPS addresses only."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(url: str, path: Path) -> None:
    handlers: list[urllib.request.BaseHandler] = [_SafeRedirects()]
    if _is_loopback(urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=SILENCE) as response:
            _save(response, path, url)
    except urllib.error.HTTPError as error:
        error.close()
        hint = "no such entry; check its name" if error.code == 404 else "try again later"
        raise SpotmillError(f"{url}: the server answers {error.code}; {hint}") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
        reason = getattr(error, "reason", None) or error or type(error).__name__
        raise SpotmillError(
            f"{url}: cannot be fetched ({reason}); check the network, or name a local file"
        ) from error
    except ConnectionError as error:
        raise SpotmillError(f"{url}: the connection broke ({error}); try again") from error


def _save(response: http.client.HTTPResponse, path: Path, url: str) -> None:
    length = response.headers.get("Content-Length")
    chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
    if not chunked and not (length and length.isdigit()):
        raise SpotmillError(f"{url}: the server does not say how long the file is; try another")
    received, deadline = 0, time.monotonic() + PATIENCE
    with path.open("wb") as handle:
        while block := response.read(CHUNK):
            received += len(block)
            if received > LARGEST_ENTRY:
                raise SpotmillError(
                    f"{url}: is larger than {LARGEST_ENTRY // 2**20} MiB; fetch it by hand"
                )
            if time.monotonic() > deadline:
                raise SpotmillError(f"{url}: took over {PATIENCE:g} s; try again later")
            handle.write(block)
    if not chunked and received != int(length or 0):
        raise SpotmillError(f"{url}: only {received} of {length} bytes came; try again")
