"""What is asked of a reward function and what it answers. It is asked in this process (in_process.py) or in
another one (pool.py).

Imports no library.
"""

from __future__ import annotations

import pickle
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from trainer.errors import Problem, RewardError
from trainer.rewards.contract import Failure, RewardFunction, Values, checked
from trainer.text import Message


@dataclass(frozen=True)
class Call:
    """One component on one batch of `rows` completions. arguments: {name: (rows,)}; shared: the same for all rows."""

    name: str
    rows: int
    arguments: Mapping[str, Sequence[Any]]
    shared: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[int] | None = None
    """Steps of each completion, for a function that may judge steps."""

    def of(self, rows: Sequence[int]) -> Call:
        """The same for some rows."""
        arguments = {key: [values[row] for row in rows] for key, values in self.arguments.items()}
        steps = None if self.steps is None else [self.steps[row] for row in rows]
        return Call(self.name, len(rows), arguments, self.shared, steps)


@dataclass
class Answer:
    """values: (rows,), one a completion (or a list, one a step). seconds: inside the function, summed over processes.
    said: what the function told TRL's log_extra and log_metric, in order: (which, name, what)."""

    values: Values
    seconds: float
    said: list[tuple[str, str, Any]] = field(default_factory=list)


class Runner(Protocol):
    """Answers calls. Raises RewardError where a function breaks the contract."""

    def run(self, calls: Sequence[Call]) -> dict[str, Answer]: ...

    def close(self) -> None: ...


def ask(function: RewardFunction, call: Call) -> Answer:
    """Call the function once. Raises what it raises, and RewardError where what it returns breaks the contract."""
    said: list[tuple[str, str, Any]] = []
    # Copies: a function that edits what it is given must not change the data of the next one.
    arguments: dict[str, Any] = {key: list(values) for key, values in call.arguments.items()}
    arguments |= call.shared
    # TRL passes both to every reward function that takes them. The function may be in another process, where the
    # trainer is not: what it says is noted and repeated to the trainer by the wrapper.
    arguments["log_extra"] = lambda column, values: said.append(("log_extra", str(column), list(values)))
    arguments["log_metric"] = lambda name, value: said.append(("log_metric", str(name), float(value)))
    started = time.perf_counter()
    raw = function(**arguments)
    seconds = time.perf_counter() - started
    return Answer(checked(raw, call.rows, call.name, call.steps), seconds, said)


def unsendable(call: Call, error: Exception) -> RewardError:
    """Names the columns that pickle does not take."""
    names = []
    for name, values in call.arguments.items():
        try:
            pickle.dumps(values)
        except (TypeError, AttributeError, pickle.PicklingError):
            names.append(name)
    return RewardError(Problem("rewards.unsendable", name=call.name, columns=names, said=str(error)))


def failure(error: BaseException) -> Failure:
    """An exception of a reward function in one line, with the line of the code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    # Where the function is, not the inside of a library it has called.
    own = [frame for frame in frames if not frame.filename.startswith((sys.prefix, sys.base_prefix, "<frozen"))]
    frame = (own or frames)[-1] if frames else None
    place = f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" if frame else "?"
    if isinstance(error, SystemExit):
        return Failure(Message("rewards.failed.exited", code=repr(error.code), place=place))
    text = str(error).strip().splitlines()
    said = type(error).__name__ + (f": {text[0][:200]}" if text else "")
    return Failure(Message("rewards.failed.raised", said=said, place=place))
