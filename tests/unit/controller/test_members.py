"""Each instance and its node are one member, with a state and a reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from swarmhub_agent.protocol import AgentPhase, Notice, NoticeKind

from swarmhub.controller.members import Member, assess
from swarmhub.controller.model import LABEL_NOTICE, LABEL_REASON, Fleet, MemberState
from swarmhub.controller.notices import describe, merge, persisted, to_label
from swarmhub.spawner.states import TaskState
from tests.unit.controller.world import (
    ACTIVE_LABELS,
    BAD,
    NOW,
    SETTINGS,
    ago,
    ahead,
    fleet,
    group,
    instance,
    joined,
    manager,
    node,
    report,
    server,
    spot,
    task,
)


def one(world: Fleet) -> Member:
    (member,) = assess(world, SETTINGS)
    return member


NOTICED = {LABEL_NOTICE: to_label((spot(),)), **ACTIVE_LABELS}

STATES = {
    "an active node takes servers": (fleet(), MemberState.ACTIVE, "takes servers"),
    "an active node with a failed check stays active and says so": (
        fleet(reports={"node1": report(checks=BAD)}),
        MemberState.ACTIVE,
        "efs: /srv/swarmhub is not mounted",
    ),
    "an active node whose agent is silent stays active": (
        fleet(reports={"node1": report(at=ago(100))}),
        MemberState.ACTIVE,
        "silent for 100 s",
    ),
    "a manager is a manager, whatever it says": (fleet(nodes=(manager(),), instances=()), "manager", "never"),
    "a worker that names no instance is somebody else's": (
        fleet(nodes=(node(labels={}, engine_labels={}),), instances=()),
        MemberState.FOREIGN,
        "names no instance",
    ),
    "an instance whose node has not joined is launching": (
        fleet(nodes=(), instances=(instance(lifecycle_state="Pending:Wait"),)),
        MemberState.LAUNCHING,
        "Pending:Wait",
    ),
    "a terminating instance without a node is gone": (
        fleet(nodes=(), instances=(instance(lifecycle_state="Terminating:Wait"),)),
        MemberState.GONE,
        "Terminating:Wait",
    ),
    "a joined node waits for its agent's first report": (
        fleet(nodes=(joined(),), reports={}),
        MemberState.JOINING,
        "first report",
    ),
    "a joined node waits for AWS to list its instance": (
        fleet(nodes=(joined(created_at=ago(10)),), instances=()),
        MemberState.JOINING,
        "does not list instance i-1 yet",
    ),
    "a node that claims another's instance is not believed": (
        fleet(nodes=(joined(address="10.9.9.9"),)),
        MemberState.JOINING,
        "joined from 10.9.9.9",
    ),
    "an agent that speaks for another instance is not believed": (
        fleet(nodes=(joined(),), reports={"node1": report(instance_id="i-2")}),
        MemberState.JOINING,
        "speaks for i-2",
    ),
    "a joined node with a failed check is being checked": (
        fleet(nodes=(joined(),), reports={"node1": report(checks=BAD)}),
        MemberState.CHECKING,
        "efs: /srv/swarmhub is not mounted",
    ),
    "a report without checks proves nothing": (
        fleet(nodes=(joined(),), reports={"node1": report(checks=())}),
        MemberState.CHECKING,
        "not finished a check",
    ),
    "a node waits while its pool's images are being resolved": (
        fleet(nodes=(joined(),), images_pending=frozenset({"cpu"})),
        MemberState.CHECKING,
        "images of pool cpu",
    ),
    "a node not fit after five minutes is unfit": (
        fleet(nodes=(joined(created_at=ago(301)),), reports={"node1": report(checks=BAD)}),
        MemberState.UNFIT,
        "efs: /srv/swarmhub is not mounted",
    ),
    "a node paused without our reason was paused by an operator": (
        fleet(nodes=(node(availability="pause"),)),
        MemberState.PAUSED,
        "operator",
    ),
    "an active node that is down is lost while AWS has its instance": (
        fleet(nodes=(node(status="down"),)),
        MemberState.LOST,
        "down",
    ),
    "a noticed node with a server is draining": (
        fleet(reports={"node1": report(notices=(spot(),))}, servers=(server(task()),)),
        MemberState.DRAINING,
        "spot instance back at 2026-03-02T10:02:00Z; 1 server to move",
    ),
    "a noticed node without servers may not leave before it is paused": (
        fleet(reports={"node1": report(notices=(spot(),))}),
        MemberState.DRAINING,
        "0 servers to move",
    ),
    "a noticed, paused node without servers is empty": (
        fleet(nodes=(node(availability="pause"),), reports={"node1": report(notices=(spot(),))}),
        MemberState.EMPTY,
        "may leave",
    ),
    "a persisted notice counts without any report": (
        fleet(nodes=(node(availability="pause", labels=NOTICED),), reports={}),
        MemberState.EMPTY,
        "2026-03-02T10:02:00Z",
    ),
    "Auto Scaling's Terminating counts without any report": (
        fleet(instances=(instance(lifecycle_state="Terminating:Wait"),), reports={}),
        MemberState.DRAINING,
        "Auto Scaling terminates the instance",
    ),
    "an agent that left has left": (
        fleet(reports={"node1": report(phase=AgentPhase.LEFT)}),
        MemberState.LEFT,
        "left the swarm",
    ),
}


@pytest.mark.parametrize(("world", "state", "reason"), STATES.values(), ids=STATES.keys())
def test_a_member_has_one_state_and_a_reason(world: Fleet, state: MemberState, reason: str) -> None:
    member = one(world)
    assert member.state == state
    assert reason in member.reason


def test_a_good_joined_node_is_fit() -> None:
    assert one(fleet(nodes=(joined(),))).fit


def test_only_an_empty_node_may_leave() -> None:
    for world, state, _reason in STATES.values():
        assert one(world).may_leave == (state == MemberState.EMPTY)


def test_a_server_that_is_still_stopping_keeps_the_node_from_being_empty() -> None:
    stopping = server(task(desired=TaskState.SHUTDOWN))
    noticed = fleet(
        nodes=(node(availability="pause"),), reports={"node1": report(notices=(spot(),))}, servers=(stopping,)
    )
    assert one(noticed).state is MemberState.DRAINING
    stopped = server(task(desired=TaskState.SHUTDOWN, state=TaskState.SHUTDOWN))
    assert one(replace(noticed, servers=(stopped,))).state is MemberState.EMPTY


def test_the_node_label_names_the_instance_where_the_engine_does_not() -> None:
    assert one(fleet(nodes=(node(engine_labels={}),))).state is MemberState.ACTIVE


def test_instances_without_a_pool_and_terminated_ones_are_no_members() -> None:
    world = fleet(
        instances=(instance(), instance(8, group=None, pool=None), instance(7, ec2_state="terminated"))
    )
    assert [m.node and m.node.id for m in assess(world, SETTINGS)] == ["node1"]


# Ghosts: doubt never kills.

DEAD = fleet(nodes=(node(status="ready"),), instances=(instance(ec2_state="terminated"),), reports={})


def test_a_node_whose_instance_is_terminated_is_a_ghost_even_while_swarm_calls_it_ready() -> None:
    assert one(DEAD).state is MemberState.GHOST
    assert one(replace(DEAD, instances=(instance(ec2_state="shutting-down"),))).state is MemberState.GHOST


def test_a_node_whose_instance_aws_does_not_list_any_more_is_a_ghost() -> None:
    member = one(replace(DEAD, instances=()))
    assert (member.state, member.reason) == (MemberState.GHOST, "AWS does not list instance i-1 any more")


DOUBTS = {
    "AWS has never answered": replace(DEAD, instances_seen_at=None),
    "the last answer is old": replace(DEAD, instances_seen_at=ago(16)),
    "the agent spoke after AWS was asked": replace(DEAD, reports={"node1": report(at=ago(1))}),
    "absent, but the answer has no group at all": replace(DEAD, instances=(), groups=()),
    "absent, but the node has just joined": replace(DEAD, instances=(), nodes=(node(created_at=ago(29)),)),
    "absent, but Ready and its agent spoke a moment ago": replace(
        DEAD, instances=(), reports={"node1": report(at=ago(5))}
    ),
    "absent and Ready, but the controller has only just started": replace(
        DEAD, instances=(), started_at=ago(5)
    ),
}


@pytest.mark.parametrize("world", DOUBTS.values(), ids=DOUBTS.keys())
def test_doubt_makes_no_ghost(world: Fleet) -> None:
    assert one(world).state is not MemberState.GHOST


def test_an_absent_node_that_is_down_is_a_ghost_however_lately_it_spoke() -> None:
    world = replace(DEAD, instances=(), nodes=(node(status="down"),), reports={"node1": report(at=ago(3))})
    assert one(world).state is MemberState.GHOST


def test_a_node_that_came_back_under_a_new_id_leaves_a_ghost_once_it_is_down() -> None:
    again = replace(joined(), id="node1b", hostname="host1b")
    world = fleet(nodes=(node(status="down"), again))
    assert assess(world, SETTINGS)[0].state is MemberState.GHOST
    elsewhere = fleet(nodes=(node(status="down"), replace(again, address="10.6.6.6")))
    assert assess(elsewhere, SETTINGS)[0].state is MemberState.LOST
    still_there = fleet(nodes=(node(), again))
    assert assess(still_there, SETTINGS)[0].state is MemberState.ACTIVE


# Notices


def test_the_earliest_deadline_wins_between_report_label_and_aws() -> None:
    labels = {**ACTIVE_LABELS, LABEL_NOTICE: to_label((spot(110),))}
    world = fleet(
        nodes=(node(labels=labels),),
        instances=(instance(lifecycle_state="Terminating"),),
        reports={"node1": report(notices=(spot(120),))},
    )
    assert one(world).deadline == ahead(110)
    assert [n.kind for n in one(world).notices] == [NoticeKind.ASG_TERMINATE, NoticeKind.SPOT]


def test_a_termination_seen_in_aws_has_the_hooks_timeout_as_deadline() -> None:
    world = fleet(instances=(instance(lifecycle_state="Terminating:Wait"),))
    assert one(world).deadline == ago(2) + timedelta(seconds=300)
    assert one(replace(world, groups=(group(hooks=()),))).deadline is None


def test_notices_merge_per_kind_and_survive_the_label() -> None:
    first = Notice(kind=NoticeKind.SPOT, deadline=None, seen_at=ago(9))
    merged = merge((spot(),), (first,))
    assert merged == (Notice(kind=NoticeKind.SPOT, deadline=ahead(120), seen_at=ago(9)),)
    assert persisted(node(labels={LABEL_NOTICE: to_label(merged)})) == merged


def test_an_unreadable_notice_label_is_no_notice() -> None:
    assert persisted(node(labels={LABEL_NOTICE: "[{"})) == ()


def test_a_time_without_zone_is_utc() -> None:
    naive = Notice(kind=NoticeKind.SPOT, deadline=NOW.replace(tzinfo=None), seen_at=NOW.replace(tzinfo=None))
    assert merge((naive,))[0].deadline == NOW


def test_the_description_of_a_notice_does_not_change_with_time() -> None:
    early = fleet(nodes=(node(labels={**NOTICED, LABEL_REASON: "x"}),), reports={})
    late = replace(early, now=ahead(30))
    assert describe(one(early).notices) == describe(one(late).notices)
