#!/usr/bin/env bash
# The spawner's unit tests on the oldest JupyterHub that is supported, in an environment of its own: .venv-jupyterhub5,
# made anew when the locked requirements change. Arguments go to pytest.
set -euo pipefail
# shellcheck source=lab/host/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$repository"

venv=.venv-jupyterhub5
stamp=$venv/requirements.sha256
wanted=$(sha256sum requirements/jupyterhub5.txt pyproject.toml agent/pyproject.toml)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    say "installing JupyterHub 5 into $venv"
    rm -rf "$venv"
    # python3 may be that of an activated environment.
    "$(python3 -c 'import sys; print(sys._base_executable)')" -m venv "$venv"
    echo '*' >"$venv/.gitignore"
    quietly pip-jupyterhub5 "$venv/bin/pip" install --disable-pip-version-check --quiet --require-hashes \
        --requirement requirements/jupyterhub5.txt
    quietly pip-jupyterhub5-swarmhub "$venv/bin/pip" install --disable-pip-version-check --quiet --no-deps \
        --editable agent --editable .
    printf '%s' "$wanted" >"$stamp"
fi
exec "$venv/bin/python" -m pytest --quiet tests/unit/spawner "$@"
