"""Several messages as one: `a, or b, or c` in the words of whichever language it is said in.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainer.text.words import Message

Part = Message | str


def chain(key: str, parts: Sequence[Part]) -> Part:
    """The parts joined by the text `key`, which has {first} and {rest}; "" of none, a single part as it is."""
    if not parts:
        return ""
    first, *others = parts
    return Message(key, first=first, rest=chain(key, others)) if others else first
