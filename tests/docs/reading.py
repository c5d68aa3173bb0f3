"""What the tests of the documentation read: the pages, and what a text names in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
_COMMAND = re.compile(r"^\s+(?:\$ )?(?:\.venv/bin/)?python (app\.py|-m trainer)(?= |$)(.*)$", re.MULTILINE)
_PLACEHOLDER = re.compile(r"<\w+>|\|")
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def pages() -> dict[str, str]:
    """{path: text} of everything a person is told to read; not the change log, which tells of what was."""
    found = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", PROJECT / "presets" / "README.md"]
    found += sorted((PROJECT / "docs").glob("*.md")) + sorted((PROJECT / "benchmarks").rglob("*.md"))
    return {path.relative_to(PROJECT).as_posix(): path.read_text(encoding="utf-8") for path in found}


def page(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def parts(text: str) -> dict[str, str]:
    """{heading: what stands below it} of the headings of the second level."""
    _, *found = _HEADING.split(text)
    return dict(zip(found[::2], found[1::2], strict=True))


def named(text: str) -> list[str]:
    """Names in backticks in the first column of the tables, in their order."""
    cells = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+)", text, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def commands(text: str) -> list[tuple[str, list[str]]]:
    """("app.py" or "-m trainer", arguments) of every indented line with one of them; `a | b RUN` is two."""
    found = []
    for program, rest in _COMMAND.findall(text):
        for typed in re.split(r" \| (?=[a-z])", rest):
            if not _PLACEHOLDER.search(typed):
                found.append((program, shlex.split(typed, comments=True)))
    return found


def inline(text: str) -> list[str]:
    """Commands inside a sentence, in backticks: `python -m trainer report RUN`."""
    found = re.findall(r"`(?:\.venv/bin/)?(python (?:app\.py|-m trainer)(?: [^`]*)?)`", text)
    return [" ".join(command.split()) for command in found]
