"""Events in tests: made as the reader makes them, and read back as what their lines say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Union

import msgspec

from trainer.run.events import EventReader
from trainer.run.records import KINDS, Event

ANY: Any = Union[tuple(KINDS.values())]  # noqa: UP007


def event_of(said: dict[str, Any], t: float = 100.0) -> Event:
    """said: kind and fields; of the first attempt unless it says another."""
    found: Event = msgspec.convert({"t": t, "attempt": 1} | said, ANY)
    return found


def log_lines(log: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """What a log says, line by line, None for what a line does not say. kind: of that kind only."""
    found: list[dict[str, Any]] = [msgspec.to_builtins(event) for event in EventReader(log).read()]
    plain = [
        {name: list(value) if isinstance(value, tuple) else value for name, value in line.items()} for line in found
    ]
    said = [{name: value for name, value in line.items() if value or not name.startswith("_")} for line in plain]
    return [line for line in said if kind in (None, line["kind"])]
