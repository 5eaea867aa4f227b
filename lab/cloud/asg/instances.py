"""What happens to EC2 instances: reports of the launcher, orders by API, notices, deaths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lab.cloud.asg import hooks
from lab.cloud.asg.model import (
    ActivityStatus,
    Ec2State,
    EventKind,
    Instance,
    LifecycleState,
    Member,
    World,
)
from lab.cloud.asg.world import (
    enter,
    instance_arn,
    iso,
    mark_activity,
    new_resource_id,
    publish,
    put_group,
    put_instance,
    set_ec2_state,
)
from lab.cloud.errors import AwsError

SPOT_RECLAIMED = "Server.SpotInstanceTermination"
USER_SHUTDOWN = "Client.UserInitiatedShutdown"
SELF_SHUTDOWN = "Client.InstanceInitiatedShutdown"


def container_name(instance_id: str) -> str:
    return f"swarmhub-{instance_id}"


def create(
    world: World,
    now: float,
    *,
    instance_type: str,
    image_id: str,
    user_data: str,
    tags: Mapping[str, str],
    hop_limit: int,
    spot: bool,
    member: Member | None,
) -> tuple[World, Instance]:
    """A new instance in ``pending``; the next step has it launched. Zones take turns."""
    world, instance_id = new_resource_id(world, "i")
    instance = Instance(
        instance_id=instance_id,
        launched=now,
        instance_type=instance_type,
        image_id=image_id,
        zone=world.settings.zones[len(world.instances) % len(world.settings.zones)],
        container=container_name(instance_id),
        spot=spot,
        tags=tags,
        user_data=user_data,
        hop_limit=hop_limit,
        member=member,
    )
    return set_ec2_state(world, instance, Ec2State.PENDING, now), instance


def find(world: World, instance_id: str) -> Instance:
    """The instance, or AwsError InvalidInstanceID.NotFound."""
    instance = world.instances.get(instance_id)
    if instance is None:
        raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist")
    return instance


def launched(world: World, instance_id: str, private_ip: str, imds_ip: str, now: float) -> World:
    """The launcher's machine runs."""
    instance = replace(find(world, instance_id), private_ip=private_ip, imds_ip=imds_ip)
    if instance.state is not Ec2State.PENDING:
        return put_instance(world, instance)
    if instance.member:
        instance = replace(instance, member=replace(instance.member, since=now))
        group = world.groups.get(instance.member.group) if instance.member else None
        if group and group.launch_failures:
            world = put_group(world, replace(group, launch_failures=0, retry_at=0.0))
    return set_ec2_state(world, instance, Ec2State.RUNNING, now)


def launch_failed(world: World, instance_id: str, reason: str, now: float) -> World:
    """The launcher could not start it: a Failed activity, and the group waits before it tries again."""
    instance = find(world, instance_id)
    if not instance.state.is_alive:
        return world
    world = set_ec2_state(world, instance, Ec2State.TERMINATED, now, reason=reason)
    instance = find(world, instance_id)
    if instance.member is None:
        return world
    world = mark_activity(world, instance, ActivityStatus.FAILED, now, message=reason)
    world = enter(world, instance, LifecycleState.TERMINATED, now)
    group = world.groups.get(instance.member.group)
    if group is None or now < group.retry_at:
        return world
    pause = min(world.settings.launch_backoff * 2**group.launch_failures, world.settings.launch_backoff_max)
    failures = group.launch_failures + 1
    return put_group(world, replace(group, launch_failures=failures, retry_at=now + pause))


def stopped(world: World, instance_id: str, now: float) -> World:
    """The launcher removed a machine it was told to stop."""
    instance = find(world, instance_id)
    if instance.state is not Ec2State.SHUTTING_DOWN:
        return world
    ended = replace(instance, spot_deadline=None)
    world = set_ec2_state(world, ended, Ec2State.TERMINATED, now)
    # Nothing is left to remove: the launcher has just said so.
    return put_instance(world, replace(world.instances[instance_id], dispatched=True))


def die(world: World, instance_id: str, reason: str, now: float) -> World:
    """The machine is gone at once, without its group's doing; the group's health check learns it later."""
    instance = find(world, instance_id)
    if not instance.state.is_alive:
        return world
    refuse_static(instance, "be terminated")
    lost = replace(instance, lost_at=now, spot_deadline=None)
    return set_ec2_state(world, lost, Ec2State.TERMINATED, now, reason=reason)


def shut_down(world: World, instance_id: str, reason: str, now: float, *, by_group: bool) -> World:
    """An orderly shutdown begins. ``by_group`` is False for EC2's own TerminateInstances, of which the
    group learns only through its health check."""
    instance = find(world, instance_id)
    if not instance.state.is_alive:
        return world
    refuse_static(instance, "be terminated")
    if not by_group:
        instance = replace(instance, lost_at=now)
    return set_ec2_state(world, instance, Ec2State.SHUTTING_DOWN, now, reason=reason)


def notice_spot(world: World, instance_id: str, in_seconds: float, now: float) -> World:
    """The two-minute warning. A repeated notice never moves the first one's deadline later."""
    instance = find(world, instance_id)
    if not instance.spot or instance.state is not Ec2State.RUNNING:
        raise AwsError(
            "IncorrectInstanceState",
            f"{instance_id} cannot be interrupted: it is {instance.state.value} and "
            f"{'a spot' if instance.spot else 'not a spot'} instance; only running spot instances can",
        )
    deadline = now + in_seconds
    if instance.spot_deadline is not None:
        deadline = min(deadline, instance.spot_deadline)
    noticed = replace(instance, spot_deadline=deadline)
    detail = {"instance-id": instance_id, "instance-action": "terminate"}
    arn = instance_arn(world, instance_id)
    world = put_instance(world, noticed)
    return publish(world, noticed, EventKind.SPOT_INTERRUPTION, now, resource=arn, detail=detail)


def recommend_rebalance(world: World, instance_id: str, now: float) -> World:
    instance = find(world, instance_id)
    if not instance.spot or instance.state is not Ec2State.RUNNING:
        raise AwsError(
            "IncorrectInstanceState",
            f"{instance_id} gets no rebalance recommendation: it is {instance.state.value} and "
            f"{'a spot' if instance.spot else 'not a spot'} instance; only running spot instances do",
        )
    noticed = replace(instance, rebalance_at=instance.rebalance_at or now)
    world = put_instance(world, noticed)
    arn = instance_arn(world, instance_id)
    detail = {"instance-id": instance_id}
    return publish(world, noticed, EventKind.REBALANCE, now, resource=arn, detail=detail)


def reclaim_due(world: World, now: float) -> World:
    """Spot instances whose deadline has come are taken, whatever a hook says."""
    for instance in tuple(world.instances.values()):
        deadline = instance.spot_deadline
        if deadline is None or now < deadline or instance.state.is_final:
            continue
        if instance.state is Ec2State.SHUTTING_DOWN:
            world = put_instance(world, replace(instance, spot_deadline=None))
            continue
        reason = f"{SPOT_RECLAIMED} ({iso(now)})"
        world = die(world, instance.instance_id, reason, now)
    return world


def forget_old(world: World, now: float) -> World:
    """Terminated instances disappear after an hour, unless their group still waits for a hook."""
    old = [
        instance.instance_id
        for instance in world.instances.values()
        if instance.ended is not None
        and now >= instance.ended + world.settings.keep_terminated
        and (instance.member is None or instance.member.state.is_final)
    ]
    if not old:
        return world
    kept = {key: value for key, value in world.instances.items() if key not in old}
    return replace(world, instances=kept)


def kill(world: World, instance_id: str, now: float) -> World:
    """A drill's sudden death. Refuses an instance that is not alive."""
    instance = find(world, instance_id)
    if not instance.state.is_alive:
        raise AwsError(
            "IncorrectInstanceState", f"{instance_id} cannot be killed: it is {instance.state.value}"
        )
    return die(world, instance_id, f"Server.InternalError: killed by a drill ({iso(now)})", now)


def leave_group(world: World, instance: Instance, now: float) -> World:
    """The member is Terminated: out of its group, its open actions over."""
    world = hooks.end_with_instance(world, instance.instance_id, now)
    return enter(world, instance, LifecycleState.TERMINATED, now)


def refuse_static(instance: Instance, what: str) -> None:
    if instance.static:
        raise AwsError(
            "OperationNotPermitted",
            f"{instance.instance_id} (container {instance.container}) belongs to compose and cannot {what}",
        )


def refuse_unless_running(instance: Instance) -> None:
    if instance.state is not Ec2State.RUNNING:
        raise AwsError(
            "IncorrectInstanceState", f"{instance.instance_id} is {instance.state.value}, not running"
        )
