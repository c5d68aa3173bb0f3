"""What the form of Train holds, as a browser sends it: JSON, checked here; and the raw spec it stands for.

    {"base": {"preset": NAME} | {"run": NAME} | {"toml": TEXT, "file": NAME}, "changes": ["section.key=value", ...],
     "recipes": [NAME, ...], "name": TEXT}

Another tab sends the same without a name (Frame.change). No gradio.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer import presets
from trainer.errors import Problem, SpecError, TrainerError
from trainer.machine.project import PROJECT
from trainer.presets import explain, rubric_file
from trainer.presets.stages import STAGE
from trainer.run.rundir import RunDir, outputs_dir
from trainer.ui.train import toml

MOST_TEXT = 100_000  # characters of a form a browser may send
MOST_CHANGES = 500
MOST_TOML = 64_000  # characters of an uploaded file
FIRST = "tiny"  # the preset a new form starts with, where there is one


class HeldBack(SpecError):
    """These problems hold back the look at the rest: there may be more."""


@dataclass(frozen=True)
class Form:
    """base: which settings are changed: `preset` and `run` by name, `toml` a text. changes: as after --set."""

    kind: str
    base: str
    file: str = ""
    """Name of the uploaded file; of a `toml` only."""
    changes: tuple[str, ...] = ()
    name: str | None = None
    """Of the new run; None takes the next free one."""
    recipes: tuple[str, ...] = ()
    """Laid over the settings before the changes, in this order."""

    @property
    def stem(self) -> str:
        """What a new run is called after."""
        if self.kind == "run":
            return numberless(self.base)
        return self.base if self.kind == "preset" else self.file.removesuffix(".toml") or "mine"


@dataclass(frozen=True)
class Source:
    """The settings a form starts from, its recipes laid over them. where: names them in problems.

    problems: of the recipes.
    """

    raw: dict[str, Any]
    where: str
    problems: tuple[Problem, ...] = ()


def numberless(name: str) -> str:
    """Of a run, as the next one of its kind is called after."""
    return re.sub(r"-\d{1,9}$", "", name)


def first() -> Form:
    names = [info.name for info in presets.list_presets()]
    return Form("preset", FIRST if FIRST in names or not names else names[0])


def read(text: Any, must_be_there: bool = False) -> tuple[Form, dict[str, Any]]:
    """The form in a browser's JSON, and everything else that stands beside it; an empty one is a new form.

    Raises SpecError for what is none, and for an empty one that must be there.
    """
    if not text and not must_be_there:
        return first(), {}
    if not isinstance(text, str) or len(text) > MOST_TEXT:
        raise SpecError(Problem("page.changes_long", most=MOST_TEXT))
    try:
        sent = json.loads(text)
        text.encode()
    except (ValueError, RecursionError):
        raise SpecError(Problem("page.form")) from None
    if not isinstance(sent, dict):
        raise SpecError(Problem("page.form"))
    base, changes, name = sent.get("base"), sent.get("changes", []), sent.get("name") or None
    if not isinstance(base, dict) or not isinstance(changes, list) or not isinstance(name, str | None):
        raise SpecError(Problem("page.form"))
    kind = next((kind for kind in ("preset", "run", "toml") if isinstance(base.get(kind), str)), None)
    if kind is None or len(changes) > MOST_CHANGES or not all(isinstance(change, str) for change in changes):
        raise SpecError(Problem("page.form"))
    file = base.get("file")
    named = Path(file.replace("\\", "/")).name[:80] if isinstance(file, str) else ""
    made = tuple(_as_toml(change) for change in changes)
    return Form(kind, base[kind], named, made, name.strip() or None if name else None, _recipes(sent)), sent


def _recipes(sent: Mapping[str, Any]) -> tuple[str, ...]:
    """Only those that were offered: a recipe may also be a file of this disk. Raises SpecError."""
    names = sent.get("recipes", [])
    if not isinstance(names, list):
        raise SpecError(Problem("page.form"))
    known = {recipe.name for recipe in presets.recipes.every()}
    unknown = [name for name in names if not isinstance(name, str) or name not in known]
    if unknown:
        raise SpecError(Problem("page.no_recipe", recipe=str(unknown[0])[:80]))
    return tuple(names)


def _as_toml(change: str) -> str:
    """A table or list that was typed as JSON, as TOML: what --set takes."""
    key, _, text = change.partition("=")
    if not text.lstrip().startswith(("{", "[")):
        return change
    try:
        tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        try:
            return f"{key}={toml.inline(json.loads(text))}"
        except (ValueError, TypeError, RecursionError):
            return change
    return change


def source(form: Form) -> Source:
    """The settings a form starts from. Raises TrainerError with what is wrong with them."""
    found = _source(form)
    raw, problems = presets.recipes.laid_over(found.raw, form.recipes)
    return Source(raw, found.where, tuple(problems))


def _source(form: Form) -> Source:
    if form.kind == "preset":
        # presets.find would also read any .toml on this disk: a page gets only what it was offered.
        info = next((info for info in presets.list_presets() if info.name == form.base), None)
        if info is None:
            raise SpecError(Problem("page.no_preset", preset=form.base[:80]))
        return Source(presets.tables(info.path), str(info.path))
    if form.kind == "run":
        run = RunDir.open(outputs_dir(), form.base)
        try:
            return Source(toml.plain(run.read_spec()), f"run {form.base}")
        except TrainerError:
            raise
        except (OSError, ValueError) as error:  # damaged, or written by another version
            raise SpecError(Problem("page.run_unreadable", run=form.base)) from error
    return Source(_tables(form), form.file or "TOML")


def _tables(form: Form) -> dict[str, Any]:
    """An uploaded text. Its folder is not known here: no path in it may be relative to it, unless a change
    names another."""
    where = form.file or "TOML"
    if len(form.base) > MOST_TOML:
        raise SpecError(Problem("page.toml_long", where, most=MOST_TOML))
    try:
        raw = tomllib.loads(form.base)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SpecError(Problem("page.toml", where, said=str(error))) from error
    return raw


def relative_files(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, value) of every file that is named by a path which is not absolute."""
    for number, stage in enumerate(_stages(raw)):
        yield from ((f"{STAGE}.{number}.{key}", value) for key, value in relative_files(stage))
    for path in presets.FILE_KEYS:
        here: Any = raw
        for step in path:
            here = here.get(step) if isinstance(here, dict) else None
        if isinstance(here, str) and here and not _is_absolute(here):
            yield explain.dotted(path), here
    yield from ((key, value) for key, value in (*reward_files(raw), *_rubrics(raw)) if not _is_absolute(value))


def _is_absolute(path: str) -> bool:
    return path.startswith("~") or Path(path).is_absolute()


def reward_files(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, value) of the file of every reward component, those inside sums too."""
    found = ((f"{key}.file", component.get("file")) for key, component in _components(raw))
    yield from ((key, value) for key, value in found if isinstance(value, str) and value)


def _rubrics(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, value) of the files that say what judges are asked."""
    for key, component in _components(raw):
        params = rubric_file.params_of(component)
        value = params.get(rubric_file.RUBRIC) if isinstance(params, dict) else None
        if isinstance(value, str) and value:
            yield f"{key}.params.{rubric_file.RUBRIC}", value


def _stages(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = raw.get(STAGE)
    return [stage for stage in found if isinstance(stage, dict)] if isinstance(found, list) else []


def _components(raw: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, stage in enumerate(_stages(raw)):
        yield from _parts_of(stage.get("reward"), f"{STAGE}.{number}.reward.components")
    yield from _parts_of(raw.get("reward"), "reward.components")


def _parts_of(here: Any, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    components = here.get("components") if isinstance(here, dict) else None
    for place, component in enumerate(components if isinstance(components, list) else ()):
        if isinstance(component, dict):
            yield f"{prefix}.{place}", component
            yield from _parts_of(component, f"{prefix}.{place}.components")


def likely_place(value: str) -> Path | None:
    """The file a relative path most likely means: in the project or beside its presets."""
    for folder in (PROJECT, presets.PRESETS_DIR):
        found = folder / value
        if "\0" not in value and found.is_file():
            return found.resolve()
    return None
