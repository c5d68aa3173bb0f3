"""An adapter that training is to start from: is it there, of this shape, and of this model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import evaluated, write_run
from trainer import presets, text
from trainer.errors import SpecError
from trainer.preflight import adapter
from trainer.run import checkpoints, start_adapter
from trainer.run.rundir import RunDir
from trainer.spec import RunSpec


def asked(*changes: str) -> RunSpec:
    return presets.load("tiny-qlora", [*changes])


def said(spec: RunSpec) -> list[tuple[str, str]]:
    found = list(adapter.problems(spec))
    for problem in found:
        for words in (text.words("en"), text.words("ko")):
            assert str(problem.said(words)) and "{" not in str(problem.said(words)).replace("{...}", "")
    return [(problem.place, problem.key) for problem in found]


def fits(**changes: Any) -> dict[str, Any]:
    lora = asked().lora
    return {"peft_type": "LORA", "r": lora.r, "lora_alpha": lora.alpha, "bias": "none", **changes}


def put(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(fits(**changes)))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    return folder


def saved(run: RunDir, step: int, model: str = "builtin/tiny-qwen3", **changes: Any) -> None:
    """A published checkpoint with an adapter."""
    folder = put(run.staging / f"checkpoint-{step}", **changes)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (folder / name).write_bytes(name.encode())
    (folder / "trainer_state.json").write_text(json.dumps({"epoch": step / 2, "global_step": step}))
    facts = {"run": run.name, "step": step, "model": "tiny@1", "settings": {"model": {"name": model}}}
    checkpoints.publish(folder, run.checkpoints, facts)


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONEGRPO_OUTPUTS", str(tmp_path / "outputs"))
    return (tmp_path / "outputs").resolve()


def test_a_folder_without_an_adapter_is_refused(tmp_path: Path) -> None:
    assert said(asked()) == []
    there = asked(f"model.adapter={tmp_path}")
    assert said(there) == [("model.adapter", "run.start_no_adapter")]
    (tmp_path / "adapter_config.json").write_text("{")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    assert said(there) == [("model.adapter", "preflight.adapter_kind")]
    assert said(asked(f"model.adapter={tmp_path / 'absent'}")) == [("model.adapter", "run.start_no_adapter")]


def test_rank_and_alpha_of_another_adapter_are_refused_at_once_with_its_own(tmp_path: Path) -> None:
    lora = asked().lora
    put(tmp_path, r=lora.r + 1, lora_alpha=lora.alpha + 1)
    spec = asked(f"model.adapter={tmp_path}")
    assert said(spec) == [("lora.r", "preflight.adapter_rank"), ("lora.alpha", "preflight.adapter_alpha")]
    rank, alpha = adapter.problems(spec)
    assert f"--set lora.r={lora.r + 1}" in str(rank) and f"--set lora.alpha={lora.alpha + 1:g}" in str(alpha)
    fitted = asked(f"model.adapter={tmp_path}", f"lora.r={lora.r + 1}", f"lora.alpha={lora.alpha + 1}")
    assert said(fitted) == []


@pytest.mark.parametrize("changes", [{"use_dora": True}, {"use_rslora": True}, {"bias": "all"}])
def test_what_lora_does_not_make_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    spec = asked(f"model.adapter={put(tmp_path, **changes)}")
    assert said(spec) == [("model.adapter", "preflight.adapter_other")]
    assert next(iter(changes)) in str(next(adapter.problems(spec)))


def test_another_kind_of_adapter_is_refused(tmp_path: Path) -> None:
    assert said(asked(f"model.adapter={put(tmp_path, peft_type='IA3')}")) == [
        ("model.adapter", "preflight.adapter_kind")
    ]


def test_without_adapters_there_is_nothing_to_train_further(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        asked(f"model.adapter={put(tmp_path)}", "lora.enabled=false", "model.load_in_4bit=false")
    assert [(problem.place, problem.key) for problem in caught.value.problems] == [
        ("model.adapter", "presets.start_without_lora")
    ]


def test_the_key_of_before_is_explained_in_both_languages() -> None:
    with pytest.raises(SpecError) as caught:
        asked("lora.start_from=outputs/x")
    (problem,) = caught.value.problems
    assert problem.place == "lora.start_from"
    for language in ("en", "ko"):
        assert "model.adapter" in str(problem.said(text.words(language)))


def test_a_checkpoint_of_a_run_is_named_by_its_worth_or_its_step(outputs: Path) -> None:
    run = write_run(outputs, "sft", [evaluated(0, 0.1), evaluated(20, 0.9), evaluated(40, 0.5)])
    for step in (20, 40):
        saved(run, step)
    for typed, step in (("", 20), ("@best", 20), ("@latest", 40), ("@20", 20), ("@40", 40)):
        found = start_adapter.resolve(f"run:sft{typed}")
        assert (found.run, found.step, found.trained_on) == ("sft", step, "tiny@1")
        assert str(found.message()) == f"run sft, step {step}"
        assert said(asked(f"model.adapter=run:sft{typed}")) == []


def test_the_folder_of_a_checkpoint_is_called_by_its_run_and_step(outputs: Path) -> None:
    run = RunDir(outputs / "words.1-sft")
    assert start_adapter.called(str(run.checkpoint(20))) == "run:words.1-sft@20"
    for other in (
        "Qwen/Qwen3-4B",
        "builtin/tiny-qwen3",
        "owner/checkpoint-20",
        "checkpoint-20",
        "/models/checkpoint-2",
        "",
        "/",
    ):
        assert start_adapter.called(other) == other


def test_what_is_not_there_is_said_with_what_is(outputs: Path) -> None:
    assert said(asked("model.adapter=run:sft")) == [("model.adapter", "run.start_no_runs")]
    run = write_run(outputs, "sft", [])
    assert said(asked("model.adapter=run:sftt")) == [("model.adapter", "run.start_no_run")]
    assert said(asked("model.adapter=run:sft")) == [("model.adapter", "run.start_no_checkpoint")]
    saved(run, 20)
    cases = {"@best": "run.start_none_evaluated", "@30": "run.start_no_step", "@newest": "run.start_which"}
    for typed, key in cases.items():
        assert said(asked(f"model.adapter=run:sft{typed}")) == [("model.adapter", key)], typed
    assert "run:sft@20" in str(next(adapter.problems(asked("model.adapter=run:sft@30"))))
    assert said(asked("model.adapter=run:sft")) == []
    with (run.checkpoint(20) / "adapter_model.safetensors").open("ab") as file:
        file.write(b"more")
    assert said(asked("model.adapter=run:sft@20")) == [("model.adapter", "run.start_not_there")]
    assert said(asked(f"model.adapter={run.checkpoint(20)}")) == [("model.adapter", "run.start_damaged")]


def test_an_adapter_of_another_base_model_is_refused(outputs: Path) -> None:
    saved(write_run(outputs, "sft", []), 20, model="Qwen/Qwen3-4B")
    assert said(asked("model.adapter=run:sft")) == [("model.name", "preflight.adapter_base")]


def test_an_id_of_the_hub_is_left_to_the_worker() -> None:
    assert said(asked("model.adapter=somebody/adapter")) == []
    assert start_adapter.resolve("somebody/adapter").folder is None
