#!/usr/bin/env bash
# The virtual environment .venv with everything tests and linters need; made anew when the locked requirements change.
set -euo pipefail
# shellcheck source=lab/host/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repository"

stamp=.venv/requirements.sha256
wanted=$(sha256sum requirements/dev.txt pyproject.toml agent/pyproject.toml)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then exit 0; fi

if ! command -v python3 >/dev/null || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then apt_install python3 python3-venv; fi
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "Python 3.11 or newer is needed; this is $(python3 --version)." "Debian 12, Ubuntu 24.04 and later have it."

say "installing the test and lint tools into .venv"
# python3 may be that of .venv itself, activated and about to go.
python=$(python3 -c 'import sys; print(sys._base_executable)')
rm -rf .venv
"$python" -m venv .venv
quietly pip .venv/bin/pip install --disable-pip-version-check --quiet --require-hashes --requirement requirements/dev.txt
quietly pip-swarmhub .venv/bin/pip install --disable-pip-version-check --quiet --no-deps --editable agent --editable .
printf '%s' "$wanted" >"$stamp"
