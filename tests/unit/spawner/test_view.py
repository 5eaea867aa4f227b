"""The cluster as one list saw it."""

from datetime import UTC, datetime, timedelta

from swarmhub.spawner.causes import Cause
from swarmhub.spawner.states import GONE, ServerPhase
from swarmhub.spawner.view import ClusterView, cluster_view, inventory, parse_node
from tests.unit.spawner.fake_swarm import FakeSwarm


def view(swarm: FakeSwarm) -> ClusterView:
    return cluster_view(0.0, swarm.tasks(), inventory(0.0, swarm.services(), swarm.nodes()))


def service(swarm: FakeSwarm, name: str = "lab-ana") -> str:
    template = {"Networks": [{"Target": "notebooks"}]}
    created = swarm.create_service(name=name, labels={}, task_template=template)
    return str(created["ID"])


def test_a_server_is_found_by_name_and_by_id() -> None:
    swarm = FakeSwarm()
    swarm.add_node("worker-1")
    service_id = service(swarm)
    assert view(swarm).server(service_id).phase is ServerPhase.RUNNING
    assert view(swarm).server("lab-ana") == view(swarm).server(service_id)


def test_a_service_that_is_not_there_is_gone() -> None:
    assert view(FakeSwarm()).server("lab-ana") is GONE


def test_a_removed_services_containers_count_until_they_have_ended() -> None:
    swarm = FakeSwarm()
    swarm.add_node("worker-1")
    swarm.stops_at_once = False
    service_id = service(swarm)
    swarm.remove_service(service_id)
    assert view(swarm).server(service_id).phase is ServerPhase.STOPPING
    assert len(view(swarm).alive_tasks(service_id)) == 1
    swarm.end_containers()
    assert view(swarm).alive_tasks(service_id) == ()
    assert view(swarm).server(service_id) is GONE


def test_a_dead_nodes_unwanted_tasks_do_not_keep_a_server_moving() -> None:
    # Swarm reports them as running for 24 hours, or until the node is removed.
    swarm = FakeSwarm()
    node = swarm.add_node("worker-1")
    service_id = service(swarm)
    swarm.add_node("worker-2")
    swarm.kill_node(node)
    state = view(swarm).server(service_id)
    assert state.phase is ServerPhase.RUNNING
    assert not state.is_moving
    assert len(view(swarm).alive_tasks(service_id)) == 1


def test_a_dead_nodes_task_that_swarm_still_wants_is_alive() -> None:
    swarm = FakeSwarm()
    node = swarm.add_node("worker-1")
    service_id = service(swarm)
    nodes = swarm.nodes()
    nodes[0]["Status"]["State"] = "down"
    seen = cluster_view(0.0, swarm.tasks(), inventory(0.0, swarm.services(), nodes))
    assert seen.server(service_id).phase is ServerPhase.RUNNING
    assert node in seen.nodes


def test_a_node_is_called_by_its_instance_id_or_else_its_host_name() -> None:
    raw = {
        "ID": "n",
        "Spec": {},
        "Description": {"Hostname": "ip-10-0-0-1", "Engine": {"Labels": {}}},
        "Status": {"State": "ready"},
    }
    assert parse_node(raw).display_name == "ip-10-0-0-1"
    raw["Description"]["Engine"]["Labels"]["org.swarmhub.instance"] = "i-1"
    assert parse_node(raw).display_name == "i-1"


def test_a_view_is_as_old_as_its_oldest_list() -> None:
    old = inventory(5.0, [], [])
    assert cluster_view(9.0, [], old).loaded_at == 5.0
    assert cluster_view(3.0, [], old).loaded_at == 3.0


def test_a_view_says_when_the_swarm_moved_last() -> None:
    swarm = FakeSwarm()
    swarm.add_node("worker-1")
    service(swarm)
    now = datetime.now(UTC)
    seen = cluster_view(0.0, swarm.tasks(), inventory(0.0, swarm.services(), swarm.nodes()), now)
    assert seen.time is not None
    assert seen.time.now == now
    assert abs((now - seen.time.last_change).total_seconds()) < 60
    assert cluster_view(0.0, [], seen.inventory, now).time is None


def test_a_server_that_gets_no_address_is_told_apart() -> None:
    swarm = FakeSwarm()
    service_id = service(swarm)
    swarm.set_state(service_id, "new")
    lists = swarm.tasks(), inventory(0.0, swarm.services(), swarm.nodes())
    now = datetime.now(UTC)
    assert cluster_view(0.0, *lists, now).server(service_id).cause is Cause.STARTING
    assert (
        cluster_view(0.0, *lists, now + timedelta(minutes=1)).server(service_id).cause is Cause.NETWORK_FULL
    )


def test_services_are_counted_once_each() -> None:
    swarm = FakeSwarm()
    service(swarm)
    service(swarm, "lab-ben")
    assert view(swarm).service_count == 2
