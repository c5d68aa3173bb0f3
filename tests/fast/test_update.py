"""The same gradient as TRL's from less work: every loss, reference, accumulation, checkpointing, adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from tests.builders import STEPS, tiny_trainer
from tests.fast.pairs import VOCABULARY, Fixed, Ours, apart, change, count_tokens, make, model, weights
from trainer.fast import rows, update
from trainer.fast.prefixes import Prefixes
from trainer.fast.update import FastUpdate
from trainer.text import Message

SMALL = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8}
SEQUENCE = {"importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4, "steps_per_generation": 4}
CASES: dict[str, dict[str, Any]] = {
    **{loss: {"loss_type": loss} for loss in ("bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo")},
    "grpo in micro-batches of two": {"loss_type": "grpo", **SMALL},
    "bnpo in micro-batches of two": {"loss_type": "bnpo", **SMALL},
    "GSPO, several updates a phase": {"loss_type": "grpo", **SEQUENCE},
    "several passes over a phase": {"num_iterations": 2, "max_steps": 4},
    "a reference": {"beta": 0.1},
    "temperature, truncated ones masked": {"temperature": 0.7, "mask_truncated_completions": True},
    "entropy bonus": {"entropy_coef": 0.01},
    "tokens of high entropy": {"top_entropy_quantile": 0.5},
    "checkpointing": {"loss_type": "grpo", "gradient_checkpointing": True, **SMALL},
    "llama, a reference": {"kind": "llama", "beta": 0.1},
    "windows shorter than the prompts, a reference": {"kind": "gemma3", "beta": 0.1},
    "windows, adapters, checkpointing": {"kind": "gemma3", "lora": True, "gradient_checkpointing": True, "beta": 0.1},
    "adapters, checkpointing": {"loss_type": "dr_grpo", "lora": True, "gradient_checkpointing": True, **SMALL},
}


@pytest.fixture(autouse=True)
def small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that prompts of thirty tokens are worth sharing."""
    monkeypatch.setitem(update.CALL, "cpu", 4)


def pair(folder: Path, kind: Any = "qwen3", **config: Any) -> tuple[Any, Any, list[Message]]:
    told: list[Message] = []
    kinds = [kind() if callable(kind) else kind for _ in range(2)]
    theirs = make(Fixed, kinds[0], folder, **config)
    return theirs, make(Ours, kinds[1], folder, fast={"fast": "auto", "tell": told.append}, **config), told


SLOWER = {"bnpo in micro-batches of two", "several passes over a phase", "entropy bonus", "llama, a reference", "sapo",
          "tokens of high entropy", "adapters, checkpointing", "vespo"}  # fmt: skip
EACH = [pytest.param(case, marks=pytest.mark.slow if case in SLOWER else ()) for case in CASES]


@pytest.mark.parametrize("case", EACH)
def test_the_weights_change_as_with_trl(case: str, tmp_path: Path) -> None:
    theirs, ours, told = pair(tmp_path, **CASES[case])
    assert ours.fast.shared is None
    assert apart(change(ours), change(theirs)) < 1e-5
    assert ours.read < 0.6 * theirs.read, "the prompts were not shared"
    assert told == []


def test_adamw_moves_the_weights_in_steps_without_a_live_row(tmp_path: Path) -> None:
    """Without zeros in place of no gradient it does not: shown below."""
    config: dict[str, Any] = {
        "optim": "adamw_torch",
        "learning_rate": 1e-3,
        "weight_decay": 0.1,
        "max_steps": 3,
        "reward": fading,
    }
    theirs, ours, _ = pair(tmp_path, **config)
    wanted, found = change(theirs), change(ours)
    assert apart(found, wanted) < 1e-3  # Adam divides by the gradient's size: the rounding of a small one is large

    class Forgetful(Ours):
        def _zeros_for_none(self) -> None:
            self._reached = {"all are known"}

    other = make(Forgetful, "qwen3", tmp_path, fast={"fast": "auto"}, **config)
    assert apart(change(other), wanted) > 0.1


@pytest.mark.parametrize("cost", [4, 4000])
def test_a_weight_that_no_loss_reaches_is_left_alone(
    cost: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a vision tower in training on text: zeros would make AdamW shrink it. All rows of the first step are dead."""
    monkeypatch.setitem(update.CALL, "cpu", cost)  # sharing is tried, or not worth it

    made = model("qwen3")
    made.tower = torch.nn.Linear(4, 4)
    before = made.tower.weight.detach().clone(), made.lm_head.weight.detach().clone()
    config: dict[str, Any] = {"optim": "adamw_torch", "learning_rate": 1e-2, "weight_decay": 0.5, "max_steps": 2}
    ours = make(Ours, made, tmp_path, fast={"fast": "auto"}, reward=rising, **config)
    ours.train()
    assert torch.equal(made.tower.weight, before[0])
    assert not torch.equal(made.lm_head.weight, before[1])


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_adamw_moves_the_weights_in_steps_whose_rows_are_all_masked(beta: float, tmp_path: Path) -> None:
    class NoEnd:
        def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
            return [[5 + row % 7] * 12 for row, _ in enumerate(prompt_ids)], None

    config: dict[str, Any] = {"mask_truncated_completions": True, "beta": beta, "optim": "adamw_torch"}
    config |= {"learning_rate": 1e-3, "weight_decay": 0.5, "max_steps": 2}
    theirs = make(type("Theirs", (NoEnd, Fixed), {}), "qwen3", tmp_path, **config)
    ours = make(type("Ours", (FastUpdate, NoEnd, Fixed), {}), "qwen3", tmp_path, fast={"fast": "auto"}, **config)
    assert torch.equal(change(ours), change(theirs))
    assert ours.read < 0.6 * theirs.read


def rising(prompts: list[str], completions: list[str], trainer_state: Any, **_: Any) -> list[float]:
    return [1.0 for _ in completions] if trainer_state.global_step == 0 else [float(len(c) % 5) for c in completions]


def fading(prompts: list[str], completions: list[str], trainer_state: Any, **_: Any) -> list[float]:
    """Spread in the first step only."""
    return [float(len(text) % 5) if trainer_state.global_step == 0 else 1.0 for text in completions]


def test_rows_without_an_advantage_cost_nothing_and_the_entropy_is_of_the_others(tmp_path: Path) -> None:
    _, ours, _ = pair(tmp_path, max_steps=3, reward=fading)
    ours.train()
    logged = [line for line in ours.state.log_history if "loss" in line]
    assert ["entropy" in line for line in logged] == [True, False, False]
    read = ours.read
    _, plain, _ = pair(tmp_path, max_steps=1, reward=fading)
    plain.train()
    assert read == plain.read, "the two steps without spread went through the model"


def test_a_window_that_is_cut_short_by_an_error_leaves_no_prompt_open(tmp_path: Path) -> None:
    _, ours, _ = pair(tmp_path)

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("no memory")

    ours.accelerator.backward = fails
    with pytest.raises(RuntimeError, match="no memory"):
        ours.train()
    assert ours._prefixes.opened() == []


@pytest.mark.parametrize("case", ["dapo", "windows, adapters, checkpointing"])
def test_off_is_trl_to_the_last_bit(case: str, tmp_path: Path) -> None:
    config = {"kind": "qwen3"} | CASES[case]
    theirs, ours = make(Fixed, folder=tmp_path, **config), make(Ours, folder=tmp_path, fast={"fast": "off"}, **config)
    change(theirs), change(ours)
    assert torch.equal(weights(theirs), weights(ours))
    assert theirs.read == ours.read


def test_reentrant_checkpointing_is_left_to_trl(tmp_path: Path) -> None:
    config: dict[str, Any] = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}}
    theirs, ours, _ = pair(tmp_path, **config)
    assert ours.fast.shared == "reentrant"
    assert apart(change(ours), change(theirs)) < 1e-5


ALONE = {"per_device_train_batch_size": 1, "num_generations": 2, "max_completion_length": 40, "max_steps": 1}
HELD: dict[str, dict[str, Any]] = {
    "gradient": {"gradient_accumulation_steps": 16},
    "gradient, in TRL's order": {"gradient_accumulation_steps": 16, "loss_type": "bnpo", "max_completion_length": 20},
    "old policy": {"gradient_accumulation_steps": 8, "steps_per_generation": 16},
    "reference": {"gradient_accumulation_steps": 16, "beta": 0.1},
}


@pytest.mark.parametrize("case", HELD)
def test_one_row_at_a_time_holds_one_prompt_and_shares_it(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As TRL holds one row: a generation batch of prompts with their graph is no memory that a plan counts."""
    held: list[int] = []
    front = Prefixes.front

    def counted(self: Prefixes, *args: Any) -> Any:
        held.append(sum(opened.leaves[0][0].shape[2] for opened in self.opened()))
        return front(self, *args)

    theirs, ours, _ = pair(tmp_path, reward=spread, **ALONE | HELD[case])
    wanted = change(theirs)
    monkeypatch.setattr(Prefixes, "front", counted)
    ours._checked |= {"gradient", "forward"}
    assert apart(change(ours), wanted) < 1e-5
    assert max(held) <= (31 + 20 if "order" in case else 31)
    assert ours.read < (0.7 if "order" in case else 0.5) * theirs.read


def spread(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    return [float(row % 4) for row, _ in enumerate(completions)]


def test_a_routers_loss_is_of_micro_batches_as_they_are(tmp_path: Path) -> None:
    def made() -> Any:
        torch.manual_seed(3)
        sizes = {"hidden_size": 32, "intermediate_size": 32, "moe_intermediate_size": 16, "num_hidden_layers": 2}
        experts = {"num_experts": 4, "num_experts_per_tok": 2, "output_router_logits": True, "head_dim": 8}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": VOCABULARY}
        return Qwen3MoeForCausalLM(Qwen3MoeConfig(**sizes, **experts, **heads, pad_token_id=0))

    theirs, ours, _ = pair(tmp_path, made, router_aux_loss_coef=0.5, max_steps=1, **SMALL)
    assert ours.fast == ("router", "micro_batches", "router")
    assert apart(change(ours), change(theirs)) < 1e-5


def test_an_order_that_moves_rows_between_windows_is_not_made() -> None:
    batches = [
        {"prompt_ids": torch.tensor([[n % 2 + 1]] * 2), "prompt_mask": torch.ones(2, 1, dtype=torch.long),
         "completion_mask": torch.tensor([[1, 1], [1, 0]]), "advantages": torch.tensor([float(n), -float(n)]), "all": 3}
        for n in range(4)
    ]  # fmt: skip
    found = rows.together(batches, 2)
    for start in (0, 2):
        before = sorted(float(a) for batch in batches[start : start + 2] for a in batch["advantages"])
        after = sorted(float(a) for batch in found[start : start + 2] for a in batch["advantages"])
        assert before == after
        assert [batch["prompt_ids"].unique().numel() for batch in found[start : start + 2]] == [1, 1]
    assert all(batch["all"] == 3 for batch in found)


class Letters(Fixed):
    tokens = 90


def test_advantages_of_steps_have_the_same_gradient(tmp_path: Path) -> None:
    """Process supervision: an advantage a token. Some rows have none at all."""
    longer: dict[str, Any] = {"learning_rate": 0.1, "max_completion_length": 12}
    found = {}
    for fast in ("off", "auto"):
        trainer, recorder = tiny_trainer(tmp_path / fast, base=Letters, reward=STEPS, fast=fast, optim="sgd", **longer)
        count_tokens(trainer)
        found[fast] = change(trainer), trainer.read, recorder.batches
    assert any(len(steps) > 1 for _, batch in found["auto"][2] for steps in batch.steps)
    assert apart(found["auto"][0], found["off"][0]) < 1e-5
    assert found["auto"][1] < found["off"][1]
