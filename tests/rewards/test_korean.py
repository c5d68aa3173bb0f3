"""Normalised answers and tokens, by hand; on ASCII text the tokens of rouge-score."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainer.rewards.library.korean import DOUBLE_QUOTES, SINGLE_QUOTES, normalise_answer, tokenizer


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("나무", "나무"),
        ("  나무 \n\t 집\u3000앞 ", "나무 집 앞"),
        ("\u1102\u1161\u1106\u116e", "나무"),
        ("답변: 나무", "나무"),
        ("정답:나무", "나무"),
        ("답: 나무", "나무"),
        ("답안 : 나무", "나무"),
        ("모범 답안: 나무", "나무"),
        ("모범답안: 나무", "나무"),
        ("대답\uff1a 나무", "나무"),
        ("최종 답: 나무", "나무"),
        ("Answer: tree", "tree"),
        ("ANSWER: tree", "tree"),
        ("A: tree", "tree"),
        ("정답 1: 나무", "나무"),
        ("답변2: 나무", "나무"),
        ("**정답:** 나무", "나무"),
        ("**정답**: 나무", "나무"),
        ("**정답 1:** **나무**", "나무"),
        ("정답:**나무**", "나무"),
        ("**정답: 나무**", "나무"),
        ("**정답: 나무.** 이유", "**나무.** 이유"),
        ("정답: **나무**와 **집**", "**나무**와 **집**"),
        ("정답: 답변:\n나무", "나무"),
        ("**답변:** 정답: A: 나무", "나무"),
        ("정답:", ""),
        ("", ""),
        ("나무 정답: 집", "나무 정답: 집"),
        ("정답은 나무", "정답은 나무"),
        ("대답하다: 나무", "대답하다: 나무"),
        ("a: tree", "a: tree"),
        ("**나무**", "나무"),
        ("3 * 4 * 5", "3 * 4 * 5"),
    ],
)
def test_an_answer_loses_its_label_and_its_white_space(text: str, normalised: str) -> None:
    assert normalise_answer(text) == normalised


@pytest.mark.parametrize("mark", DOUBLE_QUOTES)
def test_double_quotation_marks_become_one(mark: str) -> None:
    assert normalise_answer(f"{mark}나무{mark}가 옳다.") == '"나무"가 옳다.'


@pytest.mark.parametrize("mark", SINGLE_QUOTES)
def test_single_quotation_marks_become_one(mark: str) -> None:
    assert normalise_answer(f"{mark}나무{mark}") == "'나무'"


PIECES = [
    "정답",
    "답",
    "모범",
    "Answer",
    "A",
    "1",
    ":",
    "\uff1a",
    "*",
    "**",
    " ",
    "\n",
    "\u201c",
    "\u0301",
    "나",
    "\u1102",
]


@given(st.lists(st.sampled_from(PIECES)).map("".join) | st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise_answer(text)
    assert normalise_answer(once) == once


@pytest.mark.parametrize(
    ("text", "word", "syllable"),
    [
        ("학교에 갔다.", ["학교에", "갔다"], ["학", "교", "에", "갔", "다"]),
        ("GPU가 3대, 좋다!", ["gpu", "가", "3", "대", "좋다"], ["gpu", "가", "3", "대", "좋", "다"]),
        ('"우동이"가 옳다.', ["우동이", "가", "옳다"], ["우", "동", "이", "가", "옳", "다"]),
        ("\u1102\u1161\u1106\u116e", ["나무"], ["나", "무"]),
        ("어간 '\u3137'", ["어간", "\u3137"], ["어", "간", "\u3137"]),
        ("caf\u00e9 cre\u0300me", ["caf\u00e9", "cr\u00e8me"], ["caf\u00e9", "cr\u00e8me"]),
        ("\u6771\u4eac\u306b", ["\u6771\u4eac\u306b"], ["\u6771", "\u4eac", "\u306b"]),
        ("\u0939\u093f\u0928\u094d\u0926\u0940 \u0432\u043e\u0434\u0430", None, None),
        ("\u2026 ?!_", [], []),
    ],
)
def test_tokens(text: str, word: list[str] | None, syllable: list[str] | None) -> None:
    whole = text.split()  # scripts with neither Latin letters nor syllables keep their words, vowel signs included
    assert tokenizer("word")(text) == (whole if word is None else word)
    assert tokenizer("syllable")(text) == (whole if syllable is None else syllable)


@given(st.text(st.characters(max_codepoint=127)))
@example("Don't stop_me 3.5%, A-B")
def test_on_ascii_the_tokens_are_those_of_rouge_score(text: str) -> None:
    from rouge_score.tokenize import tokenize

    assert tokenizer("word")(text) == tokenizer("syllable")(text) == tokenize(text, None)
