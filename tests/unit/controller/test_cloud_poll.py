"""AWS polled: the last good view stays while AWS does not answer."""

from __future__ import annotations

from collections.abc import Collection

from swarmhub.controller.aws import CloudError
from swarmhub.controller.cloud_poll import CloudPoll
from swarmhub.controller.model import CloudView
from tests.unit.controller.world import ago, instance


class FakeCloud:
    def __init__(self) -> None:
        self.answers: list[CloudView | CloudError] = []
        self.asked_for: list[Collection[str]] = []

    async def view(self, claimed: Collection[str]) -> CloudView:
        self.asked_for.append(claimed)
        answer = self.answers.pop(0)
        if isinstance(answer, CloudError):
            raise answer
        return answer


async def test_a_failure_keeps_the_view_with_its_time_and_says_why() -> None:
    cloud, changes = FakeCloud(), []
    poll = CloudPoll(cloud, lambda: {"i-1"}, lambda: changes.append(1))
    first = CloudView(ago(10), (instance(),), ())
    same = CloudView(ago(5), (instance(),), ())
    other = CloudView(ago(1), (), ())
    cloud.answers = [CloudError("AWS: throttled"), first, same, CloudError("AWS: throttled"), other]
    await poll.poll()
    assert (poll.view, poll.problem) == (None, "AWS: throttled")
    await poll.poll()
    assert (poll.view, poll.problem, len(changes)) == (first, None, 1)
    await poll.poll()
    assert (poll.view, len(changes)) == (same, 1)
    await poll.poll()
    assert (poll.view, poll.problem) == (same, "AWS: throttled")
    await poll.poll()
    assert (poll.view, poll.problem, len(changes)) == (other, None, 2)
    assert cloud.asked_for[0] == {"i-1"}
