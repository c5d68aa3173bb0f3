"""Imports run down: no circle between files or rooms, and no room imports one that stands above it.

The graph is read from the sources, so that imports inside functions and under TYPE_CHECKING count as well. The order of
the rooms is that of the README's map.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
TESTS = PROJECT / "tests"
Graph = Mapping[str, set[str]]


def sources(project: Path) -> dict[str, Path]:
    """{dotted name: file} of every module of trainer/."""
    found = {}
    for path in sorted((project / "trainer").rglob("*.py")):
        parts = path.relative_to(project).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imports(project: Path) -> dict[str, set[str]]:
    """{module: modules of trainer/ that it imports anywhere in its text}."""
    modules = sources(project)
    graph = {}
    for name, path in modules.items():
        reached: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                named = {f"{node.module}.{alias.name}" for alias in node.names}
                reached |= {full if full in modules else node.module for full in named}
            elif isinstance(node, ast.Import):
                reached |= {alias.name for alias in node.names}
        graph[name] = {target for target in reached if target in modules and target != name}
    return graph


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def rooms(graph: Graph) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for module, targets in graph.items():
        found.setdefault(room(module), set()).update({room(target) for target in targets} - {room(module)})
    return found


def circle(graph: Graph) -> list[str]:
    """One circle, its first name repeated at the end; [] when there is none."""
    done: set[str] = set()
    path: list[str] = []

    def visit(name: str) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        path.append(name)
        for target in sorted(graph.get(name, ())):
            if found := visit(target):
                return found
        done.add(path.pop())
        return []

    return next((found for name in sorted(graph) if (found := visit(name))), [])


def upward(graph: Graph, order: Iterable[str]) -> list[str]:
    """Every import of a room that stands above the importing one, with both files."""
    floor = {name: place for place, name in enumerate(order)}
    return [
        f"{module} imports {target}"
        for module, targets in sorted(graph.items())
        for target in sorted(targets)
        if room(module) != room(target) and floor[room(target)] < floor[room(module)]
    ]


def map_of_rooms(readme: str) -> list[str]:
    """The rooms in the order of the README's map, from the top down."""
    inside = readme.split("    trainer/\n", 1)[1].split("    tests/", 1)[0]
    return re.findall(r"^      (\w+)(?:/|\.py) ", inside, re.MULTILINE)


def test_no_circle_between_files() -> None:
    assert circle(imports(PROJECT)) == []


def test_no_circle_between_rooms() -> None:
    graph = imports(PROJECT)
    found = circle(rooms(graph))
    files = [
        f"{module} imports {target}"
        for here, there in pairwise(found)
        for module, targets in graph.items()
        for target in targets
        if (room(module), room(target)) == (here, there)
    ]
    assert found == [], files


def test_no_room_imports_one_above_it() -> None:
    order = map_of_rooms((PROJECT / "README.md").read_text(encoding="utf-8"))
    assert upward(imports(PROJECT), order) == []


def test_the_map_has_every_room_once() -> None:
    order = map_of_rooms((PROJECT / "README.md").read_text(encoding="utf-8"))
    assert sorted(order) == sorted({room(module) for module in sources(PROJECT)} - {"trainer"})


def test_the_walk_finds_lazy_typed_circular_and_upward_imports(tmp_path: Path) -> None:
    files = {
        "trainer/__init__.py": "",
        "trainer/high/__init__.py": "",
        "trainer/high/a.py": "def f():\n    from trainer.low import b\n",
        "trainer/low/__init__.py": "",
        "trainer/low/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import trainer.high.a\n",
        "trainer/low/c.py": "from trainer.low import b\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    graph = imports(tmp_path)
    assert graph["trainer.low.c"] == {"trainer.low.b"}
    assert circle(graph) == ["trainer.high.a", "trainer.low.b", "trainer.high.a"]
    assert circle(rooms(graph)) == ["high", "low", "high"]
    assert upward(graph, ["high", "low"]) == ["trainer.low.b imports trainer.high.a"]
    assert upward(graph, ["low", "high"]) == ["trainer.high.a imports trainer.low.b"]


def test_no_test_module_imports_another_one() -> None:
    """What two of them need is in tests/builders.py, a conftest.py or a module without tests."""
    found = [
        f"{path.relative_to(TESTS.parent)}: {line}"
        for path in sorted(TESTS.rglob("*.py"))
        for line in path.read_text("utf-8").splitlines()
        if re.match(r"\s*(from|import) tests[.\w]*\.test_", line)
    ]
    assert found == []
