"""A tool from the JSON schema that a server describes it with: MCP's input schema, or that of an OpenEnv action."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from typing import Any

from trainer.episodes.contract import ALLOWED, Kind, Parameter, Tool
from trainer.errors import Problem, RewardError

PLAIN = {
    **{"string": "str", "integer": "int", "number": "float", "boolean": "bool"},
    **{"object": "dict", "null": "None"},
}
DEEPEST = 8
"""Of types in types: a schema may refer to itself."""
LEFT_OUT = frozenset({"metadata"})
"""Of an action: every one has it, for the client's own notes (openenv/core/env_server/types.py, `Action`)."""
_SECTION = re.compile(r"^\s*(Args|Arguments|Parameters|Returns?|Raises|Yields|Examples?|Notes?)\s*:\s*$", re.MULTILINE)


def of_tool(name: str, description: str, schema: Mapping[str, Any], place: str) -> Tool:
    """place: for the messages. Raises RewardError for what a model cannot be told."""
    parameters, lines = [], []
    required = schema.get("required", ())
    for argument, found in (schema.get("properties") or {}).items():
        if "const" in found or argument in LEFT_OUT:
            continue
        if not argument.isidentifier() or keyword.iskeyword(argument) or argument == "self":
            raise RewardError(Problem("episodes.openenv.argument_name", place, tool=name, argument=argument))
        try:
            kind = _kind(found, schema.get("$defs") or {})
        except (TypeError, KeyError) as error:
            values = {"tool": name, "argument": argument, "seen": str(error), "allowed": ALLOWED}
            raise RewardError(Problem("episodes.openenv.argument_type", place, **values)) from error
        default = [found["default"]] if "default" in found else []
        if not default and argument not in required:
            kind, default = ["union", kind, "None"], [None]
        parameters.append(Parameter(argument, kind, default))
        lines.append(f"    {argument}: {_told(argument, found, description)}")
    said = " ".join(_SECTION.split(description)[0].split()) or f"{name}."
    return Tool(name, "\n".join([said, "", "Args:", *lines] if lines else [said]), parameters)


def constants(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What every action of this schema has to say, and no model need be asked for."""
    return {name: found["const"] for name, found in (schema.get("properties") or {}).items() if "const" in found}


def _told(argument: str, found: Mapping[str, Any], description: str) -> str:
    """In one line, from the schema or the tool's own docstring."""
    line = re.search(rf"^\s*{re.escape(argument)}\s*(?:\([^)]*\))?\s*:\s*(\S.*)$", description, re.MULTILINE)
    said = found.get("description") or (line[1] if line else None) or found.get("title") or argument
    return " ".join(str(said).split())


def _kind(schema: Mapping[str, Any], known: Mapping[str, Any], depth: int = 0) -> Kind:
    """Raises TypeError, KeyError with the part that has no type here."""
    if depth > DEEPEST:
        raise TypeError("types in types without an end")
    if "$ref" in schema:
        return _kind(known[str(schema["$ref"]).rsplit("/", 1)[-1]], known, depth + 1)
    if "const" in schema:
        return ["literal", schema["const"]]
    if schema.get("enum"):
        return ["literal", *schema["enum"]]
    parts = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if parts:
        return _union([_kind(part, known, depth + 1) for part in parts])
    name = schema.get("type")
    if isinstance(name, list):
        return _union([_kind({**schema, "type": one}, known, depth + 1) for one in name])
    if name == "array":
        return ["list", _kind(schema.get("items") or {"type": "string"}, known, depth + 1)]
    if name not in PLAIN:
        raise TypeError(str(dict(schema))[:60])
    return PLAIN[name]


def _union(kinds: list[Kind]) -> Kind:
    return kinds[0] if len(kinds) == 1 else ["union", *kinds]
