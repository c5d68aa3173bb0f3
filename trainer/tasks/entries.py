"""What a verifier needs of a row, as JSON that gives back what was put in: tuples, and keys that are no texts.

A verifier may compare a tuple with what it has read of an answer; JSON alone would make lists of tuples and texts of
numbers. Anything that JSON has no form for becomes its text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_TUPLE, _PAIRS = "__tuple__", "__pairs__"


def written(entry: Mapping[str, Any]) -> str:
    return json.dumps(_packed(entry), ensure_ascii=False, default=str)


def read(text: str) -> Any:
    return json.loads(text, object_hook=_unpacked)


def _packed(value: Any) -> Any:
    if isinstance(value, tuple):
        return {_TUPLE: [_packed(part) for part in value]}
    if isinstance(value, list):
        return [_packed(part) for part in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: _packed(part) for key, part in value.items()}
        return {_PAIRS: [[_packed(key), _packed(part)] for key, part in value.items()]}
    return value


def _unpacked(found: dict[str, Any]) -> Any:
    if found.keys() == {_TUPLE}:
        return tuple(found[_TUPLE])
    if found.keys() == {_PAIRS}:
        return dict(found[_PAIRS])
    return found
