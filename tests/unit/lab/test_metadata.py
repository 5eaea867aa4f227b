"""The metadata tree as a function of the instance."""

from __future__ import annotations

import json

import pytest

from lab.cloud import metadata
from lab.cloud.asg import instances
from lab.cloud.asg.model import Transition


@pytest.fixture
def tree(asg):
    """A function giving the present tree of the group's first instance."""
    asg.in_service(1)
    first = asg.members[0].instance_id

    def read(path):
        leaves = metadata.tree(asg.world, asg.world.instances[first], asg.now)
        return metadata.read(leaves, path)

    return read


def test_directories_list_their_entries_and_mark_directories(tree):
    assert tree("") == "dynamic/\nmeta-data/"
    top = tree("meta-data/").split("\n")
    assert "instance-id" in top
    assert "placement/" in top
    assert "spot/" not in top
    assert tree("meta-data/tags/instance/").split("\n") == [
        "aws:autoscaling:groupName",
        "swarmhub:hub",
        "swarmhub:pool",
    ]
    assert tree("meta-data/iam/security-credentials/") == "swarmhub-instance"


def test_leaves(tree, asg):
    instance = asg.members[0]
    assert tree("meta-data/instance-id") == instance.instance_id
    assert tree("meta-data/instance-life-cycle") == "spot"
    assert tree("meta-data/local-ipv4") == instance.private_ip
    assert tree("meta-data/tags/instance/swarmhub:pool") == "cpu"
    assert tree("meta-data/events/maintenance/scheduled") == "[]"
    assert tree("meta-data/nothing") is None
    document = json.loads(tree("dynamic/instance-identity/document"))
    assert document["instanceId"] == instance.instance_id
    assert document["region"] == "us-east-1"


def test_a_spot_notice_shows_its_time_and_keeps_it(tree, asg):
    assert tree("meta-data/spot/instance-action") is None
    first = asg.members[0].instance_id
    asg.world = instances.notice_spot(asg.world, first, 120, asg.now)
    notice = tree("meta-data/spot/instance-action")
    assert json.loads(notice) == {"action": "terminate", "time": "2027-01-15T08:02:05Z"}
    asg.advance(60)
    assert tree("meta-data/spot/instance-action") == notice
    assert tree("meta-data/spot/termination-time") == "2027-01-15T08:02:05Z"


def test_a_rebalance_recommendation_shows_when_it_was_given(tree, asg):
    assert tree("meta-data/events/recommendations/rebalance") is None
    asg.world = instances.recommend_rebalance(asg.world, asg.members[0].instance_id, asg.now)
    asg.advance(10)
    shown = json.loads(tree("meta-data/events/recommendations/rebalance"))
    assert shown == {"noticeTime": "2027-01-15T08:00:05Z"}


def test_the_target_state_is_where_the_group_takes_the_instance(asg):
    asg.launches_answer = False
    asg.set_desired(1)
    asg.advance(0)
    first = asg.members[0].instance_id
    assert metadata.target_state(asg.world.instances[first]) is None
    asg.world = instances.launched(asg.world, first, "10.0.0.1", "10.0.0.1", asg.now)
    asg.add_hook(Transition.LAUNCHING)
    asg.add_hook(Transition.TERMINATING)
    asg.advance(2)
    assert asg.states == ["Pending:Wait"]
    assert metadata.target_state(asg.world.instances[first]) == "InService"
    asg.terminate(first)
    assert metadata.target_state(asg.world.instances[first]) == "Terminated"


def test_credentials_stay_the_same_and_are_never_about_to_expire(tree, asg):
    path = "meta-data/iam/security-credentials/swarmhub-instance"
    before = json.loads(tree(path))
    asg.now += 60
    after = json.loads(tree(path))
    assert before["AccessKeyId"] == after["AccessKeyId"]
    assert before["Code"] == "Success"
