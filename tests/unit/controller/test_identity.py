"""Docker's certificate files as TLS identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmhub.controller.identity import (
    IdentityError,
    Peer,
    peer_of,
    server_context,
    stamp,
    strip_key_headers,
)
from tests.unit.controller.certs import Authority

SUBJECT = (
    (("organizationName", "cluster0"),),
    (("organizationalUnitName", "swarm-worker"),),
    (("commonName", "node1"),),
)


def test_the_subject_says_node_role_and_cluster() -> None:
    assert peer_of({"subject": SUBJECT}) == Peer("node1", "swarm-worker", "cluster0")


@pytest.mark.parametrize("subject", [SUBJECT[:2], (*SUBJECT, (("commonName", "node2"),)), ()])
def test_a_certificate_must_name_exactly_one_of_each(subject: object) -> None:
    with pytest.raises(IdentityError, match="exactly one"):
        peer_of({"subject": subject})


def test_no_certificate_is_nobody() -> None:
    with pytest.raises(IdentityError):
        peer_of(None)


def test_the_key_is_usable_with_dockers_headers_and_no_copy_of_it_is_left(tmp_path: Path) -> None:
    files = Authority().issue(tmp_path / "certificates", "manager1", "swarm-manager")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    server_context(files, scratch)
    assert list(scratch.iterdir()) == []


def test_an_autolocked_managers_key_is_refused_with_what_to_do() -> None:
    with pytest.raises(IdentityError, match="autolock=false"):
        strip_key_headers(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
        )


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    """As it is for a moment while Docker renews them."""
    files = Authority().issue(tmp_path / "a", "manager1", "swarm-manager")
    other = Authority().issue(tmp_path / "b", "manager1", "swarm-manager")
    (files / "swarm-node.key").write_text((other / "swarm-node.key").read_text())
    with pytest.raises(IdentityError, match="cannot be used"):
        server_context(files, tmp_path)


def test_the_stamp_changes_with_a_renewal_and_missing_files_are_named(tmp_path: Path) -> None:
    authority = Authority()
    before = stamp(authority.issue(tmp_path / "a", "manager1"))
    (tmp_path / "a" / "swarm-node.crt").unlink()
    with pytest.raises(IdentityError, match=r"swarm-node\.crt"):
        stamp(tmp_path / "a")
    assert stamp(authority.issue(tmp_path / "a", "manager1")) != before
