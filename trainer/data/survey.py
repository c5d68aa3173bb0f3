"""All rows of a run looked at together: duplicates, leaks, held-out rows, few-shot examples.

Rows are streamed; what stays in memory is two hashes, a line and a flag: 21 bytes a training or held-out row, the pool
of few-shot examples, and the runs of words of the held-out rows. The training file is read once more when there are
held-out rows or few-shot examples.

Standard library, spec and numpy.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.data.files import Found, records
from trainer.data.overlap import RUN, Overlap
from trainer.data.render import Pool, fill, key_of, normalised, question
from trainer.data.rows import FEW_SHOT, MAX_PROBLEMS, Checker, Row, checked, shortened
from trainer.errors import DataError, Problem
from trainer.spec import Data, RunSpec

TRAIN, HELD_OUT, LEAKED = 0, 1, 2
MANY_DUPLICATES = 0.1  # share of the rows from which on duplicates are worth a warning


@dataclass(frozen=True)
class Feed:
    """Where rows come from, to be read as often as needed. name: in problems; key: of the spec."""

    name: str
    key: str
    records: Callable[[], Iterator[Found]]
    limit: int | None = None

    def rows(self, spec: RunSpec) -> Iterator[Row]:
        """The sound rows. Raises DataError after the last one when some were not sound."""
        return checked(self.records(), Checker(spec, self.name, self.key), self.limit)


def of_file(path: str, key: str, limit: int | None = None) -> Feed:
    return Feed(path.replace("\\", "/").rpartition("/")[2], key, lambda: records(path, key), limit)


@dataclass
class Keys:
    """What is remembered of the rows of one feed, by the order of the rows."""

    name: str
    exact: array[int] = field(default_factory=lambda: array("Q"))
    alike: array[int] = field(default_factory=lambda: array("Q"))
    lines: array[int] = field(default_factory=lambda: array("I"))
    columns: list[str] = field(default_factory=list)
    types: dict[str, int] = field(default_factory=dict)
    """{type of few-shot examples: line of its first row}."""
    warnings: list[Problem] = field(default_factory=list)

    def where(self, place: int) -> str:
        return f"{self.name}:{self.lines[place]}"


@dataclass
class Survey:
    """What is known of the rows of a run; roles holds TRAIN, HELD_OUT or LEAKED for each row of the training feed."""

    rows: int | None = None
    held_out: int | None = None
    roles: bytearray = field(default_factory=bytearray)
    duplicates: int = 0
    leaked: int = 0
    columns: list[str] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    pool: Pool | None = None


def split_counts(rows: int, data: Data) -> tuple[int, int]:
    """(training rows, held-out rows) after max_rows and eval_fraction."""
    rows = min(rows, data.max_rows or rows)
    held_out = max(1, round(rows * data.eval_fraction)) if data.eval_fraction else 0
    return rows - held_out, held_out


def survey(spec: RunSpec, train: Feed | None, held_out: Feed | None) -> Survey:
    """Look at all rows. Raises DataError with the problems of all files at once."""
    problems: list[Problem] = []
    pool = _caught(problems, lambda: pool_for(spec, None))
    overlap = Overlap()
    held = _caught(problems, lambda: _keys(spec, held_out, pool, overlap)) if held_out else None
    keys = _caught(problems, lambda: _keys(spec, train, pool)) if train else None
    if problems:
        raise DataError(problems)
    found = Survey(pool=pool)
    for part in (keys, held):
        found.warnings += part.warnings if part else []
    found.held_out = len(held.lines) if held else None
    if keys is None or train is None:
        return found
    found.columns = keys.columns
    _refuse_one_prompt(keys)
    _say_duplicates(keys, found)
    found.roles = _roles(spec, keys)
    apart = _apart(keys, held, found.roles)
    _leaks(spec, keys, held, found, apart)
    found.rows = found.roles.count(TRAIN)
    found.held_out = found.roles.count(HELD_OUT) or found.held_out
    _second_reading(spec, train, keys, held, found, overlap, apart)
    return found


def _caught(problems: list[Problem], read: Callable[[], Any]) -> Any:
    try:
        return read()
    except DataError as error:
        problems += error.problems
    return None


def pool_for(spec: RunSpec, rows: Feed | None) -> Pool | None:
    """Few-shot examples from their own file, else from `rows`; None where none are wanted or there are no rows."""
    few_shot = spec.data.few_shot
    feed = of_file(few_shot.path, FEW_SHOT) if few_shot is not None and few_shot.path is not None else rows
    if few_shot is None or feed is None:
        return None
    return fill(Pool(few_shot, spec.data, spec.run.seed), feed.rows(spec), feed.name)


def _keys(spec: RunSpec, feed: Feed, pool: Pool | None, overlap: Overlap | None = None) -> Keys:
    """One reading of a feed. pool: of a file, complete; with one, rows of too few examples are refused here."""
    checker, keys = Checker(spec, feed.name, feed.key), Keys(feed.name)
    problems: list[Problem] = []
    few_shot, short = spec.data.few_shot, 0
    for row in checked(feed.records(), checker, feed.limit):
        text = question(row.columns, spec.data)
        keys.exact.append(key_of(text))
        keys.alike.append(key_of(normalised(text)))
        keys.lines.append(row.line)
        if few_shot is not None:
            keys.types.setdefault(str(row.columns.get(few_shot.by)) if few_shot.by else "", row.line)
        if pool is not None and (problem := pool.problem(row.columns, f"{feed.name}:{row.line}")):
            short += 1
            problems += [problem] if short <= MAX_PROBLEMS else []
        if overlap is not None:
            overlap.hold(text)
    if problems:
        raise DataError(shortened(problems, feed.name, short))
    keys.columns, keys.warnings = list(checker.columns), checker.warnings()
    return keys


def _refuse_one_prompt(keys: Keys) -> None:
    if len(keys.exact) > 1 and np.all(np.frombuffer(keys.exact, np.uint64) == keys.exact[0]):
        what = f"all {len(keys.exact)} rows have the same prompt"
        fix = "data.prompt_template must name the column that differs; is data.columns right?"
        raise DataError(Problem(keys.name, what, fix))


def _repeated(keys: array[int]) -> list[int]:
    """Places of the rows whose key was there before."""
    values = np.frombuffer(keys, np.uint64)
    order = np.argsort(values, kind="stable")
    again: list[int] = np.sort(order[1:][values[order][1:] == values[order][:-1]]).tolist()
    return again


def _say_duplicates(keys: Keys, found: Survey) -> None:
    again, alike = _repeated(keys.exact), _repeated(keys.alike)
    found.duplicates = len(again)
    share = len(again) / max(len(keys.exact), 1)
    if share > MANY_DUPLICATES:
        what = f"{len(again)} of {len(keys.exact)} rows ({share:.0%}) have a prompt that was there before"
        found.warnings.append(Problem(keys.where(again[0]), what, "leave them out: they count double in training"))
    nearly = sorted(set(alike) - set(again))
    if nearly:
        what = f"{len(nearly)} rows differ from one before by case, space or punctuation only"
        found.warnings.append(Problem(keys.where(nearly[0]), what, "leave them out"))


def _roles(spec: RunSpec, keys: Keys) -> bytearray:
    """Which rows eval_fraction holds out: the same for the same seed."""
    roles = bytearray(len(keys.lines))
    if spec.data.eval_fraction is not None:
        count = split_counts(len(roles), spec.data)[1]
        for place in random.Random(spec.run.seed).sample(range(len(roles)), count):
            roles[place] = HELD_OUT
    return roles


def _apart(keys: Keys, held: Keys | None, roles: bytearray) -> Any:
    """Sorted normalised keys of the held-out rows."""
    if held is not None:
        return np.unique(np.frombuffer(held.alike, np.uint64))
    return np.unique(np.frombuffer(keys.alike, np.uint64)[np.frombuffer(roles, np.uint8) == HELD_OUT])


def _leaks(spec: RunSpec, keys: Keys, held: Keys | None, found: Survey, apart: Any) -> None:
    """Training rows whose prompt is also held out: raise, warn, or give them the role LEAKED."""
    roles = np.frombuffer(found.roles, np.uint8)
    inside = np.isin(np.frombuffer(keys.alike, np.uint64), apart) & (roles == TRAIN)
    places = np.flatnonzero(inside).tolist()
    del roles  # a bytearray that is looked at can not be written
    found.leaked = len(places)
    if not places:
        return
    if spec.data.leaks == "drop":
        for place in places:
            found.roles[place] = LEAKED
        if TRAIN not in found.roles:
            raise DataError(Problem(keys.name, f"all {len(places)} training rows are also held out", "other rows"))
        what = f"{len(places)} training rows are left out: their prompts are held out"
        found.warnings.append(Problem(keys.where(places[0]), what, "nothing to do"))
        return
    listed = [_leak(keys, held, found.roles, place) for place in places[:MAX_PROBLEMS]]
    if spec.data.leaks == "error":
        raise DataError(shortened(listed, keys.name, len(places)))
    found.warnings += listed[:3]
    if len(places) > 3:
        found.warnings.append(Problem(keys.name, f"and {len(places) - 3} more rows that are also held out"))


def _leak(keys: Keys, held: Keys | None, roles: bytearray, place: int) -> Problem:
    """Which held-out row a training row equals."""
    if held is None:
        places = [n for n, key in enumerate(keys.alike) if key == keys.alike[place] and roles[n] == HELD_OUT]
        theirs, same = keys.where(places[0]), keys.exact[places[0]] == keys.exact[place]
    else:
        at = held.alike.index(keys.alike[place])
        theirs, same = held.where(at), keys.exact[place] in held.exact
    what = f"its prompt is also held out, in {theirs}"
    what += "" if same else " (but for case, space or punctuation)"
    return Problem(keys.where(place), what, "--set data.leaks=drop leaves it out of the training rows")


def _second_reading(
    spec: RunSpec, train: Feed, keys: Keys, held: Keys | None, found: Survey, overlap: Overlap, apart: Any
) -> None:
    """Runs of words that leak, and few-shot examples from the rows that are trained on."""
    few_shot, data = spec.data.few_shot, spec.data
    drawn = few_shot is not None and few_shot.path is None
    if held is None and HELD_OUT in found.roles:
        for row, role in zip(train.rows(spec), found.roles, strict=True):
            if role == HELD_OUT:
                overlap.hold(question(row.columns, data))
    if not (drawn or held is not None or HELD_OUT in found.roles):
        return
    overlap.close()
    pool = Pool(few_shot, data, spec.run.seed, frozenset(apart.tolist())) if drawn and few_shot else None
    for row, role in zip(train.rows(spec), found.roles, strict=True):
        if role == TRAIN:
            overlap.look(question(row.columns, data), row.line)
            if pool is not None:
                pool.add(row, train.name)
    overlap.finish()
    if overlap.rows:
        lines = ", ".join(str(line) for line in overlap.first)
        what = f"{overlap.rows} training rows share {RUN} words in a row with a held-out row (lines {lines})"
        found.warnings.append(Problem(f"{keys.name}:{overlap.first[0]}", what, "look whether the test was copied"))
    if pool is not None:
        pool.freeze()
        _refuse_few(pool, keys, held)
        found.pool = pool


def _refuse_few(pool: Pool, keys: Keys, held: Keys | None) -> None:
    """Raise DataError for each type with too few examples: a training row needs one more, it is one itself."""
    problems = []
    for part, own in ((keys, 1), (held, 0)):
        for kind, line in (part.types if part else {}).items():
            have = pool.size(kind) - own
            if have < pool.few_shot.count:
                of_type = f" of type {kind!r}" if pool.few_shot.by else ""
                what = f"there are {max(have, 0)} other examples{of_type}, {pool.few_shot.count} are wanted"
                fix = f"--set data.few_shot.count={max(have, 1)}, or add rows"
                problems.append(Problem(f"{part.name if part else ''}:{line}", what, fix))
    if problems:
        raise DataError(shortened(problems, keys.name))
