"""What is remembered of the rows of a file, and what is found by comparing it: duplicates, held-out rows, leaks.

Hashes stand for texts. Equal but for white space around them is the same prompt; equal in normal form (render.py) may
be another question - of spacing, of case, of code - and is only said. Standard library, spec and numpy.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.data.rows import MAX_PROBLEMS, shortened
from trainer.errors import DataError, Problem
from trainer.spec import Data, RunSpec

TRAIN, HELD_OUT, LEAKED = 0, 1, 2
"""Roles of the rows of the training feed."""
MANY_DUPLICATES = 0.1  # share of the rows from which on duplicates are worth a warning
BUT_FOR = "but for case, space or punctuation"


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
    types: dict[str, int] = field(default_factory=dict)
    """{type of few-shot examples: line of its first row}."""
    warnings: list[Problem] = field(default_factory=list)

    def where(self, place: int) -> str:
        return f"{self.name}:{self.lines[place]}"

    def first(self, places: Any) -> str:
        """The lines of the first three rows, for a sentence."""
        return "lines " + ", ".join(str(self.lines[place]) for place in places[:3])


def of(values: array[int]) -> Any:
    return np.frombuffer(values, np.uint64)


def refuse_one_prompt(keys: Keys) -> None:
    if len(keys.exact) > 1 and np.all(of(keys.exact) == keys.exact[0]):
        what = f"all {len(keys.exact)} rows have the same prompt"
        fix = "data.prompt_template must name the column that differs; is data.columns right?"
        raise DataError(Problem.plain(keys.name, what, fix))


def _repeated(keys: array[int]) -> list[int]:
    """Places of the rows whose key was there before."""
    values = of(keys)
    order = np.argsort(values, kind="stable")
    again: list[int] = np.sort(order[1:][values[order][1:] == values[order][:-1]]).tolist()
    return again


def duplicates(keys: Keys) -> tuple[int, list[Problem]]:
    """(rows whose prompt was there before, warnings)."""
    again, warnings = _repeated(keys.exact), []
    share = len(again) / max(len(keys.exact), 1)
    if share > MANY_DUPLICATES:
        what = f"{len(again)} of {len(keys.exact)} rows ({share:.0%}) have a prompt that was there before"
        warnings.append(Problem.plain(keys.where(again[0]), what, "leave them out: they count double in training"))
    nearly = sorted(set(_repeated(keys.alike)) - set(again))
    if nearly:
        what = f"{len(nearly)} rows equal one before {BUT_FOR} ({keys.first(nearly)})"
        warnings.append(Problem.plain(keys.where(nearly[0]), what, "leave them out where they ask the same"))
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
        what = f"is {fraction}: of {held} row{'s' if held > 1 else ''} none is left to train on"
        raise DataError(Problem.plain("data.eval_fraction", what, "more rows that differ, or a smaller fraction"))
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


def leaks(data: Data, keys: Keys, held: Keys, roles: bytearray) -> tuple[int, list[Problem]]:
    """(training rows whose prompt is in the held-out file, warnings); data.leaks = drop makes them LEAKED in `roles`.

    Raises DataError as data.leaks says. What is equal in normal form only is dropped with them, else said.
    """
    alike = np.isin(of(keys.alike), of(held.alike))
    exact = np.isin(of(keys.exact), of(held.exact))
    same, nearly = np.flatnonzero(exact).tolist(), np.flatnonzero(alike & ~exact).tolist()
    warnings = []
    if data.leaks == "drop" and (same or nearly):
        return _dropped(keys, roles, sorted(same + nearly), len(nearly))
    if same:
        listed = [_leak(keys, held, place) for place in same[:MAX_PROBLEMS]]
        if data.leaks == "error":
            raise DataError(shortened(listed, keys.name, len(same)))
        warnings += listed[:3]
        if len(same) > 3:
            warnings.append(Problem.plain(keys.name, f"and {len(same) - 3} more rows that are also held out"))
    if nearly:
        what = f"{len(nearly)} training rows equal a held-out row {BUT_FOR} ({keys.first(nearly)})"
        fix = "--set data.leaks=drop leaves them out; nothing to do where they ask something else"
        warnings.append(Problem.plain(keys.where(nearly[0]), what, fix))
    return len(same), warnings


def _dropped(keys: Keys, roles: bytearray, places: list[int], nearly: int) -> tuple[int, list[Problem]]:
    for place in places:
        roles[place] = LEAKED
    if TRAIN not in roles:
        raise DataError(Problem.plain(keys.name, f"all {len(places)} training rows are also held out", "other rows"))
    what = f"{len(places)} training rows are left out: their prompts are held out"
    what += f", {nearly} of them {BUT_FOR}" if nearly else ""
    return len(places), [Problem.plain(keys.where(places[0]), f"{what} ({keys.first(places)})", "nothing to do")]


def _leak(keys: Keys, held: Keys, place: int) -> Problem:
    """Which held-out row a training row equals."""
    what = f"its prompt is also held out, in {held.where(held.exact.index(keys.exact[place]))}"
    fix = "--set data.leaks=drop leaves it out of the training rows, data.leaks=warn trains on it"
    return Problem.plain(keys.where(place), what, fix)
