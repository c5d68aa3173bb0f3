"""What of the fast path applies to a run, for people."""

from __future__ import annotations

from typing import NamedTuple

from trainer.text import Message

PACKED = ("reentrant", "layerwise")
"""What keeps a prompt from having a pass of its own, but not from a row with its completions (packed.py)."""


class Why(NamedTuple):
    """Of the update: None where it applies, or the key below `fast.why` of what keeps it away.

    shared: each prompt once. ordered: rows of a prompt together. skipped: nothing for rows that change no weight.
    """

    shared: str | None
    ordered: str | None
    skipped: str | None

    @property
    def shares(self) -> bool:
        """Prompts are computed once, in a pass of their own or at least in one row with their completions."""
        return self.shared is None or self.shared in PACKED


OFF = Why("off", "off", "off")


def parts(why: Why, written_fast: bool) -> list[Message]:
    """One sentence each: what is done, and what is not with the reason. written_fast: completions too."""
    found = [Message("fast.writes")] if written_fast else []
    for name, reason in why._asdict().items():
        if reason is None:
            found.append(Message(f"fast.{name}"))
        elif name == "shared" and why.shares:
            found.append(Message("fast.packed", why=Message(f"fast.why.{reason}")))
        elif name != "ordered":  # an order is a means: that it is TRL's changes nothing that can be seen
            found.append(Message(f"fast.not_{name}", why=Message(f"fast.why.{reason}")))
    return found
