"""The queue of starts: turns, full lanes, seats, giving up, and what a waiting student is told."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import pytest

from swarmhub.spawner import queue as queue_module
from swarmhub.spawner.pace import Measured, Pace
from swarmhub.spawner.queue import (
    NOT_WAITING,
    Position,
    QueueReason,
    QueueTimeout,
    StartQueue,
    Ticket,
    Wish,
)

FULL = "no suitable node (insufficient resources on 2 nodes)"
Admission = asyncio.Task[Ticket]


class Lab:
    """A queue with a clock the test drives."""

    def __init__(self, *, step: int = 0, seats: int | None = None, running: int = 0) -> None:
        self.now = 1000.0
        self.running = running
        self.queue = StartQueue(lambda: self.now, seats, lambda: self.running, Pace(step=step))

    def wish(
        self, user: str, *, course: str = "intro", lane: str = "cpu", since: float | None = None
    ) -> Wish:
        return Wish(user, "", course, lane, self.now if since is None else since)

    def ask(
        self, user: str, *, course: str = "intro", lane: str = "cpu", since: float | None = None
    ) -> Admission:
        wish = self.wish(user, course=course, lane=lane, since=since)
        return asyncio.create_task(self.queue.admit(wish, self.now + 60), name=user)

    async def ask_all(self, users: list[str], *, course: str = "intro", lane: str = "cpu") -> list[Admission]:
        asked = [self.ask(user, course=course, lane=lane) for user in users]
        await turn()
        return asked

    def position(self, user: str) -> Position:
        return self.queue.position(self.wish(user))


async def turn() -> None:
    """Let everybody act who can."""
    for _ in range(3):
        await asyncio.sleep(0)


def admitted(asked: list[Admission]) -> list[str]:
    return [task.get_name() for task in asked if task.done()]


async def in_order(asked: list[Admission]) -> list[str]:
    """Names in the order of their admission, when each is done as soon as it began."""
    order: list[str] = []
    finished: set[str] = set()
    while len(finished) < len(asked):
        for task in asked:
            if task.done() and task.get_name() not in order:
                order.append(task.get_name())
        name = next(name for name in order if name not in finished)
        finished.add(name)
        next(task for task in asked if task.get_name() == name).result().done(True)
        await turn()
    return order


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


# Turns


def test_with_free_seats_a_start_goes_through_without_a_single_turn_of_the_loop() -> None:
    async def use() -> Ticket:
        lab = Lab()
        admission = lab.queue.admit(lab.wish("ana"), lab.now + 60)
        with pytest.raises(StopIteration) as finished:
            admission.send(None)
        ticket: Ticket = finished.value.value
        return ticket

    assert asyncio.run(use()).wish.user == "ana"


async def test_more_starts_than_the_limit_wait_first_come_first_served() -> None:
    lab = Lab()
    asked = await lab.ask_all(names("s", 6))
    assert lab.queue.limit == 2
    assert admitted(asked) == ["s0", "s1"]
    assert (lab.queue.in_flight, lab.queue.waiting) == (2, 4)
    assert [wish.user for wish in lab.queue.admitted] == ["s0", "s1"]
    assert await in_order(asked) == names("s", 6)
    assert (lab.queue.in_flight, lab.queue.waiting) == (0, 0)


async def test_a_start_resumed_after_a_hub_restart_has_its_old_place() -> None:
    lab = Lab()
    asked = await lab.ask_all(names("s", 4))
    asked.append(lab.ask("resumed", since=-500.0))
    await turn()
    assert lab.position("resumed").place == 1
    assert await in_order(asked) == ["s0", "s1", "resumed", "s2", "s3"]


async def test_a_class_of_100_that_pressed_first_does_not_hold_up_five_others() -> None:
    lab = Lab()
    asked = await lab.ask_all(names("big", 100), course="big")
    asked += await lab.ask_all(names("small", 5), course="small")
    assert lab.position("small4").place <= 8
    order = await in_order(asked)
    assert max(order.index(f"small{number}") for number in range(5)) <= 10


async def test_a_small_course_that_keeps_asking_does_not_starve_the_big_one() -> None:
    lab = Lab()
    big = await lab.ask_all(names("big", 20), course="big")
    small: list[Admission] = []
    running: list[Admission] = []
    for number in range(60):
        lab.now += 1
        small += await lab.ask_all([f"small{number}"], course="small")
        for task in [*big, *small]:
            if task.done() and task not in running:
                running.append(task)
                task.result().done(True)
        await turn()
    assert len(admitted(big)) == 20


async def test_the_limit_goes_with_the_machines() -> None:
    lab = Lab()
    asked = await lab.ask_all(names("s", 9))
    lab.queue.use_machines(3)
    await turn()
    assert len(admitted(asked)) == lab.queue.limit == 6


async def test_what_the_engine_fails_halves_the_limit() -> None:
    lab = Lab(step=6)
    (task,) = await lab.ask_all(["ana"])
    lab.now += 1
    task.result().done(False, engine_failed=True)
    assert lab.queue.limit == 8


async def test_the_limit_is_learned_from_the_rate_of_completed_starts() -> None:
    lab = Lab(step=6)
    asked = await lab.ask_all(names("s", 200))
    limits = {lab.queue.limit}
    for _ in range(3):
        for task in asked:
            if task.done() and not task.result().is_done:
                lab.now += 0.2
                task.result().done(True)
                limits.add(lab.queue.limit)
        await turn()
    assert 11 in limits


async def test_a_start_that_swarm_had_no_node_for_teaches_nothing() -> None:
    lab = Lab()
    refused = []
    for number in range(12):
        refused += await lab.ask_all([f"r{number}"], lane=f"lane {number}")
        refused[-1].result().unplaced(FULL)
    await lab.ask_all(names("s", 50))
    for task in refused:
        lab.now += 1
        task.result().done(True)
    assert lab.queue.limit == 2
    assert lab.position("s40").estimate is None


# Full lanes


async def test_a_full_lane_keeps_two_scouts_in_swarm_and_other_lanes_go_on() -> None:
    lab = Lab(step=6)
    first = await lab.ask_all(["g0"], lane="gpu")
    first[0].result().unplaced(FULL)
    gpu = await lab.ask_all(names("gpu", 5), lane="gpu")
    cpu = await lab.ask_all(names("cpu", 5))
    assert admitted(gpu) == ["gpu0"]
    assert len(admitted(cpu)) == 5


async def test_starts_without_a_node_do_not_count_against_the_limit() -> None:
    lab = Lab()
    gpu = await lab.ask_all(names("gpu", 2), lane="gpu")
    for task in gpu:
        task.result().unplaced(FULL)
    assert admitted(await lab.ask_all(names("cpu", 3))) == ["cpu0", "cpu1"]


async def test_a_new_machine_opens_the_lane() -> None:
    lab = Lab(step=6)
    scouts = await lab.ask_all(names("scout", 2))
    for task in scouts:
        task.result().unplaced(FULL)
    asked = await lab.ask_all(names("s", 20))
    assert not admitted(asked)
    for task in scouts:
        task.result().placed()
    await turn()
    assert len(admitted(asked)) == 3
    assert lab.position("s19").reason is QueueReason.TURN
    for _ in range(3):
        for task in asked:
            if task.done():
                task.result().placed()
        await turn()
    assert lab.queue.in_flight == lab.queue.limit


async def test_a_scout_that_runs_was_placed_even_if_nobody_said_so() -> None:
    lab = Lab(step=6)
    (scout,) = await lab.ask_all(["scout"])
    scout.result().unplaced(FULL)
    asked = await lab.ask_all(names("s", 20))
    assert len(admitted(asked)) == 1
    scout.result().done(True)
    await turn()
    assert len(admitted(asked)) == 3
    assert lab.position("s19").reason is QueueReason.TURN


async def test_scouts_that_give_up_are_replaced_by_two_others_not_by_everybody() -> None:
    lab = Lab(step=6)
    scouts = await lab.ask_all(names("scout", 2))
    for task in scouts:
        task.result().unplaced(FULL)
    asked = await lab.ask_all(names("s", 20))
    for task in scouts:
        task.result().done(False)
    await turn()
    assert admitted(asked) == ["s0", "s1"]
    assert lab.position("s19").reason is QueueReason.CAPACITY


async def test_a_lane_that_nobody_uses_is_no_longer_full() -> None:
    lab = Lab(step=6)
    (scout,) = await lab.ask_all(["scout"])
    scout.result().unplaced(FULL)
    scout.result().done(False)
    assert len(admitted(await lab.ask_all(names("s", 5)))) == 5


async def test_a_start_whose_node_was_lost_may_be_refused_later() -> None:
    lab = Lab(step=6)
    (task,) = await lab.ask_all(["ana"])
    task.result().placed()
    task.result().unplaced(FULL)
    assert lab.position("ana").reason is QueueReason.CAPACITY
    task.result().done(True)
    assert lab.position("ana") == NOT_WAITING


# Seats


async def test_when_all_seats_are_taken_starts_wait_and_say_so() -> None:
    lab = Lab(step=6, seats=10, running=8)
    asked = await lab.ask_all(names("s", 5))
    assert len(admitted(asked)) == 2
    assert lab.position("s3") == Position(2, 1, QueueReason.SEATS, None, "")
    lab.running += 1
    asked[0].result().done(True)
    await turn()
    assert len(admitted(asked)) == 2
    lab.running -= 1
    lab.queue.wake()
    await turn()
    assert len(admitted(asked)) == 3


async def test_a_seat_that_came_free_is_found_without_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "SEATS_RECHECK", 0.001)
    lab = Lab(seats=1, running=1)
    (task,) = await lab.ask_all(["ana"])
    await asyncio.sleep(0.02)
    assert not task.done()
    lab.running = 0
    await asyncio.wait_for(task, 5)


# Giving up


async def test_the_deadline_says_where_the_start_stood_and_leaves_nothing() -> None:
    lab = Lab()
    await lab.ask_all(names("s", 3))
    with pytest.raises(QueueTimeout) as late:
        await lab.queue.admit(lab.wish("late"), lab.now + 0.01)
    assert (late.value.place, late.value.reason, late.value.detail) == (2, QueueReason.TURN, "")
    assert "number 2" in str(late.value)
    assert lab.queue.waiting == 1
    assert lab.position("late") == NOT_WAITING


async def test_the_deadline_of_a_full_lane_gives_swarms_reason() -> None:
    lab = Lab()
    for task in await lab.ask_all(names("s", 2)):
        task.result().unplaced(FULL)
    with pytest.raises(QueueTimeout, match="insufficient resources on 2 nodes") as late:
        await lab.queue.admit(lab.wish("late"), lab.now - 5)
    assert (late.value.place, late.value.reason, late.value.detail) == (3, QueueReason.CAPACITY, FULL)


async def test_a_start_admitted_in_the_turn_of_its_deadline_may_go() -> None:
    lab = Lab()
    asked = await lab.ask_all(names("s", 2))
    late = asyncio.create_task(lab.queue.admit(lab.wish("late"), lab.now))
    await asyncio.sleep(0)
    asked[0].result().done(True)
    assert (await late).wish.user == "late"
    assert lab.queue.in_flight == 2


async def test_a_cancelled_start_leaves_the_queue() -> None:
    lab = Lab()
    asked = await lab.ask_all(names("s", 4))
    asked[2].cancel()
    await turn()
    assert lab.queue.lengths() == {"intro": 1}
    assert lab.position("s3").place == 1


async def test_a_start_cancelled_in_the_turn_it_was_admitted_gives_its_place_on() -> None:
    lab = Lab()
    asked = await lab.ask_all(names("s", 4))
    asked[0].result().done(True)
    asked[2].cancel()
    await turn()
    assert asked[2].cancelled()
    assert admitted([asked[3]]) == ["s3"]
    assert lab.queue.in_flight == 2


async def test_a_start_cancelled_just_before_its_turn_is_passed_over() -> None:
    lab = Lab()
    asked = await lab.ask_all(names("s", 4))
    asked[2].cancel()
    asked[0].result().done(True)
    await turn()
    assert asked[2].cancelled()
    assert admitted([asked[3]]) == ["s3"]
    assert (lab.queue.in_flight, lab.queue.waiting) == (2, 0)


# Tickets


@pytest.mark.parametrize(
    "call",
    [
        lambda ticket: ticket.placed(),
        lambda ticket: ticket.unplaced(FULL),
        lambda ticket: ticket.done(True),
        lambda ticket: ticket.done(False, engine_failed=True),
    ],
)
async def test_a_ticket_that_is_done_ignores_what_is_said_later(call: Callable[[Ticket], None]) -> None:
    lab = Lab(step=6)
    asked = await lab.ask_all(["ana", "ben"])
    with asked[0].result() as ticket:
        call(ticket)
        call(ticket)
    before = (lab.queue.in_flight, lab.queue.limit)
    call(ticket)
    assert (lab.queue.in_flight, lab.queue.limit) == before
    assert lab.queue.in_flight == 1


async def test_a_ticket_ends_with_its_block_also_if_that_fails() -> None:
    lab = Lab()
    ticket = await lab.queue.admit(lab.wish("ana", since=lab.now - 7), lab.now + 60)
    assert ticket.waited == 7
    with pytest.raises(ZeroDivisionError), ticket:
        raise ZeroDivisionError
    assert lab.queue.in_flight == 0


# What a waiting student is told


async def test_the_estimate_comes_from_the_rate_at_which_others_are_done() -> None:
    lab = Lab()
    asked = await lab.ask_all(names("s", 30))
    assert lab.position("s29") == Position(28, 27, QueueReason.TURN, None, "")
    for task in asked[:8]:
        lab.now += 0.5
        task.result().done(True)
        await turn()
    assert lab.position("s29") == Position(20, 19, QueueReason.TURN, pytest.approx(10.0), "")


async def test_the_estimate_knows_the_last_minute_only() -> None:
    lab = Lab()
    asked = await lab.ask_all(names("s", 20))
    for seconds, done in ((5, asked[:4]), (100, asked[4:8])):
        lab.now += seconds
        for task in done:
            task.result().done(True)
            await turn()
    assert lab.position("s19").estimate == pytest.approx(10 / (4 / 60))


async def test_the_estimate_does_not_count_what_was_done_while_nobody_waited() -> None:
    lab = Lab()
    for number in range(8):
        (task,) = await lab.ask_all([f"early{number}"])
        task.result().done(True)
    await lab.ask_all(names("s", 10))
    lab.now += 1
    assert lab.position("s9").estimate is None


async def test_before_anybody_is_done_the_estimate_comes_from_what_was_learned() -> None:
    lab = Lab()
    lab.queue = StartQueue(lambda: lab.now, None, lambda: 0, Pace(step=0, measured={0: Measured(4.0, 0)}))
    await lab.ask_all(names("s", 10))
    assert lab.position("s9").estimate == pytest.approx(2.0)


async def test_in_a_full_lane_the_place_counts_those_in_swarm_and_the_reason_is_swarms() -> None:
    lab = Lab(step=6)
    asked = await lab.ask_all(names("s", 2))
    asked[0].result().unplaced("old words")
    asked[1].result().unplaced(FULL)
    await lab.ask_all(["t0"], course="other")
    await lab.ask_all(["t1"])
    told = [lab.position(user) for user in ("s0", "s1", "t0", "t1")]
    assert [(one.place, one.ahead) for one in told] == [(1, 0), (2, 1), (3, 2), (4, 3)]
    assert {(one.reason, one.estimate, one.detail) for one in told} == {(QueueReason.CAPACITY, None, FULL)}


async def test_lengths_by_course_keep_a_zero_for_a_course_that_is_through() -> None:
    lab = Lab()
    asked = await lab.ask_all(names("a", 3), course="a")
    asked += await lab.ask_all(names("b", 2), course="b")
    assert lab.queue.lengths() == {"a": 1, "b": 2}
    await in_order(asked)
    assert lab.queue.lengths() == {"a": 0, "b": 0}


async def test_two_servers_of_one_user_have_a_place_each() -> None:
    lab = Lab()
    await lab.ask_all(names("s", 2))
    wishes = [Wish("ana", server, "intro", "cpu", lab.now) for server in ("", "second")]
    tasks = [asyncio.create_task(lab.queue.admit(wish, lab.now + 60)) for wish in wishes]
    await turn()
    assert [lab.queue.position(wish).place for wish in wishes] == [1, 2]
    assert not any(task.done() for task in tasks)


async def test_500_pages_that_ask_every_second_cost_one_line_up_for_each_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = 0
    line_up = queue_module.line_up

    def counted(*args: object) -> object:
        nonlocal count
        count += 1
        return line_up(*args)

    monkeypatch.setattr(queue_module, "line_up", counted)
    lab = Lab()
    asked = await lab.ask_all(names("s", 502))
    for _ in range(10):
        for number in range(2, 502):
            assert lab.position(f"s{number}").place == number - 1
    assert count == 1
    for _ in range(100):
        asked[0].result().placed()
        assert lab.position("s501").place == 500
    assert count == 2
    asked[1].result().unplaced(FULL)
    before = count
    for _ in range(100):
        asked[1].result().unplaced(FULL)
        assert lab.position("s501").reason is QueueReason.CAPACITY
    assert count - before == 2


async def test_ten_thousand_steps_at_random_keep_every_promise_and_are_quick() -> None:
    chance = random.Random(5)
    lab = Lab(step=4, seats=80)
    open_tickets: list[Ticket] = []
    asked: set[Admission] = set()
    began = time.perf_counter()
    for number in range(10_000):
        lab.now += chance.random() / 10
        match chance.randrange(10):
            case 0 | 1 | 2 | 3:
                course, lane = chance.choice("abc"), chance.choice(["cpu", "gpu"])
                asked.add(lab.ask(f"s{number}", course=course, lane=lane))
            case 4 if asked:
                chance.choice(list(asked)).cancel()
            case 5 if open_tickets:
                chance.choice(open_tickets).unplaced(FULL)
            case 6 if open_tickets:
                chance.choice(open_tickets).placed()
            case 7:
                lab.running = chance.randrange(60)
                lab.queue.wake()
            case _ if open_tickets:
                ticket = open_tickets.pop(chance.randrange(len(open_tickets)))
                ticket.done(chance.random() < 0.9, engine_failed=chance.random() < 0.05)
        await turn()
        for task in [task for task in asked if task.done()]:
            asked.discard(task)
            if not task.cancelled():
                open_tickets.append(task.result())
        assert lab.queue.in_flight == len(open_tickets)
        assert lab.queue.waiting == len(asked) == sum(lab.queue.lengths().values())
        if number % 100 == 0:
            places = sorted(lab.position(task.get_name()).place for task in asked)
            assert not places or places[0] >= 1
    assert time.perf_counter() - began < 10
    lab.running = 0
    while asked or open_tickets:
        while open_tickets:
            lab.now += 0.1
            open_tickets.pop().done(True)
        await turn()
        open_tickets = [task.result() for task in asked if task.done()]
        asked = {task for task in asked if not task.done()}
        assert asked == set() or open_tickets, "with free seats nobody waits for ever"
    assert (lab.queue.waiting, lab.queue.in_flight) == (0, 0)
