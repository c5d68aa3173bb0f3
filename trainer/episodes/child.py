"""The process environments run in: python -m trainer.episodes.child

Started by trainer.episodes.host, kept for the whole run; it holds one object for each episode under way. It reads
pickled requests from stdin and writes JSON to stdout (trainer/rewards/pipes.py).

    parent -> child   ("make", Recipe, most bytes or None)
                      ("ask", task, slot, seed, method, arguments, rated)
                      ("forget",)    every episode; is not answered
    child -> parent   ["made", problems or null, description]
                      ["answer", task, kind, text or why, rating]

kind: `text`, `raised` (the model is told), `bad` (the row is lost) or `spent` (no memory: the process is of no use any
more). rating: what get_reward says after it, also after what raised: a number, null where it was not asked, or
{"failed": why}. why is [key, values] of a Message.

Imports the library of environments and, before a person's file, numpy where it is installed; the file brings its own.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import random
import sys
from collections.abc import Callable, Mapping
from typing import Any

from trainer.episodes import library, openenv, own
from trainer.episodes.contract import RESET, REWARD, Cut, described
from trainer.errors import RewardError
from trainer.rewards import event_loop
from trainer.rewards.calls import failure
from trainer.rewards.contract import Failure, checked
from trainer.rewards.pipes import opened, requests_of, send
from trainer.text import Message, storable

MOST_TEXT = 20_000
"""Characters that an environment may say at once."""


def main() -> None:
    requests, answers = opened()
    stage: _Stage | None = None
    for kind, *rest in requests_of(requests):
        if kind == "make":
            recipe, most = rest
            if recipe.file is not None:  # it may import numpy in the middle of a call, which began without its seed
                with contextlib.suppress(ImportError):
                    importlib.import_module("numpy")
            _bound_memory(most)
            try:
                environment = _environment(recipe)
                found, problems = described(environment, recipe.place)
            except RewardError as error:
                found, problems = None, error.problems
            stage = _Stage(environment, found.has_reward) if found is not None else None
            said = [problem.stored() for problem in problems]
            send(answers, json.dumps(["made", said, found and found.stored()]).encode())
        elif stage is not None and kind == "forget":
            stage.playing.clear()
        elif stage is not None:
            task, *asked = rest
            send(answers, json.dumps(["answer", task, *stage.ask(*asked)]).encode())


def _environment(recipe: own.Recipe) -> type:
    """Raises RewardError."""
    if recipe.url is not None:
        return openenv.environment(recipe.url)
    return own.load(recipe) if recipe.file is not None else library.ENVIRONMENTS[recipe.name]


class _Stage:
    """The episodes under way, by slot."""

    def __init__(self, environment: type, has_reward: bool) -> None:
        self.environment, self.has_reward = environment, has_reward
        self.playing: dict[int, Any] = {}

    def ask(self, slot: int, seed: str, method: str, arguments: dict[str, Any], rated: bool) -> list[Any]:
        """[kind, text or why, rating]"""
        _seed_everything(seed)
        try:
            kind, said = self._answered(slot, method, arguments)
            # What raised may have earned something before: of a later turn it would be no merit.
            rated = (rated or method == REWARD) and self.has_reward and kind != "bad" and slot in self.playing
            return [kind, said, _rating(self.playing[slot]) if rated else None]
        except MemoryError:
            self.playing.clear()
            return ["spent", None, None]

    def _answered(self, slot: int, method: str, arguments: dict[str, Any]) -> tuple[str, Any]:
        """(kind, text or why). Raises MemoryError."""
        try:
            if method == RESET:  # a new object: nothing of an earlier episode may reach into this one
                self.playing[slot] = self.environment()
            playing = self.playing[slot]
            if method == REWARD:
                return "text", None
            function = getattr(playing, method)
            said = _finished(function(**_taken(function, arguments) if method == RESET else arguments))
            return _text(said, may_be_none=method == RESET)
        except MemoryError:
            raise
        except Cut as error:
            return "bad", _stored(error.why)
        except (Exception, SystemExit) as error:
            return "raised", [f"{type(error).__name__}: {error}"[:MOST_TEXT], _stored(failure(error).why)]


def _rating(playing: Any) -> Any:
    try:
        said = _finished(playing.get_reward())
        (value,) = checked([said], 1, REWARD)
        if value is None:  # NaN too. A reward function may not know; what the episode is worth, nobody else knows
            value = Failure(Message("episodes.lost.no_number", seen=repr(said)[:40]))
    except RewardError as error:
        value = Failure(error.problems[0].part("what"))
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:
        value = failure(error)
    return {"failed": _stored(value.why)} if isinstance(value, Failure) else value


def _text(said: Any, may_be_none: bool) -> tuple[str, Any]:
    """What is told to the model; numbers, lists and tables as JSON."""
    if said is None and may_be_none:
        return "text", None
    text = said
    if not isinstance(said, str):
        if said is None or not isinstance(said, (bool, int, float, list, dict)):
            return "bad", _stored(Message("episodes.lost.no_text", seen=type(said).__name__))
        try:
            text = json.dumps(said, ensure_ascii=False)
        except (TypeError, ValueError):
            return "bad", _stored(Message("episodes.lost.no_text", seen=type(said).__name__))
    if len(text) > MOST_TEXT:
        return "bad", _stored(Message("episodes.lost.long_text", count=len(text), most=MOST_TEXT))
    return "text", text.encode("utf-8", "replace").decode()


def _taken(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Of a row what reset names; all of it where it takes any. A column that this row lacks has its default."""
    parameters = inspect.signature(function).parameters.values()
    optional = {one.name for one in parameters if one.default is not one.empty}
    there = {name: value for name, value in given.items() if value is not None or name not in optional}
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return there
    return {one.name: there[one.name] for one in parameters if one.name in there}


def _finished(value: Any) -> Any:
    return event_loop.finish(value) if inspect.isawaitable(value) else value


def _seed_everything(seed: str) -> None:
    """Also of an environment that draws from the generators of the process what it draws follows from the seed."""
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(random.Random(seed).getrandbits(32))  # else `random` would draw otherwise where it is there


def _bound_memory(most: int | None) -> None:
    if most is not None:
        with contextlib.suppress(ImportError, OSError, ValueError):  # no Windows; a lower bound holds already
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _stored(why: Message) -> list[Any]:
    return [why.key, storable(why.values)]


if __name__ == "__main__":
    main()
