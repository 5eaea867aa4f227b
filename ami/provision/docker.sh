#!/usr/bin/env bash
# Docker Engine as every instance runs it. Expects ami/files at $FILES.
set -euo pipefail
: "${FILES:?the directory that holds ami/files}"
export DEBIAN_FRONTEND=noninteractive

apt-get update
apt-get install --yes --no-install-recommends containerd docker-cli docker.io
apt-get clean
rm -rf /var/lib/apt/lists/*

install -D -m 0644 "$FILES/docker/daemon.json" /etc/docker/daemon.json
install -D -m 0644 "$FILES/docker/swarmhub.conf" /etc/systemd/system/docker.service.d/swarmhub.conf
# Not socket-activated: the engine starts at boot, once its labels are written.
systemctl disable docker.socket
systemctl enable containerd.service docker.service
