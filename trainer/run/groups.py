"""The one reader of rollout files: a line of rollouts/step_N.jsonl -> Group.

Nothing in these files is taken for granted: a line that is not whole is counted and left out, a value of the wrong
kind is None. Written by trainer.run.rollouts. A line ends at a newline and nowhere else: texts hold U+2028 too.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from trainer.machine.regular_files import is_text, open_file

DEAD = ("all_right", "all_wrong", "constant")
"""Outcomes of a group without spread: all of its completions correct, none of them, or neither."""
OUTCOMES = ("spread", *DEAD)
MOST_LINE_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class ChatMessage:
    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a completion, with process supervision. end: characters of the text up to its end."""

    end: int
    reward: float | None
    advantage: float | None


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the model in an episode. calls: (call, what was answered, None where it was not). reward: None
    where turns are not paid one by one. thought: what it wrote before it said something."""

    said: str
    calls: Sequence[tuple[str, str | None]]
    reward: float | None
    advantage: float | None
    thought: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """The beginning of a completion that others of its group share. number: which plan of its group, from 0. end:
    characters of the text up to its end. reward: the mean of those that carry it out. rest: the advantage of what is
    behind it."""

    number: int
    end: int
    reward: float | None
    advantage: float | None
    rest: float | None


@dataclass(frozen=True, slots=True)
class Completion:
    """number: its place in the group, from 0. components: before their weight. unpaid: what its value was where only_if
    let a component count 0."""

    number: int
    text: str
    tokens: int | None
    truncated: bool
    components: dict[str, float | None]
    reward: float | None
    advantage: float | None
    correct: bool | None
    failed: dict[str, str]
    steps: Sequence[Step]
    unpaid: dict[str, float | None] = field(default_factory=dict)
    turns: Sequence[Turn] = ()
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """place: its line in the file, from 0. key: tells its prompt from all others. number: in its step, from 0.

    thrown: it was written and is not trained on: another prompt replaced it (sampling.max_rounds).

    asked: the prompt, text or chat messages. seen: as the model had it, through its chat template and with its special
    tokens; "" in a run of an older version. columns: the rest of the dataset row.
    """

    place: int
    number: int | None
    asked: Any
    key: str
    prompt: Sequence[ChatMessage]
    seen: str
    columns: dict[str, Any]
    prompt_tokens: int | None
    mean: float | None
    std: float | None
    outcome: str
    completions: Sequence[Completion]
    thrown: bool = False

    @property
    def question(self) -> str:
        """The prompt as people read it: what the user said last."""
        users = [message for message in self.prompt if message.role == "user"] or self.prompt
        return users[-1].text if users else ""

    @property
    def dead(self) -> bool:
        return self.outcome != "spread"


@dataclass(frozen=True, slots=True)
class GroupFile:
    """damaged: lines that are no group, left out. cut: the file goes on beyond what was asked for.

    not_text: those of the damaged that hold bytes which are not UTF-8.
    """

    groups: Sequence[Group] = ()
    damaged: int = 0
    cut: bool = False
    not_text: int = 0


def read_groups(path: Path, most_bytes: int | None = None) -> GroupFile:
    """The groups of a step; lines beyond most_bytes are not read. Raises OSError, without the file FileNotFoundError.

    Half a character, a torn line and one of another program make one damaged line, for whoever reads.
    """
    groups: list[Group] = []
    damaged, not_text, read = 0, 0, 0
    with open_file(path) as file:
        for place, line in enumerate(lines_of(file)):
            read += len(line)
            if most_bytes is not None and read > most_bytes:
                return GroupFile(groups, damaged, True, not_text)
            group = group_of(line, place)
            if group is not None:
                groups.append(group)
            elif line.strip():
                damaged += 1
                not_text += not is_text(line)
    return GroupFile(groups, damaged, False, not_text)


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Its lines; of one that is longer than any group only the beginning, which is no group."""
    while line := file.readline(MOST_LINE_BYTES):
        if not line.endswith(b"\n"):
            while (rest := file.readline(2**20)) and not rest.endswith(b"\n"):
                pass
        yield line


def raw_group(line: bytes) -> dict[str, Any] | None:
    """A line as JSON, if it is a group; None of a damaged one."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):  # the last line of a run that was killed while writing it
        return None
    if not isinstance(found, dict) or found.get("outcome") not in OUTCOMES:
        return None
    completions = found.get("completions")
    whole = isinstance(completions, list) and completions and all(isinstance(one, dict) for one in completions)
    return found if whole else None


def group_of(line: bytes, place: int) -> Group | None:
    """The group of a line; None of a damaged one."""
    found = raw_group(line)
    if found is None:
        return None
    columns = found.get("columns")
    return Group(
        place=place,
        number=_whole(found.get("group")),
        asked=found.get("prompt"),
        key=key_of(found.get("prompt")),
        prompt=_messages(found.get("prompt")),
        seen=seen if isinstance(seen := found.get("seen"), str) else "",
        columns=columns if isinstance(columns, dict) else {},
        prompt_tokens=_whole(found.get("prompt_tokens")),
        mean=number(found.get("reward_mean")),
        std=number(found.get("group_std")),
        outcome=found["outcome"],
        completions=[_completion(one, n) for n, one in enumerate(found["completions"])],
        thrown=found.get("thrown") is True,
    )


def key_of(prompt: Any) -> str:
    """16 letters that are the same for the same prompt, its system message and examples included."""
    text = json.dumps(prompt, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return found if math.isfinite(found) else None


def best_of(rewards: Sequence[float | None]) -> int:
    """The place of the highest reward, the first of equals; 0 when none is known."""
    return max(range(len(rewards)), key=lambda n: (-math.inf if (r := rewards[n]) is None else r, -n), default=0)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**12 else None


def _messages(prompt: Any) -> list[ChatMessage]:
    if not isinstance(prompt, list):
        return [ChatMessage("", prompt if isinstance(prompt, str) else json.dumps(prompt))]
    said = [message for message in prompt if isinstance(message, dict)]
    return [ChatMessage(str(message.get("role") or ""), _content(message.get("content"))) for message in said]


def _content(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return "" if content is None else str(content)


def _completion(found: dict[str, Any], place: int) -> Completion:
    components, failed, correct = found.get("components"), found.get("failed"), found.get("correct")
    unpaid, turns = found.get("unpaid"), found.get("turns")
    text = str(found.get("text") or "")
    return Completion(
        number=place,
        text=text,
        tokens=_whole(found.get("tokens")),
        truncated=found.get("truncated") is True,
        components={k: number(v) for k, v in components.items()} if isinstance(components, dict) else {},
        reward=number(found.get("reward")),
        advantage=number(found.get("advantage")),
        correct=correct if isinstance(correct, bool) else None,
        failed={k: str(v) for k, v in failed.items()} if isinstance(failed, dict) else {},
        steps=_steps(found.get("steps"), len(text)),
        unpaid={k: number(v) for k, v in unpaid.items()} if isinstance(unpaid, dict) else {},
        turns=[_turn(one) for one in turns if isinstance(one, dict)] if isinstance(turns, list) else [],
        plan=_plan(found.get("plan"), len(text)),
    )


def _plan(found: Any, length: int) -> Plan | None:
    if not isinstance(found, dict):
        return None
    which, end = _whole(found.get("number")), _whole(found.get("text_end"))
    if which is None or end is None or end > length:
        return None
    return Plan(which, end, *(number(found.get(name)) for name in ("reward", "advantage", "rest_advantage")))


def _turn(found: dict[str, Any]) -> Turn:
    said, calls, thought = found.get("said"), found.get("calls"), found.get("thought")
    whole = [one for one in calls if isinstance(one, list) and len(one) == 2] if isinstance(calls, list) else []
    return Turn(
        said=said if isinstance(said, str) else "",
        calls=[(str(call), answer if isinstance(answer, str) else None) for call, answer in whole],
        reward=number(found.get("reward")),
        advantage=number(found.get("advantage")),
        thought=thought if isinstance(thought, str) else "",
    )


def _steps(found: Any, length: int) -> list[Step]:
    """Steps in order that end inside the text; what follows the last of them is no step."""
    steps, before = [], 0
    for one in found if isinstance(found, list) else ():
        end = _whole(one.get("text_end")) if isinstance(one, dict) else None
        if end is not None and before < end <= length:
            steps.append(Step(end, number(one.get("reward")), number(one.get("advantage"))))
            before = end
    return steps
