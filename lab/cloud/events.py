"""EventBridge envelopes, and their way into the hub's queue."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from lab.cloud.asg.model import ACCOUNT, Event, EventKind
from lab.cloud.asg.world import iso

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

log = logging.getLogger(__name__)

_AUTOSCALING = {EventKind.LAUNCH_ACTION, EventKind.TERMINATE_ACTION}
BACKLOG = 10_000
"""Events waiting for the queue; EventBridge is best effort, and so are we beyond this."""


def queue_name(hub: str) -> str:
    return f"swarmhub-{hub}-events"


def envelope(event: Event, region: str) -> dict[str, Any]:
    """The event as EventBridge writes it (EventBridge user guide, "AWS service event metadata")."""
    return {
        "version": "0",
        "id": event.event_id,
        "detail-type": event.kind.value,
        "source": "aws.autoscaling" if event.kind in _AUTOSCALING else "aws.ec2",
        "account": ACCOUNT,
        "time": iso(event.at),
        "region": region,
        "resources": [event.resource],
        "detail": dict(event.detail),
    }


class QueuePublisher:
    """Sends events, in order, to ``swarmhub-<hub>-events`` where that queue exists."""

    def __init__(self, endpoint: str, region: str) -> None:
        self._region = region
        self._sqs: SQSClient = boto3.client(
            "sqs",
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(connect_timeout=5, read_timeout=10, retries={"max_attempts": 2}),
        )
        self._waiting: asyncio.Queue[Event] = asyncio.Queue(BACKLOG)

    def publish(self, event: Event) -> None:
        """Take an event for delivery; instances without a hub tag have no queue."""
        if not event.hub:
            return
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            log.error("dropped an event, %d are waiting already: %s", BACKLOG, event)  # noqa: TRY400

    async def run(self) -> None:
        """Deliver for ever."""
        while True:
            event = await self._waiting.get()
            try:
                await asyncio.to_thread(self._send, event)
            except Exception:
                log.exception("could not deliver %s to %s", event.kind.value, queue_name(event.hub))
            finally:
                self._waiting.task_done()

    async def flush(self) -> None:
        """Wait until everything taken so far is delivered."""
        await self._waiting.join()

    def _send(self, event: Event) -> None:
        try:
            url = self._sqs.get_queue_url(QueueName=queue_name(event.hub))["QueueUrl"]
        except self._sqs.exceptions.QueueDoesNotExist:
            log.debug("no queue %s for %s", queue_name(event.hub), event.kind.value)
            return
        self._sqs.send_message(QueueUrl=url, MessageBody=json.dumps(envelope(event, self._region)))
