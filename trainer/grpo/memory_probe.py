"""Before step 1: the largest step this run can meet, once, so that it fails now rather than at step 500.

The longest prompt of the data is completed to full length by a whole generation batch, the old and reference
log-probabilities are computed where the run needs them, and micro-batches of such rows go forward and backward through
the trainer's own loss. Weights, gradients, metrics and random state are left as they were. What is not in it: the
optimizer's states before the first step, and what Unsloth's vLLM takes for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.trainer_callback import TrainerCallback

from trainer.grpo.vllm_rollouts import Rollouts
from trainer.machine import out_of_memory
from trainer.memory.measured import peak_gib
from trainer.plan.sharing import prompts_at_once, whole_groups


@dataclass(frozen=True)
class Probe:
    """Peak memory of the process in GiB (GPU if it has one, else resident) in both halves of a step, and the seconds.

    generation_gib is None where Unsloth's vLLM writes the completions: it takes its share once, at the start.
    has_states: the optimizer's states are in the peaks, because a checkpoint was resumed.
    """

    generation_gib: float | None
    update_gib: float
    has_states: bool
    seconds: float


class ProbeMemory(TrainerCallback):
    """Runs the probe when training begins: model and optimizer are prepared, a checkpoint is loaded."""

    def __init__(
        self,
        trainer: Any,
        longest_prompt: list[int],
        report: Callable[[Probe | Exception | None], None],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """report: gets None when the probe begins, then what came of it. check: raises when a stop was asked for."""
        self.trainer = trainer
        self.longest_prompt = longest_prompt
        self.report = report
        self.check = check

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Out of memory ends the attempt; any other failure is a shortcoming of the probe and is only reported."""
        self.report(None)
        self.check()
        try:
            found: Probe | Exception = measure(self.trainer, self.longest_prompt)
        except Exception as error:
            if out_of_memory.is_out_of_memory(error):
                raise
            found = error
        self.report(found)
        self.check()


def measure(trainer: Any, prompt: list[int]) -> Probe:
    """Run both halves of a step at their largest. Raises what the device raises when it is out of memory.

    trainer: a CustomGRPOTrainer whose training has begun. prompt: token ids of the longest prompt.
    """
    started = time.perf_counter()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    has_states = bool(trainer.optimizer is not None and trainer.optimizer.state)
    with torch.random.fork_rng(devices=devices), _undisturbed(trainer), _without_steps(trainer.model):
        generation_gib = _generation(trainer, prompt)
        update_gib = _update(trainer, prompt)
    return Probe(generation_gib, update_gib, has_states, time.perf_counter() - started)


@contextmanager
def _undisturbed(trainer: Any) -> Iterator[None]:
    """What a loss leaves behind is put back: gradients, metrics, and the state of TRL's adaptive entropy."""
    names = ("_last_world_entropy", "entropy_coef", "current_gradient_accumulation_steps")
    before = {name: getattr(trainer, name) for name in names if hasattr(trainer, name)}
    # transformers sets it at the first batch
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(trainer, name, value)
        trainer.forget_prompts()
        trainer.model.zero_grad(set_to_none=True)
        trainer._metrics["train"].clear()
        _reset()


@contextmanager
def _without_steps(model: nn.Module) -> Iterator[None]:
    """Optimizers that step inside the backward pass hang on the weights, and so do their schedules (transformers 5.17,
    trainer_optimizer.py `_setup_low_rank_optimizer`, optimization.py `get_scheduler`; lomo_optim `Lomo`). Of what they
    do only this is left: a gradient is gone as soon as it is whole."""
    kept, dropping = [], []
    for weight in model.parameters():
        hooks = [each for each in (weight._post_accumulate_grad_hooks, weight._backward_hooks) if each]
        for each in hooks:
            kept.append((each, dict(each)))
            each.clear()
        if hooks:
            dropping.append(weight.register_post_accumulate_grad_hook(_drop_gradient))
    try:
        yield
    finally:
        for handle in dropping:
            handle.remove()
        for each, before in kept:
            each.update(before)


def _drop_gradient(weight: Tensor) -> None:
    weight.grad = None


def _generation(trainer: Any, prompt: list[int]) -> float | None:
    """Every row of a generation batch to its last token."""
    _reset()
    rows = _generation_rows(trainer)
    if trainer.use_vllm:
        return _generation_by_vllm(trainer, [prompt] * rows)
    config = trainer.generation_config
    shortest = config.min_new_tokens
    config.min_new_tokens = config.max_new_tokens  # no end token before: all rows grow to P + T tokens
    try:
        trainer._generate_single_turn([prompt] * rows, None, {}, trainer.num_generations)
    finally:
        config.min_new_tokens = shortest
    return peak_gib()


def _generation_by_vllm(trainer: Any, prompts: list[list[int]]) -> float | None:
    """The same by vLLM, which has its share by now: on a GPU the peak begins with it, on a CPU it grows with use."""
    engine = trainer.vllm_generation
    if not isinstance(engine, Rollouts):
        return None
    chosen = engine.generation_kwargs
    engine.generation_kwargs = chosen | {"min_tokens": engine.max_completion_length}
    try:
        trainer._generate_single_turn(prompts, None, {}, trainer.num_generations)
    finally:
        engine.generation_kwargs = chosen
    return peak_gib()


def _generation_rows(trainer: Any) -> int:
    rows: int = trainer.args.generation_batch_size // trainer.accelerator.num_processes
    return rows


def _update(trainer: Any, prompt: list[int]) -> float:
    """Log-probabilities without a gradient, then forward and backward of the first micro-batches at full length."""
    model = trainer.model
    if hasattr(model, "for_training"):  # Unsloth: its generate leaves the inference mode on
        model.for_training(use_gradient_checkpointing=getattr(model, "_unsloth_gradient_checkpointing", True))
        _unsloth_logps(trainer, prompt)
    else:
        model.train()
    _reset()
    rows = trainer.args.per_device_train_batch_size
    # The second forward of an accumulation runs beside the gradients of the first.
    for _ in range(min(2, trainer.args.gradient_accumulation_steps)):
        inputs = _largest_batch(trainer, prompt, rows, _different(trainer, rows))
        # As transformers' training_step: autocast around the loss only, backward outside of it.
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(trainer.model_wrapped, inputs, num_items_in_batch=inputs["num_items_in_batch"])
        trainer.accelerator.backward(loss)
        trainer.close_prompts()
    return peak_gib()


def _unsloth_logps(trainer: Any, prompt: list[int]) -> None:
    """Old and reference policy on the whole generation batch. TRL takes it in micro-batches, below the update's peak;
    Unsloth 2026.10.7 in parts as large as the memory that is free (unsloth/models/rl_replacements.py
    `grpo_trainer__get_per_token_logps_and_entropies`).
    """
    args = trainer.args
    off_policy = trainer.num_iterations > 1 or args.steps_per_generation > args.gradient_accumulation_steps
    replays = trainer.rounds is not None and trainer.rounds.replayed is not None
    if not (trainer.beta or off_policy or replays):
        return
    batch = _largest_batch(trainer, prompt, _generation_rows(trainer), _generation_rows(trainer))
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    with torch.no_grad():
        trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, torch.ones_like(ids), batch["completion_ids"].shape[1], batch_size=args.train_batch_size
        )


def _different(trainer: Any, rows: int) -> int:
    """Prompts that a micro-batch has at most where its rows share them; without that every row may count as another."""
    if trainer.fast.shared is not None:
        return rows
    args = trainer.args
    whole = trainer.fast.ordered is None and whole_groups(args.gradient_accumulation_steps, args.steps_per_generation)
    group = trainer.num_generations
    rounds = trainer.rounds
    least = rounds.sampler.settings.min_generations if rounds is not None and rounds.has_several_sizes else None
    return prompts_at_once(rows, group, _generation_rows(trainer) // group, whole, least)


def _largest_batch(trainer: Any, prompt: list[int], rows: int, different: int) -> dict[str, Tensor]:
    """What `_prepare_inputs` gives the loss: (rows, P) so many different prompts, and (rows, C) completions."""
    length, device = trainer.max_completion_length, trainer.accelerator.device
    completion = (prompt * (length // len(prompt) + 1))[:length]  # any tokens do: memory depends on their number
    # Rotated: rows with one prompt are read once, and Unsloth does so too where it finds them beside each other.
    turns = [row * different // rows % len(prompt) for row in range(rows)]
    prompts = [prompt[turn:] + prompt[:turn] for turn in turns]
    # Old log-probabilities of 0 make every ratio far smaller than 1: rows with advantage -1 are clipped and have no
    # gradient, those with +1 have one.
    batch: dict[str, Tensor] = {
        "prompt_ids": torch.tensor(prompts, device=device),
        "prompt_mask": torch.ones((rows, len(prompt)), dtype=torch.long, device=device),
        "completion_ids": torch.tensor([completion] * rows, device=device),
        "completion_mask": torch.ones((rows, length), dtype=torch.long, device=device),
        "advantages": torch.tensor([1.0 if row % 2 else -1.0 for row in range(rows)], device=device),
        "num_items_in_batch": torch.tensor(rows * length, device=device),
        "old_per_token_logps": torch.zeros((rows, length), device=device),
    }
    if trainer.beta:
        batch["ref_per_token_logps"] = torch.zeros((rows, length), device=device)
    if trainer.use_vllm:
        batch["sampling_per_token_logps"] = torch.zeros((rows, length), device=device)
        batch["importance_sampling_ratio"] = torch.ones((rows, length), device=device)
    return batch


def _reset() -> None:
    """Start a new peak, without what the half before has left in the allocator. A CPU's peak only ever grows."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
