"""A hub that differs in nothing but its spawner: BENCH_SPAWNER is `ours` or `stock`."""

import os

from jupyterhub.roles import get_default_roles
from traitlets.config import get_config

c = get_config()

c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
c.JupyterHub.hub_connect_url = os.environ["BENCH_HUB_URL"]
c.JupyterHub.db_url = "sqlite:///:memory:"
c.JupyterHub.cookie_secret = os.urandom(32)
c.JupyterHub.concurrent_spawn_limit = 0
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://bench_proxy:8001"
c.ConfigurableHTTPProxy.auth_token = os.environ["BENCH_TOKEN"]
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.services = [{"name": "bench", "api_token": os.environ["BENCH_TOKEN"]}]
scopes = next(role["scopes"] for role in get_default_roles() if role["name"] == "admin")
c.JupyterHub.load_roles = [{"name": "bench", "scopes": scopes, "services": ["bench"]}]

# dockerspawner.SwarmSpawner's settings, which ours reads too: whoever changes the class keeps the rest.
spawners = {"ours": "swarmhub.spawner.SwarmSpawner", "stock": "dockerspawner.SwarmSpawner"}
c.JupyterHub.spawner_class = spawners[os.environ["BENCH_SPAWNER"]]
c.Spawner.start_timeout = 300
c.Spawner.http_timeout = 120
c.Spawner.cmd = ["python3", "-c", os.environ["BENCH_SERVER"]]
c.SwarmSpawner.image = os.environ["BENCH_IMAGE"]
c.SwarmSpawner.network_name = os.environ["BENCH_NETWORK"]
c.SwarmSpawner.extra_placement_spec = {"constraints": ["node.role==worker"]}
c.SwarmSpawner.extra_endpoint_spec = {"mode": "dnsrr"}
c.DockerSpawner.prefix = "bench"
