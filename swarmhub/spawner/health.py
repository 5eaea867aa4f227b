"""How the engine finds out whether a server answers, with what any image has. Pure.

A check is a process of its own in the container (0.07 s of CPU, measured): a class that starts would spend a
third of its machines on being asked, and 500 servers a core for as long as they run. The hub knocks by itself
(``knock``), so services are made without a check. One is needed where the engine decides: in a start-first
move the old task may go only when the new one answers. The check is therefore kept in a label of the service,
and the controller puts it in place with the move.
"""

from __future__ import annotations

import shlex
from typing import Any

_SECOND = 10**9
"""Docker counts durations in nanoseconds."""
START_INTERVAL = 1.0
"""Seconds between checks until the first success."""
_PYTHON = (
    "import http.client as h,sys;"
    'c=h.HTTPConnection("127.0.0.1",int(sys.argv[1]),timeout=8);'
    'c.request("GET",sys.argv[2]);'
    'print("HTTP/1.1",c.getresponse().status)'
)


def health_check(port: int, base_url: str, start_period: float) -> dict[str, Any]:
    """Docker's HealthConfig for a server that moves; docker-py's own type has no StartInterval (API 1.44).

    ``base_url`` has slashes at both ends; ``start_period``: seconds in which failures do not count. The first
    success counts at once: until then Swarm keeps the old task. Later Swarm kills unhealthy tasks, and a
    notebook may well block its server for a minute: two and a half minutes of silence are allowed.
    """
    return {
        "Test": ["CMD-SHELL", probe(port, f"{base_url}api")],
        "Interval": 30 * _SECOND,
        "Timeout": 10 * _SECOND,
        "Retries": 5,
        "StartPeriod": int(start_period * _SECOND),
        "StartInterval": int(START_INTERVAL * _SECOND),
    }


def no_health_check() -> dict[str, Any]:
    """Not the image's own either, which would keep the task from being called running."""
    return {"Test": ["NONE"]}


def probe(port: int, path: str) -> str:
    """A line for ``sh`` that succeeds if the server answers with a status below 500, as JupyterHub's wait.

    By curl, wget (GNU's or busybox's) or Python, the first there is; an image with none of them counts as
    healthy, since nothing is known against it. What the server said instead is printed.
    """
    url = shlex.quote(f"http://127.0.0.1:{port}{path}")
    python = f"-c {shlex.quote(_PYTHON)} {port} {shlex.quote(path)}"
    return (
        # A proxy knows another machine by this address.
        "unset http_proxy HTTP_PROXY all_proxy ALL_PROXY; has() { command -v $1 >/dev/null 2>&1; }; "
        f"if has curl; then a=$(curl -gsS -m 8 -o /dev/null -w 'HTTP/1.1 %{{http_code}}' {url} 2>&1); "
        f"elif has wget; then a=$(wget -S -O /dev/null -T 8 {url} 2>&1); "
        f"elif has python3; then a=$(python3 {python} 2>&1); "
        f"elif has python; then a=$(python {python} 2>&1); "
        "else exit 0; fi; "
        'case "$a" in *"HTTP/1."[01]" "[1-4]*) exit 0;; esac; echo "$a"; exit 1'
    )
