"""What Terraform makes in AWS, made in the local cloud through boto3. Running it again changes nothing."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from lab.cloud.asg.model import TAG_HUB, TAG_POOL, Transition
from lab.cloud.events import queue_name

log = logging.getLogger(__name__)

LAUNCH_HOOK = "swarmhub-launch"
TERMINATE_HOOK = "swarmhub-terminate"
LAUNCH_HEARTBEAT = 300
"""Seconds a worker has to become fit, terraform's default."""
TERMINATE_HEARTBEAT = 600
"""Seconds a worker has to become empty between two heartbeats, terraform's default."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the hub's infrastructure is to be."""

    hub: str = "lab"
    pool: str = "cpu"
    region: str = "us-east-1"
    min_size: int = 0
    max_size: int = 6
    desired: int = 2
    instance_type: str = "t3.large"

    @property
    def group(self) -> str:
        return f"swarmhub-{self.hub}-{self.pool}"


def bootstrap(endpoint: str, plan: Plan) -> None:
    """Make what is missing. Blocking; run it in a thread. Raises what boto3 raises."""

    def client(service: str) -> Any:
        make: Callable[..., Any] = boto3.client
        return make(
            service,
            endpoint_url=endpoint,
            region_name=plan.region,
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 3}),
        )

    _queue(client("sqs"), plan)
    _file_system(client("efs"), plan)
    _template(client("ec2"), plan)
    _group(client("autoscaling"), plan)


def _queue(sqs: Any, plan: Plan) -> None:
    sqs.create_queue(
        QueueName=queue_name(plan.hub),
        # Seconds: notices older than five minutes are about instances long gone.
        Attributes={"MessageRetentionPeriod": "300", "VisibilityTimeout": "30"},
    )


def _file_system(efs: Any, plan: Plan) -> None:
    token = f"swarmhub-{plan.hub}"
    if efs.describe_file_systems(CreationToken=token)["FileSystems"]:
        return
    efs.create_file_system(
        CreationToken=token,
        Encrypted=True,
        Tags=[{"Key": "Name", "Value": token}, {"Key": TAG_HUB, "Value": plan.hub}],
    )


def _template(ec2: Any, plan: Plan) -> None:
    user_data = (
        f"#cloud-config\n# swarmhub {plan.hub}/{plan.pool}: everything a worker needs is in its image\n"
    )
    try:
        ec2.create_launch_template(
            LaunchTemplateName=plan.group,
            LaunchTemplateData={
                "InstanceType": plan.instance_type,
                "ImageId": "ami-0123456789abcdef0",
                "UserData": base64.b64encode(user_data.encode()).decode(),
                "MetadataOptions": {
                    "HttpTokens": "required",
                    # Containers of students must not reach the instance's credentials.
                    "HttpPutResponseHopLimit": 1,
                    "InstanceMetadataTags": "enabled",
                },
            },
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidLaunchTemplateName.AlreadyExistsException":
            raise


def _group(autoscaling: Any, plan: Plan) -> None:
    described = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[plan.group])
    if described["AutoScalingGroups"]:
        log.info("%s is there already", plan.group)
        return
    tags = {"Name": plan.group, TAG_HUB: plan.hub, TAG_POOL: plan.pool}
    hooks = (
        (LAUNCH_HOOK, Transition.LAUNCHING, LAUNCH_HEARTBEAT, "ABANDON"),
        (TERMINATE_HOOK, Transition.TERMINATING, TERMINATE_HEARTBEAT, "CONTINUE"),
    )
    # The hooks come with the group: its first instances must meet them.
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=plan.group,
        MinSize=plan.min_size,
        MaxSize=plan.max_size,
        DesiredCapacity=plan.desired,
        LaunchTemplate={"LaunchTemplateName": plan.group, "Version": "$Latest"},
        VPCZoneIdentifier="subnet-local",
        LifecycleHookSpecificationList=[
            {
                "LifecycleHookName": name,
                "LifecycleTransition": transition.value,
                "HeartbeatTimeout": heartbeat,
                "DefaultResult": result,
            }
            for name, transition, heartbeat, result in hooks
        ],
        Tags=[
            {
                "ResourceId": plan.group,
                "ResourceType": "auto-scaling-group",
                "Key": key,
                "Value": value,
                "PropagateAtLaunch": True,
            }
            for key, value in tags.items()
        ],
    )
