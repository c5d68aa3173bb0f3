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

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from trainer.data.dataset import prompt_ids
from trainer.errors import DataError, Problem
from trainer.rewards.gold_completion import GoldCompletion
from trainer.rewards.pairing import best_with_worst, distinct
from trainer.spec import Dpo, RewardModel, RunSpec
from trainer.stages.samples import Sampled
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
    most, least = spec.dpo.per_prompt, spec.dpo.min_difference
    found = [
        Pair(row.prompt_ids, best.ids, worst.ids)
        for row in sampled
        for best, worst in best_with_worst(row.completions, most, least)
    ]
    if not found:
        raise _no_pairs(sampled, spec.dpo)
    return found


def judgements(sampled: Sequence[Sampled], spec: RunSpec) -> list[Comparison] | list[Judged]:
    """What a judge learns from. Raises DataError where nothing was judged, or no two completions of a row differ in
    reward; of `pointwise` where all rewards are equal."""
    chosen = spec.reward_model
    if chosen.objective == "pairwise":
        found = [
            Comparison(*(row.prompt_ids + one.ids for one in pair))
            for row in sampled
            for pair in best_with_worst(row.completions, chosen.per_prompt, chosen.min_difference, True)
        ]
        if not found:
            raise _no_pairs(sampled, chosen)
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
