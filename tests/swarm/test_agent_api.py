"""The agents' API believes only the swarm's own certificates, and a worker only about itself."""

from __future__ import annotations

import json

from tests.support.local_cloud import active_workers, manager, on_instance, status

CERTIFICATES = "/var/lib/docker/swarm/certificates"
MANAGER = "172.31.250.10"
STRIPPED_KEY = "/run/swarmhub-agent/probe.key"


def worker_container(node_id: str) -> str:
    member = next(m for m in status()["members"] if m["node_id"] == node_id)
    return f"swarmhub-{member['instance']}"


def post_report(container: str, about: str, *, with_certificate: bool = True) -> tuple[int, str]:
    """curl's exit code and "body http-code", for a report about node ``about`` sent from an instance."""
    notice = {"kind": "spot", "seen_at": "2026-01-01T00:00:00Z"}
    body = {"agent_version": "t", "instance_id": "i-0", "pool": "cpu", "phase": "member", "notices": [notice]}
    identity = f"--cert {CERTIFICATES}/swarm-node.crt --key {STRIPPED_KEY}" if with_certificate else ""
    script = (
        f"grep -v kek-version {CERTIFICATES}/swarm-node.key | grep -v '^$' > {STRIPPED_KEY}; "
        f"curl -sS --max-time 10 --connect-to swarm-manager:9443:{MANAGER}:9443 "
        f"--cacert {CERTIFICATES}/swarm-root-ca.crt "
        f"{identity} -w ' %{{http_code}}' -H 'Content-Type: application/json' -d '{json.dumps(body)}' "
        f'https://swarm-manager:9443/v1/nodes/{about}/report 2>&1; echo " exit $?"; rm -f {STRIPPED_KEY}'
    )
    output = on_instance(container, "bash", "-c", script).strip()
    text, _, code = output.rpartition(" exit ")
    return int(code), text


def test_a_worker_that_speaks_for_another_node_is_refused_and_logged() -> None:
    first, second = active_workers()[:2]
    code, answer = post_report(worker_container(first.id), second.id)
    assert code == 0, answer
    assert answer.endswith("403"), answer
    log = manager("docker", "service", "logs", "--raw", "--since", "1m", "swarmhub_controller")
    refused = [line for line in log.splitlines() if first.id in line and second.id in line]
    assert refused, "the refusal is not in the controller's log"
    assert second.id in {worker.id for worker in active_workers()}, (
        "the other node must not have been touched"
    )


def test_without_a_certificate_the_connection_is_refused() -> None:
    first, second = active_workers()[:2]
    container = worker_container(first.id)
    code, answer = post_report(container, second.id, with_certificate=False)
    assert code != 0, f"a connection without a certificate was served: {answer}"
    assert answer.endswith("000"), f"an HTTP answer was given: {answer}"
    # The same request with one is answered: what was refused is the missing certificate.
    assert post_report(container, second.id)[0] == 0
