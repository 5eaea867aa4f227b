"""``make bench``: seconds until N light servers started at once are all ready; ours, stock and the raw floor.

Both hubs run from one configuration that differs in the spawner only; the raw floor makes equal services with
nothing in between. All three take turns on the same swarm. What counts is the ratio.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import requests

from tests.support.local_cloud import REPOSITORY, manager, status
from tests.support.polling import eventually

HERE = Path(__file__).parent
MANAGER = "172.31.250.10"
PORTS = {"ours": 8101, "stock": 8102}
DEADLINE_S = 300


@dataclass(frozen=True)
class Bench:
    """What all three run with."""

    token: str
    hub_image: str
    proxy_image: str
    notebook_image: str
    network: str = "notebooks"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "BENCH_TOKEN": self.token,
            "BENCH_IMAGE": self.notebook_image,
            "BENCH_NETWORK": self.network,
            "BENCH_SERVER": (HERE / "light_server.py").read_text(),
        }

    @classmethod
    def of_the_local_cloud(cls) -> Bench:
        lines = (REPOSITORY / "var/etc/manager.env").read_text().split()
        images = dict(line.split("=", 1) for line in lines)
        return cls(
            token=secrets.token_hex(16),
            hub_image=images["SWARMHUB_HUB_IMAGE"],
            proxy_image=images["SWARMHUB_PROXY_IMAGE"],
            notebook_image=images["SWARMHUB_NOTEBOOK_IMAGE"],
        )


def environment_options(environment: dict[str, str]) -> list[str]:
    return [part for key, value in environment.items() for part in ("--env", f"{key}={value}")]


def create_service(name: str, image: str, environment: dict[str, str], *arguments: str) -> None:
    """A service on the manager; ``arguments``: options, ``--`` and the command."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    manager(
        "docker", "service", "create", "--detach", "--name", name, "--network", "notebooks",
        "--constraint", "node.role==manager", "--endpoint-mode", "dnsrr",
        *environment_options(environment),
        *arguments[:split], image, *arguments[split + 1 :],
    )  # fmt: skip


@contextmanager
def hub(bench: Bench, spawner: str) -> Iterator[str]:
    """A hub with that spawner and a proxy of its own; yields the hub's API address."""
    port = PORTS[spawner]
    url = f"http://{MANAGER}:{port}"
    socket = "type=bind,source=/var/run/docker.sock,target=/var/run/docker.sock"
    config = "import os; exec(os.environ['BENCH_CONFIG'])"
    environment = bench.environment | {
        "BENCH_SPAWNER": spawner,
        "BENCH_HUB_URL": url,
        "BENCH_CONFIG": (HERE / "hub_config.py").read_text(),
    }
    remove("bench_proxy", "bench_hub")
    create_service(
        "bench_proxy", bench.proxy_image, {"CONFIGPROXY_AUTH_TOKEN": bench.token},
        "--", "--ip=0.0.0.0", "--port=8000", "--api-ip=0.0.0.0", "--api-port=8001", f"--default-target={url}",
    )  # fmt: skip
    create_service(
        "bench_hub", bench.hub_image, environment, "--mount", socket,
        "--publish", f"mode=host,target=8081,published={port}",
        "--", "sh", "-c", f'echo "{config}" > /tmp/config.py; exec jupyterhub --config /tmp/config.py',
    )  # fmt: skip
    try:
        eventually(f"the hub with the {spawner} spawner", lambda: _answers(f"{url}/hub/health"), seconds=90)
        yield f"{url}/hub/api"
    finally:
        remove("bench_hub", "bench_proxy")


def seconds_with_hub(api: str, token: str, count: int) -> float:
    """From the first request to the last of ``count`` servers being ready; they are stopped afterwards."""
    names = [f"bench{number}" for number in range(count)]
    session = requests.Session()
    session.headers["Authorization"] = f"token {token}"
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=count))
    session.post(f"{api}/users", json={"usernames": names}, timeout=30)

    def request(method: str, name: str) -> int:
        return session.request(method, f"{api}/users/{name}/server", timeout=DEADLINE_S).status_code

    def servers(state: str) -> int:
        users = session.get(f"{api}/users", params={"state": state}, timeout=30).json()
        return sum(bool(user["servers"]) for user in users)

    begin = time.monotonic()
    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(lambda name: request("POST", name), names))
        assert set(answers) <= {201, 202}, answers
        eventually("all servers are ready", lambda: servers("ready") == count, seconds=DEADLINE_S, every=0.1)
        took = time.monotonic() - begin
        list(pool.map(lambda name: request("DELETE", name), names))
    eventually("all servers are stopped", lambda: servers("active") == 0, seconds=DEADLINE_S, every=0.5)
    return took


def seconds_raw(bench: Bench, count: int) -> float:
    """Measured in the hub's container, which has docker-py and reaches the servers."""
    hub_container = "label=com.docker.swarm.service.name=swarmhub_hub"
    container = manager("docker", "ps", "-q", "-f", hub_container).strip()
    environment = environment_options(bench.environment)
    program = (HERE / "raw_floor.py").read_text()
    printed = manager(
        "docker",
        "exec",
        *environment,
        container,
        "python",
        "-c",
        program,
        str(count),
        timeout=DEADLINE_S + 30,
    )
    return float(printed)


def remove(*services: str) -> None:
    manager("docker", "service", "rm", *services, check=False)
    _wait_until_idle()


def _wait_until_idle() -> None:
    """Nothing of an earlier round may still be stopping on the workers."""

    def idle() -> bool:
        return not manager(
            "sh", "-c", "docker service ls -q -f name=bench; docker ps -q -f name=bench", check=False
        ).strip()

    eventually("the earlier round is gone", idle, seconds=120, every=0.5)
    time.sleep(3)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


@click.command()
@click.option(
    "--counts", default="1,10,30", show_default=True, help="How many servers at once, one run each."
)
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
def main(counts: str, as_json: bool) -> None:
    """Start N light servers at once: our spawner, stock dockerspawner, and Swarm with nothing in between."""
    try:
        status()
    except AssertionError:
        sys.exit("bench: the local cloud is not up. Run: make up")
    numbers = [int(number) for number in counts.split(",")]
    bench = Bench.of_the_local_cloud()
    results: dict[str, dict[int, float]] = {"raw": {}, "ours": {}, "stock": {}}
    for number in numbers:
        results["raw"][number] = seconds_raw(bench, number)
        _wait_until_idle()
    for spawner in ("ours", "stock"):
        with hub(bench, spawner) as api:
            seconds_with_hub(api, bench.token, 1)  # the first start pays for imports and connections
            for number in numbers:
                results[spawner][number] = seconds_with_hub(api, bench.token, number)
                _wait_until_idle_servers()
    if as_json:
        print(json.dumps(results))
        return
    header = ("servers at once", "raw s", "ours s", "stock s", "ours/raw", "stock/raw")
    print("{:>15} {:>8} {:>8} {:>8} {:>9} {:>10}".format(*header))
    for number in numbers:
        raw, ours, stock = (results[who][number] for who in ("raw", "ours", "stock"))
        print(f"{number:>15} {raw:>8.1f} {ours:>8.1f} {stock:>8.1f} {ours / raw:>9.2f} {stock / raw:>10.2f}")


def _wait_until_idle_servers() -> None:
    def idle() -> bool:
        listed = manager("docker", "service", "ls", "--format", "{{.Name}}")
        return not [name for name in listed.split() if "bench" in name and not name.startswith("bench_")]

    eventually("the earlier round is gone", idle, seconds=120, every=0.5)
    time.sleep(3)


if __name__ == "__main__":
    main()
