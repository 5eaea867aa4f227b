"""The API token in a file: the command that reads it, really run."""

import subprocess
from pathlib import Path

import pytest

from swarmhub.spawner import tokens
from swarmhub.spawner.tokens import TOKEN_FILE, command_with_token, secret_name, without_token

SHOW = 'printf "%s," "$JUPYTERHUB_API_TOKEN" "$JPY_API_TOKEN" "$0" "$@"; exit 7'


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("s3\\cret\n")
    return path


def run(command: list[str], token_file: Path) -> "subprocess.CompletedProcess[str]":
    wrapped = [word.replace(TOKEN_FILE, str(token_file)) for word in command_with_token(command)]
    assert str(token_file) in wrapped[2]
    return subprocess.run(wrapped, capture_output=True, text=True, env={}, timeout=10, check=False)


def test_the_command_finds_the_token_in_its_environment_and_its_arguments_unchanged(token_file: Path) -> None:
    done = run(["/bin/sh", "-c", SHOW, "zero", "a b", '$(id) "*"'], token_file)
    assert done.stdout == 's3\\cret,s3\\cret,zero,a b,$(id) "*",'
    assert done.returncode == 7


def test_the_command_replaces_the_shell_and_so_gets_its_signals(token_file: Path) -> None:
    done = run(["/bin/sh", "-c", "kill -TERM $$"], token_file)
    assert done.returncode == -15


def test_without_its_token_the_server_does_not_start_and_says_why(token_file: Path) -> None:
    token_file.unlink()
    done = run(["/bin/echo", "started"], token_file)
    assert done.returncode != 0
    assert done.stdout == ""
    assert str(token_file) in done.stderr


def test_the_command_needs_nothing_but_a_shell() -> None:
    assert command_with_token(["jupyterhub-singleuser"])[:2] == ("/bin/sh", "-c")
    assert "cat " not in tokens.command_with_token([])[2]


def test_only_the_token_leaves_the_environment() -> None:
    env = {"JUPYTERHUB_API_TOKEN": "t", "JPY_API_TOKEN": "t", "JUPYTERHUB_API_URL": "u", "EMPTY": None}
    assert without_token(env) == {"JUPYTERHUB_API_URL": "u", "EMPTY": None}


@pytest.mark.parametrize("service", ["lab-ana-x", "x" * 63, "x" * 54 + "-" + "y" * 8])
def test_secret_names_are_ones_that_swarm_accepts(service: str) -> None:
    name = secret_name(service, "0a1b2c3d")
    assert len(name) <= 64
    assert name.endswith("-0a1b2c3d")
    assert name.startswith(service[:54])
    assert "--" not in name
