"""What every request must be, and what every answer says, before any page is asked for."""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("GET", "HEAD")
# Browsers send none of these encoded: who does wants another path than the one that is seen.
ENCODED = re.compile(rb"%(2e|2f|5c|00)", re.IGNORECASE)

# No script but the files of this server. Plotly sets styles of its own.
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """Answers what no page may: other methods, other hosts, paths in disguise, no key.

    Parameters
    ----------
    names
        Names of this host, besides localhost, by which it may be asked.
    key
        What a visitor must bring, in the first address and then in a cookie; "" asks for none.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] = (), key: str = "") -> None:
        self._app = app
        self._key = key
        # Cookies do not tell ports apart: each server has a name of its own.
        self._cookie = f"spotmill_{hashlib.sha256(key.encode()).hexdigest()[:8]}"
        self._names = frozenset(name.lower().rstrip(".") for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] != "http":
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", STRICT)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = self._refusal(scope)
        await (refused or self._app)(scope, receive, told)

    def _refusal(self, scope: Scope) -> Response | None:
        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) != 1 or not is_own(hosts[0], self._names):
            return PlainTextResponse(
                "This address is not that of the server; ask for http://127.0.0.1 or localhost, "
                "with the port that spotmill serve printed.\n",
                421,
            )
        if scope["method"] not in METHODS:
            return PlainTextResponse(
                "Only GET and HEAD: nothing can be changed here.\n", 405, {"Allow": "GET, HEAD"}
            )
        if not is_plain(scope["path"], scope["raw_path"]):
            return PlainTextResponse("No such page.\n", 400)
        return self._ask_key(scope) if self._key else None

    def _ask_key(self, scope: Scope) -> Response | None:
        """Return what is answered to who has no key, or brings it for the first time."""
        try:
            cookies = SimpleCookie(Headers(scope=scope).get("cookie", ""))
        except CookieError:
            cookies = SimpleCookie()
        if self._cookie in cookies and self._opens(cookies[self._cookie].value):
            return None
        brought = parse_qs(scope["query_string"].decode("latin-1")).get("key", [""])
        if not self._opens(brought[0]):
            return PlainTextResponse(
                "Open the whole address that spotmill serve printed: it ends in a key.\n", 403
            )
        answer = RedirectResponse(scope["raw_path"].decode("latin-1"), 303)
        answer.set_cookie(self._cookie, self._key, httponly=True, samesite="strict")
        return answer

    def _opens(self, key: str) -> bool:
        return hmac.compare_digest(key.encode("utf-8", "replace"), self._key.encode())


def is_own(host: str, names: Collection[str]) -> bool:
    """Return whether a Host header may name this server.

    A page elsewhere that lets its own name lead here (DNS rebinding) gives that name away in the
    header. Numbers cannot be made to lead elsewhere, so any is taken: a tunnel has its own.
    """
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?", host)
    if match is None:
        return False
    name = match[1].strip("[]").lower().rstrip(".")
    if name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_plain(path: str, raw: bytes) -> bool:
    """Return whether a path is the one that it seems to be, without detours."""
    if not path.startswith("/") or "//" in path or "\\" in path or not path.isprintable():
        return False
    return not ENCODED.search(raw) and not {".", ".."} & set(path.split("/"))
