"""`data.instruction.path`: the instructions of a contest as it hands them out, one JSON object of texts.

    {"prompt": "for all", "selection_prompt": "...", "correction_prompt": "..."}

A text belongs to the type its key names, with or without `_prompt`; `prompt` stands before each of them. What is read
becomes `data.instruction.texts`: a run keeps the texts, whatever becomes of the file.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.errors import Problem
from trainer.presets.explain import shown

KEY = "data.instruction.path"
GENERAL = "prompt"
# What the contest's rows call the types that its file names in English.
CALLED = {"selection": "선택형", "correction": "교정형"}


def put_in(raw: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The raw spec with the texts of the file in place of its path, before those that stand there; and what is wrong
    with the file."""
    data = raw.get("data")
    section = data.get("instruction") if isinstance(data, dict) else None
    path = section.get("path") if isinstance(section, dict) else None
    if not isinstance(data, dict) or not isinstance(section, dict) or not isinstance(path, str):
        return dict(raw), []
    read, own = _read(Path(path)), section.get("texts")
    problems = [read] if isinstance(read, Problem) else []
    texts = {"?": "?"} if isinstance(read, Problem) else read
    kept = {name: value for name, value in section.items() if name != "path"}
    if own is None or isinstance(own, dict):
        kept["texts"] = {**(own or {}), **texts}
    return {**raw, "data": {**data, "instruction": kept}}, problems


class _Object(dict[str, Any]):
    """An object of JSON that knows its keys, those that are there twice too."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.keys_in_order = [key for key, _ in pairs]


def _read(path: Path) -> dict[str, str] | Problem:
    """{type: text}."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe would be waited for
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        found = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_Object)
    except OSError as error:
        return Problem("presets.instruction_unreadable", KEY, path=str(path), said=error.strerror or str(error))
    except (ValueError, RecursionError) as error:
        return Problem("presets.instruction_no_json", KEY, path=str(path), said=str(error))
    if not isinstance(found, _Object):
        return Problem("presets.instruction_no_object", KEY, path=str(path), seen=shown(found))
    names = [key.removesuffix(f"_{GENERAL}") for key in found.keys_in_order]
    kinds = [CALLED.get(name, name) for name in names]
    twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
    if twice is not None:
        return Problem("presets.instruction_twice", KEY, path=str(path), kind=twice)
    for key, text in found.items():
        if not isinstance(text, str) or not text.strip():
            return Problem("presets.instruction_no_text", KEY, path=str(path), key=key, seen=shown(text))
    general = found.pop(GENERAL, "").strip()
    if not found:
        return Problem("presets.instruction_no_type", KEY, path=str(path))
    texts = {}
    for key, text in found.items():
        name = key.removesuffix(f"_{GENERAL}")
        texts[name] = f"{general}\n\n{text.strip()}" if general else text.strip()
        texts |= {CALLED[name]: texts[name]} if name in CALLED else {}
    return texts
