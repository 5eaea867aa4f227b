"""EventBridge envelopes have the fields that readers of the real ones rely on."""

from __future__ import annotations

from lab.cloud.asg import instances
from lab.cloud.asg.model import EventKind, Transition
from lab.cloud.events import envelope, queue_name


def test_a_lifecycle_action_names_token_group_hook_and_instance(asg):
    (first,) = asg.in_service(1)
    hook = asg.add_hook(Transition.TERMINATING)
    asg.terminate(first)
    asg.advance(2)
    (event,) = asg.events_of(EventKind.TERMINATE_ACTION)
    body = envelope(event, "us-east-1")
    assert body["detail-type"] == "EC2 Instance-terminate Lifecycle Action"
    assert body["source"] == "aws.autoscaling"
    assert body["version"] == "0"
    assert body["account"] == "123456789012"
    assert body["time"] == "2027-01-15T08:00:06Z"
    assert body["resources"][0].endswith(f"autoScalingGroupName/{asg.group.name}")
    assert body["detail"] == {
        "LifecycleActionToken": asg.actions_of(first)[0].token,
        "AutoScalingGroupName": asg.group.name,
        "LifecycleHookName": hook,
        "EC2InstanceId": first,
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
    }


def test_a_spot_warning_names_instance_and_action(asg):
    (first,) = asg.in_service(1)
    asg.world = instances.notice_spot(asg.world, first, 120, asg.now)
    asg.advance(0)
    (event,) = asg.events_of(EventKind.SPOT_INTERRUPTION)
    body = envelope(event, "us-east-1")
    assert (body["source"], body["detail-type"]) == ("aws.ec2", "EC2 Spot Instance Interruption Warning")
    assert body["detail"] == {"instance-id": first, "instance-action": "terminate"}
    assert body["resources"] == [f"arn:aws:ec2:us-east-1:123456789012:instance/{first}"]


def test_every_event_has_an_id_of_its_own(asg):
    asg.in_service(3)
    ids = [event.event_id for event in asg.events]
    assert len(ids) == len(set(ids)) >= 6


def test_the_queue_is_the_hubs():
    assert queue_name("lab") == "swarmhub-lab-events"
