"""Activations of an update that computes each prompt once, against what PyTorch really keeps for its backward."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fast.pairs import VOCABULARY, Ours, make
from trainer import memory
from trainer.fast import update
from trainer.memory import GIB, Load, families, phases

ROWS, PROMPT, COMPLETION = 8, 96, 12


@pytest.fixture(autouse=True)
def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(update.CALL, "cpu", 4)


def kept(trainer: Any, prompts: int) -> int:
    """Bytes that are kept for the backward of a micro-batch with so many different prompts, each storage once."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(3, VOCABULARY, (prompts, PROMPT), generator=generator).repeat_interleave(ROWS // prompts, 0)
    written = torch.randint(3, VOCABULARY, (ROWS, COMPLETION), generator=generator)
    batch = {
        "prompt_ids": ids, "prompt_mask": torch.ones_like(ids), "completion_ids": written,
        "completion_mask": torch.ones_like(written), "advantages": torch.linspace(-1, 1.1, ROWS),
        "num_items_in_batch": torch.tensor(ROWS * COMPLETION), "old_per_token_logps": None,
    }  # fmt: skip
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 2
    weights = {weight.untyped_storage().data_ptr() for weight in trainer.model.parameters()}
    seen: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage
        return tensor

    with trainer.compute_loss_context_manager():  # the check before the first use is over then
        trainer.compute_loss(trainer.model, batch)
        trainer.forget_prompts()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            trainer.compute_loss(trainer.model, batch)
            trainer.forget_prompts()
    return sum(storage.nbytes() for storage in seen.values())


def load(trainer: Any, prompts: int | None) -> Load:
    shape = families.from_config(trainer.model.config.to_dict(), source="")
    assert shape is not None
    return Load(
        shape=shape, on_gpu=False, compute_bytes=4, weights="plain", double_quant=False, lora_rank=0,
        lora_targets="all-linear", lora_bytes=4, optimizer="sgd", gradient_checkpointing=False, eager_attention=False,
        reference=False, prompt_tokens=PROMPT, completion_tokens=COMPLETION, micro_batch=ROWS, generation_rows=ROWS,
        micro_prompts=prompts, open_prompts=prompts or 0,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_what_is_counted_is_what_is_kept(kind: str, tmp_path: Path) -> None:
    plain, ours = (make(Ours, kind, tmp_path, fast={"fast": way}) for way in ("off", "auto"))
    off = memory.activations_gib(load(plain, None)) * GIB / kept(plain, 1)
    for prompts in (1, 2, 4):
        shared = memory.activations_gib(load(ours, prompts)) * GIB / kept(ours, prompts)
        assert 0.8 < shared / off < 1.1, "as far off as without sharing"


def test_a_prompt_more_costs_its_own_tokens_and_checkpointing_keeps_little(tmp_path: Path) -> None:
    base = load(make(Ours, "llama", tmp_path, fast={"fast": "auto"}), 1)
    (kind,) = base.shape.kinds
    more = dataclasses.replace(base, open_prompts=2)
    one = (kind.count - 1) * phases.layer_activations_gib(base, kind, 1, PROMPT)
    assert memory.activations_gib(more) - memory.activations_gib(base) == pytest.approx(one)
    checkpointed = dataclasses.replace(more, gradient_checkpointing=True)
    assert memory.activations_gib(checkpointed) < memory.activations_gib(more)
    copied = dataclasses.replace(checkpointed, micro_prompts=2)
    assert memory.activations_gib(copied) > memory.activations_gib(checkpointed)


def test_prompts_of_a_generation_batch_are_read_once(tmp_path: Path) -> None:
    base = load(make(Ours, "llama", tmp_path, fast={"fast": "auto"}), 1)
    once = dataclasses.replace(base, prompts_read=1)
    assert phases.prefill_gib(base, ROWS) == 8 * phases.prefill_gib(base, 1)
    parts = {part.name: part.gib for part in memory.parts(once)}
    assert parts["prompt reading"] == pytest.approx(phases.prefill_gib(base, 1))
    assert parts["KV cache"] > phases.kv_cache_gib(base, ROWS)  # room for the next tokens
