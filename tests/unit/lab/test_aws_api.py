"""What goes over the wire is what botocore expects: results come back from its parser unchanged."""

from __future__ import annotations

import base64
from urllib.parse import parse_qsl

import pytest
from botocore.awsrequest import AWSRequest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from botocore.session import get_session

from lab.cloud.asg import instances
from lab.cloud.asg.model import World
from lab.cloud.autoscaling_api import AUTOSCALING
from lab.cloud.aws_api import Service, service_of
from lab.cloud.ec2_api import EC2

HANDLERS = {"autoscaling": AUTOSCALING, "ec2": EC2}
MODELS = {name: get_session().get_service_model(name) for name in HANDLERS}
GROUP = "swarmhub-lab-cpu"


class Wire:
    """Calls handlers as boto3 would, bytes and all, and insists on an unchanged round trip."""

    def __init__(self, driver):
        self.driver = driver
        self.services = {name: Service(name, handlers) for name, handlers in HANDLERS.items()}
        self.called = set()

    def call(self, service, action, **params):
        model = MODELS[service].operation_model(action)
        request = create_serializer(model.service_model.protocol).serialize_to_request(params, model)
        prepared = AWSRequest(method="POST", url="http://x/", data=request["body"]).prepare()
        form = dict(parse_qsl(prepared.body, keep_blank_values=True))
        results = []

        def apply(change):
            self.driver.world, result = change(self.driver.world, self.driver.now)
            results.append(result)
            return result

        reply = self.services[service].answer(form, apply)
        parsed = create_parser(model.service_model.protocol).parse(
            {"status_code": reply.status, "body": reply.body.encode(), "headers": dict(reply.headers)},
            model.output_shape,
        )
        assert parsed.pop("ResponseMetadata")["RequestId"]
        if reply.status == 200:
            self.called.add((service, action))
            assert parsed == results[0]
        return parsed


@pytest.fixture
def wire(asg):
    return Wire(asg)


def test_every_action_survives_the_round_trip_through_botocore(wire):
    asg, call = wire.driver, wire.call
    ref = {"LaunchTemplateName": "worker", "Version": "$Latest"}
    data = {
        "InstanceType": "m5.large",
        "UserData": base64.b64encode(b"#!/bin/sh").decode(),
        "MetadataOptions": {"HttpPutResponseHopLimit": 1, "HttpTokens": "required"},
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "from", "Value": "template"}]}],
    }
    call("ec2", "CreateLaunchTemplate", LaunchTemplateName="worker", LaunchTemplateData=data)
    call("ec2", "CreateLaunchTemplateVersion", LaunchTemplateName="worker", LaunchTemplateData=data)
    assert call("ec2", "DescribeLaunchTemplates")["LaunchTemplates"][0]["LatestVersionNumber"] == 2
    versions = call(
        "ec2", "DescribeLaunchTemplateVersions", LaunchTemplateName="worker", Versions=["$Latest"]
    )
    assert versions["LaunchTemplateVersions"][0]["LaunchTemplateData"] == data

    tag = {"ResourceId": "g", "ResourceType": "auto-scaling-group", "Key": "k", "Value": "v"}
    call(
        "autoscaling",
        "CreateAutoScalingGroup",
        AutoScalingGroupName="g",
        MinSize=0,
        MaxSize=3,
        DesiredCapacity=2,
        LaunchTemplate=ref,
        Tags=[{**tag, "PropagateAtLaunch": True}],
        LifecycleHookSpecificationList=[
            {"LifecycleHookName": "up", "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING"}
        ],
    )
    asg.advance(3)
    (action, other) = asg.world.actions
    first = action.instance_id
    assert asg.world.instances[first].instance_type == "m5.large"
    assert asg.world.instances[first].tags["from"] == "template"
    hook = {"AutoScalingGroupName": "g", "LifecycleHookName": "up", "InstanceId": first}
    call("autoscaling", "RecordLifecycleActionHeartbeat", **hook)
    for pending in (action, other):
        call(
            "autoscaling",
            "CompleteLifecycleAction",
            AutoScalingGroupName="g",
            LifecycleHookName="up",
            LifecycleActionToken=pending.token,
            LifecycleActionResult="CONTINUE",
        )
    asg.advance(3)
    for name in ("SuspendProcesses", "ResumeProcesses"):
        call("autoscaling", name, AutoScalingGroupName="g", ScalingProcesses=["AZRebalance"])
    call(
        "autoscaling",
        "SetInstanceProtection",
        AutoScalingGroupName="g",
        InstanceIds=[first],
        ProtectedFromScaleIn=True,
    )
    call("autoscaling", "CreateOrUpdateTags", Tags=[{**tag, "Key": "k2", "PropagateAtLaunch": False}])
    filters = [{"Name": "tag:k", "Values": ["v"]}, {"Name": "tag-key", "Values": ["k2"]}]
    (group,) = call("autoscaling", "DescribeAutoScalingGroups", Filters=filters)["AutoScalingGroups"]
    assert [i["LifecycleState"] for i in group["Instances"]] == ["InService", "InService"]
    assert len(call("autoscaling", "DescribeTags")["Tags"]) == 5
    call("autoscaling", "DeleteTags", Tags=[{"ResourceId": "g", "ResourceType": "x", "Key": "k2"}])
    assert call("autoscaling", "DescribeAutoScalingInstances")["AutoScalingInstances"]
    call("autoscaling", "DescribeLifecycleHooks", AutoScalingGroupName="g")
    call(
        "autoscaling",
        "PutLifecycleHook",
        AutoScalingGroupName="g",
        LifecycleHookName="down",
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        NotificationMetadata="<m & m>",
        HeartbeatTimeout=60,
    )
    call("autoscaling", "DeleteLifecycleHook", AutoScalingGroupName="g", LifecycleHookName="up")
    call("autoscaling", "SetDesiredCapacity", AutoScalingGroupName="g", DesiredCapacity=3)
    call(
        "autoscaling",
        "TerminateInstanceInAutoScalingGroup",
        InstanceId=first,
        ShouldDecrementDesiredCapacity=True,
    )
    call("autoscaling", "SetInstanceHealth", InstanceId=other.instance_id, HealthStatus="Unhealthy")
    assert call("autoscaling", "DescribeScalingActivities", AutoScalingGroupName="g")["Activities"]

    call("ec2", "CreateTags", Resources=[first], Tags=[{"Key": "a", "Value": "<b>"}])
    assert call("ec2", "DescribeTags", Filters=[{"Name": "key", "Values": ["a"]}])["Tags"]
    call("ec2", "RunInstances", MinCount=1, MaxCount=1, InstanceType="t3.micro", LaunchTemplate=ref)
    asg.advance(2)
    assert call("ec2", "DescribeInstances")["Reservations"]
    assert call("ec2", "DescribeInstanceStatus", IncludeAllInstances=True)["InstanceStatuses"]
    changed = call("ec2", "TerminateInstances", InstanceIds=[other.instance_id])["TerminatingInstances"]
    assert changed[0]["CurrentState"]["Name"] == "shutting-down"
    call("autoscaling", "UpdateAutoScalingGroup", AutoScalingGroupName="g", MaxSize=1)
    call("autoscaling", "DeleteAutoScalingGroup", AutoScalingGroupName="g", ForceDelete=True)

    every = {(service, action) for service, handlers in HANDLERS.items() for action in handlers}
    assert wire.called == every


def test_an_empty_world_gives_empty_lists_not_missing_keys(asg):
    asg.world = World(seed="empty")
    wire = Wire(asg)
    assert wire.call("autoscaling", "DescribeAutoScalingGroups") == {"AutoScalingGroups": []}
    assert wire.call("autoscaling", "DescribeScalingActivities") == {"Activities": []}
    assert wire.call("ec2", "DescribeInstances") == {"Reservations": []}


@pytest.mark.parametrize("service", ["autoscaling", "ec2"])
def test_an_unknown_action_is_refused_by_name(service, asg):
    reply = Service(service, HANDLERS[service]).answer(
        {"Action": "MakeCoffee"}, lambda change: change(asg.world, asg.now)[1]
    )
    assert reply.status == 400
    assert "<Code>InvalidAction</Code>" in reply.body
    assert "MakeCoffee" in reply.body


def test_a_real_action_that_is_not_implemented_says_which_are(wire):
    error = wire.call("autoscaling", "StartInstanceRefresh", AutoScalingGroupName="g")["Error"]
    assert error["Code"] == "InvalidAction"
    assert "StartInstanceRefresh" in error["Message"]
    assert "CompleteLifecycleAction" in error["Message"]


def test_a_missing_parameter_is_named(asg):
    form = {"Action": "SetDesiredCapacity", "AutoScalingGroupName": GROUP}
    reply = Service("autoscaling", AUTOSCALING).answer(form, lambda change: change(asg.world, asg.now)[1])
    assert reply.status == 400
    assert "DesiredCapacity" in reply.body


def test_a_result_that_botocore_does_not_know_is_a_server_error(asg):
    handlers = {"DescribeAutoScalingGroups": lambda world, params, now: (world, {"Groups": []})}
    reply = Service("autoscaling", handlers).answer(
        {"Action": "DescribeAutoScalingGroups"}, lambda change: change(asg.world, asg.now)[1]
    )
    assert reply.status == 500
    assert "InternalFailure" in reply.body


def test_paging_gives_every_item_once(wire):
    wire.driver.in_service(5)
    seen, token = [], None
    while True:
        more = {"NextToken": token} if token else {}
        answer = wire.call("autoscaling", "DescribeAutoScalingInstances", MaxRecords=2, **more)
        seen += [item["InstanceId"] for item in answer["AutoScalingInstances"]]
        token = answer.get("NextToken")
        if not token:
            break
    assert sorted(seen) == sorted(instance.instance_id for instance in wire.driver.members)
    bad = wire.call("autoscaling", "DescribeAutoScalingInstances", NextToken="zzz")
    assert bad["Error"]["Code"] == "InvalidNextToken"


def test_instance_filters(wire):
    asg = wire.driver
    first, second = asg.in_service(2)
    asg.world = instances.kill(asg.world, second, asg.now)
    address = asg.world.instances[first].private_ip

    def ids(*filters):
        found = wire.call("ec2", "DescribeInstances", Filters=[{"Name": n, "Values": v} for n, v in filters])
        return {r["Instances"][0]["InstanceId"] for r in found["Reservations"]}

    assert ids(("instance-state-name", ["running"])) == {first}
    assert ids(("instance-state-name", ["terminated", "running"])) == {first, second}
    assert ids(("tag:swarmhub:pool", ["cpu"]), ("instance-id", [second])) == {second}
    assert ids(("private-ip-address", [address])) == {first}
    assert ids(("tag:swarmhub:pool", ["gpu"])) == set()
    bad = wire.call("ec2", "DescribeInstances", Filters=[{"Name": "colour", "Values": ["red"]}])
    assert bad["Error"]["Code"] == "InvalidParameterValue"
    assert "colour" in bad["Error"]["Message"]


def test_a_member_is_a_spot_instance_and_an_unknown_id_is_not_found(wire):
    (first,) = wire.driver.in_service(1)
    found = wire.call("ec2", "DescribeInstances", InstanceIds=[first])["Reservations"][0]["Instances"][0]
    assert found["InstanceLifecycle"] == "spot"
    assert found["State"] == {"Code": 16, "Name": "running"}
    error = wire.call("ec2", "DescribeInstances", InstanceIds=["i-0"])["Error"]
    assert error["Code"] == "InvalidInstanceID.NotFound"


def test_creation_with_a_bad_size_or_template_is_refused(wire):
    base = {"AutoScalingGroupName": "g", "MinSize": 0, "MaxSize": 1}
    too_many = wire.call("autoscaling", "CreateAutoScalingGroup", **base, DesiredCapacity=2)
    assert too_many["Error"]["Code"] == "ValidationError"
    no_template = wire.call(
        "autoscaling",
        "CreateAutoScalingGroup",
        **base,
        LaunchTemplate={"LaunchTemplateName": "nope", "Version": "1"},
    )
    assert no_template["Error"]["Code"] == "ValidationError"
    assert "nope" in no_template["Error"]["Message"]


@pytest.mark.parametrize(
    ("authorization", "credential", "service"),
    [
        ("AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host", "", "ec2"),
        ("", "AK/20260101/us-east-1/sqs/aws4_request", "sqs"),
        ("", "", ""),
        ("Basic abc", "", ""),
        ("AWS4-HMAC-SHA256 Credential=AK/broken", "", ""),
    ],
)
def test_the_service_is_read_from_the_credential_scope(authorization, credential, service):
    assert service_of(authorization, credential) == service
