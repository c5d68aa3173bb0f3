"""How long a run will take: seconds a step, where that number is from, and the whole of it.

    step_seconds(spec, batch, machine, processor)   from tokens and what the processor does; None for an unknown model
    scaled(...)                                     from what another batch of the same kind was measured to take

Pure functions. What was measured here, and what this machine is, is found out by trainer.launch.pace.

An estimate counts operations and bytes, and one thing that neither is: a layer's kernels are started one after the
other, which for small models is most of the time. Answers are taken at their full length, prompts at half of theirs;
where prompts are shared (trainer.plan.sharing) each is counted once. How many groups will teach nothing is not known:
with sampling.max_rounds a phase is counted once, and what it would take with all rounds is said beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from trainer.machine.gpu_models import GpuModel, gpu_model_named
from trainer.machine.speed import CpuSpeed
from trainer.memory import GIB, Load, weights_gib
from trainer.plan import choosing, sharing
from trainer.plan.bandwidth_floor import REACHED, active_params, read_gib
from trainer.plan.batches import Batch
from trainer.plan.estimate import (
    GIB_PER_NOMINAL_GB,
    Machine,
    batch_of,
    memory_load,
    runs_on_gpu,
    runs_unsloth,
    sequences_of_an_example,
)
from trainer.spec import RunSpec
from trainer.text import Message

Kind = Literal["run", "preset", "scaled", "cpu", "card"]

# Share of what a core does in a small product of matrices (machine/speed.py) that it reaches in a step. Measured: tiny,
# tiny-qlora and smollm2 on 2 cores, 2026-11-30.
CPU_REACHED = 0.6
PROMPT_FILLED = 0.5  # of data.max_prompt_length, which is chosen so that the longest fits
NF4_COSTS = 1.4  # matrix products of weights that have to be unpacked before
# Seconds a layer's kernels take to start, forwards. On a CPU measured: tiny, tiny-qlora and malpyeong-tiny on 2 cores,
# 2026-11-29. On a GPU unmeasured: what transformers, Unsloth and vLLM are known for on models of 1 B to 8 B.
LAYER_S = {"cpu": 2.5e-3, "transformers": 1e-3, "unsloth": 0.6e-3, "vllm": 0.1e-3}
ADAPTERS_COST = 1.6  # times: three products where there was one
# Everything but steps: imports, loading from a disk, the first evaluation. On a CPU measured as above.
START_S = {"cpu": 12.0, "gpu": 45.0}
DISK_GIB_S = 1.0
TOO_LONG_S = 14 * 86_400.0
# A card of each size people have, for a machine that is not this one.
TYPICAL = {8: "RTX 4060", 12: "RTX 3060", 16: "RTX 4060 Ti", 24: "RTX 3090", 48: "RTX A6000", 80: "A100 80 GB"}


@dataclass(frozen=True)
class Processor:
    """What computes. tflops: 10^12 operations a second that large matrix products reach."""

    name: str
    bandwidth_gb_s: float
    tflops: float
    is_gpu: bool

    @classmethod
    def of_cpu(cls, speed: CpuSpeed, cores: int) -> Processor:
        return cls("CPU", speed.bandwidth_gb_s, speed.core_gflops * cores / 1e3 * CPU_REACHED, False)

    @classmethod
    def of_card(cls, card: GpuModel) -> Processor:
        return cls(card.name, card.bandwidth_gb_s, card.tflops * REACHED, True)


@dataclass(frozen=True)
class Duration:
    """step_s: seconds of an optimizer step. steps: None until the rows are known. other_s: before, between and after.

    kind: `run` and `preset` are measured, the others estimated. source: in words. gb: of the card where it is for
    another machine than this one. rounds: that step_s does not count; most_step_s: with all of them, None where step_s
    has those that there were.
    """

    step_s: float
    steps: int | None
    other_s: float
    kind: Kind
    source: Message
    gb: int | None = None
    rounds: int = 1
    most_step_s: float | None = None

    @property
    def is_measured(self) -> bool:
        return self.kind in ("run", "preset")

    @property
    def total_s(self) -> float | None:
        return None if self.steps is None else self.steps * self.step_s + self.other_s

    @property
    def too_long(self) -> Message | None:
        """For a run that nobody means to wait for."""
        if self.total_s is None or self.total_s < TOO_LONG_S:
            return None
        return Message("plan.duration.too_long", days=f"{self.total_s / 86_400:,.0f}")

    @property
    def at_most(self) -> Message | None:
        """What it would take if every phase took all its rounds; None for one round, and where that was measured."""
        if self.rounds == 1 or self.most_step_s is None:
            return None
        if self.steps is None:
            return Message("plan.duration.rounds_step", rounds=self.rounds, step=self.most_step_s)
        total = self.steps * self.most_step_s + self.other_s
        return Message("plan.duration.rounds", rounds=self.rounds, step=self.most_step_s, total=total)

    def about(self) -> Message | None:
        """In a few words, for a card: "about 1 min on this machine"; None where the number of steps is not known."""
        if self.total_s is None:
            return None
        if self.gb is not None:
            return Message("plan.duration.about_card", total=self.total_s, gb=self.gb)
        return Message("plan.duration.about" if self.is_measured else "plan.duration.about_here", total=self.total_s)


def step_seconds(spec: RunSpec, batch: Batch, machine: Machine, on: Processor, rounds: int = 1) -> float | None:
    """Seconds of one optimizer step, its share of the rollout phases included. rounds: in which each is written."""
    load = memory_load(spec, batch, machine)
    if load is None:
        return None
    if spec.is_supervised:
        return _supervised_s(spec, load, batch, on)
    phases = 1 / batch.updates_per_phase if batch.updates_per_phase > 1 else float(batch.phases_per_update)
    # What the policy said of its own answers is computed first where it moves on, or where they may come again.
    again = batch.updates_per_phase > 1 or spec.sampling.replay > 0
    shared = sharing.of(spec, batch, runs_unsloth(spec, machine), runs_on_gpu(spec, machine))
    rows, windows = batch.completions_per_phase, batch.completions_per_update / shared.rows
    prompts = batch.prompts_per_phase if shared.shares else None
    phase = rounds * _generation_s(load, on, batch.completions_per_phase, batch.devices)
    phase += (int(again) + int(spec.grpo.beta > 0)) * _forward_s(load, on, rows, prompts)
    backward = 2.0 if not load.lora_rank else 1.0  # the weights' own gradients are left out
    recomputed = 1.0 if load.gradient_checkpointing else 0.0
    prompts = round(windows * shared.window) if shared.shares else None
    update = (1 + backward + recomputed) * _forward_s(load, on, batch.completions_per_update, prompts)
    return phases * phase + update


def _supervised_s(spec: RunSpec, load: Load, batch: Batch, on: Processor) -> float:
    """Forwards and backwards of the examples; of a pair both completions, and what the reference says of them."""
    passes = 2.0 + (0.0 if load.lora_rank else 1.0) + (1.0 if load.gradient_checkpointing else 0.0)
    reference = 1.0 if spec.run.method == "dpo" else 0.0
    rows = batch.completions_per_update * sequences_of_an_example(spec)
    return (passes + reference) * _forward_s(load, on, rows, None)


def _forward_s(load: Load, on: Processor, rows: int, prompts: int | None) -> float:
    """All tokens of these completions once through the model, a micro-batch after the other. prompts: that go through
    it once for all of their completions; None: with each of them."""
    read = rows if prompts is None else prompts
    tokens = read * load.prompt_tokens * PROMPT_FILLED + rows * load.completion_tokens
    headed = tokens if load.prompt_logits else rows * load.completion_tokens
    head = load.shape.vocab * load.shape.hidden * headed
    work = 2 * (active_params(load) * tokens + head)
    calls = rows / load.micro_batch + (0 if prompts is None else min(prompts, rows / load.micro_batch))
    started = calls * load.shape.layers * _layer_s(load, on)
    return max(work / _operations_s(load, on), started) if on.is_gpu else work / _operations_s(load, on) + started


def _generation_s(load: Load, on: Processor, rows: int, devices: int) -> float:
    prompt = load.prompt_tokens * PROMPT_FILLED
    weights, cache = read_gib(load, rows, prompt + load.completion_tokens / 2)
    head = load.shape.vocab * load.shape.hidden
    reading = (weights + cache) * GIB / (on.bandwidth_gb_s * 1e9)
    computing = 2 * rows * (active_params(load) + head) / _operations_s(load, on)
    token = max(reading, computing)
    started = load.shape.layers * _layer_s(load, on, generating=True)
    each = max(token, started) if on.is_gpu else token + started
    read = rows if load.prompts_read is None else load.prompts_read * devices
    return 2 * read * active_params(load) * prompt / _operations_s(load, on) + load.completion_tokens * each


def _operations_s(load: Load, on: Processor) -> float:
    return on.tflops * 1e12 / (NF4_COSTS if load.weights == "nf4" else 1.0)


def _layer_s(load: Load, on: Processor, generating: bool = False) -> float:
    if load.vllm is not None and generating and on.is_gpu:
        return LAYER_S["vllm"]
    each = LAYER_S["cpu" if not on.is_gpu else "unsloth" if load.unsloth else "transformers"]
    return each * (ADAPTERS_COST if load.lora_rank and not load.unsloth else 1.0)


def other_seconds(
    spec: RunSpec, batch: Batch, machine: Machine, on: Processor, written_first: int | None = None
) -> float:
    """Imports and loading, and the completions that measure pass rates or become examples (written_first)."""
    load = memory_load(spec, batch, machine)
    start = START_S["gpu" if on.is_gpu else "cpu"]
    if load is None:
        return start
    return start + weights_gib(load) / DISK_GIB_S + writing_seconds(spec, batch, load, on, written_first)


def writing_seconds(spec: RunSpec, batch: Batch, load: Load, on: Processor, written_first: int | None) -> float:
    """Of the completions that are written before the first step."""
    if spec.is_supervised:
        count, rows = written_first or 0, load.generation_rows * batch.devices
    else:
        count, rows = choosing.measured(spec, batch), batch.completions_per_phase
    return count / rows * _generation_s(load, on, rows, batch.devices) if count else 0.0


def on_a_card(spec: RunSpec, rows: int | None, steps: int | None, gb: int) -> Duration | None:
    """On the usual card of that size in GB, for who has none here; None for an unknown model or size."""
    card = gpu_model_named(TYPICAL.get(gb))
    if card is None:
        return None
    batch, machine, on = batch_of(spec, rows), Machine(GIB_PER_NOMINAL_GB * gb), Processor.of_card(card)
    each, rounds = step_seconds(spec, batch, machine, on), spec.sampling.max_rounds
    if each is None:
        return None
    source = Message("plan.duration.from_card", card=card.name)
    most = step_seconds(spec, batch, machine, on, rounds)
    first = rows * spec.generation.num_generations if rows is not None and spec.samples_first else None
    return Duration(each, steps, other_seconds(spec, batch, machine, on, first), "card", source, gb, rounds, most)


# ---- what makes two runs take the same time

_TIMELESS = {
    "optim": {
        *("learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay", "adam_beta1", "adam_beta2"),
        *("max_grad_norm", "max_steps", "num_train_epochs"),
    },
    "model": {"warm_start", "revision"},
}
_KIND = ("name", "engine", "device", "cpu_threads", "dtype", "load_in_4bit", "fast_inference", "attn_implementation")


def alike(one: RunSpec, other: RunSpec) -> bool:
    """Does a step of both do the same?"""
    return _timed(one) == _timed(other)


def same_kind(one: RunSpec, other: RunSpec) -> bool:
    """The same model on the same device in the same way: then time goes with what is computed. A supervised step writes
    nothing, and says little about one that does.

    other: was measured. Where it wrote a phase in several rounds, in how many is not known: its time is no other run's.
    """
    kinds = ([getattr(spec.model, name) for name in _KIND] for spec in (one, other))
    ways = one.lora.enabled == other.lora.enabled and one.run.fast == other.run.fast
    ways = ways and (one.run.method if one.is_supervised else "") == (other.run.method if other.is_supervised else "")
    return next(kinds) == next(kinds) and ways and other.sampling.max_rounds == 1


def _timed(spec: RunSpec) -> dict[str, Any]:
    sections = ("model", "lora", "data", "reward", "generation", "sampling", "grpo", "optim", "trl")
    include: dict[str, Any] = {**dict.fromkeys(sections, True), "run": {"fast", "method"}}
    return spec.model_dump(mode="json", include=include, exclude=_TIMELESS)
