"""trainer.evaluate.answering gives the rewards what TRL's own trainer gives them for the same tokens."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny import REWARD, rows, tiny_model, tiny_trainer
from trainer.evaluate.answering import GREEDY, Answers, answer, pay
from trainer.rewards.wrapper import ComponentRewardWrapper

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
    assert pay(wrapper, data, Answers(["y", "x"], [[1], [1]]))[1] == 1.0
