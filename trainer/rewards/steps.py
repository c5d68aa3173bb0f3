"""Steps of a completion and what each is worth: process supervision (DeepSeekMath, arXiv:2402.03300, section 4.1.3).

    split                text -> steps
    normalised           reward of each step -> (r - mean(R)) / std(R), R the rewards of all steps of the group
    advantages_of_steps  -> for each step the sum over it and the steps after it; every token of it has that advantage

    P  prompts of a generation batch      G  completions of a prompt (num_generations); row p * G + g is the g-th of p
    S  steps of a completion, another number in every row, so rows are lists and no tensors

Imports `regex` (for its time limit) where a rule is a regular expression, else no library.
"""

from __future__ import annotations

import itertools
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Literal

SPLIT_S = 1.0
"""Seconds a text may take to be split by a regular expression of the user."""
ZERO_SPREAD = 1e-6
"""Rewards are float32 sums: a spread below this share of their size is rounding, not signal."""
EPSILON = 1e-4
"""Added to the standard deviation, as TRL 1.14.2 does for rewards of completions."""

_LABEL = r"(?:step[ \t]*\d+|단계[ \t]*\d+|\d+[ \t]*단계)"
# "Step 2:", "**단계 2:**", "2단계:" with a colon (also the full-width one); "### Step 2" without.
_MARKER = re.compile(rf"^[ \t]*(?:#+[ \t]*\**{_LABEL}\b|\**{_LABEL}\**[ \t]*[:\uff1a])", re.IGNORECASE | re.MULTILINE)

StepRewards = Sequence[Sequence[float | None]]
"""Of each completion, group after group, the reward of each of its steps; None for one without."""


def split(text: str, rule: str) -> list[str]:
    """The steps of a text: at least one, and joined they are the text.

    rule: "line": a step ends with a line break. "step": a step begins where a line begins with "Step 2:", "2단계:",
    "단계 2:" or "### Step 2"; text before the first of them belongs to the first step. Else a regular expression: what
    it matches ends a step and belongs to it; a text that takes it longer than SPLIT_S seconds is one step.

    White space alone is no step: it belongs to the step before, at the beginning to the first one.
    Raises `regex.error` when the rule is no regular expression.
    """
    if rule == "line":
        cuts = [found.end() for found in re.finditer("\n", text)]
    elif rule == "step":
        cuts = [found.start() for found in _MARKER.finditer(text)][1:]
    else:
        cuts = _ends(text, rule)
    places = sorted({0, *cuts, len(text)})
    return list(_joined(text[a:b] for a, b in itertools.pairwise(places))) or [text]


def _ends(text: str, rule: str) -> list[int]:
    """Where the matches of the user's expression end; nowhere when it takes too long."""
    import regex  # type: ignore[import-untyped]

    pattern, ends, deadline = regex.compile(rule), [], time.monotonic() + SPLIT_S
    try:
        for found in pattern.finditer(text, timeout=SPLIT_S):
            ends.append(found.end())
            if time.monotonic() > deadline:
                return []
    except TimeoutError:
        return []
    return ends


def _joined(pieces: Iterator[str]) -> Iterator[str]:
    """The pieces with those of white space alone put to the one before; leading ones to the one after."""
    held = ""
    for piece in pieces:
        if held.strip() and piece.strip():
            yield held
            held = ""
        held += piece
    if held:
        yield held


def has_spread(values: Sequence[float]) -> bool:
    """Do these rewards (n,) differ by more than rounding? Only then do they teach anything."""
    return len(values) > 1 and statistics.stdev(values) > ZERO_SPREAD * max(1.0, *map(abs, values))


def normalised(
    step_rewards: StepRewards, group_size: int, scale: Literal["group", "batch", "none"]
) -> list[list[float]]:
    """The rewards of all steps of a group less their mean, divided by their standard deviation (with n - 1, as
    torch.std): DeepSeekMath section 4.1.3, where R holds the rewards of all steps of all G completions of a question.

    step_rewards: (P*G, S), group after group; so is what is returned. scale: as TRL's `scale_rewards`, what is divided
    by: the deviation of the group's steps, of all steps, or nothing (Dr. GRPO, arXiv:2503.20783). Steps without a
    reward count for nothing and become 0, and so does every step of a group without spread.
    """
    everything = _known(step_rewards)
    of_batch = statistics.stdev(everything) if len(everything) > 1 else 0.0
    rows: list[list[float]] = []
    for first in range(0, len(step_rewards), group_size):
        group = step_rewards[first : first + group_size]
        known = _known(group)
        # Without this, rounding of equal rewards divided by EPSILON would be an advantage.
        if not has_spread(known):
            rows += [[0.0] * len(row) for row in group]
            continue
        mean, divisor = statistics.fmean(known), 1.0
        if scale != "none":
            # Without the mean of the batch, as in TRL: only what is divided by may be the batch's, never the baseline.
            divisor = EPSILON + (of_batch if scale == "batch" else statistics.stdev(known))
        rows += [[0.0 if reward is None else (reward - mean) / divisor for reward in row] for row in group]
    return rows


def _known(rows: StepRewards) -> list[float]:
    return [reward for row in rows for reward in row if reward is not None]


def advantages_of_steps(rewards: Sequence[Sequence[float]]) -> list[list[float]]:
    """(P*G, S) -> (P*G, S): of each step the sum of the normalised rewards from it to the last. What follows from a
    step is to its credit; what came before it is not (DeepSeekMath, section 4.1.3: A_i,t sums over steps that end at
    or after token t).
    """
    # A running sum from the end: for the rewards 1, -2, 3 of three steps 2, 1, 3.
    return [list(itertools.accumulate(reversed(row)))[::-1] for row in rewards]
