"""Where the server listens, and its end."""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from spotmill.errors import SpotmillError

LOOPBACK = "127.0.0.1"
MOST_AT_ONCE = 64  # requests
WHOLE_REQUEST = 15.0  # s that a request may take to come
TAKEN = 30.0  # s within which some of an answer must be taken
# Bytes that the system keeps of an answer: of more, a slow reader would seem to take nothing.
KEPT = 2**18
PATIENCE = 2  # s for answers under way at the end


class Hurried(H11Protocol):
    """Close connections on which no whole request comes in time, or of whose answers none is taken.

    uvicorn waits for ever for the first request of a connection, for the rest of any, and for who
    asks and never reads: as many of these as are answered at once would keep all others out.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Await the first request."""
        super().connection_made(transport)
        self._taken = 0
        self._await_request()
        self._await_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """Await nobody any more."""
        self._reader.cancel()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """Note that most of what waited was taken."""
        self._taken += 1
        super().resume_writing()

    def _await_reader(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._reader = self.loop.call_later(
            TAKEN, self._abort_where_none_read, waiting, self._taken
        )

    def _abort_where_none_read(self, before: int, taken: int) -> None:
        if 0 < before <= self.transport.get_write_buffer_size() and taken == self._taken:
            # Closing would wait until all is taken.
            self.transport.abort()
        else:
            self._await_reader()

    def on_response_complete(self) -> None:
        """Await the next request."""
        super().on_response_complete()
        self._await_request()

    def _await_request(self) -> None:
        self.loop.call_later(WHOLE_REQUEST, self._close_where_none_came, self.cycle)

    def _close_where_none_came(self, before: RequestResponseCycle | None) -> None:
        answered = before is None or before.response_complete
        if self.cycle is before and answered and not self.transport.is_closing():
            self.transport.close()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises
    ------
    SpotmillError
        When the host is none of this machine's, or the port is taken or not to be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        server = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise SpotmillError(
            f"--host: {host}: is no host that is known here; leave it out to serve {LOOPBACK}"
        ) from error
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KEPT)
        server.bind(address)
        server.listen(128)
    except OSError as error:
        server.close()
        raise SpotmillError(unavailable(host, port, error)) from error
    return server


def unavailable(host: str, port: int, error: OSError) -> str:
    """Return why a port cannot be had, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"--port: {port} is in use; choose another, or 0 for any that is free"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"--port: {port} is not for ordinary users; choose one from 1024 on, or 0"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"--host: {host} is no address of this machine; leave it out to serve {LOOPBACK}"
    return f"--host: {host}: cannot listen ({error.strerror}); leave it out to serve {LOOPBACK}"


def is_loopback(server: socket.socket) -> bool:
    """Return whether only this machine reaches a socket."""
    return ipaddress.ip_address(server.getsockname()[0].partition("%")[0]).is_loopback


def address_of(server: socket.socket) -> str:
    """Return the address to open."""
    host, port = server.getsockname()[:2]
    shown = ipaddress.ip_address(host.partition("%")[0])
    if shown.is_unspecified:
        return f"http://{socket.gethostname()}:{port}/"
    return f"http://[{host}]:{port}/" if shown.version == 6 else f"http://{host}:{port}/"


def own_names() -> list[str]:
    """Return the names of this machine."""
    names = {socket.gethostname()}
    with contextlib.suppress(OSError):
        names.add(socket.getfqdn())
    return sorted(names)


def configured(app: ASGIApp) -> uvicorn.Config:
    """Return how requests are answered."""
    return uvicorn.Config(
        app,
        http=Hurried,
        log_level="error",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_AT_ONCE,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=PATIENCE,
    )


class TidyServer(uvicorn.Server):
    """Ends without a word on those who were cut off."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; who has not taken all of an answer is no error."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


def serve_until_stopped(app: ASGIApp, server: socket.socket, ready: Callable[[], None]) -> None:
    """Answer requests until Ctrl-C or a signal to end."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # uvicorn ends tidily at either signal, and then raises it anew for whoever asked before.
    before = signal.signal(signal.SIGTERM, stop)
    try:
        ready()
        TidyServer(configured(app)).run(sockets=[server])
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
        server.close()
