"""A reward model exported: what AutoModelForSequenceClassification loads gives the scores that were trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.export.conftest import new_run
from trainer import engine, export
from trainer.errors import ExportRefused
from trainer.rewards.library.reward_model import READS, Classifier
from trainer.run import checkpoints
from trainer.run.rundir import RunDir
from trainer.spec import RunSpec
from trainer.stages.judges import adapter_of, judge_of
from trainer.stages.ordering import scores

TEXTS = [[5, 6, 7, 20, 21], [8, 9], [10, 11, 12]]


def trained(place: Path, lora: bool) -> tuple[RunDir, list[float]]:
    """A run with one checkpoint of a judge whose adapter matters, and its scores of TEXTS."""
    import torch
    from peft import get_peft_model

    spec = RunSpec.model_validate(
        {
            "model": {"name": "builtin/tiny-qwen3", "device": "cpu", "dtype": "float32"},
            "lora": {"enabled": lora, "r": 4},
            "data": {"path": "unused.jsonl"},
            "reward": {"components": [{"function": "exact_match"}]},
            "run": {"method": "reward_model"},
        }
    )
    loaded = engine.load(spec, engine.resolve(spec))
    judge: Any = judge_of(loaded.model, spec)
    judge.config.pad_token_id = loaded.tokenizer.pad_token_id
    if lora:
        judge = get_peft_model(judge, adapter_of(loaded.peft_config, None))
        torch.manual_seed(1)
        for name, parameter in judge.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
    run = new_run(place / "outputs", "judge", spec)
    folder = run.staging / "checkpoint-2"
    judge.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    (folder / READS).write_text(json.dumps({"chat_template_kwargs": None, "ends": [2]}), "utf-8")
    for name in checkpoints.REQUIRED:
        (folder / name).write_text("{}", "utf-8")
    facts = {"step": 2, "run": "judge", "model": loaded.source, "data": "", "versions": {"torch": "2"}}
    checkpoints.publish(folder, run.checkpoints, facts)
    return run, scores(judge, TEXTS, 0, 2)


@pytest.mark.parametrize("lora", [True, False], ids=["adapter", "whole"])
def test_the_merged_export_scores_as_what_was_trained(lora: bool, tmp_path: Path) -> None:
    run, wanted = trained(tmp_path, lora)
    made = export.export(run, "merged", dtype="float32", say=lambda _: None)
    shutil.rmtree(run.checkpoints)
    classifier = Classifier(str(made.path), None, "cpu", 8, 1024, False, None, "none")
    classifier.load()
    assert scores(classifier.model, TEXTS, 0, 2) == pytest.approx(wanted, abs=1e-5)
    assert classifier.reads is not None and classifier.reads["ends"] == [2]
    card = (made.path / "README.md").read_text("utf-8")
    assert "AutoModelForSequenceClassification" in card and "AutoModelForCausalLM" not in card


def test_an_adapter_says_how_it_is_loaded_and_there_is_no_gguf(tmp_path: Path) -> None:
    run, _ = trained(tmp_path, lora=True)
    made = export.export(run, "adapter", say=lambda _: None)
    assert "num_labels=1" in (made.path / "README.md").read_text("utf-8")
    assert (made.path / READS).is_file()
    with pytest.raises(ExportRefused, match="for models that write"):
        export.export(run, "gguf", say=lambda _: None)
