"""The Auto Scaling group's state machine, driven by a clock."""

from __future__ import annotations

import pytest

from lab.cloud.asg import commands, instances
from lab.cloud.asg.model import EventKind, Kill, Launch, Stop, Transition
from lab.cloud.errors import AwsError

LAUNCHING, TERMINATING = Transition.LAUNCHING, Transition.TERMINATING


def test_a_larger_desired_capacity_launches_instances_with_the_propagated_tags(asg):
    asg.set_desired(2)
    asg.advance(0)
    assert asg.states == ["Pending", "Pending"]
    asg.advance(2)
    assert asg.states == ["InService", "InService"]
    tags = asg.members[0].tags
    assert tags["swarmhub:pool"] == "cpu"
    assert "private" not in tags
    assert asg.members[0].spot


def test_an_effect_is_handed_out_once(asg):
    asg.launches_answer = False
    asg.set_desired(1)
    asg.advance(30)
    assert len(asg.ordered(Launch)) == 1


def test_a_launch_hook_holds_an_instance_in_pending_wait_until_completed(asg):
    hook = asg.add_hook(LAUNCHING)
    asg.set_desired(1)
    asg.advance(60)
    assert asg.states == ["Pending:Wait"]
    asg.complete(asg.members[0].instance_id, hook)
    asg.advance(0)
    assert asg.states == ["Pending:Proceed"]
    asg.advance(1)
    assert asg.states == ["InService"]


def test_an_abandoned_launch_is_terminated_without_terminate_hooks_and_replaced(asg):
    hook = asg.add_hook(LAUNCHING)
    asg.add_hook(TERMINATING)
    asg.set_desired(1)
    asg.advance(3)
    first = asg.members[0].instance_id
    asg.complete(first, hook, "ABANDON")
    asg.advance(3)
    assert asg.state_of(first) == "Terminated"
    assert asg.ordered(Stop) == [first]
    assert asg.states == ["Pending:Wait"]
    assert [action.hook for action in asg.actions_of(first)] == [hook]


def test_a_launch_hook_nobody_answers_ends_with_its_default_result(asg):
    asg.add_hook(LAUNCHING, heartbeat=300, default="ABANDON")
    asg.set_desired(1)
    asg.advance(3)
    first = asg.members[0].instance_id
    asg.advance(305)
    assert asg.state_of(first) == "Terminated"
    action = asg.actions_of(first)[0]
    assert (action.ended_by, action.result) == ("heartbeat-timeout", "ABANDON")


def test_termination_by_the_group_runs_through_its_wait_state(asg):
    (first,) = asg.in_service(1)
    hook = asg.add_hook(TERMINATING, default="CONTINUE")
    asg.terminate(first)
    assert asg.state_of(first) == "Terminating"
    asg.advance(1)
    assert asg.state_of(first) == "Terminating:Wait"
    assert asg.world.instances[first].state == "running"
    asg.complete(first, hook)
    asg.advance(0)
    assert asg.state_of(first) == "Terminating:Proceed"
    asg.advance(2)
    assert asg.state_of(first) == "Terminated"
    assert asg.world.instances[first].state == "terminated"
    assert asg.ordered(Stop) == [first]


def test_the_replacement_is_launched_as_soon_as_the_old_one_is_terminating(asg):
    (first,) = asg.in_service(1)
    asg.add_hook(TERMINATING)
    asg.terminate(first)
    asg.advance(0)
    assert asg.states == ["Terminating", "Pending"]


def test_termination_with_decrement_lowers_desired_and_replaces_nothing(asg):
    first, second = asg.in_service(2)
    asg.terminate(first, decrement=True)
    asg.advance(5)
    assert asg.group.desired == 1
    assert [instance.instance_id for instance in asg.members] == [second]


def test_terminating_twice_with_decrement_decrements_twice_as_in_aws(asg):
    first, _ = asg.in_service(2)
    asg.add_hook(TERMINATING)
    asg.terminate(first, decrement=True)
    asg.advance(2)
    asg.terminate(first, decrement=True)
    assert asg.group.desired == 0


def test_a_decrement_below_the_minimum_is_refused(asg):
    (first,) = asg.in_service(1)
    with pytest.raises(AwsError, match="desiredSize equals minSize") as refused:
        asg.terminate(first, decrement=True) or asg.terminate(first, decrement=True)
    assert refused.value.code == "ValidationError"


def test_a_killed_instance_is_noticed_only_by_the_health_check(asg):
    first, second = asg.in_service(2)
    asg.world = instances.kill(asg.world, first, asg.now)
    asg.advance(14.5)
    assert asg.world.instances[first].state == "terminated"
    assert asg.state_of(first) == "InService"
    assert len(asg.members) == 2
    asg.advance(1)
    assert asg.state_of(first) == "Terminating"
    assert asg.ordered(Kill) == [first]
    assert len(asg.ordered(Launch)) == 3
    asg.advance(5)
    assert asg.state_of(first) == "Terminated"
    assert asg.states == ["InService", "InService"]
    assert second in {instance.instance_id for instance in asg.members}


def test_a_dead_instance_still_waits_for_its_terminate_hook(asg):
    (first,) = asg.in_service(1)
    hook = asg.add_hook(TERMINATING)
    asg.world = instances.kill(asg.world, first, asg.now)
    asg.advance(60)
    assert asg.state_of(first) == "Terminating:Wait"
    asg.complete(first, hook)
    asg.advance(2)
    assert asg.state_of(first) == "Terminated"


def test_an_instance_that_dies_in_its_wait_state_takes_the_action_with_it(asg):
    (first,) = asg.in_service(1)
    asg.add_hook(TERMINATING)
    asg.terminate(first)
    asg.advance(10)
    asg.world = instances.kill(asg.world, first, asg.now)
    asg.advance(20)
    assert asg.state_of(first) == "Terminated"
    assert asg.actions_of(first)[0].ended_by == "instance-gone"


def test_an_instance_that_dies_while_pending_is_replaced_and_its_launch_failed(asg):
    asg.add_hook(LAUNCHING)
    asg.set_desired(1)
    asg.advance(3)
    first = asg.members[0].instance_id
    asg.world = instances.kill(asg.world, first, asg.now)
    asg.advance(20)
    assert asg.state_of(first) == "Terminated"
    assert asg.states == ["Pending:Wait"]
    assert asg.world.activities[0].status == "Failed"


def test_a_spot_instance_is_taken_at_its_deadline_whatever_the_hook_says(asg):
    (first,) = asg.in_service(1)
    asg.add_hook(TERMINATING, heartbeat=600)
    asg.world = instances.notice_spot(asg.world, first, 120, asg.now)
    asg.terminate(first)
    asg.advance(119)
    assert asg.state_of(first) == "Terminating:Wait"
    assert asg.world.instances[first].state == "running"
    asg.advance(1)
    assert asg.world.instances[first].state == "terminated"
    assert asg.ordered(Kill) == [first]
    assert not asg.ordered(Stop)


def test_a_spot_instance_that_left_in_time_is_not_killed(asg):
    (first,) = asg.in_service(1)
    hook = asg.add_hook(TERMINATING)
    asg.world = instances.notice_spot(asg.world, first, 120, asg.now)
    asg.terminate(first)
    asg.advance(5)
    asg.complete(first, hook)
    asg.advance(300)
    assert asg.ordered(Stop) == [first]
    assert not asg.ordered(Kill)


def test_a_second_spot_notice_never_moves_the_deadline_later(asg):
    (first,) = asg.in_service(1)
    asg.world = instances.notice_spot(asg.world, first, 60, asg.now)
    deadline = asg.world.instances[first].spot_deadline
    asg.world = instances.notice_spot(asg.world, first, 120, asg.now)
    assert asg.world.instances[first].spot_deadline == deadline


def test_scale_in_takes_the_oldest_unprotected_instances(asg):
    (oldest,) = asg.in_service(1)
    asg.advance(10)
    asg.set_desired(3)
    asg.advance(5)
    asg.world = commands.set_protection(asg.world, asg.group.name, [oldest], protected=True)
    second, third = (instance.instance_id for instance in asg.members[1:])
    asg.set_desired(2)
    asg.advance(5)
    assert {instance.instance_id for instance in asg.members} == {oldest, third}
    assert asg.state_of(second) == "Terminated"


def test_scale_in_stops_at_protected_instances(asg):
    ids = asg.in_service(2)
    asg.world = commands.set_protection(asg.world, asg.group.name, ids, protected=True)
    asg.set_desired(0)
    asg.advance(10)
    assert asg.states == ["InService", "InService"]


def test_a_failed_launch_is_an_activity_with_the_reason_and_is_retried_with_growing_pauses(asg):
    asg.launch_error = "no capacity for t3.large"
    asg.set_desired(1)
    asg.advance(0)
    failed = asg.world.activities[0]
    assert (failed.status, failed.message) == ("Failed", "no capacity for t3.large")
    asg.advance(4)
    assert len(asg.ordered(Launch)) == 1
    asg.advance(1)
    assert len(asg.ordered(Launch)) == 2
    asg.advance(9)
    assert len(asg.ordered(Launch)) == 2
    asg.launch_error = None
    asg.advance(5)
    assert asg.states == ["InService"]
    assert asg.group.launch_failures == 0


def test_suspended_launch_and_terminate_change_nothing_until_resumed(asg):
    asg.in_service(1)
    asg.world = commands.suspend(asg.world, asg.group.name, ["Launch", "Terminate"])
    asg.set_desired(3)
    asg.advance(5)
    assert len(asg.members) == 1
    asg.set_desired(0)
    asg.advance(5)
    assert asg.states == ["InService"]
    asg.world = commands.resume(asg.world, asg.group.name, [])
    asg.advance(5)
    assert asg.states == []


def test_an_unhealthy_instance_is_replaced_at_once(asg):
    (first,) = asg.in_service(1)
    asg.world = commands.set_health(asg.world, first, healthy=False)
    asg.advance(0)
    assert asg.state_of(first) == "Terminating"


def test_ec2s_own_terminate_reaches_the_group_through_the_health_check(asg):
    (first,) = asg.in_service(1)
    asg.world = instances.shut_down(asg.world, first, "Client.UserInitiatedShutdown", asg.now, by_group=False)
    asg.advance(10)
    assert asg.world.instances[first].state == "terminated"
    assert asg.state_of(first) == "InService"
    asg.advance(10)
    assert asg.state_of(first) == "Terminated"


def test_terminated_instances_stay_visible_for_an_hour(asg):
    (first,) = asg.in_service(1)
    asg.terminate(first, decrement=True)
    asg.advance(3500)
    assert first in asg.world.instances
    asg.advance(200)
    assert first not in asg.world.instances


@pytest.mark.parametrize("desired", [-1, 7])
def test_a_desired_capacity_outside_the_limits_is_refused(asg, desired):
    with pytest.raises(AwsError, match="value") as refused:
        asg.set_desired(desired)
    assert refused.value.code == "ValidationError"


def test_a_group_with_instances_is_deleted_only_by_force(asg):
    ids = asg.in_service(2)
    with pytest.raises(AwsError) as refused:
        commands.delete_group(asg.world, asg.group.name, asg.now, force=False)
    assert refused.value.code == "ResourceInUse"
    asg.world = commands.delete_group(asg.world, asg.group.name, asg.now, force=True)
    asg.advance(5)
    assert set(asg.ordered(Stop)) == set(ids)
    assert not asg.world.groups


def test_state_changes_notices_and_hooks_are_published_in_order(asg):
    (first,) = asg.in_service(1)
    asg.add_hook(TERMINATING)
    asg.events.clear()
    asg.world = instances.recommend_rebalance(asg.world, first, asg.now)
    asg.world = instances.notice_spot(asg.world, first, 2, asg.now)
    asg.terminate(first)
    asg.advance(3)
    kinds = [event.kind for event in asg.events if first in str(event.detail)]
    assert kinds == [
        EventKind.REBALANCE,
        EventKind.SPOT_INTERRUPTION,
        EventKind.TERMINATE_ACTION,
        EventKind.STATE_CHANGE,
    ]
    assert {event.hub for event in asg.events} == {"lab"}


def test_launches_that_fail_together_lengthen_the_pause_once(asg):
    asg.launch_error = "no capacity"
    asg.set_desired(3)
    asg.advance(0)
    assert len(asg.ordered(Launch)) == 3
    asg.advance(5)
    assert len(asg.ordered(Launch)) == 6


def test_a_slow_launch_still_passes_through_pending_after_it_runs(asg):
    asg.launches_answer = False
    asg.set_desired(1)
    asg.advance(60)
    first = asg.members[0].instance_id
    asg.world = instances.launched(asg.world, first, "10.0.0.1", "127.0.1.1", asg.now)
    asg.advance(0)
    assert asg.states == ["Pending"]
    asg.advance(1)
    assert asg.states == ["InService"]
