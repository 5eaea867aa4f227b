"""Certificates as Docker makes them: O = cluster, OU = role, CN = node id; the key with PEM headers."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLUSTER = "cluster0"


class Authority:
    """A swarm's root CA."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swarm-ca")])
        self.certificate = (
            _builder(self.name, self.name, self.key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def issue(
        self, directory: Path, node_id: str, role: str = "swarm-worker", cluster: str = CLUSTER
    ) -> Path:
        """Write ``swarm-node.crt``, ``swarm-node.key`` and ``swarm-root-ca.crt`` as Docker does."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, cluster),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role),
                x509.NameAttribute(NameOID.COMMON_NAME, node_id),
            ]
        )
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(subject, self.name, key.public_key())
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(role), x509.DNSName(node_id)]), False)
            .add_extension(x509.ExtendedKeyUsage(usages), False)
            .sign(self.key, hashes.SHA256())
        )
        plain = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ).decode()
        first, rest = plain.split("\n", 1)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "swarm-node.key").write_text(f"{first}\nkek-version: 0\nraft-dek: CgZhYmM=\n\n{rest}")
        (directory / "swarm-node.crt").write_bytes(_pem(certificate))
        (directory / "swarm-root-ca.crt").write_bytes(_pem(self.certificate))
        return directory


def client_context(directory: Path | None, authority: Path, scratch: Path) -> ssl.SSLContext:
    """A client that trusts ``authority``'s CA and shows ``directory``'s certificate, or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority / "swarm-root-ca.crt")
    if directory:
        text = (directory / "swarm-node.key").read_text()
        key = scratch / f"{directory.name}.key"
        key.write_text("\n".join(line for line in text.splitlines() if line and ":" not in line) + "\n")
        context.load_cert_chain(directory / "swarm-node.crt", key)
    return context


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
