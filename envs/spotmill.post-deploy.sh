#!/bin/sh
# Snakemake runs this in the environment it made of spotmill.yaml, in the project's folder.
set -eu
if test -f src/spotmill/__init__.py; then
    exec python -m pip install --no-deps --no-build-isolation --editable .
fi
# A project of `spotmill init` has no source in it: the installed program writes its own.
if ! command -v spotmill >/dev/null; then
    echo "spotmill: is not on the PATH; activate the environment in which it is installed" >&2
    exit 1
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
spotmill init --source "$folder/source"
python -m pip install --no-deps --no-build-isolation "$folder/source"
