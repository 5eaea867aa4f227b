"""A hub that differs in nothing but its spawner: BENCH_SETTINGS (JSON) says which, and what it runs."""

import json
import os
from pathlib import Path

from jupyterhub.roles import get_default_roles
from traitlets.config import get_config

from swarmhub.hub.database import use_write_ahead_log

c = get_config()
bench = json.loads(os.environ["BENCH_SETTINGS"])
workload = bench["workload"]

c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
c.JupyterHub.hub_connect_url = bench["hub_url"]
# On disk, as a real hub has it: it is restarted in the benchmark `readoption`.
use_write_ahead_log()
c.JupyterHub.db_url = f"sqlite:///{bench['state']}/jupyterhub.sqlite"
cookie_secret = Path(bench["state"], "cookie_secret")
if not cookie_secret.exists():
    cookie_secret.write_text(os.urandom(32).hex())
    cookie_secret.chmod(0o600)
c.JupyterHub.cookie_secret_file = str(cookie_secret)
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.concurrent_spawn_limit = 0
# A request for a start is answered at once; when the server is ready is seen in the hub's list.
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://bench_proxy:8001"
c.ConfigurableHTTPProxy.auth_token = bench["token"]
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.services = [{"name": "bench", "api_token": bench["token"]}]
scopes = next(role["scopes"] for role in get_default_roles() if role["name"] == "admin")
c.JupyterHub.load_roles = [{"name": "bench", "scopes": scopes, "services": ["bench"]}]

# dockerspawner.SwarmSpawner's settings, which ours reads too: whoever changes the class keeps the rest.
spawners = {"ours": "swarmhub.spawner.SwarmSpawner", "stock": "dockerspawner.SwarmSpawner"}
c.JupyterHub.spawner_class = spawners[bench["spawner"]]
c.Spawner.start_timeout = 300
c.Spawner.http_timeout = 120
c.Spawner.consecutive_failure_limit = 0
c.Spawner.cmd = workload["command"]
c.Spawner.mem_limit = workload["memory_limit"]
c.Spawner.mem_guarantee = workload["memory_reservation"]
c.Spawner.cpu_guarantee = workload["cpu_reservation"]
c.SwarmSpawner.image = bench["notebook_image"]
c.SwarmSpawner.network_name = bench["network"]
c.SwarmSpawner.extra_container_spec = {"user": bench["user"]}
c.SwarmSpawner.extra_placement_spec = {"constraints": ["node.role==worker"]}
c.SwarmSpawner.extra_endpoint_spec = {"mode": "dnsrr"}
# What the benchmark recognises and clears away by: ours makes its names from the hub's, stock from a prefix.
if bench["spawner"] == "ours":
    c.SwarmSpawner.hub_name = "bench"
else:
    c.DockerSpawner.prefix = "bench"
