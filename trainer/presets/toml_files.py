"""A TOML file as tables, refused with its place where it is none. Imports explain and text."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from trainer.errors import PresetError, Problem
from trainer.presets import explain
from trainer.text import Message
from trainer.text.chain import Part


def read(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises PresetError with file:line:column."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise PresetError(Problem("presets.unreadable", str(path), said=error.strerror)) from error
    except UnicodeDecodeError as error:
        bad_line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise PresetError(Problem("presets.not_utf8", f"{path}:{bad_line}")) from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line, column = place.groups() if place else (str(text.count("\n") + 1), "1")
        what = re.sub(r" \(at .*\)$", "", str(error))
        seen = text.split("\n")[int(line) - 1].strip() if place and text.strip() else ""
        name = "presets.not_toml" if seen else "presets.not_toml_at_the_end"
        values = {"said": what, "seen": explain.shown(seen), "fix": _syntax_fix(seen)}
        raise PresetError(Problem(name, f"{path}:{line}:{column}", **values)) from error


def _syntax_fix(line: str) -> Part:
    """What to type for the slips people make when they come from YAML or Python."""
    if re.match(r"^[\w.]+\s*:\s*\S", line):
        return Message("presets.fix.equals_sign")
    if re.search(r"=\s*(True|False)\b", line):
        return Message("presets.fix.small_letters")
    if re.search(r"=\s*None\b", line):
        return Message("presets.fix.no_none")
    if re.search(r"=\s*[A-Za-z_/][\w/.-]*\s*(#.*)?$", line):
        return Message("presets.fix.quotes")
    return ""
