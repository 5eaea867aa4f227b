"""The floor that Swarm itself sets: services made by docker-py with 8 threads, done when each accepts TCP.

Runs in the hub's container, which has docker-py, the engine's socket and the servers' network.
Usage: raw_floor.py NUMBER, with BENCH_IMAGE, BENCH_NETWORK and BENCH_SERVER; prints seconds.
"""

import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import docker
from docker.types import ContainerSpec, EndpointSpec, NetworkAttachmentConfig, Placement, TaskTemplate

DEADLINE_S = 300
LABEL = {"org.swarmhub.bench": "raw"}


def start(api: docker.APIClient, number: int) -> str:
    network = os.environ["BENCH_NETWORK"]
    task = TaskTemplate(
        ContainerSpec(
            os.environ["BENCH_IMAGE"], command=["python3", "-c", os.environ["BENCH_SERVER"]], init=True
        ),
        networks=[NetworkAttachmentConfig(network)],
        placement=Placement(constraints=["node.role==worker"]),
    )
    name = f"bench-raw-{number}"
    service = api.create_service(task, name=name, labels=LABEL, endpoint_spec=EndpointSpec(mode="dnsrr"))
    return str(service["ID"])


def addresses(api: docker.APIClient) -> dict[str, str]:
    """Address by service id of every task that runs."""
    return {
        task["ServiceID"]: attachment["Addresses"][0].split("/")[0]
        for task in api.tasks(filters={"desired-state": "running"})
        if task["Status"]["State"] == "running"
        for attachment in task.get("NetworksAttachments") or []
    }


def accepting(service: str, address: str) -> str | None:
    """The service's id if its server accepts connections."""
    try:
        socket.create_connection((address, 8888), timeout=1).close()
    except OSError:
        return None
    return service


def main(count: int) -> None:
    api = docker.APIClient(version="auto")
    begin = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        waiting = set(pool.map(lambda number: start(api, number), range(count)))
        while waiting:
            if time.monotonic() - begin > DEADLINE_S:
                sys.exit(f"{len(waiting)} of {count} services did not come within {DEADLINE_S} s")
            known = addresses(api)
            candidates = [service for service in waiting if service in known]
            waiting.difference_update(
                pool.map(accepting, candidates, [known[service] for service in candidates])
            )
            time.sleep(0.05)
    print(time.monotonic() - begin)
    for service in api.services(filters={"label": "org.swarmhub.bench=raw"}):
        api.remove_service(service["ID"])


main(int(sys.argv[1]))
