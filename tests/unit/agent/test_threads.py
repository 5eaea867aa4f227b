from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from swarmhub_agent.threads import in_daemon_thread


async def test_result_and_exception_come_back() -> None:
    assert await in_daemon_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(divmod, 7, 0)


async def test_a_waiter_that_gave_up_is_not_disturbed_by_the_late_result() -> None:
    import threading

    release = threading.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await in_daemon_thread(release.wait, 5)
    release.set()
    assert await in_daemon_thread(release.is_set)


def test_a_call_that_hangs_does_not_keep_the_process_from_ending() -> None:
    program = """
import asyncio, threading
from swarmhub_agent.threads import in_daemon_thread
async def main():
    try:
        async with asyncio.timeout(0.02):
            await in_daemon_thread(threading.Event().wait)
    except TimeoutError:
        print("given up")
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], timeout=10, capture_output=True, check=True)
    assert ended.stdout == b"given up\n"
    assert ended.stderr == b""
