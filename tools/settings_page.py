"""Write docs/settings.md: every key of a run spec with its type, bounds, default and help, from trainer/spec.

Run it after changing a key of the spec or the TRL pin; tests/docs/test_settings.py compares:

    .venv/bin/python -m tools.settings_page
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import annotated_types as bounds
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trainer.presets.explain import section_class
from trainer.spec import FIXED, RECORDS, SET_ELSEWHERE, RunSpec, trl_homes, trl_table
from trainer.text.words import DEFAULT, words

TARGET = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
NAMES = {str: "text", bool: "true or false", int: "whole number", float: "number", dict: "table", Any: "anything"}
HEAD = """\
# Settings

Every key of a preset, of `--set section.key=value` and of the form on the page. A key that carries the name of an
argument of TRL's `GRPOConfig` *is* that argument; those without a key of their own are set under their own name in
`[trl]`, listed at the end. A default of `none` (empty in the help) means that the key is left out, as
`--set section.key=` does; `required` means that it has no default.

This page is written by `tools/settings_page.py` from the sources in `trainer/spec/`. Change the help there.
"""
TABLE = "| key | type | default | what |\n|---|---|---|---|\n"
TRL = """
## trl

Any other argument of `GRPOConfig`, by its own name: `--set trl.{example}=...`. What each one does is in
[TRL's documentation](https://huggingface.co/docs/trl/grpo_trainer#trl.GRPOConfig). An argument that a key above
decides is refused with that key's name; one that has a single right value here takes no other.

| key | type | the only value, and why |
|---|---|---|
"""
ELSEWHERE = """
Refused in `[trl]`, because something else decides them:

| argument | set by |
|---|---|
"""


def kind(annotation: object) -> str:
    """An annotation in words: `whole number`, `text or none`, `list of text`."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is type(None):
        return "none"
    if origin is typing.Annotated:
        return _with_bounds(kind(parts[0]), parts[1:])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(kind(part) for part in parts)
    if origin is typing.Literal:
        return ", ".join(f"`{_value(part)}`" for part in parts)
    if origin is tuple:
        return f"[{', '.join(kind(part) for part in parts)}]"
    if origin is list:
        section = section_class(annotation)
        return "list of tables" if section is not None else f"list of {kind(parts[0])}"
    if section_class(annotation) is not None:
        return "table"
    return NAMES.get(typing.cast(Any, origin or annotation), "table")


def _with_bounds(base: str, metadata: tuple[object, ...]) -> str:
    limits = []
    for found in metadata:
        nested = found.metadata if isinstance(found, FieldInfo) else [found]
        for bound in nested:
            limits += [
                f"{sign} {getattr(bound, name)}"
                for of, name, sign in (
                    (bounds.Ge, "ge", ">="), (bounds.Gt, "gt", ">"), (bounds.Le, "le", "<="), (bounds.Lt, "lt", "<"),
                )
                if isinstance(bound, of)
            ]  # fmt: skip
            if isinstance(bound, bounds.MinLen):
                limits.append("not empty")
    return f"{base} {', '.join(limits)}" if limits else base


def _value(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def default(field: FieldInfo) -> str:
    """The default as TOML has it; `required` where there is none."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "none" if value is None else f"`{_value(value)}`"


def rows(section: type[BaseModel], path: str) -> Iterator[str]:
    """A table of one section, then those of the sections inside it."""
    yield f"\n## {path}\n\n{_line(section.__doc__ or '')}\n\n{TABLE}"
    below = []
    for name, field in section.model_fields.items():
        yield _row(f"{path}.{name}", field)
        found = section_class(field.annotation)
        if found is not None and found is not section:
            below.append((found, f"{path}.{name}" + (".0" if kind(field.annotation) == "list of tables" else "")))
    for found, place in below:
        yield from rows(found, place)


def _top(names: list[str]) -> Iterator[str]:
    """The keys that stand before the first section."""
    yield TABLE
    for name in names:
        if name != "trl":
            yield _row(name, RunSpec.model_fields[name])


def _row(key: str, field: FieldInfo) -> str:
    taken = _with_bounds(kind(field.annotation), tuple(field.metadata)).replace("|", "or")
    return f"| `{key}` | {taken} | {default(field)} | {_line(field.description or '')} |\n"


def _fixed(argument: str) -> str:
    if argument not in FIXED:
        return ""
    value, reason = FIXED[argument]
    english = words(DEFAULT)
    return f"`{_value(value)}`: {_line(english(reason) if reason in english else reason)}"


def _line(text: str) -> str:
    """One line of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def render() -> str:
    sections = [(name, section_class(field.annotation)) for name, field in RunSpec.model_fields.items()]
    sections = [(name, section) for name, section in sections if name not in RECORDS]
    parts = [HEAD, "\n## The top of the file\n\n", *_top([name for name, section in sections if section is None])]
    parts += ["".join(rows(section, name)) for name, section in sections if section is not None]
    others = sorted(argument for argument, key in trl_homes().items() if key == f"trl.{argument}")
    parts.append(TRL.format(example=next(argument for argument in others if argument not in FIXED)))
    parts += [f"| `trl.{name}` | {' or '.join(trl_table()[name])} | {_fixed(name)} |\n" for name in others]
    parts.append(ELSEWHERE)
    parts += [f"| `{argument}` | `{key}` |\n" for argument, key in sorted(SET_ELSEWHERE.items())]
    return "".join(parts)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
