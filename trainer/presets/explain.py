"""What is wrong with a raw spec: pydantic's errors and unknown keys as Problems.

Each key gets one problem: the value seen, the rule of its field, and what to type. Nearest names are looked for in the
key's own section first, then in every other section and among TRL's arguments.

Imports pydantic, spec and text. Knows nothing about files or about rules across fields.
"""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import annotated_types as bounds
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from trainer.errors import Problem
from trainer.spec import RECORDS, RunSpec, trl_homes
from trainer.text import Message
from trainer.text.chain import Part, chain

Path = tuple[str | int, ...]
_KINDS = {
    str: Message("presets.rule.text"),
    bool: Message("presets.rule.flag"),
    int: Message("presets.rule.whole"),
    float: Message("presets.rule.number"),
}
_TABLE = Message("presets.rule.table")
RENAMED = {"lora.start_from": "model.adapter"}
"""{key of an earlier version: what it is called now}."""


def dotted(path: Sequence[str | int]) -> str:
    return ".".join(str(step) for step in path)


def shown(value: object) -> str:
    """A value as TOML would have it, cut to one short line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = '"' + value.replace("\n", "\\n") + '"'
    elif isinstance(value, Mapping):
        text = "{...}" if value else "{}"
    else:
        text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def nearest(name: str, names: Iterable[str], count: int = 1) -> list[str]:
    """The names most like `name`, best first; [] when none is close."""
    by_lower = {candidate.lower(): candidate for candidate in names}
    found = difflib.get_close_matches(name.lower(), sorted(by_lower), n=count, cutoff=0.6)
    return [by_lower[match] for match in found]


def section_class(annotation: object) -> type[BaseModel] | None:
    """The Section in an annotation like `Lora`, `WarmStart | None` or `list[Component]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in typing.get_args(annotation):
        if (found := section_class(part)) is not None:
            return found
    return None


def field_at(path: Path) -> FieldInfo | None:
    """The field a key names; None when there is none (also inside free tables such as params)."""
    section: type[BaseModel] | None = RunSpec
    field: FieldInfo | None = None
    for step in path:
        if isinstance(step, int):
            continue
        field = section.model_fields.get(step) if section is not None else None
        if field is None:
            return None
        section = section_class(field.annotation)
    return field


def section_at(path: Path) -> type[BaseModel] | None:
    """The Section whose keys live under `path`."""
    if not path:
        return RunSpec
    field = field_at(path)
    return section_class(field.annotation) if field is not None else None


def keys_named(name: str) -> list[str]:
    """Every key of any section with this last name, TRL's arguments included."""
    found = [
        f"{section}.{name}"
        for section, field in RunSpec.model_fields.items()
        if (inner := section_class(field.annotation)) is not None and name in inner.model_fields
    ]
    home = trl_homes().get(name)
    return found or ([home] if home is not None and home.startswith("trl.") else [])


def all_keys() -> list[str]:
    """Every `section.key`."""
    return [
        f"{section}.{name}"
        for section, field in RunSpec.model_fields.items()
        if section not in RECORDS and (inner := section_class(field.annotation)) is not None
        for name in inner.model_fields
    ]


def unknown_key(path: Path) -> Problem:
    """An unknown section or key, with the nearest name."""
    *parents, _ = path
    known = _names_at(tuple(parents))
    other, is_exact = meant(path)
    fix: Part = ""
    if other:
        fix = Message("presets.fix.is_called" if is_exact else "presets.fix.did_you_mean", name=other)
    elif known:
        fix = Message("presets.fix.known_here", names=", ".join(known))
    return Problem("presets.unknown_key" if parents else "presets.unknown_section", dotted(path), fix=fix)


def _names_at(parents: Path) -> list[str]:
    section = section_at(parents)
    return list(section.model_fields) if section is not None else []


def meant(path: Path) -> tuple[str, bool]:
    """(the key an unknown one most likely means, whether it has the same last name); "" when none is close."""
    *parents, last = path
    name = str(last)
    if dotted(path) in RENAMED:
        return RENAMED[dotted(path)], True
    elsewhere = [key for key in keys_named(name) if key != dotted(path)]
    if elsewhere:
        return elsewhere[0], True
    prefix = dotted(parents) + "." if parents else ""
    close = [prefix + match for match in nearest(name, _names_at(tuple(parents)))]
    if not close:
        by_name = {key.rpartition(".")[2]: key for key in all_keys()}
        close = [by_name[match] for match in nearest(name, by_name)]
    return (close[0], False) if close else ("", False)


def _limits(field: FieldInfo) -> tuple[float | None, float | None, list[Message]]:
    """(lowest allowed value or None, highest or None, the bounds)."""
    low = high = None
    said = []
    for bound in field.metadata:
        if isinstance(bound, bounds.Ge):
            low = float(typing.cast(float, bound.ge))
            said.append(Message("presets.rule.at_least", bound=f"{low:g}"))
        elif isinstance(bound, bounds.Gt):
            said.append(Message("presets.rule.above", bound=f"{bound.gt}"))
        elif isinstance(bound, bounds.Le):
            high = float(typing.cast(float, bound.le))
            said.append(Message("presets.rule.at_most", bound=f"{high:g}"))
        elif isinstance(bound, bounds.Lt):
            said.append(Message("presets.rule.below", bound=f"{bound.lt}"))
        elif isinstance(bound, bounds.MinLen):
            said.append(Message("presets.rule.at_least_so_many", count=bound.min_length))
    return low, high, said


def _inner(annotation: object) -> object:
    """The annotation without None and Annotated."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _inner(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [part for part in typing.get_args(annotation) if part is not type(None)]
        return _inner(rest[0]) if len(rest) == 1 else typing.Union[tuple(rest)]  # noqa: UP007 - built at run time
    return annotation


def _kind(annotation: object) -> Part:
    """What a field takes, without its bounds."""
    annotation = _inner(annotation)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        values = [shown(value) for value in args]
        return values[0] if len(values) == 1 else Message("presets.rule.one_of", values=", ".join(values))
    if origin in (typing.Union, types.UnionType):
        return chain("presets.rule.either", [_kind(part) for part in args])
    if origin is list:
        is_tables = section_class(args[0]) is not None
        return Message("presets.rule.tables") if is_tables else Message("presets.rule.list", each=_kind(args[0]))
    if origin is tuple:
        return Message("presets.rule.numbers", count=len(args))
    if origin is dict or section_class(annotation) is not None:
        return _TABLE
    return _KINDS.get(typing.cast(type, annotation), Message("presets.rule.anything"))


def rule(field: FieldInfo) -> Part:
    """The rule of a field: `a number, above 0 and at most 1`."""
    kind = _kind(field.annotation)
    said = _metadata_limits(field)[2]
    return Message("presets.rule.bounded", kind=kind, bounds=chain("presets.rule.both", said)) if said else kind


def _metadata_limits(field: FieldInfo) -> tuple[float | None, float | None, list[Message]]:
    """Bounds of the field itself or, for `Annotated[int, Field(ge=1)] | None`, of the part that has them."""
    if field.metadata:
        return _limits(field)
    for part in typing.get_args(field.annotation):
        if typing.get_origin(part) is typing.Annotated:
            return _limits(FieldInfo.from_annotation(part))
    return None, None, []


def limits(field: FieldInfo) -> list[tuple[str, float]]:
    """The bounds of a number as signs, in the order they are written: [(">", 0.0), ("<=", 1.0)]."""
    signs = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
    found = field.metadata or next(
        (
            FieldInfo.from_annotation(part).metadata
            for part in typing.get_args(field.annotation)
            if typing.get_origin(part) is typing.Annotated
        ),
        [],
    )
    return [(sign, float(getattr(bound, name))) for bound in found for name, sign in signs if hasattr(bound, name)]


def _choices(annotation: object) -> list[str]:
    annotation = _inner(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return [value for value in typing.get_args(annotation) if isinstance(value, str)]
    return [choice for part in typing.get_args(annotation) for choice in _choices(part)]


def _unquoted(value: object, field: FieldInfo) -> str | None:
    """The number or truth value somebody put in quotes; None when the text is neither."""
    kind = _inner(field.annotation)
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    if kind is bool and text in ("true", "false"):
        return text
    if kind not in (int, float):
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number) or (kind is int and number != int(number)):
        return None
    return text if kind is float else str(int(number))


def _fix(key: str, value: object, field: FieldInfo) -> Part:
    """What to type: the same value without quotes, the nearest choice, the nearest bound, or the default."""
    text, written = instead(value, field)
    if text:
        return Message(written, key=key, value=text)
    return Message("presets.fix.leave_out", key=key) if not field.is_required() else ""


def instead(value: object, field: FieldInfo) -> tuple[str, str]:
    """(a value a field takes in place of a refused one, as TOML; the key of the text that says so, of {key} and
    {value}); two empty texts when none is near."""
    bare = _unquoted(value, field)
    if bare is not None:
        return bare, "presets.fix.type_unquoted"
    kind = _inner(field.annotation)
    choices = _choices(field.annotation)
    if isinstance(value, str) and (close := nearest(value, choices)):
        return shown(close[0]), "presets.fix.type"
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return f'"{value}"', "presets.fix.type"
    low, high, _ = _metadata_limits(field)
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    if number is not None and math.isfinite(number):
        if kind is int and isinstance(value, float):
            return f"{max(round(number), int(low or 0))}", "presets.fix.type"
        limit = low if low is not None and number < low else high if high is not None and number > high else None
        if limit is not None:
            return f"{limit:g}", "presets.fix.type"
    default = field.get_default(call_default_factory=False)
    if isinstance(default, bool | int | float | str) and default != "":
        return shown(default), "presets.fix.type_default"
    return "", ""


def _located(raw: Mapping[str, Any], loc: Sequence[str | int], missing: bool) -> Path:
    """The key an error belongs to: pydantic's location without the names it gives to parts of a union."""
    here: Any = raw
    path: list[str | int] = []
    for place, step in enumerate(loc):
        if missing and place == len(loc) - 1:
            path.append(step)
        elif (isinstance(here, Mapping) and step in here) or (
            isinstance(here, list) and isinstance(step, int) and step < len(here)
        ):
            here = here[step]  # type: ignore[index]
            path.append(step)
    return tuple(path)


def problems(error: ValidationError, raw: Mapping[str, Any], where: str) -> list[tuple[Path, Problem]]:
    """Each wrong key once: (its path, what is wrong with it)."""
    found: dict[Path, Problem] = {}
    for item in error.errors(include_url=False):
        missing = item["type"] == "missing"
        path = _located(raw, item["loc"], missing)
        if path in found:
            continue
        key, field = dotted(path), field_at(path)
        if item["type"] == "extra_forbidden":
            found[path] = unknown_key(path)
        elif missing:
            is_section = field is not None and section_class(field.annotation) is not None and len(path) == 1
            name = "presets.missing_section" if is_section else "presets.missing_key"
            found[path] = Problem(name, key, file=where, fix=_missing_fix(path, field))
        elif field is None:
            found[path] = Problem("presets.refused_by_pydantic", key, seen=shown(item["input"]), said=item["msg"])
        else:
            found[path] = _refused(key, path, item["input"], field)
    # A wrong element of a list is also an error of the list: keep the one that says which element.
    parents = {path[:end] for path in found for end in range(1, len(path))}
    return [(path, problem) for path, problem in found.items() if path not in parents]


def _refused(key: str, path: Path, value: object, field: FieldInfo) -> Problem:
    if isinstance(path[-1], int):  # one element of a list: the rule of the list says what its elements are
        return Problem("presets.refused_element", key, seen=shown(value), of=dotted(path[:-1]), rule=rule(field))
    return Problem("presets.refused", key, seen=shown(value), rule=rule(field), fix=_fix(key, value, field))


_EXAMPLES = {
    "model": Message("presets.fix.add_model_section"),
    "model.name": Message("presets.fix.add_model_name"),
    "data": Message("presets.fix.add_data_section"),
    "reward": Message("presets.fix.add_component"),
    "reward.components": Message("presets.fix.add_component"),
}


def _missing_fix(path: Path, field: FieldInfo | None) -> Part:
    key = dotted(path)
    if key in _EXAMPLES:
        return _EXAMPLES[key]
    return Message("presets.fix.add", key=key, rule=rule(field)) if field is not None else ""


def kind_of(field: FieldInfo) -> tuple[object, bool]:
    """(annotation without None and bounds, whether None is allowed): how a form shows the field."""
    return _inner(field.annotation), type(None) in typing.get_args(field.annotation)


def takes_only_text(field: FieldInfo) -> bool:
    """Whether a field is text and nothing else: then 1234567 after --set is text as well."""
    return _inner(field.annotation) is str
