"""Today's architectures: TRL's gradient and generate's tokens, whatever their layers keep."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.architectures import EACH
from tests.fast.pairs import EOS, PROMPTS, STATES, Fixed, Ours, apart, change, make, todays, tokenizer
from trainer.fast import update
from trainer.fast.decoding import Decoding
from trainer.text import Message


@pytest.mark.parametrize("name", EACH)
def test_an_update_changes_the_weights_as_with_trl(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(update.CALL, "cpu", 4)
    told: list[Message] = []
    theirs = make(Fixed, todays(name), tmp_path, learning_rate=1.0)
    ours = make(Ours, todays(name), tmp_path, learning_rate=1.0, fast={"fast": "auto", "tell": told.append})
    assert ours.fast.shared == ("layers" if name.startswith(STATES) else None)
    assert apart(change(ours), change(theirs)) < 3e-5
    assert ours.read < 0.6 * theirs.read
    assert told == []


@pytest.mark.parametrize("name", EACH)
def test_every_greedy_token_is_generates(name: str) -> None:
    made, decoding = todays(name).eval(), Decoding()
    found = tokenizer()(PROMPTS, padding=True, return_tensors="pt")
    given = {key: found[key].repeat_interleave(2, 0) for key in ("input_ids", "attention_mask")} | {
        "max_new_tokens": 16, "do_sample": False, "pad_token_id": 0, "eos_token_id": [EOS, *range(30, 60)],
    }  # fmt: skip
    theirs = made.generate(**given)
    for slots in (8, 3):
        ours = made.generate(**given, custom_generate=decoding.with_slots(slots))
        assert torch.equal(ours, theirs), f"{slots} places"
    assert decoding.batches == 2
