"""What a row must have, checked row by row in bounded memory; every problem names file:line.

Standard library, spec and the (light) reward library only.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from trainer.data.decoding import Found
from trainer.data.values import Kind, Unusable, kind_of, merged, printable, refuse_half_characters, texts, word
from trainer.errors import DataError, Problem
from trainer.rewards.library import REWARDS
from trainer.spec import Data, RunSpec

MAX_PROBLEMS = 10  # listed one by one; the rest is counted
FEW_SHOT, WARM_START = "data.few_shot.path", "model.warm_start.path"
RESERVED = {
    "prompts",
    "completions",
    "completion_ids",
    "completion",
    "trainer_state",
    "log_extra",
    "log_metric",
}
ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True)
class Row:
    """One row with its columns renamed to ours. line counts from 1."""

    line: int
    columns: dict[str, Any]


@functools.cache
def fields(template: str) -> tuple[str, ...]:
    """Columns a template names."""
    return tuple(name for _, name, _, _ in string.Formatter().parse(template) if name)


def needed_columns(spec: RunSpec, key: str = "data.path") -> list[str]:
    """Columns a row of the file under `key` must have: what its templates name and what the rewards read.

    `instruction` and `few_shot` are made for a row, not read, once they are configured. A reward function of an own
    file is not asked: nobody knows its columns before it runs.
    """
    data, few_shot = spec.data, spec.data.few_shot
    if key == FEW_SHOT and few_shot is not None:
        return list(dict.fromkeys([*fields(few_shot.template), *([few_shot.by] if few_shot.by else [])]))
    made = {name for name in ("instruction", "few_shot") if getattr(data, name) is not None}
    names = [name for name in fields(data.prompt_template) if name not in made]
    needed = names or ["prompt"]
    if data.instruction is not None:
        needed.append(data.instruction.by)
    if few_shot is not None and few_shot.by is not None:
        needed.append(few_shot.by)
    if few_shot is not None and few_shot.path is None and key == "data.path":
        needed += fields(few_shot.template)
    if key == WARM_START and spec.model.warm_start is not None:
        needed += fields(spec.model.warm_start.completion_template)
    else:
        needed += reward_columns(spec)
    return list(dict.fromkeys(needed))


def reward_columns(spec: RunSpec) -> list[str]:
    """Columns the library's functions read."""
    leaves = [leaf for leaf in spec.reward.leaves() if leaf.file is None and leaf.function in REWARDS]
    return list(dict.fromkeys(name for leaf in leaves for name in REWARDS[leaf.function](**leaf.params).columns))


def rename(columns: dict[str, Any], data: Data) -> dict[str, Any]:
    """Columns under our names: `data.columns` maps ours = theirs, and wins over a column that has our name already."""
    if not data.columns:
        return columns
    kept = {name: value for name, value in columns.items() if name not in {*data.columns, *data.columns.values()}}
    return kept | {ours: columns[theirs] for ours, theirs in data.columns.items() if theirs in columns}


def shortened(problems: list[Problem], name: str, count: int | None = None) -> list[Problem]:
    """The first ten in the order of their lines, and how many more of `count` there are."""
    first = sorted(problems, key=_place)[:MAX_PROBLEMS]
    rest = (len(problems) if count is None else count) - len(first)
    return first if rest <= 0 else [*first, Problem.plain(name, f"and {rest} more bad rows")]


def _place(problem: Problem) -> int:
    line = problem.where.rpartition(":")[2]
    return int(line) if line.isdecimal() else 0


@dataclass
class Checker:
    """Looks at one record after another of one file and keeps the first problems, never the rows."""

    spec: RunSpec
    name: str
    key: str
    rows: int = 0
    columns: dict[str, tuple[Kind, int]] = field(default_factory=dict)
    """{column: (kind of its values, line of the first)}."""
    _problems: list[Problem] = field(default_factory=list)
    _count: int = 0
    _missing: dict[str, tuple[list[Problem], int]] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _first: Row | None = None
    _notes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.needed = needed_columns(self.spec, self.key)
        self._paid = set(reward_columns(self.spec))
        self._made = self.spec.data.instruction is not None or self.spec.data.few_shot is not None
        self._asks = fields(self.spec.data.prompt_template) == ("prompt",)
        # With process supervision a function's argument `steps` is the steps of its completion.
        self._reserved = RESERVED | ({"steps"} if self.spec.reward.supervision == "process" else set())

    def take(self, found: Found) -> Row | None:
        """The row of a record with its columns renamed; None when something is wrong with it."""
        if isinstance(found, Problem):
            self._add(found)
            return None
        row = Row(found.line, rename(found.columns, self.spec.data))
        self.rows += 1
        self._first = self._first or row
        self._seen.update(row.columns)
        before = self._count
        where = f"{self.name}:{row.line}"
        kinds: dict[str, Kind] = {}
        for problem in self._of(row.columns, where, kinds):
            self._add(problem)
        missing = self._look_for_missing(row.columns, where)
        self._compare(kinds, row.line, where)
        return row if self._count == before and not missing else None

    def _add(self, problem: Problem) -> None:
        self._count += 1
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(problem)

    def _note(self, what: str, where: str) -> None:
        count, line = self._notes.get(what, (0, _place(Problem.plain(where, ""))))
        self._notes[what] = (count + 1, line)

    def _look_for_missing(self, columns: dict[str, Any], where: str) -> bool:
        missing = [name for name in self.needed if name not in columns]
        for name in missing:
            listed, count = self._missing.get(name, ([], 0))
            if len(listed) < MAX_PROBLEMS:
                listed.append(Problem.plain(where, f"has no column {name}", _mapping(name, columns)))
            self._missing[name] = (listed, count + 1)
        return bool(missing)

    def _compare(self, kinds: dict[str, Kind], row: int, where: str) -> None:
        """Arrow would turn 42 into 42.0, or refuse the whole file."""
        for column, kind in kinds.items():
            known, line = self.columns.get(column, (None, row))
            try:
                self.columns[column] = (merged(known, kind, column in self.needed), row if known is None else line)
            except Unusable as error:
                what = f"is {word(kind)}, in line {line} it is {word(known)}"
                what = what if word(kind) != word(known) else f"{error}, counted from line {line} on"
                self._add(Problem.plain(where, f"column {column} {what}", "one type a column: put numbers in quotes"))

    def _of(self, columns: dict[str, Any], where: str, kinds: dict[str, Kind]) -> Iterator[Problem]:
        """Puts the kinds of the values into `kinds`."""
        before = self._count
        for name, value in columns.items():
            if name in self._reserved:
                fix = f'--set data.columns.my_{name}="{name}"'
                yield Problem.plain(where, f"column {name} is a word kept for what rewards are given", fix)
            if name == "prompt" and not self._judges(value):
                kinds[name] = "str"  # what is made of the template takes its place
                continue
            try:
                refuse_half_characters(name)
                if name in ("image", "images") and value is not None:
                    raise Unusable("is an image, and models are trained on text here: leave the column out")
                kinds[name] = kind_of(value, name in self.needed)
            except Unusable as error:
                yield Problem.plain(where, f"column {printable(name)} {error}")
                continue
            if "\0" in texts(value):
                self._note(f"column {name} holds NUL characters (\\x00)", where)
        for name in self.needed:
            value = columns.get(name, "?")
            if value is None:
                yield Problem.plain(where, f"column {name} is null", "leave the row out or fill it in")
            elif name in self._paid and isinstance(value, dict):
                yield Problem.plain(where, f"column {name} is an object, and a reward reads it", "a text or a number")
            elif name in self._paid and isinstance(value, str) and not value.strip():
                self._note(f"column {name}, which a reward reads, is empty", where)
        if self._count == before:
            yield from self._of_the_prompt(columns, where)

    def _of_the_prompt(self, columns: dict[str, Any], where: str) -> Iterator[Problem]:
        if self.key == FEW_SHOT:
            return
        prompt, data = columns.get("prompt", "?"), self.spec.data
        problem = _prompt_problem(prompt, where) if self._judges(prompt) else None
        if problem:
            yield problem
        elif isinstance(prompt, list):
            if self._made:
                what = "prompt is a list of messages, which take no instruction or few_shot"
                yield Problem.plain(where, what, "a text as prompt, and data.prompt_template around it")
            elif data.system_prompt or data.prompt_template != "{prompt}":
                self._note("prompt is a list of messages: data.system_prompt and prompt_template are not used", where)
        elif not self._asks and not any(str(columns.get(name, "?")).strip() for name in self._asked()):
            yield Problem.plain(where, "prompt is empty: all columns of data.prompt_template are")
        if data.instruction is not None and columns.get(data.instruction.by) is not None:
            kind = str(columns[data.instruction.by])
            if kind not in data.instruction.texts:
                known = ", ".join(data.instruction.texts)
                what = f"column {data.instruction.by} is {kind[:60]!r}, and data.instruction has no text for it"
                yield Problem.plain(where, what, f"one of: {known}")

    def _judges(self, prompt: Any) -> bool:
        """Whether the column `prompt` is sent: messages always are, anything else where a template names it."""
        return isinstance(prompt, list) or "prompt" in self.needed

    def _asked(self) -> list[str]:
        return [name for name in fields(self.spec.data.prompt_template) if name not in ("instruction", "few_shot")]

    @property
    def messages(self) -> bool:
        """The prompts are lists of messages."""
        return isinstance(self.columns.get("prompt", (None, 0))[0], tuple)

    def warnings(self) -> list[Problem]:
        """What is legal and odd, with the first line it was seen in."""
        return [
            Problem.plain(f"{self.name}:{line}", f"{what} ({count} row{'s' if count > 1 else ''})", "look at them")
            for what, (count, line) in self._notes.items()
        ]

    def finish(self) -> None:
        """Raise DataError with the first ten problems and the count of all."""
        problems, count = list(self._problems), self._count
        for name, (listed, missing) in self._missing.items():
            nowhere = name not in self._seen and self._first is not None
            problems += listed[:1] if nowhere else listed  # said once when no row has it
            count += 1 if nowhere else missing
        if problems:
            raise DataError(shortened(problems, self.name, count))
        if not self.rows:
            fix = 'one object a line: {"prompt": "...", "answer": "..."}'
            raise DataError(Problem.plain(self.key, f"{self.name} has no rows", fix))


def checked(found: Iterable[Found], checker: Checker, limit: int | None = None) -> Iterator[Row]:
    """The sound rows, at most `limit` records read. Raises DataError after the last one when some were not sound."""
    for item in found:
        row = checker.take(item)
        if row is not None:
            yield row
        if checker.rows == limit:
            break
    checker.finish()


def _mapping(name: str, columns: dict[str, Any]) -> str:
    """What to type; a column that differs by case only is proposed outright."""
    same = next((theirs for theirs in columns if theirs.lower() == name.lower()), "COLUMN")
    return printable(f"--set data.columns.{name}={same}, one of: {', '.join(map(str, columns))}")


def _prompt_problem(prompt: Any, where: str) -> Problem | None:
    """A prompt is text, or chat messages the last of which is not the assistant's."""
    if isinstance(prompt, str):
        return None if prompt.strip() else Problem.plain(where, "prompt is empty")
    if isinstance(prompt, list) and prompt and all(isinstance(message, dict) for message in prompt):
        if not all({"role", "content"} <= message.keys() for message in prompt):
            return Problem.plain(where, "a message of prompt has no role or no content")
        if not all(isinstance(message["content"], str) and message["content"].strip() for message in prompt):
            return Problem.plain(where, "a message of prompt has no text as its content")
        strange = next((message["role"] for message in prompt if message["role"] not in ROLES), None)
        if strange is not None:
            return Problem.plain(where, f"a message of prompt has the role {strange!r}", f"one of: {', '.join(ROLES)}")
        if prompt[-1]["role"] == "assistant":
            return Problem.plain(where, "the last message of prompt is the assistant's", "end with a user message")
        return None
    return Problem.plain(where, f"prompt is {type(prompt).__name__}", "text, or a list of {role, content}")
