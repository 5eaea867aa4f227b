"""A student as tests drive one: a hub token, their server through the proxy, a kernel's websocket."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import requests
from websockets.sync.client import ClientConnection, connect

from tests.support.local_cloud import HUB, REPOSITORY
from tests.support.polling import eventually


@dataclass(frozen=True)
class Hub:
    """A hub and its operator's token."""

    url: str
    token: str

    def admin(self) -> requests.Session:
        """A session with every right."""
        session = requests.Session()
        session.headers["Authorization"] = f"token {self.token}"
        return session


def local_hub() -> Hub:
    """The local cloud's hub."""
    return Hub(HUB, (REPOSITORY / "var/api-token").read_text().strip())


@dataclass(eq=False)
class Student:
    """One hub user with a token; ``start`` and ``stop`` go through the hub's API as its pages do."""

    name: str
    hub: Hub
    server: str = ""
    session: requests.Session = field(default_factory=requests.Session)

    @classmethod
    def create(cls, name: str, *, server: str = "", hub: Hub | None = None) -> Student:
        student = cls(name, hub or local_hub(), server)
        operator = student.hub.admin()
        answer = operator.post(student.api, timeout=10)
        assert answer.status_code in (201, 409), answer.text
        answer = operator.post(f"{student.api}/tokens", json={"note": "tests"}, timeout=10)
        assert answer.ok, answer.text
        student.session.headers["Authorization"] = f"token {answer.json()['token']}"
        return student

    @property
    def api(self) -> str:
        """The user in the hub's API."""
        return f"{self.hub.url}/hub/api/users/{quote(self.name, safe='')}"

    @property
    def server_api(self) -> str:
        """The server in the hub's API."""
        return f"{self.api}/servers/{quote(self.server, safe='')}" if self.server else f"{self.api}/server"

    @property
    def url(self) -> str:
        """The server behind the proxy."""
        base = f"{self.hub.url}/user/{quote(self.name, safe='@~')}"
        return f"{base}/{quote(self.server, safe='@~')}" if self.server else base

    def request_start(self, **options: Any) -> None:
        answer = self.session.post(self.server_api, json=options, timeout=60)
        assert answer.status_code in (201, 202), f"{answer.status_code} {answer.text}"

    def wait_until_ready(self, seconds: float = 120) -> None:
        eventually(f"server of {self.name} is ready", self.is_ready, seconds=seconds, every=0.5)
        eventually(f"server of {self.name} answers", self.answers, seconds=30, every=0.2)

    def start(self, seconds: float = 120) -> None:
        self.request_start()
        self.wait_until_ready(seconds)

    def stop(self, seconds: float = 60) -> None:
        answer = self.session.delete(self.server_api, timeout=60)
        assert answer.status_code in (202, 204, 404), f"{answer.status_code} {answer.text}"
        eventually(
            f"server of {self.name} is stopped",
            lambda: self.server not in self.servers(),
            seconds=seconds,
            every=0.5,
        )

    def servers(self) -> dict[str, Any]:
        answer = self.session.get(self.api, timeout=30)
        assert answer.ok, answer.text
        found: dict[str, Any] = answer.json()["servers"]
        return found

    def is_up(self) -> bool:
        """Whether the hub answers."""
        try:
            return requests.get(f"{self.hub.url}/hub/health", timeout=2).ok
        except requests.RequestException:
            return False

    def is_ready(self) -> bool:
        server = self.servers().get(self.server)
        return bool(server and server["ready"])

    def answers(self, timeout: float = 2) -> bool:
        """Whether the server itself answers within ``timeout`` seconds."""
        try:
            answer = self.session.get(f"{self.url}/api/status", timeout=timeout, allow_redirects=False)
        except requests.RequestException:
            return False
        return answer.status_code == 200

    def write(self, path: str, text: str) -> None:
        answer = self.session.put(
            f"{self.url}/api/contents/{path}",
            json={"type": "file", "format": "text", "content": text},
            timeout=30,
        )
        assert answer.ok, answer.text

    def read(self, path: str) -> str:
        answer = self.session.get(f"{self.url}/api/contents/{path}", timeout=30)
        assert answer.ok, f"{answer.status_code} {answer.text}"
        content: str = answer.json()["content"]
        return content

    @contextmanager
    def kernel(self) -> Iterator[Kernel]:
        answer = self.session.post(f"{self.url}/api/kernels", json={"name": "python3"}, timeout=60)
        assert answer.ok, answer.text
        address = f"{self.url.replace('http', 'ws')}/api/kernels/{answer.json()['id']}/channels"
        headers = {"Authorization": str(self.session.headers["Authorization"])}
        with connect(address, additional_headers=headers, open_timeout=30, max_size=None) as socket:
            yield Kernel(socket)


@dataclass
class Kernel:
    """A kernel's websocket, as JupyterLab holds it."""

    socket: ClientConnection

    def execute(self, code: str) -> str:
        """Sends the code; the id by which its output is known."""
        message_id = uuid.uuid4().hex
        header = {
            "msg_id": message_id,
            "msg_type": "execute_request",
            "username": "",
            "session": "t",
            "version": "5.3",
        }
        content = {
            "code": code,
            "silent": False,
            "store_history": False,
            "user_expressions": {},
            "allow_stdin": False,
        }
        self.socket.send(
            json.dumps(
                {
                    "header": header,
                    "parent_header": {},
                    "metadata": {},
                    "content": content,
                    "channel": "shell",
                }
            )
        )
        return message_id

    def output(self, message_id: str, *, seconds: float) -> Iterator[tuple[float, str]]:
        """(monotonic time, text) of each piece printed, until the code ends; TimeoutError after silence."""
        while True:
            message = json.loads(self.socket.recv(timeout=seconds))
            if message.get("parent_header", {}).get("msg_id") != message_id:
                continue
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "stream":
                yield time.monotonic(), content["text"]
            elif kind == "error":
                raise AssertionError("\n".join(content["traceback"]))
            elif kind == "status" and content["execution_state"] == "idle":
                return

    def run(self, code: str, *, seconds: float = 60) -> str:
        return "".join(text for _, text in self.output(self.execute(code), seconds=seconds))


class Prober:
    """Asks a student's server every 0.2 s through the proxy, and knows for how long it did not answer."""

    INTERVAL = 0.2
    TIMEOUT = 1.0
    """Seconds; a request into the void must not hide that the server is back."""

    def __init__(self, student: Student) -> None:
        self.student = student
        self.samples: list[tuple[float, float, bool]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Prober:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.is_set():
            begin = time.monotonic()
            ok = self.student.answers(self.TIMEOUT)
            self.samples.append((begin, time.monotonic(), ok))
            self._stop.wait(max(0.0, self.INTERVAL - (time.monotonic() - begin)))

    def failed_seconds(self) -> float:
        """Sum over all outages: from the first failed request's start to the end of the next answered one."""
        total, since = 0.0, None
        for begin, end, ok in list(self.samples):
            if not ok and since is None:
                since = begin
            elif ok and since is not None:
                total, since = total + end - since, None
        return total if since is None else total + time.monotonic() - since

    def seconds_until_back(self, moment: float) -> float:
        """From ``moment`` (monotonic) to the first answer after the last failure; 0 if none failed."""
        samples = list(self.samples)
        last_failure = max((begin for begin, _, ok in samples if not ok), default=None)
        if last_failure is None:
            return 0.0
        answered = [end for begin, end, ok in samples if ok and begin > last_failure]
        return min(answered, default=float("inf")) - moment

    def answering_since(self, moment: float) -> bool:
        """Whether a request that began after ``moment`` (monotonic) was answered."""
        return any(ok and begin >= moment for begin, _, ok in list(self.samples))
