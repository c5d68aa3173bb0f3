"""All rows of a run looked at together: duplicates, leaks, held-out rows, few-shot examples, the warm start.

Rows are streamed; what stays in memory is two hashes, a line and a flag: 21 bytes a training or held-out row (with
few-shot examples 29), the pool of few-shot examples, and the runs of words of the held-out rows. The training file is
read once more when there are held-out rows or few-shot examples.

Imports numpy and the spec; no torch, no datasets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.data import files, keys
from trainer.data.decoding import Found
from trainer.data.difficulty import Difficulty
from trainer.data.keys import HELD_OUT, LEAKED, TRAIN, Keys
from trainer.data.leaks import RUN, Overlap
from trainer.data.render import Pool, alike, exactly, fill, keys_of, question
from trainer.data.rows import FEW_SHOT, MAX_PROBLEMS, WARM_START, Checker, Row, checked, shortened
from trainer.data.special_tokens import Tags
from trainer.errors import DataError, Problem
from trainer.rewards.gold_completion import GoldCompletion
from trainer.spec import RunSpec
from trainer.text import Message


@dataclass
class Feed:
    """Where rows come from, to be read as often as needed. name: in problems; key: of the spec."""

    name: str
    key: str
    records: Callable[[], Iterator[Found]]
    limit: int | None = None
    stamp: Callable[[], object] = lambda: None
    """What changes when the contents do."""
    _first: object = field(default=None, init=False)

    def rows(self, spec: RunSpec, checker: Checker | None = None) -> Iterator[Row]:
        """The sound rows. Raises DataError after the last one when some were not sound, and at once when the contents
        are not those of the first reading."""
        now = self.stamp()
        if self._first not in (None, now):
            files.refuse_changed(self.name, self.key)
        self._first = now
        return checked(self.records(), checker or Checker(spec, self.name, self.key), self.limit)


def of_file(spec: RunSpec, path: str, key: str, limit: int | None = None) -> Feed:
    name = path.replace("\\", "/").rpartition("/")[2]
    encoding = spec.data.encoding
    return Feed(name, key, lambda: files.records(path, key, encoding), limit, lambda: files.stamp(Path(path), key))


@dataclass
class Survey:
    """What is known of the rows of a run; roles holds TRAIN, HELD_OUT or LEAKED for each row of the training feed."""

    rows: int | None = None
    held_out: int | None = None
    roles: bytearray = field(default_factory=bytearray)
    duplicates: int = 0
    leaked: int = 0
    messages: bool = False
    """Some prompts are lists of messages."""
    mixed: set[str] = field(default_factory=set)
    """Columns of gold answers that hold values of several kinds in the training rows."""
    warnings: list[Message] = field(default_factory=list)
    pool: Pool | None = None
    apart: frozenset[int] = frozenset()
    """Keys of the held-out rows (render.keys_of); only where there is a warm start or there are few-shot examples."""


def survey(spec: RunSpec, train: Feed | None, held_out: Feed | None) -> Survey:
    """Look at all rows. Raises DataError with the problems of all files at once."""
    problems: list[Problem] = []
    overlap, found = Overlap(), Survey()
    held = _caught(problems, lambda: _keys(spec, held_out, overlap)) if held_out else None
    own = _caught(problems, lambda: _keys(spec, train)) if train else None
    if not problems:
        _caught(problems, lambda: _compare(spec, own, held, found))
    few_shot, warm = spec.data.few_shot, spec.model.warm_start
    if few_shot is not None and few_shot.path is not None:
        found.pool = _caught(problems, lambda: _examples_of_a_file(spec, str(few_shot.path), found))
    if not problems and train is not None and own is not None:
        _caught(problems, lambda: _second_reading(spec, train, own, held is not None, found, overlap))
    if not problems and (pool := found.pool) is not None:
        _caught(problems, lambda: _refuse_few(pool, own, held))
    if warm is not None:
        _caught(problems, lambda: _warm_start(spec, of_file(spec, warm.path, WARM_START), found))
    if problems:
        raise DataError(dict.fromkeys(problems))  # a file may be read for two purposes
    return found


def _caught(problems: list[Problem], read: Callable[[], Any]) -> Any:
    try:
        return read()
    except DataError as error:
        problems += error.problems
    return None


def _keys(spec: RunSpec, feed: Feed, overlap: Overlap | None = None) -> Keys:
    """One reading of a feed."""
    checker, found = Checker(spec, feed.name, feed.key), Keys(feed.name)
    few_shot = spec.data.few_shot
    tags, difficulty = Tags(spec), Difficulty(spec, feed.name)
    for row in feed.rows(spec, checker):
        tags.look(row.columns)
        if overlap is None:
            difficulty.look(row.columns, row.line)
        text = question(row.columns, spec.data)
        found.exact.append(exactly(text))
        found.alike.append(alike(text))
        found.lines.append(row.line)
        if few_shot is not None:
            found.shown.append(keys_of(row.columns, spec.data, few_shot)[-1])
            found.types.setdefault(str(row.columns.get(few_shot.by)) if few_shot.by else "", row.line)
        if overlap is not None:
            overlap.hold(text)
    found.warnings, found.messages, found.mixed = checker.warnings(), checker.messages, checker.mixed
    if overlap is None:  # of the rows that are trained on
        found.warnings += tags.warnings()
        difficulty.refuse()
    return found


def _compare(spec: RunSpec, own: Keys | None, held: Keys | None, found: Survey) -> None:
    for part in (own, held):
        found.warnings += part.warnings if part else []
        found.messages |= part is not None and part.messages
    found.mixed = own.mixed if own else set()
    found.held_out = len(held.lines) if held else None
    if own is not None:
        keys.refuse_one_prompt(own)
        found.duplicates, said = keys.duplicates(own)
        found.roles = keys.roles_of(spec, own)
        if held is not None:
            found.leaked, leaks = keys.leaks(spec.data, own, held, found.roles)
            said += leaks
        found.warnings += said
        found.rows = found.roles.count(TRAIN)
        found.held_out = found.roles.count(HELD_OUT) or found.held_out
    if spec.data.few_shot is not None or spec.model.warm_start is not None:
        found.apart = keys.held_out_keys(own, held, found.roles)


def _examples_of_a_file(spec: RunSpec, path: str, found: Survey) -> Pool:
    few_shot, feed = spec.data.few_shot, of_file(spec, path, FEW_SHOT)
    assert few_shot is not None
    pool = Pool(few_shot, spec.data, spec.run.seed, found.apart, GoldCompletion(spec.reward))
    fill(pool, feed.rows(spec), feed.name)
    if pool.left_out:
        found.warnings.append(Message("data.note.examples_left_out", **_first(feed.name, pool.left_out)))
    return pool


def _first(name: str, lines: list[int]) -> dict[str, Any]:
    """Where some rows of a file are: values of a note."""
    return {"place": f"{name}:{lines[0]}", "count": len(lines), "lines": [str(line) for line in lines[:3]]}


def _second_reading(spec: RunSpec, train: Feed, own: Keys, has_file: bool, found: Survey, overlap: Overlap) -> None:
    """Runs of words that leak, and few-shot examples from the rows that are trained on, or for every row."""
    few_shot, data = spec.data.few_shot, spec.data
    split, examples = HELD_OUT in found.roles, found.pool
    if split:
        for row, role in zip(train.rows(spec), found.roles, strict=True):
            if role == HELD_OUT:
                overlap.hold(question(row.columns, data))
    if few_shot is None and not has_file and not split:
        return
    overlap.close()
    gold = GoldCompletion(spec.reward)
    pool = Pool(few_shot, data, spec.run.seed, found.apart, gold) if few_shot and examples is None else None
    rows = ((row, role) for row, role in zip(train.rows(spec), found.roles, strict=True) if role != LEAKED)
    short = _Short(train.name)
    for row, role in rows:
        if role == TRAIN:
            overlap.look(question(row.columns, data), row.line)
            if pool is not None:
                pool.add(row, train.name)
        if examples is not None:
            short.look(examples, row)
    short.finish()
    overlap.finish()
    if overlap.rows:
        seen = _first(own.name, overlap.first) | {"count": overlap.rows, "words": RUN}
        found.warnings.append(Message("data.note.overlap", **seen))
    if pool is not None:
        pool.freeze()
        found.pool = pool


@dataclass
class _Short:
    """Rows of a file for which a complete pool has too few examples."""

    name: str
    count: int = 0
    _problems: list[Problem] = field(default_factory=list)

    def look(self, pool: Pool, row: Row) -> None:
        if problem := pool.problem(row.columns, f"{self.name}:{row.line}"):
            self.count += 1
            self._problems += [problem] if self.count <= MAX_PROBLEMS else []

    def finish(self) -> None:
        if self._problems:
            raise DataError(shortened(self._problems, self.name, self.count))


def _refuse_few(pool: Pool, own: Keys | None, held: Keys | None) -> None:
    """Raise DataError for each type with too few examples: a training row needs one more, it is one itself."""
    problems = []
    drawn = pool.few_shot.path is None  # rows of the training file were looked at one by one otherwise
    for part, more in ((own if drawn else None, 1), (held, 0)):
        for kind, line in (part.types if part else {}).items():
            have = pool.size(kind) - more
            if have < pool.few_shot.count:
                problems.append(pool.too_few(have, kind, f"{part.name if part else ''}:{line}"))
    if problems:
        raise DataError(shortened(problems, problems[0].place.rpartition(":")[0]))


def _warm_start(spec: RunSpec, feed: Feed, found: Survey) -> None:
    """Check the file of the warm start, and say what it leaves out: of data.path it goes without saying.

    Raises DataError for rows that are not sound or have too few examples, and when no row is left.
    """
    held, short, rows = [], _Short(feed.name), 0
    for row in feed.rows(spec):
        rows += 1
        if is_held_out(row, spec, found):
            held.append(row.line)
        elif found.pool is not None:
            short.look(found.pool, row)
    short.finish()
    if len(held) == rows:
        raise DataError(Problem("data.warm_start_held_out", WARM_START, count=rows, name=feed.name))
    if held and spec.model.warm_start is not None and spec.model.warm_start.path != spec.data.path:
        found.warnings.append(Message("data.note.warm_start_left_out", **_first(feed.name, held)))


def warm_start_rows(spec: RunSpec, path: str, found: Survey) -> Iterable[Row]:
    """The rows of a warm start's file, without those that are held out."""
    return (row for row in of_file(spec, path, WARM_START).rows(spec) if not is_held_out(row, spec, found))


def is_held_out(row: Row, spec: RunSpec, found: Survey) -> bool:
    return not found.apart.isdisjoint(keys_of(row.columns, spec.data, spec.data.few_shot))
