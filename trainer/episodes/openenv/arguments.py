"""A tool from the JSON schema that a server describes it with: MCP's input schema, or that of an OpenEnv action."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from typing import Any

from trainer.episodes.contract import ALLOWED, Kind, Parameter, Tool
from trainer.errors import Problem, RewardError
from trainer.text import Message

PLAIN = {
    **{"string": "str", "integer": "int", "number": "float", "boolean": "bool"},
    **{"object": "dict", "null": "None"},
}
DEEPEST = 8
"""Of types in types: a schema may refer to itself."""
LEFT_OUT = frozenset({"metadata"})
"""Of an action: every one has it, for the client's own notes (openenv/core/env_server/types.py, `Action`)."""
_SECTION = re.compile(r"^\s*(Args|Arguments|Parameters|Returns?|Raises|Yields|Examples?|Notes?)\s*:\s*$", re.MULTILINE)


class _Unknown(Exception):
    """A part of a schema that has no type here. seen: as it is said."""

    def __init__(self, seen: Any) -> None:
        self.seen = seen if isinstance(seen, Message) else str(seen)[:60]
        super().__init__(str(seen))


def of_tool(name: str, description: str, schema: Any, place: str) -> Tool:
    """schema: whatever the server has sent. place: for the messages. Raises RewardError for what a model cannot be
    told."""
    parameters, lines = [], []
    properties, required, known = _parts(name, schema, place)
    for argument, found in properties.items():
        if argument in LEFT_OUT or (isinstance(found, dict) and "const" in found):
            continue
        if not argument.isidentifier() or keyword.iskeyword(argument) or argument == "self":
            raise RewardError(Problem("episodes.openenv.argument_name", place, tool=name, argument=argument))
        try:
            kind = _kind(found, known)
        except _Unknown as error:
            values = {"tool": name, "argument": argument, "seen": error.seen, "allowed": ALLOWED}
            raise RewardError(Problem("episodes.openenv.argument_type", place, **values)) from error
        default = [found["default"]] if "default" in found else []
        if not default and argument not in required:
            kind, default = ["union", kind, "None"], [None]
        parameters.append(Parameter(argument, kind, default))
        lines.append(f"    {argument}: {_told(argument, found, description)}")
    said = " ".join(_SECTION.split(description)[0].split()) or f"{name}."
    return Tool(name, "\n".join([said, "", "Args:", *lines] if lines else [said]), parameters)


def _parts(name: str, schema: Any, place: str) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    """(properties, names of those that are required, types that others refer to). Raises RewardError."""
    is_table = isinstance(schema, dict)
    found = [schema.get(key) or kind() for key, kind in _PARTS.items()] if is_table else []
    if not is_table or not all(isinstance(part, kind) for part, kind in zip(found, _PARTS.values(), strict=True)):
        raise RewardError(Problem("episodes.openenv.tool_schema", place, tool=name, seen=str(schema)[:60]))
    properties, required, known = found
    return properties, required, known


_PARTS: dict[str, type] = {"properties": dict, "required": list, "$defs": dict}


def constants(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What every action of this schema has to say, and no model need be asked for."""
    properties = (schema.get("properties") or {}).items()
    return {name: found["const"] for name, found in properties if isinstance(found, dict) and "const" in found}


def _told(argument: str, found: Mapping[str, Any], description: str) -> str:
    """In one line, from the schema or the tool's own docstring."""
    line = re.search(rf"^\s*{re.escape(argument)}\s*(?:\([^)]*\))?\s*:\s*(\S.*)$", description, re.MULTILINE)
    said = found.get("description") or (line[1] if line else None) or found.get("title") or argument
    # transformers reads `(choices: ...)` at the end as JSON, and fails on any other (get_json_schema, 5.17).
    return re.sub(r"\(choices:", "(one of:", " ".join(str(said).split()), flags=re.IGNORECASE)


def _kind(schema: Any, known: Mapping[str, Any], depth: int = 0) -> Kind:
    """Raises _Unknown."""
    if depth > DEEPEST:
        raise _Unknown(Message("episodes.server.endless_type"))
    if not isinstance(schema, dict):
        raise _Unknown(schema)
    if "$ref" in schema:
        refers = str(schema["$ref"]).rsplit("/", 1)[-1]
        if refers not in known:
            raise _Unknown(schema)
        return _kind(known[refers], known, depth + 1)
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if values:
        if not isinstance(values, list) or any(isinstance(value, (list, dict)) for value in values):
            raise _Unknown(schema)
        return ["literal", *values]
    parts = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if isinstance(parts, list) and parts:
        return _union([_kind(part, known, depth + 1) for part in parts])
    name = schema.get("type")
    if isinstance(name, list) and name:
        return _union([_kind({**schema, "type": one}, known, depth + 1) for one in name])
    if name == "array":
        return ["list", _kind(schema.get("items") or {"type": "string"}, known, depth + 1)]
    if not isinstance(name, str) or name not in PLAIN:
        raise _Unknown(schema)
    return PLAIN[name]


def _union(kinds: list[Kind]) -> Kind:
    return kinds[0] if len(kinds) == 1 else ["union", *kinds]
