"""What is remembered of the rows of a file, and what is found by comparing it: duplicates, held-out rows, leaks.

Hashes stand for texts. Equal but for white space around them is the same prompt; equal in normal form (render.py) may
be another question - of spacing, of case, of code - and is only said. Imports numpy, the spec and rows.py.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.data.rows import MAX_PROBLEMS, shortened
from trainer.errors import DataError, Problem
from trainer.spec import Data, RunSpec
from trainer.text import Message

TRAIN, HELD_OUT, LEAKED = 0, 1, 2
"""Roles of the rows of the training feed."""
MANY_DUPLICATES = 0.1  # share of the rows from which on duplicates are worth a warning


@dataclass
class Keys:
    """What is remembered of the rows of one feed, by the order of the rows."""

    name: str
    exact: array[int] = field(default_factory=lambda: array("Q"))
    alike: array[int] = field(default_factory=lambda: array("Q"))
    shown: array[int] = field(default_factory=lambda: array("Q"))
    """Of what few-shot examples show of a question (render.keys_of); empty without them."""
    lines: array[int] = field(default_factory=lambda: array("I"))
    messages: bool = False
    """The prompts are lists of messages."""
    mixed: set[str] = field(default_factory=set)
    """Columns of gold answers that hold values of several kinds."""
    types: dict[str, int] = field(default_factory=dict)
    """{type of few-shot examples: line of its first row}."""
    warnings: list[Message] = field(default_factory=list)

    def where(self, place: int) -> str:
        return f"{self.name}:{self.lines[place]}"

    def first(self, places: Any) -> list[str]:
        """The lines of the first three rows, for a sentence."""
        return [str(self.lines[place]) for place in places[:3]]


def of(values: array[int]) -> Any:
    return np.frombuffer(values, np.uint64)


def refuse_one_prompt(keys: Keys) -> None:
    if len(keys.exact) > 1 and np.all(of(keys.exact) == keys.exact[0]):
        raise DataError(Problem("data.one_prompt", keys.name, count=len(keys.exact)))


def _repeated(keys: array[int]) -> list[int]:
    """Places of the rows whose key was there before."""
    values = of(keys)
    order = np.argsort(values, kind="stable")
    again: list[int] = np.sort(order[1:][values[order][1:] == values[order][:-1]]).tolist()
    return again


def duplicates(keys: Keys) -> tuple[int, list[Message]]:
    """(rows whose prompt was there before, warnings)."""
    again, warnings = _repeated(keys.exact), []
    share = len(again) / max(len(keys.exact), 1)
    if share > MANY_DUPLICATES:
        seen: dict[str, Any] = {"count": len(again), "rows": len(keys.exact), "share": share}
        warnings.append(Message("data.note.duplicates", place=keys.where(again[0]), **seen))
    nearly = sorted(set(_repeated(keys.alike)) - set(again))
    if nearly:
        seen = {"count": len(nearly), "lines": keys.first(nearly)}
        warnings.append(Message("data.note.nearly_duplicates", place=keys.where(nearly[0]), **seen))
    return len(again), warnings


def roles_of(spec: RunSpec, keys: Keys) -> bytearray:
    """Which rows eval_fraction holds out: the same for the same seed and prompts.

    Prompts that are alike fall on one side: a row that is there twice would be trained on and held out. Raises
    DataError when no row is left to train on.
    """
    roles, fraction = bytearray(len(keys.lines)), spec.data.eval_fraction
    if fraction is None:
        return roles
    _, group, sizes = np.unique(of(keys.alike), return_inverse=True, return_counts=True)
    wanted = max(1, round(len(roles) * fraction), int(sizes.min()))
    drawn, held = np.zeros(len(sizes), bool), 0
    for place in np.random.RandomState(spec.run.seed).permutation(len(sizes)):
        if held + sizes[place] <= wanted:
            drawn[place] = True
            held += int(sizes[place])
        if held == wanted:
            break
    if held == len(roles):
        raise DataError(Problem("data.nothing_left", "data.eval_fraction", fraction=fraction, count=held))
    np.frombuffer(roles, np.uint8)[drawn[group]] = HELD_OUT
    return roles


def held_out_keys(keys: Keys | None, held: Keys | None, roles: bytearray) -> frozenset[int]:
    """Every key of the held-out rows: no example and no row of a warm start may have one."""
    if held is not None:
        return frozenset([*held.alike, *held.shown])
    if keys is None or HELD_OUT not in roles:
        return frozenset()
    chosen = np.frombuffer(roles, np.uint8) == HELD_OUT
    shown = of(keys.shown)[chosen].tolist() if keys.shown else []
    return frozenset([*of(keys.alike)[chosen].tolist(), *shown])


def leaks(data: Data, keys: Keys, held: Keys, roles: bytearray) -> tuple[int, list[Message]]:
    """(training rows whose prompt is in the held-out file, warnings); data.leaks = drop makes them LEAKED in `roles`.

    Raises DataError as data.leaks says. What is equal in normal form only is dropped with them, else said.
    """
    alike = np.isin(of(keys.alike), of(held.alike))
    exact = np.isin(of(keys.exact), of(held.exact))
    same, nearly = np.flatnonzero(exact).tolist(), np.flatnonzero(alike & ~exact).tolist()
    warnings: list[Message] = []
    if data.leaks == "drop" and (same or nearly):
        return _dropped(keys, roles, sorted(same + nearly), len(nearly))
    if same:
        pairs = [(keys.where(place), _place_of(keys.exact[place], held)) for place in same[:MAX_PROBLEMS]]
        if data.leaks == "error":
            listed = [Problem("data.leak", place, held=other) for place, other in pairs]
            raise DataError(shortened(listed, keys.name, len(same)))
        warnings += [Message("data.note.leak", place=place, held=other) for place, other in pairs[:3]]
        if len(same) > 3:
            warnings.append(Message("data.note.more_leaks", place=keys.name, count=len(same) - 3))
    if nearly:
        seen = {"count": len(nearly), "lines": keys.first(nearly)}
        warnings.append(Message("data.note.nearly_leaks", place=keys.where(nearly[0]), **seen))
    return len(same), warnings


def _dropped(keys: Keys, roles: bytearray, places: list[int], nearly: int) -> tuple[int, list[Message]]:
    for place in places:
        roles[place] = LEAKED
    if TRAIN not in roles:
        raise DataError(Problem("data.all_held_out", keys.name, count=len(places)))
    seen = {"place": keys.where(places[0]), "count": len(places), "lines": keys.first(places)}
    if nearly:
        return len(places), [Message("data.note.dropped_nearly", nearly=nearly, **seen)]
    return len(places), [Message("data.note.dropped", **seen)]


def _place_of(key: int, held: Keys) -> str:
    """file:line of the first held-out row with that key."""
    return held.where(held.exact.index(key))
