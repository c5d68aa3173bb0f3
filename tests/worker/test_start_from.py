"""Training that starts with an adapter of another run: never one of other weights, and never again after a resume."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trainer.errors import EngineError
from trainer.run.checkpoints import MANIFEST
from trainer.worker.training import Training


def begin(folder: Path, model: str, resumed: Any = None) -> list[str]:
    """What is loaded by a training on the base weights `a`, of a checkpoint that was trained on `model`."""
    loaded: list[str] = []
    (folder / MANIFEST).write_text(json.dumps({"model": model}))
    training: Any = SimpleNamespace(
        spec=SimpleNamespace(lora=SimpleNamespace(start_from=str(folder))),
        manifest={"model": "a"},
        trainer=SimpleNamespace(_load_from_checkpoint=loaded.append),
        session=SimpleNamespace(events=SimpleNamespace(emit=lambda event: None)),
    )
    Training.start_from(training, resumed)
    return loaded


def test_an_adapter_of_other_weights_is_refused(tmp_path: Path) -> None:
    assert begin(tmp_path, "a") == [str(tmp_path)]
    with pytest.raises(EngineError, match="trained on b, and the model is a"):
        begin(tmp_path, "b")


def test_a_resumed_run_has_its_own_adapter(tmp_path: Path) -> None:
    assert begin(tmp_path, "a", resumed=object()) == []
