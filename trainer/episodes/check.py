"""A scripted conversation with an environment before it is trusted: the check before training.

Rows begin an episode each; every tool is called with plausible arguments, with wrong ones and with arguments it does
not have, and the whole is done twice: what answers differently the second time is no part of a run that can be resumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.episodes.contract import RESET, REWARD, Tool, example
from trainer.episodes.host import Asked, Host, Lost, Raised
from trainer.episodes.table import SEED
from trainer.errors import Problem
from trainer.text import Message

ROWS = 2
WRONG = "\u2603 no such thing"
"""In place of every argument."""


@dataclass
class Trial:
    """problems: why the environment cannot be used. notes: what is to be said of it. said: what it answered."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[Message] = field(default_factory=list)
    said: list[Any] = field(default_factory=list)


def trial(host: Host, rows: Sequence[Mapping[str, Any]]) -> Trial:
    """host: is asked in slots of its own and can be used for the run afterwards."""
    found, again = Trial(), Trial()
    for number, row in enumerate(rows[:ROWS]):
        for play, slot in ((found, 0), (again, 1)):
            host.relax()
            _play(host, slot, number, row, play)
            if play.problems:
                return play
    if found.said != again.said:
        found.notes.append(Message("episodes.note.random", name=host.described.name))
    return found


def _play(host: Host, slot: int, number: int, row: Mapping[str, Any], into: Trial) -> None:
    seed = f"check/{number}"
    place, asked = host.recipe.place, 0

    def ask(method: str, arguments: dict[str, Any]) -> Message | None:
        """Why it did not answer."""
        nonlocal asked
        asked += 1
        try:
            reply = host.ask(slot, Asked(f"{seed}/{asked}", method, arguments), method == REWARD)
        except Raised as error:
            into.said.append([method, str(error)])
            if method in (RESET, REWARD):
                into.problems.append(Problem("episodes.fails", place, row=number, method=method, why=error.why))
            return error.why
        except Lost as error:
            into.problems.append(Problem("episodes.fails", place, row=number, method=error.method, why=error.why))
            return error.why
        into.said.append([method, reply.text, reply.rating])
        return None

    if ask(RESET, {SEED: number + 1, **row}) is not None:
        return
    for tool in host.described.tools:
        why = ask(tool.name, _plausible(tool))
        if why is not None and not into.problems:
            into.notes.append(Message("episodes.note.tool_raises", tool=tool.name, why=why))
        for arguments in (dict.fromkeys((one.name for one in tool.parameters), WRONG), {"no_such_argument": 1}):
            if not into.problems:
                ask(tool.name, arguments)
    if host.described.has_reward and not into.problems:
        ask(REWARD, {})


def _plausible(tool: Tool) -> dict[str, Any]:
    return {one.name: example(one.kind) for one in tool.parameters if not one.default}
