#!/usr/bin/env bash
# Programs outside Python that the checks and the browser tests run.
set -euo pipefail
# shellcheck source=lab/host/lib.sh
. "$(dirname "$0")/lib.sh"

missing=()
for tool in "$@"; do command -v "$tool" >/dev/null || missing+=("$tool"); done
[ "${#missing[@]}" = 0 ] || apt_install "${missing[@]}"
