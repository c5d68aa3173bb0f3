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
import time
from typing import Any, BinaryIO

from trainer.errors import RewardError
from trainer.rewards.building import Recipe, make
from trainer.rewards.calls import Call, ask, failure
from trainer.rewards.contract import Failure, RewardFunction
from trainer.rewards.pipes import opened, requests_of, send
from trainer.text import storable


def main() -> None:
    requests, answers = opened()
    functions: dict[str, RewardFunction] = {}
    for kind, *rest in requests_of(requests):
        if kind == "make":
            _send(answers, ["made", [_made(functions, recipe) for recipe in rest[0]]])
        elif kind == "call":
            _send(answers, _batch(functions, *rest))
        else:
            task, call = rest
            for row in range(call.rows):
                _send(answers, _row(functions, task, call, row))


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
    send(answers, line)


if __name__ == "__main__":
    main()
