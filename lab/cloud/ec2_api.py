"""The EC2 API's actions on instances and tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lab.cloud import query
from lab.cloud.asg import capacity, instances
from lab.cloud.asg.model import ACCOUNT, Ec2State, Instance, TemplateRef, World
from lab.cloud.asg.world import iso, put_instance, utc
from lab.cloud.aws_api import Handler, Params, drop_none
from lab.cloud.ec2_templates_api import TEMPLATE_ACTIONS
from lab.cloud.errors import AwsError

Result = tuple[World, dict[str, Any]]
PRIVATE_DOMAIN = "ec2.internal"
BAD_FILTER = "InvalidParameterValue"


def private_dns(instance: Instance) -> str:
    """``ip-10-0-0-7.ec2.internal``, '' while the address is not known."""
    if not instance.private_ip:
        return ""
    return f"ip-{instance.private_ip.replace('.', '-')}.{PRIVATE_DOMAIN}"


def describe_instances(world: World, params: Params, _now: float) -> Result:
    found = _chosen(world, params)
    shown, token = query.page(found, params, "MaxResults", 1000)
    return world, drop_none(Reservations=[_reservation(instance) for instance in shown], NextToken=token)


def describe_status(world: World, params: Params, _now: float) -> Result:
    """Running instances only, unless IncludeAllInstances (DescribeInstanceStatus, API reference)."""
    found = [
        instance
        for instance in _chosen(world, params)
        if params.get("IncludeAllInstances") or instance.state is Ec2State.RUNNING
    ]
    shown, token = query.page(found, params, "MaxResults", 1000)
    return world, drop_none(InstanceStatuses=[_status(instance) for instance in shown], NextToken=token)


def run_instances(world: World, params: Params, now: float) -> Result:
    if (params["MinCount"], params["MaxCount"]) != (1, 1):
        raise AwsError(
            "InvalidParameterValue", "The local cloud runs one instance per call: MinCount=MaxCount=1"
        )
    data: dict[str, Any] = {}
    if spec := params.get("LaunchTemplate"):
        template = capacity.find_template(world, spec.get("LaunchTemplateId"), spec.get("LaunchTemplateName"))
        ref = TemplateRef(
            template_id=template.template_id, name=template.name, version=spec.get("Version", "$Default")
        )
        data = capacity.template_data(world, ref)
    data = {**data, **params}
    world, instance = instances.create(
        world,
        now,
        instance_type=data.get("InstanceType", capacity.DEFAULT_INSTANCE_TYPE),
        image_id=data.get("ImageId", capacity.DEFAULT_IMAGE),
        user_data=data.get("UserData", ""),
        tags=capacity.tags_for(data, "instance"),
        hop_limit=data.get("MetadataOptions", {}).get("HttpPutResponseHopLimit", 1),
        spot=data.get("InstanceMarketOptions", {}).get("MarketType") == "spot",
        member=None,
    )
    return world, _reservation(world.instances[instance.instance_id])


def terminate_instances(world: World, params: Params, now: float) -> Result:
    changes = []
    for instance_id in params["InstanceIds"]:
        before = instances.find(world, instance_id).state
        reason = f"{instances.USER_SHUTDOWN} ({iso(now)})"
        world = instances.shut_down(world, instance_id, reason, now, by_group=False)
        after = instances.find(world, instance_id).state
        changes.append(
            {"InstanceId": instance_id, "PreviousState": _state(before), "CurrentState": _state(after)}
        )
    return world, {"TerminatingInstances": changes}


def create_tags(world: World, params: Params, _now: float) -> Result:
    given = {tag["Key"]: tag.get("Value", "") for tag in params["Tags"]}
    for resource in params["Resources"]:
        if resource in world.templates:
            template = world.templates[resource]
            tagged = replace(template, tags={**template.tags, **given})
            world = replace(world, templates={**world.templates, resource: tagged})
        else:
            instance = instances.find(world, resource)
            world = put_instance(world, replace(instance, tags={**instance.tags, **given}))
    return world, {}


def describe_tags(world: World, params: Params, _now: float) -> Result:
    every = [
        {"ResourceId": resource_id, "ResourceType": kind, "Key": key, "Value": value}
        for kind, resources in (("instance", world.instances), ("launch-template", world.templates))
        for resource_id, resource in resources.items()
        for key, value in resource.tags.items()
    ]
    chosen = query.select(every, params.get("Filters", ()), _tag_filter, BAD_FILTER)
    shown, token = query.page(chosen, params, "MaxResults", 1000)
    return world, drop_none(Tags=list(shown), NextToken=token)


EC2: Mapping[str, Handler] = {
    **TEMPLATE_ACTIONS,
    "DescribeInstances": describe_instances,
    "DescribeInstanceStatus": describe_status,
    "RunInstances": run_instances,
    "TerminateInstances": terminate_instances,
    "CreateTags": create_tags,
    "DescribeTags": describe_tags,
}


def _chosen(world: World, params: Params) -> list[Instance]:
    ids = params.get("InstanceIds")
    every = [instances.find(world, instance_id) for instance_id in ids] if ids else world.instances.values()
    return query.select(every, params.get("Filters", ()), _instance_filter, BAD_FILTER)


def _instance_filter(instance: Instance) -> query.Values:
    known = {
        "instance-id": instance.instance_id,
        "instance-state-name": instance.state.value,
        "instance-state-code": str(instance.state.code),
        "instance-type": instance.instance_type,
        "instance-lifecycle": "spot" if instance.spot else "",
        "private-ip-address": instance.private_ip,
        "private-dns-name": private_dns(instance),
        "availability-zone": instance.zone,
    }
    return lambda name: [known[name]] if name in known else query.tag_values(instance.tags, name)


def _tag_filter(tag: Mapping[str, str]) -> query.Values:
    known = {
        "resource-id": [tag["ResourceId"]],
        "resource-type": [tag["ResourceType"]],
        "key": [tag["Key"]],
        "value": [tag["Value"]],
    }
    return lambda name: known.get(name) or query.tag_values({tag["Key"]: tag["Value"]}, name)


def _state(state: Ec2State) -> dict[str, Any]:
    return {"Code": state.code, "Name": state.value}


def _reservation(instance: Instance) -> dict[str, Any]:
    return {
        "ReservationId": instance.instance_id.replace("i-", "r-", 1),
        "OwnerId": ACCOUNT,
        "Groups": [],
        "Instances": [_instance(instance)],
    }


def _instance(instance: Instance) -> dict[str, Any]:
    gone = instance.state.is_final
    return drop_none(
        InstanceId=instance.instance_id,
        ImageId=instance.image_id,
        InstanceType=instance.instance_type,
        State=_state(instance.state),
        StateTransitionReason=instance.reason,
        LaunchTime=utc(instance.launched),
        Placement={"AvailabilityZone": instance.zone, "Tenancy": "default", "GroupName": ""},
        # EC2 takes the addresses away with the instance.
        PrivateIpAddress=None if gone else instance.private_ip or None,
        PrivateDnsName="" if gone else private_dns(instance),
        PublicDnsName="",
        InstanceLifecycle="spot" if instance.spot else None,
        Architecture="x86_64",
        Hypervisor="xen",
        VirtualizationType="hvm",
        RootDeviceType="ebs",
        AmiLaunchIndex=0,
        Monitoring={"State": "disabled"},
        SecurityGroups=[],
        NetworkInterfaces=[],
        BlockDeviceMappings=[],
        ProductCodes=[],
        MetadataOptions={
            "State": "applied",
            "HttpTokens": "required",
            "HttpEndpoint": "enabled",
            "HttpPutResponseHopLimit": instance.hop_limit,
            "InstanceMetadataTags": "enabled",
        },
        Tags=[{"Key": key, "Value": value} for key, value in instance.tags.items()],
        StateReason={"Code": instance.reason.split(" ", 1)[0], "Message": instance.reason}
        if instance.reason
        else None,
    )


def _status(instance: Instance) -> dict[str, Any]:
    status = "ok" if instance.state is Ec2State.RUNNING else "not-applicable"
    summary = {"Status": status, "Details": list[Any]()}
    return {
        "InstanceId": instance.instance_id,
        "AvailabilityZone": instance.zone,
        "InstanceState": _state(instance.state),
        "InstanceStatus": summary,
        "SystemStatus": summary,
        "Events": [],
    }
