"""What a service's tasks say about the server."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmhub.spawner.causes import Cause
from swarmhub.spawner.states import (
    RestartCondition,
    ServerPhase,
    SwarmTime,
    Task,
    TaskState,
    parse_task,
    server_state,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def task(number: int, state: str, desired: str = "running", **more: object) -> Task:
    created = at(number)
    return Task(f"t{number}", "s", TaskState(state), TaskState(desired), created, **more)


@pytest.mark.parametrize("state", TaskState)
def test_each_task_state_is_pending_running_or_final(state: TaskState) -> None:
    assert [state.is_pending, state is TaskState.RUNNING, state.is_final].count(True) == 1
    assert state.is_alive is not state.is_final


@pytest.mark.parametrize("phase", ServerPhase)
def test_each_server_phase_is_alive_or_final(phase: ServerPhase) -> None:
    assert phase.is_alive is not phase.is_final


def test_a_state_word_from_the_future_counts_as_pending() -> None:
    assert TaskState("hibernating").is_pending


def test_a_service_without_tasks_yet_is_pending() -> None:
    assert server_state([]).phase is ServerPhase.PENDING


@pytest.mark.parametrize("state", [state for state in TaskState if state.is_pending])
def test_a_wanted_task_on_its_way_is_pending(state: TaskState) -> None:
    # dockerspawner calls new, allocated, assigned, accepted and ready dead; the hub then deletes the server.
    found = server_state([task(1, state)])
    assert found.phase is ServerPhase.PENDING
    assert found.exit_status is None


def test_a_running_wanted_task_is_the_server() -> None:
    found = server_state([task(1, "running")])
    assert (found.phase, found.is_moving) == (ServerPhase.RUNNING, False)


def test_while_an_update_overlaps_the_newest_running_task_counts() -> None:
    found = server_state([task(1, "running"), task(2, "running")])
    assert found.task is not None
    assert found.task.id == "t2"
    assert found.is_moving


def test_a_new_task_that_does_not_run_yet_leaves_the_old_one_in_charge() -> None:
    found = server_state([task(2, "starting"), task(1, "running")])
    assert found.phase is ServerPhase.RUNNING
    assert found.task is not None
    assert found.task.id == "t1"
    assert found.is_moving


def test_a_task_on_its_way_out_is_not_the_server_even_if_it_is_newest() -> None:
    found = server_state([task(1, "running"), task(2, "running", "shutdown")])
    assert found.task is not None
    assert found.task.id == "t1"


def test_a_drained_task_with_its_replacement_waiting_is_pending_and_alive() -> None:
    # The replacement on a drain is wanted in state ready first; dockerspawner finds no running task then.
    found = server_state([task(1, "running", "shutdown"), task(2, "new", "ready")])
    assert found.phase is ServerPhase.PENDING
    assert found.exit_status is None


def test_a_server_that_ended_with_success_was_stopped_by_the_student() -> None:
    for desired in ("running", "shutdown"):
        found = server_state([task(1, "complete", desired, exit_code=0)])
        assert found.phase is ServerPhase.FINISHED
        assert found.exit_status == 0


def test_a_failed_task_with_a_replacement_is_pending() -> None:
    found = server_state([task(1, "failed", "shutdown"), task(2, "ready", "ready")])
    assert found.phase is ServerPhase.PENDING
    assert [failure.id for failure in found.failures] == ["t1"]


@pytest.mark.parametrize("state", ["failed", "rejected", "orphaned", "shutdown"])
def test_an_ended_task_that_swarm_still_wants_will_be_replaced(state: str) -> None:
    assert server_state([task(1, state)]).phase is ServerPhase.PENDING


def test_a_failed_task_nobody_replaces_is_the_end_with_its_exit_code() -> None:
    found = server_state([task(1, "failed", "shutdown", exit_code=137, message="task: non-zero exit (137)")])
    assert found.phase is ServerPhase.FAILED
    assert found.exit_status == 137
    assert found.reason == "task: non-zero exit (137)"


@pytest.mark.parametrize("state", ["rejected", "orphaned", "shutdown"])
def test_an_end_without_exit_code_is_still_a_failure(state: str) -> None:
    found = server_state([task(1, state, "shutdown")])
    assert found.phase is ServerPhase.FAILED
    assert found.exit_status == 1


def test_a_container_still_stopping_is_alive() -> None:
    assert server_state([task(1, "running", "remove")]).phase is ServerPhase.STOPPING


def test_failures_are_newest_first() -> None:
    found = server_state([task(1, "rejected", "shutdown"), task(2, "failed", "shutdown"), task(3, "new")])
    assert [failure.id for failure in found.failures] == ["t2", "t1"]


# The verdict on a service with one task, for every state it can be in, every state it can be wanted in, and
# every restart policy. Swarm wants a task (it should run) or does not (it should end); which of the two a
# desired state says is in the second table.
#
# state         wanted                          unwanted
#               none       on-failure any       none       on-failure any
ONE_TASK = """
  new           pending    pending    pending   stopping   stopping   stopping
  allocated     pending    pending    pending   stopping   stopping   stopping
  pending       pending    pending    pending   stopping   stopping   stopping
  assigned      pending    pending    pending   stopping   stopping   stopping
  accepted      pending    pending    pending   stopping   stopping   stopping
  preparing     pending    pending    pending   stopping   stopping   stopping
  ready         pending    pending    pending   stopping   stopping   stopping
  starting      pending    pending    pending   stopping   stopping   stopping
  running       running    running    running   stopping   stopping   stopping
  complete      finished   finished   pending   finished   finished   finished
  shutdown      failed     pending    pending   failed     failed     failed
  failed        failed     pending    pending   failed     failed     failed
  rejected      failed     pending    pending   failed     failed     failed
  remove        failed     pending    pending   failed     failed     failed
  orphaned      failed     pending    pending   failed     failed     failed
  unknown       pending    pending    pending   stopping   stopping   stopping
"""
DESIRED = {
    "wanted": "new allocated pending assigned accepted preparing ready starting running unknown",
    "unwanted": "complete shutdown failed rejected remove orphaned",
}
COLUMNS = [(wish, policy) for wish in DESIRED for policy in ("none", "on-failure", "any")]
VERDICTS = [
    pytest.param(state, desired, policy, verdict, id=f"{state}/{desired}/{policy}")
    for state, *verdicts in map(str.split, ONE_TASK.strip().splitlines())
    for (wish, policy), verdict in zip(COLUMNS, verdicts, strict=True)
    for desired in DESIRED[wish].split()
]


@pytest.mark.parametrize(("state", "desired", "policy", "verdict"), VERDICTS)
def test_the_verdict_on_one_task(state: str, desired: str, policy: str, verdict: str) -> None:
    found = server_state([task(1, state, desired, restart=RestartCondition(policy))])
    assert found.phase == verdict


def test_the_table_is_complete() -> None:
    assert len(VERDICTS) == len(TaskState) * len(TaskState) * len(RestartCondition)
    assert {case.values[:3] for case in VERDICTS} == {
        (state, desired, policy)
        for state in TaskState
        for desired in TaskState
        for policy in RestartCondition
    }


@pytest.mark.parametrize(
    ("cause", "phase", "tasks"),
    [
        ("running", "running", [task(1, "running")]),
        ("starting", "pending", []),
        ("starting", "pending", [task(1, "preparing")]),
        ("starting", "pending", [task(1, "pending", message="pending task scheduling")]),
        ("no-seat", "pending", [task(1, "pending", error="no suitable node")]),
        ("no-seat", "pending", [task(1, "failed", "shutdown"), task(2, "pending", error="no suitable node")]),
        ("replaced", "pending", [task(1, "failed", "shutdown"), task(2, "ready", "ready")]),
        ("replaced", "pending", [task(1, "rejected", "shutdown"), task(2, "new")]),
        ("replaced", "pending", [task(1, "failed")]),
        ("rescheduled", "pending", [task(1, "running", "shutdown"), task(2, "new", "ready")]),
        ("rescheduled", "pending", [task(1, "shutdown", "shutdown"), task(2, "preparing")]),
        (
            "rescheduled",
            "pending",
            [
                task(1, "rejected", "shutdown", error="assigned node no longer meets constraints"),
                task(2, "new"),
            ],
        ),
        ("lost-node", "pending", [task(1, "orphaned", "shutdown"), task(2, "starting")]),
        ("lost-node", "failed", [task(1, "orphaned", "shutdown")]),
        ("stopping", "stopping", [task(1, "running", "remove")]),
        ("stopped", "failed", [task(1, "shutdown", "shutdown")]),
        ("shut-down", "finished", [task(1, "complete", "shutdown", exit_code=0)]),
        ("crashed", "failed", [task(1, "failed", "shutdown", exit_code=1)]),
        ("out-of-memory", "failed", [task(1, "failed", "shutdown", exit_code=137)]),
        (
            "unhealthy",
            "failed",
            [
                task(
                    1,
                    "failed",
                    "shutdown",
                    exit_code=137,
                    error="task: non-zero exit (137): dockerexec: unhealthy container",
                )
            ],
        ),
        ("rejected", "failed", [task(1, "rejected", "shutdown", error="something new")]),
        ("image", "failed", [task(1, "rejected", "shutdown", error="No such image: course:1")]),
        (
            "mount",
            "failed",
            [
                task(
                    1,
                    "rejected",
                    "shutdown",
                    error='invalid mount config for type "bind": bind source path does not exist: /x',
                )
            ],
        ),
        (
            "network-full",
            "failed",
            [
                task(
                    1,
                    "rejected",
                    "shutdown",
                    error="node is missing network attachments, ip addresses may be exhausted",
                )
            ],
        ),
    ],
)
def test_the_cause_is_told_apart(cause: str, phase: str, tasks: list[Task]) -> None:
    found = server_state(tasks)
    assert (found.cause, found.phase) == (cause, phase)


@pytest.mark.parametrize(
    ("state", "error", "now", "last_change", "cause"),
    [
        ("new", "", 9, 9, Cause.STARTING),
        ("new", "", 12, 11.5, Cause.NETWORK_FULL),
        ("allocated", "", 12, 11.5, Cause.NETWORK_FULL),
        # No task of the swarm moves: an election, perhaps.
        ("new", "", 20, 2, Cause.STARTING),
        ("new", "", 32, 2, Cause.NETWORK_FULL),
        ("preparing", "", 40, 40, Cause.STARTING),
        ("new", "something else is wrong", 40, 40, Cause.STARTING),
    ],
)
def test_a_task_that_waits_long_for_an_address_finds_the_network_full(
    state: str, error: str, now: float, last_change: float, cause: Cause
) -> None:
    time = SwarmTime(at(now), at(last_change))
    assert server_state([task(1, state, error=error)], time).cause is cause


def test_a_restart_policy_that_is_not_set_is_any_as_in_the_engine() -> None:
    raw = {"ID": "t", "Status": {"State": "complete"}, "DesiredState": "running"}
    assert parse_task(raw).restart is RestartCondition.ANY


def test_a_restart_policy_from_the_future_ends_no_server() -> None:
    ended = task(1, "failed", restart=RestartCondition("on-tuesdays"))
    assert server_state([ended]).exit_status is None


tasks = st.lists(
    st.tuples(st.sampled_from(TaskState), st.sampled_from(TaskState)), min_size=1, max_size=6
).map(lambda pairs: [task(number, *pair) for number, pair in enumerate(pairs)])


@settings(deadline=None)  # a loaded machine is not a defect
@given(tasks)
def test_no_server_with_a_living_container_ever_counts_as_ended(found: list[Task]) -> None:
    if any(one.is_alive for one in found):
        assert server_state(found).exit_status is None


@settings(deadline=None)
@given(tasks, st.randoms())
def test_the_order_of_the_list_does_not_matter(found: list[Task], random: object) -> None:
    shuffled = found[:]
    random.shuffle(shuffled)
    assert server_state(shuffled) == server_state(found)


def test_a_task_is_read_from_the_engines_answer() -> None:
    raw = {
        "ID": "t",
        "ServiceID": "s",
        "NodeID": "n",
        "CreatedAt": "2026-01-01T00:00:00.123456789Z",
        "DesiredState": "shutdown",
        "Spec": {"RestartPolicy": {"Condition": "on-failure"}},
        "Status": {
            "State": "failed",
            "Timestamp": "2026-01-01T00:00:07Z",
            "Message": "started",
            "Err": "task: non-zero exit (1)",
            "ContainerStatus": {"ContainerID": "c", "ExitCode": 1},
        },
        "NetworksAttachments": [{"Network": {"Spec": {"Name": "notebooks"}}, "Addresses": ["10.64.0.7/20"]}],
    }
    parsed = parse_task(raw)
    assert parsed == Task(
        "t",
        "s",
        TaskState.FAILED,
        TaskState.SHUTDOWN,
        datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC),
        "n",
        (("notebooks", "10.64.0.7"),),
        "task: non-zero exit (1)",
        1,
        "task: non-zero exit (1)",
        datetime(2026, 1, 1, 0, 0, 7, tzinfo=UTC),
        RestartCondition.ON_FAILURE,
    )
    assert parsed.address_on("notebooks") == "10.64.0.7"
    assert parsed.address_on("other") is None


def test_times_compare_as_times_not_as_words() -> None:
    # Go drops trailing zeros: as words, "…00Z" sorts after "…00.5Z".
    def created(at: str) -> Task:
        return parse_task(
            {"ID": at, "CreatedAt": at, "Status": {"State": "running"}, "DesiredState": "running"}
        )

    found = server_state([created("2026-01-01T00:00:00Z"), created("2026-01-01T00:00:00.5Z")])
    assert found.task is not None
    assert found.task.id == "2026-01-01T00:00:00.5Z"


def test_a_task_that_is_not_placed_yet_is_readable() -> None:
    raw = {"ID": "t", "ServiceID": "s", "Status": {"State": "new"}, "DesiredState": "running"}
    assert parse_task(raw).node_id == ""
