#!/bin/sh
# Snakemake runs this in the environment it made of spotmill.yaml, in the project's folder.
set -eu
if ! test -f src/spotmill/__init__.py; then
    echo "spotmill: run snakemake in the folder of the project, which holds src/spotmill" >&2
    exit 1
fi
python -m pip install --no-deps --no-build-isolation --editable .
