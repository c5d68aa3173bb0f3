"""pass@k, maj@k and the share of groups without spread, from n sampled answers to every held-out row.

Sampled at the temperature of the training, so that the predicted dead groups are those a training step would meet.
All random numbers come from a generator state of its own that is put back: the run is the same with and without it.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from trainer.evaluate.answering import Interrupted, Scored, answer, score
from trainer.evaluate.pass_at import dead_frac, maj_at, pass_at
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.run.records import SampledScores
from trainer.spec import Generation
from trainer.text import Message


@dataclass(frozen=True)
class Sampled:
    """Means over the rows, each 0..1. pass_at, maj_at: {k as text: value}, as JSON has it.

    all_right_frac, all_wrong_frac: share of groups of `group` completions in which no spread, hence no gradient, is to
    be expected. rows: those in which a sample could be judged; in them an unjudged sample counts as wrong.
    failed: samples of all rows that a component could not judge, failure: why the first of them.
    """

    pass_at: dict[str, float]
    maj_at: dict[str, float]
    all_right_frac: float
    all_wrong_frac: float
    rows: int
    samples: int
    group: int
    failed: int = 0
    failure: Message | None = None

    def record(self) -> SampledScores:
        """What the event `eval` says."""
        said = {name: value for name, value in asdict(self).items() if name not in ("failed", "failure")}
        return SampledScores(**said, failed=self.failed or None)


def seed_at(seed: int, step: int) -> int:
    """Seed of the samples after a step: the same for the same run and step, another for every other."""
    return int.from_bytes(hashlib.sha256(f"pass@k {seed} {step}".encode()).digest()[:8], "big") >> 1


@contextmanager
def seeded(model: Any, seed: int) -> Iterator[None]:
    """The body draws from this seed, and what comes afterwards as if it had not been."""
    # manual_seed seeds every GPU, so every GPU's state must be put back.
    devices = range(torch.cuda.device_count()) if torch.device(model.device).type == "cuda" else ()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def sample(
    model: Any,
    tokenizer: Any,
    rows: Sequence[dict[str, Any]],
    wrapper: ComponentRewardWrapper,
    *,
    samples: int,
    ks: Sequence[int],
    group: int,
    generation: Generation,
    generation_kwargs: dict[str, Any] | None = None,
    batch_size: int,
    reward_batch_size: int,
    seed: int,
    chat_template_kwargs: dict[str, Any] | None = None,
    interrupted: Interrupted = lambda: False,
) -> Sampled | None:
    """Sample `samples` answers to every row, `batch_size` answers at once, and judge them by the run's `correct`.

    generation_kwargs: TRL's argument of that name. reward_batch_size: see trainer.evaluate.answering.score. seed: see
    seed_at. None when `interrupted` between two batches, or when no row could be judged. Raises ValueError when a k or
    the group is larger than `samples`.
    """
    if samples < max([group, *ks]):
        raise ValueError(f"{samples} samples a row are too few for k {list(ks)} and groups of {group}")
    repeated = [row for row in rows for _ in range(samples)]
    with seeded(model, seed):
        answers = answer(
            model,
            tokenizer,
            [row["prompt"] for row in repeated],
            decoding(generation) | (generation_kwargs or {}),
            batch_size=batch_size,
            chat_template_kwargs=chat_template_kwargs,
            interrupted=interrupted,
        )
        if answers is None:
            return None
        scored = score(wrapper, repeated, answers, batch_size=reward_batch_size, interrupted=interrupted)
    if scored is None:
        return None
    return _means([wrapper.answer_of(text) for text in answers.texts], scored, samples, ks, group)


def decoding(generation: Generation) -> dict[str, Any]:
    """Arguments of generate as TRL's trainer gives them (TRL 1.14.2, grpo_trainer.py `generation_kwargs`)."""
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    chosen = {name: getattr(generation, name) for name in names}
    return {"do_sample": True, "max_new_tokens": generation.max_completion_length, **chosen}


def _means(votes: Sequence[str | None], scored: Scored, samples: int, ks: Sequence[int], group: int) -> Sampled | None:
    judged = []
    for start in range(0, len(votes), samples):
        flags = scored.correct[start : start + samples]
        if any(flag is not None for flag in flags):
            judged.append((votes[start : start + samples], [flag is True for flag in flags]))
    if not judged:
        return None
    dead = [dead_frac(sum(right), samples, group) for _, right in judged]
    return Sampled(
        pass_at={str(k): statistics.fmean(pass_at(sum(right), samples, k) for _, right in judged) for k in ks},
        maj_at={str(k): statistics.fmean(maj_at(said, right, k) for said, right in judged) for k in ks},
        all_right_frac=statistics.fmean(right for right, _ in dead),
        all_wrong_frac=statistics.fmean(wrong for _, wrong in dead),
        rows=len(judged),
        samples=samples,
        group=group,
        failed=scored.failed,
        failure=scored.first_failure,
    )
