"""``step``: what a moment of time does to the world."""

from __future__ import annotations

from dataclasses import replace

from lab.cloud.asg import capacity, hooks, instances
from lab.cloud.asg.model import (
    ActivityStatus,
    Ec2State,
    Effect,
    Group,
    Instance,
    Kill,
    Launch,
    LifecycleState,
    Member,
    Publish,
    Stop,
    Transition,
    World,
)
from lab.cloud.asg.world import enter, mark_activity, members_of, put_instance


def step(world: World, now: float) -> tuple[World, tuple[Effect, ...]]:
    """The world at ``now`` and what must be done outside it. Stepping again at the same ``now`` until
    nothing changes is safe; an effect is handed out once."""
    world = hooks.expire(world, now)
    world = instances.reclaim_due(world, now)
    for group in tuple(world.groups.values()):
        for instance, member in members_of(world, group.name):
            world = _advance(world, group, instance, member, now)
        world = capacity.balance(world, group.name, now)
    world = instances.forget_old(world, now)
    return _dispatch(world)


def _advance(world: World, group: Group, instance: Instance, member: Member, now: float) -> World:
    settled = now >= member.since + world.settings.settle
    match member.state:
        case LifecycleState.PENDING:
            world = _pending(world, group, instance, settled, now)
        case LifecycleState.PENDING_WAIT:
            world = _pending_wait(world, instance, now)
        case LifecycleState.PENDING_PROCEED if settled:
            world = _into_service(world, instance, now)
        case LifecycleState.IN_SERVICE:
            world = _check_health(world, group, instance, member, now)
        case LifecycleState.TERMINATING if settled:
            world = _terminating(world, group, instance, member, now)
        case LifecycleState.TERMINATING_WAIT:
            world = _terminating_wait(world, instance, member, now)
        case LifecycleState.TERMINATING_PROCEED if settled:
            world = _retire(world, instance, now)
    return world


def _pending(world: World, group: Group, instance: Instance, settled: bool, now: float) -> World:
    if _noticed_dead(world, instance, now):
        return _lost_while_pending(world, instance, now)
    if instance.state is not Ec2State.RUNNING or not settled:
        return world
    if not group.hooks_for(Transition.LAUNCHING):
        return _into_service(world, instance, now)
    world = mark_activity(world, instance, ActivityStatus.MID_LIFECYCLE_ACTION, now)
    world = enter(world, instance, LifecycleState.PENDING_WAIT, now)
    return hooks.open_for(world, group, instance, Transition.LAUNCHING, now)


def _pending_wait(world: World, instance: Instance, now: float) -> World:
    if _noticed_dead(world, instance, now):
        return _lost_while_pending(world, instance, now)
    if hooks.was_abandoned(world, instance.instance_id, Transition.LAUNCHING):
        message = "Lifecycle action result was ABANDON: the instance is terminated and replaced"
        world = mark_activity(world, instance, ActivityStatus.FAILED, now, message=message)
        cause = "an instance was taken out of service because its launch lifecycle action was abandoned."
        return capacity.begin_terminate(world, instance.instance_id, cause, now, with_hooks=False)
    if hooks.has_open(world, instance.instance_id):
        return world
    return enter(world, instance, LifecycleState.PENDING_PROCEED, now)


def _lost_while_pending(world: World, instance: Instance, now: float) -> World:
    message = f"Instance failed to launch: it was terminated while pending ({instance.reason})"
    world = mark_activity(world, instance, ActivityStatus.FAILED, now, message=message)
    return instances.leave_group(world, instance, now)


def _into_service(world: World, instance: Instance, now: float) -> World:
    world = mark_activity(world, instance, ActivityStatus.SUCCESSFUL, now)
    return enter(world, instance, LifecycleState.IN_SERVICE, now)


def _check_health(world: World, group: Group, instance: Instance, member: Member, now: float) -> World:
    if "ReplaceUnhealthy" in group.suspended:
        return world
    if _noticed_dead(world, instance, now):
        cause = (
            "an instance was taken out of service in response to an EC2 health check indicating it has "
            "been terminated or stopped."
        )
    elif not member.healthy:
        cause = "an instance was taken out of service in response to a user health-check."
    else:
        return world
    return capacity.begin_terminate(world, instance.instance_id, cause, now)


def _terminating(world: World, group: Group, instance: Instance, member: Member, now: float) -> World:
    # Terminate hooks run for instances that died on their own as well: the group puts the dead one into
    # Terminating:Wait (https://github.com/jenkinsci/ec2-fleet-plugin/issues/452).
    if member.hooks_done or not group.hooks_for(Transition.TERMINATING):
        return _retire(world, instance, now)
    world = enter(world, instance, LifecycleState.TERMINATING_WAIT, now)
    world = mark_activity(world, instance, ActivityStatus.MID_LIFECYCLE_ACTION, now)
    return hooks.open_for(world, group, instance, Transition.TERMINATING, now)


def _terminating_wait(world: World, instance: Instance, member: Member, now: float) -> World:
    died_here = instance.lost_at is not None and instance.lost_at >= member.since
    if died_here and _noticed_dead(world, instance, now):
        world = hooks.end_with_instance(world, instance.instance_id, now)
    if hooks.has_open(world, instance.instance_id):
        return world
    world = put_instance(world, replace(instance, member=replace(member, hooks_done=True)))
    world = mark_activity(world, instance, ActivityStatus.IN_PROGRESS, now)
    return enter(world, world.instances[instance.instance_id], LifecycleState.TERMINATING_PROCEED, now)


def _retire(world: World, instance: Instance, now: float) -> World:
    """Shut the machine down, and out of the group once it is gone."""
    if instance.state.is_final:
        world = mark_activity(world, instance, ActivityStatus.SUCCESSFUL, now)
        return instances.leave_group(world, instance, now)
    reason = f"{instances.USER_SHUTDOWN} by its Auto Scaling group"
    return instances.shut_down(world, instance.instance_id, reason, now, by_group=True)


def _noticed_dead(world: World, instance: Instance, now: float) -> bool:
    """True once the group's health check has seen that the instance died on its own."""
    return instance.lost_at is not None and now >= instance.lost_at + world.settings.health_check_delay


def _dispatch(world: World) -> tuple[World, tuple[Effect, ...]]:
    """Hand out events and what the launcher has to do, each once."""
    effects: list[Effect] = [Publish(event) for event in world.outbox]
    if effects:
        world = replace(world, outbox=())
    for instance in tuple(world.instances.values()):
        order = None if instance.dispatched else _order(instance)
        if order is not None:
            effects.append(order)
            world = put_instance(world, replace(instance, dispatched=True))
    return world, tuple(effects)


def _order(instance: Instance) -> Launch | Stop | Kill | None:
    """What the instance's state asks of the launcher."""
    match instance.state:
        case Ec2State.PENDING:
            return Launch(instance.instance_id)
        case Ec2State.SHUTTING_DOWN:
            return Stop(instance.instance_id)
        case Ec2State.TERMINATED:
            return Kill(instance.instance_id)
    return None
