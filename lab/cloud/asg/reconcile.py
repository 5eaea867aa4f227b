"""Bringing the remembered world and the machines that really run together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from lab.cloud.asg import instances
from lab.cloud.asg.model import Ec2State, Instance, LifecycleState, World
from lab.cloud.asg.world import put_instance


def at_start(world: World, running: Mapping[str, Instance], now: float) -> World:
    """After a restart. ``running`` are the machines found alive, as their labels and addresses describe them.

    A machine nobody remembers is adopted into service; what was under way is ordered again; an instance
    whose machine is gone died while nobody looked; a machine whose instance has ended is removed.
    """
    for found in running.values():
        known = world.instances.get(found.instance_id)
        if known is None:
            world = put_instance(world, _in_service(found, now))
        elif known.state is Ec2State.PENDING:
            world = instances.launched(world, known.instance_id, found.private_ip, found.imds_ip, now)
        elif known.state is Ec2State.TERMINATED:
            world = put_instance(world, replace(known, dispatched=False))
    for instance in tuple(world.instances.values()):
        if instance.static:
            continue
        if instance.state in {Ec2State.PENDING, Ec2State.SHUTTING_DOWN}:
            world = put_instance(world, replace(instance, dispatched=False))
    seen = [i.instance_id for i in world.instances.values() if i.state is Ec2State.RUNNING]
    return lost(world, seen, running, now)


def lost(world: World, seen_running: Collection[str], running: Collection[str], now: float) -> World:
    """Instances that ran before the machines were listed and are not in the list have powered off."""
    for instance_id in seen_running:
        instance = world.instances.get(instance_id)
        if instance is None or instance.static or instance.state is not Ec2State.RUNNING:
            continue
        if instance_id not in running:
            world = instances.die(world, instance_id, instances.SELF_SHUTDOWN, now)
    return world


def _in_service(found: Instance, now: float) -> Instance:
    member = found.member
    if member:
        member = replace(member, state=LifecycleState.IN_SERVICE, since=now)
    return replace(found, state=Ec2State.RUNNING, dispatched=True, member=member)
