#!/usr/bin/env bash
# The node agent: its own virtual environment and its systemd units.
# Expects the agent's source at $AGENT and its locked requirements at $REQUIREMENTS.
set -euo pipefail
: "${AGENT:?the directory of the swarmhub-agent distribution}" "${REQUIREMENTS:?the file agent.txt}"

python3 -m venv /opt/swarmhub-agent
/opt/swarmhub-agent/bin/pip install --no-cache-dir --quiet --require-hashes --requirement "$REQUIREMENTS"
# The agent asks few names and must not keep their addresses for Docker's ten minutes: the system's resolver serves it.
/opt/swarmhub-agent/bin/pip uninstall --yes --quiet aiodns pycares
/opt/swarmhub-agent/bin/pip install --no-cache-dir --quiet --no-deps "$AGENT"
install -D -m 0644 -t /etc/systemd/system "$AGENT"/systemd/*.service
systemctl enable swarmhub-engine-config.service swarmhub-agent.service
