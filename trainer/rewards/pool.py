"""A warm pool of processes that run reward functions, with a deadline for every batch.

A reward that hangs, crashes or exits costs its rows their reward and nothing else: its process is killed and replaced,
and the rows of its batch are tried one by one, so that the bad row is known and all others are judged. A batch takes
at most `deadline_s`, whatever happens; rows without an answer by then are Failures.

How the deadline is spent: a whole batch may take half of what is left of it, a single row a quarter, and a second or
50 times the slowest row so far once there is one. So there is time to find several bad rows.

Requests travel as pickle, answers as JSON (child.py): code of a person may have made an answer, and unpickling runs
code. Imports the library of rewards, which is light; what its functions need at a call is imported in the processes.
"""

from __future__ import annotations

import itertools
import os
import pickle
import queue
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.errors import Problem, RewardError
from trainer.rewards.building import Named, Recipe, make
from trainer.rewards.calls import Answer, Call, unsendable
from trainer.rewards.contract import NOT_REACHED, Failure, Value, Values, together
from trainer.rewards.pipes import PRINTED, Child, variables
from trainer.text import Message, readable

MOST = 4  # processes, unless reward.workers says another number
START_S = 60.0  # a person's own file may import what takes long
LEAST_ROW_S = 0.05  # with less a row would fail by the scheduler's doing
USUAL_ROW_S = 1.0  # below it no row is called slow, whatever its neighbours took
_PENDING = object()


@dataclass
class _Task:
    """Some rows of a call, whole or one by one. limit: when its process is killed (monotonic seconds)."""

    number: int
    call: Call
    rows: list[int]
    one_by_one: bool = False
    home: int | None = None
    """The process that does it as long as it lives: a function that keeps a state has it there."""
    again: bool = False
    """Its rows have values found alone; only as one batch do they get those that count."""
    limit: float = 0.0


class _Child(Child):
    """One process, and what it works on."""

    def __init__(self, recipes: Sequence[Recipe], inbox: queue.Queue[Any], variables: dict[str, str]) -> None:
        self.task: _Task | None = None
        self.answered = False
        super().__init__("trainer.rewards.child", ("make", list(recipes)), inbox, variables)

    def ask(self, kind: str, task: int, call: Call) -> None:
        """Raises RewardError for a column that cannot be sent."""
        try:
            self.send(kind, task, call)
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise unsendable(call, error) from error


class Pool:
    """Processes that know the functions of `components`. Raises RewardError when a function cannot be made."""

    def __init__(self, components: Sequence[Named], deadline_s: float, size: int | None = None) -> None:
        self.recipes = [Recipe.of(component) for component in components]
        self.deadline_s = deadline_s
        self.rowwise = {recipe.title: recipe.file is None and make(recipe).rowwise for recipe in self.recipes}
        self._environment = _environment(self.recipes)
        self.inbox: queue.Queue[Any] = queue.Queue()
        self.tasks = 0
        """Handed out so far: a late answer is told from the one that is waited for."""
        self.children = [self._child() for _ in range(size or min(MOST, os.cpu_count() or 1))]
        try:
            self._await_ready()
        except BaseException:
            self.close()
            raise

    def _child(self) -> _Child:
        return _Child(self.recipes, self.inbox, self._environment)

    def _await_ready(self) -> None:
        end = time.monotonic() + START_S
        while not all(child.ready for child in self.children):
            try:
                child, message = self.inbox.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise RewardError(Problem("rewards.slow_start", seconds=START_S)) from None
            if message is None:
                raise RewardError(Problem("rewards.ended_at_start", ending=child.ending()))
            _refuse_unmade(message)
            child.ready = True

    def run(self, calls: Sequence[Call]) -> dict[str, Answer]:
        """Answers by the call's name. Raises RewardError when what a function returns has the wrong shape."""
        batch = _Batch(self, calls)
        try:
            batch.run()
        finally:
            for child in self.children:
                if child.task is not None:  # still at work on what nobody waits for
                    self.replace(child)
        return batch.answers

    def replace(self, child: _Child) -> None:
        child.kill()
        self.children[self.children.index(child)] = self._child()

    def close(self) -> None:
        for child in self.children:
            child.kill()


class _Batch:
    """The answers of one `run`, as they come in."""

    def __init__(self, pool: Pool, calls: Sequence[Call]) -> None:
        self.pool = pool
        self.end = time.monotonic() + pool.deadline_s
        self.values: dict[str, Values] = {call.name: [_PENDING] * call.rows for call in calls}
        self.seconds = {call.name: 0.0 for call in calls}
        self.said: dict[str, list[Any]] = {call.name: [] for call in calls}
        self.waiting: deque[_Task] = deque()
        self.slowest: dict[str, float] = {}  # seconds of the slowest single row of a component
        self.excused: set[tuple[str, int]] = set()  # (component, row) that have had their second try
        self.why: dict[str, Message] = {}  # why a component failed first: as a whole batch
        for call in calls:
            rowwise = pool.rowwise[call.name]
            for rows in _parts(call.rows, len(pool.children) if rowwise else 1):
                self._queue(call, rows, home=None if rowwise else self._home(call))

    @property
    def answers(self) -> dict[str, Answer]:
        late = Failure(Message(NOT_REACHED, seconds=f"{self.pool.deadline_s:g}"), tried=False)
        return {
            name: Answer([late if v is _PENDING else v for v in values], self.seconds[name], self.said[name])
            for name, values in self.values.items()
        }

    def _queue(self, call: Call, rows: list[int], **how: Any) -> None:
        self.pool.tasks += 1
        self.waiting.append(_Task(self.pool.tasks, call, rows, **how))

    def _home(self, call: Call) -> int:
        return list(self.values).index(call.name) % len(self.pool.children)

    def run(self) -> None:
        while time.monotonic() < self.end:
            self._hand_out()
            working = [child.task for child in self.pool.children if child.task is not None]
            if not working and not self.waiting:
                return
            soonest = min([self.end, *(task.limit for task in working), *self._start_limits()])
            try:
                child, message = self.pool.inbox.get(timeout=max(0.0, soonest - time.monotonic()))
            except queue.Empty:
                self._overdue()
                continue
            if child in self.pool.children:  # else the last words of one that was replaced
                self._take(child, message)

    def _start_limits(self) -> list[float]:
        return [child.started + START_S for child in self.pool.children if not child.ready]

    def _hand_out(self) -> None:
        for number, child in enumerate(self.pool.children):
            task = next((task for task in self.waiting if self._may(number, task)), None)
            if child.ready and child.task is None and task is not None:
                self.waiting.remove(task)
                left = self.end - time.monotonic()
                task.limit = time.monotonic() + (self._row_s(task.call.name) if task.one_by_one else left / 2)
                child.task = task
                child.may_print = PRINTED
                child.ask("rows" if task.one_by_one else "call", task.number, task.call.of(task.rows))

    def _may(self, number: int, task: _Task) -> bool:
        """A process that is starting again has lost the state its functions kept: any other will do."""
        return task.home in (None, number) or not self.pool.children[task.home].ready

    def _row_s(self, name: str) -> float:
        """Seconds a row may take: a quarter of what is left, less once it is known how long its neighbours take."""
        quarter = max(LEAST_ROW_S, (self.end - time.monotonic()) / 4)
        slowest = self.slowest.get(name)
        return quarter if slowest is None else min(quarter, max(USUAL_ROW_S, 50 * slowest))

    def _overdue(self) -> None:
        now = time.monotonic()
        for child in list(self.pool.children):
            task = child.task
            if not child.ready and now >= child.started + START_S:
                raise RewardError(Problem("rewards.slow_start", seconds=START_S))
            if task is not None and now >= task.limit:
                self.pool.replace(child)
                # What a function imports at its first call takes time from the first row: not that row's fault.
                self._failed(task, Message("rewards.failed.hung"), excuse=not child.answered)

    def _take(self, child: _Child, message: list[Any] | None) -> None:
        if message is None:
            task, ending = child.task, child.ending()
            self.pool.replace(child)
            if task is not None:
                self._failed(task, Message("rewards.failed.ended", ending=ending), excuse=True)
            return
        kind, *rest = message
        if kind == "made":
            _refuse_unmade(message)
            child.ready = True
        elif child.task is not None and rest[0] == child.task.number:
            child.answered = True
            self._answered(child, child.task, kind, rest[1:])

    def _answered(self, child: _Child, task: _Task, kind: str, rest: list[Any]) -> None:
        name = task.call.name
        if kind == "row":
            row, value, seconds = rest
            self._put(task, row, value)
            self.seconds[name] += seconds
            self.slowest[name] = max(seconds, self.slowest.get(name, 0.0))
            task.limit = time.monotonic() + self._row_s(name)
            if row == len(task.rows) - 1:
                child.task = None
                self._once_more(task.call)
            return
        child.task = None
        if kind == "broken":
            raise RewardError(Problem.read(problem) for problem in rest[0])
        if kind == "raised":
            self._failed(task, _message(rest[0]))
            return
        values, seconds, said = rest
        for row, value in enumerate(values):
            self._put(task, row, value)
        self.seconds[name] += seconds
        self.said[name] += [tuple(word) for word in said]

    def _put(self, task: _Task, row: int, value: Any) -> None:
        self.values[task.call.name][task.rows[row]] = _value(value)

    def _failed(self, task: _Task, why: Message, excuse: bool = False) -> None:
        """Put down the row that is to blame, and queue the others.

        excuse: it may have been something else; such a row is tried once more, in another process.
        """
        name = task.call.name
        if task.again:
            return self._nobody_to_blame(name, task.rows, why)
        self.why.setdefault(name, why)
        left = [row for row in task.rows if self.values[name][row] is _PENDING]
        if task.one_by_one or len(left) == 1:  # rows are tried in order
            if excuse and (name, left[0]) not in self.excused:
                self.excused.add((name, left[0]))
            else:
                self.values[name][left[0]] = Failure(why)
                left = left[1:]
        for rows in _parts(len(left), len(self.pool.children)):
            self._queue(task.call, [left[row] for row in rows], one_by_one=True)
        if not left:
            self._once_more(task.call)

    def _once_more(self, call: Call) -> None:
        """A function may judge a row by the others of its batch: once the bad rows are known, the good ones are asked
        together again."""
        name = call.name
        busy = [*self.waiting, *(child.task for child in self.pool.children if child.task is not None)]
        if self.pool.rowwise[name] or call.rows == 1 or any(task.call is call for task in busy):
            return
        good = [row for row, value in enumerate(self.values[name]) if not isinstance(value, Failure)]
        if len(good) == call.rows:  # it stays so if there is no time to ask again
            self._nobody_to_blame(name, good, self.why[name])
        if good:
            self._queue(call, good, home=self._home(call), again=True)

    def _nobody_to_blame(self, name: str, rows: Sequence[int], why: Message) -> None:
        """Together they failed, alone they did not. If the function compares rows, a value found alone is wrong."""
        for row in rows:
            self.values[name][row] = together(why)


def _parts(rows: int, parts: int) -> list[list[int]]:
    """0 .. rows-1 in that many runs of about the same length."""
    edges = [rows * part // parts for part in range(parts + 1)]
    return [list(range(first, last)) for first, last in itertools.pairwise(edges) if last > first]


def _value(raw: Any) -> Any:
    if isinstance(raw, list):
        return [_value(part) for part in raw]
    value: Value = Failure(_message(raw["failed"])) if isinstance(raw, dict) else raw
    return value


def _message(raw: list[Any]) -> Message:
    return Message(raw[0], **readable(raw[1]))


def _refuse_unmade(message: list[Any]) -> None:
    problems = [problem for found in message[1] if found is not None for problem in found]
    if problems:
        raise RewardError(Problem.read(problem) for problem in problems)


def _environment(recipes: Sequence[Recipe]) -> dict[str, str]:
    """Without secrets, but for those that a component names as its own (`api_key_env`)."""
    return variables({str(recipe.params["api_key_env"]) for recipe in recipes if "api_key_env" in recipe.params})
