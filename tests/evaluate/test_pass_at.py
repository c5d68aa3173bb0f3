"""trainer.evaluate.pass_at against values by hand and against the plain enumeration of all subsets."""

import itertools
import math
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluate.pass_at import dead_frac, maj_at, pass_at


@pytest.mark.parametrize(
    ("correct", "samples", "k", "expected"),
    [
        (0, 4, 2, 0.0),
        (1, 4, 1, 1 / 4),
        (1, 4, 2, 1 / 2),  # 3 of the 6 pairs hold the right one
        (2, 4, 2, 5 / 6),
        (3, 4, 2, 1.0),
        (2, 10, 3, 8 / 15),  # 1 - C(8,3)/C(10,3) = 1 - 56/120
        (1, 1024, 1, 1 / 1024),
        (4, 4, 4, 1.0),
    ],
)
def test_pass_at_k_by_hand(correct: int, samples: int, k: int, expected: float) -> None:
    assert pass_at(correct, samples, k) == expected


@pytest.mark.parametrize(
    ("correct", "samples", "group", "all_right", "all_wrong"),
    [
        (0, 4, 2, 0.0, 1.0),
        (2, 4, 2, 1 / 6, 1 / 6),
        (3, 4, 2, 1 / 2, 0.0),
        (4, 4, 4, 1.0, 0.0),
        (6, 8, 4, 15 / 70, 0.0),
    ],
)
def test_groups_without_spread_by_hand(
    correct: int, samples: int, group: int, all_right: float, all_wrong: float
) -> None:
    assert dead_frac(correct, samples, group) == (all_right, all_wrong)


@pytest.mark.parametrize(
    ("answers", "right", "k", "expected"),
    [
        ("AAB", "110", 1, 2 / 3),  # one vote: the mean of right
        ("AAB", "110", 3, 1.0),
        ("AAB", "110", 2, 2 / 3),  # AA right, two ties AB: (1 + 1/2 + 1/2) / 3
        ("ABB", "100", 3, 0.0),
        ("AB", "10", 2, 1 / 2),
        ("ABC", "110", 3, 2 / 3),  # two texts are right, three are tied
        ("A--", "1--", 3, 1.0),  # one vote against nobody wins
        ("A--", "1--", 2, 2 / 3),  # the pair of no votes is wrong
        ("---", "---", 2, 0.0),
        ("AABBC", "11000", 5, 1 / 2),
        ("AABBC", "11000", 3, 13 / 30),  # of 10 subsets 3 hold AA, 3 hold BB, 4 are ABC: (3 + 0 + 4/3) / 10
    ],
)
def test_majority_votes_by_hand(answers: str, right: str, k: int, expected: float) -> None:
    texts = [None if letter == "-" else letter for letter in answers]
    assert maj_at(texts, [flag == "1" for flag in right], k) == pytest.approx(expected, abs=1e-15)


def enumerated_majority(answers: Sequence[str | None], right: Sequence[bool], k: int) -> Fraction:
    """The definition, subset by subset."""
    credits = []
    for subset in itertools.combinations(range(len(answers)), k):
        votes = Counter(answers[index] for index in subset if answers[index] is not None)
        winners = [text for text, count in votes.items() if count == max(votes.values())]
        shares = []
        for text in winners:
            judged = [flag for other, flag in zip(answers, right, strict=True) if other == text]
            shares.append(Fraction(sum(judged), len(judged)))
        credits.append(sum(shares, Fraction()) / len(shares) if shares else Fraction())
    return sum(credits, Fraction()) / len(credits)


@st.composite
def voted(draw: st.DrawFn) -> tuple[list[str | None], list[bool], int]:
    answers = draw(st.lists(st.sampled_from([None, "A", "B", "C", "D", "E"]), min_size=1, max_size=9))
    right = draw(st.lists(st.booleans(), min_size=len(answers), max_size=len(answers)))
    if draw(st.booleans()):  # as judged in practice: a text is right or wrong
        truth = dict(zip(answers, right, strict=True))
        right = [answer is not None and truth[answer] for answer in answers]
    return answers, right, draw(st.integers(1, len(answers)))


@settings(max_examples=300, deadline=None)
@given(voted())
def test_a_majority_vote_is_the_mean_over_all_subsets(case: tuple[list[str | None], list[bool], int]) -> None:
    assert maj_at(*case) == float(enumerated_majority(*case))


@pytest.mark.parametrize("samples", range(1, 8))
def test_pass_at_k_and_dead_groups_are_the_mean_over_all_subsets(samples: int) -> None:
    for correct in range(samples + 1):
        flags = [True] * correct + [False] * (samples - correct)
        for k in range(1, samples + 1):
            subsets = list(itertools.combinations(flags, k))
            assert pass_at(correct, samples, k) == float(Fraction(sum(map(any, subsets)), len(subsets)))
            dead = (
                Fraction(sum(map(all, subsets)), len(subsets)),
                Fraction(sum(not any(s) for s in subsets), len(subsets)),
            )
            assert dead_frac(correct, samples, k) == tuple(map(float, dead))


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n), st.integers(1, n))))
def test_more_tries_and_more_right_answers_never_hurt(case: tuple[int, int, int]) -> None:
    correct, samples, k = case
    assert pass_at(correct, samples, k) >= pass_at(correct, samples, 1) >= 0
    assert pass_at(min(samples, correct + 1), samples, k) >= pass_at(correct, samples, k)
    assert pass_at(correct, samples, k) + dead_frac(correct, samples, k)[1] == pytest.approx(1.0)


def test_pass_at_k_is_unbiased() -> None:
    """With p = 0.3 right, the mean over all outcomes of 6 answers is 1 - 0.7^3 for k = 3."""
    chances = [math.comb(6, c) * 0.3**c * 0.7 ** (6 - c) for c in range(7)]
    mean = math.fsum(chance * pass_at(c, 6, 3) for c, chance in enumerate(chances))
    assert mean == pytest.approx(1 - 0.7**3, abs=1e-12)


def test_many_samples_stay_exact_and_fast() -> None:
    """Where a product of floats would under- or overflow: C(1024, 512) has 307 digits."""
    assert pass_at(1, 1024, 512) == 0.5
    assert dead_frac(1023, 1024, 512) == (0.5, 0.0)
    answers = [str(number % 40) for number in range(280)]
    started = time.perf_counter()
    found = maj_at(answers, [len(answer) == 1 for answer in answers], 64)
    assert found == 0.25  # of forty texts, all as frequent, ten are right
    assert maj_at(["A"] * 256 + [str(n) for n in range(256)], [True] * 256 + [False] * 256, 256) > 0.999999
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize("k", [0, 5, -1])
def test_more_tries_than_samples_are_refused(k: int) -> None:
    for call in (lambda: pass_at(1, 4, k), lambda: dead_frac(1, 4, k), lambda: maj_at(["A"] * 4, [True] * 4, k)):
        with pytest.raises(ValueError, match="number of samples"):
            call()


def test_what_can_not_be_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be right"):
        pass_at(5, 4, 1)
    with pytest.raises(ValueError, match="judgements"):
        maj_at(["A"], [True, False], 1)


def test_one_vote_is_the_mean_of_right() -> None:
    answers = ["A", "B", None, "A", "C"]
    right = [True, False, False, True, False]
    assert maj_at(answers, right, 1) == pytest.approx(statistics.fmean(right))
