#!/usr/bin/env bash
# Find a Chromium for `make test-browser`, or install Debian's; the last line is its path.
# Exit 0: it is there. Exit 75: it cannot be had here; the last line says what to install.
set -euo pipefail

cannot() {
    echo "make test-browser: SKIPPED: $*"
    exit 75
}

find_chromium() {
    for program in "${SPOTMILL_CHROMIUM:-}" chromium /usr/bin/chromium; do
        if [ -n "$program" ] && command -v "$program"; then return; fi
    done
}

if [ -n "${SPOTMILL_CHROMIUM:-}" ] && [ ! -x "$SPOTMILL_CHROMIUM" ]; then
    cannot "SPOTMILL_CHROMIUM=$SPOTMILL_CHROMIUM is no program"
fi

if [ -z "$(find_chromium)" ]; then
    wanted="install the package chromium (and fonts-dejavu-core), or set SPOTMILL_CHROMIUM"
    [ "$(id -u)" = 0 ] || cannot "no chromium; as root: apt-get $wanted"
    command -v apt-get >/dev/null || cannot "no chromium and no apt-get; $wanted"
    export DEBIAN_FRONTEND=noninteractive
    packages=(chromium fonts-liberation fonts-dejavu-core)
    apt-get install --yes --quiet --no-install-recommends "${packages[@]}" >/dev/null 2>&1 ||
        { apt-get update --quiet >/dev/null && apt-get install --yes --quiet \
            --no-install-recommends "${packages[@]}" >/dev/null; } ||
        cannot "apt-get could not install ${packages[*]}; $wanted"
    [ -n "$(find_chromium)" ] || cannot "still no chromium; $wanted"
fi
find_chromium
