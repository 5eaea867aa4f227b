"""What users and servers may be called, for tests of names."""

from __future__ import annotations

import random

_ALPHABETS = ((0x20, 0x7E), (0xA0, 0x24F), (0x370, 0x7FF), (0x4E00, 0x9FFF), (0x1F300, 0x1FAFF))
"""Code points: ASCII, accented Latin, Greek to Arabic, Chinese, pictures."""


def any_text(source: random.Random, longest: int) -> str:
    """1 to ``longest`` characters of any kind that a database stores."""
    length = source.randint(1, longest)
    return "".join(chr(source.randint(*source.choice(_ALPHABETS))) for _ in range(length))
