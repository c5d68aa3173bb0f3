"""From a spec and a machine to the memory estimate: which numbers each term gets, and what it is compared with.

Pure functions. Imports spec, batches, memory and presets.engines; knows nothing about how the machine was looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from trainer import memory
from trainer.memory import formats, known
from trainer.memory.formats import Format
from trainer.memory.shapes import ModelShape
from trainer.plan import sharing
from trainer.plan.batches import Batch
from trainer.presets.engines import why_not_unsloth
from trainer.spec import RunSpec

# Sizes in GB as GPUs are sold.
NOMINAL_GB = (8, 12, 16, 24, 48, 80)
# GiB that a GPU has for each GB it is sold with: NVML says 23.99 GiB on a GeForce RTX 4090 (24 GB) and
# 79.6 on an H100 (80 GB). GDDR6 with error correction has less: 0.94 on T4, L4 and L40S.
GIB_PER_NOMINAL_GB = 0.98
TRL_VLLM_SHARE = 0.3  # default of vllm_gpu_memory_utilization in TRL 1.14.2


@dataclass(frozen=True)
class Machine:
    """What a run may use. None: not there, or not known."""

    gpu_total_gib: float | None = None
    ram_gib: float | None = None
    has_unsloth: bool = True
    """Decides what `model.engine = "auto"` becomes on a GPU."""

    def with_gpu(self, total_gib: float) -> Machine:
        return replace(self, gpu_total_gib=total_gib)


def batch_of(spec: RunSpec, rows: int | None, world_size: int = 1) -> Batch:
    """The numbers of the spec that the batch arithmetic needs. Of supervised training an example is a group of one."""
    if spec.is_supervised:
        return Batch(
            micro=spec.optim.per_device_train_batch_size,
            accumulation=spec.optim.gradient_accumulation_steps,
            group=1,
            devices=world_size,
            max_steps=spec.optim.max_steps,
            rows=rows,
        )
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


def sequences_of_an_example(spec: RunSpec) -> int:
    """Of a pair both completions go through the model, each behind its prompt."""
    return 2 if spec.learns in ("dpo", "pairwise") else 1


def written_at_once(spec: RunSpec) -> int:
    """Completions that a method writes at once before its first step: whole groups (trainer/stages/samples.py)."""
    group = spec.generation.num_generations
    return max(1, max(spec.eval.batch_size, spec.optim.per_device_train_batch_size) // group) * group


def runs_on_gpu(spec: RunSpec, machine: Machine) -> bool:
    return spec.model.device == "cuda" or (spec.model.device == "auto" and machine.gpu_total_gib is not None)


def runs_unsloth(spec: RunSpec, machine: Machine) -> bool:
    """Unsloth needs a GPU; `auto` takes it where both are there."""
    on_gpu = runs_on_gpu(spec, machine)
    if spec.model.engine == "auto":
        return why_not_unsloth(spec, on_gpu, machine.has_unsloth) is None
    return spec.model.engine == "unsloth" and on_gpu


def limit_gib(spec: RunSpec, machine: Machine) -> float | None:
    """What the run has to fit into: the GPU's memory as NVML reports it, or all RAM on a CPU; None when not known.

    The CUDA context is a term of the estimate, so nothing is taken off here.
    """
    return machine.gpu_total_gib if runs_on_gpu(spec, machine) else machine.ram_gib


def vllm_of_trl(spec: RunSpec) -> bool:
    """TRL starts a vLLM in the training process; one behind a server has memory of its own."""
    return spec.trl.get("use_vllm") is True and spec.trl.get("vllm_mode", "colocate") == "colocate"


def has_vllm(spec: RunSpec) -> bool:
    """A vLLM has its part of this run's memory."""
    return spec.model.fast_inference or vllm_of_trl(spec)


def evaluates(spec: RunSpec) -> bool:
    """Held-out rows are answered in this run."""
    asked = spec.eval.at_start or spec.eval.at_end or spec.eval.eval_steps is not None
    return asked and spec.data.has_held_out_rows


def memory_load(spec: RunSpec, batch: Batch, machine: Machine) -> memory.Load | None:
    """What the estimate needs; None for an unknown model."""
    shape = known.of(spec.model.name)
    if shape is None:
        return None
    on_gpu, unsloth = runs_on_gpu(spec, machine), runs_unsloth(spec, machine)
    dtype = spec.model.dtype if spec.model.dtype != "auto" else "bfloat16" if on_gpu else "float32"
    weights, double_quant = _weights(spec, unsloth)
    fast, rows = sharing.of(spec, batch, unsloth, on_gpu), batch.micro * batch.steps_per_generation
    read = max(1, batch.prompts_per_phase // batch.devices)
    if spec.is_supervised:
        rows = written_at_once(spec) if spec.samples_first else 0
        read = max(1, rows // spec.generation.num_generations)
    return memory.Load(
        shape=shape,
        on_gpu=on_gpu,
        compute_bytes=4 if dtype == "float32" else 2,
        weights=weights,
        double_quant=double_quant,
        lora_rank=spec.lora.r if spec.lora.enabled else 0,
        lora_targets=spec.lora.target_modules,
        # PEFT keeps adapters in float32; TRL 1.14.2 casts them to bfloat16 on a model in 4 bit, Unsloth does not.
        lora_bytes=2 if weights == "nf4" and not unsloth else 4,
        optimizer=spec.optim.optim,
        gradient_checkpointing=spec.model.gradient_checkpointing,
        eager_attention=spec.model.attn_implementation == "eager",
        reference=spec.run.method == "dpo" or (not spec.is_supervised and spec.grpo.beta > 0),
        reference_adapter=spec.model.adapter is not None or spec.grpo.ref_update_steps is not None,
        prompt_tokens=spec.data.max_prompt_length,
        completion_tokens=spec.generation.max_completion_length,
        micro_batch=batch.micro * sequences_of_an_example(spec),
        generation_rows=rows,
        eval_rows=spec.eval.batch_size if evaluates(spec) else 0,
        temperature_scaled=spec.generation.temperature != 1 and not spec.is_supervised,
        prompt_logits=spec.is_supervised and not spec.is_reward_model,  # a judge says one number of a text
        liger=spec.trl.get("use_liger_kernel") is True,
        unsloth=unsloth,
        one_prompt=batch.prompts_per_phase == 1,
        prompts_read=read if fast.writes and rows else None,
        micro_prompts=fast.at_once if fast.shares and not spec.is_supervised else None,
        open_prompts=fast.opened if fast.shares and not spec.is_supervised else 0,
        experts_packed=unsloth or formats.of(spec.model.name).format == "nf4",
        vllm=_vllm(spec, shape, unsloth),
        judge_params=_judge_params(spec),
        gpu_total_gib=machine.gpu_total_gib,
    )


def _judge_params(spec: RunSpec) -> int:
    learner = spec.reward.learner
    shape = None if learner is None else known.of(str(learner.params.get("model")))
    return 0 if shape is None else shape.params()


def _weights(spec: RunSpec, unsloth: bool) -> tuple[Format, bool]:
    """(format in memory, NF4 scales quantised as well)."""
    stored = formats.of(spec.model.name)
    if stored.format == "mxfp4" and not spec.model.load_in_4bit and not unsloth:
        # transformers 5.17 unpacks MXFP4 to 16 bit to train it: its kernels have no backward pass.
        return "plain", False
    if stored.format == "plain" or (stored.format == "mxfp4" and spec.model.load_in_4bit):
        return ("nf4" if spec.model.load_in_4bit else "plain"), spec.model.double_quant
    return stored.format, stored.double_quant


def _vllm(spec: RunSpec, shape: ModelShape, unsloth: bool) -> memory.Vllm | None:
    if vllm_of_trl(spec):
        share = spec.trl.get("vllm_gpu_memory_utilization", TRL_VLLM_SHARE)
        return memory.Vllm(share, spec.trl.get("vllm_enable_sleep_mode") is True, own_weights=True)
    if not (spec.model.fast_inference and unsloth):
        return None
    # unsloth_zoo 2026.10.7 `load_vllm` switches standby off for every model with a vision tower.
    return memory.Vllm(spec.model.gpu_memory_utilization, spec.model.standby and not shape.vision)


def peaks_gib(spec: RunSpec, batch: Batch, machine: Machine) -> tuple[float, float] | None:
    """(while generating, in the update); None for an unknown model."""
    load = memory_load(spec, batch, machine)
    return None if load is None else memory.peaks_gib(memory.parts(load))


def vllm_starts(spec: RunSpec, batch: Batch, machine: Machine) -> bool:
    """False where vLLM's share of the GPU is too small for the weights."""
    load = memory_load(spec, batch, machine)
    return load is None or memory.vllm_starts(load)


def holding_gb(spec: RunSpec, batch: Batch, machine: Machine) -> list[int]:
    """GPU sizes in GB, as sold, into which the run fits; [] for a run on a CPU and for an unknown model."""
    return [size for size in NOMINAL_GB if runs_on_gpu(spec, machine) and _holds(size, spec, batch, machine)]


def _holds(size_gb: int, spec: RunSpec, batch: Batch, machine: Machine) -> bool:
    has_gib = GIB_PER_NOMINAL_GB * size_gb
    there = machine.with_gpu(has_gib)
    peaks = peaks_gib(spec, batch, there)
    return peaks is not None and max(peaks) <= has_gib and vllm_starts(spec, batch, there)
