"""``make bench``: our spawner, stock dockerspawner and Swarm alone, in turn on the local cloud's swarm.

Both hubs run from one configuration that differs in the spawner only. What counts are the ratios; seconds
depend on the machine. Each contender has the swarm to itself while it is measured, and their order is turned
round from round to round.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import requests

from bench.cloud import Cloud, clear, prepare
from bench.results import Measurement, Row, render, table
from bench.run import Run
from bench.spawn import BENCHMARKS
from bench.workload import PROGRAMS
from tests.support.local_cloud import REPOSITORY, status

RESULTS = REPOSITORY / "var/bench"
PLOT_IMAGE = "swarmhub/notebook:latest"
ORDER = ("raw", "ours", "stock")


class Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers above zero, with commas between them."""

    name = "numbers"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if not numbers or min(numbers) < 1:
            self.fail(f"{value!r} is no list of numbers above zero such as 1,10,30", param, ctx)
        return tuple(sorted(set(numbers)))


def say(text: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')}  {text}", err=True)


def measure_all(run: Run, rounds: int, names: Sequence[str]) -> tuple[list[Measurement], list[str]]:
    """All rounds of these benchmarks; what broke off is said, and the rest goes on."""
    measurements: list[Measurement] = []
    broken: list[str] = []
    for number in range(1, rounds + 1):
        order = run.contenders if number % 2 else run.contenders[::-1]
        for name in names:
            for contender in order:
                one = replace(run, contenders=(contender,), round=number)
                begin = time.monotonic()
                try:
                    found = list(BENCHMARKS[name].measure(one))
                except (
                    AssertionError,
                    OSError,
                    subprocess.SubprocessError,
                    requests.RequestException,
                ) as error:
                    broken.append(f"{name}, {contender}, round {number}: {error}")
                    say(f"BROKE OFF: {broken[-1]}")
                    continue
                measurements += found
                if found:
                    say(f"{name}, {contender}, round {number}: {time.monotonic() - begin:.0f} s")
    return measurements, broken


def plot(document: str, target: Path) -> None:
    """Drawn in a container of the notebook image: nothing else here needs matplotlib."""
    done = subprocess.run(
        ["docker", "run", "--rm", "--interactive", "--network", "none", PLOT_IMAGE,
         "python", "-c", (PROGRAMS / "plot_spawn.py").read_text()],
        input=document.encode(), capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode:
        say(f"no plot: {done.stderr.decode().strip().splitlines()[-1:]}")
        return
    target.write_bytes(done.stdout)
    say(f"plot: {target}")


def document(
    run: Run, measurements: Sequence[Measurement], rows: Sequence[Row], broken: Sequence[str]
) -> str:
    settings = {
        "hub_image": run.cloud.hub_image,
        "notebook_image": run.cloud.notebook_image,
        "processors": os.cpu_count(),
        "counts": run.counts,
        "lab_count": run.lab_count,
        "steady_counts": run.steady_counts,
        "full": run.full,
    }
    body = {
        "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "settings": settings,
        "table": [row.as_json() for row in rows],
        "measurements": [measurement.as_json() for measurement in measurements],
        "broken_off": list(broken),
    }
    return json.dumps(body, indent=1)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
@click.option(
    "--counts", type=Numbers(), default="1,10,30,60", show_default=True, help="Light servers at once."
)
@click.option("--lab-count", default=20, show_default=True, help="JupyterLab servers at once.")
@click.option(
    "--steady-counts",
    type=Numbers(),
    default="10,60",
    show_default=True,
    help="Light servers while nothing happens; the last also for the restart of the hub.",
)
@click.option("--full", default=120, show_default=True, help="Light servers for the full house.")
@click.option("--rounds", default=1, show_default=True, help="Medians over so many rounds, in turned order.")
@click.option(
    "--contender",
    "contenders",
    multiple=True,
    type=click.Choice(ORDER),
    help="Only these; may be given more than once.",
)
@click.option(
    "--json",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    default=RESULTS / "spawn.json",
    help="File for the figures; the plot goes beside it.  [default: var/bench/spawn.json]",
)
def main(
    *,
    names: tuple[str, ...],
    counts: tuple[int, ...],
    lab_count: int,
    steady_counts: tuple[int, ...],
    full: int,
    rounds: int,
    contenders: tuple[str, ...],
    target: Path,
) -> None:
    """Run the benchmarks NAMES, or all. The table goes to standard output, figures and a plot to files."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        status()
    except AssertionError:
        sys.exit("bench: the local cloud is not up. Run: make up")
    order = tuple(contender for contender in ORDER if not contenders or contender in contenders)
    run = Run(Cloud.running(), order, counts, lab_count, steady_counts, full, 1, say)
    chosen = names or tuple(BENCHMARKS)
    try:
        say("clearing up what an earlier run left")
        prepare(run.cloud)
        measurements, broken = measure_all(run, rounds, chosen)
    finally:
        clear()
    rows = table(measurements, [t for name in chosen for t in BENCHMARKS[name].TARGETS])
    click.echo(render(rows))
    target.parent.mkdir(parents=True, exist_ok=True)
    text = document(run, measurements, rows, broken)
    target.write_text(text)
    if rows:
        plot(text, target.with_suffix(".png"))
    if broken:
        sys.exit("\n".join(["bench: broken off:", *broken]))


if __name__ == "__main__":
    main()
