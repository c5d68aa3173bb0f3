"""What each method learns from, as token ids.

    sft    every row's prompt with its gold answer
    rft    a row's right completions, equal texts once, at most rft.per_prompt                (arXiv 2308.01825)
    dpo    pairs of a row's completions: the best with the worst, the second best with the second worst, ...
           where their rewards differ                                                          (arXiv 2305.18290)
    reward_model   such pairs, or every judged completion with its reward                      (arXiv 2203.02155)

A completion that was cut never is an example of what is good where the model learns to write it: it would teach to go
on without an end. A judge learns what it is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from trainer.data.dataset import prompt_ids
from trainer.errors import DataError, Problem
from trainer.rewards.gold_completion import GoldCompletion
from trainer.spec import Dpo, RewardModel, RunSpec
from trainer.stages.samples import Sample, Sampled
from trainer.stages.tokens import completion_ids

IGNORE = -100
"""Label of a token without a loss."""


class Example(NamedTuple):
    """Token ids of a prompt and of what is to be written after it."""

    prompt: list[int]
    completion: list[int]

    def row(self) -> dict[str, Any]:
        """As TRL's SFTTrainer takes what is tokenised already."""
        labels = [IGNORE] * len(self.prompt) + self.completion
        return {"input_ids": self.prompt + self.completion, "labels": labels}


class Pair(NamedTuple):
    """Token ids of a prompt, and of two completions of which the first earned more."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    def row(self) -> dict[str, Any]:
        """As TRL's DPOTrainer has it after its own preparation."""
        return {"prompt_ids": self.prompt, "chosen_ids": self.chosen, "rejected_ids": self.rejected}


class Comparison(NamedTuple):
    """Token ids of two texts, each a prompt with a completion, of which the first earned more."""

    chosen: list[int]
    rejected: list[int]

    def row(self) -> dict[str, Any]:
        """As TRL's RewardTrainer has it after its own preparation."""
        return {"chosen_ids": self.chosen, "rejected_ids": self.rejected}


class Judged(NamedTuple):
    """Token ids of a prompt with a completion, and what that earned."""

    ids: list[int]
    reward: float

    def row(self) -> dict[str, Any]:
        """As trainer.stages.trainers.PointwiseCollator takes it."""
        return {"input_ids": self.ids, "reward": self.reward}


def golds(rows: Iterable[dict[str, Any]], tokenizer: Any, spec: RunSpec, ends: set[int]) -> list[Example]:
    """Raises DataError where no row has a gold answer, or one is longer than the longest completion."""
    kwargs, gold = spec.trl.get("chat_template_kwargs"), GoldCompletion(spec.reward)
    template = spec.sft.completion_template
    found = []
    for row in rows:
        text = gold.of(row) if template is None else template.format_map(gold.columns(row))
        if text is None:
            continue
        written = completion_ids(tokenizer, row["prompt"], text, ends, kwargs)
        if len(written) > spec.generation.max_completion_length:
            continue
        found.append(Example(prompt_ids(row["prompt"], tokenizer, kwargs), written))
    if not found:
        raise DataError(Problem("stages.no_golds", "sft.completion_template", template=spec.sft_template))
    return found


def right_ones(sampled: Sequence[Sampled], spec: RunSpec) -> list[Example]:
    """Raises DataError where no completion is right."""
    found = []
    for row in sampled:
        right = distinct(one for one in row.completions if one.correct and one.ended)
        found += [Example(row.prompt_ids, one.ids) for one in right[: spec.rft.per_prompt]]
    if not found:
        count = sum(len(row.completions) for row in sampled)
        raise DataError(Problem("stages.none_right", "run.method", count=count, rows=len(sampled)))
    return found


def pairs(sampled: Sequence[Sampled], spec: RunSpec) -> list[Pair]:
    """Raises DataError where no two completions of a row differ in reward."""
    found = [Pair(row.prompt_ids, *pair) for row in sampled for pair in _pairs_of(row, spec.dpo)]
    if not found:
        raise _no_pairs(sampled, spec.dpo)
    return found


def judgements(sampled: Sequence[Sampled], spec: RunSpec) -> list[Comparison] | list[Judged]:
    """What a judge learns from. Raises DataError where nothing was judged, or no two completions of a row differ in
    reward; of `pointwise` where all rewards are equal."""
    if spec.reward_model.objective == "pairwise":
        found = [
            Comparison(*(row.prompt_ids + ids for ids in pair))
            for row in sampled
            for pair in _pairs_of(row, spec.reward_model, cut_may_be_better=True)
        ]
        if not found:
            raise _no_pairs(sampled, spec.reward_model)
        return found
    judged = [
        Judged(row.prompt_ids + one.ids, one.reward)
        for row in sampled
        for one in distinct(row.completions)
        if one.reward is not None
    ]
    if len({one.reward for one in judged}) < 2:
        raise DataError(Problem("stages.one_reward", "run.method", rows=len(sampled), count=len(judged)))
    return judged


def _no_pairs(sampled: Sequence[Sampled], chosen: Dpo | RewardModel) -> DataError:
    return DataError(Problem("stages.no_pairs", "run.method", rows=len(sampled), least=chosen.min_difference))


def _pairs_of(
    row: Sampled, chosen: Dpo | RewardModel, cut_may_be_better: bool = False
) -> Iterator[tuple[list[int], list[int]]]:
    there = ((one.reward, one) for one in distinct(row.completions) if one.reward is not None)
    judged = sorted(there, key=lambda each: each[0], reverse=True)
    good = [each for each in judged if each[1].ended or cut_may_be_better]
    for (high, best), (low, worst) in list(zip(good, reversed(judged), strict=False))[: chosen.per_prompt]:
        if high - low > chosen.min_difference:
            yield best.ids, worst.ids


def distinct(completions: Iterable[Sample]) -> list[Sample]:
    """The first of each text: one that has ended before one that was cut, a judged one before an unjudged."""
    found: dict[str, Sample] = {}
    for one in completions:
        if one.text not in found or _use(one) > _use(found[one.text]):
            found[one.text] = one
    return list(found.values())


def _use(one: Sample) -> tuple[bool, bool]:
    return one.reward is not None, one.ended
