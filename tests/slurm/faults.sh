#!/usr/bin/env bash
# Stands before the real `spotmill` on PATH: a job of dataset X first does what the file
# `faults/<command>-X` of its folder says, if there is one.
set -euo pipefail
if [[ "$*" =~ --output\ [^\ ]*/([A-Z])/ ]]; then
    fault="faults/$1-${BASH_REMATCH[1]}"
    if [ -e "$fault" ]; then
        # shellcheck source=/dev/null
        source "$fault"
    fi
fi
exec "$SPOTMILL_REAL" "$@"
