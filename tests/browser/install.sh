#!/usr/bin/env bash
# Find a Chromium for `make test-browser`, or install Debian's; the last line is its path.
# Exit 1: it cannot be had here; the last line says what to do.
set -euo pipefail

cannot() {
    echo "make test-browser: no Chromium: $*"
    exit 1
}

find_chromium() {
    for program in "${SPOTMILL_CHROMIUM:-}" chromium /usr/bin/chromium; do
        if [ -n "$program" ] && command -v "$program"; then return; fi
    done
}

if [ -n "${SPOTMILL_CHROMIUM:-}" ] && [ ! -x "$SPOTMILL_CHROMIUM" ]; then
    cannot "SPOTMILL_CHROMIUM=$SPOTMILL_CHROMIUM is no program; name one, or unset it"
fi

if [ -z "$(find_chromium)" ]; then
    packages=(chromium fonts-liberation fonts-dejavu-core)
    wanted="install the packages ${packages[*]}, or set SPOTMILL_CHROMIUM to a Chromium"
    [ "$(id -u)" = 0 ] || cannot "only root can install it here; $wanted"
    command -v apt-get >/dev/null || cannot "this system has no apt-get; $wanted"
    # One at a time: the workers of pytest all start this, and apt waits for nobody.
    exec 9<"${BASH_SOURCE[0]}"
    ! command -v flock >/dev/null || flock 9
fi

if [ -z "$(find_chromium)" ]; then
    install() {
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends \
            -o DPkg::Lock::Timeout=300 "${packages[@]}" </dev/null 9<&-
    }
    # A line for who waits, then what apt says, where it fails.
    echo "Installing ${packages[*]} (a minute or two) ..." >&2
    install >/dev/null 2>&1 || { apt-get update --quiet 9<&- && install; } >/dev/null ||
        cannot "apt-get could not install it; $wanted"
    [ -n "$(find_chromium)" ] || cannot "apt-get installed it, and it is not there; $wanted"
fi
find_chromium
