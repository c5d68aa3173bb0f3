"""docs/events.md has every kind of event with its fields, and no other."""

from __future__ import annotations

import re

from tests.docs.reading import named, page, parts
from trainer.run import events


def documented(text: str) -> dict[str, set[str]]:
    return {kind: set(named(part)) for kind, part in parts(text).items()}


def test_every_kind_is_documented_and_no_other() -> None:
    assert documented(page("docs/events.md")).keys() == events.KINDS


def test_a_wrong_kind_is_found() -> None:
    text = re.sub("^## heartbeat$", "## heartbeats", page("docs/events.md"), flags=re.MULTILINE)
    assert documented(text).keys() ^ events.KINDS == {"heartbeat", "heartbeats"}
