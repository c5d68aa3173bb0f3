"""Today's architectures: TRL's gradient and generate's tokens, whatever their layers keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.architectures import EACH, config_of
from tests.fast.pairs import EOS, PROMPTS, Fixed, Ours, apart, change, make, tokenizer
from trainer.engine.interface import without_routers
from trainer.engine.transformers_engine import model_class
from trainer.fast import update
from trainer.fast.decoding import Decoding
from trainer.text import Message

STATES = ("qwen3.5", "lfm2.5", "granite-4.0-h")  # layers that keep no keys and values


def model(name: str) -> Any:
    config = config_of(name)
    config.get_text_config().pad_token_id = 0
    torch.manual_seed(3)
    made = model_class(config).from_config(config).float()
    without_routers(made)
    return made


@pytest.mark.parametrize("name", EACH)
def test_an_update_changes_the_weights_as_with_trl(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(update.CALL, "cpu", 4)
    told: list[Message] = []
    theirs = make(Fixed, model(name), tmp_path, learning_rate=1.0)
    ours = make(Ours, model(name), tmp_path, learning_rate=1.0, fast={"fast": "auto", "tell": told.append})
    assert ours.fast.shared == ("layers" if name.startswith(STATES) else None)
    assert apart(change(ours), change(theirs)) < 3e-5
    assert ours.read < 0.6 * theirs.read
    assert told == []


@pytest.mark.parametrize("name", EACH)
def test_every_greedy_token_is_generates(name: str) -> None:
    made, decoding = model(name).eval(), Decoding()
    found = tokenizer()(PROMPTS, padding=True, return_tensors="pt")
    given = {key: found[key].repeat_interleave(2, 0) for key in ("input_ids", "attention_mask")} | {
        "max_new_tokens": 16, "do_sample": False, "pad_token_id": 0, "eos_token_id": [EOS, *range(30, 60)],
    }  # fmt: skip
    theirs = made.generate(**given)
    for slots in (8, 3):
        ours = made.generate(**given, custom_generate=decoding.with_slots(slots))
        assert torch.equal(ours, theirs), f"{slots} places"
    assert decoding.batches == 2
