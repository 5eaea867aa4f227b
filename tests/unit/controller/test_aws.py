"""AWS through boto3: against moto where moto has the call, against botocore's stubber where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from swarmhub.controller.aws import AwsCloud, CloudError
from swarmhub.controller.model import LAUNCHING_TRANSITION, TERMINATING_TRANSITION
from tests.unit.controller.world import NOW

NAME = "swarmhub-lab-cpu"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield


@pytest.fixture
def cloud(aws: None) -> AwsCloud:
    return AwsCloud.connect("lab", lambda: NOW, "us-east-1")


def client(service: str) -> Any:
    return boto3.client(service, region_name="us-east-1")


def make_group(name: str = NAME, hub: str = "lab", desired: int = 2) -> None:
    image = client("ec2").describe_images()["Images"][0]["ImageId"]
    subnet = client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    scaling = client("autoscaling")
    scaling.create_launch_configuration(LaunchConfigurationName=name, ImageId=image, InstanceType="t3.large")
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchConfigurationName=name,
        MinSize=0,
        MaxSize=5,
        DesiredCapacity=desired,
        VPCZoneIdentifier=subnet,
        Tags=[
            {"Key": "swarmhub:hub", "Value": hub, "PropagateAtLaunch": True},
            {"Key": "swarmhub:pool", "Value": "cpu", "PropagateAtLaunch": True},
        ],
    )


def make_hook(transition: str, seconds: int) -> None:
    client("autoscaling").put_lifecycle_hook(
        LifecycleHookName=f"hook-{seconds}",
        AutoScalingGroupName=NAME,
        LifecycleTransition=transition,
        HeartbeatTimeout=seconds,
    )


async def test_the_view_has_the_hubs_groups_with_hooks_and_instances(cloud: AwsCloud) -> None:
    make_group()
    make_group("swarmhub-other-cpu", hub="other")
    make_hook(LAUNCHING_TRANSITION, 600)
    make_hook(TERMINATING_TRANSITION, 300)
    view = await cloud.view(())
    (group,) = view.groups
    assert (group.name, group.pool, group.desired, group.minimum, group.maximum) == (NAME, "cpu", 2, 0, 5)
    assert [h.heartbeat for h in group.hooks_for(TERMINATING_TRANSITION)] == [timedelta(seconds=300)]
    assert view.seen_at == NOW
    assert len(view.instances) == 2
    for instance in view.instances:
        assert (instance.group, instance.pool, instance.ec2_state) == (NAME, "cpu", "running")
        assert instance.lifecycle_state == "InService"
        assert instance.private_ip


async def test_a_terminated_instance_stays_in_view_after_it_left_its_group(cloud: AwsCloud) -> None:
    make_group()
    doomed = (await cloud.view(())).instances[0]
    client("ec2").terminate_instances(InstanceIds=[doomed.id])
    client("autoscaling").detach_instances(
        InstanceIds=[doomed.id], AutoScalingGroupName=NAME, ShouldDecrementDesiredCapacity=True
    )
    known = {i.id: i for i in (await cloud.view(())).instances}
    assert known[doomed.id].is_terminated


async def test_an_instance_that_only_a_node_names_is_looked_up_and_an_unknown_id_does_no_harm(
    cloud: AwsCloud,
) -> None:
    image = client("ec2").describe_images()["Images"][0]["ImageId"]
    made = client("ec2").run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    assert (await cloud.view(())).instances == ()
    view = await cloud.view({made, "i-0000000000000dead"})
    assert [i.id for i in view.instances] == [made]


async def test_replacing_an_instance_does_not_lower_the_capacity(cloud: AwsCloud) -> None:
    make_group()
    before = await cloud.view(())
    await cloud.replace_instance(before.instances[0].id)
    after = await cloud.view(())
    assert after.groups[0].desired == 2
    assert {i.id for i in after.instances if not i.is_terminating} != {i.id for i in before.instances}


async def test_parameters_are_read_and_written(cloud: AwsCloud) -> None:
    assert await cloud.get_parameter("/swarmhub/lab/join-token") is None
    await cloud.put_parameter("/swarmhub/lab/join-token", "SWMTKN-1", "SecureString")
    await cloud.put_parameter("/swarmhub/lab/join-token", "SWMTKN-2", "SecureString")
    assert await cloud.get_parameter("/swarmhub/lab/join-token") == "SWMTKN-2"
    stored = client("ssm").get_parameter(Name="/swarmhub/lab/join-token", WithDecryption=False)
    assert stored["Parameter"]["Type"] == "SecureString"


def stubbed() -> tuple[AwsCloud, Stubber]:
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    scaling = boto3.client("autoscaling", **keys)
    ec2, ssm = boto3.client("ec2", **keys), boto3.client("ssm", **keys)
    return AwsCloud("lab", lambda: NOW, scaling, ec2, ssm), Stubber(scaling)


async def test_a_hook_is_completed_by_instance_id() -> None:
    cloud, stub = stubbed()
    expected = {
        "InstanceId": "i-1",
        "AutoScalingGroupName": NAME,
        "LifecycleHookName": "down",
        "LifecycleActionResult": "CONTINUE",
    }
    stub.add_response("complete_lifecycle_action", {}, expected)
    with stub:
        assert await cloud.complete_hook("i-1", NAME, "down", "CONTINUE")
        stub.assert_no_pending_responses()


async def test_a_hook_that_the_agent_has_completed_is_no_error() -> None:
    cloud, stub = stubbed()
    stub.add_client_error("complete_lifecycle_action", "ValidationError", "No active Lifecycle Action found")
    with stub:
        assert not await cloud.complete_hook("i-1", NAME, "down", "CONTINUE")


async def test_a_refusal_is_one_kind_of_error() -> None:
    cloud, stub = stubbed()
    stub.add_client_error("complete_lifecycle_action", "AccessDenied", "not authorized to perform")
    with stub, pytest.raises(CloudError, match="not authorized to perform"):
        await cloud.complete_hook("i-1", NAME, "down", "CONTINUE")
