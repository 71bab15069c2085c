"""Dry runs on request, one JSON line each, from a process that has imported Snakemake once.

Every request is answered by a fork, so that none sees what another one cached.
"""

import contextlib
import io
import json
import os
import sys
import traceback
from dataclasses import asdict


def answer(request: dict) -> object:
    """Return the jobs of a dry run, or what `spotmill diff` prints."""
    from spotmill import recipes
    from spotmill.cli import main
    from spotmill.pending import pending_jobs

    os.chdir(request["folder"])
    recipes.RECIPES.update(request.get("recipes") or {})
    recipes.MODEL_RECIPES.update(request.get("models") or {})
    if "diff" in request:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            code = main(["diff", *request["diff"]])
        return [code, printed.getvalue()]
    words = ["--profile", "profiles/local", *request.get("words", [])]
    return [asdict(job) for job in pending_jobs(words)]


def serve() -> None:
    """Answer until the input ends."""
    import pandas  # noqa: F401
    import snakemake.cli  # noqa: F401

    import spotmill.difference  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                said = {"answer": answer(json.loads(line))}
            except Exception:  # noqa: BLE001
                said = {"error": traceback.format_exc()}
            sys.__stdout__.write(json.dumps(said) + "\n")
            sys.__stdout__.flush()
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    serve()
