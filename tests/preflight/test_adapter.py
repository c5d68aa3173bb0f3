"""An adapter that training is to start from: is it one, and of this rank."""

from __future__ import annotations

import json
from pathlib import Path

from trainer import presets
from trainer.preflight import adapter
from trainer.spec import RunSpec


def asked(*changes: str) -> RunSpec:
    return presets.load("tiny-qlora", [*changes])


def said(spec: RunSpec) -> list[tuple[str, str]]:
    return [(problem.place, problem.key) for problem in adapter.problems(spec)]


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    assert said(asked()) == []
    there = asked(f"lora.start_from={tmp_path}")
    assert said(there) == [("lora.start_from", "preflight.no_adapter_there")]
    (tmp_path / "adapter_config.json").write_text("{")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    assert said(there) == [("lora.start_from", "preflight.no_adapter_there")]


def test_an_adapter_of_another_rank_is_refused_with_its_own(tmp_path: Path) -> None:
    rank = asked().lora.r
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": rank + 1}))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    (problem,) = adapter.problems(asked(f"lora.start_from={tmp_path}"))
    assert str(problem) and problem.place == "lora.r" and f"--set lora.r={rank + 1}" in str(problem)
    assert said(asked(f"lora.start_from={tmp_path}", f"lora.r={rank + 1}")) == []
