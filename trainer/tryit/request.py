"""One question to a checkpoint, with the bounds of all that is in it. A browser sends it: who takes one checks it."""

from __future__ import annotations

import math
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trainer.errors import Problem, RunError
from trainer.spec import RunSpec

SIDES = ("base", "tuned")
MOST_TEXT = 20_000  # characters of one message
MOST_ALL = 60_000  # of all messages of a question together
MOST_TURNS = 40
MOST_TOKENS = 32_768
MOST_TEMPERATURE = 10.0
ID = re.compile(r"\d{20}-[0-9a-f]{8}")
THREAD = re.compile(r"[0-9a-f]{1,16}")

Turn = dict[str, str]


@dataclass(frozen=True)
class Request:
    """turns: what was said, the last by the user; [] when a held-out row is asked.

    row: number of the held-out row, counted from 0 and from the start again after the last. thread: the conversation it
    belongs to; None for a prompt that stands alone. checkpoint: its step; None takes the one that is loaded, else the
    best, without evaluations the newest. system: None takes the run's own, "" none. id: sorts by the time of asking.
    """

    id: str
    turns: Sequence[Turn]
    sides: Sequence[str] = SIDES
    system: str | None = None
    temperature: float = 0.7
    max_new_tokens: int = 512
    row: int | None = None
    thread: str | None = None
    checkpoint: int | None = None
    seed: int = 0

    def stored(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def t(self) -> float:
        """When it was asked, unix seconds."""
        return int(self.id[:20]) / 1e9


def new_id() -> str:
    return f"{time.time_ns():020d}-{secrets.token_hex(4)}"


def refuse_judge(spec: RunSpec, run: str) -> None:
    """Raises RunError where nothing can be asked: a reward model writes no answers."""
    if spec.is_reward_model:
        raise RunError(Problem("tryit.writes_nothing", run=run))


def checked(raw: Mapping[str, Any]) -> Request:
    """A request of plain values. Raises RunError with every value that cannot be."""
    found: list[Problem] = []
    known = set(Request.__dataclass_fields__)
    values = {name: value for name, value in raw.items() if name in known}
    given: dict[str, Any] = {
        "id": values.get("id", ""),
        "turns": _turns(values.get("turns") or [], found),
        "sides": _sides(values.get("sides", SIDES), found),
        "system": _text("system", values.get("system"), found),
        "temperature": _number("temperature", values.get("temperature", 0.7), MOST_TEMPERATURE, found),
        "max_new_tokens": _whole("max_new_tokens", values.get("max_new_tokens", 512), 1, MOST_TOKENS, found),
        "row": _maybe("row", values.get("row"), found),
        "thread": values.get("thread"),
        "checkpoint": _maybe("checkpoint", values.get("checkpoint"), found),
        "seed": _whole("seed", values.get("seed", 0), 0, 2**31, found),
    }
    for name, pattern in (("id", ID), ("thread", THREAD)):
        value = given[name]
        if not (value is None and name == "thread") and not (isinstance(value, str) and pattern.fullmatch(value)):
            found.append(Problem("tryit.no_name", name, seen=str(value)[:40]))
    if not found and not given["turns"] and given["row"] is None:
        found.append(Problem("tryit.empty", "prompt"))
    if found:
        raise RunError(found)
    return Request(**given)


def _turns(value: Any, found: list[Problem]) -> list[Turn]:
    """Messages of user and assistant in turn, the first and the last of the user."""
    if not isinstance(value, list | tuple) or not all(isinstance(turn, dict) for turn in value):
        found.append(Problem("tryit.no_messages", "prompt"))
        return []
    turns = []
    for number, turn in enumerate(value):
        role, content = turn.get("role"), _text("prompt", turn.get("content"), found)
        if role != ("user", "assistant")[number % 2] or content is None:
            found.append(Problem("tryit.turns", "prompt"))
            return []
        turns.append({"role": role, "content": content})
    if turns and (len(turns) % 2 == 0 or not turns[-1]["content"].strip()):
        found.append(Problem("tryit.empty", "prompt"))
    if len(turns) > MOST_TURNS + 1:
        found.append(Problem("tryit.many_turns", "prompt", most=MOST_TURNS))
    if sum(len(turn["content"]) for turn in turns) > MOST_ALL:
        found.append(Problem("tryit.many_characters", "prompt", most=MOST_ALL))
    return turns


def _text(name: str, value: Any, found: list[Problem]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        found.append(Problem("tryit.no_text", name))
        return ""
    if len(value) > MOST_TEXT:
        found.append(Problem("tryit.long", name, count=len(value), most=MOST_TEXT))
        return ""
    return value.encode("utf-8", "replace").decode()  # half a surrogate pair is no text that a tokenizer takes


def _sides(value: Any, found: list[Problem]) -> list[str]:
    wanted = [side for side in SIDES if isinstance(value, list | tuple) and side in value]
    if not wanted or len(wanted) != len(value):
        found.append(Problem("tryit.sides", "sides", seen=str(value)[:40]))
    return wanted


def _number(name: str, value: Any, most: float, found: list[Problem]) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        found.append(Problem("tryit.no_number", name, seen=str(value)[:40]))
        return 0.0
    if not 0 <= value <= most:
        found.append(Problem("tryit.temperature", name, seen=value, most=most))
    return float(value)


def _whole(name: str, value: Any, least: int, most: int, found: list[Problem]) -> int:
    if isinstance(value, float) and value.is_integer():  # a number field of a browser
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        found.append(Problem("tryit.no_whole", name, seen=str(value)[:40], least=least, most=most))
        return least
    return value


def _maybe(name: str, value: Any, found: list[Problem]) -> int | None:
    return None if value is None else _whole(name, value, 0, 10**9, found)
