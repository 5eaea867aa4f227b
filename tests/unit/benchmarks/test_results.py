"""What the table says of given measurements."""

from __future__ import annotations

import pytest

from bench.results import Measurement, Row, Target, percentile, render, table

TARGET = Target("storm", "30 light", "ours/raw", 1.15)


def seconds(contender: str, value: float, number: int = 1, note: str = "") -> Measurement:
    return Measurement("storm", "30 light", "s", contender, number, value, note)


def only(rows: list[Row]) -> Row:
    assert len(rows) == 1
    return rows[0]


def test_ratios_are_those_of_the_medians_over_the_rounds() -> None:
    raw = [seconds("raw", value, number) for number, value in enumerate((4.0, 5.0, 99.0))]
    ours = [seconds("ours", value, number) for number, value in enumerate((1.0, 5.5, 6.0))]
    row = only(table([*raw, *ours], []))
    assert row.values == {"ours": 5.5, "raw": 5.0}
    assert row.ratios == pytest.approx({"ours/raw": 1.1})


@pytest.mark.parametrize(("ours", "met"), [(11.5, True), (11.6, False)])
def test_a_target_on_a_ratio_is_judged_by_the_ratio(ours: float, met: bool) -> None:
    row = only(table([seconds("ours", ours), seconds("raw", 10.0)], [TARGET]))
    assert row.met is met
    assert row.wanted == "ours/raw ≤ 1.15"


def test_a_target_is_not_judged_without_its_contenders() -> None:
    assert only(table([seconds("ours", 1.0)], [TARGET])).met is None


def test_a_count_has_no_ratios_and_zero_meets_a_target_of_zero() -> None:
    refused = [Measurement("full", "refused", "", who, 1, 0) for who in ("ours", "raw")]
    row = only(table(refused, [Target("full", "refused", "ours", 0)]))
    assert row.ratios == {}
    assert row.met is True


def test_a_floor_of_zero_gives_no_ratio() -> None:
    assert only(table([seconds("ours", 1.0), seconds("raw", 0.0)], [TARGET])).ratios == {}


def test_the_text_names_benchmark_values_verdict_and_notes() -> None:
    found = [seconds("ours", 20.0, note="2 of 30 not ready within 300 s"), seconds("raw", 10.0)]
    text = render(table(found, [TARGET]))
    row = next(line for line in text.splitlines() if "30 light" in line and "≤" in line)
    assert row.split()[:6] == ["30", "light", "s", "20.00", "-", "10.00"]
    assert row.endswith("MISSED")
    assert "storm: ours, 30 light: 2 of 30 not ready within 300 s" in text


def test_columns_stand_below_each_other_whatever_the_names_are_long() -> None:
    long = Measurement("storm", "a much longer name of a row", "s", "ours", 1, 1.0)
    lines = render(table([seconds("ours", 1.0), long], [])).splitlines()
    assert len({line.index("1.00") for line in lines if "1.00" in line}) == 1


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([3.0], 95, 3.0), ([1.0, 2.0], 50, 1.5), ([float(i) for i in range(1, 12)], 95, 10.5)],
)
def test_percentiles_lie_between_the_two_nearest_values(
    values: list[float], percent: int, expected: float
) -> None:
    assert percentile(values, percent) == pytest.approx(expected)
