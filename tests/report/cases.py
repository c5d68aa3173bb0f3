"""For every sentence that interprets: a run that must bring it, and the same run without its cause, which must not.

The runs are states made by hand, a column at a time, so that a case shows its cause and nothing else.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.report.synthetic import SPEC, _merged
from trainer import plan as planning
from trainer.report.finding import Level
from trainer.report.material import GENERATE, Material
from trainer.run.columns import Column, Table
from trainer.run.groups import Group, group_of
from trainer.run.records import AlertEvent, CheckpointEvent, EvalEvent, GpuEvent, Origin
from trainer.run.rundir import RunDir
from trainer.run.state import RunState
from trainer.spec import RunSpec

REWARD, LOSS, STD = "train/reward", "train/loss", "train/reward_std"
KL, ENTROPY, GRAD = "train/kl", "train/entropy", "train/grad_norm"
LENGTH, LONGEST = "train/completions/mean_length", "train/completions/max_length"
CLIP = "train/clip_ratio/region_mean"
N = 80
Values = Sequence[float | None] | float


class Told(Material):
    """Material whose rollouts are given and not read from a folder."""

    told: Callable[[int], list[Group]] = staticmethod(lambda step: [])

    def groups(self, step: int) -> list[Group]:
        return self.told(step)

    def has_checkpoint(self, step: int) -> bool:
        return True

    def sampled_steps(self, most: int) -> Sequence[int]:
        return self.state.steps[:most]


def run(
    metrics: dict[str, Values] | None = None,
    *,
    groups: dict[str, Values] | None = None,
    self_s: dict[str, Values] | None = None,
    memory: dict[str, Values] | None = None,
    seconds: Values = 10.0,
    tokens: Values | None = None,
    evals: Sequence[dict[str, Any]] = (),
    alerts: Sequence[dict[str, Any]] = (),
    spec: dict[str, dict[str, Any]] | None = None,
    rows: int | None = 128,
    n: int = N,
    of: int = 200,
    gpu: str | None = "NVIDIA GeForce RTX 4090",
    total_gib: float = 24.0,
    known: frozenset[str] | None = None,
    told: Callable[[int], list[Group]] = lambda step: [],
) -> Material:
    """A run of n steps; a single number stands for a column of it."""

    def column(values: Values) -> Column:
        return Column([values] * n if isinstance(values, int | float) else values)

    def table(given: dict[str, Values] | None) -> Table:
        made, columns = Table(), {name: column(values) for name, values in (given or {}).items()}
        for row in range(n):
            made.append({name: values[row] for name, values in columns.items()})
        return made

    chosen = RunSpec.model_validate_json(json.dumps(_merged(SPEC, spec or {})))
    plan = json.loads(_planned(chosen.model_dump_json(), rows, gpu))
    state = RunState(
        steps=list(range(1, n + 1)),
        steps_total=of,
        metrics=table(metrics),
        groups=table(groups),
        self_s=table(self_s),
        memory=table(memory),
        seconds=column(seconds),
        epochs=Column([None] * n),
        tokens_at=column(tokens) if tokens is not None else Column([None] * n),
        evals=[EvalEvent(**said) for said in evals],
        alerts=[AlertEvent(**said) for said in alerts],
        gpu=GpuEvent(total_gib=total_gib) if memory and "used_gib" in memory else None,
    )
    imported = Origin(source="wandb") if known is not None else None
    made = Told("made", state, "finished", chosen, plan, {"ram_gib": 64.0}, known, imported, gpu)
    object.__setattr__(made, "told", told)
    return made


@functools.cache
def _planned(spec: str, rows: int | None, gpu: str | None) -> str:
    """Both as JSON: most runs here have the same settings, and a plan that looks for smaller ones takes its time."""
    chosen = RunSpec.model_validate_json(spec)
    return planning.make(chosen, rows, gpu_total_gib=24.0, gpu_name=gpu).model_dump_json()


def noise(scale: float, seed: int = 0, n: int = N) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n) * scale


def up(low: float, high: float, scale: float = 0.02, n: int = N) -> list[float]:
    """A line with noise."""
    return [float(v) for v in np.linspace(low, high, n) + noise(scale, n=n)]


def flat(level: float, scale: float = 0.02, n: int = N) -> list[float]:
    return up(level, level, scale, n)


def at(base: Sequence[float], **changes: float) -> list[float]:
    """base with other values at some steps: at(flat(1), s5=0)."""
    found = list(base)
    for step, value in changes.items():
        found[int(step[1:]) - 1] = value
    return found


def shares(right: float = 0.0, wrong: float = 0.0, constant: float = 0.0) -> dict[str, Values]:
    return {
        "dead_frac": right + wrong + constant,
        "all_right_frac": right,
        "all_wrong_frac": wrong,
        "constant_frac": constant,
    }


def lost(**more: Values) -> Material:
    """Learns for half of the run, and gets no reward from then on. more: columns of metrics or groups."""
    half, other = N // 2, N - N // 2
    dead: Values = [0.1] * half + [1.0] * other
    metrics: dict[str, Values] = {REWARD: [*up(0.5, 0.9, n=half), *[0.1] * other]}
    groups: dict[str, Values] = {**shares(), "dead_frac": dead, "all_wrong_frac": dead}
    groups |= {name: values for name, values in more.items() if name.endswith("_frac")}
    metrics |= {f"train/{name}": values for name, values in more.items() if not name.endswith("_frac")}
    made = run(metrics, groups=groups)
    made.state.checkpoints.append(CheckpointEvent(step=half // 2))
    return made


def same(share: float, wrong: float, **spec: dict[str, Any]) -> Material:
    """share: of a group that is one text. wrong: share of groups that teach nothing and are not right."""
    return run(groups=shares(0.9 - wrong, wrong) | {"same_text_frac": share}, spec=spec)


def whole(m: Material) -> Material:
    """The same run, with all weights trained."""
    assert m.spec is not None
    spec = m.spec.model_copy(update={"lora": m.spec.lora.model_copy(update={"enabled": False})})
    object.__setattr__(m, "spec", spec)
    return placed(m)


def placed(m: Material) -> Material:
    """The same run, with a folder in which its checkpoints lie."""
    object.__setattr__(m, "rundir", RunDir(Path("made")))
    return m


def value_at(spec: RunSpec, key: str) -> Any:
    """Of `reward.components.1.only_if`."""
    value: Any = spec
    for part in key.split("."):
        value = value[int(part)] if isinstance(value, list) else getattr(value, part)
    return value


def gamed(form: Values) -> Material:
    """Held-out rows fall after step 20; the component `format` goes its own way."""
    metrics: dict[str, Values] = {REWARD: flat(0.6), "train/rewards/correct/mean": flat(0.4)}
    evals = [ev(step, right, right, 0.1) for step, right in ((0, 0.4), (20, 0.8), (80, 0.3))]
    return run(metrics | {"train/rewards/format/mean": form}, evals=evals)


def form_only(right: float) -> Material:
    """All completions have the form, which pays 0.5; a share of them is right."""
    parts: dict[str, Values] = {"train/rewards/correct/mean": right, "train/rewards/format/mean": 1.0}
    return run(parts | {REWARD: right + 0.5})


ALIKE: Values = [0.3] * (N // 2) + [1.0] * (N - N // 2)
CALM: Values = [0.5] * (N // 2) + [0.001] * (N - N // 2)


SAMPLER = "train/sampler/"


def rounds(
    thrown: Values, kept: Values, taken: Values = 2.0, most: int = 3, wrong: float = 0.6, **more: Any
) -> Material:
    """Dynamic sampling. thrown, kept: shares of what was written and of what was trained on. wrong: of the groups."""
    metrics: dict[str, Values] = {f"{SAMPLER}thrown_frac": thrown, f"{SAMPLER}kept_without_spread_frac": kept}
    metrics |= {f"{SAMPLER}rounds": taken, f"{SAMPLER}thrown_s": 3.0}
    spec = {"sampling": {"max_rounds": most} | more}
    return run(metrics, groups=shares(0.0, wrong), spec=spec)


def graded(m: Material, value: Any) -> Material:
    """The same run, whose rows say how hard they are."""
    said = {"prompt": "p", "outcome": "all_wrong", "columns": {"difficulty": value}, "completions": [{"text": "x"}]}
    object.__setattr__(m, "told", lambda step: [group_of(json.dumps(said).encode(), 0)])
    return m


def filtered(skipped: Values, idle: Values = 0.0) -> Material:
    """Prompts that taught nothing are left out."""
    metrics: dict[str, Values] = {f"{SAMPLER}skipped_frac": skipped, f"{SAMPLER}filter_is_idle": idle}
    return run(metrics, groups=shares(0.1, 0.3), spec={"sampling": {"skip_dead": True}})


def replayed(outside: Values | None, age: Values = 3.0, steps: int = 8) -> Material:
    """Groups come again. outside: share of their tokens outside of the clip range; None where nothing is clipped."""
    metrics: dict[str, Values] = {f"{SAMPLER}replayed_frac": 0.4 if age else 0.0}
    if age:
        metrics |= {f"{SAMPLER}replay_age": age}
    if outside is not None:
        metrics |= {f"{SAMPLER}replay_outside_frac": outside}
    return run(metrics, groups=shares(0.1, 0.3), spec={"sampling": {"replay": 16, "replay_steps": steps}})


def learnt(accuracy: float | None, every: int = 10) -> Material:
    """A reward model learns every so many steps. accuracy: on what it has not seen; None where there was nothing."""
    names = {"pairs_new": 0.0 if accuracy is None else 40.0, "accuracy_before": accuracy}
    metrics: dict[str, Values] = {
        f"train/reward_model/{name}": [value if (n + 1) % every == 0 else None for n in range(N)]
        for name, value in names.items()
    }
    learning = {"component": "judge", "rule": "rule", "every_steps": every}
    return run(metrics, spec={"reward": {"learning": learning}})


def dips(*steps: int) -> dict[str, Values]:
    return {REWARD: at(flat(2.0), **{f"s{step}": 1.2 for step in steps})}


def parts(correct: tuple[Values, Values], form: tuple[Values, Values]) -> dict[str, Values]:
    """(mean, std) of the two components."""
    names = {"correct": correct, "format": form}
    told = {f"train/rewards/{name}/{kind}": values for name, pair in names.items()
            for kind, values in zip(("mean", "std"), pair, strict=True)}  # fmt: skip
    return {REWARD: flat(1.0), **told}


def ev(
    step: int, reward: float, right: float | None = None, std: float | None = 0.5, rows: int = 200
) -> dict[str, Any]:
    facts = {"at": "during", "step": step, "reward": reward, "correct_frac": right, "rows": rows}
    return facts if std is None else facts | {"reward_std": std}


def asked(*steps: int) -> Callable[[int], list[Group]]:
    """The same hard prompt at these steps, others elsewhere."""

    def told(step: int) -> list[Group]:
        prompt = "the hard one" if step in steps else f"prompt {step}"
        said = {"prompt": prompt, "reward_mean": 0.1, "outcome": "all_wrong", "completions": [{"text": "x"}]}
        group = group_of(json.dumps(said).encode(), 0)
        assert group is not None
        return [group]

    return told


def timed(token_s: float = 0.02, power: float = 0.0, spread: float = 0.4, n: int = N) -> dict[str, Any]:
    """Times of generation from lengths; power: how seconds a token grow with the context."""
    lengths = np.random.default_rng(1).uniform(1 - spread, 1 + spread, n) * 300
    context = 80 + lengths / 2
    seconds = lengths * token_s * (context / 230) ** power * (1 + noise(0.01, n=n))
    prompt_tokens = 80 * 32
    metrics = {GENERATE: list(map(float, seconds)), LONGEST: list(map(float, lengths)), LENGTH: 200.0}
    return {"metrics": metrics, "tokens": [(200 * 32 + prompt_tokens) * (k + 1) for k in range(n)], "n": n}


OFF_POLICY = {"grpo": {"num_iterations": 2, "beta": 0.04, "scale_rewards": "group"}}
SHUFFLED_NOT = {"data": {"shuffle_dataset": False}}
VLLM = {"model": {"engine": "unsloth", "fast_inference": True}}
UNKNOWN: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Case:
    """made brings the finding signal.key at this level; without is the same run without the cause."""

    signal: str
    key: str
    level: Level
    made: Callable[[], Material]
    without: Callable[[], Material]


def _evals(key: str, worse: bool, std: float | None) -> tuple[Callable[[], Material], Callable[[], Material]]:
    """Two evaluations that differ for sure, and two that do not."""
    low, high = (0.7, 0.4) if worse else (0.4, 0.7)
    right = key == "correct_frac"

    def pair(first: float, last: float) -> Material:
        return run(evals=[ev(n, v, v if right else None, std) for n, v in ((0, first), (80, last))])

    return lambda: pair(low, high), lambda: pair(0.5, 0.51)


ONLINE = {"run": {"method": "online_rft"}}
FELL = [ev(n, v) for n, v in ((0, 0.4), (40, 0.9), (80, 0.5))]
RIGHT_FELL = [ev(n, v, v) for n, v in ((0, 0.4), (40, 0.8), (80, 0.5))]


def taught(loss: Sequence[float], evals: Sequence[dict[str, Any]] = (), n: int = N, **more: Any) -> Material:
    """A run of supervised fine-tuning."""
    return run({LOSS: loss}, evals=evals, n=n, spec={"run": {"method": "sft"}}, **more)


def judged(*shares: float, loss: Sequence[float] | None = None, rows: int = 200) -> Material:
    """A run of a reward model with these shares of held-out pairs ordered right, at evenly spaced steps."""
    steps = [round(place * 80 / (len(shares) - 1)) for place in range(len(shares))]
    evals = [
        {"at": "during", "step": step, "correct_frac": share, "pairs": 900, "rows": rows}
        for step, share in zip(steps, shares, strict=True)
    ]
    return run({LOSS: loss or up(2, 1)}, evals=evals, spec={"run": {"method": "reward_model"}})


CASES: tuple[Case, ...] = (
    # ---- groups
    Case("dead_groups", "none", "green", lambda: run(groups=shares()), lambda: run(groups=shares(0.1))),
    Case("dead_groups", "some", "green", lambda: run(groups=shares(0.2, 0.1)), lambda: run(groups=shares())),
    Case("dead_groups", "all_right", "note", lambda: run(groups=shares(0.9)), lambda: run(groups=shares(0.3))),
    Case("dead_groups", "all_wrong", "red", lambda: run(groups=shares(0, 0.9)), lambda: run(groups=shares(0, 0.3))),
    Case("dead_groups", "constant", "red", lambda: run(groups=shares(0, 0, 0.9)), lambda: run(groups=shares(0, 0.9))),
    Case("dead_groups", "mixed", "amber", lambda: run(groups=shares(0.3, 0.3)), lambda: run(groups=shares(0.6))),
    Case("dead_groups", "collapsed_same", "red", lambda: lost(same_text_frac=ALIKE), lambda: lost(same_text_frac=0.3)),
    Case("dead_groups", "collapsed_entropy", "red", lambda: lost(entropy=CALM), lambda: lost(entropy=0.5)),
    Case("dead_groups", "lost", "red", lost, lambda: lost(all_right_frac=ALIKE, all_wrong_frac=0.0)),
    Case("dead_groups", "steps", "red", lambda: run({STD: 0.0}), lambda: run({STD: 0.2})),
    Case("dead_groups", "steps_some", "green", lambda: run({STD: at([0.3] * N, s5=0.0)}), lambda: run({STD: 0.0})),
    Case("dead_groups", "unknown", "unknown", lambda: run({REWARD: 1.0}), lambda: run({STD: 0.2})),
    Case("same_texts", "some", "green", lambda: same(0.9, 0.0), lambda: same(0.97, 0.9)),
    Case("same_texts", "wrong", "red", lambda: same(0.97, 0.9), lambda: same(0.97, 0.0)),
    Case("gamed_component", "rises", "red", lambda: gamed(up(0.2, 1.0)), lambda: gamed(flat(0.5))),
    Case("only_form", "only", "red", lambda: form_only(0.0), lambda: form_only(0.3)),
    Case("only_form", "more", "green", lambda: form_only(0.3), lambda: form_only(0.0)),
    Case("zero_loss", "never", "note", lambda: run({LOSS: 0.01}), lambda: run({LOSS: 0.0})),
    Case("zero_loss", "dead", "red", lambda: run({LOSS: 0.0, STD: 0.0}), lambda: run({LOSS: 0.0, STD: 0.3})),
    Case("zero_loss", "balanced", "note", lambda: run({LOSS: 0.0, STD: 0.3, GRAD: 0.5}),
         lambda: run({LOSS: 0.0, STD: 0.3})),
    Case("zero_loss", "no_gradient_known", "unknown", lambda: run({LOSS: 0.0, STD: 0.3}),
         lambda: run({LOSS: 0.0, STD: 0.3, GRAD: 0.5})),
    Case("zero_loss", "unknown", "unknown", lambda: run({REWARD: 1.0}), lambda: run({LOSS: 0.1})),
    # ---- sampling
    Case("dynamic_sampling", "off", "na", run, lambda: rounds(0.2, 0.0)),
    Case("dynamic_sampling", "works", "green", lambda: rounds(0.2, 0.0), lambda: rounds(0.7, 0.0)),
    Case("dynamic_sampling", "costly", "amber", lambda: rounds(0.7, 0.0), lambda: rounds(0.2, 0.0)),
    Case("dynamic_sampling", "used_up", "amber", lambda: rounds(0.6, 0.7, 3.0), lambda: rounds(0.6, 0.7, 2.0)),
    Case("replay", "off", "na", run, lambda: replayed(0.3)),
    Case("replay", "none", "note", lambda: replayed(None, age=0.0), lambda: replayed(0.3)),
    Case("replay", "unclipped", "note", lambda: replayed(None), lambda: replayed(0.3)),
    Case("replay", "works", "green", lambda: replayed(0.3), lambda: replayed(0.7)),
    Case("replay", "stale", "amber", lambda: replayed(0.7), lambda: replayed(0.3)),
    Case("reward_model", "off", "na", run, lambda: learnt(0.7)),
    Case("reward_model", "idle", "amber", lambda: learnt(None), lambda: learnt(0.7)),
    Case("reward_model", "short", "unknown", lambda: learnt(0.5, every=40), lambda: learnt(0.5)),
    Case("reward_model", "guesses", "amber", lambda: learnt(0.5), lambda: learnt(0.6)),
    Case("reward_model", "judges", "green", lambda: learnt(0.6), lambda: learnt(0.5)),
    Case("skip_dead", "off", "na", run, lambda: filtered(0.3)),
    Case("skip_dead", "none", "note", lambda: filtered(0.0), lambda: filtered(0.3)),
    Case("skip_dead", "works", "green", lambda: filtered(0.3), lambda: filtered(0.3, 1.0)),
    Case("skip_dead", "idle", "amber", lambda: filtered(0.3, 1.0), lambda: filtered(0.3)),
    # ---- reward
    Case("reward_trend", "short", "unknown", lambda: run({REWARD: [1.0] * 5}, n=5), lambda: run({REWARD: flat(1)})),
    Case("reward_trend", "unknown", "unknown", lambda: run(), lambda: run({REWARD: flat(1)})),
    Case("reward_trend", "rises", "green", lambda: run({REWARD: up(0, 1)}), lambda: run({REWARD: flat(0.5)})),
    Case("reward_trend", "falls", "red", lambda: run({REWARD: up(1, 0)}), lambda: run({REWARD: flat(0.5)})),
    Case("reward_trend", "early", "note", lambda: run({REWARD: flat(1, n=20)}, n=20), lambda: run({REWARD: flat(1)})),
    Case("reward_trend", "flat", "amber", lambda: run({REWARD: flat(0.5)}), lambda: run({REWARD: up(0, 1)})),
    Case("reward_plateau", "flat", "note",
         lambda: run({REWARD: up(0, 1, n=25) + flat(1, n=55)}), lambda: run({REWARD: up(0, 1)})),
    Case("reward_dips", "some", "note", lambda: run(dips(20, 50)), lambda: run({REWARD: flat(2.0)})),
    Case("reward_dips", "none", "green", lambda: run({REWARD: flat(2.0)}), lambda: run(dips(20))),
    Case("dip_period", "prompts", "amber", lambda: run(dips(10, 30, 50, 70), told=asked(10, 30, 50, 70)),
         lambda: run(dips(10, 14, 50, 70), told=asked(10, 14, 50, 70))),
    Case("dip_period", "epoch", "amber", lambda: run(dips(10, 30, 50, 70), rows=80, spec=SHUFFLED_NOT),
         lambda: run(dips(10, 30, 50, 70), rows=80)),
    Case("dip_period", "unknown", "amber",
         lambda: run(dips(10, 30, 50, 70), known=UNKNOWN), lambda: run(dips(10, 30), known=UNKNOWN)),
    Case("dip_period", "unknown_rows", "amber",
         lambda: run(dips(10, 30, 50, 70), known=frozenset({"generation.num_generations"})),
         lambda: run(dips(10, 14, 50, 70), known=frozenset({"generation.num_generations"}))),
    Case("dip_period", "other", "note", lambda: run(dips(10, 30, 50, 70)), lambda: run(dips(10, 13, 50, 78))),
    Case("reward_spikes", "some", "note",
         lambda: run({REWARD: at(flat(1.0), s40=2.0)}), lambda: run({REWARD: flat(1.0)})),
    Case("components", "constant", "amber", lambda: run(parts((flat(0.5), 0.4), (1.0, 0.0))),
         lambda: run(parts((flat(0.5), 0.4), (flat(0.9), 0.3)))),
    Case("components", "dominates", "note", lambda: run(parts((flat(0.5), 0.5), (flat(0.9), 0.02))),
         lambda: run(parts((flat(0.5), 0.5), (flat(0.9), 0.4)))),
    Case("components", "balanced", "green", lambda: run(parts((flat(0.5), 0.5), (flat(0.9), 0.4))),
         lambda: run(parts((flat(0.5), 0.5), (flat(0.9), 0.02)))),
    Case("components", "single", "na", lambda: run({"train/rewards/correct/mean": 0.5}), lambda: run({REWARD: 1.0})),
    Case("reward_errors", "none", "green", lambda: run({"train/rewards/correct/mean": 0.5}),
         lambda: run({"train/rewards/correct/mean": 0.5, "train/rewards/correct/none": 0.5},
                     alerts=[{"title": "reward failed", "text": "correct: it raised"}])),
    Case("reward_errors", "failed", "red",
         lambda: run({"train/rewards/correct/mean": 0.5, "train/rewards/correct/none": 0.5},
                     alerts=[{"title": "reward failed", "text": "correct: it raised"}]),
         lambda: run({"train/rewards/correct/mean": 0.5})),
    Case("reward_errors", "paid_zero", "amber",
         lambda: run({"train/rewards/correct/mean": 0.5},
                     alerts=[{"title": "reward failed", "text": "correct: it raised"}]),
         lambda: run({"train/rewards/correct/mean": 0.5})),
    # ---- evaluation
    Case("evaluation", "none", "unknown", lambda: run({REWARD: 1.0}), lambda: run(evals=[ev(0, 0.5, 0.5)])),
    Case("evaluation", "one", "unknown", lambda: run(evals=[ev(0, 0.5, 0.5)]), lambda: run()),
    Case("evaluation", "no_error_correct_frac", "note",
         lambda: run(evals=[ev(0, 0.2, 0.1, rows=0), ev(80, 0.9, 0.9, rows=0)]),
         lambda: run(evals=[ev(0, 0.2, 0.1), ev(80, 0.9, 0.9)])),
    Case("evaluation", "no_error_reward", "note",
         lambda: run(evals=[ev(0, 0.4, std=None), ev(80, 0.7, std=None)]),
         lambda: run(evals=[ev(0, 0.4), ev(80, 0.7)])),
    Case("evaluation", "unclear_correct_frac", "amber", *_evals("correct_frac", False, None)[::-1]),
    Case("evaluation", "unclear_reward", "amber", *_evals("reward", False, 0.5)[::-1]),
    Case("evaluation", "better_correct_frac", "green", *_evals("correct_frac", False, None)),
    Case("evaluation", "better_reward", "green", *_evals("reward", False, 0.5)),
    Case("evaluation", "worse_correct_frac", "red", *_evals("correct_frac", True, None)),
    Case("evaluation", "worse_reward", "red", *_evals("reward", True, 0.5)),
    Case("over_optimised", "apart_correct_frac", "red",
         lambda: run({REWARD: up(0, 1)}, evals=[ev(n, v, v) for n, v in ((0, 0.4), (40, 0.8), (80, 0.5))]),
         lambda: run({REWARD: flat(1)}, evals=[ev(n, v, v) for n, v in ((0, 0.4), (40, 0.8), (80, 0.5))])),
    Case("over_optimised", "apart_reward", "red",
         lambda: run({REWARD: up(0, 1)}, evals=[ev(n, v) for n, v in ((0, 0.4), (40, 0.9), (80, 0.5))]),
         lambda: run({REWARD: up(0, 1)}, evals=[ev(n, v) for n, v in ((0, 0.4), (40, 0.9), (80, 0.9))])),
    Case("over_optimised", "fell_correct_frac", "amber",
         lambda: run({REWARD: flat(1)}, evals=[ev(n, v, v) for n, v in ((0, 0.4), (40, 0.8), (80, 0.5))]),
         lambda: run({REWARD: up(0, 1)}, evals=[ev(n, v, v) for n, v in ((0, 0.4), (40, 0.8), (80, 0.5))])),
    Case("over_optimised", "fell_reward", "amber",
         lambda: run({REWARD: flat(1)}, evals=[ev(n, v) for n, v in ((0, 0.4), (40, 0.9), (80, 0.5))]),
         lambda: run({REWARD: flat(1)}, evals=[ev(n, v) for n, v in ((0, 0.4), (40, 0.9), (80, 0.9))])),
    Case("over_optimised", "together", "green",
         lambda: run({REWARD: up(0, 1)}, evals=[ev(n, v, v) for n, v in ((0, 0.4), (40, 0.6), (80, 0.8))]),
         lambda: run({REWARD: up(0, 1)}, evals=[ev(n, v, v) for n, v in ((0, 0.4), (40, 0.8), (80, 0.5))])),
    # ---- examples
    Case("dead_groups", "none_online_rft", "green", lambda: run(groups=shares(), spec=ONLINE),
         lambda: run(groups=shares())),
    Case("loss_trend", "short", "unknown", lambda: taught(flat(1, n=5), n=5), lambda: taught(up(2, 1))),
    Case("loss_trend", "falls", "green", lambda: taught(up(2, 1)), lambda: taught(up(1, 2))),
    Case("loss_trend", "rises", "red", lambda: taught(up(1, 2)), lambda: run({LOSS: up(1, 2)})),
    Case("loss_trend", "flat", "amber", lambda: taught(flat(1)), lambda: taught(up(2, 1))),
    Case("overfitting", "apart_correct_frac", "red", lambda: taught(up(2, 1), RIGHT_FELL),
         lambda: taught(flat(1), RIGHT_FELL)),
    Case("overfitting", "apart_reward", "red", lambda: taught(up(2, 1), FELL),
         lambda: run({LOSS: up(2, 1)}, evals=FELL)),
    Case("overfitting", "fell_correct_frac", "amber", lambda: taught(flat(1), RIGHT_FELL),
         lambda: taught(up(2, 1), RIGHT_FELL)),
    Case("overfitting", "fell_reward", "amber", lambda: taught(flat(1), FELL), lambda: taught(up(2, 1), FELL)),
    Case("evaluation", "better_ordered", "green", lambda: judged(0.5, 0.8), lambda: judged(0.5, 0.51)),
    Case("evaluation", "worse_ordered", "red", lambda: judged(0.8, 0.5), lambda: judged(0.5, 0.51)),
    Case("evaluation", "unclear_ordered", "amber", lambda: judged(0.5, 0.51), lambda: judged(0.5, 0.8)),
    Case("evaluation", "no_error_ordered", "note", lambda: judged(0.5, 0.8, rows=0), lambda: judged(0.5, 0.8)),
    Case("overfitting", "apart_ordered", "red", lambda: judged(0.5, 0.9, 0.6), lambda: judged(0.5, 0.6, 0.9)),
    Case("overfitting", "fell_ordered", "amber", lambda: judged(0.5, 0.9, 0.6, loss=flat(1)),
         lambda: judged(0.5, 0.9, 0.6)),
    Case("overfitting", "together", "green",
         lambda: taught(up(2, 1), [ev(n, v, v) for n, v in ((0, 0.4), (40, 0.6), (80, 0.8))]),
         lambda: taught(up(2, 1), RIGHT_FELL)),
    # ---- policy
    Case("kl", "no_reference", "na", lambda: run({KL: 0.0}, spec={"grpo": {"beta": 0.0}}), lambda: run({KL: 0.1})),
    Case("kl", "unknown", "unknown", lambda: run({REWARD: 1.0}), lambda: run({KL: 0.1})),
    Case("kl", "far", "red", lambda: run({KL: up(0, 4)}), lambda: run({KL: flat(0.1)})),
    Case("kl", "grows", "green", lambda: run({KL: up(0, 0.3, 0.005)}), lambda: run({KL: flat(0.1)})),
    Case("kl", "near", "green", lambda: run({KL: flat(0.1)}), lambda: run({KL: up(0, 4)})),
    Case("entropy", "unknown", "unknown", lambda: run({REWARD: 1.0}), lambda: run({ENTROPY: flat(0.5)})),
    Case("entropy", "collapsed", "amber",
         lambda: run({ENTROPY: up(0.8, 0.0, 0.0)[:40] + [0.001] * 40}), lambda: run({ENTROPY: flat(0.5)})),
    Case("entropy", "fell", "green", lambda: run({ENTROPY: up(0.8, 0.1)}), lambda: run({ENTROPY: flat(0.5)})),
    Case("entropy", "kept", "green", lambda: run({ENTROPY: flat(0.5)}), lambda: run({ENTROPY: up(0.8, 0.1)})),
    Case("clip_ratio", "on_policy", "na", lambda: run({CLIP: 0.0}), lambda: run({CLIP: 0.0}, spec=OFF_POLICY)),
    Case("clip_ratio", "unknown", "unknown",
         lambda: run({REWARD: 1.0}, spec=OFF_POLICY), lambda: run({CLIP: 0.05}, spec=OFF_POLICY)),
    Case("clip_ratio", "sequences", "note",
         lambda: run({CLIP: 0.15}, spec={"grpo": {**OFF_POLICY["grpo"], "importance_sampling_level": "sequence"}}),
         lambda: run({CLIP: 0.15}, spec=OFF_POLICY)),
    Case("clip_ratio", "often", "red",
         lambda: run({CLIP: 0.4}, spec=OFF_POLICY), lambda: run({CLIP: 0.05}, spec=OFF_POLICY)),
    Case("clip_ratio", "seldom", "green",
         lambda: run({CLIP: 0.05}, spec=OFF_POLICY), lambda: run({CLIP: 0.4}, spec=OFF_POLICY)),
    Case("grad_norm", "unknown", "unknown", lambda: run({REWARD: 1.0}), lambda: run({GRAD: flat(0.5)})),
    Case("grad_norm", "spikes", "amber",
         lambda: run({GRAD: at(flat(0.5), s40=9.0)}, spec={"optim": {"max_grad_norm": 0.0}}),
         lambda: run({GRAD: flat(0.5)}, spec={"optim": {"max_grad_norm": 0.0}})),
    Case("grad_norm", "spikes_clipped", "note",
         lambda: run({GRAD: at(flat(0.5), s40=9.0)}), lambda: run({GRAD: flat(0.5)})),
    Case("grad_norm", "steady", "green", lambda: run({GRAD: flat(0.5)}), lambda: run({GRAD: 0.0})),
    Case("grad_norm", "none", "amber", lambda: run({GRAD: 0.0}), lambda: run({GRAD: flat(0.5)})),
    # ---- length
    Case("length", "unknown", "unknown", lambda: run({REWARD: 1.0}), lambda: run({LENGTH: flat(200, 5)})),
    Case("length", "grew", "note", lambda: run({LENGTH: up(100, 300, 5), REWARD: up(0, 1)}),
         lambda: run({LENGTH: flat(200, 5), REWARD: up(0, 1)})),
    Case("length", "grew_only", "amber", lambda: run({LENGTH: up(100, 300, 5), REWARD: flat(1)}),
         lambda: run({LENGTH: up(100, 300, 5), REWARD: up(0, 1)})),
    Case("length", "shrank", "note", lambda: run({LENGTH: up(300, 100, 5)}), lambda: run({LENGTH: flat(200, 5)})),
    Case("length", "steady", "green", lambda: run({LENGTH: flat(200, 5)}), lambda: run({LENGTH: up(300, 100, 5)})),
    Case("truncation", "unknown", "unknown", lambda: run({REWARD: 1.0}), lambda: run(groups={"truncated_frac": 0.0})),
    Case("truncation", "often", "red", lambda: run(groups={"truncated_frac": 0.9}),
         lambda: run(groups={"truncated_frac": 0.1})),
    Case("truncation", "seldom", "green", lambda: run(groups={"truncated_frac": 0.1}),
         lambda: run(groups={"truncated_frac": 0.0})),
    Case("truncation", "never", "green", lambda: run(groups={"truncated_frac": 0.0}),
         lambda: run(groups={"truncated_frac": 0.1})),
    # ---- time
    Case("time_share", "unknown", "unknown", lambda: run({REWARD: 1.0}),
         lambda: run(self_s={"transformers.generate": 8.0, "backward": 2.0})),
    Case("time_share", "rewards", "amber", lambda: run(self_s={"reward.judge": 6.0, "backward": 4.0}),
         lambda: run(self_s={"reward.judge": 1.0, "backward": 9.0})),
    Case("time_share", "one", "note", lambda: run(self_s={"transformers.generate": 8.0, "backward": 2.0}),
         lambda: run(self_s={"transformers.generate": 4.0, "backward": 3.0, "optimizer": 3.0})),
    Case("time_share", "several", "note",
         lambda: run(self_s={"transformers.generate": 4.0, "backward": 3.0, "optimizer": 3.0}),
         lambda: run(self_s={"transformers.generate": 8.0, "backward": 2.0})),
    Case("slow_steps", "none", "green", lambda: run(seconds=flat(10, 0.2)), lambda: run(seconds=at(flat(10), s9=40))),
    Case("slow_steps", "slow", "note", lambda: run(seconds=at(flat(10), s9=40)), lambda: run(seconds=flat(10))),
    Case("slow_steps", "slow_alone", "note",
         lambda: taught(flat(1), seconds=at(flat(10), s9=40)), lambda: run(seconds=at(flat(10), s9=40))),
    Case("slow_steps", "slow_long", "note",
         lambda: run({LONGEST: at(flat(300, 5), s9=900)}, seconds=at(flat(10), s9=40), self_s={"backward": 1.0}),
         lambda: run({LONGEST: flat(300, 5)}, seconds=at(flat(10), s9=40), self_s={"backward": 1.0})),
    Case("slow_steps", "slow_same_length", "note",
         lambda: run({LONGEST: flat(300, 5)}, seconds=at(flat(10), s9=40), self_s={"backward": at(flat(1), s9=31)}),
         lambda: run({LONGEST: at(flat(300, 5), s9=900)}, seconds=at(flat(10), s9=40), self_s={"backward": 1.0})),
    Case("slow_steps", "fast", "note", lambda: run(seconds=at(flat(10), s9=0.4)), lambda: run(seconds=flat(10))),
    # ---- generation
    Case("generation_floor", "cpu", "na", lambda: run(gpu=None, **timed()), lambda: run(**timed())),
    Case("generation_floor", "unknown_gpu", "unknown", lambda: run(gpu=None, known=UNKNOWN, **timed()),
         lambda: run(gpu=None, **timed())),
    Case("generation_floor", "unknown", "unknown", lambda: run(gpu="GeForce 256", **timed()), lambda: run(**timed())),
    Case("generation_floor", "vllm", "unknown", lambda: run(spec=VLLM, **timed()), lambda: run(**timed())),
    Case("generation_floor", "near", "green", lambda: run(**timed(0.02)), lambda: run(**timed(0.2))),
    Case("generation_floor", "far", "amber", lambda: run(**timed(0.2)), lambda: run(**timed(0.02))),
    Case("generation_floor", "like_no_cache", "red", lambda: run(**timed(1.0)), lambda: run(**timed(0.02))),
    Case("lost_cache", "alike", "unknown", lambda: run(**timed(spread=0.05)), lambda: run(**timed())),
    Case("lost_cache", "grows", "red", lambda: run(**timed(power=1.0)), lambda: run(**timed())),
    Case("lost_cache", "steady", "green", lambda: run(**timed()), lambda: run(**timed(power=1.0))),
    Case("lost_cache", "vllm", "na", lambda: run(spec=VLLM, **timed()), lambda: run(**timed())),
    Case("lost_cache", "unclear", "unknown", lambda: run(**timed(power=0.5)), lambda: run(**timed())),
    # ---- memory
    Case("memory_creep", "short", "unknown", lambda: run(memory={"used_gib": 9.0}, n=10),
         lambda: run(memory={"used_gib": 9.0})),
    Case("memory_creep", "steady", "green", lambda: run(memory={"used_gib": flat(9)}),
         lambda: run(memory={"used_gib": up(9, 14)}, total_gib=80.0)),
    Case("memory_creep", "grows", "amber", lambda: run(memory={"used_gib": up(9, 14)}, total_gib=80.0),
         lambda: run(memory={"used_gib": [9.0] * 60 + [14.0] * 20}, total_gib=80.0)),
    Case("memory_creep", "fills", "red", lambda: run(memory={"used_gib": up(9, 20)}),
         lambda: run(memory={"used_gib": flat(9)})),
)  # fmt: skip
