"""Order between courses, and lanes that are full."""

from __future__ import annotations

import random

from swarmhub.spawner.lineup import SCOUTS, SHARE_MEMORY, Course, Entry, Lane, line_up, next_up


def course(*entries: Entry, given: float = 0.0) -> Course[Entry]:
    made: Course[Entry] = Course(given=given)
    for entry in entries:
        made.add(entry)
    return made


def entries(count: int, *, lane: str = "cpu", since: float = 0.0) -> list[Entry]:
    return [Entry(lane, (since, number)) for number in range(count)]


def full_lane(*starts: str) -> Lane[str]:
    lane: Lane[str] = Lane(unplaced=dict.fromkeys(starts))
    for start in starts:
        lane.refuse(start, "insufficient resources on 2 nodes")
    return lane


def test_whoever_asked_earlier_is_in_front_whenever_the_queue_heard_of_it() -> None:
    shuffled = entries(50)
    random.Random(1).shuffle(shuffled)
    resumed = Entry("cpu", (-300.0, 99))
    made = course(*shuffled, resumed)
    assert made.among(["cpu"]) == [resumed, *sorted(shuffled, key=lambda entry: entry.order)]


def test_a_course_lists_only_the_lanes_asked_for_in_one_order() -> None:
    a, b, c = Entry("cpu", (1, 1)), Entry("gpu", (2, 2)), Entry("cpu", (3, 3))
    made = course(c, b, a)
    assert made.among(["cpu", "gpu"]) == [a, b, c]
    assert made.among(["cpu", "absent"]) == [a, c]
    assert len(made) == 3


def test_removing_is_told_apart_from_not_being_there() -> None:
    entry = Entry("cpu", (1, 1))
    made = course(entry)
    assert not made.remove(Entry("cpu", (1, 1)))
    assert made.remove(entry)
    assert not made.remove(entry)
    assert not made.lines


def test_the_course_that_was_given_least_lately_is_next() -> None:
    big, small = course(*entries(100)), course(*entries(5, since=10.0))
    big.give(0)
    assert next_up([big, small], ["cpu"], 1) is small.among(["cpu"])[0]
    small.give(1)
    small.give(1)
    assert next_up([big, small], ["cpu"], 1) is big.among(["cpu"])[0]


def test_between_equals_the_older_start_is_next() -> None:
    older, newer = course(*entries(1, since=5.0)), course(*entries(1, since=6.0))
    assert next_up([newer, older], ["cpu"], 0) is older.among(["cpu"])[0]


def test_nobody_is_next_in_lanes_that_nobody_waits_in() -> None:
    assert next_up([course(*entries(3))], ["gpu"], 0) is None


def test_what_was_given_is_forgotten_by_half_lives() -> None:
    made = course()
    made.give(0)
    made.give(0)
    assert made.share(0) == 2
    assert made.share(SHARE_MEMORY) == 1
    assert made.share(10 * SHARE_MEMORY) < 0.01


def test_the_line_up_is_the_order_in_which_they_would_be_chosen() -> None:
    courses = [
        course(*entries(9), *entries(4, lane="gpu"), given=1.5),
        course(*entries(6)),
        course(*entries(3, since=3.0), given=4.0),
    ]
    told = line_up(courses, ["cpu", "gpu"], 0)
    chosen = []
    while (entry := next_up(courses, ["cpu", "gpu"], 0)) is not None:
        chosen.append(entry)
        owner = next(one for one in courses if one.remove(entry))
        owner.give(0)
    assert told == chosen
    assert len(told) == 22


def test_a_lane_that_nobody_was_refused_in_takes_any_number() -> None:
    lane: Lane[int] = Lane(unplaced=dict.fromkeys(range(1000)))
    assert lane.admits
    lane.place(1, 32)
    assert lane.allowance is None


def test_a_full_lane_takes_scouts_only() -> None:
    lane = full_lane("ana")
    assert lane.admits
    lane.unplaced["ben"] = None
    assert len(lane.unplaced) == SCOUTS
    assert not lane.admits
    lane.forget("ana")
    assert lane.admits
    assert lane.blocked == "insufficient resources on 2 nodes"


def test_one_free_seat_lets_in_one_more_scout_only() -> None:
    lane = full_lane("ana", "ben")
    lane.place("ana", 32)
    assert lane.blocked
    assert SCOUTS - len(lane.unplaced) == 1
    lane.refuse("ben", "still insufficient")
    assert lane.blocked == "still insufficient"
    assert lane.allowance == SCOUTS


def test_a_lane_with_new_seats_opens_twice_as_far_with_every_round() -> None:
    lane = full_lane("ana", "ben")
    lane.place("ana", 32)
    lane.place("ben", 32)
    assert lane.blocked is None
    rounds = []
    for number in range(9):
        if lane.allowance is None:
            break
        more = [f"{number}/{start}" for start in range(lane.allowance)]
        rounds.append(len(more))
        lane.unplaced |= dict.fromkeys(more)
        assert not lane.admits
        for start in more:
            lane.place(start, 32)
    assert rounds == [3, 6, 12, 24]
    assert lane.admits


def test_the_next_refusal_closes_an_opening_lane_again() -> None:
    lane = full_lane("ana")
    lane.place("ana", 32)
    lane.unplaced |= dict.fromkeys("abc")
    lane.refuse("a", "full again")
    assert not lane.admits
    assert lane.allowance == SCOUTS


def test_a_placement_told_twice_counts_once() -> None:
    lane = full_lane("ana")
    lane.place("ana", 32)
    lane.place("ana", 32)
    assert lane.allowance == SCOUTS + 1
