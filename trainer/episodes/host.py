"""Asks environments in a process of their own, with a deadline a call.

An environment that hangs or ends its process takes all others with it that live there. So the process is replaced, and
each of the others is begun again and told what it had been asked before: with the same seeds it answers the same. Only
the row that was to blame is lost.
"""

from __future__ import annotations

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
    """An environment raised; `str()` is what it said, rating as in a Reply."""

    def __init__(self, said: str, why: Message, rating: float | None = None) -> None:
        self.why, self.rating = why, rating
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

    def __init__(self, recipe: Recipe, deadline_s: float, memory_gib: float) -> None:
        self.recipe, self.deadline_s = recipe, deadline_s
        self.most = round(memory_gib * GIB) if memory_gib else None
        self.late = 0
        """Calls since `relax` that were not answered in time: each leaves the others less, so that an environment that
        hangs for every row does not hold the run for rows x deadline."""
        self.late_again = 0
        """The same of calls that are told again, which are late only where an environment, of a server perhaps, does
        not answer what it has answered before."""
        self._inbox: queue.Queue[Any] = queue.Queue()
        self._child: Child | None = None
        self._births = self._tasks = 0
        self._history: dict[int, list[Asked]] = {}
        self._born: dict[int, int] = {}
        self.described = self._start()

    def relax(self) -> None:
        self.late = self.late_again = 0

    def forget(self) -> None:
        """Every episode: what they hold of the memory that all share is free for those that begin now."""
        self._history.clear()
        self._born.clear()
        if self._child is not None:
            self._child.send("forget")

    def ask(self, slot: int, asked: Asked, rated: bool = False) -> Reply:
        """Raises Lost, and Raised where the environment raised."""
        if self._child is None:
            self._start()
        if asked.method == RESET:
            self._history[slot] = []
        elif self._born.get(slot) != self._births:
            self._play_again(slot)
        self._born[slot] = self._births
        if asked.method != REWARD:
            self._history[slot].append(asked)  # also where it raises: it may have changed before it did
        return self._exchange(slot, asked, rated)

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

    def _play_again(self, slot: int) -> None:
        for asked in self._history.get(slot, []):
            try:
                self._exchange(slot, asked, rated=False, again=True)
            except Raised as error:
                if asked.method == RESET:  # it did not when the episode began, so this is another one
                    raise Lost(RESET, error.why) from error

    def _exchange(self, slot: int, asked: Asked, rated: bool, again: bool = False) -> Reply:
        """again: was answered before, so it has all of its time, whatever else hung since."""
        assert self._child is not None
        seconds = max(LEAST_S, self.deadline_s / (1 + (self.late_again if again else self.late)))
        self._tasks += 1
        self._child.may_print = PRINTED
        self._child.send("ask", self._tasks, slot, asked.seed, asked.method, asked.arguments, rated)
        message = self._next(time.monotonic() + seconds)
        if message == "late":
            self.late += not again
            self.late_again += again
            self.close()
            raise Lost(asked.method, Message("episodes.lost.hung", seconds=f"{round(seconds, 2):g}"))
        if message is None:
            ending = self._child.ending()
            self.close()
            raise Lost(asked.method, Message("episodes.lost.ended", ending=ending))
        _, _, kind, said, rating = message
        if kind == "spent":
            self.close()
            raise Lost(asked.method, Message("episodes.lost.memory", gib=f"{(self.most or 0) / GIB:g}"))
        if kind == "bad":
            raise Lost(asked.method, _message(said))
        if isinstance(rating, dict):
            raise Lost(REWARD, _message(rating["failed"]))
        if kind == "raised":
            raise Raised(said[0], _message(said[1]), rating)
        return Reply(said, rating)

    def _next(self, end: float) -> Any:
        """The newest message of the child; None where it has ended, "late" where there is none in time."""
        while True:
            try:
                child, message = self._inbox.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return "late"
            if child is not self._child:  # the last words of one that was replaced
                continue
            if message is not None and message[0] == "answer" and message[1] != self._tasks:
                continue  # nobody waits for it any more
            return message


def _message(raw: list[Any]) -> Message:
    return Message(raw[0], **readable(raw[1]))
