"""The AWS edge: one look at a hub's groups and instances, and the few calls the controller makes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from swarmhub_agent.protocol import TAG_HUB, TAG_POOL

from swarmhub.controller.model import CloudView, Group, Hook, Instance

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, InstanceTypeDef
    from mypy_boto3_ssm import SSMClient

T = TypeVar("T")
ParameterKind = Literal["SecureString", "StringList"]

HOOKS_KEPT = timedelta(seconds=60)
"""Hooks change with the infrastructure only."""
FILTER_VALUES = 200
"""Most values EC2 accepts in one filter."""
THREADS = 4


class CloudError(Exception):
    """AWS could not be asked, or refused."""


class Cloud(Protocol):
    """What the controller asks of a cloud. Every method raises CloudError when it could not be done."""

    async def view(self, claimed: Collection[str]) -> CloudView:
        """The hub's groups, their instances, every instance tagged for the hub, and the ``claimed`` ids."""

    async def complete_hook(self, instance_id: str, group: str, hook: str, result: str) -> bool:
        """False if the instance does not wait in the hook (any more): its agent may have been faster."""

    async def replace_instance(self, instance_id: str) -> None:
        """Terminate it through its group without lowering the group's capacity."""

    async def get_parameter(self, name: str) -> str | None: ...

    async def put_parameter(self, name: str, value: str, kind: ParameterKind) -> None: ...


class AwsCloud:
    """``Cloud`` with boto3."""

    def __init__(
        self,
        hub: str,
        clock: Callable[[], datetime],
        autoscaling: AutoScalingClient,
        ec2: EC2Client,
        ssm: SSMClient,
    ) -> None:
        self._hub = hub
        self._clock = clock
        self._autoscaling = autoscaling
        self._ec2 = ec2
        self._ssm = ssm
        self._hooks: dict[str, tuple[datetime, tuple[Hook, ...]]] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="aws")

    @classmethod
    def connect(cls, hub: str, clock: Callable[[], datetime], region: str | None) -> AwsCloud:
        """Clients with the environment's credentials and endpoint; ``region`` None: boto3's own search."""
        session = boto3.session.Session(region_name=region)
        config = Config(
            connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3}
        )
        return cls(
            hub,
            clock,
            session.client("autoscaling", config=config),
            session.client("ec2", config=config),
            session.client("ssm", config=config),
        )

    async def view(self, claimed: Collection[str]) -> CloudView:
        return await self._call(lambda: self._look(claimed))

    async def complete_hook(self, instance_id: str, group: str, hook: str, result: str) -> bool:
        def complete() -> bool:
            try:
                self._autoscaling.complete_lifecycle_action(
                    InstanceId=instance_id,
                    AutoScalingGroupName=group,
                    LifecycleHookName=hook,
                    LifecycleActionResult=result,
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") == "ValidationError":
                    return False
                raise
            return True

        return await self._call(complete)

    async def replace_instance(self, instance_id: str) -> None:
        await self._call(
            lambda: self._autoscaling.terminate_instance_in_auto_scaling_group(
                InstanceId=instance_id, ShouldDecrementDesiredCapacity=False
            )
        )

    async def get_parameter(self, name: str) -> str | None:
        def read() -> str | None:
            try:
                return self._ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
            except self._ssm.exceptions.ParameterNotFound:
                return None

        return await self._call(read)

    async def put_parameter(self, name: str, value: str, kind: ParameterKind) -> None:
        await self._call(lambda: self._ssm.put_parameter(Name=name, Value=value, Type=kind, Overwrite=True))

    def _look(self, claimed: Collection[str]) -> CloudView:
        seen_at = self._clock()
        pages = self._autoscaling.get_paginator("describe_auto_scaling_groups").paginate(
            Filters=[{"Name": f"tag:{TAG_HUB}", "Values": [self._hub]}]
        )
        groups = [group for page in pages for group in page["AutoScalingGroups"]]
        found = {i["InstanceId"]: i for i in self._instances([_tagged(self._hub)])}
        scaled = {i["InstanceId"] for group in groups for i in group["Instances"]}
        missing = sorted((scaled | set(claimed)) - found.keys())
        # As a filter, not as InstanceIds: one id that EC2 does not know (yet) would fail the whole call.
        for ids in _batches(missing, FILTER_VALUES):
            found |= {i["InstanceId"]: i for i in self._instances([{"Name": "instance-id", "Values": ids}])}
        instances = {key: _from_ec2(data) for key, data in found.items()}
        for group in groups:
            instances |= {i.id: i for i in _from_group(group, instances)}
        return CloudView(
            seen_at, tuple(instances[key] for key in sorted(instances)), tuple(self._group(g) for g in groups)
        )

    def _instances(self, filters: list[FilterTypeDef]) -> Iterator[InstanceTypeDef]:
        for page in self._ec2.get_paginator("describe_instances").paginate(Filters=filters):
            yield from chain.from_iterable(r.get("Instances", []) for r in page["Reservations"])

    def _group(self, data: AutoScalingGroupTypeDef) -> Group:
        name = data["AutoScalingGroupName"]
        return Group(
            name=name,
            pool=_tag(data.get("Tags", []), TAG_POOL),
            desired=data["DesiredCapacity"],
            minimum=data["MinSize"],
            maximum=data["MaxSize"],
            hooks=self._hooks_of(name),
        )

    def _hooks_of(self, group: str) -> tuple[Hook, ...]:
        now = self._clock()
        read_at, hooks = self._hooks.get(group, (None, ()))
        if read_at is None or now - read_at >= HOOKS_KEPT:
            answer = self._autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=group)
            hooks = tuple(
                Hook(
                    h["LifecycleHookName"],
                    h["LifecycleTransition"],
                    # 3600 s is the service's documented default.
                    timedelta(seconds=h.get("HeartbeatTimeout", 3600)),
                )
                for h in answer["LifecycleHooks"]
            )
            self._hooks[group] = (now, hooks)
        return hooks

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (BotoCoreError, ClientError) as error:
            raise CloudError(f"AWS: {error}") from error


def _batches(values: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


def _tagged(hub: str) -> FilterTypeDef:
    return {"Name": f"tag:{TAG_HUB}", "Values": [hub]}


def _from_ec2(data: InstanceTypeDef) -> Instance:
    return Instance(
        id=data["InstanceId"],
        group=None,
        pool=_tag(data.get("Tags", []), TAG_POOL),
        lifecycle_state=None,
        ec2_state=data.get("State", {}).get("Name"),
        private_ip=data.get("PrivateIpAddress"),
    )


def _from_group(group: AutoScalingGroupTypeDef, known: dict[str, Instance]) -> Iterator[Instance]:
    """The group's word about its instances, EC2's word kept where there is one."""
    for data in group["Instances"]:
        ec2 = known.get(data["InstanceId"])
        yield Instance(
            id=data["InstanceId"],
            group=group["AutoScalingGroupName"],
            pool=_tag(group.get("Tags", []), TAG_POOL),
            lifecycle_state=data.get("LifecycleState"),
            ec2_state=ec2.ec2_state if ec2 else None,
            private_ip=ec2.private_ip if ec2 else None,
            protected=data.get("ProtectedFromScaleIn", False),
        )


def _tag(tags: Iterable[Any], key: str) -> str | None:
    return next((tag.get("Value") for tag in tags if tag.get("Key") == key), None)
