"""Runs that never happened, with everything a real one writes: prompts of known difficulty, a skill that grows, rewards
that follow from both, times from lengths. Deterministic by seed. For tests of the rules and for benchmarks.

`change(step, today)` alters what a step is made of: that is how a test gives a run the one fault it looks for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from trainer import plan as planning
from trainer.run.rollouts import Batch, advantage_stats, group_stats, groups
from trainer.run.rundir import RunDir
from trainer.spec import RunSpec
from trainer.text import Message

PROFILED = "profiling/Time taken: CustomGRPOTrainer."
Event = dict[str, Any]

SPEC: dict[str, Any] = {
    "title": "Synthetic",
    "model": {"name": "Qwen/Qwen3-4B", "engine": "transformers", "device": "cuda", "dtype": "bfloat16"},
    "data": {"path": "rows.jsonl", "max_prompt_length": 256, "eval_fraction": 0.1},
    "reward": {
        "components": [
            {"function": "exact_match", "name": "correct"},
            {"function": "format_regex", "name": "format", "weight": 0.5, "params": {"pattern": ".*"}},
        ]
    },
    "generation": {"num_generations": 8, "max_completion_length": 512},
    "grpo": {"beta": 0.04, "scale_rewards": "group"},
    "optim": {"per_device_train_batch_size": 32, "learning_rate": 1e-6},
}


@dataclass
class Today:
    """What a step is made of. A healthy one as it stands."""

    skill: float  # logit of being right at a prompt of difficulty 0
    prompts: list[int]  # numbers of the prompts asked
    noise: float = 1.0  # of the difficulty between completions of a group; 0 pays all of them the same
    format: float = 0.9  # share of completions in the right form
    length: float = 200.0  # tokens
    limit: int = 512
    kl: float = 0.02
    entropy: float = 0.5
    grad: float = 0.4
    clip: float = 0.0
    token_s: float = 0.02  # seconds a token of the longest completion
    grows: float = 0.0  # power of the context that seconds a token grow with
    rewards_s: float = 0.3
    other_s: float = 0.0  # seconds in which something else used the machine
    used_gib: float = 21.0
    failed: float = 0.0  # share of completions that could not be judged
    loss: float | None = None


Change = Callable[[int, Today], None]


@dataclass
class Made:
    """A run and what it was made of."""

    rundir: RunDir
    events: list[Event] = field(default_factory=list)


def make_run(
    outputs: Path,
    name: str = "synthetic-1",
    *,
    seed: int = 0,
    steps: int = 200,
    rows: int = 128,
    change: Change = lambda step, today: None,
    spec: dict[str, dict[str, Any]] | None = None,
    evals: Sequence[tuple[int, float]] | None = None,
    end: str | None = "run_finished",
    gpu: str = "NVIDIA GeForce RTX 4090",
    rollouts_every: int = 1,
    skill: tuple[float, float] = (-0.5, 1.2),
) -> Made:
    """evals: (step, share right); None: healthy ones before and after. end: the last event; None leaves it out.

    skill: logit at the first and the last step of a healthy run.
    """
    chosen = RunSpec.model_validate_json(json.dumps(_merged(SPEC, spec or {})))
    plan = planning.make(chosen, rows, gpu_total_gib=24.0, gpu_name=gpu)
    rundir = RunDir.create(outputs, name, chosen, plan, {"packages": {}, "ram_gib": 64.0})
    random = np.random.default_rng(seed)
    maker = _Maker(chosen, plan, random, rows, steps, skill)
    planned = plan.model_dump(mode="json") | {"optimizer_steps": steps}
    events: list[Event] = [
        {"kind": "run_started", "resumed_from_step": 0, "resumed_from": None, "skipped": []},
        {"kind": "plan", "plan": planned, "engine": "transformers", "device": "cuda", "dtype": "bfloat16",
         "trainer_class": "CustomGRPOTrainer", "data": {"rows": rows, "eval_rows": 200, "held_out_fingerprint": "h"}},
    ]  # fmt: skip
    healthy = [(0, 0.40), (steps, 0.70)]
    scores = dict(healthy if evals is None else evals)
    for step in range(steps + 1):
        if step:
            events += maker.step(step, change, rundir if step % rollouts_every == 0 else None)
        if step in scores:
            at = "before" if step == 0 else "after" if step == steps else "during"
            right = scores[step]
            spread = math.sqrt(right * (1 - right))
            events.append({"kind": "eval", "at": at, "step": step, "reward": right + 0.45, "correct_frac": right,
                           "rows": 200, "reward_std": spread, "components": {"correct": right}})  # fmt: skip
    if end:
        events.append({"kind": end, "step": steps, "seconds": 1.0, "peak_memory_gib": 22.0, "tokens": maker.tokens})
    write(rundir, events)
    return Made(rundir, events)


def write(rundir: RunDir, events: Sequence[Event]) -> None:
    lines = (json.dumps({"t": 1000.0 + 2 * n, "attempt": 1} | event) for n, event in enumerate(events))
    rundir.events.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _merged(base: dict[str, Any], more: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return base | {section: base.get(section, {}) | values for section, values in more.items()}


class LongRun:
    """A run of any length in seconds: PATTERN steps are made, and said again and again as those that follow.

    `add` appends steps to the log, as a worker would; every `rollouts_every`th has its rollout file.
    """

    PATTERN = 200

    def __init__(self, outputs: Path, name: str = "long-1", *, steps: int = 100_000, rollouts_every: int = 100) -> None:
        """steps: that are planned. The log holds what comes before the first."""
        made = make_run(outputs, name, steps=self.PATTERN, rows=4096, end=None)
        self.rundir, self.planned, self.every = made.rundir, steps, rollouts_every
        self.steps = 0
        self._said: list[list[Event]] = [[] for _ in range(self.PATTERN)]
        place = 0
        for event in made.events:
            if event["kind"] == "heartbeat":  # the first event of a step
                place = event["step"]
            if event["kind"] in ("heartbeat", "gpu", "step", "span"):
                self._said[place].append(event)
        files = [made.rundir.rollouts_file(step) for step in range(1, self.PATTERN + 1)]
        self._completions = [file.read_text(encoding="utf-8") for file in files]
        for file in files:
            file.unlink()
        before = made.events[: made.events.index(self._said[0][0])]
        write(made.rundir, before)
        self._t = 1000.0 + 2 * len(before)

    def add(self, steps: int) -> None:
        """Append the next `steps` steps."""
        with self.rundir.events.open("ab") as log:
            log.writelines(self.next() for _ in range(steps))

    def next(self) -> bytes:
        """The lines of the next step, which are not in the log yet; its rollout file is there."""
        self.steps += 1
        return b"".join(map(self._line, self._events(self.steps)))

    def _events(self, step: int) -> Iterator[Event]:
        place = (step - 1) % self.PATTERN
        for event in self._said[place]:
            if event["kind"] == "step":
                yield event | {"step": step, "of": self.planned, "tokens": 9000 * step, "epoch": step / 1024}
            elif "step" in event:
                yield event | {"step": step - (event["kind"] == "heartbeat")}
            else:
                yield event
        if step % self.every == 0:
            file = self.rundir.rollouts_file(step)
            text = self._completions[place].replace(f'{{"step": {place + 1},', f'{{"step": {step},')
            file.write_text(text, encoding="utf-8")
            yield {"kind": "rollouts", "step": step, "file": file.name, "groups": 4, "completions": 32}

    def _line(self, event: Event) -> bytes:
        self._t += 0.5
        return msgspec.json.encode({"t": self._t, "attempt": 1} | event) + b"\n"


class _Maker:
    """Makes one step after the other."""

    def __init__(
        self, spec: RunSpec, plan: Any, random: np.random.Generator, rows: int, steps: int, skill: tuple[float, float]
    ) -> None:
        self.spec, self.plan, self.random, self.steps, self.skill = spec, plan, random, steps, skill
        self.group = spec.generation.num_generations
        self.each = max(1, plan.completions_per_update // self.group)
        self.difficulty = random.normal(size=rows)
        self.order = random.permutation(rows)
        self.tokens = 0

    def step(self, step: int, change: Change, rundir: RunDir | None) -> list[Event]:
        share = (step - 1) / max(1, self.steps - 1)
        # Quick at first, slower later, as learning is.
        skill = self.skill[0] + (self.skill[1] - self.skill[0]) * (1 - math.exp(-3 * share)) / (1 - math.exp(-3))
        asked = [int(self.order[((step - 1) * self.each + n) % len(self.order)]) for n in range(self.each)]
        random = self.random
        today = Today(
            skill=skill,
            prompts=asked,
            limit=self.spec.generation.max_completion_length,
            kl=0.03 * share + 0.003 * float(random.random()),
            entropy=0.5 - 0.25 * share + 0.02 * float(random.normal()),
            grad=0.4 * math.exp(0.3 * float(random.normal())),
            length=200 + 30 * share,
        )
        change(step, today)
        batch = self.batch(today)
        lines = groups(batch, self.group)
        self.tokens += sum(batch.completion_tokens) + sum(batch.prompt_tokens)
        events: list[Event] = [
            {"kind": "heartbeat", "step": step - 1, "rss_gib": 4.0, "peak_gib": today.used_gib},
            {"kind": "gpu", "used_gib": today.used_gib, "total_gib": 24.0, "utilization_frac": 0.9},
        ]
        if rundir is not None:
            text = "".join(json.dumps({"step": step, **line}) + "\n" for line in lines)
            rundir.rollouts_file(step).write_text(text, encoding="utf-8")
            events.append({"kind": "rollouts", "step": step, "file": f"step_{step:06d}.jsonl", "groups": self.each})
        if today.failed and any(batch.failures):
            events.append({"kind": "alert", "level": "warn", "title": "reward failed", "text": "correct: it raised"})
        return [*events, *self._told(step, today, batch, lines)]

    def batch(self, today: Today) -> Batch:
        random, group = self.random, self.group
        count = len(today.prompts) * group
        logits = np.repeat(today.skill - self.difficulty[today.prompts], group)
        luck = random.logistic(size=count) * today.noise
        right = (logits + luck > 0).astype(float)
        formed = (random.random(count) < today.format).astype(float) if today.noise else np.ones(count)
        lengths = np.clip(random.normal(today.length, 0.25 * today.length, count), 4, None).astype(int)
        cut = lengths >= today.limit
        failed = random.random(count) < today.failed
        rewards = [None if bad else float(r + 0.5 * f) for r, f, bad in zip(right, formed, failed, strict=True)]
        return Batch(
            prompts=[f"Question {number}" for number in np.repeat(today.prompts, group)],
            completions=[f"<answer>{n}</answer> {int(r)}" for n, r in enumerate(right)],
            prompt_tokens=[60 + int(number) % 40 for number in np.repeat(today.prompts, group)],
            completion_tokens=[int(n) for n in np.minimum(lengths, today.limit)],
            truncated=[bool(c) for c in cut],
            components={
                "correct": [None if bad else float(r) for r, bad in zip(right, failed, strict=True)],
                "format": [float(f) for f in formed],
            },
            rewards=rewards,
            advantages=[0.0] * count,
            correct=[None if bad else bool(r) for r, bad in zip(right, failed, strict=True)],
            columns=[{"answer": "1"}] * count,
            failures=[{"correct": Message.read("it raised")} if bad else {} for bad in failed],
        )

    def _told(self, step: int, today: Today, batch: Batch, lines: list[dict[str, Any]]) -> list[Event]:
        stats = group_stats(lines)
        rewards = np.array([r for r in batch.rewards if r is not None])
        longest = max(batch.completion_tokens)
        context = float(np.mean(batch.prompt_tokens)) + longest / 2
        generate = longest * today.token_s * (context / 200.0) ** today.grows
        parts = {
            "transformers.generate": generate * (1 + 0.02 * float(self.random.random())),
            "_calculate_rewards": today.rewards_s,
            "_get_per_token_logps_and_entropies": 0.6,
            "compute_loss": 0.05,
            "backward": 1.1,
            "optimizer": 0.02,
            "record_rollouts": 0.01,
            "step": 0.05 + today.other_s,
        }
        live = 1 - stats["dead_frac"]
        metrics = {
            "train/loss": float(self.random.normal()) * 0.01 * live if today.loss is None else today.loss,
            "train/grad_norm": today.grad if live else 0.0,
            "train/reward": float(rewards.mean()) if len(rewards) else None,
            "train/reward_std": float(rewards.std(ddof=1)) if len(rewards) > 1 else 0.0,
            "train/num_tokens": float(self.tokens),
            "train/entropy": max(0.0, today.entropy),
            "train/completions/mean_length": float(np.mean(batch.completion_tokens)),
            "train/completions/max_length": float(longest),
            "train/completions/clipped_ratio": stats["truncated_frac"],
            "train/clip_ratio/region_mean": today.clip,
        }
        if self.spec.grpo.beta:
            metrics["train/kl"] = today.kl
        for name, values in batch.components.items():
            known = [value for value in values if value is not None]
            metrics[f"train/rewards/{name}/mean"] = float(np.mean(known)) if known else None
            metrics[f"train/rewards/{name}/std"] = float(np.std(known, ddof=1)) if len(known) > 1 else 0.0
            if len(known) < len(values):
                metrics[f"train/rewards/{name}/none"] = 1 - len(known) / len(values)
        metrics |= advantage_stats(lines)
        metrics |= {f"{PROFILED}{name}": seconds for name, seconds in parts.items()}
        total = sum(parts.values())
        metrics[f"{PROFILED}step"] = total
        spans = [
            {"name": name, "parent": "step", "calls": 1, "total_s": seconds, "self_s": seconds, "ok": True}
            for name, seconds in parts.items()
        ]
        metrics = {name: value for name, value in metrics.items() if value is not None}
        epoch = step * self.each / len(self.order)
        return [
            {"kind": "step", "step": step, "of": self.steps, "epoch": epoch, "seconds": total, "metrics": metrics,
             "groups": stats, "tokens": self.tokens},
            {"kind": "span", "step": step, "spans": spans, "warmup": step <= 2},
        ]  # fmt: skip
