"""The metadata service over HTTP: tokens, who asks, hop limit, faults."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import replace

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from botocore.utils import InstanceMetadataFetcher

from lab.cloud.asg.world import put_instance
from lab.cloud.imds import Fault, FaultMode, Faults, MetadataService
from lab.cloud.launcher import MemoryLauncher
from lab.cloud.runtime import Runtime

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"
IP_MINTTL = 21
"""linux/in.h: a socket drops packets with a smaller TTL."""


class Imds:
    """The service for two instances, called from their own addresses 127.0.1.1 and 127.0.1.2."""

    def __init__(self, driver, server, faults, runtime):
        self.driver, self.server, self.faults, self.runtime = driver, server, faults, runtime
        self.first, self.second = (instance.instance_id for instance in driver.members)

    def alter(self, **fields):
        """Change the first instance."""
        changed = replace(self.runtime.world.instances[self.first], **fields)
        self.runtime.change(lambda world, now: put_instance(world, changed))

    async def call(self, method, path, source="127.0.1.1", **headers):
        connector = aiohttp.TCPConnector(local_addr=(source, 0))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, self.server.make_url(path), headers=headers) as answer,
        ):
            return answer.status, await answer.text(errors="replace"), answer.headers

    async def token(self, source="127.0.1.1", ttl="60"):
        status, text, _ = await self.call("PUT", "/latest/api/token", source, **{TTL: ttl})
        assert status == 200
        return text

    async def get(self, path, source="127.0.1.1"):
        token = await self.token(source)
        status, text, _ = await self.call("GET", path, source, **{TOKEN: token})
        return status, text


@pytest.fixture
async def imds(asg):
    asg.in_service(2)
    for number, instance in enumerate(asg.members, 1):
        asg.world = put_instance(asg.world, replace(instance, imds_ip=f"127.0.1.{number}"))
    runtime = Runtime(
        asg.world, MemoryLauncher(), lambda: asg.now, save=lambda world: None, publish=lambda event: None
    )
    faults = Faults()
    async with TestServer(MetadataService(runtime, faults).app(), host="127.0.0.1") as server:
        yield Imds(asg, server, faults, runtime)


async def test_each_caller_sees_itself(imds):
    assert await imds.get("/latest/meta-data/instance-id") == (200, imds.first)
    assert await imds.get("/latest/meta-data/instance-id", "127.0.1.2") == (200, imds.second)


async def test_a_caller_nobody_knows_is_told_to_come_back(imds):
    status, text, _ = await imds.call("GET", "/latest/meta-data/", "127.0.1.9")
    assert status == 503
    assert "127.0.1.9" in text


@pytest.mark.parametrize("ttl", [None, "0", "21601", "-1", "1.5", "x"])
async def test_a_token_needs_a_lifetime_of_1_to_21600_seconds(imds, ttl):
    headers = {} if ttl is None else {TTL: ttl}
    status, _, _ = await imds.call("PUT", "/latest/api/token", **headers)
    assert status == 400


async def test_the_token_answer_repeats_the_lifetime(imds):
    status, _, headers = await imds.call("PUT", "/latest/api/token", **{TTL: "21600"})
    assert (status, headers[TTL]) == (200, "21600")


async def test_a_forwarded_token_request_is_forbidden(imds):
    status, _, _ = await imds.call("PUT", "/latest/api/token", **{TTL: "60", "X-Forwarded-For": "10.1.1.1"})
    assert status == 403


async def test_without_a_valid_token_every_read_is_unauthorized(imds):
    path = "/latest/meta-data/instance-id"
    assert (await imds.call("GET", path))[0] == 401
    assert (await imds.call("GET", path, **{TOKEN: "made-up"}))[0] == 401
    foreign = await imds.token("127.0.1.2")
    assert (await imds.call("GET", path, **{TOKEN: foreign}))[0] == 401
    expiring = await imds.token(ttl="60")
    assert (await imds.call("GET", path, **{TOKEN: expiring}))[0] == 200
    imds.driver.now += 60
    assert (await imds.call("GET", path, **{TOKEN: expiring}))[0] == 401


async def test_what_is_not_there_is_404_with_ec2s_page(imds):
    status, text = await imds.get("/latest/meta-data/spot/instance-action")
    assert status == 404
    assert "404 - Not Found" in text


@pytest.mark.parametrize(("hops", "reaches"), [(1, False), (2, True)])
async def test_the_token_travels_no_further_than_the_hop_limit(imds, hops, reaches):
    imds.alter(hop_limit=hops)
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        client.bind(("127.0.1.1", 0))
        await loop.sock_connect(client, ("127.0.0.1", imds.server.port))
        # As a container one hop behind the instance would: packets with TTL 1 do not arrive.
        client.setsockopt(socket.IPPROTO_IP, IP_MINTTL, 2)
        request = f"PUT /latest/api/token HTTP/1.1\r\nHost: imds\r\n{TTL}: 60\r\n\r\n"
        await loop.sock_sendall(client, request.encode())
        try:
            async with asyncio.timeout(1.0 if reaches else 0.3):
                answer = await loop.sock_recv(client, 4096)
        except TimeoutError:
            answer = b""
    assert answer.startswith(b"HTTP/1.1 200") is reaches


@pytest.mark.parametrize(
    ("mode", "read", "token"),
    [("401", 401, 200), ("404", 404, 200), ("429", 429, 429), ("500", 500, 500)],
)
async def test_faults_answer_with_their_status(imds, mode, read, token):
    good = await imds.token()
    imds.faults.by_instance[imds.first] = Fault(FaultMode(mode), until=imds.driver.now + 30)
    path = "/latest/meta-data/instance-id"
    assert (await imds.call("GET", path, **{TOKEN: good}))[0] == read
    assert (await imds.call("PUT", "/latest/api/token", **{TTL: "60"}))[0] == token
    assert await imds.get(path, "127.0.1.2") == (200, imds.second)
    imds.driver.now += 30
    assert (await imds.call("GET", path, **{TOKEN: good}))[0] == 200


async def test_garbage_is_a_success_that_means_nothing(imds):
    imds.faults.by_instance[imds.first] = Fault(FaultMode.GARBAGE, until=imds.driver.now + 30)
    status, text, _ = await imds.call("GET", "/latest/meta-data/spot/instance-action")
    assert status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


async def test_a_hanging_service_answers_nothing_in_time(imds):
    imds.faults.by_instance[imds.first] = Fault(FaultMode.HANG, until=imds.driver.now + 30)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await imds.call("GET", "/latest/meta-data/instance-id")


async def test_boto3_finds_the_instance_roles_credentials(imds):
    imds.alter(imds_ip="127.0.0.1")
    fetcher = InstanceMetadataFetcher(base_url=str(imds.server.make_url("/")), num_attempts=1)
    found = await asyncio.to_thread(fetcher.retrieve_iam_role_credentials)
    assert found["role_name"] == "swarmhub-instance"
    assert found["access_key"].startswith("ASIA")
    assert found["token"]
