"""Lifecycle actions: who may end them, and when they end by themselves."""

from __future__ import annotations

import pytest

from lab.cloud.asg import commands, hooks
from lab.cloud.asg.model import ActionResult, EventKind, Hook, Transition
from lab.cloud.errors import AwsError


@pytest.fixture
def waiting(asg):
    """(driver, instance id, hook) of an instance in Terminating:Wait, heartbeat 300 s."""
    (first,) = asg.in_service(1)
    hook = asg.add_hook(Transition.TERMINATING, heartbeat=300, default="CONTINUE")
    asg.terminate(first, decrement=True)
    asg.advance(2)
    assert asg.state_of(first) == "Terminating:Wait"
    return asg, first, hook


def beat(asg, instance_id, hook):
    asg.world = hooks.heartbeat(
        asg.world, group=asg.group.name, hook=hook, now=asg.now, instance_id=instance_id, token=None
    )


def test_an_action_is_completed_by_its_token_alone(waiting):
    asg, first, hook = waiting
    token = asg.events_of(EventKind.TERMINATE_ACTION)[0].detail["LifecycleActionToken"]
    asg.world = hooks.complete(
        asg.world,
        group=asg.group.name,
        hook=hook,
        result=ActionResult.CONTINUE,
        now=asg.now,
        instance_id=None,
        token=token,
    )
    asg.advance(3)
    assert asg.state_of(first) == "Terminated"
    assert asg.actions_of(first)[0].ended_by == "completed"


def test_completing_twice_is_refused_as_aws_words_it(waiting):
    asg, first, hook = waiting
    asg.complete(first, hook)
    with pytest.raises(
        AwsError, match=f"No active Lifecycle Action found with instance ID {first}"
    ) as refused:
        asg.complete(first, hook)
    assert refused.value.code == "ValidationError"


def test_completing_before_the_wait_state_is_refused(asg):
    (first,) = asg.in_service(1)
    hook = asg.add_hook(Transition.TERMINATING)
    asg.terminate(first)
    with pytest.raises(AwsError, match="No active Lifecycle Action"):
        asg.complete(first, hook)


@pytest.mark.parametrize(
    ("instance_id", "token"), [("i-unknown", None), (None, "no-such-token"), (None, None)]
)
def test_a_wrong_instance_or_token_ends_nothing(waiting, instance_id, token):
    asg, _, hook = waiting
    with pytest.raises(AwsError):
        hooks.complete(
            asg.world,
            group=asg.group.name,
            hook=hook,
            result=ActionResult.CONTINUE,
            now=asg.now,
            instance_id=instance_id,
            token=token,
        )


def test_without_a_heartbeat_the_action_times_out(waiting):
    asg, first, _ = waiting
    asg.advance(297)
    assert asg.state_of(first) == "Terminating:Wait"
    asg.advance(6)
    assert asg.state_of(first) == "Terminated"
    action = asg.actions_of(first)[0]
    assert (action.ended_by, action.result) == ("heartbeat-timeout", "CONTINUE")


def test_heartbeats_keep_an_action_open_until_its_global_timeout(waiting):
    asg, first, hook = waiting
    started = asg.now
    while asg.state_of(first) == "Terminating:Wait":
        beat(asg, first, hook)
        asg.advance(250)
        assert asg.now - started < 40_000
    assert asg.actions_of(first)[0].ended_by == "global-timeout"
    assert asg.now - started == pytest.approx(100 * 300, abs=300)


def test_a_heartbeat_after_the_end_is_refused(waiting):
    asg, first, hook = waiting
    asg.complete(first, hook)
    with pytest.raises(AwsError, match="No active Lifecycle Action"):
        beat(asg, first, hook)


@pytest.mark.parametrize(("heartbeat", "limit"), [(30, 3000), (1728, 172800), (7200, 172800)])
def test_the_global_timeout_is_a_hundred_heartbeats_at_most_48_hours(heartbeat, limit):
    hook = Hook(name="h", transition=Transition.LAUNCHING, heartbeat_timeout=heartbeat)
    assert hook.global_timeout == limit


def test_every_hook_must_be_completed_but_one_abandon_ends_them_all(asg):
    (first,) = asg.in_service(1)
    one = asg.add_hook(Transition.TERMINATING)
    other = Hook(name="other", transition=Transition.TERMINATING, heartbeat_timeout=300)
    asg.world = commands.put_hook(asg.world, asg.group.name, other)
    asg.terminate(first, decrement=True)
    asg.advance(2)
    assert len(asg.actions_of(first)) == 2
    asg.complete(first, one, "ABANDON")
    asg.advance(3)
    assert asg.state_of(first) == "Terminated"


def test_one_of_two_hooks_completed_is_not_enough(asg):
    (first,) = asg.in_service(1)
    one = asg.add_hook(Transition.TERMINATING)
    other = Hook(name="other", transition=Transition.TERMINATING, heartbeat_timeout=300)
    asg.world = commands.put_hook(asg.world, asg.group.name, other)
    asg.terminate(first)
    asg.advance(2)
    asg.complete(first, one)
    asg.advance(30)
    assert asg.state_of(first) == "Terminating:Wait"


def test_deleting_a_hook_lets_go_what_waits_for_it(waiting):
    asg, first, hook = waiting
    asg.world = commands.delete_hook(asg.world, asg.group.name, hook, asg.now)
    asg.advance(3)
    assert asg.state_of(first) == "Terminated"


@pytest.mark.parametrize("seconds", [29, 7201])
def test_a_heartbeat_timeout_outside_30_to_7200_is_refused(asg, seconds):
    with pytest.raises(AwsError, match="between 30 and 7200"):
        asg.add_hook(Transition.LAUNCHING, heartbeat=seconds)
