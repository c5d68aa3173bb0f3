"""A run spec as TOML that presets reads back to the same spec. Standard library and the spec."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from trainer.spec import RunSpec
from trainer.spec.chain import Following

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def plain(spec: RunSpec) -> dict[str, Any]:
    """The tables of a spec: what is not its default. Rows that a task makes are made again from its name."""
    found: dict[str, Any] = spec.model_dump(mode="json", exclude_defaults=True)
    if spec.data.task is not None:
        found["data"].pop("path", None)
    chain = found.pop("chain", None)
    if chain is not None and spec.chain is not None and spec.chain.number == 1:
        found["stage"] = [{"name": spec.chain.name}, *(_stage(spec, later) for later in spec.chain.following)]
    return found


def _stage(first: RunSpec, later: Following) -> dict[str, Any]:
    """A stage after the first, as what of it is other than there."""
    before = first.model_dump(mode="json", exclude_none=True, exclude={"chain"})
    return {"name": later.name, "from": later.start, **_other(later.settings, before)}


def _other(table: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for key, value in table.items():
        was = before.get(key)
        if isinstance(value, dict) and isinstance(was, dict):
            value = _other(value, was)
            if value:
                found[key] = value
        elif value != was:
            found[key] = value
    return found


def written(spec: RunSpec, remarks: list[str]) -> str:
    """A file for `--preset FILE.toml`. remarks: lines of its header."""
    head = [f"# {' '.join(remark.split())}" for remark in remarks]
    return "\n".join([*head, "", *_table(plain(spec), ())]).rstrip() + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Values first: after a table of its own a key would belong to that."""
    tables = {}
    for key, value in table.items():
        if isinstance(value, dict) or _are_tables(value):
            tables[key] = value
        else:
            yield f"{_key(key)} = {inline(value)}"
    for key, value in tables.items():
        here = (*path, key)
        name = ".".join(map(_key, here))
        for one in value if isinstance(value, list) else [value]:
            yield ""
            yield f"[[{name}]]" if isinstance(value, list) else f"[{name}]"
            yield from _table(one, here)


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def inline(value: Any) -> str:
    """A value in one line. Raises TypeError for what TOML has no form for, such as None."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return "[" + ", ".join(inline(one) for one in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{_key(str(key))} = {inline(one)}" for key, one in value.items())
        return "{" + ", ".join(pairs) + "}"
    raise TypeError(f"TOML has no {type(value).__name__}")


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else inline(name)
