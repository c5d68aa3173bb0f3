"""What a row must have, checked row by row in bounded memory; every problem names file:line.

Imports the spec and the (light) library of rewards.
"""

from __future__ import annotations

import ast
import functools
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from trainer.data import difficulty, missing, shapes
from trainer.data.cut_golds import CutGolds
from trainer.data.decoding import EXAMPLE, Found
from trainer.data.values import Kind, Unusable, kind_of, merged, printable, refuse_half_characters, texts, word
from trainer.errors import DataError, Problem, Unfit
from trainer.rewards import own_file
from trainer.rewards.gold_completion import gold_columns
from trainer.rewards.library import REWARDS
from trainer.spec import RunSpec
from trainer.text import Message

MAX_PROBLEMS = 10  # listed one by one; the rest is counted
FEW_SHOT, WARM_START = "data.few_shot.path", "model.warm_start.path"
RESERVED = frozenset(
    {"prompts", "completions", "completion_ids", "completion", "trainer_state", "log_extra", "log_metric"}
)
"""Arguments of reward functions that are TRL's own: no column can be passed under such a name."""
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
    needed = [name for name in fields(data.prompt_template) if name not in made] or ["prompt"]
    if data.instruction is not None:
        needed.append(data.instruction.by)
    if few_shot is not None and few_shot.by is not None:
        needed.append(few_shot.by)
    if few_shot is not None and few_shot.path is None and key == "data.path":
        needed += fields(few_shot.template)
    if key == "data.path":
        needed += [*difficulty.columns(spec), *(fields(spec.sft_template) if spec.run.method == "sft" else ())]
    if key == WARM_START and spec.model.warm_start is not None:
        needed += fields(spec.model.warm_start.completion_template)
    else:
        needed += reward_columns(spec)
    return list(dict.fromkeys(needed))


def reward_columns(spec: RunSpec) -> list[str]:
    """Columns the library's functions read."""
    leaves = [leaf for leaf in spec.reward.leaves() if leaf.file is None and leaf.function in REWARDS]
    return list(dict.fromkeys(name for leaf in leaves for name in REWARDS[leaf.function](**leaf.params).columns))


def reserved(spec: RunSpec) -> frozenset[str]:
    """Names of columns that no reward is given. With process supervision the argument `steps` is of the completion."""
    steps = {"steps"} if spec.reward.supervision == "process" else set()
    return RESERVED | steps | ({"environments"} if spec.episode.is_on else set())


def own_arguments(spec: RunSpec, key: str = "data.path") -> dict[str, str]:
    """{argument that a person's function cannot do without: title of its component}, as far as reading tells."""
    leaves = [leaf for leaf in spec.reward.leaves() if leaf.file is not None and key not in (FEW_SHOT, WARM_START)]
    asked = ((name, one.title) for one in leaves for name in own_file.asks(str(one.file), one.function, one.params))
    return {name: title for name, title in asked if name not in {*reserved(spec), "prompt"}}


def wanted(spec: RunSpec, key: str = "data.path") -> list[str]:
    """Columns that are looked for in a row: those it must have, and those it would be used for."""
    gold = [] if key in (FEW_SHOT, WARM_START) else fields(spec.reward.gold_template)
    return list(dict.fromkeys([*needed_columns(spec, key), *own_arguments(spec, key), *gold]))


def shortened(problems: list[Problem], name: str, count: int | None = None) -> list[Problem]:
    """The first ten in the order of their lines, and how many more of `count` there are."""
    first = sorted(problems, key=_place)[:MAX_PROBLEMS]
    rest = (len(problems) if count is None else count) - len(first)
    return first if rest <= 0 else [*first, Problem("data.more_bad_rows", name, count=rest)]


def _place(problem: Problem) -> int:
    line = problem.place.rpartition(":")[2]
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
    mixed: set[str] = field(default_factory=set)
    """Columns that hold values of several kinds: of gold answers, and a prompt whose turns have several keys."""
    _places: dict[str, str] = field(default_factory=dict)
    """{ours: what the newest record calls it} of what nobody has named."""
    _problems: list[Problem] = field(default_factory=list)
    _count: int = 0
    _missing: dict[str, tuple[list[Problem], int]] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _first: Row | None = None
    _raw: dict[str, Any] = field(default_factory=dict)
    """The first record as it stands in the file."""
    _notes: dict[Message, tuple[int, int]] = field(default_factory=dict)
    """{what is odd: (rows, line of the first)}."""

    def __post_init__(self) -> None:
        self.needed = needed_columns(self.spec, self.key)
        self._arguments, self._wanted = own_arguments(self.spec, self.key), wanted(self.spec, self.key)
        self._read_by_rewards = set(reward_columns(self.spec))
        self._golds = gold_columns(self.spec.reward)
        judged = self.key not in (FEW_SHOT, WARM_START)
        self._cut = [CutGolds(name, functions) for name, functions in self._golds.items() if judged]
        self._made = self.spec.data.instruction is not None or self.spec.data.few_shot is not None
        self._asks = fields(self.spec.data.prompt_template) == ("prompt",)
        self._reserved = reserved(self.spec)
        self._of_the_file: list[Message] = []

    def take(self, found: Found) -> Row | None:
        """The row of a record with its columns renamed; None when something is wrong with it."""
        if isinstance(found, Problem):
            self._add(found)
            return None
        if isinstance(found, Message):
            self._of_the_file.append(found)
            return None
        made = shapes.mapped(found.columns, self.spec.data, self._wanted)
        row, self._places = Row(found.line, made.columns), made.taken
        for note in made.notes():
            self._note(note, row.line)
        self.rows += 1
        if self._first is None:
            self._first, self._raw = row, found.columns
        self._seen.update(row.columns)
        before = self._count
        where = f"{self.name}:{row.line}"
        kinds: dict[str, Kind] = {}
        for problem in self._of(row.columns, row.line, kinds):
            self._add(problem)
        lacks = self._look_for_missing(row.columns, found.columns, where)
        self._compare(kinds, row.line, where)
        return row if self._count == before and not lacks else None

    def _add(self, problem: Problem) -> None:
        self._count += 1
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(problem)

    def _note(self, odd: Message, line: int) -> None:
        count, first = self._notes.get(odd, (0, line))
        self._notes[odd] = (count + 1, first)

    def _look_for_missing(self, columns: dict[str, Any], raw: dict[str, Any], where: str) -> bool:
        lacking = [name for name in self.needed if name not in columns]
        for name in lacking:
            listed, count = self._missing.get(name, ([], 0))
            if len(listed) < MAX_PROBLEMS:
                listed.append(self._no_column(name, raw, where))
            self._missing[name] = (listed, count + 1)
        return bool(lacking)

    def _no_column(self, name: str, raw: dict[str, Any], where: str, component: str = "") -> Problem:
        """What to type so that a column is found. component: whose argument it is."""
        columns = self.spec.data.columns
        theirs = columns.get(name, name)
        free = [each for each in raw if each not in {*self.needed, *columns, *columns.values()}]
        said = missing.proposed(name, theirs, raw, free, name in fields(self.spec.data.prompt_template))
        if self.key == "data.path" and name in difficulty.columns(self.spec):
            return Problem("data.no_difficulty", where, column=name, known=list(map(shapes.escaped, raw)))
        if component:
            return Problem("data.no_argument", where, component=component, **said)
        of_another = ""
        if self._is_another_file():  # what would suit it alone does not suit the rows that are trained on
            of_another = "_of_another"
            said |= {"leave": "model.warm_start" if self.key == WARM_START else self.key}
        if theirs != name:
            return Problem(f"data.no_such_column{of_another}", where, theirs=shapes.escaped(theirs), **said)
        return Problem(f"data.no_column{of_another}", where, **said)

    def _is_another_file(self) -> bool:
        data, warm_start = self.spec.data, self.spec.model.warm_start
        paths = {"data.eval_path": data.eval_path}
        paths |= {FEW_SHOT: data.few_shot.path} if data.few_shot is not None else {}
        paths |= {WARM_START: warm_start.path} if warm_start is not None else {}
        return paths.get(self.key) not in (None, data.path)

    def _compare(self, kinds: dict[str, Kind], row: int, where: str) -> None:
        """Arrow would turn 42 into 42.0, or refuse the whole file."""
        for column, kind in kinds.items():
            known, line = self.columns.get(column, (None, row))
            try:
                self.columns[column] = (merged(known, kind, column in self.needed), row if known is None else line)
            except Unusable as error:
                if column in self._golds:  # each value says itself what it means
                    self.mixed.add(column)
                    continue
                both = {"column": column, "line": line}
                if word(kind) != word(known):
                    self._add(Problem("data.two_kinds", where, kind=word(kind), first=word(known), **both))
                else:
                    self._add(Problem("data.kinds_inside", where, why=error.message, **both))

    def _of(self, columns: dict[str, Any], line: int, kinds: dict[str, Kind]) -> Iterator[Problem]:
        """Puts the kinds of the values into `kinds`."""
        before, where = self._count, f"{self.name}:{line}"
        for name, value in columns.items():
            if name in self._reserved and name in self._read_by_rewards:
                yield Problem("data.reserved", where, column=name)
            elif name in self._reserved:
                self._note(Message("data.odd.reserved", column=name), line)
            if name == "prompt" and not self._judges(value):
                kinds[name] = "str"  # what is made of the template takes its place
                continue
            try:
                refuse_half_characters(name)
                if name in ("image", "images"):
                    raise Unusable("data.why.image")
                kinds[name] = self._kind(name, value)
            except Unfit as error:
                yield Problem("data.unusable", where, column=printable(name), why=error.message)
                continue
            if "\0" in texts(value):
                self._note(Message("data.odd.nul", column=name), line)
        for name in self.needed:
            value = columns.get(name, "?")
            if value is None:
                yield Problem("data.null", where, column=name)
            elif name in self._read_by_rewards and isinstance(value, dict):
                inner = shapes.leaves({self._place_of(name): value})
                change = shapes.typed(shapes.change(name, inner[1] if len(inner) > 1 else "COLUMN"))
                yield Problem("data.object_read", where, column=name, change=change)
            elif name != "prompt" and name not in self._read_by_rewards and _has_objects(value):
                yield Problem("data.object_sent", where, column=name)
            elif name in self._read_by_rewards and isinstance(value, str) and not value.strip():
                self._note(Message("data.odd.empty", column=name), line)
        for cut in self._cut:
            cut.look(columns.get(cut.column), line)
            if _is_written_list(columns.get(cut.column)):
                self._note(Message("data.odd.list", column=cut.column), line)
        prompt = columns.get("prompt")
        if isinstance(prompt, list) and any(isinstance(turn, dict) and len(turn) > 2 for turn in prompt):
            self.mixed.add("prompt")  # Arrow would give every turn the keys that one of them has
        if self._count == before:
            yield from self._of_the_prompt(columns, line)

    def _kind(self, name: str, value: Any) -> Kind:
        """Raises Unfit for what cannot be stored or, in a column of gold answers, not be compared."""
        if name not in self._golds or isinstance(value, dict):
            return kind_of(value, name in self.needed)
        parts = value if isinstance(value, list) else [value]
        kinds = [kind_of(part) for part in parts]
        for function in self._golds[name]:
            if function.gold is not None:
                function.gold(value)
        if not isinstance(value, list):
            return kinds[0]
        try:
            return ("list", functools.reduce(merged, kinds, None))
        except Unusable:
            self.mixed.add(name)
            return ("list", None)

    def _of_the_prompt(self, columns: dict[str, Any], line: int) -> Iterator[Problem]:
        where = f"{self.name}:{line}"
        if self.key == FEW_SHOT:
            if isinstance(columns.get("prompt"), list) and "prompt" in self.needed:
                yield Problem("data.messages_made", where)
            return
        prompt, data = columns.get("prompt", "?"), self.spec.data
        problem = _prompt_problem(prompt, where) if self._judges(prompt) else None
        if problem:
            yield problem
        elif isinstance(prompt, list):
            if self._made:
                yield Problem("data.messages_made", where)
            elif data.system_prompt or data.prompt_template != "{prompt}":
                self._note(Message("data.odd.messages"), line)
        elif not self._asks and not any(str(columns.get(name, "?")).strip() for name in self._asked()):
            yield Problem("data.all_empty", where)
        if data.instruction is not None and columns.get(data.instruction.by) is not None:
            kind = str(columns[data.instruction.by])
            if kind not in data.instruction.texts:
                known = ", ".join(data.instruction.texts)
                yield Problem(
                    "data.no_instruction", where, column=data.instruction.by, seen=repr(kind[:60]), known=known
                )

    def _place_of(self, name: str) -> str:
        return self.spec.data.columns.get(name) or self._places.get(name, name)

    def _judges(self, prompt: Any) -> bool:
        """Whether the column `prompt` is sent: messages always are, anything else where a template names it."""
        return isinstance(prompt, list) or "prompt" in self.needed

    def _asked(self) -> list[str]:
        return [name for name in fields(self.spec.data.prompt_template) if name not in ("instruction", "few_shot")]

    @property
    def messages(self) -> bool:
        """The prompts are lists of messages."""
        return isinstance(self.columns.get("prompt", (None, 0))[0], tuple)

    def warnings(self) -> list[Message]:
        """What is legal and odd, with the first line it was seen in."""
        odd = [
            Message("data.note.odd", place=f"{self.name}:{line}", odd=odd, count=count)
            for odd, (count, line) in self._notes.items()
        ]
        return [*self._of_the_file, *odd, *(said for cut in self._cut for said in cut.warnings(self.name))]

    def finish(self) -> None:
        """Raise DataError with the first ten problems and the count of all."""
        problems, count = list(self._problems), self._count
        for name, (listed, rows) in self._missing.items():
            nowhere = name not in self._seen and self._first is not None
            problems += listed[:1] if nowhere else listed  # said once when no row has it
            count += 1 if nowhere else rows
        for name, component in self._arguments.items():
            if self._first is not None and name not in self._seen | self._missing.keys():
                where = f"{self.name}:{self._first.line}"
                problems.append(self._no_column(name, self._raw, where, component))
                count += 1
        if problems:
            raise DataError(shortened(problems, self.name, count))
        if not self.rows:
            raise DataError(Problem("data.no_rows", self.key, name=self.name, example=EXAMPLE))


def checked(found: Iterable[Found], checker: Checker, limit: int | None = None) -> Iterator[Row]:
    """The sound rows, at most `limit` records read. Raises DataError after the last one when some were not sound."""
    for item in found:
        row = checker.take(item)
        if row is not None:
            yield row
        if checker.rows == limit:
            break
    checker.finish()


def _is_written_list(value: Any) -> bool:
    """A text that spells a list of texts, as a table without types has it."""
    if not isinstance(value, str) or not value.startswith(('["', "['")):
        return False
    try:
        found = ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False
    return isinstance(found, list) and all(isinstance(each, str) for each in found)


def _has_objects(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(part, dict) for part in value))


def _prompt_problem(prompt: Any, where: str) -> Problem | None:
    """A prompt is text, or chat messages the last of which is not the assistant's."""
    if isinstance(prompt, str):
        return None if prompt.strip() else Problem("data.prompt_empty", where)
    if isinstance(prompt, list) and prompt and all(isinstance(message, dict) for message in prompt):
        if not all({"role", "content"} <= message.keys() for message in prompt):
            return Problem("data.message_keys", where)
        if not all(isinstance(message["content"], str) and message["content"].strip() for message in prompt):
            return Problem("data.message_text", where)
        strange = next((message["role"] for message in prompt if message["role"] not in ROLES), None)
        if strange is not None:
            return Problem("data.message_role", where, seen=repr(strange), known=list(ROLES))
        if prompt[-1]["role"] == "assistant":
            return Problem("data.message_last", where)
        return None
    return Problem("data.prompt_kind", where, kind=type(prompt).__name__)
