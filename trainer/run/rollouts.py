"""Rollouts as groups: one prompt, its G completions, the reward of each and why.

Legend: P prompts of a generation batch, G completions a prompt, rows are P*G long and ordered group by group. Where
groups have several sizes, G is their mean; `thrown` are groups that were written and are not trained on.
`group_std` is the spread inside the groups, which makes the gradient; `batch_std` the spread of the whole batch. TRL's
`reward_std` has meant either in different versions, so neither is derived from it. Standard deviations are those of
the sample (n - 1), as in TRL's nanstd.

A group's spread, which decides what it taught, is with process supervision that of the rewards of its steps, where
turns are compared that of any turn, with plans that of the plans or of what was made of any one of them, and with
normalize_then_sum that of any component; means and standard deviations
stay those of whole completions.

No third-party package.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from trainer.machine.regular_files import open_to_write
from trainer.rewards.steps import has_spread
from trainer.run.groups import DEAD
from trainer.text import Message

# A policy that has collapsed writes one text, and earns less by it than it did before.
SAME_TEXT = 0.9  # share of a group that is one text
FELL = 0.2  # of what it earned


@dataclass(frozen=True)
class Step:
    """One step of a completion."""

    text_end: int  # characters of the completion up to its end
    tokens: int  # tokens of the completion up to its end, the one with its last character included
    reward: float | None  # weighted total; None when no component could say
    advantage: float  # of each of its tokens


@dataclass(frozen=True)
class Turn:
    """One message of the model in an episode. reward: None where turns are not paid one by one."""

    said: str  # beside its calls
    calls: Sequence[tuple[str, str | None]]  # (call, what was answered); None where it was not
    tokens: int  # of the completion up to its end, answers of the tools before it included
    reward: float | None
    advantage: float  # of each of its tokens
    thought: str = ""  # before what it said, where the chat template marks it


@dataclass(frozen=True)
class Plan:
    """The beginning of a completion that others of its group share: a plan, and behind it one way to carry it out."""

    number: int  # which plan of its group, from 0
    text_end: int  # characters of the completion up to its end
    tokens: int  # of the completion up to its end
    reward: float | None  # the mean of those that carry it out; None when none of them has one
    advantage: float  # of each of its tokens
    rest_advantage: float  # of each token behind it


@dataclass(frozen=True)
class Batch:
    """One generation batch, row by row (P*G rows, group after group)."""

    prompts: Sequence[Any]  # text, or a list of chat messages
    completions: Sequence[str]
    prompt_tokens: Sequence[int]
    completion_tokens: Sequence[int]
    truncated: Sequence[bool]
    components: Mapping[str, Sequence[float | None]]  # of each, scaled and clipped, 0 if unpaid, before its weight
    rewards: Sequence[float | None]  # weighted total; None when no component could say
    advantages: Sequence[float]  # with process supervision the mean over the completion's tokens
    correct: Sequence[bool | None]  # did the row reach reward.correct_at; None when that component said nothing
    columns: Sequence[dict[str, Any]]  # the dataset row without its prompt
    failures: Sequence[Mapping[str, Message]] = ()  # of each row {component: why it could not be judged}, or ()
    steps: Sequence[Sequence[Step]] = ()  # of each row; () without process supervision
    unpaid: Sequence[Mapping[str, float]] = ()  # of each row {component: its value, where only_if let it count 0}
    objectives: Sequence[Sequence[float | None]] = ()  # of each component that is normalised by itself its rows
    seen: Sequence[str] = ()  # of each group the prompt as the model had it: its tokens as text, special ones too
    sizes: Sequence[int] = ()  # completions of each group; () where all have num_generations
    trained: Sequence[bool] = ()  # of each row, is it trained on; () where all are
    without_baseline: bool = False  # a group teaches where any completion is right, whatever the others are
    turns: Sequence[Sequence[Turn]] = ()  # of each row; () without episodes
    plans: Sequence[Plan] = ()  # of each row; () without plans
    again: Sequence[float] = ()  # advantages of rows of earlier batches that are trained on once more


@dataclass(frozen=True)
class Outcome:
    """What a group's rewards teach. kind: one of trainer.run.groups.OUTCOMES."""

    mean: float | None
    std: float
    kind: str


def outcome(
    rewards: Sequence[float | None],
    correct: Sequence[bool | None],
    parts: Sequence[Sequence[float | None]] = (),
) -> Outcome:
    """Judge one group of G rewards. parts: what is compared in their place, where that is not the rewards: those of all
    steps, or each component by itself."""
    scored = [reward for reward in rewards if reward is not None]
    mean = statistics.fmean(scored) if scored else None
    std = statistics.stdev(scored) if len(scored) > 1 else 0.0
    if any(has_spread([value for value in part if value is not None]) for part in parts or [scored]):
        return Outcome(mean, std, "spread")
    judged = [flag for flag in correct if flag is not None]
    if judged and len(set(judged)) == 1:
        return Outcome(mean, std, "all_right" if judged[0] else "all_wrong")
    return Outcome(mean, std, "constant")


def groups(batch: Batch, num_generations: int, first_id: int = 0) -> list[dict[str, Any]]:
    """The lines of the rollout file: one JSON object a group, whole completions included."""
    lines = []
    sizes = batch.sizes or [num_generations] * (len(batch.rewards) // num_generations)
    for number, end in enumerate(accumulate(sizes)):
        start = end - sizes[number]
        rows = range(start, end)
        parts = [[column[i] for i in rows] for column in batch.objectives]
        if batch.steps:
            parts = [[step.reward for i in rows for step in batch.steps[i]]]
        if batch.turns and batch.turns[start] and batch.turns[start][0].reward is not None:
            longest = max(len(batch.turns[i]) for i in rows)
            parts = [[batch.turns[i][n].reward for i in rows if n < len(batch.turns[i])] for n in range(longest)]
        if batch.plans:
            own = [batch.plans[i] for i in rows]
            numbers = sorted({plan.number for plan in own})
            parts = [[next(plan.reward for plan in own if plan.number == n) for n in numbers]]
            parts += [[batch.rewards[i] for i in rows if batch.plans[i].number == n] for n in numbers]
        if batch.without_baseline:
            parts = [[0.0, *(1.0 if batch.correct[i] else 0.0 for i in rows)]]
        judged = outcome([batch.rewards[i] for i in rows], [batch.correct[i] for i in rows], parts)
        lines.append(
            {
                "group": first_id + number,
                "prompt": batch.prompts[start],
                **({"seen": batch.seen[number]} if batch.seen else {}),
                "columns": batch.columns[start],
                "prompt_tokens": batch.prompt_tokens[start],
                "reward_mean": judged.mean,
                "group_std": judged.std,
                "outcome": judged.kind,
                **({} if not batch.trained or any(batch.trained[i] for i in rows) else {"thrown": True}),
                "completions": [_completion(batch, i) for i in rows],
            }
        )
    return lines


def _completion(batch: Batch, row: int) -> dict[str, Any]:
    line = {
        "text": batch.completions[row],
        "tokens": batch.completion_tokens[row],
        "truncated": batch.truncated[row],
        "components": {name: values[row] for name, values in batch.components.items()},
        "reward": batch.rewards[row],
        "advantage": batch.advantages[row],
        "correct": batch.correct[row],
    }
    if batch.failures and batch.failures[row]:
        line["failed"] = {name: str(why) for name, why in batch.failures[row].items()}  # in English
    if batch.unpaid and batch.unpaid[row]:
        line["unpaid"] = dict(batch.unpaid[row])
    if batch.steps:
        line["steps"] = [asdict(step) for step in batch.steps[row]]
    if batch.turns:
        line["turns"] = [asdict(turn) for turn in batch.turns[row]]
    if batch.plans:
        line["plan"] = asdict(batch.plans[row])
    return line


def write(path: Path, step: int, lines: Sequence[dict[str, Any]], *, more: bool) -> None:
    """Write the lines of `groups` to a step's file, which trainer.run.groups reads.

    more: a further generation batch of the same step. Else the file is replaced: a resumed run makes a step again.
    """
    text = "".join(json.dumps({"step": step, **line}, ensure_ascii=False, default=str) + "\n" for line in lines)
    path.parent.mkdir(parents=True, exist_ok=True)  # somebody may have deleted it to make room
    with open_to_write(path, append=more) as out:
        out.write(text.encode("utf-8", "replace"))


def group_stats(lines: Sequence[dict[str, Any]]) -> dict[str, float]:
    """What the step event says of the groups; shares are of all groups of the step.

    group_std: mean over groups of the spread inside. batch_std: spread over all completions. same_text_frac: mean over
    groups of the share that its most common text has.
    """
    kinds = [line["outcome"] for line in lines]
    completions = [completion for line in lines for completion in line["completions"]]
    rewards = [completion["reward"] for completion in completions if completion["reward"] is not None]
    share = {kind: kinds.count(kind) / len(kinds) for kind in DEAD}
    return {
        "count": len(lines),
        "dead_frac": sum(share.values()),
        "all_right_frac": share["all_right"],
        "all_wrong_frac": share["all_wrong"],
        "constant_frac": share["constant"],
        "group_std": statistics.fmean(line["group_std"] for line in lines),
        "batch_std": statistics.stdev(rewards) if len(rewards) > 1 else 0.0,
        "truncated_frac": statistics.fmean(completion["truncated"] for completion in completions),
        "same_text_frac": statistics.fmean(same_text(line) for line in lines),
    }


def advantage_stats(lines: Sequence[dict[str, Any]], again: Sequence[float] = ()) -> dict[str, float]:
    """Mean and standard deviation of the advantages of the completions a step trains on, under names as TRL gives them.

    again: those of completions that were written in earlier steps.

    The mean is 0 by construction: an advantage is a reward less the mean of its group, and 0 for a row without a
    reward. Only with process supervision it is another: an early token also counts the steps after its own.
    """
    kept = [line for line in lines if not line.get("thrown")]
    values = [completion["advantage"] for line in kept for completion in line["completions"]] + [*again]
    mean = round(statistics.fmean(values), 6) + 0.0  # what float32 leaves is no mean, and -0 no number to read
    return {"train/advantage_mean": mean, "train/advantage_std": statistics.stdev(values) if len(values) > 1 else 0.0}


def same_text(line: dict[str, Any]) -> float:
    """Share of a group's completions that are its most common text: 1 when all are the same."""
    texts = Counter(completion["text"] for completion in line["completions"])
    return max(texts.values()) / texts.total()


def finite_or_none(values: Sequence[float]) -> list[float | None]:
    """TRL marks "no reward" by NaN; JSON has null."""
    return [value if math.isfinite(value) else None for value in values]
