"""The Auto Scaling API's actions on groups and their instances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lab.cloud import query
from lab.cloud.asg import capacity, commands
from lab.cloud.asg.model import Activity, Group, GroupTag, Instance, Member, TemplateRef, World
from lab.cloud.asg.world import group_arn, members_of, utc
from lab.cloud.autoscaling_hooks_api import HOOK_ACTIONS
from lab.cloud.aws_api import Handler, Params, drop_none
from lab.cloud.errors import AwsError, validation_error

Result = tuple[World, dict[str, Any]]


def create_group(world: World, params: Params, now: float) -> Result:
    subnets = params.get("VPCZoneIdentifier", "")
    group = Group(
        name=params["AutoScalingGroupName"],
        created=now,
        min_size=params["MinSize"],
        max_size=params["MaxSize"],
        desired=params.get("DesiredCapacity", params["MinSize"]),
        zones=tuple(params.get("AvailabilityZones", ())) or world.settings.zones,
        subnets=subnets,
        default_cooldown=params.get("DefaultCooldown", 300),
        health_check_type=params.get("HealthCheckType", "EC2"),
        health_check_grace=params.get("HealthCheckGracePeriod", 0),
        protect_new=params.get("NewInstancesProtectedFromScaleIn", False),
        capacity_rebalance=params.get("CapacityRebalance", False),
        template=_template_ref(world, params),
        mixed=params.get("MixedInstancesPolicy"),
        tags=tuple(_tag(tag) for tag in params.get("Tags", ())),
    )
    world = commands.create_group(world, group)
    for spec in params.get("LifecycleHookSpecificationList", ()):
        world, _ = HOOK_ACTIONS["PutLifecycleHook"](world, {**spec, "AutoScalingGroupName": group.name}, now)
    return world, {}


def update_group(world: World, params: Params, _now: float) -> Result:
    group = commands.find_group(world, params["AutoScalingGroupName"])
    changed = replace(
        group,
        min_size=params.get("MinSize", group.min_size),
        max_size=params.get("MaxSize", group.max_size),
        desired=params.get("DesiredCapacity", group.desired),
        zones=tuple(params.get("AvailabilityZones", group.zones)),
        subnets=params.get("VPCZoneIdentifier", group.subnets),
        default_cooldown=params.get("DefaultCooldown", group.default_cooldown),
        health_check_type=params.get("HealthCheckType", group.health_check_type),
        health_check_grace=params.get("HealthCheckGracePeriod", group.health_check_grace),
        protect_new=params.get("NewInstancesProtectedFromScaleIn", group.protect_new),
        capacity_rebalance=params.get("CapacityRebalance", group.capacity_rebalance),
        template=_template_ref(world, params) or group.template,
        mixed=params.get("MixedInstancesPolicy", group.mixed),
    )
    return commands.update_group(world, changed, desired_given="DesiredCapacity" in params), {}


def delete_group(world: World, params: Params, now: float) -> Result:
    name, force = params["AutoScalingGroupName"], params.get("ForceDelete", False)
    return commands.delete_group(world, name, now, force=force), {}


def describe_groups(world: World, params: Params, _now: float) -> Result:
    names = params.get("AutoScalingGroupNames")
    groups = [group for group in world.groups.values() if not names or group.name in names]
    groups = query.select(groups, params.get("Filters", ()), _group_filter, "ValidationError")
    shown, token = query.page(groups, params, "MaxRecords", 50)
    return world, drop_none(AutoScalingGroups=[_group(world, group) for group in shown], NextToken=token)


def describe_instances(world: World, params: Params, _now: float) -> Result:
    wanted = params.get("InstanceIds")
    found = [
        {**_member(instance, member), "AutoScalingGroupName": name}
        for name in world.groups
        for instance, member in members_of(world, name)
        if not wanted or instance.instance_id in wanted
    ]
    shown, token = query.page(found, params, "MaxRecords", 50)
    # This one call writes the health status in capitals (DescribeAutoScalingInstances, API reference).
    upper = [{**details, "HealthStatus": details["HealthStatus"].upper()} for details in shown]
    return world, drop_none(AutoScalingInstances=upper, NextToken=token)


def set_desired(world: World, params: Params, _now: float) -> Result:
    return commands.set_desired(world, params["AutoScalingGroupName"], params["DesiredCapacity"]), {}


def terminate_instance(world: World, params: Params, now: float) -> Result:
    instance_id = params.get("InstanceId")
    if not instance_id:
        raise validation_error("InstanceId must be specified; the local cloud takes one instance per call")
    decrement = params["ShouldDecrementDesiredCapacity"]
    world, activity = commands.terminate_member(world, instance_id, now, decrement=decrement)
    return world, {"Activity": _activity(activity)}


def describe_activities(world: World, params: Params, _now: float) -> Result:
    name, ids = params.get("AutoScalingGroupName"), params.get("ActivityIds")
    found = [
        _activity(activity)
        for activity in reversed(world.activities)
        if (not name or activity.group == name) and (not ids or activity.activity_id in ids)
    ]
    shown, token = query.page(found, params, "MaxRecords", 100)
    return world, drop_none(Activities=list(shown), NextToken=token)


def set_health(world: World, params: Params, _now: float) -> Result:
    allowed = {"Healthy": True, "Unhealthy": False}
    status = params["HealthStatus"]
    if status not in allowed:
        raise validation_error(f"HealthStatus {status!r} is not one of {', '.join(allowed)}")
    return commands.set_health(world, params["InstanceId"], healthy=allowed[status]), {}


def set_protection(world: World, params: Params, _now: float) -> Result:
    protected = params["ProtectedFromScaleIn"]
    name, ids = params["AutoScalingGroupName"], params["InstanceIds"]
    return commands.set_protection(world, name, ids, protected=protected), {}


def suspend(world: World, params: Params, _now: float) -> Result:
    return commands.suspend(world, params["AutoScalingGroupName"], params.get("ScalingProcesses", ())), {}


def resume(world: World, params: Params, _now: float) -> Result:
    return commands.resume(world, params["AutoScalingGroupName"], params.get("ScalingProcesses", ())), {}


def put_tags(world: World, params: Params, _now: float) -> Result:
    for tag in params["Tags"]:
        world = commands.put_tag(world, tag.get("ResourceId", ""), _tag(tag))
    return world, {}


def delete_tags(world: World, params: Params, _now: float) -> Result:
    for tag in params["Tags"]:
        world = commands.delete_tag(world, tag.get("ResourceId", ""), tag["Key"])
    return world, {}


def describe_tags(world: World, params: Params, _now: float) -> Result:
    every = [(group.name, tag) for group in world.groups.values() for tag in group.tags]
    chosen = query.select(every, params.get("Filters", ()), _tag_filter, "ValidationError")
    shown, token = query.page(chosen, params, "MaxRecords", 50)
    return world, drop_none(Tags=[_tag_description(name, tag) for name, tag in shown], NextToken=token)


AUTOSCALING: Mapping[str, Handler] = {
    **HOOK_ACTIONS,
    "CreateAutoScalingGroup": create_group,
    "UpdateAutoScalingGroup": update_group,
    "DeleteAutoScalingGroup": delete_group,
    "DescribeAutoScalingGroups": describe_groups,
    "DescribeAutoScalingInstances": describe_instances,
    "SetDesiredCapacity": set_desired,
    "TerminateInstanceInAutoScalingGroup": terminate_instance,
    "DescribeScalingActivities": describe_activities,
    "SetInstanceHealth": set_health,
    "SetInstanceProtection": set_protection,
    "SuspendProcesses": suspend,
    "ResumeProcesses": resume,
    "CreateOrUpdateTags": put_tags,
    "DeleteTags": delete_tags,
    "DescribeTags": describe_tags,
}


def _template_ref(world: World, params: Params) -> TemplateRef | None:
    mixed = params.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {})
    given = params.get("LaunchTemplate") or mixed.get("LaunchTemplateSpecification")
    if not given:
        return None
    try:
        template = capacity.find_template(
            world, given.get("LaunchTemplateId"), given.get("LaunchTemplateName")
        )
    except AwsError as error:
        # Auto Scaling words a missing template as a validation error of its own.
        raise validation_error(
            f"You must use a valid fully-formed launch template. {error.message}"
        ) from None
    version = given.get("Version", "$Default")
    return TemplateRef(template_id=template.template_id, name=template.name, version=version)


def _template(ref: TemplateRef | None) -> dict[str, str] | None:
    if ref is None:
        return None
    return {
        "LaunchTemplateId": ref.template_id,
        "LaunchTemplateName": ref.name,
        "Version": ref.version,
    }


def _group(world: World, group: Group) -> dict[str, Any]:
    return drop_none(
        AutoScalingGroupName=group.name,
        AutoScalingGroupARN=group_arn(world, group.name),
        MinSize=group.min_size,
        MaxSize=group.max_size,
        DesiredCapacity=group.desired,
        DefaultCooldown=group.default_cooldown,
        AvailabilityZones=list(group.zones),
        VPCZoneIdentifier=group.subnets or None,
        LoadBalancerNames=[],
        TargetGroupARNs=[],
        HealthCheckType=group.health_check_type,
        HealthCheckGracePeriod=group.health_check_grace,
        CreatedTime=utc(group.created),
        NewInstancesProtectedFromScaleIn=group.protect_new,
        CapacityRebalance=group.capacity_rebalance,
        TerminationPolicies=["Default"],
        EnabledMetrics=[],
        TrafficSources=[],
        Instances=[_member(instance, member) for instance, member in members_of(world, group.name)],
        SuspendedProcesses=[
            {"ProcessName": name, "SuspensionReason": "User suspended"} for name in group.suspended
        ],
        Tags=[_tag_description(group.name, tag) for tag in group.tags],
        # A group has one or the other.
        LaunchTemplate=None if group.mixed else _template(group.template),
        MixedInstancesPolicy=group.mixed,
    )


def _member(instance: Instance, member: Member) -> dict[str, Any]:
    return {
        "InstanceId": instance.instance_id,
        "InstanceType": instance.instance_type,
        "AvailabilityZone": instance.zone,
        "LifecycleState": member.state.value,
        "HealthStatus": "Healthy" if member.healthy else "Unhealthy",
        "ProtectedFromScaleIn": member.protected,
    }


def _activity(activity: Activity) -> dict[str, Any]:
    return drop_none(
        ActivityId=activity.activity_id,
        AutoScalingGroupName=activity.group,
        Description=activity.description,
        Cause=activity.cause,
        StartTime=utc(activity.started),
        EndTime=utc(activity.ended) if activity.ended is not None else None,
        StatusCode=activity.status.value,
        StatusMessage=activity.message or None,
        Progress=100 if activity.status.is_final else 50,
        Details="{}",
    )


def _tag(tag: Mapping[str, Any]) -> GroupTag:
    return GroupTag(key=tag["Key"], value=tag.get("Value", ""), propagate=tag.get("PropagateAtLaunch", False))


def _tag_description(group: str, tag: GroupTag) -> dict[str, Any]:
    return {
        "ResourceId": group,
        "ResourceType": "auto-scaling-group",
        "Key": tag.key,
        "Value": tag.value,
        "PropagateAtLaunch": tag.propagate,
    }


def _group_filter(group: Group) -> query.Values:
    return lambda name: query.tag_values({tag.key: tag.value for tag in group.tags}, name)


def _tag_filter(item: tuple[str, GroupTag]) -> query.Values:
    group, tag = item
    known = {
        "auto-scaling-group": [group],
        "key": [tag.key],
        "value": [tag.value],
        "propagate-at-launch": [str(tag.propagate).lower()],
    }
    return known.get
