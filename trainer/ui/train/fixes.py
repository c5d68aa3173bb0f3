"""What a click can do about a problem: changes that were tried and after which it is gone.

Nothing is read from the words of a problem. The candidates come from the field it names (the nearest bound or choice,
its default, what it was before), from the keys its rule reads, and from the plan's arithmetic of batches and lengths.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from trainer import launch, presets
from trainer.data import guess, preview, shapes
from trainer.data.rows import needed_columns, own_arguments
from trainer.errors import DataError, PlanError, Problem, TrainerError
from trainer.plan import batch_of
from trainer.plan.batches import nearest_possible
from trainer.plan.checks import batch_problems, length_changes, length_problems
from trainer.preflight import machine
from trainer.presets import explain, rules
from trainer.presets.rules.registry import RULES
from trainer.rewards.library import REWARDS
from trainer.spec import RunSpec, trl_homes
from trainer.ui.train import fields, rows
from trainer.ui.train import form as forms
from trainer.ui.train.actions import Checked, file_problems, machine_problems

ROWS = ("data.path", "data.name")
MOST = 4  # ways shown for a problem
BUDGET_S = 0.4  # for trying them out, of all problems together ...
AT_LEAST = 3  # ... but for so many of each problem


@dataclass(frozen=True)
class Way:
    """changes: `section.key=value` to put in; without a value the key is left out. undo: keys whose change is taken
    back, so that what the form started from holds again."""

    changes: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()

    def applied(self, changes: tuple[str, ...]) -> tuple[str, ...]:
        gone = {*self.undo, *(key_of(change) for change in self.changes)}
        return (*(change for change in changes if key_of(change) not in gone), *self.changes)


def key_of(change: str) -> str:
    return change.partition("=")[0].strip()


def ways(checked: Checked) -> list[list[Way]]:
    """For each problem of a form, what would fix it; [] where nothing is known to."""
    if not checked.problems:
        return []
    if checked.making is not None:  # nothing is tried out meanwhile: it would wait for these rows, or make others
        return [list(_stopping(checked)) if one == checked.making else [] for one in checked.problems]
    try:
        base = forms.source(checked.form)
    except TrainerError:
        return [[] for _ in checked.problems]
    trial = _Trial(checked, base)
    return [trial.found(problem) for problem in checked.problems]


def _stopping(checked: Checked) -> Iterator[Way]:
    """Back to the rows there were before the task was chosen."""
    touched = [key_of(change) for change in checked.form.changes if key_of(change).startswith("data.task")]
    if touched:
        yield Way(undo=tuple(dict.fromkeys(touched)))


class _Trial:
    def __init__(self, checked: Checked, base: forms.Source) -> None:
        self.changes, self.base, self.raw = checked.form.changes, base, checked.raw
        self.is_built, self.plan = checked.is_built, checked.plan
        self.lacks_columns = any(each.key in ("data.no_column", "data.no_such_column") for each in checked.problems)
        self.deadline = time.monotonic() + BUDGET_S
        self.spec = _valid(checked.raw)
        # Rows are read by the settings of the rewards: only where those are sound.
        self.reads_rows = self.spec is not None and not rules.problems(self.spec)
        self.rows = _rows(self.spec) if self.reads_rows else None
        self.before, _ = self._after(self.changes)

    def found(self, problem: Problem) -> list[Way]:
        clean: list[Way] = []
        fixing: list[Way] = []
        seen: list[Any] = []
        if (problem.where, problem.what) not in self.before:
            return []  # it does not come from the settings: the name of the run
        for tried, way in enumerate(_once(self._candidates(problem))):
            if len(clean) == MOST or (tried >= AT_LEAST and time.monotonic() > self.deadline):
                break
            after, settings = self._after(way.applied(self.changes))
            gone = (problem.where, problem.what) not in after
            if not gone or settings in seen or self._loses_rows(problem, way) or self._makes_worse(problem, way, after):
                continue
            seen.append(settings)
            fixing.append(way)
            if not after - self.before or not self.is_built:
                clean.append(way)
        return (clean or fixing)[:MOST]

    def _loses_rows(self, problem: Problem, way: Way) -> bool:
        """Would a way take back that somebody has chosen own rows, or a column of theirs? Only of a file that cannot be
        read at all that is one."""
        undone = [key for key in way.undo if key in ROWS or key.startswith("data.columns.")]
        return bool(undone) and (problem.where not in ROWS or bool(_first_columns(self.raw)))

    def _makes_worse(self, problem: Problem, way: Way, after: set[tuple[str, str]]) -> bool:
        """Does a way bring a problem of its own? Others that only come to light are no fault of the way: much is not
        looked at while something else is wrong."""
        keys = (problem.where, *way.undo, *map(key_of, way.changes))
        return any(_touches(where, key) for where, _ in after - self.before for key in keys)

    def _after(self, changes: tuple[str, ...]) -> tuple[set[tuple[str, str]], Any]:
        """((where, what) of every problem that is left with these changes, what the settings then are)."""
        draft = presets.draft(self.base.raw, changes, self.base.where)
        of_files = list(file_problems(draft.raw))
        found = [*draft.problems, *of_files]
        if draft.spec is not None and not of_files:
            batch = batch_of(draft.spec, self.rows, 1)
            found += [*_of_data(draft.spec), *batch_problems(batch), *length_problems(draft.spec)]
            found += self._of_machine(draft.spec) if not found else []
        settings = fields.values(draft.raw), draft.raw.get("trl"), set(draft.raw), len(draft.problems)
        return {(each.where, each.what) for each in found}, settings

    def _of_machine(self, spec: RunSpec) -> list[Problem]:
        try:
            return machine_problems(spec, launch.plan_here(spec, self.rows))
        except PlanError as error:
            return error.problems

    # ---- candidates, the likeliest first

    def _candidates(self, problem: Problem) -> Iterator[Way]:
        key = problem.where
        path = tuple(int(step) if step.isdecimal() else step for step in key.split("."))
        field = explain.field_at(path)
        if key in map(key_of, self.changes) and field is not None:
            yield Way(undo=(key,))
        yield from self._of_plan(problem)
        yield from self._of_this_machine(problem)
        if field is None:
            yield from self._renamed(key, path)
        elif len(path) > 1:
            yield from self._of_field(key, path)
        yield from self._of_rule(problem)
        if problem.key == "data.looks_like":
            yield Way((f"data.encoding={problem.values['encoding']}",))
        if problem.values.get("leave") and not self.lacks_columns:
            yield Way((f"{problem.values['leave']}=",))
        if problem.values.get("likely"):
            yield Way((shapes.change(problem.values["ours"], problem.values["likely"]),))
        yield from self._of_columns()
        for change in self.changes:
            yield from self._undone(key_of(change))

    def _renamed(self, key: str, path: explain.Path) -> Iterator[Way]:
        for change in self.changes:
            if key_of(change) == key:
                other, _ = explain.meant(path)
                if other:
                    yield Way((f"{other}={change.partition('=')[2]}",), (key,))
                if path[0] == "trl" and (close := explain.nearest(str(path[-1]), trl_homes())):
                    yield Way((f"{trl_homes()[close[0]]}={change.partition('=')[2]}",), (key,))

    def _of_field(self, key: str, path: explain.Path) -> Iterator[Way]:
        field, value = explain.field_at(path), _at(self.raw, path)
        assert field is not None
        likely = forms.likely_place(value) if isinstance(value, str) and _names_a_file(key) else None
        if likely is not None:
            yield Way((f"{key}={likely}",))
        known = REWARDS if path[-1] == "function" else fields.KNOWN.get(key, ())
        if isinstance(value, str):
            yield from (Way((f"{key}={name}",)) for name in explain.nearest(value, known, 2))
        text, _ = explain.instead(value, field)
        if text and self.spec is None and not known:
            yield Way((f"{key}={text}",))
        yield from self._undone(key)
        yield from self._other_values(key)

    def _other_values(self, key: str) -> Iterator[Way]:
        """A switch turned, another choice, the key left out."""
        field = next((each for each in fields.every() if each.key == key), None)
        if field is None:
            return
        now = fields.values(self.raw).get(key, "")
        if field.kind == "flag":
            yield Way((f"{key}={'false' if now == 'true' else 'true'}",))
        if not field.is_required and _at(self.raw, tuple(key.split("."))) is not None:
            yield Way((f"{key}=",))
        if field.kind == "choice":
            yield from (Way((f"{key}={choice}",)) for choice in field.choices if choice not in ("", now))

    def _of_plan(self, problem: Problem) -> Iterator[Way]:
        """The nearest possible batches and lengths."""
        if self.spec is None:
            return
        batch, found = batch_of(self.spec, self.rows, 1), []
        if problem in batch_problems(batch):
            found += nearest_possible(batch)
        if problem in length_problems(self.spec):
            found += length_changes(self.spec)
        for change in found:
            yield Way(tuple(f"{key}={value}" for key, value in change.items()))

    def _of_this_machine(self, problem: Problem) -> Iterator[Way]:
        """Without Unsloth, or what makes the run smaller."""
        if self.spec is None or self.plan is None:
            return
        if problem.where == "model.engine":
            yield Way(tuple(word for word in shlex.split(machine.without_unsloth(self.spec)) if word != "--set"))
        if problem.where == "memory":
            for each in self.plan.suggestions:
                yield Way(tuple(f"{key}={fields.shown(value)}" for key, value in each.changes))

    def _of_rule(self, problem: Problem) -> Iterator[Way]:
        """The other keys that the broken rule reads."""
        if self.spec is None:
            return
        for rule in RULES:
            keys = [explain.dotted(key) for key in rule.keys]
            if problem in rule.check(self.spec):
                for key in keys:
                    yield from self._undone(key)
                for key in keys:
                    yield from self._other_values(key)

    def _of_columns(self) -> Iterator[Way]:
        """A column that is called otherwise in the file, or rows that are held out as well."""
        if self.spec is None or not self.reads_rows or self.spec.data.path is None:
            return
        yield Way(("data.leaks=drop",))
        known, likely = columns_of(self.spec), _likely(self.spec)
        mapped = self.spec.data.columns
        for missing in [*needed_columns(self.spec), *own_arguments(self.spec)]:
            taken = {theirs for ours, theirs in mapped.items() if ours != missing}  # a question is not its own answer
            for name in filter(None, [likely.get(missing), *explain.nearest(missing, known, 2), *known[:MOST]]):
                if name not in taken:
                    yield Way((shapes.change(missing, name),))

    def _undone(self, key: str) -> Iterator[Way]:
        touched = [key_of(change) for change in self.changes if _touches(key_of(change), key)]
        if touched:
            yield Way(undo=tuple(dict.fromkeys(touched)))


def _once(ways: Iterator[Way]) -> Iterator[Way]:
    """Each the first time: the later ones are made only when they are needed."""
    seen: set[Way] = set()
    for way in ways:
        if way not in seen:
            seen.add(way)
            yield way


def columns_of(spec: RunSpec) -> list[str]:
    """Columns of the data file, as they are called there, and what is inside them; [] when it cannot be read."""
    return _columns(spec.data.path, spec.data.encoding)


def _first_columns(raw: dict[str, Any]) -> list[str]:
    return _columns(_at(raw, ("data", "path")), _at(raw, ("data", "encoding")))


def _columns(path: Any, encoding: Any) -> list[str]:
    try:
        found = preview.first_records(str(path), 1, encoding)
    except (DataError, LookupError):
        return []
    return shapes.leaves(found[0]) if found else []


def _likely(spec: RunSpec) -> dict[str, str]:
    """{ours: the column of the file that is likely meant}."""
    try:
        return dict(guess.columns(guess.table(str(spec.data.path)).records).mapped)
    except DataError:
        return {}


def _rows(spec: RunSpec | None) -> int | None:
    try:
        data = rows.surveyed(spec) if spec is not None else None
    except DataError:
        return None
    return data.rows if data is not None else None


def _of_data(spec: RunSpec) -> list[Problem]:
    try:
        rows.surveyed(spec)
    except DataError as error:
        return error.problems
    return []


def _valid(raw: dict[str, Any]) -> RunSpec | None:
    """The spec with its rules unasked."""
    try:
        return RunSpec.model_validate(raw)
    except ValidationError:
        return None


def _touches(changed: str, key: str) -> bool:
    return changed == key or changed.startswith(f"{key}.") or key.startswith(f"{changed}.")


def _names_a_file(key: str) -> bool:
    return tuple(key.split(".")) in presets.FILE_KEYS or key.endswith(".file")


def _at(raw: Any, path: explain.Path) -> Any:
    here = raw
    for step in path:
        if isinstance(here, dict):
            here = here.get(step)
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            here = here[step]
        else:
            return None
    return here
