"""Every key is used and every key that is used is there, in both languages. Read from the sources.

A key is used where a string, or an f-string with anything in its gaps, is that key: whole, or without the head that
`Words.under`, a Problem or an AlertEvent puts before it.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from trainer.text import languages, words

PROJECT = Path(__file__).resolve().parents[2]
SOURCES = [PROJECT / "app.py", *sorted((PROJECT / "trainer").rglob("*.py"))]
HEADED = re.compile(r"(?:problem\.(?P<problem>.+)\.(?:what|fix|where)|alert\.(?P<alert>.+)\.(?:title|text))")
# Formats of trainer.text.words and the helpers of a language itself name these.
BY_THE_LANGUAGE = re.compile(r"name|(?:time|list|plain|problem\.plain)\..+|(?:help|reason)\..+")
MADE_OF_KEYS = {"Message": "{}", "Problem": "problem.{}.what", "Unfit": "{}"}


@cache
def trees() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in SOURCES]


def strings(tree: ast.AST) -> tuple[set[str], set[str]]:
    """(texts, patterns of f-strings) of a source."""
    texts, patterns = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = [re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in node.values]
            patterns.add("".join(parts))
    return texts, {pattern for pattern in patterns if re.search(r"[a-z]", pattern) and " " not in pattern}


def heads(tree: ast.AST) -> set[str]:
    """What is given to `under`."""
    return {
        str(node.args[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "under"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def unused(keys: set[str], sources: list[ast.Module]) -> list[str]:
    texts: set[str] = set()
    patterns: set[str] = set()
    under: set[str] = set()
    for tree in sources:
        found = strings(tree)
        texts, patterns, under = texts | found[0], patterns | found[1], under | heads(tree)
    any_pattern = re.compile("|".join(sorted(patterns)) or "(?!)")

    def is_named(name: str) -> bool:
        return name in texts or any_pattern.fullmatch(name) is not None

    def is_used(key: str) -> bool:
        short = HEADED.fullmatch(key)
        names = [key, *([short["problem"] or short["alert"]] if short else [])]
        names += [key.removeprefix(f"{head}.") for head in under if key.startswith(f"{head}.")]
        return any(is_named(name) for name in names)

    return sorted(key for key in keys if not BY_THE_LANGUAGE.fullmatch(key) and not is_used(key))


def missing(keys: set[str], tree: ast.Module) -> list[str]:
    """Keys given to Message, Problem, Unfit and AlertEvent.of that have no words."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        alert = name == "of" and ast.unparse(node.func) == "AlertEvent.of"
        form = "alert.{}.text" if alert else MADE_OF_KEYS.get(name)
        given = node.args[1:2] if alert else node.args[:1]
        key = given[0].value if given and isinstance(given[0], ast.Constant) else None
        if form and isinstance(key, str) and form.format(key) not in keys:
            found.append(f"{node.lineno}: {key}")
    return found


def test_every_key_is_used() -> None:
    assert unused(words("en").keys(), [tree for _, tree in trees()]) == []


@pytest.mark.parametrize("language", languages())
def test_every_key_that_is_used_is_there(language: str) -> None:
    keys = words(language).keys()
    found = {path.relative_to(PROJECT).as_posix(): missing(keys, tree) for path, tree in trees()}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_the_walk_finds_what_nobody_says_and_what_nobody_wrote() -> None:
    tree = ast.parse(
        'Problem("run.gone", name=n)\nsay = words.under("page")\nsay("title")\nsay(f"tab.{name}")\nMessage("a.b")\n'
        'AlertEvent.of("warn", "disk", name=n)'
    )
    keys = {"problem.run.gone.what", "problem.run.gone.fix", "page.title", "page.tab.live", "alert.disk.text"}
    assert unused({*keys, "page.old", "problem.run.old.what"}, [tree]) == ["page.old", "problem.run.old.what"]
    assert missing(keys, tree) == ["5: a.b"]
    assert missing(keys - {"alert.disk.text", "problem.run.gone.what"}, tree) == ["1: run.gone", "5: a.b", "6: disk"]
