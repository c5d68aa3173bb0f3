"""Training.check_rewards: what is odd about rewards and gold answers is said before step 1, of every row."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.builders import tiny_model
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import Component, Reward
from trainer.worker.training import Training


def test_a_lost_tag_and_an_odd_gold_are_alerts_before_the_first_step() -> None:
    tokenizer = tiny_model()[1]
    tokenizer.add_special_tokens({"additional_special_tokens": ["<a>", "</a>"]})
    component = Component(function="exact_match", params={"extract": "<a>([^<]*)</a>"})
    rows = [{"prompt": [{"role": "user", "content": "?"}], "answer": "1 < 2" if n == 60 else "x"} for n in range(80)]
    said: list[Any] = []
    training: Any = SimpleNamespace(
        wrapper=ComponentRewardWrapper(Reward(components=[component], gold_template="<a>{answer}</a>")),
        data=SimpleNamespace(train=rows),
        tokenizer=tokenizer,
        spec=SimpleNamespace(trl={}),
        spans=SimpleNamespace(drain=lambda: None),
        session=SimpleNamespace(events=SimpleNamespace(emit=said.append)),
    )
    Training.check_rewards(training)
    texts = [event.text for event in said]
    assert any(text.startswith("<a>, </a>: special tokens of this model") for text in texts)
    assert any("(row 60: <a>1 < 2</a> gets 0)" in text for text in texts)
    assert any("gets 0 instead of 1" in text for text in texts)
