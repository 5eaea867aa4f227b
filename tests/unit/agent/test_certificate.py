from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from swarmhub_agent.certificate import CertificateUnavailableError, NodeTls, strip_key_headers

from tests.unit.agent.fakes import NODE, Pki


@pytest.fixture
def runtime_dir(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def test_the_key_as_docker_writes_it_is_refused_by_openssl_and_taken_when_stripped(
    pki: Pki, tmp_path: Path, runtime_dir: Path
) -> None:
    files = pki.write(tmp_path / "certificates", NODE)
    with pytest.raises(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
            files / "swarm-node.crt", files / "swarm-node.key"
        )
    context = NodeTls(files, runtime_dir).context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert [ca["subject"] for ca in context.get_ca_certs()] == [((("commonName", "swarm-ca"),),)]


def test_no_copy_of_the_key_is_left_behind(pki: Pki, tmp_path: Path, runtime_dir: Path) -> None:
    NodeTls(pki.write(tmp_path / "certificates", NODE), runtime_dir).context()
    assert list(runtime_dir.iterdir()) == []


def test_only_header_lines_are_stripped() -> None:
    begin, end = "-----BEGIN EC PRIVATE KEY-----\n", "MHcCAQ==\n-----END EC PRIVATE KEY-----\n"
    stripped = begin + end
    assert strip_key_headers(f"{begin}kek-version: 0\nraft-dek: AAAA\n\n{end}") == stripped
    assert strip_key_headers(stripped) == stripped


@pytest.mark.parametrize("line", ["Proc-Type: 4,ENCRYPTED", "-----BEGIN ENCRYPTED PRIVATE KEY-----"])
def test_an_encrypted_key_is_refused_with_the_reason(line: str) -> None:
    with pytest.raises(CertificateUnavailableError, match="autolocked"):
        strip_key_headers(f"{line}\nAAAA\n")


def test_the_context_is_kept_until_a_file_changes(pki: Pki, tmp_path: Path, runtime_dir: Path) -> None:
    files = pki.write(tmp_path / "certificates", NODE)
    tls = NodeTls(files, runtime_dir)
    first = tls.context()
    assert tls.context() is first
    pki.write(files, NODE)
    os.utime(files / "swarm-node.crt", (1, 1))
    renewed = tls.context()
    assert renewed is not first
    assert tls.context() is renewed


def test_a_half_renewed_certificate_leaves_the_last_good_context(
    pki: Pki, tmp_path: Path, runtime_dir: Path
) -> None:
    files = pki.write(tmp_path / "certificates", NODE)
    tls = NodeTls(files, runtime_dir)
    first = tls.context()
    new = pki.write(tmp_path / "new", NODE)
    (new / "swarm-node.key").replace(files / "swarm-node.key")
    assert tls.context() is first
    (new / "swarm-node.crt").replace(files / "swarm-node.crt")
    assert tls.context() is not first


def test_the_context_outlives_the_files_that_leaving_deletes(
    pki: Pki, tmp_path: Path, runtime_dir: Path
) -> None:
    files = pki.write(tmp_path / "certificates", NODE)
    tls = NodeTls(files, runtime_dir)
    first = tls.context()
    for file in files.iterdir():
        file.unlink()
    assert tls.context() is first


def test_without_files_there_is_no_context(tmp_path: Path, runtime_dir: Path) -> None:
    with pytest.raises(CertificateUnavailableError, match=r"swarm-node\.crt"):
        NodeTls(tmp_path / "nothing", runtime_dir).context()
