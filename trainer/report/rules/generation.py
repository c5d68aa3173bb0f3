"""How far generation is from what the GPU's memory allows, and whether the KV cache is there."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

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
class Generated:
    """Of a step: seconds a call of generate, tokens of its longest completion, mean tokens of a prompt."""

    step: int
    seconds: float
    new_tokens: float
    prompt_tokens: float


def generated(m: Material) -> list[Generated]:
    """What is known of each step. Lengths that were not recorded are taken at their limits: the floor is then as high
    as it can be, and the distance from it as small."""
    limit, most = m.setting("generation.max_completion_length"), m.setting("data.max_prompt_length")
    longest = dict(m.points("train/completions/max_length"))
    prompts = _prompt_tokens(m)
    calls = m.plan.get("phases_per_update") or 1
    found = []
    for step, seconds in m.generate_s:
        new = longest.get(step, limit)
        prompt = prompts.get(step, most)
        if new and prompt is not None and seconds > 0:
            found.append(Generated(step, seconds / calls, float(new), float(prompt)))
    return found


def _prompt_tokens(m: Material) -> dict[int, float]:
    """Mean prompt tokens of a step: what num_tokens grew by, less the completions."""
    rows = m.plan.get("completions_per_update")
    lengths = dict(m.points("train/completions/mean_length"))
    tokens = dict(series.known(m.state.steps, m.state.tokens_at))
    if not rows or m.updates_per_phase != 1:
        return {}
    found = {}
    for step, count in tokens.items():
        before = tokens.get(step - 1, 0.0 if step == 1 else None)
        if before is not None and step in lengths:
            found[step] = max(0.0, (count - before) / rows - lengths[step])
    return found


def median_floor(m: Material) -> tuple[Floor, Generated] | None:
    """The floor of a step of the usual length; None without a known GPU, a known model or times."""
    found = generated(m)
    if m.card is None or m.load is None or not found:
        return None
    middle = Generated(
        0,
        statistics.median(one.seconds for one in found),
        statistics.median(one.new_tokens for one in found),
        statistics.median(one.prompt_tokens for one in found),
    )
    return floor(m.load, m.card, middle.prompt_tokens, middle.new_tokens), middle


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
    found = [one for one in generated(m) if one.new_tokens >= 2]
    lengths = [one.prompt_tokens + one.new_tokens / 2 for one in found]
    if len(found) < LEAST_STEPS or max(lengths) < LEAST_SPREAD * min(lengths):
        yield Finding("lost_cache", "unknown", "alike", {"count": len(found), "least": LEAST_STEPS})
        return
    x = np.log(lengths)
    y = np.log([one.seconds / one.new_tokens for one in found])
    x, y = x - x.mean(), y - y.mean()
    power = float((x * y).sum() / (x * x).sum())
    rest = y - power * x
    error = math.sqrt(float((rest * rest).sum()) / max(1, len(found) - 2) / float((x * x).sum()))
    values = {"power": power, "error": 2 * error, "shortest": min(lengths), "longest": max(lengths)}
    if power - SURE * error > GROWS:
        yield Finding("lost_cache", "red", "grows", values)
    elif power + 2 * error < GROWS:
        yield Finding("lost_cache", "green", "steady", values)
    else:
        yield Finding("lost_cache", "unknown", "unclear", values)
