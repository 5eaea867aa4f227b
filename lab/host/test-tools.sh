#!/usr/bin/env bash
# Programs outside Python that the checks and the browser tests run.
set -euo pipefail
# shellcheck source=lab/host/lib.sh
. "$(dirname "$0")/lib.sh"

# Ubuntu has Chromium under other names, and in no Debian package.
declare -A also=([chromium]="chromium-browser google-chrome")
missing=()
for tool in "$@"; do
    found=no
    for name in "$tool" ${also[$tool]:-}; do command -v "$name" >/dev/null && found=yes; done
    [ "$found" = yes ] || missing+=("$tool")
done
[ "${#missing[@]}" = 0 ] || apt_install "${missing[@]}"
