"""RunPlan: what a spec means in prompts, completions, tokens, optimizer steps and memory.

    make(spec, rows) -> RunPlan     or PlanError: what is impossible, and the nearest possible ones

Pure functions of the spec, the number of rows and the machine's numbers. Imports pydantic, spec
and the arithmetic rooms (batches, checks, memory, the rules of the spec); never torch. Shown as text
by card.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from pydantic import BaseModel, ConfigDict

from trainer import memory
from trainer.errors import PlanError
from trainer.memory import shapes
from trainer.plan.batches import Batch
from trainer.plan.checks import batch_problems, length_problems, memory_notes, next_whole, notes
from trainer.spec import RunSpec, advice


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MemoryPart(_Frozen):
    """One term of the memory estimate."""

    name: str
    phase: memory.Phase
    gib: float
    how: str


class VerlBatch(_Frozen):
    """The same batch in verl's words. verl counts prompts where TRL counts completions."""

    train_batch_size: int
    """Prompts of one rollout phase."""
    rollout_n: int
    """verl's `rollout.n`: completions per prompt."""
    ppo_mini_batch_size: int | None
    """Prompts of one optimizer step (verl multiplies by rollout.n); None where that is no whole number."""
    ppo_micro_batch_size_per_gpu: int
    """Completions in one forward and backward pass."""
    ppo_epochs: int
    """Passes over a rollout phase."""


class RunPlan(_Frozen):
    """Everything derived from a spec before a run starts. Counts are exact; memory is an estimate in GiB."""

    world_size: int
    num_generations: int
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    num_iterations: int
    steps_per_generation: int
    generation_batch_size: int

    completions_per_update: int
    prompts_per_update: float
    """Completions divided by the group: 2.5 means that groups are spread over updates."""
    completions_per_phase: int
    prompts_per_phase: int
    updates_per_phase: int
    """1 also where an update takes several phases."""
    phases_per_update: int
    on_policy: bool
    """Completions are always trained on by the policy that wrote them."""

    rows: int | None
    """Training rows; None when the data has not been read."""
    rows_unused_per_epoch: int | None
    optimizer_steps_per_epoch: int | None
    optimizer_steps: int | None
    """Total: what TRL gets as max_steps. None until the rows are known."""
    rollout_phases: int | None
    completions_total: int | None
    epochs: float | None
    save_steps: int
    """Optimizer steps between checkpoints, a whole number of rollout phases."""

    max_prompt_tokens: int
    max_tokens_per_completion: int
    max_seq_length: int
    max_tokens_per_update: int
    """Prompt and completion of every row at full length."""

    verl: VerlBatch

    memory: list[MemoryPart]
    memory_generation_gib: float | None
    """Peak while completions are generated."""
    memory_update_gib: float | None
    """Peak in an optimizer step."""
    memory_total_gib: float | None
    """The larger of the two; None when the model is not known."""
    memory_unknown: str
    """Why there is no estimate; empty when there is one."""
    gib_per_generated_completion: float | None
    """One more completion in the rollout phase, while generating."""
    gib_per_micro_batch_completion: float | None
    """One more completion in the micro-batch, in the update."""
    gpu_name: str | None
    gpu_total_gib: float | None
    """None without a GPU."""

    notes: list[str]
    warnings: list[str]


def make(
    spec: RunSpec,
    rows: int | None,
    *,
    world_size: int = 1,
    gpu_total_gib: float | None = None,
    gpu_name: str | None = None,
) -> RunPlan:
    """The plan of a spec for `rows` training rows (None: not read yet). Raises PlanError with every problem."""
    batch = batch_of(spec, rows, world_size)
    found = [*batch_problems(batch), *length_problems(spec)]
    if found:
        raise PlanError(found)
    steps = _optimizer_steps(spec, batch)
    phases = _rollout_phases(batch, steps)
    save_steps = next_whole(spec.checkpoint.save_steps, batch.updates_per_phase)
    lengths = spec.data.max_prompt_length + spec.generation.max_completion_length
    estimate = _estimate(spec, batch, gpu_total_gib)
    per_epoch = batch.phases_per_epoch
    return RunPlan(
        world_size=world_size,
        num_generations=batch.group,
        per_device_train_batch_size=batch.micro,
        gradient_accumulation_steps=batch.accumulation,
        num_iterations=batch.iterations,
        steps_per_generation=batch.steps_per_generation,
        generation_batch_size=batch.completions_per_phase,
        completions_per_update=batch.completions_per_update,
        prompts_per_update=batch.completions_per_update / batch.group,
        completions_per_phase=batch.completions_per_phase,
        prompts_per_phase=batch.prompts_per_phase,
        updates_per_phase=batch.updates_per_phase,
        phases_per_update=batch.phases_per_update,
        on_policy=batch.updates_per_phase == 1,
        rows=rows,
        rows_unused_per_epoch=None if rows is None else rows % batch.prompts_per_phase,
        optimizer_steps_per_epoch=batch.updates_per_epoch,
        optimizer_steps=steps,
        rollout_phases=phases,
        completions_total=None if phases is None else phases * batch.completions_per_phase,
        epochs=None if phases is None or per_epoch is None else phases / per_epoch,
        save_steps=save_steps,
        max_prompt_tokens=spec.data.max_prompt_length,
        max_tokens_per_completion=spec.generation.max_completion_length,
        max_seq_length=spec.model.max_seq_length or lengths,
        max_tokens_per_update=batch.completions_per_update * lengths,
        verl=_verl(batch),
        **estimate,
        notes=[
            *notes(spec, batch, steps, save_steps),
            *memory_notes(estimate["memory_total_gib"], gpu_total_gib),
        ],
        gpu_name=gpu_name,
        gpu_total_gib=gpu_total_gib,
        warnings=advice.warnings(spec),
    )


def batch_of(spec: RunSpec, rows: int | None, world_size: int = 1) -> Batch:
    """The numbers of the spec that the batch arithmetic needs."""
    return Batch(
        micro=spec.optim.per_device_train_batch_size,
        accumulation=spec.optim.gradient_accumulation_steps,
        group=spec.generation.num_generations,
        iterations=spec.grpo.num_iterations,
        devices=world_size,
        steps=spec.generation.steps_per_generation,
        size=spec.generation.generation_batch_size,
        max_steps=spec.optim.max_steps,
        rows=rows,
    )


# ---- steps


def _optimizer_steps(spec: RunSpec, batch: Batch) -> int | None:
    if batch.max_steps is not None:
        return batch.max_steps
    per_epoch = batch.updates_per_epoch
    if per_epoch is None:
        return None
    # ceil as in transformers' set_initial_training_values, then up to a whole phase: a part of an
    # epoch could otherwise end inside one.
    return next_whole(math.ceil(spec.optim.num_train_epochs * per_epoch), batch.updates_per_phase)


def _rollout_phases(batch: Batch, steps: int | None) -> int | None:
    if steps is None:
        return None
    if batch.phases_per_update == 1:
        return steps // batch.updates_per_phase
    per_epoch, phases = batch.updates_per_epoch, batch.phases_per_epoch
    if per_epoch is None or phases is None:
        return steps * batch.phases_per_update
    # The last update of an epoch takes what is left of it.
    epochs, rest = divmod(steps, per_epoch)
    return epochs * phases + min(rest * batch.phases_per_update, phases)


def _verl(batch: Batch) -> VerlBatch:
    prompts, rest = divmod(batch.completions_per_update, batch.group)
    return VerlBatch(
        train_batch_size=batch.prompts_per_phase * batch.phases_per_update,
        rollout_n=batch.group,
        ppo_mini_batch_size=prompts if rest == 0 else None,
        ppo_micro_batch_size_per_gpu=batch.micro,
        ppo_epochs=batch.iterations,
    )


# ---- memory


def _estimate(spec: RunSpec, batch: Batch, gpu_total_gib: float | None) -> dict[str, Any]:
    """The memory fields of the plan."""
    load = memory_load(spec, batch, gpu_total_gib)
    if load is None:
        names = ("generation_gib", "update_gib", "total_gib")
        return {f"memory_{name}": None for name in names} | {
            "memory": [],
            "memory_unknown": f"not estimated: unknown model {spec.model.name}",
            "gib_per_generated_completion": None,
            "gib_per_micro_batch_completion": None,
        }
    parts = memory.parts(load)
    always = memory.phase_gib(parts, "always")
    return {
        "memory": [MemoryPart(**dataclasses.asdict(part)) for part in parts],
        "memory_generation_gib": always + memory.phase_gib(parts, "generation"),
        "memory_update_gib": always + memory.phase_gib(parts, "update"),
        "memory_total_gib": memory.total_gib(parts),
        "memory_unknown": "",
        "gib_per_generated_completion": memory.gib_per_generated_row(load),
        "gib_per_micro_batch_completion": memory.gib_per_micro_row(load),
    }


def memory_load(spec: RunSpec, batch: Batch, gpu_total_gib: float | None) -> memory.Load | None:
    """What the estimate needs; None for an unknown model."""
    shape = shapes.of(spec.model.name)
    if shape is None:
        return None
    on_gpu = spec.model.device == "cuda" or (spec.model.device == "auto" and gpu_total_gib is not None)
    dtype = spec.model.dtype if spec.model.dtype != "auto" else "bfloat16" if on_gpu else "float32"
    unsloth = spec.model.engine == "unsloth"
    return memory.Load(
        shape=shape,
        on_gpu=on_gpu,
        compute_bytes=4 if dtype == "float32" else 2,
        load_in_4bit=spec.model.load_in_4bit,
        double_quant=spec.model.double_quant,
        lora_rank=spec.lora.r if spec.lora.enabled else 0,
        lora_targets=spec.lora.target_modules,
        # PEFT keeps adapters in float32; TRL 1.14.2 casts them to bfloat16 on a quantised model,
        # Unsloth does not.
        lora_bytes=2 if spec.model.load_in_4bit and not unsloth else 4,
        optimizer=spec.optim.optim,
        gradient_checkpointing=spec.model.gradient_checkpointing,
        eager_attention=spec.model.attn_implementation == "eager",
        reference=spec.grpo.beta > 0,
        prompt_tokens=spec.data.max_prompt_length,
        completion_tokens=spec.generation.max_completion_length,
        micro_batch=batch.micro,
        generation_rows=batch.micro * batch.steps_per_generation,
        temperature_scaled=spec.generation.temperature != 1,
        liger=spec.trl.get("use_liger_kernel") is True,
    )
