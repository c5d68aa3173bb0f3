"""What the tests of methods that learn from examples make: a spec, examples, a trainer on the tiny model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from tests.builders import Recorder, tiny_model
from trainer.grpo import config
from trainer.grpo.spans import Spans
from trainer.spec import Component, Data, Method, Model, Optim, Reward, Run, RunSpec
from trainer.stages import config as stage_config
from trainer.stages.examples import Comparison, Example, Judged, Pair
from trainer.stages.trainers import make_trainer_class


def spec_of(method: Method, **sections: Any) -> RunSpec:
    """A spec whose reward wants the answer; `sections` as RunSpec takes them."""
    made: dict[str, Any] = {
        "model": Model(name="builtin/tiny-qwen3"),
        "data": Data(path="rows.jsonl"),
        "reward": Reward(components=[Component(function="exact_match", name="correct")], correct="correct"),
        "run": Run(method=method),
        "optim": Optim(per_device_train_batch_size=2),
    }
    return RunSpec(**made | sections)


class Gradients(TrainerCallback):  # type: ignore[misc]
    """Those of every optimizer step, as they are when it is made."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, *args: Any, model: Any, **kwargs: Any) -> None:
        found = ((name, each.grad) for name, each in model.named_parameters() if each.grad is not None)
        self.steps.append({name: grad.clone() for name, grad in found})


def supervised_trainer(
    folder: Path,
    spec: RunSpec,
    examples: Sequence[Example | Pair | Comparison | Judged],
    *,
    model: Any = None,
    peft_config: Any = None,
    **changes: Any,
) -> tuple[Any, Recorder, Gradients]:
    """TRL's trainer of that method with our hooks, what it told, and its gradients; `changes` go to its config."""
    from datasets import Dataset

    tiny, tokenizer = tiny_model()
    config_class = stage_config.config_class(spec)
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "per_device_train_batch_size": 2,
        "max_steps": 1,
        "max_grad_norm": 0.0,  # the gradient as it is
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "remove_unused_columns": False,
    }
    chosen = stage_config.choose(spec, settings | changes, config.defaults_of(config_class))
    recorder, gradients = Recorder(), Gradients()
    trainer = make_trainer_class(spec)(
        model=tiny if model is None else model,
        args=config.build(chosen, config_class),
        processing_class=tokenizer,
        peft_config=peft_config,
        train_dataset=Dataset.from_list([each.row() for each in examples]),
        callbacks=[gradients],
        spans=Spans(),
        observer=recorder,
    )
    return trainer, recorder, gradients


def log_probs(model: Any, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """(T,) log p of each token of a completion, one sequence at a time and without padding."""
    logits = model(input_ids=torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits.float(), dim=-1).gather(1, torch.tensor(completion)[:, None])[:, 0]
