"""A prompt and its completions in one row: TRL's gradient where prompts cannot have a pass of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.architectures import EACH
from tests.builders import steps_in_backward
from tests.fast.pairs import STATES, Fixed, Ours, apart, change, make, todays
from trainer.fast import cache, packed, update
from trainer.text import Message

REENTRANT = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "a reference, several passes": {"beta": 0.1, "num_iterations": 2, "max_steps": 4},
    "micro-batches of two": {"loss_type": "grpo", "per_device_train_batch_size": 2, "gradient_accumulation_steps": 8},
    "temperature, truncated ones masked": {"temperature": 0.7, "mask_truncated_completions": True},
    "entropy bonus": {"entropy_coef": 0.01},
    "llama": {"kind": "llama"},
    "windows shorter than the prompts": {"kind": "gemma3", "beta": 0.1},
    "adapters": {"kind": "gemma3", "lora": True},
}


@pytest.fixture(autouse=True)
def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(update.CALL, "cpu", 4)


@pytest.fixture
def packs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Completions of each row that went through the model."""
    seen: list[int] = []
    inner = packed.Packing._pack

    def counted(self: Any, model: Any, rows: Any, some: list[int], asked: Any) -> Any:
        seen.append(len(some))
        return inner(self, model, rows, some, asked)

    monkeypatch.setattr(packed.Packing, "_pack", counted)
    return seen


def pair(folder: Path, kind: Any = "qwen3", **config: Any) -> tuple[Any, Any, list[Message]]:
    told: list[Message] = []
    theirs = make(Fixed, kind() if callable(kind) else kind, folder, **config)
    fast = {"fast": "auto", "tell": told.append}
    return theirs, make(Ours, kind() if callable(kind) else kind, folder, fast=fast, **config), told


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("attention", ["sdpa", pytest.param("eager", marks=pytest.mark.slow)])
def test_the_weights_change_as_with_trl(
    case: str, attention: str, tmp_path: Path, packs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache.Front, "update", _fails)
    theirs, ours, told = pair(tmp_path, **CASES[case])
    for trainer in (theirs, ours):
        trainer.model.config._attn_implementation = attention
    ours._packing.attention = attention
    assert apart(change(ours), change(theirs)) < 1e-5
    assert [(message.key, message.values["why"].key) for message in told] == [("fast.packed", "fast.why.fails")]
    assert max(packs) > 1
    assert ours.read < 0.8 * theirs.read


def _fails(self: Any, *args: Any, **kwargs: Any) -> Any:
    raise TypeError("unexpected keyword argument")


@pytest.mark.parametrize("kind", ["qwen3", "gemma3"])
@pytest.mark.parametrize("lora", [False, True], ids=["whole", "adapters"])
def test_reentrant_checkpointing(kind: str, lora: bool, tmp_path: Path, packs: list[int]) -> None:
    theirs, ours, told = pair(tmp_path, kind, lora=lora, **REENTRANT)
    assert (ours.fast.shared, ours.fast.shares) == ("reentrant", True)
    assert apart(change(ours), change(theirs)) < 1e-5
    assert told == []
    assert max(packs) > 1


def lengths(completions: list[str], **_: Any) -> list[float]:
    return [float(len(text)) for text in completions]


def letters(completions: list[str], **_: Any) -> list[float]:
    return [float(ord(text[0])) for text in completions]


@pytest.mark.parametrize("reentrant", [False, True])
def test_an_optimizer_that_steps_inside_the_backward_pass(reentrant: bool, tmp_path: Path, packs: list[int]) -> None:
    """One step an update: a pass over prompts would bring a second one, and so would a check by a backward pass."""
    config: dict[str, Any] = {"optim": "galore_adamw_layerwise", "gradient_accumulation_steps": 1}
    theirs, ours, _ = pair(tmp_path, reward=lengths, max_steps=1, **config, **REENTRANT if reentrant else {})
    for trainer in (theirs, ours):
        steps_in_backward(trainer, 1e-2)
    assert apart(change(ours), change(theirs)) < 0.02  # of Adam's first step, the signs of gradients
    assert bool(packs) is not reentrant
    assert (ours.fast.shared, ours.fast.shares) == (("untried", False) if reentrant else ("layerwise", True))


@pytest.mark.parametrize("name", [each for each in EACH if not str(each.values[0]).startswith(STATES)])
def test_todays_architectures(name: str, tmp_path: Path, packs: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache.Front, "update", _fails)
    theirs, ours, told = pair(tmp_path, lambda: todays(name), learning_rate=1.0)
    assert apart(change(ours), change(theirs)) < 3e-5
    assert [message.key for message in told] == ["fast.packed"]
    assert max(packs) > 1


class Longest(Fixed):
    """All completions are the longest: in one row their attention costs more than their prompt."""

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        found, _ = super()._generate_single_turn(prompt_ids, *args, **kwargs)
        return [[3 + len(row) % 30] * self.max_completion_length for row in found], None


class OursLongest(update.FastUpdate, Longest):
    pass


def test_it_is_said_where_neither_way_is_left(
    tmp_path: Path, packs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache.Front, "update", _fails)
    told: list[Message] = []
    config: dict[str, Any] = {
        "max_completion_length": 200, "reward": letters, "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 4,
    }  # fmt: skip
    ours = make(OursLongest, "qwen3", tmp_path, fast={"fast": "auto", "tell": told.append}, **config)
    theirs = make(Longest, "qwen3", tmp_path, **config)
    assert apart(change(ours), change(theirs)) < 1e-5
    assert packs == []
    assert [(message.key, message.values["why"].key) for message in told] == [("fast.not_shared", "fast.why.fails")]


def test_completions_that_see_each_other_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And then it is TRL's way, with one line that says why."""
    monkeypatch.setattr(cache.Front, "update", _fails)
    inner = packed.Packing._masks
    monkeypatch.setattr(packed.Packing, "_masks", lambda self, owner, at: inner(self, torch.zeros_like(owner), at))
    theirs, ours, told = pair(tmp_path)
    assert apart(change(ours), change(theirs)) < 1e-5
    assert [(message.key, message.values["why"].key) for message in told] == [("fast.not_shared", "fast.why.fails")]
    assert (ours._prefixes, ours._packing) == (None, None)


def test_a_window_that_is_too_wide_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours, told = pair(tmp_path, "gemma3", **REENTRANT)
    ours._packing.windows["sliding_attention"] = 9
    assert apart(change(ours), change(theirs)) < 1e-5
    assert [(message.key, message.values["why"].key) for message in told] == [("fast.not_shared", "fast.why.differs")]


def test_attention_without_a_mask_of_its_own_is_refused(tmp_path: Path) -> None:
    theirs, ours, told = pair(tmp_path, **REENTRANT)
    ours._packing.attention = "flash_attention_2"
    assert apart(change(ours), change(theirs)) < 1e-5
    assert [(message.key, message.values["why"].key) for message in told] == [("fast.not_shared", "fast.why.no_mask")]


def test_long_completions_are_not_packed() -> None:
    """Attention over all of them would cost more than the prompt that is shared."""
    config = type("Config", (), {"hidden_size": 64, "_attn_implementation": "sdpa"})
    config.get_text_config = lambda self: self  # type: ignore[attr-defined]
    packing = packed.Packing(config(), [None], cost=4)
    lengths = [400] * 8
    assert [len(pack) for pack in packing.split(16, lengths, list(range(8)))] == [1] * 8
    assert [len(pack) for pack in packing.split(900, lengths, list(range(8)))] != [1] * 8
    assert [len(pack) for pack in packing.split(900, [8] * 8, list(range(8)))] == [8]
    assert [len(pack) for pack in packing.split(900, [8] * 8, list(range(8)), most=3)] == [3, 3, 2]
    packing.attention = "eager"
    assert [len(pack) for pack in packing.split(60, [60] * 8, list(range(8)))] == [1] * 8
