"""trainer.evaluate.answering gives the rewards what TRL's own trainer gives them for the same tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders import REWARD, rows, tiny_model, tiny_trainer
from trainer.evaluate.answering import GREEDY, Answers, answer, retelling, score
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import Component, Reward

THINKING = {  # an answer of thought, "B", what is said; as gpt-oss marks its channels
    "defaults": {"role": "assistant"},
    "start_anchor": "<assistant>",
    "fields": {
        "thinking": {"open": "A", "close": "B", "content": "text"},
        "content": {"close_pattern": "<end>", "content": "text"},
    },
}


def saying(text: str, model: Any, tokenizer: Any) -> None:
    """From here on the model writes this text, whatever it is asked: each letter follows from the one before it."""
    letters = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    start = tokenizer.convert_tokens_to_ids("<assistant>")
    follower = torch.zeros(128, 128)
    for before, after in zip([start, *letters], letters, strict=False):
        follower[before, after] = 100.0  # sampling says it as well

    def forward(input_ids: torch.Tensor, **arguments: Any) -> Any:
        said = original(input_ids, **arguments)
        said.logits = follower[input_ids][:, -said.logits.shape[1] :]
        return said

    original, model.forward = model.forward, forward


@pytest.mark.parametrize(
    ("template", "content"), [(None, "AxyBno"), (THINKING, "no")], ids=["plain text", "response template"]
)
@pytest.mark.parametrize("chat", [True, False])
def test_completions_are_those_of_trl(tmp_path: Path, template: Any, content: str, chat: bool) -> None:
    trainer, _ = tiny_trainer(tmp_path)
    tokenizer = trainer.processing_class
    saying("AxyBno", trainer.model, tokenizer)
    tokenizer.response_template = template
    prompts = [row["prompt"] for row in rows(4)] if chat else ["ab<assistant>", "a<assistant>"]
    ours = answer(trainer.model, tokenizer, prompts, GREEDY | {"max_new_tokens": 8}, batch_size=3)
    theirs = trainer._generate(prompts)
    assert ours is not None
    assert ours.ids == theirs[1]
    assert ours.completions == theirs[3]
    assert ours.texts == [content if chat else "AxyBno"] * len(prompts)


def test_a_completion_that_is_cut_keeps_all_its_tokens() -> None:
    model, tokenizer = tiny_model()
    saying("abc", model, tokenizer)
    prompts = [row["prompt"] for row in rows(2)]
    for limit, ids, text in ((2, 2, "ab"), (3, 3, "abc"), (4, 4, "abc"), (8, 4, "abc")):
        found = answer(model, tokenizer, prompts, GREEDY | {"max_new_tokens": limit}, batch_size=2)
        assert found is not None
        assert [(len(tokens), said) for tokens, said in zip(found.ids, found.texts, strict=True)] == [(ids, text)] * 2


def test_rows_may_have_different_columns() -> None:
    """A column that the first row lacks still reaches the rewards."""
    data = [{"prompt": "a"}, {"prompt": "b", "answer": "x"}]
    wrapper = ComponentRewardWrapper(REWARD)
    found = score(wrapper, data, Answers(["y", "x"], [[1], [1]]), batch_size=2)
    assert found is not None and found.rewards[1] == 1.0


SLOW = """
import time

def slow(completions, answer, **_):
    if len(completions) == 1 and answer[0] == "bad":
        raise ValueError("no such word")
    time.sleep(0.1 * len(completions))
    return [float(text == gold) for text, gold in zip(completions, answer)]
"""


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[ComponentRewardWrapper]:
    """A person's own file at a tenth of a second a row, which has a second for a batch."""
    own = tmp_path / "slow.py"
    own.write_text(SLOW)
    components = [Component(function="slow", file=str(own)), Component(function="exact_match", weight=0.5)]
    wrapper = ComponentRewardWrapper(Reward(components=components, deadline_s=1.0, workers=1), pooled=True)
    yield wrapper
    wrapper.close()


def test_many_answers_are_judged_in_batches_that_have_a_deadline_each(slow: ComponentRewardWrapper) -> None:
    """All 24 at once would take 2.4 s of the one."""
    golds = ["x", "y", "z"] * 8
    data = [{"prompt": "?", "answer": gold} for gold in golds]
    found = score(slow, data, Answers(["x", "y", "?"] * 8, [[1]] * 24), batch_size=4)
    assert found is not None
    assert found.rewards == [1.5, 1.5, 0.0] * 8
    assert found.components == {"slow": [1.0, 1.0, 0.0] * 8, "exact_match": [1.0, 1.0, 0.0] * 8}
    assert found.correct == [True, True, False] * 8
    assert (found.failures, found.failed, found.first_failure) == ([{}] * 24, 0, None)


def test_what_could_not_be_judged_is_counted_over_all_batches(slow: ComponentRewardWrapper) -> None:
    data = [{"prompt": "?", "answer": gold} for gold in ("x", "x", "bad", "x", "bad")]
    found = score(slow, data, Answers(["x"] * 5, [[1]] * 5), batch_size=1)
    assert found is not None
    assert found.correct == [True, True, None, True, None]
    assert found.rewards == [1.5, 1.5, None, 1.5, None]
    assert [bool(row) for row in found.failures] == [False, False, True, False, True]
    assert found.failed == 2
    assert str(found.first_failure).startswith("slow: it raised ValueError: no such word")


def test_judging_ends_between_two_batches_when_asked_to(slow: ComponentRewardWrapper) -> None:
    asked: list[int] = []
    data = [{"prompt": "?", "answer": "x"}] * 6

    def interrupted() -> bool:
        asked.append(1)
        return len(asked) > 2

    assert score(slow, data, Answers(["x"] * 6, [[1]] * 6), batch_size=2, interrupted=interrupted) is None
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("template", "text", "told"),
    [
        (None, "<answer>no</answer>", "<answer>no</answer>"),
        (None, "<t>no</t>", "no"),
        (THINKING, "no", "no"),
        (THINKING, "AxBno", "no"),
        (THINKING, "<t>no</t>", "<t>no</t>"),  # a parsed response keeps them
    ],
)
def test_a_text_is_told_to_the_rewards_as_a_completion_is(template: Any, text: str, told: str) -> None:
    tokenizer = tiny_model()[1]
    tokenizer.add_special_tokens({"additional_special_tokens": ["<t>", "</t>"]})
    tokenizer.response_template = template
    found = retelling(tokenizer)
    assert found.tell(rows(1)[0]["prompt"], text) == told
    assert found.lost(text, told) == (["<t>", "</t>"] if text != told and "<t>" in text else [])
    assert retelling(tokenizer).tell("a plain prompt", "<t>no") == "no"
