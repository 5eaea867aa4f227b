"""What an instance's metadata service shows, as a pure function of the instance."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping

from lab.cloud.asg.model import ACCOUNT, Instance, LifecycleState, World
from lab.cloud.asg.world import iso
from lab.cloud.ec2_api import private_dns

ROLE = "swarmhub-instance"
CREDENTIALS_LIFETIME = 6 * 3600
"""Seconds; instance role credentials live about six hours."""


def tree(world: World, instance: Instance, now: float) -> Mapping[str, str]:
    """Every leaf under ``/latest/``: path without that prefix -> content."""
    region = world.settings.region
    mac = _mac(instance.instance_id)
    leaves = {
        "meta-data/ami-id": instance.image_id,
        "meta-data/ami-launch-index": "0",
        "meta-data/events/maintenance/scheduled": "[]",
        "meta-data/hostname": private_dns(instance),
        "meta-data/iam/info": json.dumps(
            {
                "Code": "Success",
                "LastUpdated": iso(now),
                "InstanceProfileArn": f"arn:aws:iam::{ACCOUNT}:instance-profile/{ROLE}",
                "InstanceProfileId": "AIPALOCALCLOUD0000000",
            }
        ),
        f"meta-data/iam/security-credentials/{ROLE}": _credentials(instance, now),
        "meta-data/instance-action": "none",
        "meta-data/instance-id": instance.instance_id,
        "meta-data/instance-life-cycle": "spot" if instance.spot else "on-demand",
        "meta-data/instance-type": instance.instance_type,
        "meta-data/local-hostname": private_dns(instance),
        "meta-data/local-ipv4": instance.private_ip,
        "meta-data/mac": mac,
        f"meta-data/network/interfaces/macs/{mac}/mac": mac,
        f"meta-data/network/interfaces/macs/{mac}/local-ipv4s": instance.private_ip,
        "meta-data/placement/availability-zone": instance.zone,
        "meta-data/placement/region": region,
        "meta-data/reservation-id": instance.instance_id.replace("i-", "r-", 1),
        "meta-data/services/domain": "amazonaws.com",
        "meta-data/services/partition": "aws",
        "dynamic/instance-identity/document": json.dumps(
            {
                "accountId": ACCOUNT,
                "architecture": "x86_64",
                "availabilityZone": instance.zone,
                "imageId": instance.image_id,
                "instanceId": instance.instance_id,
                "instanceType": instance.instance_type,
                "pendingTime": iso(instance.launched),
                "privateIp": instance.private_ip,
                "region": region,
                "version": "2017-09-30",
            },
            indent=2,
        ),
    }
    for key, value in instance.tags.items():
        # Keys with a slash cannot be metadata paths, and EC2 forbids them there.
        if "/" not in key:
            leaves[f"meta-data/tags/instance/{key}"] = value
    if instance.spot_deadline is not None:
        gone_at = iso(instance.spot_deadline)
        leaves["meta-data/spot/instance-action"] = json.dumps({"action": "terminate", "time": gone_at})
        leaves["meta-data/spot/termination-time"] = gone_at
    if instance.rebalance_at is not None:
        leaves["meta-data/events/recommendations/rebalance"] = json.dumps(
            {"noticeTime": iso(instance.rebalance_at)}
        )
    target = target_state(instance)
    if target:
        leaves["meta-data/autoscaling/target-lifecycle-state"] = target
    if instance.user_data:
        leaves["user-data"] = base64.b64decode(instance.user_data).decode(errors="replace")
    return leaves


def target_state(instance: Instance) -> str | None:
    """Where the group is taking the instance; None before the first transition."""
    member = instance.member
    if member is None or member.state is LifecycleState.PENDING:
        return None
    return "InService" if member.state.is_alive else "Terminated"


def read(leaves: Mapping[str, str], path: str) -> str | None:
    """The content of a leaf, or a directory's listing (sub-directories end with ``/``), or None."""
    path = path.strip("/")
    if path in leaves:
        return leaves[path]
    prefix = f"{path}/" if path else ""
    names = {
        head + ("/" if slash else "")
        for leaf in leaves
        if leaf.startswith(prefix)
        for head, slash, _ in [leaf.removeprefix(prefix).partition("/")]
    }
    return "\n".join(sorted(names)) if names else None


def _mac(instance_id: str) -> str:
    digits = hashlib.sha256(instance_id.encode()).hexdigest()[:10]
    return "02:" + ":".join(digits[i : i + 2] for i in range(0, 10, 2))


def _credentials(instance: Instance, now: float) -> str:
    """Keys of the instance role, the same within one lifetime: their names say they open nothing."""
    period = int(now // CREDENTIALS_LIFETIME)
    name = hashlib.sha256(f"{instance.instance_id}/{period}".encode()).hexdigest()
    return json.dumps(
        {
            "Code": "Success",
            "LastUpdated": iso(now),
            "Type": "AWS-HMAC",
            "AccessKeyId": f"ASIA{name[:16].upper()}",
            "SecretAccessKey": f"local-cloud-{name[16:40]}",
            "Token": f"local-cloud-session-{name[40:]}",
            # Two periods ahead: never about to expire for a client that refreshes 15 minutes early.
            "Expiration": iso((period + 2) * CREDENTIALS_LIFETIME),
        }
    )
