"""trainer.evaluate.answers: what an epoch leaves behind, whole or not at all, and loadable by PEFT."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel

from tests.builders import tiny_model, tiny_trainer
from trainer.errors import CheckpointError
from trainer.evaluate import answers
from trainer.run import checkpoints
from trainer.run.rundir import RunDir


@pytest.mark.parametrize(
    ("epoch", "label"),
    [(0, "0"), (1.0, "1"), (10.0, "10"), (1.5, "1.5"), (1 / 3, "0.3333"), (3 / 16, "0.1875"), (2.99999999, "3")],
)
def test_labels_are_as_short_as_they_can_be(epoch: float, label: str) -> None:
    assert answers.epoch_label(epoch) == label


@pytest.mark.parametrize("epoch", [-1.0, float("nan"), float("inf")])
def test_what_is_no_epoch_has_no_label(epoch: float) -> None:
    with pytest.raises(ValueError, match="no epoch"):
        answers.epoch_label(epoch)


def test_answers_are_written_with_their_questions(make_run: Callable[..., RunDir]) -> None:
    run = make_run()
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "둘 가운데 무엇?"}]
    rows: list[dict[str, Any]] = [
        {"prompt": chat, "question_type": "선택형", "question": "무엇?", "answer": "금", "accepted": "금"},
        {"prompt": chat, "id": "b-7"},
        {"prompt": "평문"},
    ]
    path = answers.write(run, "1.5", rows, ["답변: “나”가 옳다.", "나\n", ""])
    assert path == run.path / "inference_epoch1.5.json"
    assert "답변" in path.read_text(encoding="utf-8")
    assert json.loads(path.read_text(encoding="utf-8")) == [
        {
            "id": 0,
            "question_type": "선택형",
            "question": "무엇?",
            "answer": "답변: “나”가 옳다.",
            "normalised_answer": '"나"가 옳다.',
        },
        {"id": "b-7", "question": "둘 가운데 무엇?", "answer": "나\n", "normalised_answer": "나"},
        {"id": 2, "question": "평문", "answer": "", "normalised_answer": ""},
    ]


def test_an_answer_for_every_row(make_run: Callable[..., RunDir]) -> None:
    with pytest.raises(ValueError, match="shorter"):
        answers.write(make_run(), "1", [{"prompt": "a"}, {"prompt": "b"}], ["x"])


def saved(run: RunDir, peft_config: Any) -> tuple[Any, Path]:
    """(trainer, its published checkpoint) after one step."""
    trainer, recorder = tiny_trainer(
        run.staging, peft_config=peft_config, max_steps=1, save_strategy="steps", save_steps=1
    )
    trainer.train()
    return trainer, checkpoints.publish(recorder.checkpoints[0][1], run.checkpoints, {"step": 1}).path


def test_the_adapter_of_an_epoch_is_loadable(make_run: Callable[..., RunDir]) -> None:
    run = make_run()
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer, checkpoint = saved(run, lora)
    folder = answers.copy_adapter(checkpoint, run, "1")
    assert folder == run.path / "epoch_1"
    names = {path.name for path in folder.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json"} <= names
    assert not names & {"optimizer.pt", "rng_state.pth", "scheduler.pt", "trainer_state.json", checkpoints.MANIFEST}
    loaded = PeftModel.from_pretrained(tiny_model()[0], folder)
    trained = {name: value for name, value in trainer.model.state_dict().items() if "lora_" in name}
    assert len(trained) > 10
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in trained.items())
    assert not list(run.staging.glob("epoch_*"))


def test_all_weights_of_a_run_without_an_adapter(make_run: Callable[..., RunDir]) -> None:
    from transformers import AutoModelForCausalLM

    run = make_run()
    trainer, checkpoint = saved(run, None)
    loaded = AutoModelForCausalLM.from_pretrained(answers.copy_adapter(checkpoint, run, "0.5")).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in trainer.model.state_dict().items())


@pytest.fixture
def checkpoint(make_run: Callable[..., RunDir]) -> tuple[RunDir, Path]:
    """A run and a folder that looks like one of its checkpoints."""
    run = make_run()
    folder = run.checkpoint(4)
    folder.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "optimizer.pt"):
        (folder / name).write_text(name)
    return run, folder


def test_a_resumed_run_replaces_the_epoch_it_makes_again(checkpoint: tuple[RunDir, Path]) -> None:
    run, folder = checkpoint
    answers.copy_adapter(folder, run, "1")
    (run.epoch_folder("1") / "left over").touch()
    (folder / "adapter_model.safetensors").write_text("other weights")
    answers.copy_adapter(folder, run, "1")
    found = {path.name: path.read_text() for path in run.epoch_folder("1").iterdir()}
    assert found == {"adapter_config.json": "adapter_config.json", "adapter_model.safetensors": "other weights"}


def test_a_full_disk_leaves_no_half_epoch(checkpoint: tuple[RunDir, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    run, folder = checkpoint
    copy = shutil.copyfile

    def full(source: Path, target: Path) -> Any:
        if source.name == "adapter_model.safetensors":
            target.write_text("ada")
            raise OSError(28, "No space left on device", str(target))
        return copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(CheckpointError, match="No space left"):
        answers.copy_adapter(folder, run, "1")
    assert not run.epoch_folder("1").exists()
    assert not list(run.staging.iterdir())
    monkeypatch.undo()
    answers.copy_adapter(folder, run, "1")
    assert len(list(run.epoch_folder("1").iterdir())) == 2
