"""What a reward model learns from: comparisons of completions, and a reservoir of those of earlier rounds.

Shapes: a comparison is two lists of token ids as the classifier reads them, prompt and completion together.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch

from trainer.grpo.written import COMPLETION_IDS, COMPLETIONS, Written
from trainer.rewards.contract import text_of
from trainer.rewards.library.reward_model import Classifier
from trainer.rewards.pairing import Candidate, best_with_worst


class Comparison(NamedTuple):
    """Token ids of the same prompt with the better and with the worse completion."""

    better: list[int]
    worse: list[int]


def of_phase(written: Written, rule: str, ends: set[int], most: int, classifier: Classifier) -> Iterator[Comparison]:
    """Of every group its best with its worst, at most `most` of a group; none where the rule pays all the same.

    rule: the component whose values compare. ends: tokens of which one stands at the end of a completion that was not
    cut.
    """
    texts = [text_of(completion) for completion in written.generated[COMPLETIONS]]
    sampled = written.generated[COMPLETION_IDS]
    values = written.notes.components[rule]
    for rows in written.rows_of_groups():
        group = [Candidate(texts[row], values[row], sampled[row][-1] in ends, row) for row in rows]
        prompt = written.inputs[rows[0]]["prompt"]
        for pair in best_with_worst(group, most):
            found = Comparison(*(classifier.ids(prompt, one.text, sampled[one.row]) for one in pair))
            if found.better != found.worse:  # a text that is cut to max_length may have lost what told them apart
                yield found


class Reservoir:
    """At most `size` of all that were ever added, each of them equally likely: Vitter's algorithm R (ACM TOMS 11, 1985,
    page 39)."""

    def __init__(self, size: int, chance: random.Random) -> None:
        self.size, self.chance = size, chance
        self.items: list[Comparison] = []
        self.added = 0

    def add(self, item: Comparison) -> None:
        self.added += 1
        if len(self.items) < self.size:
            self.items.append(item)
        elif (place := self.chance.randrange(self.added)) < self.size:
            self.items[place] = item

    def drawn(self, new: int, share: float) -> list[Comparison]:
        """As many, each at most once, that they are `share` of them and `new` others; all where it has less."""
        return self.chance.sample(self.items, min(len(self.items), round(new * share / (1 - share))))


def packed(found: Sequence[Comparison]) -> dict[str, torch.Tensor]:
    """To be saved: all token ids one after the other, (sum of lengths,), and the lengths, (n, 2)."""
    ids = [token for each in found for part in each for token in part]
    lengths = [[len(part) for part in each] for each in found]
    return {"ids": torch.tensor(ids, dtype=torch.int32), "lengths": torch.tensor(lengths, dtype=torch.int32)}


def unpacked(stored: dict[str, Any]) -> list[Comparison]:
    ids, found, first = stored["ids"].tolist(), [], 0
    for better, worse in stored["lengths"].reshape(-1, 2).tolist():
        middle, end = first + better, first + better + worse
        found.append(Comparison(ids[first:middle], ids[middle:end]))
        first = end
    return found
