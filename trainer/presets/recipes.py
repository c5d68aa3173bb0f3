"""Recipes: published ways to train, laid over any preset. Their order: preset, recipes, then what is set by hand.

A recipe is a TOML file in `recipes/`, or of a person's own. It changes how a model learns (SECTIONS), never which one
or from what. What it changed is written down in the spec (`RunSpec.recipes`), so that plan, report and a clone of the
run know; that record changes nothing by itself. Imports spec, explain and text.
"""

from __future__ import annotations

import copy
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import PresetError, Problem
from trainer.machine.project import PROJECT
from trainer.presets import explain, headers, methods, stages
from trainer.presets.toml_files import read
from trainer.spec import RunSpec
from trainer.text import Message

RECIPES_DIR = PROJECT / "recipes"
SECTIONS = ("lora", "generation", "sampling", "grpo", "optim", "trl")
_WORDS = ("title", "titles")


@dataclass(frozen=True)
class Recipe:
    """title: one line of what it is. papers: the line of its header that says where it is from."""

    name: str
    path: Path
    title: str
    titles: Mapping[str, str]
    papers: str
    tables: Mapping[str, Any]

    def title_in(self, language: str) -> str:
        return self.titles.get(language) or self.title

    def values(self) -> dict[str, Any]:
        """{section.key: value} of everything it sets."""
        return dict(_leaves({name: self.tables[name] for name in self.tables if name not in _WORDS}))


@dataclass(frozen=True)
class Change:
    """What a recipe did to one key; values as TOML writes them, "" where the key was not set.

    by_hand: what was put in instead of the recipe's value; None where that holds.
    """

    recipe: str
    key: str
    before: str
    after: str
    by_hand: str | None = None

    def message(self) -> Message:
        before, after, now = (value or Message("presets.not_set") for value in (self.before, self.after, self.by_hand))
        key = "presets.recipe_change" if self.by_hand is None else "presets.recipe_by_hand"
        return Message(key, key=self.key, before=before, after=after, now=now)


def every() -> list[Recipe]:
    """The recipes in `recipes/`, by name. Raises PresetError for one that cannot be read."""
    return [_read(path) for path in sorted(RECIPES_DIR.glob("*.toml"))]


def find(name: str) -> Recipe:
    """A recipe by its name, or by the path of its file. Raises PresetError."""
    known = {path.stem: path for path in sorted(RECIPES_DIR.glob("*.toml"))}
    path = known.get(name.removesuffix(".toml")) or Path(os.path.expanduser(name))
    if path.suffix == ".toml" and path.is_file():
        return _read(path)
    close = explain.nearest(name, known, 3)
    names = {"names": close} if close else {"names": list(known)}
    fix = Message("presets.fix.did_you_mean_one_of" if close else "presets.fix.recipes", **names)
    raise PresetError(Problem("presets.no_such_recipe", name=name, fix=fix))


def _read(path: Path) -> Recipe:
    raw = read(path)
    lines = headers.header(path.read_text(encoding="utf-8"))
    papers = next((line for line in lines if line.startswith(("Paper", "Source"))), "").partition(": ")[2]
    wrong = [
        Problem("presets.recipe_of_other_section", key, recipe=path.stem, sections=list(SECTIONS))
        for key, value in raw.items()
        if key not in _WORDS and not (key in SECTIONS and isinstance(value, dict))
    ]
    if wrong:
        raise PresetError(wrong)
    return Recipe(path.stem, path, str(raw.get("title", path.stem)), dict(raw.get("titles") or {}), papers, raw)


def laid_over(raw: Mapping[str, Any], names: Sequence[str]) -> tuple[dict[str, Any], list[Problem]]:
    """A copy of a raw spec with recipes laid over it, one after the other, and what is wrong with that.

    A key that the spec holds `fixed` is left as it is, and a recipe that has another value for it is a problem.
    """
    laid: dict[str, Any] = copy.deepcopy(dict(raw))
    problems: list[Problem] = []
    for name in dict.fromkeys(names):
        try:
            recipe = find(name)
        except PresetError as error:
            problems += error.problems
            continue
        done: dict[str, list[str]] = {}
        for key, value in recipe.values().items():
            before = _now(laid, key)
            if _is_fixed(laid, key) and not same(_text(before), _text(value)):
                values = {"recipe": recipe.name, "wanted": _text(value), "kept": _text(before)}
                problems.append(Problem("presets.recipe_against_fixed", key, **values))
                continue
            stages.apart(laid, key.split("."))
            if _put(laid, key, value):
                done[key] = [_text(before), _text(value)]
        record = laid.get("recipes")
        laid["recipes"] = {**(record if isinstance(record, dict) else {}), recipe.name: done}
    return laid, problems


def changes(spec: RunSpec) -> list[Change]:
    """What the recipes of a spec changed, and which of it was changed again by hand; nothing of what stayed."""
    last = {key: name for name, done in spec.recipes.items() for key in done}
    tables, found = spec.model_dump(mode="json"), []
    for name, done in spec.recipes.items():
        for key, (before, after) in done.items():
            if methods.is_unread(key, spec.run.method):
                continue
            now = _text(_at(tables, key))
            by_hand = now if last[key] == name and not same(now, after) else None
            if by_hand is not None or not same(before, after):
                found.append(Change(name, key, before, after, by_hand))
    return found


def same(one: str, other: str) -> bool:
    """Whether two values, as TOML writes them, are the same: 5 and 5.0 are."""
    if one == other:
        return True
    try:
        return bool(tomllib.loads(f"v = {one}") == tomllib.loads(f"v = {other}"))
    except tomllib.TOMLDecodeError:
        return False


def _leaves(table: Mapping[str, Any], head: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{head}{name}.")
        else:
            yield f"{head}{name}", value


def _at(tables: Any, key: str) -> Any:
    for step in key.split("."):
        tables = tables.get(step) if isinstance(tables, Mapping) else None
    return tables


def _now(raw: Mapping[str, Any], key: str) -> Any:
    """The value of a key in a raw spec; its default where it is not there."""
    value = _at(raw, key)
    field = explain.field_at(tuple(key.split(".")))
    if value is None and field is not None and not field.is_required():
        value = field.get_default(call_default_factory=True)
    return value


def _text(value: Any) -> str:
    return "" if value is None else explain.shown(value)


def _is_fixed(raw: Mapping[str, Any], key: str) -> bool:
    fixed = raw.get("fixed")
    return isinstance(fixed, list) and key in fixed


def _put(raw: dict[str, Any], key: str, value: Any) -> bool:
    """Put a value in; False where the spec has something else than a table on the way, which is refused later."""
    *parents, last = key.split(".")
    here: Any = raw
    for step in parents:
        here = here.setdefault(step, {}) if isinstance(here, dict) else None
    if not isinstance(here, dict):
        return False
    here[last] = copy.deepcopy(value)
    return True
