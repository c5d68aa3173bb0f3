"""Files, modules, links and tests that a page names exist."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.reading import PROJECT, page, pages

_FOLDERS = r"(?<![\w./-])((?:trainer|tests|docs|presets|benchmarks|tools)/"
_PATH = re.compile(rf"{_FOLDERS}[\w./*-]*)")
_MODULE = re.compile(r"(?<![\w./])((?:trainer|tools|benchmarks)(?:\.[a-z_]+)+)(?![\w/(])")
_IN_SOURCE = re.compile(rf"{_FOLDERS}[\w./-]*\.(?:py|md|toml|json|sh))\b")
_NAME = re.compile(r"(?<![\w./-])((?:trainer|tools|benchmarks)(?:\.[A-Za-z_]\w*)+)")
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_TEST = re.compile(r"`(test_\w+)`")


def missing(name: str, text: str) -> list[str]:
    """What a page at `name` names and what is not there."""
    here = (PROJECT / name).parent
    found = [path for path in _PATH.findall(text) if not _is_there(path)]
    found += [module for module in _MODULE.findall(text) if not _imports(module)]
    links = [link for link in _LINK.findall(text) if "://" not in link]
    found += [link for link in links if not (here / link).exists()]
    every = all_tests()
    return sorted({*found, *(test for test in _TEST.findall(text) if test not in every)})


def _is_there(path: str) -> bool:
    path = path.rstrip(".-")
    return bool(list(PROJECT.glob(path.rstrip("/")))) if "*" in path else (PROJECT / path).exists()


def _imports(module: str) -> bool:
    """A module, or a name of one."""
    inside, _, name = module.rpartition(".")
    return _source(module) is not None or name in (_source(inside) or "")


def _source(module: str) -> str | None:
    path = PROJECT.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file.read_text(encoding="utf-8")
    return None


@functools.cache
def all_tests() -> frozenset[str]:
    sources = [path.read_text(encoding="utf-8") for path in (PROJECT / "tests").rglob("test_*.py")]
    found = (re.findall(r"^ *(?:async )?def (test_\w+)", source, re.MULTILINE) for source in sources)
    return frozenset(name for names in found for name in names)


ELSEWHERE = {"docs/gguf.md"}  # of ggml


def sources() -> list[Path]:
    return [*sorted((PROJECT / "trainer").rglob("*.py")), *sorted((PROJECT / "tools").glob("*.py")), PROJECT / "app.py"]


def missing_in_source(path: Path, source: str) -> list[str]:
    """Files that a source names anywhere, and modules, classes and functions that its docstrings name."""
    named = {file for file in _IN_SOURCE.findall(source) if not (_is_there(file) or (path.parent / file).exists())}
    told = {name for text in docstrings(source) for name in _NAME.findall(text) if not name.endswith((".py", ".md"))}
    return sorted(named - ELSEWHERE | {name for name in told if not _is_defined(name)})


def docstrings(source: str) -> Iterator[str]:
    """Texts that stand alone: of modules, classes, functions and fields."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value


def _is_defined(name: str) -> bool:
    """A module, or a name that its source has: trainer.errors.Problem.read."""
    parts = name.split(".")
    for count in range(len(parts), 1, -1):
        source = _source(".".join(parts[:count]))
        if source is not None:
            return all(re.search(rf"\b{part}\b", source) for part in parts[count:])
    return False


@pytest.mark.parametrize("name", pages())
def test_what_a_page_names_is_there(name: str) -> None:
    assert missing(name, page(name)) == []


def test_what_a_source_names_is_there() -> None:
    found = {path: missing_in_source(path, path.read_text(encoding="utf-8")) for path in sources()}
    assert {path.relative_to(PROJECT).as_posix(): names for path, names in found.items() if names} == {}


def test_what_a_source_names_and_is_not_there_is_found() -> None:
    text = (
        '"""See docs/nowhere.md, trainer.run.events.EventReader, trainer.worker.callbacks.Nobody and trainer.cli."""\n'
    )
    assert missing_in_source(PROJECT / "app.py", text) == [
        "docs/nowhere.md",
        "trainer.cli",
        "trainer.worker.callbacks.Nobody",
    ]


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (PROJECT / name).parent.joinpath(link).resolve()
        for name, text in pages().items()
        for link in _LINK.findall(text)
        if "://" not in link
    }
    alone = [name for name in pages() if name.startswith("docs/") and (PROJECT / name).resolve() not in linked]
    assert alone == []


def test_every_promise_names_a_test() -> None:
    promises = re.split(r"^- \*\*", page("docs/promises.md"), flags=re.MULTILINE)[1:]
    assert len(promises) > 10
    assert [promise.splitlines()[0] for promise in promises if not _TEST.search(promise)] == []


def test_what_is_not_there_is_found() -> None:
    text = (
        "`trainer/cli.py`, `trainer/run/events.py`, `python -m trainer.work`, `trainer.launch.start`, presets/*.tom, "
        "[page](nowhere.md), [data](data.md), `test_nothing_of_the_sort`, `tests/docs/`."
    )
    assert missing("docs/page.md", text) == [
        "nowhere.md",
        "presets/*.tom",
        "test_nothing_of_the_sort",
        "trainer.work",
        "trainer/cli.py",
    ]
