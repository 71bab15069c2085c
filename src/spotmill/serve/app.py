"""The addresses of the live view."""

import re
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from importlib.util import find_spec
from mimetypes import guess_type
from pathlib import Path
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from spotmill.errors import SpotmillError
from spotmill.serve.card_text import parts_of
from spotmill.serve.frame_pictures import LARGE, SMALL, legend
from spotmill.serve.guard import Guard
from spotmill.serve.inside import file_inside, folder_inside, inside
from spotmill.serve.live import Live, State
from spotmill.serve.pages import (
    MOST_ENTRIES,
    Pages,
    facts,
    listed,
    read_json,
    read_text,
    result_rows,
    tasks_of,
)
from spotmill.serve.scan import IMAGES, Scanner, ShardFile

TEMPLATES = Path(__file__).parent / "templates"
OWN = {"serve.css": "text/css", "serve.js": "text/javascript"}
# The report's scripts stand in its page, which is made for a double click; it may fetch nothing.
# Without scripts it holds a page of its gallery in a frame.
REPORT = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-src 'self'; frame-ancestors 'self'"
)
# Other pages among results run as strangers: they can reach nothing of this server.
SANDBOX = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
)
# Tells a page that what it shows is the last that could be seen.
FAILING = "Spotmill-Failing"
KEEP = {"Cache-Control": "no-cache"}
# Of the report, and made after it (spotmill.commands.cost).
COST = "cost/cost.js"
TEXTS = (".md", ".csv", ".tsv", ".log", ".geom", ".yaml", ".yml", ".txt", ".checked")


class View:
    """Answers each address; `live` knows what there is."""

    def __init__(self, root: Path, project: Path, name: str) -> None:
        self.root = root
        self.pages = Pages(name)
        self.live = Live(root, project, self.pages.parts)

    def page(self, template: str, status: int = 200, **values: object) -> HTMLResponse:
        """Return a page."""
        state = self.live.state()
        found = state.found if state else None
        old = state.made if state and self.live.is_failing else None
        return HTMLResponse(self.pages.fill(template, found=found, old=old, **values), status)

    def _state(self) -> State:
        state = self.live.state()
        if state is None:
            raise HTTPException(
                503,
                "The results cannot be looked at; why is told where the server runs."
                if self.live.is_failing
                else "The first look at the results is not over; reload.",
            )
        return state

    def overview(self, request: Request) -> Response:
        """Show how production stands."""
        state = self._state()
        return self.page(
            "overview", state=state, parts=state.parts, tasks=tasks_of(state.found), legend=legend()
        )

    def changes(self, request: Request) -> Response:
        """Return the parts of the overview that change, or 304 where none did."""
        state = self._state()
        age = str(int(time.time() - state.made))
        headers = {"ETag": state.etag, "Cache-Control": "no-store", "Age": age}
        if self.live.is_failing:
            headers[FAILING] = "yes"
        if request.headers.get("if-none-match") == state.etag:
            return Response(status_code=304, headers=headers)
        return Response(state.body, media_type="application/json", headers=headers)

    def own(self, request: Request) -> Response:
        """Return a script or style of these pages."""
        name = request.path_params["name"]
        if name == "plotly.js":
            spec = find_spec("plotly")
            place = Path(spec.origin).parent if spec and spec.origin else None
            path = place / "package_data/plotly.min.js" if place else None
            if path is None or not path.is_file():
                raise HTTPException(404, "Plotly is not installed.")
            headers = {"Cache-Control": "max-age=86400"}
            return FileResponse(path, media_type="text/javascript", headers=headers)
        if name not in OWN:
            raise HTTPException(404)
        return FileResponse(TEMPLATES / name, media_type=OWN[name], headers=KEEP)

    def frame(self, request: Request) -> Response:
        """Show one frame."""
        shard, position = self._shard(request)
        frames = self.live.pictures.frames(shard)
        if position >= len(frames):
            raise HTTPException(404)
        try:
            _, photons = self.live.pictures.picture(shard, position, LARGE)
        except SpotmillError as error:
            raise HTTPException(503, self.nameless(error)) from error
        shown = frames[position]
        steps = legend()
        return self.page("frame", shard=shard, frame=shown, photons=photons, legend=steps)

    def picture(self, request: Request) -> Response:
        """Return the picture of one frame."""
        shard, position = self._shard(request)
        pixels = LARGE if request.query_params.get("size") == "large" else SMALL
        etag = f'"{shard.changed:x}-{pixels}"'
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        try:
            png, _ = self.live.pictures.picture(shard, position, pixels)
        except SpotmillError as error:
            raise HTTPException(503, self.nameless(error)) from error
        return Response(png, media_type="image/png", headers=headers)

    def nameless(self, error: SpotmillError) -> str:
        """Return a message without the place of the results on this host."""
        return str(error).replace(f"{self.root}/", "")

    def _shard(self, request: Request) -> tuple[ShardFile, int]:
        said = request.path_params
        position = said["position"]
        if not re.fullmatch(r"[0-9]{1,7}", position):
            raise HTTPException(404)
        shard = self.live.shard(said["content"], said["dataset"], said["shard"])
        if shard is None:
            raise HTTPException(404)
        return shard, int(position)

    def card(self, request: Request) -> Response:
        """Show the card of a model or dataset, or an evaluation."""
        kind, name = request.path_params["kind"], request.path_params["name"]
        main = {"models": "model.json", "cards": "README.md", "evaluation": "evaluation.json"}
        folder = folder_inside(self.root, f"{kind}/{name}") if kind in main else None
        if (
            folder is None
            or "/" in name
            or file_inside(self.root, f"{kind}/{name}/{main[kind]}") is None
        ):
            raise HTTPException(404)
        files = [one for one in Scanner(self.root).entries_of(folder) if not one.is_folder]
        told = None
        if kind != "cards":
            told = read_json(folder / main[kind])
        readme = file_inside(self.root, f"{kind}/{name}/README.md")
        columns, rows = result_rows(told)
        parts = list(parts_of(read_text(readme) if readme else ""))
        within = {part.lines[1] for part in parts if part.kind == "picture"}
        pictures = [one.name for one in files if one.name.endswith((".png", ".svg"))]
        return self.page(
            "card",
            kind=kind,
            title=name,
            facts=facts(told),
            columns=columns,
            rows=rows,
            notes=list(map(str, listed(told.get("notes")))) if isinstance(told, dict) else [],
            parts=parts,
            files=files,
            pictures=[name for name in pictures if name not in within],
        )

    def report(self, request: Request) -> Response:
        """Return a file of the report."""
        name = request.path_params["name"]
        found = inside(self.root, f"report/{name}")
        if found is not None and found.is_dir():
            if name and not name.endswith("/"):
                return RedirectResponse(f"/report/{quote(name)}/")
            found = file_inside(self.root, f"report/{name}/index.html")
        if found is None:
            if not name:
                return self.page(
                    "message",
                    404,
                    title="No report yet",
                    words="The report is the last step of a production; it stands here once made.",
                )
            if name == COST:
                # The page asks for it at any time; until it is there, it has nothing to tell.
                return Response(media_type="text/javascript", headers=KEEP)
            raise HTTPException(404)
        return send(found, REPORT, {"X-Frame-Options": "SAMEORIGIN"})

    def files(self, request: Request) -> Response:
        """Return a file of the results, or list a folder."""
        name = request.path_params["name"]
        found = inside(self.root, name)
        if found is None:
            raise HTTPException(404)
        if not found.is_dir():
            return send(found, SANDBOX)
        if name and not name.endswith("/"):
            return RedirectResponse(f"/files/{quote(name)}/")
        entries = Scanner(self.root).entries_of(found)
        parts = [part for part in name.split("/") if part]
        return self.page(
            "folder",
            parts=parts,
            entries=entries[:MOST_ENTRIES],
            more=max(len(entries) - MOST_ENTRIES, 0),
            frames=len(parts) == 3 and parts[0] == "images" and parts[1] in IMAGES,
        )

    def refused(self, request: Request, error: Exception) -> Response:
        """Show why there is no such page."""
        status = error.status_code if isinstance(error, HTTPException) else 404
        words = (
            error.detail
            if isinstance(error, HTTPException) and status != 404
            else ("There is no such page, or it is not there yet.")
        )
        return self.page("message", status, title="Not here", words=words)


def send(path: Path, policy: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a file's answer; it is asked for anew each time, and sent only where it changed."""
    kind = "text/plain" if path.suffix in TEXTS else guess_type(path.name)[0]
    # A file that cannot be read is none that is there.
    with suppress(OSError), path.open("rb"):
        return FileResponse(
            path,
            media_type=kind or "application/octet-stream",
            headers={**KEEP, "Content-Security-Policy": policy, **(headers or {})},
        )
    raise HTTPException(404)


def build(
    root: Path, project: Path, name: str, hosts: Collection[str] = (), key: str = ""
) -> tuple[ASGIApp, Live]:
    """Return the application, and what looks at the results for it.

    Parameters
    ----------
    root, project
        The results and the folder in which Snakemake runs, resolved.
    name
        What the results are called on the pages.
    hosts
        Names of this host, besides localhost, by which it may be asked.
    key
        What visitors must bring; "" asks for none.
    """
    view = View(root, project, name)
    routes = [
        Route("/", view.overview),
        Route("/changes.json", view.changes),
        Route("/own/{name}", view.own),
        Route("/frame/{content}/{dataset}/{shard}/{position}", view.frame),
        Route("/picture/{content}/{dataset}/{shard}/{position}.png", view.picture),
        Route("/{kind:str}/{name:str}/card", view.card),
        Route("/report", lambda request: RedirectResponse("/report/")),
        Route("/report/{name:path}", view.report),
        Route("/files", lambda request: RedirectResponse("/files/")),
        Route("/files/{name:path}", view.files),
    ]
    handlers = {HTTPException: view.refused, OSError: view.refused}
    app = Starlette(routes=routes, exception_handlers=handlers)
    return Guard(app, hosts, key), view.live
