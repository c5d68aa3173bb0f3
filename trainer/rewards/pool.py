"""A warm pool of processes that run reward functions, with a deadline for every batch.

A reward that hangs, crashes or exits costs its rows their reward and nothing else: its process is killed and replaced,
and the rows of its batch are tried one by one, so that the bad row is known and all others are judged. A batch takes
at most `deadline_s`, whatever happens; rows without an answer by then are Failures.

How the deadline is spent: a whole batch may take half of what is left of it, a single row a quarter, so there is time
to find several bad rows.

Standard library only.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pickle
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.errors import Problem, RewardError
from trainer.rewards.child import LENGTH
from trainer.rewards.contract import Failure, Value, Values
from trainer.rewards.making import Named, Recipe, make
from trainer.rewards.running import Answer, Call
from trainer.rundir import PROJECT

MOST = 4
START_S = 60.0  # a person's own file may import what takes long
LEAST_ROW_S = 0.05
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_PENDING = object()


@dataclass
class _Task:
    """Some rows of a call, whole or one by one. limit: when its process is killed (monotonic seconds)."""

    number: int
    call: Call
    rows: list[int]
    one_by_one: bool = False
    home: int | None = None
    """The only process that may do it: a function that keeps a state has it there."""
    limit: float = 0.0


class _Child:
    """One process. Messages of its reader thread land in the pool's inbox as (child, message); None when it is gone."""

    def __init__(self, recipes: Sequence[Recipe], inbox: queue.Queue[Any], environment: dict[str, str]) -> None:
        self.task: _Task | None = None
        self.ready = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trainer.rewards.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            env=environment,
            process_group=0 if os.name != "nt" else None,  # so that what it started can be ended with it
        )
        self.send("make", list(recipes))
        threading.Thread(target=self._read, args=(inbox,), daemon=True, name="rewards").start()

    def send(self, *message: Any) -> None:
        data = pickle.dumps(message)
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(LENGTH.pack(len(data)) + data)
            self.process.stdin.flush()
        except OSError:
            pass  # it is gone; its reader says so

    def _read(self, inbox: queue.Queue[Any]) -> None:
        answers = self.process.stdout
        assert answers is not None
        try:
            while len(size := answers.read(LENGTH.size)) == LENGTH.size:
                inbox.put((self, json.loads(answers.read(LENGTH.unpack(size)[0]))))
        except ValueError:
            pass  # cut off in the middle of a message
        inbox.put((self, None))

    def kill(self) -> None:
        """End it and what it started."""
        try:
            if os.name == "nt":
                self.process.kill()
            else:
                os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # flushing what it will never read
                pipe and pipe.close()


class Pool:
    """Processes that know the functions of `components`. Raises RewardError when a function can not be made."""

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
                what = f"took longer than {START_S:.0f} s to start"
                raise RewardError(Problem("reward functions", what, "import less in your reward file")) from None
            if message is None:
                what = f"ended the process it was loaded in (exit code {child.process.wait()})"
                raise RewardError(Problem("reward functions", what, "call no exit() in your reward file"))
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
        for number, call in enumerate(calls):
            rowwise = pool.rowwise[call.name]
            home = None if rowwise else number % len(pool.children)
            for rows in _parts(call.rows, len(pool.children) if rowwise else 1):
                self.waiting.append(self._task(call, rows, home=home))

    @property
    def answers(self) -> dict[str, Answer]:
        late = Failure(f"gave no answer within {self.pool.deadline_s:g} s (reward.deadline_s)")
        return {
            name: Answer([late if v is _PENDING else v for v in values], self.seconds[name], self.said[name])
            for name, values in self.values.items()
        }

    def _task(self, call: Call, rows: list[int], one_by_one: bool = False, home: int | None = None) -> _Task:
        self.pool.tasks += 1
        return _Task(self.pool.tasks, call, rows, one_by_one, home)

    def run(self) -> None:
        while time.monotonic() < self.end:
            self._hand_out()
            working = [child for child in self.pool.children if child.task is not None]
            if not working and not self.waiting:
                return
            limits = [child.task.limit for child in working if child.task is not None]
            try:
                child, message = self.pool.inbox.get(timeout=max(0.0, min([self.end, *limits]) - time.monotonic()))
            except queue.Empty:
                self._overdue()
                continue
            if child in self.pool.children:  # else the last words of one that was replaced
                self._take(child, message)

    def _hand_out(self) -> None:
        for number, child in enumerate(self.pool.children):
            task = next((task for task in self.waiting if task.home in (None, number)), None)
            if child.ready and child.task is None and task is not None:
                self.waiting.remove(task)
                left = self.end - time.monotonic()
                task.limit = time.monotonic() + (self._row_s() if task.one_by_one else left / 2)
                child.task = task
                child.send("rows" if task.one_by_one else "call", task.number, task.call.of(task.rows))

    def _row_s(self) -> float:
        return max(LEAST_ROW_S, (self.end - time.monotonic()) / 4)

    def _overdue(self) -> None:
        for child in list(self.pool.children):
            if child.task is not None and time.monotonic() >= child.task.limit:
                task = child.task
                self.pool.replace(child)
                self._failed(task, "hung: it gave no answer and was ended")

    def _take(self, child: _Child, message: list[Any] | None) -> None:
        if message is None:
            task, code = child.task, child.process.wait()
            self.pool.replace(child)
            if task is not None:
                self._failed(task, f"ended its process ({_ending(code)})")
            return
        kind, *rest = message
        if kind == "made":
            _refuse_unmade(message)
            child.ready = True
        elif child.task is not None and rest[0] == child.task.number:
            self._answered(child, child.task, kind, rest[1:])

    def _answered(self, child: _Child, task: _Task, kind: str, rest: list[Any]) -> None:
        name = task.call.name
        if kind == "row":
            row, value, seconds = rest
            self._put(task, row, value)
            self.seconds[name] += seconds
            task.limit = time.monotonic() + self._row_s()
            if row == len(task.rows) - 1:
                child.task = None
            return
        child.task = None
        if kind == "broken":
            raise RewardError(Problem(*problem) for problem in rest[0])
        if kind == "raised":
            self._failed(task, rest[0])
            return
        values, seconds, said = rest
        for row, value in enumerate(values):
            self._put(task, row, value)
        self.seconds[name] += seconds
        self.said[name] += [tuple(word) for word in said]

    def _put(self, task: _Task, row: int, value: Any) -> None:
        self.values[task.call.name][task.rows[row]] = _value(value)

    def _failed(self, task: _Task, reason: str) -> None:
        """Put down the row that is to blame, and queue the others."""
        left = [row for row in task.rows if self.values[task.call.name][row] is _PENDING]
        if task.one_by_one or len(left) == 1:
            self.values[task.call.name][left[0]] = Failure(reason)  # rows are tried in order
            left = left[1:]
        for rows in _parts(len(left), len(self.pool.children)):
            if rows:
                self.waiting.append(self._task(task.call, [left[row] for row in rows], one_by_one=True))


def _parts(rows: int, parts: int) -> list[list[int]]:
    """0 .. rows-1 in that many runs of about the same length."""
    edges = [rows * part // parts for part in range(parts + 1)]
    return [list(range(first, last)) for first, last in itertools.pairwise(edges) if last > first]


def _value(raw: Any) -> Any:
    if isinstance(raw, list):
        return [_value(part) for part in raw]
    value: Value = Failure(raw["failed"]) if isinstance(raw, dict) else raw
    return value


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _refuse_unmade(message: list[Any]) -> None:
    reasons = [reason for reason in message[1] if reason is not None]
    if reasons:
        raise RewardError(Problem("reward functions", reason) for reason in reasons)


def _environment(recipes: Sequence[Recipe]) -> dict[str, str]:
    """The worker's without secrets, but for those that a component names as its own (`api_key_env`)."""
    named = {str(recipe.params["api_key_env"]) for recipe in recipes if "api_key_env" in recipe.params}
    if any(recipe.function == "llm_judge" for recipe in recipes):
        named.add("OPENAI_API_KEY")
    kept = {name: value for name, value in os.environ.items() if name in named or not _SECRET.search(name)}
    # One process a core already: more threads in each would only be in each other's way.
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
