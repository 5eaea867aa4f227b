"""JupyterHub's configuration in the hub's container: from swarmhub.yaml, secrets and environment.

Environment:

- ``SWARMHUB_CONFIG``: path of swarmhub.yaml; default /etc/swarmhub/swarmhub.yaml
- ``SWARMHUB_STATE``: folder of database, cookie secret and ``secrets/``; default /var/lib/swarmhub
- ``SWARMHUB_PROXY_API``: URL of the proxy's API; default http://proxy:8001
- ``SWARMHUB_HUB_URL``: where proxy and notebook servers reach the hub, http://<manager's address>:8081
- ``SWARMHUB_AUTH``: ``lab`` for logins with one shared password, for trying out; else the extra file chooses
- ``SWARMHUB_LAB_PASSWORD``: that password, at least 8 characters

A deployment's own settings, its authenticator first of all, are in ``jupyterhub_extra.py`` beside
swarmhub.yaml.
"""

import os
from importlib.resources import files
from pathlib import Path

from jupyterhub.roles import get_default_roles

from swarmhub.config import load_config
from swarmhub.hub.database import use_write_ahead_log
from swarmhub.spawner import SwarmSpawner

config_path = Path(os.environ.get("SWARMHUB_CONFIG", "/etc/swarmhub/swarmhub.yaml"))
state = Path(os.environ.get("SWARMHUB_STATE", "/var/lib/swarmhub"))
secrets = state / "secrets"
swarmhub = load_config(config_path)

c = get_config()  # type: ignore[name-defined]  # noqa: F821  # given by traitlets' loader

# Hub: it may restart at any time; servers, proxy and logins live on.
c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
c.JupyterHub.hub_connect_url = os.environ["SWARMHUB_HUB_URL"]
c.JupyterHub.default_url = "/hub/home"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cleanup_proxy = False
use_write_ahead_log()
c.JupyterHub.db_url = f"sqlite:///{state / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(state / "jupyterhub_cookie_secret")
c.JupyterHub.template_vars = {"announcement_login": swarmhub.hub.title}
c.JupyterHub.template_paths = [str(files("swarmhub.hub") / "templates")]

# The proxy is called by name. That works because the hub's image has no aiodns: with it, c-ares keeps
# Docker's answers for their TTL of ten minutes, and a restarted proxy would be unreachable that long.
c.JupyterHub.proxy_class = "configurable-http-proxy"
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = os.environ.get("SWARMHUB_PROXY_API", "http://proxy:8001")
c.ConfigurableHTTPProxy.auth_token = (secrets / "proxy-token").read_text().strip()
# Also how often the routes are checked: a restarted proxy knows none.
c.JupyterHub.last_activity_interval = 30

# Servers. A whole class starts at once and nobody is turned away: whoever has no seat yet waits in the
# spawner's own queue and sees why. start_timeout is that patience; a server that has a machine and does not
# answer is given up after SwarmSpawner.ready_timeout.
c.JupyterHub.spawner_class = SwarmSpawner
c.SwarmSpawner.config_file = str(config_path)
c.SwarmSpawner.state_folder = str(state)
c.JupyterHub.active_server_limit = 0
c.JupyterHub.concurrent_spawn_limit = 0
c.JupyterHub.allow_named_servers = True
c.JupyterHub.named_server_limit_per_user = 3
c.JupyterHub.init_spawners_timeout = 30
# The page with the progress bar appears after this many seconds, not after ten.
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 1}
c.Spawner.consecutive_failure_limit = 0
c.Spawner.start_timeout = 1800
c.Spawner.http_timeout = 60
c.Spawner.poll_interval = 30
c.Spawner.default_url = "/lab"

# Who may do what: the operator's tools everything, teachers see and stop servers.
c.JupyterHub.services = [{"name": "operator", "api_token": (secrets / "api-token").read_text().strip()}]
admin_scopes = next(role["scopes"] for role in get_default_roles() if role["name"] == "admin")
teacher_scopes = ["admin-ui", "list:users", "read:users", "read:servers", "delete:servers", "access:servers"]
c.JupyterHub.load_groups = {"teachers": {"users": []}}
c.JupyterHub.load_roles = [
    {"name": "operator", "scopes": admin_scopes, "services": ["operator"]},
    {"name": "teacher", "scopes": teacher_scopes, "groups": ["teachers"]},
]

if os.environ.get("SWARMHUB_AUTH") == "lab":
    c.JupyterHub.authenticator_class = "shared-password"
    c.SharedPasswordAuthenticator.user_password = os.environ["SWARMHUB_LAB_PASSWORD"]
    c.Authenticator.allow_all = True
    c.Authenticator.username_pattern = r"(student.*|teacher)$"
    c.JupyterHub.load_groups = {"teachers": {"users": ["teacher"]}}

extra = config_path.with_name("jupyterhub_extra.py")
if extra.exists():
    load_subconfig(str(extra))  # type: ignore[name-defined]  # noqa: F821
