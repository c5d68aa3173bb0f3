"""Rejection sampling: which completions are trained on."""

from __future__ import annotations

import pytest

from tests.stages.made import spec_of
from trainer.errors import DataError
from trainer.spec import Rft
from trainer.stages.examples import Example, right_ones
from trainer.stages.samples import Sample, Sampled


def sample(text: str, correct: bool | None = True, ended: bool = True, ids: list[int] | None = None) -> Sample:
    return Sample(text, ids or list(map(ord, text)), None if correct is None else float(correct), correct, ended)


def kept(*completions: Sample, per_prompt: int = 4) -> list[str]:
    found = right_ones([Sampled([1], list(completions))], spec_of("rft", rft=Rft(per_prompt=per_prompt)))
    return ["".join(map(chr, one.completion)) for one in found]


def test_only_right_ones_that_have_ended() -> None:
    assert kept(sample("a"), sample("b", False), sample("c", None), sample("d", ended=False), sample("e")) == ["a", "e"]


def test_equal_texts_count_once_and_at_most_so_many_of_a_row() -> None:
    made = [sample(text) for text in "abacdb"]
    assert kept(*made) == ["a", "b", "c", "d"]
    assert kept(*made, per_prompt=2) == ["a", "b"]


def test_a_cut_one_does_not_stand_for_the_same_text_that_ended() -> None:
    assert kept(sample("a", ended=True), sample("a", ended=False)) == ["a"]


def test_the_ids_trained_on_are_the_ids_that_were_written() -> None:
    """Not those a tokenizer would make of the text: the policy may have spelt it otherwise."""
    row = Sampled([7, 8], [sample("ab", ids=[99, 98, 1]), sample("c", ids=[3, 1])])
    assert right_ones([row], spec_of("rft")) == [Example([7, 8], [99, 98, 1]), Example([7, 8], [3, 1])]


def test_the_first_spelling_of_a_text_is_kept() -> None:
    row = Sampled([7], [sample("ab", ids=[97, 98, 1]), sample("ab", ids=[99, 1])])
    assert right_ones([row], spec_of("rft")) == [Example([7], [97, 98, 1])]


def test_rows_without_a_right_one_are_left_out_and_none_at_all_is_refused() -> None:
    rows = [Sampled([1], [sample("a", False)]), Sampled([2], [sample("b")])]
    assert [one.prompt for one in right_ones(rows, spec_of("rft"))] == [[2]]
    with pytest.raises(DataError, match="none of the 1 completions of 1 rows is right"):
        right_ones(rows[:1], spec_of("rft"))
