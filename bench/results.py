"""What benchmarks measure, and the table made of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import Any

CONTENDERS = ("ours", "stock", "raw")
HEADER = ("", "unit", *CONTENDERS, "ours/raw", "stock/raw", "stock/ours", "wanted", "")


@dataclass(frozen=True)
class Measurement:
    """One number. Less is better, always."""

    benchmark: str
    what: str
    """The row: ``30 light, all ready``."""
    unit: str
    """``s``, ``/min``, ``x`` (a ratio) or empty (a count)."""
    contender: str
    round: int
    value: float
    note: str = ""
    """What a reader must know about it: ``2 of 30 not ready``."""
    detail: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Target:
    """What must come out: a row's value of ``ours``, or of ``ours/raw``, at most ``limit``."""

    benchmark: str
    what: str
    of: str
    limit: float


@dataclass(frozen=True)
class Row:
    """The medians over all rounds, and what follows from them."""

    benchmark: str
    what: str
    unit: str
    values: Mapping[str, float]
    ratios: Mapping[str, float]
    wanted: str
    met: bool | None
    """None: nothing wanted, or not measured."""
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def table(measurements: Sequence[Measurement], targets: Iterable[Target]) -> list[Row]:
    """A row for each thing measured, in the order of the first measurement of each."""
    wanted = {(target.benchmark, target.what): target for target in targets}
    keys = dict.fromkeys((m.benchmark, m.what, m.unit) for m in measurements)
    return [_row(key, [m for m in measurements if (m.benchmark, m.what) == key[:2]], wanted) for key in keys]


def _row(
    key: tuple[str, str, str], found: Sequence[Measurement], wanted: Mapping[tuple[str, str], Target]
) -> Row:
    benchmark, what, unit = key
    values = {
        contender: median(samples)
        for contender in CONTENDERS
        if (samples := [m.value for m in found if m.contender == contender])
    }
    pairs = (("ours", "raw"), ("stock", "raw"), ("stock", "ours")) if unit in ("s", "/min") else ()
    ratios = {f"{a}/{b}": values[a] / values[b] for a, b in pairs if a in values and values.get(b)}
    target = wanted.get((benchmark, what))
    got = (values | ratios).get(target.of) if target else None
    return Row(
        benchmark,
        what,
        unit,
        values,
        ratios,
        f"{target.of} ≤ {target.limit:g}" if target else "",
        None if target is None or got is None else got <= target.limit,
        tuple(dict.fromkeys(f"{m.contender}, {what}: {m.note}" for m in found if m.note)),
    )


def render(rows: Sequence[Row]) -> str:
    """The table as text, a paragraph a benchmark, with the notes below."""
    cells = {id(row): _cells(row) for row in rows}
    widths = [max(len(line[i]) for line in (HEADER, *cells.values())) for i in range(len(HEADER))]

    def line(parts: Sequence[str]) -> str:
        padded = [
            part.ljust(width) if i in (0, 1, 8) else part.rjust(width)
            for i, (part, width) in enumerate(zip(parts, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    lines = [line(HEADER)]
    for benchmark in dict.fromkeys(row.benchmark for row in rows):
        lines += ["", benchmark]
        lines += [line(cells[id(row)]) for row in rows if row.benchmark == benchmark]
    notes = [f"{row.benchmark}: {note}" for row in rows for note in row.notes]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _cells(row: Row) -> tuple[str, ...]:
    met = {None: "", True: "met", False: "MISSED"}[row.met]
    values = (_number(row.values.get(contender), row.unit) for contender in CONTENDERS)
    ratios = (_number(row.ratios.get(pair), "x") for pair in ("ours/raw", "stock/raw", "stock/ours"))
    return (f"  {row.what}", row.unit, *values, *ratios, row.wanted, met)


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if unit in ("s", "x") else f"{value:.0f}"


def percentile(values: Sequence[float], percent: int) -> float:
    """The ``percent``-th percentile (1 to 99), interpolated between the two nearest values."""
    if len(values) == 1:
        return values[0]
    return quantiles(values, n=100, method="inclusive")[percent - 1]
