#!/usr/bin/env bash
# Base packages of every instance, manager or worker. Run as root on Debian 13, by Packer and by the local image's build.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

apt-get update
apt-get install --yes --no-install-recommends \
    ca-certificates curl dbus iproute2 iptables jq kmod nfs-common openssl \
    procps python3 python3-venv systemd systemd-sysv util-linux
apt-get clean
rm -rf /var/lib/apt/lists/*

# The shared file system (EFS) is mounted here once per host, before Docker starts.
install -d -m 0755 /srv/swarmhub /etc/swarmhub
