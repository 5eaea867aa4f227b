"""Names as Docker takes them: a sample of what users may be called, each accepted as a service's name."""

from __future__ import annotations

import json
import random

from swarmhub.spawner.names import service_name
from tests.support.local_cloud import run
from tests.support.names import any_text

SAMPLE = 200
SEED = 7

CREATE = """
import json, sys
import docker
from docker.types import ContainerSpec, EndpointSpec, Placement, ServiceMode, TaskTemplate

api = docker.APIClient(version="auto")
refused = {}
nowhere = Placement(constraints=["node.labels.never==true"])
task = TaskTemplate(ContainerSpec("nothing:none"), placement=nowhere)
for name in json.load(sys.stdin):
    try:
        made = api.create_service(task, name=name, endpoint_spec=EndpointSpec(mode="dnsrr"))
        api.remove_service(made["ID"])
    except Exception as error:
        refused[name] = str(error)
print(json.dumps(refused))
"""


def test_docker_takes_the_service_name_of_any_user_and_server() -> None:
    source = random.Random(SEED)
    names = {
        service_name(any_text(source, 20), any_text(source, 120), any_text(source, 40))
        for _ in range(SAMPLE - 2)
    }
    names |= {service_name("lab", "x" * 80 + "@example.org"), service_name("lab", "Jürgen Müller", "zweiter")}
    assert len(names) == SAMPLE
    hub = run(
        "docker", "compose", "exec", "-T", "manager",
        "docker", "ps", "-q", "-f", "label=com.docker.swarm.service.name=swarmhub_hub",
    ).strip()  # fmt: skip
    refused = run(
        "docker", "compose", "exec", "-T", "manager", "docker", "exec", "-i", hub, "python", "-c", CREATE,
        stdin=json.dumps(sorted(names)), timeout=120,
    )  # fmt: skip
    assert json.loads(refused) == {}
