"""Docker's event stream, which only ever makes the next list come early."""

from typing import Any

import pytest
import requests

from swarmhub.spawner.events import EventThread


def test_the_event_thread_comes_back_after_a_broken_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarmhub.spawner.events._FIRST_PAUSE", 0.001)
    streams = iter([requests.ConnectionError("refused"), [{"Type": "node"}, {"Type": "node"}]])
    heard: list[int] = []

    class Stream:
        def events(self, *, filters: dict[str, Any], decode: bool) -> Any:
            stream = next(streams)
            if isinstance(stream, Exception):
                raise stream
            return stream

    def on_event() -> None:
        heard.append(1)
        if len(heard) == 2:
            thread.close()

    thread = EventThread(Stream, on_event)
    thread.start()
    thread._thread.join(5)
    assert len(heard) == 2
    assert not thread._thread.is_alive()
