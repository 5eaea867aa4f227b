"""Sizes are written as people write them, and as swarmhub.yaml takes them."""

from __future__ import annotations

import pytest

from swarmhub.spawner.sizes import readable_size

MB, GB, TB = 2**20, 2**30, 2**40


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1536, "1.5 KB"),
        (MB, "1 MB"),
        (512 * MB, "512 MB"),
        (3 * GB // 2, "1.5 GB"),
        (10 * GB, "10 GB"),
        (3 * TB, "3 TB"),
    ],
)
def test_sizes_are_written_in_powers_of_1024(size: int, text: str) -> None:
    assert readable_size(size) == text
