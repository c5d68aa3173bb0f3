"""The process reward functions run in: python -m trainer.rewards.child

Started by trainer.rewards.pool, kept for the whole run. It reads pickled requests from stdin and writes JSON to stdout;
what the functions themselves print goes to stderr, which is the log of the run. It ends when its parent does.

    parent -> child   ("make", [Recipe])
                      ("call", task, Call)           the whole batch at once
                      ("rows", task, Call)           one row after the other, each answered when it is done
    child -> parent   ["made", [problems or null]]   one a component, in order
                      ["done", task, values, seconds, said]
                      ["row", task, row, value, seconds]
                      ["raised", task, why]          the batch raised; nobody knows yet because of which row
                      ["broken", task, problems]     what came back has the wrong shape

A value is a number, null, a list with one value a step, or {"failed": why}; why is [key, values] of a Message.

Imports the library of rewards, whose functions bring what they need at their first call.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import signal
import struct
import sys
import time
from typing import Any, BinaryIO

from trainer.errors import RewardError
from trainer.rewards.building import Recipe, make
from trainer.rewards.calls import Call, ask, failure
from trainer.rewards.contract import Failure, RewardFunction
from trainer.text import storable

LENGTH = struct.Struct("<Q")


def main() -> None:
    requests, answers = _own_pipes()
    _end_with_parent(requests.fileno(), answers.fileno())
    if hasattr(os, "register_at_fork"):  # else what a function forks would hold the pipe open after this process
        os.register_at_fork(after_in_child=lambda: os.close(answers.fileno()))
    functions: dict[str, RewardFunction] = {}
    while (size := requests.read(LENGTH.size)) and len(size) == LENGTH.size:
        kind, *rest = pickle.loads(requests.read(LENGTH.unpack(size)[0]))
        if kind == "make":
            _send(answers, ["made", [_made(functions, recipe) for recipe in rest[0]]])
        elif kind == "call":
            _send(answers, _batch(functions, *rest))
        else:
            task, call = rest
            for row in range(call.rows):
                _send(answers, _row(functions, task, call, row))


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """stdin and stdout for us alone: a function that reads or prints must not disturb the protocol."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdin, sys.stdout = os.fdopen(0, "r"), os.fdopen(1, "w", buffering=1, errors="replace")
    return requests, answers


def _end_with_parent(requests: int, answers: int) -> None:
    """A function may hang when the training is killed, with programs it has started: nobody would be left to end them.

    So a process beside this one waits until the other end of `requests` is closed, and then ends the whole group.
    Only what has left the group (os.setsid) escapes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the training's
    if not hasattr(os, "fork") or os.fork():
        return
    os.close(answers)  # held open here, the training would not see that this process has ended
    waiting = select.poll()
    waiting.register(requests, 0)  # a hang-up is told in any case, and requests are none of its business
    waiting.poll()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _made(functions: dict[str, RewardFunction], recipe: Recipe) -> list[Any] | None:
    try:
        function = functions[recipe.title] = make(recipe)
        if function.prepare is not None:  # else it would take the time of the first rows
            function.prepare()
    except RewardError as error:
        return [problem.stored() for problem in error.problems]
    return None


def _batch(functions: dict[str, RewardFunction], task: int, call: Call) -> list[Any]:
    try:
        answer = ask(functions[call.name], call)
    except RewardError as error:
        return ["broken", task, [problem.stored() for problem in error.problems]]
    except (Exception, SystemExit) as error:
        return ["raised", task, _why(failure(error))]
    return ["done", task, [_plain(value) for value in answer.values], answer.seconds, answer.said]


def _row(functions: dict[str, RewardFunction], task: int, call: Call, row: int) -> list[Any]:
    started = time.perf_counter()
    try:
        value: Any = ask(functions[call.name], call.of([row])).values[0]
    except RewardError as error:
        value = Failure(error.problems[0].part("what"))
    except (Exception, SystemExit) as error:
        value = failure(error)
    return ["row", task, row, _plain(value), time.perf_counter() - started]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return {"failed": _why(value)} if isinstance(value, Failure) else value


def _why(failed: Failure) -> list[Any]:
    """Without its words: reading them would cost a process that hardly ever needs them 50 ms."""
    return [failed.why.key, storable(failed.why.values)]


def _send(answers: BinaryIO, message: list[Any]) -> None:
    try:
        line = json.dumps(message, default=repr).encode()
    except TypeError:  # what a function gave log_extra can have keys that JSON has not
        line = json.dumps([*message[:-1], [(which, name, repr(what)) for which, name, what in message[-1]]]).encode()
    answers.write(LENGTH.pack(len(line)) + line)
    answers.flush()


if __name__ == "__main__":
    main()
