"""The torch-free rooms stay torch-free: a fresh interpreter for each of their modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "trl", "unsloth", "peft", "accelerate", "datasets", "gradio")
# Rooms that train, load or answer, and the modules that serve only them.
WORKING = {"callbacks", "checkpoints", "engine", "evaluate", "grpo", "training", "rewards", "data"}
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
        if room not in WORKING or name in TORCH_FREE_IN_WORKING:
            found.append(name)
    return [name for name in found if not name.startswith("trainer.ui")]


@pytest.mark.parametrize("module", [*modules(), "app"])
def test_a_torch_free_module_imports_nothing_heavy(module: str) -> None:
    script = (
        f"import sys, importlib; importlib.import_module({module!r}); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_the_list_of_modules_is_not_empty() -> None:
    names = {"trainer.spec", "trainer.run.events", "trainer.launch", "trainer.preflight.hub", "trainer.run.state"}
    assert names <= set(modules())
