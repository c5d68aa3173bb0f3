"""What a judge is worth on rows it never saw: does it order completions as the rewards do?

Before training the starting policy answers each held-out row `generation.num_generations` times, and the rewards judge.
Before, during and after it the weights of the moment score these completions.

    ordered       share of the pairs of one row, whose rewards differ, that its scores order the same way; equal
                  scores count one half, so a judge that knows nothing has 0.5
    correlation   Spearman's, of scores and rewards of all completions
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch

from trainer.evaluate.held_out import HeldOut
from trainer.grpo.generation_guard import generation_mode
from trainer.rewards.library import side_model
from trainer.rewards.pairing import distinct
from trainer.run.records import AlertEvent, EvalEvent
from trainer.stages.samples import Sampled


@dataclass(frozen=True)
class Order:
    """ordered: None without a pair whose rewards differ. correlation: None where scores or rewards are all equal."""

    ordered: float | None
    correlation: float | None
    pairs: int


def order(rewards: Sequence[Sequence[float]], scores: Sequence[Sequence[float]], least: float = 0.0) -> Order:
    """rewards, scores: of each row, those of its completions. least: pairs that differ by no more are left out."""
    found = []
    for paid, said in zip(rewards, scores, strict=True):
        for one, other in combinations(range(len(paid)), 2):
            if abs(paid[one] - paid[other]) > least:
                better, worse = (one, other) if paid[one] > paid[other] else (other, one)
                found.append(0.5 if said[better] == said[worse] else float(said[better] > said[worse]))
    flat = [[value for row in rows for value in row] for rows in (rewards, scores)]
    return Order(statistics.fmean(found) if found else None, spearman(*flat), len(found))


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Pearson's correlation of the ranks, equal values having the mean of theirs."""
    if len(one) < 2:
        return None
    try:
        return statistics.correlation(_ranks(one), _ranks(other))
    except statistics.StatisticsError:  # one of them is constant
        return None


def _ranks(values: Sequence[float]) -> list[float]:
    places: dict[float, list[int]] = {}
    for place, value in enumerate(sorted(values)):
        places.setdefault(value, []).append(place)
    return [statistics.fmean(places[value]) for value in values]


def scores(model: Any, texts: Sequence[list[int]], pad: int, batch_size: int) -> list[float]:
    """(n,) what the judge says of each of n token lists, batch_size at once. Draws no random number."""
    values = [0.0] * len(texts)
    with generation_mode(model), torch.no_grad():
        for rows in side_model.by_length(texts, batch_size):
            batch = side_model.padded([texts[row] for row in rows], pad, str(model.device))
            said = model(**batch, use_cache=False).logits.float().reshape(len(rows)).tolist()
            for row, value in zip(rows, said, strict=True):
                values[row] = value
    return values


class HeldOutPairs(HeldOut):
    """`write` is put in by the worker: the samples of the held-out rows, from the file of the run or written now."""

    write: Callable[[], list[Sampled]]
    _order: tuple[int, Order] | None = None
    _silent = False

    def evaluate(self, at: str, step: int) -> None:
        if not self.rows:
            return
        started = time.perf_counter()
        sampled = self.write()
        found = self._measure(step, sampled)
        self.spans.drain()
        if found.ordered is None and not self._silent:
            self._silent = True
            self.events.emit(AlertEvent.of("warn", "held_out_no_pairs", rows=len(sampled), least=self._least))
        failed = sum(one.reward is None for row in sampled for one in row.completions)
        self.events.emit(
            EvalEvent(
                at=at,
                step=step,
                correct_frac=found.ordered,
                correlation=found.correlation,
                pairs=found.pairs,
                rows=len(sampled),
                seconds=time.perf_counter() - started,
                failed=failed or None,
            )
        )

    def _measure(self, step: int, sampled: Sequence[Sampled]) -> Order:
        """Of this step, from before where it was measured already."""
        if self._order is None or self._order[0] != step:
            judged = [[one for one in distinct(row.completions) if one.reward is not None] for row in sampled]
            texts = [row.prompt_ids + one.ids for row, some in zip(sampled, judged, strict=True) for one in some]
            with self.around():
                said = iter(scores(self.model, texts, self.tokenizer.pad_token_id or 0, self.spec.eval.batch_size))
            rewards = [[one.reward for one in some if one.reward is not None] for some in judged]
            found = order(rewards, [[next(said) for _ in some] for some in rewards], self._least)
            self._order = (step, found)
        return self._order[1]

    @property
    def _least(self) -> float:
        return self.spec.reward_model.min_difference
