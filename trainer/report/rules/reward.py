"""The reward over the steps: trend, plateau, dips and spikes with their prompts and period, components, failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from trainer.report import series
from trainer.report.finding import Advice, Finding, Level
from trainer.report.material import Material
from trainer.run.records import AlertEvent

REWARD = "train/reward"
LEAST_STEPS = 30  # before that no trend is missed
PLATEAU = 0.2  # of the rise: less than this in the second half is none
DOMINATES = 0.9  # share of the reward's spread that one component makes
CONSTANT = 1e-9
SAME_EPOCH = 0.12  # how far a period may be from the length of an epoch
MOST_PROMPTS = 4  # quoted
FAILED_BEFORE = "reward failed"  # title of the alert in runs of versions without keys
FAILED_RED = 0.2  # share of completions that could not be judged


def reward_trend(m: Material) -> Iterator[Finding]:
    """Does the reward rise? By series.trend, whose error knows that neighbouring steps are alike."""
    points = m.points(REWARD)
    if not points:
        yield Finding("reward_trend", "unknown", "unknown")
        return
    found = series.trend(points)
    if found is None:
        yield Finding("reward_trend", "unknown", "short", {"count": len(points), "least": series.LEAST_FOR_TREND})
        return
    values = {
        "first": found.first,
        "last": found.last,
        "change": found.change,
        "error": 2 * found.error,
        "count": len(points),
    }
    around = series.usual(points)
    if found.direction > 0:
        yield Finding("reward_trend", "green", "rises", values)
    elif found.direction < 0:
        level: Level = "red" if -found.change > 0.5 * (around.most - around.least) else "amber"
        rate = m.setting("optim.learning_rate")
        ways = (Advice("lower_rate", "optim.learning_rate", rate / 2, {"now": rate}),) if rate else ()
        yield Finding("reward_trend", level, "falls", values, advice=ways)
    elif len(points) < LEAST_STEPS:
        yield Finding("reward_trend", "note", "early", values)
    else:
        yield Finding("reward_trend", "amber", "flat", values)


def reward_plateau(m: Material) -> Iterator[Finding]:
    """From which step on nothing more was gained, in a run that had risen before."""
    points = m.points(REWARD)
    whole = series.trend(points)
    if whole is None or whole.direction <= 0 or len(points) < 2 * LEAST_STEPS:
        return
    half = len(points) // 2
    rise = whole.last - whole.first
    late = series.trend(points[half:])
    if late is None or late.direction != 0 or abs(late.change) > PLATEAU * abs(rise) or rise <= 0:
        return
    level = sum(value for _, value in points[half:]) / len(points[half:])
    start = next((step for step, value in _smooth(points) if value >= level - 0.05 * rise), points[half][0])
    values = {"start": start, "level": level, "count": points[-1][0] - start}
    yield Finding("reward_plateau", "note", "flat", values, (start,))


def _smooth(points: series.Points) -> series.Points:
    found = series.rolling_median(series.values_of(points), 11)
    return [(step, float(value)) for (step, _), value in zip(points, found, strict=True)]


def reward_dips(m: Material) -> Iterator[Finding]:
    """Steps at which the reward was far below its neighbours, what was asked there, and whether they come back."""
    points = m.points(REWARD)
    dips = series.apart(series.away(points, "low"))
    if len(points) < series.LEAST_FOR_AWAY:
        return
    if not dips:
        yield Finding("reward_dips", "green", "none", {"count": len(points)})
        return
    steps = tuple(dip.step for dip in dips)
    lowest = min(dips, key=lambda dip: dip.value)
    values = {
        "steps": list(steps),
        "lowest": lowest.value,
        "at": lowest.step,
        "usual": lowest.usual,
        "count": len(dips),
        "prompts": _prompts(m, steps),
    }
    yield Finding("reward_dips", "note", "some", values, steps)
    yield from _returning(m, steps)


def _returning(m: Material, steps: Sequence[int]) -> Iterator[Finding]:
    """Do the dips come back after the same number of steps, and is that the length of an epoch?"""
    found = series.period(steps)
    if found is None:
        return
    epoch = m.epoch_steps
    values = {"period": found.steps, "spread": found.spread, "epoch": epoch, "steps": list(steps)}
    same = _same_prompts(m, steps)
    if same:
        yield Finding("dip_period", "amber", "prompts", values | {"prompts": same}, tuple(steps))
    elif epoch is not None and abs(found.steps - epoch) <= SAME_EPOCH * epoch and not _shuffled(m):
        yield Finding("dip_period", "amber", "epoch", values, tuple(steps))
    elif epoch is None:
        each = m.plan.get("prompts_per_update") if m.setting("generation.num_generations") else None
        prompts = round(found.steps * each) if isinstance(each, int | float) else None
        key = "unknown" if prompts is None else "unknown_rows"
        yield Finding("dip_period", "amber", key, values | {"rows": prompts}, tuple(steps))
    else:
        yield Finding("dip_period", "note", "other", values, tuple(steps))


def _shuffled(m: Material) -> bool:
    """Does every epoch have an order of its own? Then a prompt does not come back after an epoch's steps."""
    return m.imported is None and m.setting("data.shuffle_dataset") is not False


def reward_spikes(m: Material) -> Iterator[Finding]:
    points = m.points(REWARD)
    spikes = series.apart(series.away(points, "high"))
    if spikes:
        steps = tuple(spike.step for spike in spikes)
        most = max(spikes, key=lambda spike: spike.value)
        values = {"steps": list(steps), "most": most.value, "at": most.step, "usual": most.usual}
        yield Finding("reward_spikes", "note", "some", values | {"prompts": _prompts(m, steps, max)}, steps)


def _prompts(
    m: Material, steps: Sequence[int], choose: Callable[..., tuple[float, str]] = min
) -> list[tuple[int, str, float]]:
    """(step, prompt, mean reward): of each of the first steps the group with the lowest reward; max: the highest."""
    found = []
    for step in steps[:MOST_PROMPTS]:
        known = [(group.mean, group.question) for group in m.groups(step) if group.mean is not None]
        if known:
            mean, question = choose(known, key=lambda pair: pair[0])
            found.append((step, question, mean))
    return found


def _same_prompts(m: Material, steps: Sequence[int]) -> list[str]:
    """Prompts that were asked at most of these steps."""
    asked = Counter(text for step in steps for text in {group.question for group in m.groups(step)})
    often = [text for text, count in asked.most_common(MOST_PROMPTS) if count >= max(3, 0.6 * len(steps))]
    everywhere = len({text for step in m.sampled_steps(20) for text in (group.question for group in m.groups(step))})
    return often if everywhere > len(often) else []  # a run that asks the same at every step proves nothing


def components(m: Material) -> Iterator[Finding]:
    """A component that never moves teaches nothing; one that makes all the spread is the only one that teaches."""
    if len(m.components) < 2 or len(m.points(REWARD)) < series.LEAST_FOR_TREND:
        yield from _single(m)
        return
    weights = _weights(m)
    parts: dict[str, float] = {}
    for name in m.components:
        means, stds = m.points(f"train/rewards/{name}/mean"), m.points(f"train/rewards/{name}/std")
        if not means:
            continue
        moves = float(means.values.max() - means.values.min())
        spread = float(stds.values.mean()) if stds else 0.0
        parts[name] = abs(weights.get(name, 1.0)) * spread
        if moves <= CONSTANT and spread <= CONSTANT:
            yield Finding("components", "amber", "constant", {"name": name, "value": means[0][1], "count": len(means)})
    total = sum(parts.values())
    if total <= CONSTANT:
        return
    most = max(parts, key=lambda name: parts[name])
    values = {"name": most, "share": parts[most] / total, "others": sorted(set(parts) - {most})}
    if parts[most] / total >= DOMINATES:
        yield Finding("components", "note", "dominates", values)
    else:
        shares = {name: part / total for name, part in parts.items()}
        yield Finding("components", "green", "balanced", values | {"shares": shares})


def _single(m: Material) -> Iterator[Finding]:
    if len(m.components) == 1:
        yield Finding("components", "na", "single", {"name": m.components[0]})


def _weights(m: Material) -> dict[str, float]:
    """{component: what its value is multiplied by in the sum}. Sums inside sums multiply."""
    if m.spec is None or m.setting("reward") is None:
        return {}
    found: dict[str, float] = {}
    waiting = [(part, 1.0) for part in m.spec.reward.components]
    while waiting:
        part, factor = waiting.pop()
        factor *= part.weight
        if part.components:
            waiting += [(inner, factor * part.scale) for inner in part.components]
        else:
            found[part.title] = factor
    return found


def _is_of(alert: AlertEvent, component: str) -> bool:
    """Does it tell of that component? Older versions named it at the start of the text."""
    return alert.values.get("name") == component if alert.key else alert.text.startswith(f"{component}: ")


def reward_errors(m: Material) -> Iterator[Finding]:
    """Completions that a reward function could not judge."""
    if m.imported is not None:
        return
    found = {}
    for name in m.components:
        points = m.points(f"train/rewards/{name}/none")
        if points:  # logged only at steps where there are any
            found[name] = sum(value for _, value in points) / max(1, len(m.state.steps))
    told = [alert for alert in m.state.alerts if alert.key == "reward_failed" or alert.title == FAILED_BEFORE]
    # A function may say None on purpose; only failures are told.
    failed = {name: [alert for alert in told if _is_of(alert, name)] for name in found}
    found = {name: share for name, share in found.items() if failed[name]}
    if told and not found:  # reward.on_error = "zero": the component has a value there, and it is not its own
        yield Finding("reward_errors", "amber", "paid_zero", {"text": told[-1].message()})
        return
    if not found:
        yield Finding("reward_errors", "green", "none")
        return
    worst = max(found, key=lambda name: found[name])
    steps = tuple(step for step, _ in m.points(f"train/rewards/{worst}/none"))
    values = {"name": worst, "share": found[worst], "text": failed[worst][-1].message(), "steps": list(steps)}
    level: Level = "red" if found[worst] >= FAILED_RED else "amber"
    yield Finding("reward_errors", level, "failed", values, steps)
