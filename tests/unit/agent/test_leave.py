from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import Stubber
from swarmhub_agent import aws
from swarmhub_agent.leave import Completed, HookNotCompletedError, complete_hook

from tests.unit.agent.conftest import Clock
from tests.unit.agent.fakes import INSTANCE

GROUP = "swarmhub-lab-cpu"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"


class Aws:
    """An Auto Scaling endpoint that must be called exactly as scripted."""

    def __init__(self) -> None:
        self.client = aws.autoscaling("us-east-1")
        self.stub = Stubber(self.client)

    def describes(self, state: str | None) -> None:
        instances: list[dict[str, Any]] = []
        if state is not None:
            instances.append(
                {
                    "InstanceId": INSTANCE,
                    "AutoScalingGroupName": GROUP,
                    "AvailabilityZone": "us-east-1a",
                    "LifecycleState": state,
                    "HealthStatus": "HEALTHY",
                    "ProtectedFromScaleIn": False,
                }
            )
        self.stub.add_response(
            "describe_auto_scaling_instances",
            {"AutoScalingInstances": instances},
            {"InstanceIds": [INSTANCE]},
        )

    def hooks(self, **transitions: str) -> None:
        self.stub.add_response(
            "describe_lifecycle_hooks",
            {
                "LifecycleHooks": [
                    {"LifecycleHookName": name, "LifecycleTransition": transition}
                    for name, transition in transitions.items()
                ]
            },
            {"AutoScalingGroupName": GROUP},
        )

    def completes(self, name: str, *, refused: bool = False) -> None:
        expected = {
            "AutoScalingGroupName": GROUP,
            "LifecycleHookName": name,
            "InstanceId": INSTANCE,
            "LifecycleActionResult": "CONTINUE",
        }
        if refused:
            self.stub.add_client_error(
                "complete_lifecycle_action",
                "ValidationError",
                "No active Lifecycle Action found",
                400,
                expected_params=expected,
            )
        else:
            self.stub.add_response("complete_lifecycle_action", {}, expected)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    fake = Aws()
    with fake.stub:
        yield fake
    fake.stub.assert_no_pending_responses()


async def complete(cloud: Aws, clock: Clock, time_limit_s: float = 300) -> Completed:
    return await complete_hook(
        lambda: cloud.client, INSTANCE, time_limit_s=time_limit_s, sleep=clock.sleep, clock=clock
    )


async def test_the_terminating_hook_is_found_by_its_transition_and_completed_by_instance_id(
    cloud: Aws, clock: Clock
) -> None:
    cloud.describes("Terminating:Wait")
    cloud.hooks(up="autoscaling:EC2_INSTANCE_LAUNCHING", down=TERMINATING)
    cloud.completes("down")
    assert await complete(cloud, clock) == Completed(group=GROUP, hooks=("down",))
    assert clock.slept == []


async def test_an_instance_that_does_not_wait_yet_is_asked_again(cloud: Aws, clock: Clock) -> None:
    for state in ("InService", "Terminating", "Terminating:Wait"):
        cloud.describes(state)
    cloud.hooks(down=TERMINATING)
    cloud.completes("down")
    assert (await complete(cloud, clock)).hooks == ("down",)
    assert len(clock.slept) == 2
    assert all(1 <= seconds <= 3 for seconds in clock.slept)


async def test_a_validation_error_is_retried(cloud: Aws, clock: Clock) -> None:
    cloud.describes("Terminating:Wait")
    cloud.hooks(down=TERMINATING)
    cloud.completes("down", refused=True)
    cloud.describes("Terminating:Wait")
    cloud.hooks(down=TERMINATING)
    cloud.completes("down")
    assert (await complete(cloud, clock)).hooks == ("down",)


async def test_a_hook_that_was_completed_before_keeps_no_other_from_being_completed(
    cloud: Aws, clock: Clock
) -> None:
    cloud.describes("Terminating:Wait")
    cloud.hooks(one=TERMINATING, two=TERMINATING)
    cloud.completes("one", refused=True)
    cloud.completes("two")
    cloud.describes("Terminating:Proceed")
    await complete(cloud, clock)


@pytest.mark.parametrize("state", ["Terminating:Proceed", "Terminated", None])
async def test_an_instance_past_its_hook_needs_nothing(cloud: Aws, clock: Clock, state: str | None) -> None:
    cloud.describes(state)
    assert (await complete(cloud, clock)).hooks == ()


async def test_trying_ends_with_the_reason_when_the_time_is_over(cloud: Aws, clock: Clock) -> None:
    cloud.describes("InService")
    cloud.stub.add_client_error("describe_auto_scaling_instances", "Throttling", "Rate exceeded", 400)
    with pytest.raises(HookNotCompletedError, match="Rate exceeded"):
        await complete(cloud, clock, time_limit_s=0.5)
    assert len(clock.slept) == 1
