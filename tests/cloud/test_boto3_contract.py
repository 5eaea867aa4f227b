"""boto3 against a running local cloud: real sockets, real moto, instances in memory, no Docker."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.utils import InstanceMetadataFetcher

from lab.cloud.asg.model import Settings
from lab.cloud.bootstrap import Plan, bootstrap
from lab.cloud.launcher import MemoryLauncher
from lab.cloud.server import LabCloud, Manager, Options

GROUP = "swarmhub-lab-cpu"
MANAGER = "i-0aa00000000000001"
PATIENCE = 10.0
"""Seconds; what is waited for takes a fraction of one."""


class Running:
    """A local cloud in a thread of its own."""

    def __init__(self) -> None:
        self.launcher = MemoryLauncher()
        options = Options(
            settings=Settings(settle=0.05, health_check_delay=0.5, launch_backoff=0.2),
            plan=Plan(desired=2),
            manager=Manager(instance_id=MANAGER, private_ip="10.0.9.9", imds_ip="127.0.0.1"),
        )
        self.cloud = LabCloud(options, self.launcher)
        self._up = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with self.cloud:
                await self.cloud.ready(PATIENCE)
                self._up.set()
                await self._stop.wait()
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._up.set()

    def __enter__(self) -> Running:
        self._thread.start()
        assert self._up.wait(2 * PATIENCE)
        assert self._failure is None
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(2 * PATIENCE)
        assert not self._thread.is_alive()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.cloud.aws_port}"

    def client(self, service: str) -> Any:
        make: Callable[..., Any] = boto3.client
        return make(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=Config(retries={"max_attempts": 1}),
        )

    def control(self, method: str, path: str, body: Any = None) -> Any:
        answer = requests.request(
            method, f"http://127.0.0.1:{self.cloud.control_port}{path}", json=body, timeout=PATIENCE
        )
        assert answer.ok, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with Running() as cloud:
        yield cloud


@pytest.fixture(scope="module")
def autoscaling(running: Running) -> Any:
    return running.client("autoscaling")


@pytest.fixture(scope="module")
def ec2(running: Running) -> Any:
    return running.client("ec2")


@pytest.fixture
def group(autoscaling: Any) -> Any:
    """The bootstrapped group with two instances in service and nothing else in it."""
    autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=2)

    def settled() -> list[str]:
        for member in members(autoscaling):
            release(autoscaling, member)
        states = [member["LifecycleState"] for member in members(autoscaling)]
        return states if states == ["InService", "InService"] else []

    eventually(settled)
    return [member["InstanceId"] for member in members(autoscaling)]


def eventually(ask: Callable[[], Any]) -> Any:
    """What ``ask`` returns once that is true."""
    end = time.monotonic() + PATIENCE
    while not (answer := ask()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return answer


def members(autoscaling: Any) -> list[dict[str, Any]]:
    (found,) = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"]
    instances: list[dict[str, Any]] = found["Instances"]
    return instances


def state(autoscaling: Any, instance_id: str) -> str | None:
    found = autoscaling.describe_auto_scaling_instances(InstanceIds=[instance_id])["AutoScalingInstances"]
    return found[0]["LifecycleState"] if found else None


def complete(autoscaling: Any, instance_id: str, hook: str, result: str = "CONTINUE") -> None:
    autoscaling.complete_lifecycle_action(
        AutoScalingGroupName=GROUP,
        LifecycleHookName=hook,
        InstanceId=instance_id,
        LifecycleActionResult=result,
    )


def release(autoscaling: Any, member: dict[str, Any]) -> None:
    hook = {"Pending:Wait": "swarmhub-launch", "Terminating:Wait": "swarmhub-terminate"}.get(
        member["LifecycleState"]
    )
    if hook:
        complete(autoscaling, member["InstanceId"], hook)


def messages(running: Running) -> list[dict[str, Any]]:
    """Everything in the hub's queue, removed from it."""
    sqs = running.client("sqs")
    url = sqs.get_queue_url(QueueName="swarmhub-lab-events")["QueueUrl"]
    bodies = []
    while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in found:
            bodies.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return bodies


def test_the_bootstrap_makes_what_terraform_makes(running, autoscaling, ec2):
    (group,) = autoscaling.describe_auto_scaling_groups(
        Filters=[{"Name": "tag:swarmhub:hub", "Values": ["lab"]}]
    )["AutoScalingGroups"]
    assert (group["AutoScalingGroupName"], group["MinSize"], group["MaxSize"]) == (GROUP, 0, 6)
    hooks = autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=GROUP)["LifecycleHooks"]
    assert {(h["LifecycleTransition"], h["HeartbeatTimeout"], h["DefaultResult"]) for h in hooks} == {
        ("autoscaling:EC2_INSTANCE_LAUNCHING", 300, "ABANDON"),
        ("autoscaling:EC2_INSTANCE_TERMINATING", 600, "CONTINUE"),
    }
    template = ec2.describe_launch_template_versions(LaunchTemplateName=GROUP, Versions=["$Latest"])
    data = template["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    (manager,) = ec2.describe_instances(InstanceIds=[MANAGER])["Reservations"][0]["Instances"]
    assert manager["PrivateIpAddress"] == "10.0.9.9"
    assert running.client("efs").describe_file_systems()["FileSystems"]


def test_the_bootstrap_may_run_again(running, autoscaling):
    autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=1)
    bootstrap(running.endpoint, Plan(desired=2))
    (group,) = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"]
    assert group["DesiredCapacity"] == 1
    assert len(running.client("efs").describe_file_systems()["FileSystems"]) == 1


def test_an_instances_whole_life_as_the_agent_and_controller_see_it(running, autoscaling, ec2, group):
    first = group[0]
    messages(running)
    running.control("POST", f"/instances/{first}/spot-interruption", {"in_seconds": 120})
    answer = autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=first, ShouldDecrementDesiredCapacity=False
    )
    assert answer["Activity"]["StatusCode"] == "InProgress"
    eventually(lambda: state(autoscaling, first) == "Terminating:Wait")
    replacement = eventually(lambda: {m["InstanceId"] for m in members(autoscaling)} - set(group)).pop()
    autoscaling.record_lifecycle_action_heartbeat(
        AutoScalingGroupName=GROUP, LifecycleHookName="swarmhub-terminate", InstanceId=first
    )
    complete(autoscaling, first, "swarmhub-terminate")
    eventually(lambda: state(autoscaling, first) is None)
    (gone,) = ec2.describe_instances(InstanceIds=[first])["Reservations"][0]["Instances"]
    assert (gone["State"]["Name"], gone["InstanceLifecycle"]) == ("terminated", "spot")
    eventually(lambda: state(autoscaling, replacement) == "Pending:Wait")
    complete(autoscaling, replacement, "swarmhub-launch")
    eventually(lambda: state(autoscaling, replacement) == "InService")

    log = [entry for entry in running.control("GET", "/hooks") if entry["instance_id"] == first]
    assert [(e["hook"], e["ended_by"], e["result"]) for e in log] == [
        ("swarmhub-launch", "completed", "CONTINUE"),
        ("swarmhub-terminate", "completed", "CONTINUE"),
    ]
    kinds: list[str] = []

    def delivered() -> bool:
        kinds.extend(message["detail-type"] for message in messages(running))
        return {
            "EC2 Spot Instance Interruption Warning",
            "EC2 Instance-terminate Lifecycle Action",
            "EC2 Instance-launch Lifecycle Action",
            "EC2 Instance State-change Notification",
        } <= set(kinds)

    eventually(delivered)


def test_a_token_from_the_queue_completes_the_hook(running, autoscaling, group):
    first = group[0]
    messages(running)
    autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=first, ShouldDecrementDesiredCapacity=True
    )
    found: list[dict[str, Any]] = []

    def token() -> str | None:
        found.extend(messages(running))
        for message in found:
            if message["detail-type"] == "EC2 Instance-terminate Lifecycle Action":
                return str(message["detail"]["LifecycleActionToken"])
        return None

    autoscaling.complete_lifecycle_action(
        AutoScalingGroupName=GROUP,
        LifecycleHookName="swarmhub-terminate",
        LifecycleActionToken=eventually(token),
        LifecycleActionResult="CONTINUE",
    )
    eventually(lambda: state(autoscaling, first) is None)


def test_a_killed_instance_is_replaced_after_the_health_check(running, autoscaling, group):
    first = group[0]
    running.control("POST", f"/instances/{first}/kill")
    assert state(autoscaling, first) == "InService"
    eventually(lambda: len(members(autoscaling)) == 3)
    assert first in running.launcher.killed


def test_a_failed_launch_shows_in_the_scaling_activities(running, autoscaling, group):
    running.launcher.fail_next.append("There is no Spot capacity available")
    autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=3)

    def failed() -> list[Any]:
        activities = autoscaling.describe_scaling_activities(AutoScalingGroupName=GROUP)["Activities"]
        return [
            a for a in activities if a["StatusCode"] == "Failed" and "Spot capacity" in a["StatusMessage"]
        ]

    eventually(failed)
    eventually(lambda: len(members(autoscaling)) == 3)


def test_refusals_are_client_errors_with_awss_codes(autoscaling, ec2, group):
    def code(call: Callable[..., Any], **params: Any) -> str:
        with pytest.raises(ClientError) as refused:
            call(**params)
        return str(refused.value.response["Error"]["Code"])

    size = {"AutoScalingGroupName": GROUP, "DesiredCapacity": 7}
    assert code(autoscaling.set_desired_capacity, **size) == "ValidationError"
    action = {"AutoScalingGroupName": GROUP, "LifecycleHookName": "swarmhub-launch", "InstanceId": group[0]}
    assert (
        code(autoscaling.complete_lifecycle_action, LifecycleActionResult="CONTINUE", **action)
        == "ValidationError"
    )
    assert code(autoscaling.start_instance_refresh, AutoScalingGroupName=GROUP) == "InvalidAction"
    assert code(ec2.describe_vpcs) == "InvalidAction"
    assert code(ec2.describe_instances, InstanceIds=["i-0"]) == "InvalidInstanceID.NotFound"
    assert code(ec2.terminate_instances, InstanceIds=[MANAGER]) == "OperationNotPermitted"


def test_other_services_are_motos_behind_the_same_endpoint(running):
    ssm = running.client("ssm")
    name = "/swarmhub/lab/join-token"
    ssm.put_parameter(Name=name, Value="SWMTKN", Type="SecureString", Overwrite=True)
    assert ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"] == "SWMTKN"
    assert running.client("sts").get_caller_identity()["Account"] == "123456789012"
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name="/nowhere")


def test_queue_urls_lead_back_to_the_endpoint_that_was_asked(running):
    url = running.client("sqs").get_queue_url(QueueName="swarmhub-lab-events")["QueueUrl"]
    assert url.startswith(running.endpoint)


def test_boto3_on_an_instance_gets_credentials_that_the_endpoint_takes(running):
    imds = f"http://127.0.0.1:{running.cloud.imds_port}/"
    found = InstanceMetadataFetcher(base_url=imds, num_attempts=1).retrieve_iam_role_credentials()
    assert found["role_name"] == "swarmhub-instance"
    make: Callable[..., Any] = boto3.client
    client = make(
        "autoscaling",
        endpoint_url=running.endpoint,
        region_name="us-east-1",
        aws_access_key_id=found["access_key"],
        aws_secret_access_key=found["secret_key"],
        aws_session_token=found["token"],
    )
    assert client.describe_auto_scaling_groups()["AutoScalingGroups"]


def test_a_single_instance_runs_and_ends(running, ec2):
    reservation = ec2.run_instances(
        MinCount=1,
        MaxCount=1,
        ImageId="ami-1",
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "alone"}]}],
    )
    alone = reservation["Instances"][0]["InstanceId"]
    waiter = ec2.get_waiter("instance_running")
    waiter.config.delay = 0.05
    waiter.wait(InstanceIds=[alone])
    ec2.terminate_instances(InstanceIds=[alone])
    waiter = ec2.get_waiter("instance_terminated")
    waiter.config.delay = 0.05
    waiter.wait(InstanceIds=[alone])
    assert alone in running.launcher.stopped
