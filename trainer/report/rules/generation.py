"""How far generation is from what the GPU's memory allows, and whether the KV cache is there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.plan.bandwidth_floor import Floor, floor
from trainer.report import series
from trainer.report.finding import Advice, Finding, Level
from trainer.report.material import Material

RED, AMBER = 50.0, 10.0  # times the floor; transformers' own generate is usually within ten, vLLM within three
LIKE_NO_CACHE = 5.0  # factor between the time measured and the one without a cache that counts as alike
LEAST_SPREAD = 1.5  # longest over shortest completions: with less, time cannot be told apart by length
GROWS = 0.5  # seconds a token grow as the context to this power; 0 with a cache, 1 without
LEAST_STEPS = 15
SURE = 3.0  # standard errors


@dataclass(frozen=True)
class Usual:
    """Of a step: seconds a call of generate, tokens of its longest completion, mean tokens of a prompt."""

    seconds: float
    new_tokens: float
    prompt_tokens: float


def generated(m: Material) -> tuple[series.Floats, series.Floats, series.Floats]:
    """(seconds, new tokens, prompt tokens) as Usual has them, of each step of which all is known. Lengths that were not
    recorded are taken at their limits: the floor is then as high as it can be, and the distance from it as small."""
    limit, most = m.setting("generation.max_completion_length"), m.setting("data.max_prompt_length")
    steps = m.generate_s.steps
    seconds = m.generate_s.values / (m.plan.get("phases_per_update") or 1)
    new = _at(m.points("train/completions/max_length"), steps, limit)
    prompt = _at(_prompt_tokens(m), steps, most)
    known = (new > 0) & np.isfinite(prompt) & (seconds > 0)
    return seconds[known], new[known], prompt[known]


def _at(points: series.Series, steps: NDArray[np.int64], missing: float | None) -> series.Floats:
    """The values at these steps. missing: where there is none; None is not a number. A run of 100,000 steps is
    looked at while its page answers: no loop over them in Python."""
    found = np.full(len(steps), math.nan if missing is None else float(missing))
    if len(points):
        places = np.minimum(np.searchsorted(points.steps, steps), len(points) - 1)
        there = points.steps[places] == steps
        found[there] = points.values[places[there]]
    return found


def _prompt_tokens(m: Material) -> series.Series:
    """Mean prompt tokens of a step: what num_tokens grew by, less the completions."""
    rows = m.plan.get("completions_per_update")
    tokens = series.known(m.state.steps, m.state.tokens_at)
    if not rows or m.updates_per_phase != 1:
        return tokens[:0]
    before = _at(tokens, tokens.steps - 1, None)
    before[(tokens.steps == 1) & np.isnan(before)] = 0.0
    lengths = _at(m.points("train/completions/mean_length"), tokens.steps, None)
    found = np.maximum((tokens.values - before) / rows - lengths, 0.0)
    known = np.isfinite(found)
    return series.Series(tokens.steps[known], found[known])


def median_floor(m: Material) -> tuple[Floor, Usual] | None:
    """The floor of a step of the usual length; None without a known GPU, a known model or times."""
    if m.card is None or m.load is None:
        return None
    found = generated(m)
    if not len(found[0]):
        return None
    usual = Usual(*(float(np.median(each)) for each in found))
    return floor(m.load, m.card, usual.prompt_tokens, usual.new_tokens), usual


def generation_floor(m: Material) -> Iterator[Finding]:
    if m.gpu is None:
        key = "unknown_gpu" if m.imported is not None else "cpu"
        yield Finding("generation_floor", "unknown" if m.imported is not None else "na", key)
        return
    if m.by_vllm:
        yield Finding("generation_floor", "unknown", "vllm")
        return
    found = median_floor(m)
    if found is None:
        yield Finding("generation_floor", "unknown", "unknown", {"gpu": m.gpu})
        return
    least, usual = found
    factor = usual.seconds / least.seconds
    values = {
        "gpu": m.card.name if m.card else m.gpu,
        "seconds": usual.seconds,
        "floor": least.seconds,
        "factor": factor,
        "reached": 1 / factor,
        "new_tokens": usual.new_tokens,
        "weight_gib": least.weight_gib,
        "cache_gib": least.cache_gib,
        "without_cache": least.without_cache_s,
    }
    level: Level = "red" if factor >= RED else "amber" if factor >= AMBER else "green"
    alike = abs(math.log(usual.seconds / least.without_cache_s)) <= math.log(LIKE_NO_CACHE)
    ways: tuple[Advice, ...] = ()
    if level != "green":
        ways = tuple(_faster(m))
    key = "near" if level == "green" else "like_no_cache" if alike and level == "red" else "far"
    if key == "like_no_cache" and m.imported is not None:  # here generate is guarded (trainer/grpo/generation_guard.py)
        ways = (Advice("keep_cache", "use_cache", None),)
    yield Finding("generation_floor", level, key, values, advice=ways)


def _faster(m: Material) -> Iterator[Advice]:
    """vLLM, where Unsloth can hand it the adapter (trainer/presets/rules/model.py)."""
    engine = m.setting("model.engine")
    if engine is None or m.setting("lora.enabled") is not True or m.setting("model.dtype") == "float32":
        return
    also = () if engine == "unsloth" else (("model.engine", "unsloth"),)
    yield Advice("fast_inference", "model.fast_inference", True, also=also)


def lost_cache(m: Material) -> Iterator[Finding]:
    """Do seconds a token grow with the context? With a KV cache they hardly do; without one they are proportional.

    Fitted: log(seconds a token) = a + b log(prompt + half of the new tokens), over the steps.
    """
    if m.by_vllm:
        yield Finding("lost_cache", "na", "vllm")
        return
    seconds, new, prompt = generated(m)
    long = new >= 2
    lengths = (prompt + new / 2)[long]
    if len(lengths) < LEAST_STEPS or lengths.max() < LEAST_SPREAD * lengths.min():
        yield Finding("lost_cache", "unknown", "alike", {"count": len(lengths), "least": LEAST_STEPS})
        return
    x = np.log(lengths)
    y = np.log(seconds[long] / new[long])
    x, y = x - x.mean(), y - y.mean()
    power = float((x * y).sum() / (x * x).sum())
    rest = y - power * x
    error = math.sqrt(float((rest * rest).sum()) / max(1, len(lengths) - 2) / float((x * x).sum()))
    values = {"power": power, "error": 2 * error, "shortest": float(lengths.min())}
    values["longest"] = float(lengths.max())
    if power - SURE * error > GROWS:
        yield Finding("lost_cache", "red", "grows", values)
    elif power + 2 * error < GROWS:
        yield Finding("lost_cache", "green", "steady", values)
    else:
        yield Finding("lost_cache", "unknown", "unclear", values)
