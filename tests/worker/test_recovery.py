"""trainer.worker.recovery: the optimizer step stays the same, whatever is halved."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import plan as planning
from trainer.errors import PlanError
from trainer.machine import out_of_memory
from trainer.spec import Component, Data, Generation, Model, Optim, Reward, RunSpec
from trainer.worker import recovery


def spec(micro: int, accumulation: int = 1, group: int = 2, **generation: int) -> RunSpec:
    return RunSpec(
        model=Model(name="builtin/tiny-qwen3"),
        data=Data(path="rows.jsonl"),
        reward=Reward(components=[Component(function="exact_match")]),
        generation=Generation(num_generations=group, **generation),
        optim=Optim(per_device_train_batch_size=micro, gradient_accumulation_steps=accumulation),
    )


@pytest.mark.parametrize(
    ("micro", "times", "expected"),
    [
        (8, 0, (8, 2, 1)),
        (8, 1, (4, 4, 2)),
        (8, 4, (1, 16, 16)),
        (6, 1, (3, 4, 2)),
        (6, 2, (1, 12, 4)),
        (1, 3, (1, 2, 8)),
    ],
)
def test_halving(micro: int, times: int, expected: tuple[int, int, int]) -> None:
    found = recovery.smaller(spec(micro, 2), times)
    optim = found.spec.optim
    assert (optim.per_device_train_batch_size, optim.gradient_accumulation_steps, found.pieces) == expected


@given(
    micro=st.integers(1, 48),
    accumulation=st.integers(1, 16),
    group=st.integers(2, 16),
    factor=st.none() | st.integers(1, 4),
    rows=st.integers(64, 512),
    times=st.integers(0, recovery.MOST_RETRIES),
)
def test_a_legal_batch_stays_legal_and_its_step_the_same(
    micro: int, accumulation: int, group: int, factor: int | None, rows: int, times: int
) -> None:
    before = spec(micro, accumulation, group)
    if factor is not None:
        before = spec(micro, accumulation, group, steps_per_generation=accumulation * factor)
    try:
        planned = planning.make(before, rows=rows)
    except PlanError:
        return
    after = planning.make(recovery.smaller(before, times).spec, rows=rows)
    for name in ("completions_per_update", "completions_per_phase", "updates_per_phase", "phases_per_update",
                 "optimizer_steps", "optimizer_steps_per_epoch", "completions_total"):  # fmt: skip
        assert getattr(after, name) == getattr(planned, name), name


def test_where_smaller_pieces_help() -> None:
    four = spec(4)
    assert recovery.helps(four, 0, "backward", 8)
    assert recovery.helps(four, 1, "_get_per_token_logps_and_entropies", 8)
    assert not recovery.helps(four, 2, "compute_loss", 8)  # the micro-batch is 1 already
    assert recovery.helps(four, 2, "transformers.generate", 8)  # 4 parts of 8 completions can still be 8
    assert not recovery.helps(four, 3, "transformers.generate", 8)
    assert not recovery.helps(four, 0, "optimizer", 8)
    assert not recovery.helps(four, 0, "reward.judge", 8)
    assert not recovery.helps(four, 0, None, 8)
    assert not recovery.helps(spec(64), recovery.MOST_RETRIES, "backward", 64)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        ValueError("No available memory for the cache blocks. Try increasing `gpu_memory_utilization`"),
    ],
)
def test_what_devices_say_is_understood(error: Exception) -> None:
    assert out_of_memory.is_out_of_memory(error)
    wrapped = KeyError("row 7")
    wrapped.__cause__ = error
    assert out_of_memory.is_out_of_memory(wrapped)


def test_other_errors_are_not_taken_for_it() -> None:
    assert not out_of_memory.is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED."))
    assert not out_of_memory.is_out_of_memory(MemoryError())
    later = KeyError("x")  # while an error was handled that had been dealt with
    later.__context__ = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert not out_of_memory.is_out_of_memory(later)


@pytest.mark.parametrize("change", [{"grpo": {"loss_type": "bnpo"}}, {"trl": {"top_entropy_quantile": 0.2}}])
def test_a_loss_that_depends_on_the_micro_batch_keeps_it(change: dict[str, Any]) -> None:
    """It may only be generated in smaller pieces: another micro-batch would be another objective."""
    values = spec(8).model_dump()
    changed = RunSpec.model_validate({**values, **{name: {**values[name], **part} for name, part in change.items()}})
    assert not recovery.same_step(changed)
    assert not recovery.helps(changed, 0, "backward", 8)
    assert recovery.helps(changed, 0, "transformers.generate", 8)
    after = recovery.smaller(changed, 1)
    assert (after.spec.optim.per_device_train_batch_size, after.pieces) == (8, 2)


@pytest.mark.parametrize("where", [None, "optimizer", "transformers.generate", "backward", "reward.judge"])
def test_every_place_has_advice_that_names_a_key(where: str | None) -> None:
    assert re.search(r"\b(model|optim|lora|generation|data)\.\w|reward", str(recovery.advice(where, spec(4))))


def test_advice_does_not_name_what_the_run_does_already() -> None:
    values = spec(4).model_dump()
    whole = RunSpec.model_validate(values | {"lora": {"enabled": False}, "model": values["model"]})
    assert "lora.r" not in str(recovery.advice("optimizer", whole))
    assert "lora.enabled = true" in str(recovery.advice("optimizer", whole))
    small = RunSpec.model_validate(values | {"model": values["model"] | {"load_in_4bit": True}})
    assert "load_in_4bit" not in str(recovery.advice("backward", small))
    assert "gradient_checkpointing" not in str(recovery.advice("backward", small))


def test_what_the_device_said_keeps_the_amount() -> None:
    cuda = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.65 GiB.")
    assert out_of_memory.shortened(cuda) == "CUDA out of memory. Tried to allocate 2.00 GiB"
    cpu = RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 481296384 bytes. Error code 12 (Cannot allocate memory)"
    )
    assert out_of_memory.shortened(cpu).startswith(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4812"
    )
