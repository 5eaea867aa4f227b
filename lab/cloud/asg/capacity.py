"""How many instances a group has: launching what is missing, terminating what is too much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lab.cloud.asg import hooks, instances
from lab.cloud.asg.model import (
    ActivityStatus,
    Group,
    LaunchTemplate,
    LifecycleState,
    Member,
    TemplateRef,
    World,
)
from lab.cloud.asg.world import enter, members_of, open_activity
from lab.cloud.errors import AwsError

DEFAULT_INSTANCE_TYPE = "t3.large"
DEFAULT_IMAGE = "ami-0123456789abcdef0"


def balance(world: World, group_name: str, now: float) -> World:
    """Bring the number of members that count to the desired capacity."""
    group = world.groups[group_name]
    counting = [pair for pair in members_of(world, group_name) if pair[1].state.is_alive]
    missing = group.desired - len(counting)
    if missing > 0 and "Launch" not in group.suspended and now >= group.retry_at:
        cause = (
            "an instance was started in response to a difference between desired and actual capacity, "
            f"increasing the capacity from {len(counting)} to {group.desired}."
        )
        for _ in range(missing):
            world = _launch(world, group, cause, now)
    if missing < 0 and "Terminate" not in group.suspended:
        cause = (
            "an instance was taken out of service in response to a difference between desired and actual "
            f"capacity, shrinking the capacity from {len(counting)} to {group.desired}."
        )
        unprotected = [instance for instance, member in counting if not member.protected]
        for instance in unprotected[:-missing]:
            world = begin_terminate(world, instance.instance_id, cause, now)
    return world


def begin_terminate(
    world: World, instance_id: str, cause: str, now: float, *, with_hooks: bool = True
) -> World:
    """The member leaves service; its terminate hooks follow unless ``with_hooks`` is False."""
    world = hooks.end_with_instance(world, instance_id, now)
    instance = instances.find(world, instance_id)
    world = open_activity(
        world,
        instance,
        now,
        description=f"Terminating EC2 instance: {instance_id}",
        cause=cause,
        status=ActivityStatus.IN_PROGRESS,
    )
    instance = instances.find(world, instance_id)
    if instance.member is not None and not with_hooks:
        instance = replace(instance, member=replace(instance.member, hooks_done=True))
    return enter(world, instance, LifecycleState.TERMINATING, now)


def _launch(world: World, group: Group, cause: str, now: float) -> World:
    data = template_data(world, group.template) if group.template else {}
    tags = tags_for(data, "instance") | {tag.key: tag.value for tag in group.tags if tag.propagate}
    tags["aws:autoscaling:groupName"] = group.name
    member = Member(group=group.name, state=LifecycleState.PENDING, since=now, protected=group.protect_new)
    world, instance = instances.create(
        world,
        now,
        instance_type=data.get("InstanceType", DEFAULT_INSTANCE_TYPE),
        image_id=data.get("ImageId", DEFAULT_IMAGE),
        user_data=data.get("UserData", ""),
        tags=tags,
        hop_limit=data.get("MetadataOptions", {}).get("HttpPutResponseHopLimit", 1),
        spot=True,
        member=member,
    )
    return open_activity(
        world,
        world.instances[instance.instance_id],
        now,
        description=f"Launching a new EC2 instance: {instance.instance_id}",
        cause=cause,
        status=ActivityStatus.PRE_IN_SERVICE,
    )


def tags_for(data: Mapping[str, Any], resource_type: str) -> dict[str, str]:
    """The tags that TagSpecifications give a kind of resource."""
    specs = [spec for spec in data.get("TagSpecifications", ()) if spec.get("ResourceType") == resource_type]
    return {tag["Key"]: tag.get("Value", "") for spec in specs for tag in spec.get("Tags", ())}


def find_template(world: World, template_id: str | None, name: str | None) -> LaunchTemplate:
    """By id or by name, or AwsError."""
    for template in world.templates.values():
        if template_id == template.template_id or (template_id is None and name == template.name):
            return template
    if template_id is not None:
        raise AwsError(
            "InvalidLaunchTemplateId.NotFound",
            f"The specified launch template, with template ID {template_id}, does not exist.",
        )
    raise AwsError(
        "InvalidLaunchTemplateName.NotFoundException",
        f"The specified launch template, with template name {name}, does not exist.",
    )


def template_data(world: World, ref: TemplateRef) -> dict[str, Any]:
    """LaunchTemplateData of the version the reference means; $Default is version 1 here."""
    template = find_template(world, ref.template_id, ref.name)
    wanted = {"$Latest": template.versions[-1].number, "$Default": 1}.get(ref.version, ref.version)
    for version in template.versions:
        if str(version.number) == str(wanted):
            return dict(version.data)
    raise AwsError(
        "InvalidLaunchTemplateId.VersionNotFound",
        f"Could not find launch template version {ref.version} of {template.name}",
    )
