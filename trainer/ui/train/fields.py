"""Every field of a run spec as a form needs it, read from the spec itself: kind, choices, rule, default, help.

A key names a field as after --set: `optim.learning_rate`, `reward.components.0.weight`. No gradio, no HTML.
"""

from __future__ import annotations

import functools
import inspect
import os
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from trainer.memory.embedded import BUILTIN_CONFIGS
from trainer.presets import FILE_KEYS, explain
from trainer.rewards.library import REWARDS
from trainer.spec import RECORDS, SUM, Component, RunSpec
from trainer.spec.choices import ENCODINGS, OPTIMIZERS, SCHEDULERS
from trainer.tasks.catalogue import tasks
from trainer.text import Message, Words
from trainer.ui.train import toml

Kind = Literal["text", "lines", "string", "number", "flag", "choice", "value", "group"]
"""`lines` is a text of several lines, `string` one that is text whatever it looks like, `value` whatever is written as
TOML, `group` a section that may be left out."""

# The fields a beginner looks at first; the others are folded.
BASIC = (
    "model.name",
    "run.method",
    "generation.num_generations",
    "generation.max_completion_length",
    "grpo.beta",
    "optim.learning_rate",
    "optim.max_steps",
    "optim.per_device_train_batch_size",
    "optim.gradient_accumulation_steps",
    "lora.r",
)
BASIC_DATA = ("data.path", "data.name", "data.task")
# What is shown in a way of its own: the table of rewards, the mapping of columns, the lines of [trl].
COMPONENTS, COLUMNS, TRL = "reward.components", "data.columns", "trl"
KNOWN: Mapping[str, Sequence[str]] = {
    "data.encoding": ENCODINGS,
    "optim.optim": OPTIMIZERS,
    "optim.lr_scheduler_type": SCHEDULERS,
    "model.name": tuple(BUILTIN_CONFIGS),
    "reward.step_split": ("line", "step"),
}
"""Values proposed for a text."""
OF_PARAMS: Mapping[str, Sequence[str]] = {
    "tokens": ("word", "syllable"), "unit": ("characters", "words"), "style": ("stdin", "assert"),
}  # fmt: skip
"""Values that an argument of a reward function takes."""


@dataclass(frozen=True)
class Field:
    """parts: the fields of a `group`. bounds: of a number: ((">", 0.0), ("<=", 1.0))."""

    key: str
    kind: Kind
    rule: Message | str
    bounds: tuple[tuple[str, float], ...]
    is_whole: bool
    default: str
    is_required: bool
    choices: tuple[str, ...] = ()
    parts: tuple[Field, ...] = ()

    @property
    def name(self) -> str:
        return self.key.rpartition(".")[2]


@functools.cache
def sections() -> dict[str, tuple[Field, ...]]:
    """{section: its fields}; `title` and `trl` are under ""."""
    found: dict[str, tuple[Field, ...]] = {"": ()}
    for name, info in RunSpec.model_fields.items():
        if name in RECORDS:
            continue
        section = explain.section_class(info.annotation)
        if section is None:
            found[""] += (_field(name, info),)
        else:
            found[name] = _fields(section, name)
    return found


def _fields(section: type[BaseModel], prefix: str) -> tuple[Field, ...]:
    return tuple(_field(f"{prefix}.{name}", info) for name, info in section.model_fields.items())


@functools.cache
def of_component() -> tuple[Field, ...]:
    """The fields of one reward component; keys without their place, such as `weight`."""
    known = (SUM, *REWARDS)
    found = [_field(name, info) for name, info in Component.model_fields.items() if name != "components"]
    return tuple(replace(each, choices=known) if each.key == "function" else each for each in found)


@functools.cache
def of_params(function: str) -> tuple[Field, ...]:
    """The arguments of a function of the library, from its signature; keys as `params.extract`."""
    if function not in REWARDS:
        return ()
    taken = inspect.signature(REWARDS[function], eval_str=True).parameters.values()
    return tuple(_of_param(one) for one in taken)


def _of_param(one: inspect.Parameter) -> Field:
    is_union = typing.get_origin(one.annotation) in (typing.Union, types.UnionType)
    parts = typing.get_args(one.annotation) if is_union else (one.annotation,)
    kinds = [part for part in parts if part is not types.NoneType]
    choices = tuple(OF_PARAMS.get(one.name, ()))
    kind: Kind = "value"
    if choices:
        kind = "choice"
    elif kinds == [bool]:
        kind = "flag"
    elif kinds in ([int], [float]):
        kind = "number"
    elif kinds == [str]:
        kind = "string"
    is_required = one.default is one.empty
    default = "" if is_required else shown(one.default)
    return Field(f"params.{one.name}", kind, default or "-", (), kinds == [int], default, is_required, choices)


def _field(key: str, info: FieldInfo) -> Field:
    inner, optional = explain.kind_of(info)
    group = explain.section_class(inner) if not typing.get_args(inner) else None
    parts = _fields(group, key) if group is not None else ()
    kind, choices = _kind(key, inner)
    if kind == "text" and "\n" in str(info.default):
        kind = "lines"
    if kind == "choice" and (optional or info.is_required()):
        choices = ("", *choices)
    bounds = tuple(explain.limits(info))
    default = "" if info.is_required() else shown(info.get_default(call_default_factory=True))
    kind = "group" if parts else kind
    return Field(key, kind, explain.rule(info), bounds, inner is int, default, info.is_required(), choices, parts)


def _kind(key: str, inner: Any) -> tuple[Kind, tuple[str, ...]]:
    if inner is bool:
        return "flag", ()
    if inner in (int, float):
        return "number", ()
    if key == "data.task":
        return "choice", tuple(tasks())
    if inner is str:
        name = key.rpartition(".")[2]
        return ("lines" if "template" in name or name == "system_prompt" else "text"), tuple(KNOWN.get(key, ()))
    choices = tuple(_choices(inner))
    return ("choice", choices) if choices else ("value", ())


def _choices(inner: Any) -> Iterator[str]:
    """Of Literal, and of bool | Literal; nothing for any other union."""
    if typing.get_origin(inner) is Literal:
        yield from (shown(value) for value in typing.get_args(inner))
    elif typing.get_origin(inner) in (typing.Union, types.UnionType):
        parts = typing.get_args(inner)
        if all(part is bool or typing.get_origin(part) is Literal for part in parts):
            for part in parts:
                yield from ("true", "false") if part is bool else _choices(part)


def shown(value: Any) -> str:
    """A value as its control shows it; "" for None and for what is empty."""
    if value is None or value == [] or value == {} or value == ():
        return ""
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, float) and not isinstance(value, bool):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, str):
        return value
    try:
        return toml.inline(value)
    except TypeError:
        return str(value)


def every() -> Iterator[Field]:
    """Every field, those of groups too; not those of reward components."""
    for fields in sections().values():
        yield from _deep(fields)


def _deep(fields: Sequence[Field]) -> Iterator[Field]:
    for field in fields:
        yield field
        yield from _deep(field.parts)


@functools.cache
def _docs() -> dict[str, str]:
    """{key: English help}: the docstrings of the spec. `KEY.about` is that of a section."""
    found: dict[str, str] = {}

    def add(section: type[BaseModel], prefix: str) -> None:
        found[f"{prefix}about"] = section.__doc__ or ""
        for name, info in section.model_fields.items():
            found[f"{prefix}{name}"] = info.description or ""
            inner, _ = explain.kind_of(info)
            deeper = explain.section_class(inner) if not typing.get_args(inner) else None
            if deeper is not None:
                add(deeper, f"{prefix}{name}.")

    add(RunSpec, "")
    found = {key: text for key, text in found.items() if key.partition(".")[0] not in RECORDS}
    add(Component, "component.")
    for name, function in REWARDS.items():
        found[f"function.{name}"] = (function.__doc__ or "").strip().partition("\n")[0]
    return found


def help_keys() -> set[str]:
    """What every language but English has to say under [help]: without `trl` and the sections, which have `about`."""
    docs = _docs()
    return {key for key, text in docs.items() if text and key != "about" and f"{key}.about" not in docs}


def help_of(key: str, say: Words) -> str:
    """The sentence of a field, or of a section with `KEY.about`."""
    written = f"help.{key}"
    text = say(written) if written in say else _docs().get(key, "")
    return " ".join(text.replace("`", "").split())


def values(raw: Mapping[str, Any]) -> dict[str, str]:
    """{key: its value in a raw spec, as shown}, defaults filled in; those of reward components too."""
    found = {}
    for field in every():
        if field.kind == "group":
            found[field.key] = "true" if isinstance(_at(raw, field.key), dict) else ""
        elif field.key not in (COMPONENTS, TRL):
            known = _at(raw, field.key)
            found[field.key] = field.default if known is None else shown(known)
    for path in FILE_KEYS:
        found[".".join(path)] = _from_here(found[".".join(path)])
    components = _at(raw, COMPONENTS)
    found |= _of_components(components, COMPONENTS)
    return found


def _from_here(path: str) -> str:
    """A file below the folder the page was started in as it would be typed there, and is read again; else as it is."""
    here = os.path.join(Path.cwd(), "")
    return path.removeprefix(here) if ".." not in path else path


def params_of(component: Mapping[str, Any]) -> tuple[Field, ...]:
    """Those of a component of the library; of a person's own file nobody knows them before it runs."""
    return () if component.get("file") else of_params(str(component.get("function")))


def _of_components(components: Any, prefix: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for place, component in enumerate(components if isinstance(components, list) else ()):
        if isinstance(component, dict):
            for field in of_component():
                known = component.get(field.key)
                found[f"{prefix}.{place}.{field.key}"] = field.default if known is None else shown(known)
            params = component.get("params")
            for field in params_of(component):
                known = params.get(field.name) if isinstance(params, dict) else None
                found[f"{prefix}.{place}.{field.key}"] = field.default if known is None else shown(known)
            found |= _of_components(component.get("components"), f"{prefix}.{place}.components")
    return found


def _at(raw: Mapping[str, Any], key: str) -> Any:
    here: Any = raw
    for step in key.split("."):
        here = here.get(step) if isinstance(here, Mapping) else None
    return here
