"""The embedded model without its warm start, and a CustomGRPOTrainer on it: a few steps take a second."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.grpo.spans import Span, Spans
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.run.rollouts import Batch
from trainer.spec import Component, Reward

REWARD = Reward(
    components=[
        Component(function="position_match", name="correct"),
        Component(function="format_regex", name="format", weight=0.5, params={"pattern": "[ -Z]+"}),
    ]
)


# Of random text about half ends so: most groups have spread.
HALF = Reward(components=[Component(function="format_regex", params={"pattern": ".*[A-Za-m]"})])


# A letter ends a step, of random text most; capital letters are paid.
STEPS = Reward(
    components=[Component(function="format_regex", name="capital", per_step=True, params={"pattern": r".*[A-Z]\s*"})],
    supervision="process",
    step_split="[A-Za-z]",
)


@dataclass
class Recorder:
    """An observer that remembers."""

    batches: list[tuple[int, Batch]] = field(default_factory=list)
    steps: list[tuple[int, dict[str, Any], list[Span]]] = field(default_factory=list)
    checkpoints: list[tuple[int, Path]] = field(default_factory=list)

    def rollouts(self, step: int, batch: Batch) -> None:
        self.batches.append((step, batch))

    def step(self, step: int, logs: dict[str, Any], spans: list[Span]) -> None:
        self.steps.append((step, logs, spans))

    def checkpoint(self, step: int, staged: Path) -> None:
        self.checkpoints.append((step, staged))


def tiny_model(seed: int = 0) -> tuple[Any, Any]:
    """(model, tokenizer) of builtin/tiny-qwen3 with random weights."""
    from transformers import set_seed

    from trainer.engine import builtin

    tokenizer = builtin.make_tokenizer()
    set_seed(seed)
    return builtin.make_model("builtin/tiny-qwen3", tokenizer), tokenizer


def rows(count: int = 16) -> list[dict[str, Any]]:
    """Prompts that are all different, with an answer column."""
    letters = "abcd"
    texts = [f"{letters[i % 4]}{letters[i // 4 % 4]}{i}" for i in range(count)]
    return [{"prompt": [{"role": "user", "content": text}], "answer": text[:2]} for text in texts]


def tiny_trainer(
    folder: Path,
    *,
    base: type | None = None,
    reward: Reward = REWARD,
    wrapper: ComponentRewardWrapper | None = None,
    peft_config: Any = None,
    model: Any = None,
    **changes: Any,
) -> tuple[Any, Recorder]:
    """A CustomGRPOTrainer on the tiny model and the observer that watches it; `changes` go to GRPOConfig."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from trainer.grpo.trainer import make_trainer_class

    tiny, tokenizer = tiny_model()
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 8,
        "max_steps": 2,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    spans, recorder = Spans(), Recorder()
    trainer = make_trainer_class(base or GRPOTrainer)(
        model=tiny if model is None else model,
        args=GRPOConfig(**settings | changes),
        reward_funcs=[wrapper or ComponentRewardWrapper(reward, spans)],
        train_dataset=Dataset.from_list(rows()),
        processing_class=tokenizer,
        peft_config=peft_config,
        spans=spans,
        observer=recorder,
    )
    return trainer, recorder
