"""Completing the terminate hook, so that the Auto Scaling group need not wait for its time-out.

Lifecycle actions can be completed by instance id, without the token that only the notification carries:
https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_CompleteLifecycleAction.html
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random

from . import log
from .aws import CALL_LIMIT_S
from .errors import AgentError
from .threads import in_daemon_thread

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient

TIME_LIMIT_S = 300.0
"""After this the controller, which completes hooks of instances whose node is gone, is left to it."""
TRANSITION = "autoscaling:EC2_INSTANCE_TERMINATING"
WAITING = "Terminating:Wait"
OVER = frozenset({"Terminating:Proceed", "Terminated"})
"""States after the hook."""


class HookNotCompletedError(AgentError):
    """The hook was not completed; the text says why."""


@dataclass(frozen=True)
class Completed:
    """What was found or done."""

    group: str
    hooks: tuple[str, ...]
    """The hooks completed; empty where there was nothing (left) to complete."""


def complete_once(client: AutoScalingClient, instance_id: str) -> Completed:
    """Complete all terminating hooks of the instance's group for it. Blocks.

    Raises HookNotCompletedError when the instance is not waiting (yet), ClientError or BotoCoreError when AWS
    says no.
    """
    instances = client.describe_auto_scaling_instances(InstanceIds=[instance_id])["AutoScalingInstances"]
    if not instances:
        return Completed(group="", hooks=())
    group, state = instances[0]["AutoScalingGroupName"], instances[0]["LifecycleState"]
    if state in OVER:
        return Completed(group=group, hooks=())
    if state != WAITING:
        raise HookNotCompletedError(f"the instance is {state} in {group}, not {WAITING}")
    hooks = client.describe_lifecycle_hooks(AutoScalingGroupName=group)["LifecycleHooks"]
    names = tuple(hook["LifecycleHookName"] for hook in hooks if hook["LifecycleTransition"] == TRANSITION)
    failure: ClientError | None = None
    for name in names:
        try:
            client.complete_lifecycle_action(
                AutoScalingGroupName=group,
                LifecycleHookName=name,
                InstanceId=instance_id,
                LifecycleActionResult="CONTINUE",
            )
        except ClientError as error:
            # One that an earlier try completed is refused now, and must not keep the others from being
            # completed.
            failure = error
    if failure is not None:
        raise failure
    return Completed(group=group, hooks=names)


async def complete_hook(
    make_client: Callable[[], AutoScalingClient],
    instance_id: str,
    *,
    time_limit_s: float = TIME_LIMIT_S,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Completed:
    """Repeat ``complete_once`` until it succeeds, every 1 to 3 s.

    AWS publishes the target state before the instance waits, and a call in between is a ValidationError.
    Raises HookNotCompletedError with the last reason when the time is over.
    """
    started = clock()

    async def attempt() -> Completed:
        try:
            async with asyncio.timeout(CALL_LIMIT_S):
                return await in_daemon_thread(lambda: complete_once(make_client(), instance_id))
        except TimeoutError:
            raise HookNotCompletedError(f"AWS did not answer within {CALL_LIMIT_S:g} s") from None
        except (BotoCoreError, ClientError) as error:
            raise HookNotCompletedError(str(error)) from error

    def failed(state: RetryCallState) -> None:
        log.info(
            "the terminate hook is not completed yet", reason=state.outcome and str(state.outcome.exception())
        )

    retrying = AsyncRetrying(
        stop=lambda _: clock() - started >= time_limit_s,
        wait=wait_random(1, 3),
        retry=retry_if_exception_type(HookNotCompletedError),
        before_sleep=failed,
        sleep=sleep,
        reraise=True,
    )
    return await retrying(attempt)
