"""The torch-free rooms stay torch-free: for each of their modules a process that imports it.

The processes are forked from one that holds what they all need (LIGHT): building the schema of a RunSpec is most of the
time. Everything else each imports for itself; the modules of LIGHT, and what they need, get a fresh interpreter.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
LIGHT = ("numpy", "trainer.spec")
# Reads a module's name a line; answers with what a forked child prints that imports it, null where it is here already.
FORKS = """
import importlib, json, os, sys
heavy, light = json.loads(sys.stdin.readline())
for name in light:
    importlib.import_module(name)
assert not sys.modules.keys() & set(heavy)
for line in sys.stdin:
    if line.strip() in sys.modules:
        print("null", flush=True)
        continue
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(writing, 1)
        os.dup2(writing, 2)  # a warning fails the test as well
        importlib.import_module(line.strip())
        print([name for name in heavy if name in sys.modules], flush=True)
        sys.exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        text = said.read()
    os.waitpid(child, 0)
    print(json.dumps(text), flush=True)
"""
HEAVY = ("torch", "transformers", "trl", "unsloth", "peft", "accelerate", "datasets", "gradio")
# Rooms that train, load or answer, and the modules that serve only them.
WORKING = {"engine", "evaluate", "grpo", "sampling", "rewards", "data"}
WORKING_MODULES = {"trainer.worker.callbacks", "trainer.worker.training"}
TORCH_FREE_IN_WORKING = {
    *(f"trainer.data.{name}" for name in ("sources", "files", "json_array", "overlap", "preview", "render", "rows")),
    *(f"trainer.evaluate.{name}" for name in ("answers", "pass_at")),
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
def imported() -> Iterator[Callable[[str], str | None]]:
    """imported("trainer.plan"): what a forked process prints that imports it; None for what LIGHT has brought."""
    command, pipe = [sys.executable, "-c", FORKS], subprocess.PIPE
    with subprocess.Popen(command, cwd=PROJECT, text=True, bufsize=1, stdin=pipe, stdout=pipe) as forks:
        assert forks.stdin is not None and forks.stdout is not None
        asking, answering = forks.stdin, forks.stdout
        print(json.dumps([HEAVY, LIGHT]), file=asking)

        def ask(module: str) -> str | None:
            print(module, file=asking)
            said: str | None = json.loads(answering.readline())
            return said

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
def test_a_torch_free_module_imports_nothing_heavy(imported: Callable[[str], str | None], module: str) -> None:
    said = imported(module)
    assert (in_a_fresh_interpreter(module) if said is None else said) == "[]\n"


@pytest.mark.parametrize("module", ["app", "trainer.launch", "trainer.report.write"])
def test_neither_does_a_fresh_interpreter(module: str) -> None:
    """The same without anything in place, for what imports most."""
    assert in_a_fresh_interpreter(module) == "[]\n"


def test_the_list_of_modules_is_not_empty() -> None:
    names = {"trainer.spec", "trainer.run.events", "trainer.launch", "trainer.preflight.hub", "trainer.run.state"}
    assert names <= set(modules())
