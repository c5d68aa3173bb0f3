"""Run directories with a checkpoint that a real trainer wrote: LoRA on float32, LoRA on NF4, whole weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import tiny_model, tiny_trainer
from trainer.run import checkpoints
from trainer.run.events import EventWriter
from trainer.run.records import PlanEvent
from trainer.run.rundir import RunDir
from trainer.spec import RunSpec

STEP = 2
GROUP = {
    "step": 1,
    "prompt": [{"role": "user", "content": "Reverse: kihpg"}],
    "completions": [{"text": "<answer>gphik</answer>"}],
}


@pytest.fixture(scope="package")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An outputs folder with the runs lora, nf4 and whole, each with checkpoint-2."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two stall each other on a busy machine
    place = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEGRPO_CACHE", str(place / "cache"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        base = place / "base"
        model, tokenizer = tiny_model()
        model.save_pretrained(base)
        tokenizer.save_pretrained(base)
        make_run(place, "lora", {"name": str(base)})
        make_run(place, "whole", {"name": str(base)}, lora=False)
        nf4 = make_run(place, "nf4", {"name": "builtin/tiny-qwen3", "load_in_4bit": True})
        lines = "".join(json.dumps(GROUP) + "\n" for _ in range(6))
        nf4.rollouts_file(1).write_text(lines, encoding="utf-8")
    yield place / "outputs"
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def their_cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in base of the run nf4 is where the run made it; commands look into these outputs."""
    if "runs" in request.fixturenames:
        outputs = request.getfixturevalue("runs")
        monkeypatch.setenv("ONEGRPO_CACHE", str(outputs.parent / "cache"))
        monkeypatch.setenv("ONEGRPO_OUTPUTS", str(outputs))
        monkeypatch.setenv("LLAMA_CPP", "")
        monkeypatch.setenv("PATH", str(outputs.parent))
        monkeypatch.setenv("UNSLOTH_LLAMA_CPP_PATH", str(outputs.parent))


def make_spec(model: dict[str, Any], lora: bool = True) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": model | {"device": "cpu", "dtype": "float32"},
            "lora": {"enabled": lora, "r": 8, "alpha": 16},
            "data": {"path": "unused.jsonl"},
            "reward": {"components": [{"function": "exact_match"}]},
        }
    )


def make_run(place: Path, name: str, model: dict[str, Any], lora: bool = True) -> RunDir:
    """Train two steps from where the adapter already matters, and publish what transformers saved."""
    from trainer import engine

    spec = make_spec(model, lora)
    loaded = engine.load(spec, engine.resolve(spec))
    trainer, _ = tiny_trainer(
        place / "work" / name,
        model=loaded.model,
        peft_config=loaded.peft_config,
        max_steps=STEP,
        save_strategy="steps",
        save_steps=STEP,
        max_completion_length=4,
    )
    strengthen(trainer.model)
    trainer.train()
    rundir = new_run(place / "outputs", name, spec)
    facts = {"step": STEP, "run": name, "model": loaded.source, "data": "", "versions": {"torch": "2"}}
    checkpoints.publish(place / "work" / name / f"checkpoint-{STEP}", rundir.checkpoints, facts)
    return rundir


def new_run(outputs: Path, name: str, spec: RunSpec, dtype: str = "float32") -> RunDir:
    """A run without checkpoints whose event log says in which dtype its base was loaded."""
    plan: Any = {}
    rundir = RunDir.create(outputs, name, spec, plan, {})
    with EventWriter(rundir.events, 1) as events:
        events.emit(PlanEvent(plan={}, dtype=dtype, device="cpu"))
    return rundir


def strengthen(model: Any) -> None:
    """lora_B starts at zero: then base and adapter would be the base."""
    import torch

    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
