"""RunPlan: what a spec means in prompts, completions, tokens, optimizer steps and memory.

    make(spec, rows) -> RunPlan     or PlanError: what is impossible, and the nearest possible ones

Pure functions of the spec, the number of rows and the machine's numbers; never torch.

    batches   what a batch means, and which are possible    levers  changes that need less memory
    checks    what is said beside the numbers               fit     which of them make the run fit
    estimate  memory, and what it has to fit into           card    the plan as text
    sharing   what of the fast path applies                 stored  messages as fields of the plan
    choosing  what [sampling] will do                       reading a plan of a run, read back
    smaller   legal batches that need less memory           playing how episodes are played
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from trainer import memory
from trainer.errors import PlanError
from trainer.plan import choosing, fit, playing, sharing
from trainer.plan.batches import Batch
from trainer.plan.checks import (
    batch_problems,
    fit_verdict,
    learning_notes,
    learns_every,
    length_problems,
    memory_note,
    next_whole,
    notes,
    plan_problems,
    reference_notes,
)
from trainer.plan.estimate import (
    Machine,
    batch_of,
    holding_gb,
    limit_gib,
    memory_load,
    runs_on_gpu,
    runs_unsloth,
    sequences_of_an_example,
    vllm_of_trl,
    vllm_starts,
)
from trainer.plan.fit import Suggestion
from trainer.plan.stored import StoredMessage
from trainer.presets import advice
from trainer.spec import Method, RunSpec
from trainer.text import Message

__all__ = ["MemoryPart", "RunPlan", "Suggestion", "VerlBatch", "batch_of", "make", "memory_load"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MemoryPart(_Frozen):
    """One term of the memory estimate."""

    name: str
    phase: memory.Phase
    gib: float
    how: StoredMessage

    @property
    def key(self) -> str:
        """Its name in the keys of texts: kv_cache."""
        return self.name.lower().replace(" ", "_")


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

    method: Method = "grpo"
    """Of supervised ones a group here is one example, and a rollout phase one update."""
    world_size: int
    num_generations: int
    """Completions of a prompt; their mean where groups have several sizes."""
    least_generations: int | None = None
    most_generations: int | None = None
    """Of a prompt, where groups have several sizes; None where all have one."""
    max_rounds: int = 1
    """A phase may be written so many times (sampling.max_rounds): its counts here are of one."""
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
    examples: int | None = None
    """What supervised training has one update after the other of: gold answers, at most the rows; right completions or
    pairs, None until they are there."""
    written_first: int | None = None
    """Completions that a method writes before its first step; None of others, and until the rows are known."""
    rows_unused_per_epoch: int | None
    optimizer_steps_per_epoch: int | None
    optimizer_steps: int | None
    """Total: what TRL gets as max_steps. None until the rows are known."""
    rollout_phases: int | None
    completions_total: int | None
    epochs: float | None
    save_steps: int
    """Optimizer steps between checkpoints, a whole number of rollout phases."""
    ref_update_steps: int | None = None
    """Optimizer steps between moves of the reference, a whole number of rollout phases; None where it stays."""
    reward_model_every: int | None = None
    """The same between rounds of the reward model that learns; None where none does."""

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
    memory_unknown: StoredMessage | None
    """Why there is no estimate; None when there is one."""
    gib_per_generated_completion: float | None
    """One more completion in the rollout phase, while generating."""
    gib_per_micro_batch_completion: float | None
    """One more completion in the micro-batch, in the update; of supervised training one more example."""
    gpu_name: str | None
    gpu_total_gib: float | None
    """None without a GPU."""
    memory_on: Literal["GPU", "RAM"]
    """Where the estimated memory is taken."""
    memory_limit_gib: float | None
    """What the estimate is compared with: the whole GPU, or all RAM for a run on a CPU; None when not known."""
    memory_verdict: Literal["fits", "tight", "does not fit", ""]
    """Empty when the estimate or the limit is missing. `tight` is above 90 % of the limit."""
    fits_gb: list[int]
    """GPUs that hold the run, in GB as they are sold; empty for a run on a CPU and for an unknown model."""
    suggestions: list[Suggestion]
    """Changes of settings that make it fit, cheapest for the learning first; empty when it fits."""

    start: StoredMessage | None = None
    """Which adapter is trained further; None starts a new one."""
    fast: list[StoredMessage] = []
    """What run.fast will do, a sentence each; empty in a plan of an older version."""
    sampling: list[StoredMessage] = []
    """What [sampling] will do, a sentence each; empty where all rows come in their turn."""
    episodes: list[StoredMessage] = []
    """How episodes are played, a sentence each; empty where a completion is one answer."""
    notes: list[StoredMessage]
    warnings: list[StoredMessage]

    @field_validator("memory_unknown", "start", mode="before")
    @classmethod
    def _of_older_versions(cls, stored: Any) -> Any:
        """They had an empty text for none."""
        return stored or None


def make(
    spec: RunSpec,
    rows: int | None,
    *,
    examples: int | None = None,
    world_size: int = 1,
    gpu_total_gib: float | None = None,
    gpu_name: str | None = None,
    ram_gib: float | None = None,
    has_unsloth: bool = True,
) -> RunPlan:
    """The plan of a spec for `rows` training rows (None: not read yet). Raises PlanError with every problem.

    examples: what a method that writes its own trains on; None before they are there.
    """
    batch = batch_of(spec, examples if spec.samples_first else rows, world_size)
    found = [*batch_problems(batch), *plan_problems(spec, batch), *length_problems(spec)]
    if found:
        raise PlanError(found)
    steps = _optimizer_steps(spec, batch)
    phases = _rollout_phases(batch, steps)
    save_steps = next_whole(spec.checkpoint.save_steps, batch.updates_per_phase)
    moves, learns = (
        None if asked is None else next_whole(asked, batch.updates_per_phase)
        for asked in (spec.grpo.ref_update_steps, learns_every(spec))
    )
    machine = Machine(gpu_total_gib, ram_gib, has_unsloth)
    fitting = _fitting(spec, batch, machine)
    return RunPlan(
        **_sizes(spec, batch),
        **_lengths(spec, batch, steps),
        **_examples(spec, rows, examples),
        **fitting,
        method=spec.run.method,
        save_steps=save_steps,
        ref_update_steps=moves,
        reward_model_every=learns,
        verl=_verl(batch),
        gpu_name=gpu_name,
        gpu_total_gib=gpu_total_gib,
        fast=[]
        if spec.is_supervised
        else sharing.of(spec, batch, runs_unsloth(spec, machine), runs_on_gpu(spec, machine)).parts(),
        sampling=choosing.of(spec, batch, steps, phases),
        episodes=playing.of(spec),
        notes=[
            *notes(spec, batch, steps, save_steps),
            *reference_notes(spec, batch, steps, moves),
            *learning_notes(spec, batch, steps, learns),
            *choosing.notes(spec, batch, phases),
            *_memory_notes(spec, batch, machine, fitting),
        ],
        warnings=advice.warnings(spec),
    )


def _sizes(spec: RunSpec, batch: Batch) -> dict[str, Any]:
    """The fields that do not depend on the number of rows."""
    tokens = spec.data.max_prompt_length + spec.generation.max_completion_length
    several = spec.sampling.group_size != "fixed"
    return {
        "world_size": batch.devices,
        "num_generations": batch.group,
        "least_generations": spec.sampling.min_generations if several else None,
        "most_generations": spec.sampling.most(batch.group) if several else None,
        "max_rounds": spec.sampling.max_rounds,
        "per_device_train_batch_size": batch.micro,
        "gradient_accumulation_steps": batch.accumulation,
        "num_iterations": batch.iterations,
        "steps_per_generation": batch.steps_per_generation,
        "generation_batch_size": batch.completions_per_phase,
        "completions_per_update": batch.completions_per_update,
        "prompts_per_update": batch.completions_per_update / batch.group,
        "completions_per_phase": batch.completions_per_phase,
        "prompts_per_phase": batch.prompts_per_phase,
        "updates_per_phase": batch.updates_per_phase,
        "phases_per_update": batch.phases_per_update,
        "on_policy": batch.updates_per_phase == 1 and not spec.sampling.replay,
        "max_prompt_tokens": spec.data.max_prompt_length,
        "max_tokens_per_completion": spec.generation.max_completion_length,
        "max_seq_length": spec.model.max_seq_length or tokens,
        "max_tokens_per_update": batch.completions_per_update * sequences_of_an_example(spec) * tokens,
    }


def _lengths(spec: RunSpec, batch: Batch, steps: int | None) -> dict[str, Any]:
    """How long the run is; None where that takes the number of rows."""
    phases, per_epoch = _rollout_phases(batch, steps), batch.phases_per_epoch
    unused = None if batch.rows is None else batch.rows % batch.prompts_per_phase
    trained = spec.sampling.is_on or spec.is_supervised  # a sampler leaves none out, nor does supervised training
    return {
        "rows_unused_per_epoch": 0 if unused and trained else unused,
        "optimizer_steps_per_epoch": batch.updates_per_epoch,
        "optimizer_steps": steps,
        "rollout_phases": phases,
        "completions_total": None if phases is None else phases * batch.completions_per_phase,
        "epochs": None if phases is None or per_epoch is None else phases / per_epoch,
    }


def _examples(spec: RunSpec, rows: int | None, examples: int | None) -> dict[str, Any]:
    """Rows, and what a supervised method makes of them."""
    written = rows * spec.generation.num_generations if rows is not None and spec.samples_first else None
    known = examples if spec.samples_first else rows
    return {"rows": rows, "examples": known if spec.is_supervised else None, "written_first": written}


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


def _fitting(spec: RunSpec, batch: Batch, machine: Machine) -> dict[str, Any]:
    """The memory fields of the plan: the estimate, what it is compared with, and what would make it fit."""
    estimate = _estimate(spec, batch, machine)
    limit = limit_gib(spec, machine)
    return estimate | {
        "memory_on": "GPU" if runs_on_gpu(spec, machine) else "RAM",
        "memory_limit_gib": limit,
        "memory_verdict": fit_verdict(estimate["memory_total_gib"], limit, vllm_starts(spec, batch, machine)),
        "fits_gb": holding_gb(spec, batch, machine),
        "suggestions": fit.suggestions(spec, batch, machine),
    }


def _estimate(spec: RunSpec, batch: Batch, machine: Machine) -> dict[str, Any]:
    load = memory_load(spec, batch, machine)
    if load is None:
        names = ("generation_gib", "update_gib", "total_gib")
        return {f"memory_{name}": None for name in names} | {
            "memory": [],
            "memory_unknown": Message("plan.unknown_model", name=spec.model.name),
            "gib_per_generated_completion": None,
            "gib_per_micro_batch_completion": None,
        }
    parts = memory.parts(load)
    generation, update = memory.peaks_gib(parts)
    return {
        "memory": [MemoryPart(**vars(part)) for part in parts],
        "memory_generation_gib": generation,
        "memory_update_gib": update,
        "memory_total_gib": max(generation, update),
        "memory_unknown": None,
        "gib_per_generated_completion": memory.gib_per_generated_row(load),
        "gib_per_micro_batch_completion": memory.gib_per_micro_row(load) * sequences_of_an_example(spec),
    }


def _memory_notes(spec: RunSpec, batch: Batch, machine: Machine, fitting: dict[str, Any]) -> Iterator[Message]:
    """What the card's table cannot say: vLLM would not start, or nothing that can be set makes the run fit."""
    if not vllm_starts(spec, batch, machine):
        yield Message("plan.note.vllm_of_trl_does_not_start" if vllm_of_trl(spec) else "plan.note.vllm_does_not_start")
    elif fitting["memory_verdict"] == "does not fit" and not fitting["suggestions"]:
        least = fit.smallest(spec, batch, machine)
        if least is not None:
            yield memory_note(fitting["memory_total_gib"], fitting["memory_limit_gib"], least, fitting["memory_on"])
