"""What the controller does about a fleet: each rule here fails if the rule is taken out of ``plan``."""

from __future__ import annotations

from dataclasses import replace

import pytest
from swarmhub_agent.protocol import LABEL_INSTANCE, LABEL_POOL, AgentPhase, Notice, NoticeKind

from swarmhub.controller.model import LABEL_NOTICE, LABEL_REASON, Fleet
from swarmhub.controller.notices import to_label
from swarmhub.controller.plan import (
    Action,
    CompleteHook,
    MoveServer,
    RemoveNode,
    ReplaceInstance,
    SetNode,
    plan,
)
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
    node,
    report,
    server,
    spot,
    task,
)

REASON = "EC2 takes the spot instance back at 2026-03-02T10:02:00Z"


def of(kind: type[Action], world: Fleet) -> list[Action]:
    return [action for action in plan(world, SETTINGS) if isinstance(action, kind)]


def noticed(**changes: object) -> Fleet:
    """The active node has just been noticed; one server runs on it, another node is free."""
    world = fleet(
        nodes=(node(1), node(2)),
        instances=(instance(1), instance(2)),
        reports={"node1": report(notices=(spot(),)), "node2": report(2)},
        servers=(server(task("node1")),),
    )
    return replace(world, **changes)


def held(*notices: Notice, availability: str = "pause", **labels: str) -> dict[str, object]:
    """What a node looks like after we have held it."""
    kept = {**ACTIVE_LABELS, LABEL_NOTICE: to_label(notices or (spot(),)), LABEL_REASON: REASON, **labels}
    return {"availability": availability, "labels": kept}


TERMINATING = instance(1, lifecycle_state="Terminating:Wait")


def test_a_good_fleet_needs_nothing() -> None:
    assert plan(fleet(), SETTINGS) == ()


# Activation


def test_a_fit_node_is_activated_with_the_labels_that_servers_are_constrained_to() -> None:
    (action,) = plan(fleet(nodes=(joined(),)), SETTINGS)
    assert isinstance(action, SetNode)
    assert action.availability == "active"
    assert action.labels == {
        LABEL_INSTANCE: "i-1",
        LABEL_POOL: "cpu",
        LABEL_REASON: None,
        LABEL_NOTICE: None,
    }


NOT_FIT = {
    "a check failed": {"reports": {"node1": report(checks=BAD)}},
    "no check was made": {"reports": {"node1": report(checks=())}},
    "the report is 16 s old": {"reports": {"node1": report(at=ago(16))}},
    "there is no report": {"reports": {}},
    "the agent speaks for another instance": {"reports": {"node1": report(instance_id="i-2")}},
    "the agent is leaving": {"reports": {"node1": report(phase=AgentPhase.LEAVING)}},
    "the node is not Ready": {"nodes": (joined(status="unknown"),)},
    "the node's address is another's": {"nodes": (joined(address="10.1.1.1"),)},
    "AWS does not list the instance": {"instances": ()},
    "AWS has never answered": {"instances": (), "instances_seen_at": None},
    "the instance is terminating": {"instances": (TERMINATING,)},
    "the agent was not told the images": {"reports": {"node1": report(told=None)}},
    "the agent knows other images": {"images": {"cpu": ("a@sha256:2",)}},
    "the pool's images are not resolved": {"images_pending": frozenset({"cpu"})},
}


@pytest.mark.parametrize("changes", NOT_FIT.values(), ids=NOT_FIT.keys())
def test_a_node_is_not_activated_while(changes: dict[str, object]) -> None:
    world = replace(fleet(nodes=(joined(created_at=ago(20)),)), **changes)
    assert not [a for a in of(SetNode, world) if a.availability == "active"]


def test_an_operators_pause_is_respected() -> None:
    assert plan(fleet(nodes=(node(availability="pause"),)), SETTINGS) == ()
    assert plan(fleet(nodes=(node(availability="drain"),)), SETTINGS) == ()


def test_a_node_we_held_back_is_activated_again_when_its_notice_is_taken_away() -> None:
    labels = {**ACTIVE_LABELS, LABEL_REASON: REASON}
    (action,) = of(SetNode, fleet(nodes=(node(availability="pause", labels=labels),)))
    assert isinstance(action, SetNode)
    assert action.availability == "active"


def test_a_failed_check_changes_nothing_on_an_active_node() -> None:
    assert plan(fleet(reports={"node1": report(checks=BAD)}), SETTINGS) == ()


def test_the_launch_hook_is_completed_only_after_the_activation() -> None:
    waiting = (instance(lifecycle_state="Pending:Wait"),)
    before = fleet(nodes=(joined(),), instances=waiting)
    assert not of(CompleteHook, before)
    assert plan(fleet(instances=waiting), SETTINGS) == (
        CompleteHook(
            "i-1",
            "swarmhub-lab-cpu",
            "up",
            "autoscaling:EC2_INSTANCE_LAUNCHING",
            "CONTINUE",
            "its node is active",
        ),
    )


# Notices


def test_a_spot_notice_pauses_replaces_and_moves_in_the_same_plan_in_this_order() -> None:
    hold, replacement, move = plan(noticed(), SETTINGS)
    assert hold == SetNode(
        "node1", "host1", "pause", {LABEL_NOTICE: to_label((spot(),)), LABEL_REASON: REASON}, REASON
    )
    assert replacement == ReplaceInstance("i-1", f"{REASON}; starting its replacement")
    assert move == MoveServer("service1", "lab-ada", "node1", 0, REASON)


def test_a_held_node_is_not_set_again() -> None:
    assert not of(SetNode, noticed(nodes=(node(1, **held()), node(2))))


def test_an_operator_who_activates_a_noticed_node_is_overruled() -> None:
    (action,) = of(SetNode, noticed(nodes=(node(1, **held(availability="active")), node(2))))
    assert isinstance(action, SetNode)
    assert (action.availability, action.labels) == ("pause", {})


def test_an_operators_drain_stays_a_drain() -> None:
    assert not of(SetNode, noticed(nodes=(node(1, **held(availability="drain")), node(2))))


def test_a_controller_that_restarts_in_mid_drain_goes_on_with_the_same_deadline() -> None:
    """No report has arrived yet, AWS has not answered yet: the label alone carries the notice."""
    world = noticed(
        nodes=(node(1, **held()), node(2)),
        reports={},
        instances=(),
        groups=(),
        instances_seen_at=None,
        started_at=NOW,
    )
    assert of(MoveServer, world)
    assert not of(SetNode, world)
    (drain,) = of(SetNode, replace(world, now=ahead(105)))
    assert isinstance(drain, SetNode)
    assert drain.availability == "drain"


def test_a_later_deadline_never_replaces_an_earlier_one() -> None:
    world = noticed(
        nodes=(node(1, **held(spot(120))), node(2)), reports={"node1": report(notices=(spot(500),))}
    )
    assert not of(SetNode, world)


def test_an_earlier_deadline_is_kept_in_the_label() -> None:
    world = noticed(
        nodes=(node(1, **held(spot(120))), node(2)), reports={"node1": report(notices=(spot(60),))}
    )
    (action,) = of(SetNode, world)
    assert isinstance(action, SetNode)
    assert action.labels[LABEL_NOTICE] == to_label((spot(60),))


def test_what_is_left_fifteen_seconds_before_the_deadline_is_drained() -> None:
    world = noticed(nodes=(node(1, **held()), node(2)))
    assert not of(SetNode, replace(world, now=ahead(104.9)))
    (action,) = of(SetNode, replace(world, now=ahead(105)))
    assert isinstance(action, SetNode)
    assert (action.node_id, action.availability) == ("node1", "drain")


def test_the_hard_drain_leaves_an_empty_node_alone_and_asks_for_no_more_moves() -> None:
    late = noticed(nodes=(node(1, **held()), node(2)), now=ahead(105))
    assert not of(MoveServer, late)
    assert not of(SetNode, replace(late, servers=()))
    drained = noticed(nodes=(node(1, **held(availability="drain")), node(2)), now=ahead(106))
    assert not of(MoveServer, drained)


def test_servers_of_a_node_that_is_down_are_left_to_swarm() -> None:
    assert not of(MoveServer, noticed(nodes=(node(1, status="down", **held()), node(2))))


def test_managers_are_never_touched() -> None:
    boss = node(1, role="manager")
    for doomed in (TERMINATING, replace(TERMINATING, ec2_state="terminated")):
        assert plan(noticed(nodes=(boss, node(2)), instances=(doomed, instance(2))), SETTINGS) == ()


# The replacement


def test_an_instance_that_is_terminating_already_is_not_replaced_again() -> None:
    assert not of(ReplaceInstance, noticed(instances=(TERMINATING, instance(2))))
    spoke_last = noticed(
        instances=(instance(1, ec2_state="shutting-down"), instance(2)),
        reports={"node1": report(notices=(spot(),), at=ago(1))},
    )
    assert not of(ReplaceInstance, spoke_last)


def test_an_auto_scaling_notice_asks_for_no_replacement() -> None:
    notice = Notice(kind=NoticeKind.ASG_TERMINATE, deadline=None, seen_at=ago(1))
    assert not of(ReplaceInstance, noticed(reports={"node1": report(notices=(notice,))}))


def test_without_a_terminate_hook_the_instance_is_not_given_up_early() -> None:
    """The call would end it, and its servers, at once."""
    assert not of(ReplaceInstance, noticed(groups=(group(hooks=group().hooks[:1]),)))


def test_a_node_that_joined_from_another_address_cannot_have_the_instance_replaced() -> None:
    world = noticed(nodes=(node(1, address="10.6.6.6"), node(2)))
    assert not of(ReplaceInstance, world)


def test_a_noticed_instance_that_is_still_launching_is_abandoned() -> None:
    world = noticed(
        nodes=(joined(), node(2)),
        instances=(instance(lifecycle_state="Pending:Wait"), instance(2)),
        servers=(),
    )
    (action,) = of(CompleteHook, world)
    assert isinstance(action, CompleteHook)
    assert (action.hook, action.result) == ("up", "ABANDON")
    assert not of(ReplaceInstance, world)


# Leaving


def test_a_node_whose_agent_left_is_removed_at_once() -> None:
    world = fleet(reports={"node1": report(phase=AgentPhase.LEFT)}, instances_seen_at=None)
    assert plan(world, SETTINGS) == (RemoveNode("node1", "host1", "its engine has left the swarm"),)


def test_a_ghost_is_removed() -> None:
    world = fleet(instances=(instance(ec2_state="terminated"),), reports={})
    assert plan(world, SETTINGS) == (RemoveNode("node1", "host1", "instance i-1 is terminated"),)


@pytest.mark.parametrize("seen_at", [None, ago(16)], ids=["AWS never answered", "the answer is 16 s old"])
def test_no_node_is_removed_on_an_old_or_missing_view_of_aws(seen_at: object) -> None:
    for instances in ((), (instance(ec2_state="terminated"),)):
        world = fleet(
            nodes=(node(status="down"),), instances=instances, reports={}, instances_seen_at=seen_at
        )
        assert not of(RemoveNode, world)


def test_a_lost_node_is_kept_while_aws_lists_its_instance() -> None:
    assert plan(fleet(nodes=(node(status="down"),), reports={}), SETTINGS) == ()


def test_the_terminate_hook_is_completed_when_the_node_is_gone() -> None:
    world = fleet(nodes=(), instances=(TERMINATING,))
    (action,) = plan(world, SETTINGS)
    assert isinstance(action, CompleteHook)
    assert (action.instance_id, action.hook, action.result) == ("i-1", "down", "CONTINUE")


def test_the_terminate_hook_is_left_to_the_agent_while_the_node_is_there() -> None:
    world = noticed(nodes=(node(1, **held()), node(2)), instances=(TERMINATING, instance(2)))
    assert not of(CompleteHook, world)
    assert not of(CompleteHook, replace(world, servers=()))


def test_a_worker_at_the_instances_address_counts_as_its_node_even_if_it_cannot_name_it() -> None:
    nameless = node(1, labels={}, engine_labels={})
    assert not of(CompleteHook, fleet(nodes=(nameless,), instances=(TERMINATING,)))


def test_the_terminate_hook_of_an_empty_node_is_completed_when_its_agent_is_silent_for_thirty_seconds() -> (
    None
):
    world = noticed(nodes=(node(1, **held()), node(2)), instances=(TERMINATING, instance(2)), servers=())
    silent = {"node1": report(notices=(spot(),), at=ago(30))}
    assert of(CompleteHook, replace(world, reports=silent))
    assert not of(CompleteHook, replace(world, reports=silent, started_at=ago(29)))
    still_used = replace(world, reports=silent, servers=(server(task()),))
    assert not of(CompleteHook, still_used)


def test_no_hook_is_completed_on_an_old_view_of_aws() -> None:
    assert not of(CompleteHook, fleet(nodes=(), instances=(TERMINATING,), instances_seen_at=ago(16)))


# Moves


def moving(**changes: object) -> Fleet:
    """The node is held; the server's counter says that its move was asked for five seconds ago."""
    world = noticed(nodes=(node(1, **held()), node(2)))
    values: dict[str, object] = {
        "force_update": 1,
        "updated_at": ago(5),
        "update_state": "updating",
        "update_started_at": ago(5),
        **changes,
    }
    return replace(world, servers=(replace(server(task("node1")), **values),))


def test_a_move_is_asked_for_once() -> None:
    assert not of(MoveServer, moving())
    assert not of(MoveServer, moving(update_state=None, update_started_at=None))


def test_a_server_whose_successor_is_elsewhere_is_not_moved_again_however_long_it_takes() -> None:
    successor = task("node2", created_at=ago(100), state=TaskState.STARTING, force_update=1)
    long_ago = {"updated_at": ago(100), "update_started_at": ago(100)}
    assert not of(MoveServer, moving(tasks=(task("node1"), successor), **long_ago))


def test_a_server_whose_successor_has_no_seat_stays_and_is_not_asked_again() -> None:
    successor = task(
        "", created_at=ago(100), state=TaskState.PENDING, force_update=1, error="no suitable node"
    )
    long_ago = {"updated_at": ago(100), "update_started_at": ago(100)}
    assert not of(MoveServer, moving(tasks=(task("node1"), successor), **long_ago))


@pytest.mark.parametrize("state", ["paused", "rollback_paused", "rollback_completed"])
def test_a_move_that_swarm_gave_up_is_asked_for_again_at_once(state: str) -> None:
    assert of(MoveServer, moving(update_state=state))


def test_a_move_that_has_not_happened_after_sixty_seconds_is_asked_for_again() -> None:
    assert not of(MoveServer, moving(updated_at=ago(59), update_started_at=ago(59)))
    (action,) = of(MoveServer, moving(updated_at=ago(60), update_started_at=ago(60)))
    assert isinstance(action, MoveServer)
    assert action.force_update == 1


def test_an_update_in_flight_that_will_replace_the_task_is_not_disturbed() -> None:
    assert not of(MoveServer, moving(force_update=0))


def test_a_server_that_moved_onto_a_node_noticed_later_moves_on() -> None:
    """Its update is still in flight, but it was for the old node."""
    newer = task("node2", created_at=ago(4), state=TaskState.STARTING, force_update=1)
    world = moving(tasks=(task("node1"), newer))
    both = replace(
        world,
        nodes=(node(1, **held()), node(2, **held()), node(3)),
        instances=(instance(1), instance(2), instance(3)),
    )
    (action,) = of(MoveServer, both)
    assert isinstance(action, MoveServer)
    assert action.node_id == "node2"


def test_an_ended_task_is_not_moved() -> None:
    for ended in (TaskState.COMPLETE, TaskState.FAILED):
        world = noticed(servers=(server(task("node1", state=ended, desired=TaskState.SHUTDOWN)),))
        assert not of(MoveServer, world)


def test_twenty_nodes_noticed_in_the_same_second_are_all_held_first() -> None:
    numbers = range(1, 21)
    world = fleet(
        nodes=tuple(node(n) for n in numbers),
        instances=tuple(instance(n) for n in numbers),
        reports={f"node{n}": report(n, notices=(spot(),)) for n in numbers},
        servers=tuple(server(task(f"node{n}"), id=f"service{n}", name=f"lab-{n:02}") for n in numbers),
    )
    kinds = [type(action) for action in plan(world, SETTINGS)]
    assert kinds == [SetNode] * 20 + [ReplaceInstance] * 20 + [MoveServer] * 20
