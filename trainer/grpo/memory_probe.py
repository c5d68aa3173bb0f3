"""Before step 1: the largest step this run can meet, once, so that it fails now or not at all.

The longest prompt of the data is completed to full length by a whole generation batch, and one micro-batch of such rows
goes forward and backward through the trainer's own loss. Weights, metrics and random state are left as they were. What
is not in it: the optimizer's states, which the first step allocates.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from trainer.memory.measured import peak_gib


@dataclass(frozen=True)
class Probe:
    """Peak memory of the process in GiB (GPU if it has one, else resident) in both halves of a step, and the seconds.

    generation_gib is None where vLLM writes the completions: it takes its share once, at the start.
    """

    generation_gib: float | None
    update_gib: float
    seconds: float


class ProbeMemory(TrainerCallback):
    """Runs the probe when training begins: model and optimizer are prepared, a checkpoint is loaded."""

    def __init__(self, trainer: Any, longest_prompt: list[int], report: Callable[[Probe], None]) -> None:
        self.trainer = trainer
        self.longest_prompt = longest_prompt
        self.report = report

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.report(measure(self.trainer, self.longest_prompt))


def measure(trainer: Any, prompt: list[int]) -> Probe:
    """Run both halves of a step at their largest. Raises what the device raises when it is out of memory.

    trainer: a CustomGRPOTrainer whose training has begun. prompt: token ids of the longest prompt.
    """
    started = time.perf_counter()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        generation_gib = None if trainer.use_vllm else _generation(trainer, prompt)
        update_gib = _update(trainer, prompt)
    return Probe(generation_gib, update_gib, time.perf_counter() - started)


def _generation(trainer: Any, prompt: list[int]) -> float:
    """Every row of a generation batch to its last token."""
    _reset()
    config, rows = trainer.generation_config, trainer.args.generation_batch_size // trainer.accelerator.num_processes
    shortest = config.min_new_tokens
    config.min_new_tokens = config.max_new_tokens
    try:
        trainer._generate_single_turn([prompt] * rows, None, {}, trainer.num_generations)
    finally:
        config.min_new_tokens = shortest
    return peak_gib()


def _update(trainer: Any, prompt: list[int]) -> float:
    """Forward and backward of one micro-batch at full length; the gradients are thrown away."""
    model = trainer.model
    if hasattr(model, "for_training"):  # Unsloth: its generate leaves the inference mode on
        model.for_training(use_gradient_checkpointing=getattr(model, "_unsloth_gradient_checkpointing", True))
    else:
        model.train()
    _reset()
    if not hasattr(trainer, "current_gradient_accumulation_steps"):  # set by transformers at the first batch
        trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    inputs = _largest_batch(trainer, prompt)
    with trainer.compute_loss_context_manager():
        loss = trainer.compute_loss(trainer.model_wrapped, inputs, num_items_in_batch=inputs["num_items_in_batch"])
    trainer.accelerator.backward(loss)
    found = peak_gib()
    model.zero_grad(set_to_none=True)
    trainer._metrics["train"].clear()
    _reset()
    return found


def _largest_batch(trainer: Any, prompt: list[int]) -> dict[str, Tensor]:
    """What `_prepare_inputs` gives the loss, for a micro-batch of (B, P) prompts and (B, C) completions."""
    rows, length = trainer.args.per_device_train_batch_size, trainer.max_completion_length
    device = trainer.accelerator.device
    completion = (prompt * (length // len(prompt) + 1))[:length]
    batch: dict[str, Tensor] = {
        "prompt_ids": torch.tensor([prompt] * rows, device=device),
        "prompt_mask": torch.ones((rows, len(prompt)), dtype=torch.long, device=device),
        "completion_ids": torch.tensor([completion] * rows, device=device),
        "completion_mask": torch.ones((rows, length), dtype=torch.long, device=device),
        "advantages": torch.tensor([1.0 if row % 2 else -1.0 for row in range(rows)], device=device),
        "num_items_in_batch": torch.tensor(rows * length, device=device),
        "old_per_token_logps": torch.zeros((rows, length), device=device),
    }
    if trainer.beta:
        batch["ref_per_token_logps"] = torch.zeros((rows, length), device=device)
    return batch


def _reset() -> None:
    """Start a new peak, without what the half before has left in the allocator. A CPU's peak only ever grows."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
