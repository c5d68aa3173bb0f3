"""Asks environments in a process of their own, with a deadline a call.

An environment that hangs or ends its process takes all others with it that live there. So the process is replaced, and
each of the others is begun again and told what it had been asked before: with the same seeds it answers the same. Only
the row that was to blame is lost.
"""

from __future__ import annotations

import contextlib
import queue
import time
from dataclasses import dataclass
from typing import Any

from trainer.episodes.contract import RESET, REWARD, Described
from trainer.episodes.own import Recipe
from trainer.errors import Problem, RewardError
from trainer.rewards.pipes import PRINTED, Child, variables
from trainer.text import Message, readable

START_S = 60.0  # a person's own file may import what takes long
LEAST_S = 0.5
GIB = 2**30


class Lost(Exception):
    """An episode that cannot go on: what of it was called, and the end of the sentence that begins so."""

    def __init__(self, method: str, why: Message) -> None:
        self.method, self.why = method, why
        super().__init__(str(why))


class Raised(Exception):
    """An environment raised; `str()` is what it said."""

    def __init__(self, said: str, why: Message) -> None:
        self.why = why
        super().__init__(said)


@dataclass(frozen=True)
class Asked:
    """seed: of everything that is drawn while it answers."""

    seed: str
    method: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """rating: what get_reward said after it, where that was asked."""

    text: str | None
    rating: float | None


class Host:
    """Raises RewardError where the environment cannot be made."""

    def __init__(self, recipe: Recipe, deadline_s: float, memory_gib: float | None) -> None:
        self.recipe, self.deadline_s = recipe, deadline_s
        self.most = round(memory_gib * GIB) if memory_gib is not None else None
        self.late = 0
        """Calls since `relax` that were not answered in time: each leaves the others less, so that an environment that
        hangs for every row does not hold the run for rows x deadline."""
        self._inbox: queue.Queue[Any] = queue.Queue()
        self._child: Child | None = None
        self._births = self._tasks = 0
        self._history: dict[int, list[Asked]] = {}
        self._born: dict[int, int] = {}
        self.described = self._start()

    def relax(self) -> None:
        self.late = 0

    def ask(self, slot: int, asked: Asked, rated: bool = False) -> Reply:
        """Raises Lost, and Raised where the environment raised."""
        if self._child is None:
            self._start()
        end = time.monotonic() + max(LEAST_S, self.deadline_s / (1 + self.late))
        if asked.method == RESET:
            self._history[slot] = []
        elif self._born.get(slot) != self._births:
            self._play_again(slot, end)
        self._born[slot] = self._births
        if asked.method != REWARD:
            self._history[slot].append(asked)  # also where it raises: it may have changed before it did
        return self._exchange(slot, asked, rated, end)

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _start(self) -> Described:
        # Sets of texts are walked through in an order that follows from it.
        environment = variables() | {"PYTHONHASHSEED": "0"}
        self._child = Child("trainer.episodes.child", ("make", self.recipe, self.most), self._inbox, environment)
        self._births += 1
        message = self._next(time.monotonic() + START_S)
        if message is None:
            ending = self._child.ending()
            self.close()
            raise RewardError(Problem("episodes.ended_at_start", self.recipe.place, ending=ending))
        if message == "late":
            self.close()
            raise RewardError(Problem("episodes.slow_start", self.recipe.place, seconds=START_S))
        _, problems, description = message
        if description is None:
            self.close()
            raise RewardError(Problem.read(problem) for problem in problems)
        return Described.read(description)

    def _play_again(self, slot: int, end: float) -> None:
        for asked in self._history.get(slot, []):
            with contextlib.suppress(Raised):
                self._exchange(slot, asked, False, end)

    def _exchange(self, slot: int, asked: Asked, rated: bool, end: float) -> Reply:
        assert self._child is not None
        self._tasks += 1
        self._child.may_print = PRINTED
        self._child.send("ask", self._tasks, slot, asked.seed, asked.method, asked.arguments, rated)
        message = self._next(end)
        if message == "late":
            self.late += 1
            self.close()
            raise Lost(asked.method, Message("episodes.lost.hung", seconds=f"{self.deadline_s:g}"))
        if message is None:
            ending = self._child.ending()
            self.close()
            raise Lost(asked.method, Message("episodes.lost.ended", ending=ending))
        _, _, kind, said, rating = message
        if kind == "spent":
            self.close()
            raise Lost(asked.method, Message("episodes.lost.memory", gib=f"{(self.most or 0) / GIB:g}"))
        if kind == "raised":
            raise Raised(said[0], _message(said[1]))
        if kind == "bad":
            raise Lost(asked.method, _message(said))
        if isinstance(rating, dict):
            raise Lost(REWARD, _message(rating["failed"]))
        return Reply(said, rating)

    def _next(self, end: float) -> Any:
        """The newest message of the child; None where it has ended, "late" where there is none in time."""
        while True:
            try:
                child, message = self._inbox.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return "late"
            if child is self._child:  # else the last words of one that was replaced
                return message


def _message(raw: list[Any]) -> Message:
    return Message(raw[0], **readable(raw[1]))
