"""Settings that keep SQLite files off the shared file system, read as Jupyter and IPython read them."""

from pathlib import PurePosixPath

from traitlets import Unicode
from traitlets.config import Configurable, JSONFileConfigLoader
from traitlets.config.loader import Config

from swarmhub.spawner.local_state import IPYTHON_CONFIG, JUPYTER_CONFIG, files, local_state_env


class BaseFileIdManager(Configurable):
    db_path = Unicode(config=True)


class LocalFileIdManager(BaseFileIdManager):
    """As in jupyter_server_fileid: the managers inherit the trait."""


class NotebookNotary(Configurable):
    db_file = Unicode(config=True)


class SQLiteYStore(Configurable):
    db_path = Unicode(config=True)


class HistoryAccessor(Configurable):
    hist_file = Unicode(config=True)


class HistoryManager(HistoryAccessor):
    """As in IPython."""


def load(target: str, tmp_path) -> Config:
    (tmp_path / "config.json").write_text(files()[target])
    return JSONFileConfigLoader("config.json", path=str(tmp_path)).load_config()


def test_every_database_goes_to_a_file_of_its_own_on_local_disk(tmp_path) -> None:
    jupyter, ipython = load(JUPYTER_CONFIG, tmp_path), load(IPYTHON_CONFIG, tmp_path)
    databases = [
        LocalFileIdManager(config=jupyter).db_path,
        NotebookNotary(config=jupyter).db_file,
        SQLiteYStore(config=jupyter).db_path,
        HistoryManager(config=ipython).hist_file,
    ]
    assert len(set(databases)) == 4
    # None of the packages makes a directory for its database.
    assert {PurePosixPath(database).parent for database in databases} == {PurePosixPath("/tmp")}


def test_the_run_time_directory_is_not_shared_by_two_servers_of_one_home() -> None:
    assert local_state_env() == {"JUPYTER_RUNTIME_DIR": "/tmp/jupyter-runtime"}
    assert local_state_env("/local")["JUPYTER_RUNTIME_DIR"].startswith("/local/")


def test_the_files_are_where_every_image_looks_and_the_same_for_all_servers() -> None:
    assert set(files()) == {"/etc/jupyter/jupyter_config.json", "/etc/ipython/ipython_config.json"}
    assert files() == files("/tmp")
    assert all("/local/" in content and "/tmp" not in content for content in files("/local").values())
