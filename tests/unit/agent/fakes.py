"""The agent's surroundings for its tests: real servers that speak the real protocols and follow a script."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from swarmhub_agent.protocol import Reply, Report

INSTANCE = "i-0123456789abcdef0"
NODE = "n0denodenodenodenodenoden"
IMAGE = "registry:5000/swarmhub/notebook@sha256:" + "a" * 64
LIMIT_S = 30.0
"""How long a test waits for something that takes milliseconds, on a machine that is busy otherwise."""


class FakeMetadata:
    """An instance metadata service, version 2: tokens are demanded and may be forgotten."""

    def __init__(self) -> None:
        self.url = ""
        self.items = {
            "/latest/meta-data/instance-id": INSTANCE,
            "/latest/meta-data/placement/region": "us-east-1",
            "/latest/meta-data/local-ipv4": "10.0.0.7",
            "/latest/meta-data/tags/instance/swarmhub:hub": "lab",
            "/latest/meta-data/tags/instance/swarmhub:pool": "cpu",
        }
        self.failing: Callable[[web.Request], Awaitable[web.Response]] | None = None
        self.ttl_header = "3600"
        self.tokens: list[str] = []
        """Every token given out; only the last is valid."""
        self.requests: list[str] = []
        self.asked = asyncio.Condition()

    async def until_asked(self, more: int) -> None:
        wanted = len(self.requests) + more
        async with self.asked, asyncio.timeout(LIMIT_S):
            await self.asked.wait_for(lambda: len(self.requests) >= wanted)

    async def handle(self, request: web.Request) -> web.Response:
        async with self.asked:
            self.requests.append(f"{request.method} {request.path}")
            self.asked.notify_all()
        if self.failing is not None:
            return await self.failing(request)
        if request.path == "/latest/api/token":
            if (
                request.method != "PUT"
                or not request.headers["X-aws-ec2-metadata-token-ttl-seconds"].isdecimal()
            ):
                return web.Response(status=400)
            self.tokens.append(f"token-{len(self.tokens)}")
            return web.Response(
                text=self.tokens[-1], headers={"X-aws-ec2-metadata-token-ttl-seconds": self.ttl_header}
            )
        if not self.tokens or request.headers.get("X-aws-ec2-metadata-token") != self.tokens[-1]:
            return web.Response(status=401)
        if request.path not in self.items:
            return web.Response(status=404, text="<html>Not Found</html>")
        return web.Response(text=self.items[request.path])

    def forget_token(self) -> None:
        self.tokens.append("a token nobody has")


class FakeEngine:
    """The Docker Engine API of one engine, as far as the agent uses it."""

    def __init__(self, root: Path) -> None:
        self.state = "inactive"
        self.node_id = ""
        self.error = ""
        self.managers = ["127.0.0.1:2377"]
        self.labels = [f"org.swarmhub.instance={INSTANCE}", "org.swarmhub.pool=cpu"]
        self.root = root
        self.images: set[str] = set()
        self.containers: list[str] = []
        self.calls: list[tuple[str, Any]] = []
        """Everything that changes something, in order: (what, arguments)."""
        self.on_join: Callable[[dict[str, Any]], web.Response | None] = lambda body: None
        self.on_leave: Callable[[], web.Response | None] = lambda: None
        self.on_pull: Callable[[str], list[dict[str, Any]]] = lambda reference: [{"status": "Downloaded"}]
        self.hang = asyncio.Event()
        self.hang.set()
        self.called = asyncio.Condition()

    async def note(self, what: str, arguments: Any = None) -> None:
        async with self.called:
            self.calls.append((what, arguments))
            self.called.notify_all()

    async def until_called(self, what: str, times: int = 1) -> None:
        async with self.called, asyncio.timeout(LIMIT_S):
            await self.called.wait_for(lambda: self.names.count(what) >= times)

    @property
    def names(self) -> list[str]:
        return [what for what, _ in self.calls]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        await self.hang.wait()
        match request.method, request.path:
            case "GET", "/info":
                managers = [{"NodeID": "m", "Addr": address} for address in self.managers]
                swarm: dict[str, Any] = {
                    "NodeID": self.node_id,
                    "LocalNodeState": self.state,
                    "Error": self.error,
                }
                swarm["RemoteManagers"] = managers if self.state == "active" else None
                return web.json_response(
                    {"DockerRootDir": str(self.root), "Labels": self.labels, "Swarm": swarm, "Name": "worker"}
                )
            case "POST", "/swarm/join":
                body = await request.json()
                answer = self.on_join(body)
                if answer is None:
                    self.state, self.node_id = "active", NODE
                await self.note("join", body)
                return answer or web.Response()
            case "POST", "/swarm/leave":
                answer = self.on_leave()
                if answer is None:
                    self.state, self.node_id = "inactive", ""
                await self.note("leave", dict(request.query))
                return answer or web.Response()
            case "POST", "/images/create":
                return await self._pull(request)
        return self._look_up(request)

    def _look_up(self, request: web.Request) -> web.Response:
        if request.path == "/containers/json":
            assert json.loads(request.query["filters"]) == {"label": ["com.docker.swarm.task.id"]}
            return web.json_response([{"Id": name, "Names": [f"/{name}"]} for name in self.containers])
        if request.path.startswith("/images/"):
            reference = request.path.removeprefix("/images/").removesuffix("/json")
            found = reference in self.images
            return web.json_response(
                {"Id": reference} if found else {"message": "x"}, status=200 if found else 404
            )
        return web.json_response({"message": "page not found"}, status=404)

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        reference = f"{request.query['fromImage']}@{request.query['tag']}"
        response = web.StreamResponse()
        await response.prepare(request)
        entries = self.on_pull(reference)
        for entry in entries:
            await response.write(json.dumps(entry).encode() + b"\r\n")
        if not any("error" in entry for entry in entries):
            self.images.add(reference)
        await response.write_eof()
        await self.note("pull", reference)
        return response


@dataclass
class FakeController:
    """A controller with a manager's certificate; it demands a worker's."""

    port: int = 0
    reply: Reply = field(default_factory=lambda: Reply(state="active", reason="all is well"))
    status: int = 200
    raw: bytes | None = None
    reports: asyncio.Queue[tuple[str, Report]] = field(default_factory=asyncio.Queue)
    """(node id of the path, report)."""
    peers: list[dict[str, Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        self.peers.append(request.transport.get_extra_info("peercert"))
        self.reports.put_nowait(
            (request.match_info["node"], Report.model_validate_json(await request.read()))
        )
        if self.raw is not None:
            return web.Response(body=self.raw)
        return web.Response(
            status=self.status, text=self.reply.model_dump_json(), content_type="application/json"
        )

    async def next(self, matching: Callable[[Report], bool] = lambda report: True) -> Report:
        """The next report that matches; fails the test if none comes."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                _, report = await self.reports.get()
                if matching(report):
                    return report


class Pki:
    """A swarm's certificate authority, and node certificates as Docker writes them."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swarm-ca")])
        self.root = (
            self._builder(name, name, self.key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=90))
        )

    def write(self, directory: Path, node_id: str, role: str = "swarm-worker", header: bool = True) -> Path:
        """Write swarm-node.crt, swarm-node.key (with Docker's header) and swarm-root-ca.crt."""
        directory.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "cluster"),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role),
                x509.NameAttribute(NameOID.COMMON_NAME, node_id),
            ]
        )
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            self._builder(subject, self.root.subject, key.public_key())
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(role), x509.DNSName(node_id)]), critical=False
            )
            .add_extension(x509.ExtendedKeyUsage(both), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        key_text = key.private_bytes(
            pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ).decode()
        if header:
            begin, _, rest = key_text.partition("\n")
            key_text = f"{begin}\nkek-version: 0\n\n{rest}"
        (directory / "swarm-root-ca.crt").write_bytes(self.root.public_bytes(pem))
        (directory / "swarm-node.key").write_text(key_text)
        (directory / "swarm-node.crt").write_bytes(certificate.public_bytes(pem))
        return directory

    def server_context(self, directory: Path, role: str = "swarm-manager") -> ssl.SSLContext:
        """A TLS server with a node's certificate that demands one of this swarm from its clients."""
        self.write(directory, "managernode", role, header=False)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "swarm-node.crt", directory / "swarm-node.key")
        context.load_verify_locations(directory / "swarm-root-ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        return context


@asynccontextmanager
async def serving(
    path: str,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    make_site: Callable[[web.AppRunner], web.BaseSite],
) -> AsyncIterator[web.AppRunner]:
    """Serve ``handler`` on ``path`` until the end of the block."""
    application = web.Application()
    application.router.add_route("*", path, handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        await make_site(runner).start()
        yield runner
    finally:
        await runner.cleanup()


def port_of(runner: web.AppRunner) -> int:
    """The port that the system chose for the runner's only site."""
    return int(runner.addresses[0][1])
