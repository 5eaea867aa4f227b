#!/usr/bin/env bash
# What only the manager has: the swarm's and the stack's start, and the operator's command. Expects ami/files at $FILES.
set -euo pipefail
: "${FILES:?the directory that holds ami/files}"

install -D -m 0644 "$FILES/manager/stack.yaml" /usr/share/swarmhub/stack.yaml
install -D -m 0755 "$FILES/manager/manager-up" /usr/lib/swarmhub/manager-up
install -D -m 0755 "$FILES/manager/swarmhub" /usr/local/bin/swarmhub
install -D -m 0644 "$FILES/manager/swarmhub-manager.service" /etc/systemd/system/swarmhub-manager.service
install -d -m 0700 /var/lib/swarmhub
systemctl enable swarmhub-manager.service
