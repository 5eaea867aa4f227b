"""What a server is given so that its SQLite files stay off the shared file system.

SQLite needs file locks, which network file systems do not keep reliably (https://www.sqlite.org/faq.html#q5;
seen on EFS in jupyterhub/dockerspawner#129). Jupyter puts these databases into the home:

- notebook signatures (nbformat, ``NotebookNotary.db_file``),
- file ids (jupyter_server_fileid, ``BaseFileIdManager.db_path``, inherited by all its managers),
- changes to shared documents (jupyter_server_ydoc and jupyter_collaboration, ``SQLiteYStore.db_path``),
- IPython's history (``HistoryAccessor.hist_file``, inherited by ``HistoryManager``).

Jupyter Server's sessions are in memory unless somebody says otherwise. The files here put all four into the
container's own ``/tmp``, and the run-time directory with the kernels' connection files as well: two servers
of one student share a home, and process ids repeat.

The price: these files end with the server. A notebook that was trusted by hand is not trusted after the next
start, until its cells run again; ``%history`` and a console's arrow keys know this server's commands only.
Notebooks, their outputs and the key that signs them are in the home as before.

Where they are read from (jupyter_core 5.9 ``jupyter_config_path``, IPython 9 ``SYSTEM_CONFIG_DIRS``): every
image searches the system's directories, whatever its ``sys.prefix``, and last of all, so an image or a
student can decide otherwise. The names are such that no file of a known image is hidden: docker-stacks put
``jupyter_server_config.py`` into ``/etc/jupyter``. A file in ``jupyter_server_config.d`` would not do:
Jupyter Server reads nothing but its list of extensions from there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

JUPYTER_CONFIG = "/etc/jupyter/jupyter_config.json"
"""Read by every Jupyter application: the server, single-user or not, and ``jupyter trust``."""
IPYTHON_CONFIG = "/etc/ipython/ipython_config.json"
"""Read by every Python kernel and by IPython itself."""
LOCAL = "/tmp"
"""A directory on the worker's own disk that exists, and is writable for everybody, in every image."""


def local_state_env(tmp: str = LOCAL) -> dict[str, str]:
    """Environment of a server: what has no setting in a file."""
    return {"JUPYTER_RUNTIME_DIR": f"{tmp}/jupyter-runtime"}


def files(tmp: str = LOCAL) -> Mapping[str, str]:
    """Files to mount into every server, read-only: target path in the container and content.

    ``tmp`` must exist in the container; the databases are made in it directly, because none of the packages
    makes a directory for its own. Always the same text for the same ``tmp``, so that one Swarm config serves
    every server.
    """
    jupyter = {
        "BaseFileIdManager": {"db_path": f"{tmp}/jupyter-file-ids.db"},
        "NotebookNotary": {"db_file": f"{tmp}/jupyter-signatures.db"},
        "SQLiteYStore": {"db_path": f"{tmp}/jupyter-documents.db"},
    }
    ipython = {"HistoryAccessor": {"hist_file": f"{tmp}/ipython-history.sqlite"}}
    return {JUPYTER_CONFIG: _json(jupyter), IPYTHON_CONFIG: _json(ipython)}


def _json(settings: Mapping[str, Mapping[str, str]]) -> str:
    return json.dumps(settings, indent=2, sort_keys=True) + "\n"
