"""trainer.plan.sharing: what the plan says of the fast path is what the run does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fast.pairs import Ours, make
from trainer import plan, presets
from trainer.fast import growing, rows, update
from trainer.memory import phases
from trainer.plan import batch_of, card, sharing
from trainer.plan.batches import Batch
from trainer.plan.sharing import Sharing
from trainer.spec.choices import IN_BACKWARD
from trainer.text import words


def shared(*changes: str, preset: str = "tiny", unsloth: bool = False, on_gpu: bool = False) -> Sharing:
    spec = presets.load(preset, changes)
    return sharing.of(spec, batch_of(spec, None), unsloth, on_gpu)


def said(*changes: str, preset: str = "tiny", language: str = "en", **where: bool) -> str:
    return words(language).every(shared(*changes, preset=preset, **where).parts())


def test_numbers_of_the_path_itself() -> None:
    assert set(sharing.CALL.values()) == set(update.CALL.values())
    assert sharing.CALL["cpu"] == update.CALL["cpu"]
    assert phases.CACHE_ROOM_TOKENS == growing.ROOM


SAME: list[dict[str, Any]] = [
    {},
    {"beta": 0.1},
    {"loss_type": "bnpo"},
    {"trl.entropy_coef": 0.01},
    {"trl.top_entropy_quantile": 0.5},
    {"optim": "galore_adamw_layerwise"},
    {"optim": "lomo"},
    {"optim": "adalomo", "gradient_checkpointing": True, "trl.gradient_checkpointing_kwargs": {"use_reentrant": True}},
    {"gradient_checkpointing": True, "trl.gradient_checkpointing_kwargs": {"use_reentrant": True}},
]


@pytest.mark.parametrize("changes", SAME, ids=str)
def test_the_plan_gives_the_reasons_that_the_run_will_give(changes: dict[str, Any], tmp_path: Path) -> None:
    trained = make(Ours, "qwen3", tmp_path, fast={"fast": "auto"}, **{k.split(".")[-1]: v for k, v in changes.items()})
    keys = {
        "beta": "grpo.beta", "loss_type": "grpo.loss_type", "optim": "optim.optim",
        "gradient_checkpointing": "model.gradient_checkpointing",
    }  # fmt: skip
    planned = shared(*(f"{keys.get(key, key)}={typed(value)}" for key, value in changes.items()))
    assert (planned.why_not_shared, planned.why_not_skipped) == (trained.fast.shared, trained.fast.skipped)


def typed(value: Any) -> str:
    """As it is written after --set."""
    return "{ use_reentrant = true }" if isinstance(value, dict) else str(value).lower()


def test_optimizers_that_step_inside_the_backward_pass_are_known_by_name() -> None:
    assert set(IN_BACKWARD) == {
        "galore_adamw_layerwise", "galore_adamw_8bit_layerwise", "galore_adafactor_layerwise", "apollo_adamw_layerwise",
        "lomo", "adalomo",
    }  # fmt: skip


def test_the_plan_does_not_promise_a_row_of_its_own_where_dropout_keeps_the_update_trls() -> None:
    changes = ("lora.dropout=0.1", "trl.gradient_checkpointing_kwargs={ use_reentrant = true }")
    assert "another prompt" in said(*changes, "model.gradient_checkpointing=true", preset="tiny-qlora")


def test_what_keeps_it_away_is_named() -> None:
    assert said("run.fast=off") == "run.fast is off"
    assert "as TRL does (Unsloth has an update of its own)" in said(preset="qwen3-4b", unsloth=True, on_gpu=True)
    assert "trl.use_liger_kernel" in said("trl.use_liger_kernel=true")
    assert "another prompt" in said("lora.dropout=0.1", preset="tiny-qlora")
    assert "something else than keys and values" in said(preset="qwen3.5-4b", on_gpu=True)
    assert "loss of the model's router" in said(preset="gpt-oss-20b", on_gpu=True)
    assert "generation reads each prompt once instead of 8 times" in said(preset="smollm3-3b", on_gpu=True)
    assert "too few of a micro-batch's tokens" in said("optim.per_device_train_batch_size=1",
                                                       "generation.steps_per_generation=256")  # fmt: skip


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "each prompt is computed once instead of 8 times in generation and update"),
        ("ko", "생성과 업데이트에서 프롬프트를 8번 대신 한 번만 계산"),
    ],
)
def test_the_card_says_it(language: str, sentence: str) -> None:
    spec = presets.load("tiny")
    text = card.render(spec, plan.make(spec, 1024), words(language))
    assert sentence in " ".join(text.split())


# ---- how many different prompts

ARITHMETIC = [  # micro, accumulation, steps per generation, group
    (256, 1, 1, 8), (8, 4, 4, 8), (4, 4, 4, 8), (12, 6, 6, 8), (20, 2, 2, 8), (3, 8, 8, 8), (6, 4, 4, 8),
    (8, 2, 4, 4), (4, 2, 8, 8), (8, 8, 4, 8), (2, 4, 16, 2),
]  # fmt: skip


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("sizes", ARITHMETIC, ids=str)
def test_no_micro_batch_has_more_prompts_and_no_more_are_kept(sizes: tuple[int, ...], ordered: bool) -> None:
    micro, accumulation, steps, group = sizes
    order = [] if ordered else ["grpo.loss_type=bnpo"]
    spec = presets.load("tiny", [*order, "generation.num_generations=" + str(group)])
    batch = Batch(micro, accumulation, group, steps=steps)
    found = sharing.of(spec, batch, unsloth=False, on_gpu=False)
    most, kept = 0, 0
    for seed in range(20):
        for window in windows(batch, seed, ordered):
            most = max(most, *(len(set(micros)) for micros in window))
            kept = max(kept, opened(window))
            assert len({prompt for micros in window for prompt in micros}) <= found.window
    assert most <= found.at_once
    assert kept <= found.opened <= max(1, 2 * kept)
    if batch.micro % batch.group == 0 or batch.group % batch.micro == 0:
        assert (most, kept) == (found.at_once, found.opened) or steps > accumulation


def windows(batch: Batch, seed: int, ordered: bool) -> Iterator[list[list[int]]]:
    """The prompts of each micro-batch of each accumulation window, shuffled as TRL does and put in order as we do."""
    count, each = batch.completions_per_phase, batch.micro
    ids = torch.arange(count // batch.group).repeat_interleave(batch.group)
    ids = ids[torch.randperm(count, generator=torch.Generator().manual_seed(seed))][:, None]
    parts = [
        {"prompt_ids": part, "prompt_mask": torch.ones_like(part), "completion_mask": torch.ones_like(part)}
        for part in ids.split(each)
    ]
    steps = min(batch.accumulation, batch.steps_per_generation)
    if ordered:
        parts = rows.together(parts, steps)
    for start in range(0, len(parts), steps):
        yield [part["prompt_ids"][:, 0].tolist() for part in parts[start : start + steps]]


def opened(window: list[list[int]]) -> int:
    """Prompts that are kept at the same time: a pass goes when none of its prompts is needed (Prefixes.close)."""
    passes: list[set[int]] = []
    most = 0
    for place, micros in enumerate(window):
        there = set().union(*passes)
        if set(micros) - there:
            passes.append(set(micros) - there)
        most = max(most, sum(map(len, passes)))
        needed = {prompt for later in window[place + 1 :] for prompt in later}
        passes = [each for each in passes if each & needed]
    return most
