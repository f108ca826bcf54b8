"""The hub that `hub.py` starts: on this machine alone, for students who are scripts.

Its memory, its idle culling and its shared folder are what book/hosting.md describes; who may
log in and how servers start are not for a class, where they come from the distribution.
"""

import os
import sys
from pathlib import Path

place = Path(os.environ["HUB_PLACE"])
port = int(os.environ["HUB_PORT"])
c = get_config()  # noqa: F821

c.JupyterHub.bind_url = f"http://127.0.0.1:{port}/"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{port + 1}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{port + 2}"
c.ConfigurableHTTPProxy.command = [os.environ["HUB_PROXY"]]
c.JupyterHub.db_url = f"sqlite:///{place / 'hub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(place / "cookie_secret")
c.JupyterHub.pid_file = str(place / "hub.pid")

# A real spawner makes a user of the system, or a container; here each student gets a folder.
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = os.environ["HUB_TOKEN"]
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(place / "homes" / "{username}")
c.Spawner.cmd = [str(Path(sys.executable).parent / "jupyterhub-singleuser")]
c.Spawner.args = ["--allow-root"]
# Servers say every five minutes that they are at work; the culler, which here waits for less than
# that, would stop those that are.
c.Spawner.environment = {
    "COURSE_DATA": str(place / "shared" / "data"),
    "JUPYTERHUB_ACTIVITY_INTERVAL": "5",
    # Where the link of the book says GitHub, the copy on this machine is pulled.
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": f"url.{os.environ['HUB_COURSE']}.insteadOf",
    "GIT_CONFIG_VALUE_0": os.environ["HUB_REPOSITORY"],
}
c.Spawner.start_timeout = c.Spawner.http_timeout = 600

c.JupyterHub.services = [
    {
        "name": "culler",
        "command": [
            sys.executable, "-m", "jupyterhub_idle_culler",
            f"--timeout={os.environ['HUB_IDLE']}", "--cull-every=5",
        ],
    },
    {"name": "class", "api_token": os.environ["HUB_TOKEN"]},
]  # fmt: skip
c.JupyterHub.load_roles = [
    {
        "name": "culler",
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        "services": ["culler"],
    },
    {
        "name": "class",
        "scopes": ["admin:users", "admin:servers", "access:servers"],
        "services": ["class"],
    },
]
