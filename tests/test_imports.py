"""The torch-free rooms stay torch-free: one process imports all of their modules, one after the other.

What a module imports a later one may find there, but what is there at the end has been imported by one of them: if
nothing heavy is, none of them imports anything heavy. That none needs another one before it is what
tests/test_architecture.py says of circles. Those that import most are started in a fresh interpreter as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
# Reads a module's name a line, imports it, and answers what it printed and which heavy ones have come with it.
IMPORTS = """
import contextlib, importlib, io, json, sys
heavy = set(json.loads(sys.stdin.readline()))
for line in sys.stdin:
    before, said = set(sys.modules), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):  # a warning fails the test as well
        try:
            importlib.import_module(line.strip())
        except Exception as error:
            print(repr(error))
    print(json.dumps([said.getvalue(), sorted(heavy & (set(sys.modules) - before))]), flush=True)
"""
HEAVY = ("torch", "transformers", "trl", "unsloth", "peft", "accelerate", "datasets", "gradio")
# Rooms that train, load or answer, and the modules that serve only them.
WORKING = {"engine", "evaluate", "fast", "grpo", "sampling", "rewards", "data", "stages"}
WORKING_MODULES = {
    f"trainer.worker.{name}"
    for name in ("callbacks", "conversing", "learning", "reward_modelling", "supervised", "training")
}
TORCH_FREE_IN_WORKING = {
    *(f"trainer.data.{name}" for name in ("sources", "files", "json_array", "overlap", "preview", "render", "rows")),
    *(f"trainer.evaluate.{name}" for name in ("answers", "pass_at")),
    *(f"trainer.fast.{name}" for name in ("chunks", "saying")),
    *(f"trainer.rewards.{name}" for name in ("arithmetic", "check", "child", "library", "own_file", "pool", "wrapper")),
    *(f"trainer.data.{name}" for name in ("keys", "survey", "values")),
}


def modules() -> list[str]:
    found = []
    for path in sorted((PROJECT / "trainer").rglob("*.py")):
        parts = path.relative_to(PROJECT).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        room = parts[1] if len(parts) > 1 else ""
        if name in WORKING_MODULES:
            continue
        if room not in WORKING or name in TORCH_FREE_IN_WORKING:
            found.append(name)
    return [name for name in found if not name.startswith("trainer.ui")]


@pytest.fixture(scope="module")
def imported() -> Iterator[Callable[[str], tuple[str, list[str]]]]:
    """imported("trainer.plan"): what the process printed that has imported it, and what heavy came with it."""
    command, pipe = [sys.executable, "-c", IMPORTS], subprocess.PIPE
    with subprocess.Popen(command, cwd=PROJECT, text=True, bufsize=1, stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None and process.stdout is not None
        asking, answering = process.stdin, process.stdout
        print(json.dumps(HEAVY), file=asking)

        def ask(module: str) -> tuple[str, list[str]]:
            print(module, file=asking)
            said, heavy = json.loads(answering.readline())
            return said, heavy

        yield ask
        asking.close()


def in_a_fresh_interpreter(module: str) -> str:
    script = (
        f"import sys, importlib; importlib.import_module({module!r}); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize("module", [*modules(), "app"])
def test_a_torch_free_module_imports_nothing_heavy(
    imported: Callable[[str], tuple[str, list[str]]], module: str
) -> None:
    assert imported(module) == ("", [])


@pytest.mark.parametrize("module", ["app", "trainer.launch", "trainer.report.write"])
def test_neither_does_a_fresh_interpreter(module: str) -> None:
    """The same without anything in place, for what imports most."""
    assert in_a_fresh_interpreter(module) == "[]\n"


def test_the_list_of_modules_is_not_empty() -> None:
    names = {"trainer.spec", "trainer.run.events", "trainer.launch", "trainer.preflight.hub", "trainer.run.state"}
    assert names <= set(modules())
