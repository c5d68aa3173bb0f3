"""trainer.evaluate.greedy: greedy, batched, paid as in training, and without a trace in the random state."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from tests.builders import REWARD, rows, tiny_model
from trainer.evaluate.greedy import Score, evaluate
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import Component, Reward


@pytest.fixture(scope="module")
def tiny() -> Any:
    return tiny_model()


def score(tiny: Any, **changes: Any) -> Score | None:
    settings: dict[str, Any] = {"max_completion_length": 6, "batch_size": 16, "reward_batch_size": 16}
    return evaluate(tiny[0], tiny[1], rows(12), ComponentRewardWrapper(REWARD), **settings | changes)


def test_the_score_does_not_depend_on_the_batch(tiny: Any) -> None:
    assert score(tiny) == score(tiny, batch_size=5) == score(tiny, batch_size=1, reward_batch_size=5)


def said(found: Score) -> dict[str, Any]:
    """What its event says of it."""
    event = msgspec.to_builtins(found.event("after", 3, 1.0))
    return {
        name: value
        for name, value in event.items()
        if value is not None and name not in ("kind", "t", "attempt", "at", "step", "seconds", "_dropped", "_shortened")
    }


def test_the_answers_are_kept_and_are_no_part_of_the_event(tiny: Any) -> None:
    found = score(tiny)
    assert found is not None
    assert len(found.texts) == found.rows == 12
    assert found.reward is not None and found.reward_std is not None and found.reward_std >= 0
    assert score(tiny, batch_size=5).texts == found.texts  # type: ignore[union-attr]
    told = {"reward", "reward_std", "correct_frac", "components", "rows"}
    assert said(found).keys() == told


def test_rows_that_could_not_be_judged_are_counted(tiny: Any, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "def some(completions, answer, **_):\n"
        "    if answer[0].startswith('a'):\n"
        "        raise ValueError('no a')\n"
        "    return [1.0] * len(answer)\n"
    )
    wrapper = ComponentRewardWrapper(Reward(components=[Component(function="some", file=str(own))]))
    settings: dict[str, Any] = {"max_completion_length": 2, "batch_size": 8, "reward_batch_size": 1}
    found = evaluate(tiny[0], tiny[1], rows(8), wrapper, **settings)
    assert found is not None  # of 8 rows two start with "a"
    told = {"reward": 1.0, "correct_frac": 1.0, "components": {"some": 1.0}, "rows": 8, "failed": 2, "reward_std": 0.0}
    assert said(found) == told
    assert str(found.failure).startswith("some: it raised ValueError: no a")


def test_no_random_number_is_drawn(tiny: Any) -> None:
    before = torch.get_rng_state()
    score(tiny)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_model_is_left_as_it_was(tiny: Any) -> None:
    tiny[0].train()
    score(tiny)
    assert tiny[0].training


def test_it_ends_between_two_batches_when_asked_to(tiny: Any) -> None:
    asked: list[int] = []

    def interrupted() -> bool:
        asked.append(1)
        return len(asked) > 2

    assert score(tiny, batch_size=1, interrupted=interrupted) is None
    assert len(asked) == 3


def test_a_model_that_is_right_scores_full_marks(tiny: Any) -> None:
    """A model whose next token is always the same letter is right where that letter is the answer."""
    model, tokenizer = tiny_model()
    letter = tokenizer.convert_tokens_to_ids("A")
    with torch.no_grad():  # tied embeddings: the last hidden state decides; make every logit favour "A"
        model.lm_head = torch.nn.Linear(128, 128, bias=True)
        model.lm_head.weight.zero_()
        model.lm_head.bias.zero_()
        model.lm_head.bias[letter] = 10.0
    data = [{"prompt": [{"role": "user", "content": str(n)}], "answer": "AAAA"} for n in range(3)]
    settings: dict[str, Any] = {"max_completion_length": 4, "batch_size": 2, "reward_batch_size": 2}
    found = evaluate(model, tokenizer, data, ComponentRewardWrapper(REWARD), **settings)
    assert found == Score(
        reward=1.5, correct_frac=1.0, components={"correct": 1.0, "format": 1.0}, rows=3, reward_std=0
    )
