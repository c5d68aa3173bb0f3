"""What n sampled answers to a question say about k of them: pass@k, maj@k, and groups without spread.

Every figure is an exact mean over all subsets of the n answers, counted and not drawn: no seed, no error beyond that of
the n answers themselves. Standard library only.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction


def pass_at(correct: int, samples: int, k: int) -> float:
    """Share of the k-subsets of `samples` answers with at least one of the `correct` right ones: 1 - C(n-c,k)/C(n,k).

    The unbiased estimate of Chen et al. 2021 (arXiv 2107.03374), equation 1. Computed in whole numbers and divided
    once: right to the last bit for every n. Raises ValueError unless 1 <= k <= samples and 0 <= correct <= samples.
    """
    _check(correct, samples, k)
    every = math.comb(samples, k)
    return (every - math.comb(samples - correct, k)) / every


def dead_frac(correct: int, samples: int, group: int) -> tuple[float, float]:
    """(all right, all wrong): share of the groups of that size, drawn without replacement, that have no spread.

    Unbiased for a group sampled afresh. GRPO learns nothing from such a group. Raises ValueError as pass_at does.
    """
    _check(correct, samples, group)
    every = math.comb(samples, group)
    return math.comb(correct, group) / every, math.comb(samples - correct, group) / every


def maj_at(answers: Sequence[str | None], right: Sequence[bool], k: int) -> float:
    """Mean over all k-subsets of the answers of whether their majority vote is right.

    Equal texts vote together; None votes for nobody, and a subset of nothing else is wrong. A tie is broken by lot:
    its credit is the share of the tied answers that are right. Where a text was judged right in one completion and
    wrong in another, it is right to that share. Raises ValueError for k outside 1..n or lists of different length.
    """
    if len(answers) != len(right):
        raise ValueError(f"{len(answers)} answers, {len(right)} judgements")
    _check(sum(right), len(answers), k)
    votes: dict[str, list[bool]] = defaultdict(list)
    for answer, judged in zip(answers, right, strict=True):
        if answer is not None:
            votes[answer].append(judged)
    unit = math.lcm(*(len(judged) for judged in votes.values()))  # makes every class's share of right a whole number
    classes = [(len(judged), unit * sum(judged) // len(judged)) for judged in votes.values()]
    largest = min(k, max((size for size, _ in classes), default=0))
    won = sum((_won_with(top, classes, len(answers), k) for top in range(1, largest + 1)), Fraction())
    return float(won / (math.comb(len(answers), k) * unit))


def _won_with(top: int, classes: Sequence[tuple[int, int]], samples: int, k: int) -> Fraction:
    """Credit of the k-subsets whose winners have exactly `top` votes.

    classes: (size, credit). A class smaller than `top` cannot win, so all of those, and the answers that vote for
    nobody, are chosen from together.
    """
    able = [(size, credit) for size, credit in classes if size >= top]
    rest = samples - sum(size for size, _ in able)
    # {(answers chosen, winners): (subsets, sum of the winners' credits over those subsets)}
    counts = {(chosen, 0): (math.comb(rest, chosen), 0) for chosen in range(min(rest, k) + 1)}
    for place, (size, credit) in enumerate(able, 1):
        ways = [math.comb(size, taken) for taken in range(top + 1)]
        later = top * (len(able) - place)  # what the classes after this one can still add
        grown: dict[tuple[int, int], tuple[int, int]] = defaultdict(lambda: (0, 0))
        for (chosen, winners), (subsets, credits) in counts.items():
            for taken in range(max(0, k - chosen - later), min(top, k - chosen) + 1):
                wins = taken == top
                known = grown[chosen + taken, winners + wins]
                gained = credits + subsets * credit if wins else credits
                grown[chosen + taken, winners + wins] = (
                    known[0] + ways[taken] * subsets,
                    known[1] + ways[taken] * gained,
                )
        counts = grown
    whole = ((winners, credits) for (chosen, winners), (_, credits) in counts.items() if chosen == k and winners)
    return sum((Fraction(credits, winners) for winners, credits in whole), Fraction())


def _check(correct: int, samples: int, k: int) -> None:
    if not 1 <= k <= samples:
        raise ValueError(f"k is {k}, and must be 1 to {samples}, the number of samples")
    if not 0 <= correct <= samples:
        raise ValueError(f"{correct} of {samples} samples cannot be right")
