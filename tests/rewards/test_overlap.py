"""rouge1 against rouge-score on English, and by hand on Korean."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.rewards.library.overlap import rouge1


def reference(completion: str, gold: str) -> float:
    from rouge_score.rouge_scorer import RougeScorer

    return float(RougeScorer(["rouge1"], use_stemmer=False).score(gold, completion)["rouge1"].fmeasure)


@pytest.mark.parametrize(
    ("completion", "gold", "value"),
    [
        ("the cat sat", "the cat sat", 1.0),
        ("the cat sat on the mat", "the cat is on the mat", 10 / 12),
        ("the the the the", "the cat", 2 / 6),
        ("a dog", "the cat", 0.0),
        ("", "the cat", 0.0),
        ("The CAT, sat!", "the cat sat", 1.0),
    ],
)
def test_english_by_hand_and_by_rouge_score(completion: str, gold: str, value: float) -> None:
    assert rouge1()(completions=[completion], answer=[gold]) == [pytest.approx(value)]
    assert reference(completion, gold) == pytest.approx(value)


WORDS = st.lists(st.sampled_from(["the", "The", "cat", "sat", "it's", "3.5", "-", "mat."])).map(" ".join)


@given(WORDS | st.text(st.characters(max_codepoint=127)), WORDS.map(lambda text: "gold " + text))
def test_on_ascii_it_is_the_f1_of_rouge_score(completion: str, gold: str) -> None:
    assert rouge1()(completions=[completion], answer=[gold]) == [pytest.approx(reference(completion, gold))]


REASON = r"옳다\.\s*(.*)"


@pytest.mark.parametrize(
    ("completion", "gold", "params", "value"),
    [
        ("나는 학교에 갔다.", "나는 집에 갔다", {}, 4 / 6),
        ("학교에", "학교는", {}, 0.0),
        ("학교에", "학교는", {"tokens": "syllable"}, 4 / 6),
        ("정답: 나무", "나무", {}, 2 / 3),
        ("정답: 나무", "나무", {"normalise": True}, 1.0),
        ('"가"가 옳다. 이유 하나', '"나"가 옳다. 이유 둘', {"extract": REASON, "gold_extract": REASON}, 2 / 4),
        ('"가"가 옳다. 이것이 옳다. 끝', "이것이 옳다 끝", {"extract": REASON}, 1.0),
        ("이유 하나", '"나"가 옳다. 이유 하나', {"extract": REASON, "gold_extract": REASON}, 1.0),
        ("이유 하나", "이유#하나", {}, 1.0),
        ("이유", "...", {}, None),
        ("이유", None, {}, None),
    ],
)
def test_korean_by_hand(completion: str, gold: Any, params: dict[str, Any], value: float | None) -> None:
    assert rouge1(**params)(completions=[completion], answer=[gold]) == [
        value if value is None else pytest.approx(value)
    ]
