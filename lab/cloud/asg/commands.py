"""What the Auto Scaling API changes. Each function takes a world and returns one, or raises AwsError."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lab.cloud.asg import capacity, hooks, instances
from lab.cloud.asg.model import (
    Activity,
    EndedBy,
    Group,
    GroupTag,
    Hook,
    Instance,
    LifecycleState,
    Member,
    World,
)
from lab.cloud.asg.world import members_of, put_group, put_instance
from lab.cloud.errors import AwsError, validation_error

MAX_HOOKS = 50
"""Lifecycle hooks per group (Auto Scaling quotas)."""
PROCESSES = (
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
)


def find_group(world: World, name: str) -> Group:
    group = world.groups.get(name)
    if group is None:
        raise validation_error(f"AutoScalingGroup name not found - no such group: {name}")
    return group


def create_group(world: World, group: Group) -> World:
    if group.name in world.groups:
        raise AwsError(
            "AlreadyExists",
            f"AutoScalingGroup by this name already exists - A group with the name {group.name} "
            "already exists",
        )
    _check_sizes(group)
    if group.template:
        capacity.template_data(world, group.template)
    return put_group(world, group)


def update_group(world: World, group: Group, *, desired_given: bool) -> World:
    """A changed group; a desired capacity the caller did not give follows the new limits."""
    find_group(world, group.name)
    if not desired_given and group.min_size <= group.max_size:
        group = replace(group, desired=min(max(group.desired, group.min_size), group.max_size))
    _check_sizes(group)
    if group.template:
        capacity.template_data(world, group.template)
    return put_group(world, group)


def delete_group(world: World, name: str, now: float, *, force: bool) -> World:
    """Without force only an empty group goes; with force its instances go at once, without hooks."""
    find_group(world, name)
    members = members_of(world, name)
    if members and not force:
        raise AwsError(
            "ResourceInUse",
            "You cannot delete an AutoScalingGroup while there are instances or pending activities still in "
            f"the group: {', '.join(instance.instance_id for instance, _ in members)}",
        )
    for instance, _ in members:
        reason = f"{instances.USER_SHUTDOWN} with its Auto Scaling group"
        world = instances.shut_down(world, instance.instance_id, reason, now, by_group=True)
        world = instances.leave_group(world, world.instances[instance.instance_id], now)
    return replace(world, groups={key: group for key, group in world.groups.items() if key != name})


def set_desired(world: World, name: str, desired: int) -> World:
    group = find_group(world, name)
    if desired > group.max_size:
        raise validation_error(
            f"New SetDesiredCapacity value {desired} is above max value {group.max_size} for the "
            "AutoScalingGroup."
        )
    if desired < group.min_size:
        raise validation_error(
            f"New SetDesiredCapacity value {desired} is below min value {group.min_size} for the "
            "AutoScalingGroup."
        )
    # A person asking again is a reason to try again at once.
    return put_group(world, replace(group, desired=desired, retry_at=0.0))


def terminate_member(
    world: World, instance_id: str, now: float, *, decrement: bool
) -> tuple[World, Activity]:
    """TerminateInstanceInAutoScalingGroup: the new world and the activity under way.

    An instance that is terminating already is accepted once more **and the decrement counts again**, as
    in AWS: https://github.com/kubernetes/autoscaler/issues/4095 is what that does to a careless caller.
    """
    _, member = find_member(world, instance_id)
    group = find_group(world, member.group)
    if decrement:
        if group.desired <= group.min_size:
            raise validation_error(
                f"Currently, desiredSize equals minSize ({group.min_size}). Terminating instance without "
                "replacement will violate group's min size constraint. Either set "
                "shouldDecrementDesiredCapacity flag to false or lower group's min size."
            )
        world = put_group(world, replace(group, desired=group.desired - 1))
    if member.state.is_alive:
        cause = "an instance was taken out of service in response to a user request"
        cause += f", shrinking the capacity to {group.desired - 1}." if decrement else "."
        world = capacity.begin_terminate(world, instance_id, cause, now)
        _, member = find_member(world, instance_id)
    for activity in world.activities:
        if activity.activity_id == member.activity_id:
            return world, activity
    raise AwsError("InternalFailure", f"no scaling activity is known for {instance_id}")


def set_health(world: World, instance_id: str, *, healthy: bool) -> World:
    instance, member = find_member(world, instance_id)
    return put_instance(world, replace(instance, member=replace(member, healthy=healthy)))


def set_protection(world: World, name: str, instance_ids: Sequence[str], *, protected: bool) -> World:
    find_group(world, name)
    for instance_id in instance_ids:
        instance, member = find_member(world, instance_id)
        if member.group != name:
            raise validation_error(f"The instance {instance_id} is not part of Auto Scaling group {name}.")
        if member.state is not LifecycleState.IN_SERVICE:
            raise validation_error(
                f"The instance {instance_id} is not in InService or EnteringStandby or Standby."
            )
        world = put_instance(world, replace(instance, member=replace(member, protected=protected)))
    return world


def suspend(world: World, name: str, processes: Sequence[str]) -> World:
    group = find_group(world, name)
    wanted = _processes(processes)
    return put_group(world, replace(group, suspended=tuple(sorted({*group.suspended, *wanted}))))


def resume(world: World, name: str, processes: Sequence[str]) -> World:
    group = find_group(world, name)
    wanted = _processes(processes)
    kept = tuple(process for process in group.suspended if process not in wanted)
    return put_group(world, replace(group, suspended=kept))


def put_hook(world: World, name: str, hook: Hook) -> World:
    group = find_group(world, name)
    if not 30 <= hook.heartbeat_timeout <= 7200:  # noqa: PLR2004 - PutLifecycleHook's documented range
        raise validation_error(
            f"Valid range for HeartbeatTimeout is between 30 and 7200 seconds, not {hook.heartbeat_timeout}"
        )
    others = tuple(other for other in group.hooks if other.name != hook.name)
    if len(others) >= MAX_HOOKS:
        raise AwsError("LimitExceeded", f"{name} already has {MAX_HOOKS} lifecycle hooks")
    return put_group(world, replace(group, hooks=(*others, hook)))


def delete_hook(world: World, name: str, hook_name: str, now: float) -> World:
    """Actions waiting on the hook complete at once: ABANDON for launches, CONTINUE for terminations
    (DeleteLifecycleHook's documentation says the same of outstanding actions)."""
    group = find_group(world, name)
    gone = next((hook for hook in group.hooks if hook.name == hook_name), None)
    if gone is None:
        raise validation_error(f"No Lifecycle Hook found with name {hook_name} for group {name}")
    world = put_group(world, replace(group, hooks=tuple(h for h in group.hooks if h is not gone)))
    return hooks.end_with_hook(world, name, gone, EndedBy.COMPLETED, now)


def put_tag(world: World, name: str, tag: GroupTag) -> World:
    group = find_group(world, name)
    others = tuple(other for other in group.tags if other.key != tag.key)
    return put_group(world, replace(group, tags=(*others, tag)))


def delete_tag(world: World, name: str, key: str) -> World:
    group = find_group(world, name)
    return put_group(world, replace(group, tags=tuple(tag for tag in group.tags if tag.key != key)))


def find_member(world: World, instance_id: str) -> tuple[Instance, Member]:
    instance = world.instances.get(instance_id)
    if instance is None or instance.member is None or instance.member.state.is_final:
        raise validation_error(
            f"Instance Id not found - No managed instance found for instance ID: {instance_id}"
        )
    return instance, instance.member


def _check_sizes(group: Group) -> None:
    if group.min_size > group.max_size:
        raise validation_error(
            f"Min bound, {group.min_size}, must be less than or equal to Max bound, {group.max_size}"
        )
    if not group.min_size <= group.desired <= group.max_size:
        raise validation_error(
            f"Desired capacity:{group.desired} must be between the specified min size:{group.min_size} and "
            f"max size:{group.max_size}"
        )


def _processes(names: Sequence[str]) -> tuple[str, ...]:
    unknown = [name for name in names if name not in PROCESSES]
    if unknown:
        raise validation_error(f"Unknown process {', '.join(unknown)}; allowed: {', '.join(PROCESSES)}")
    return tuple(names) or PROCESSES
