"""Metric by metric: a table, charts, what the rules read from them; and the held-out rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from trainer.report import series
from trainer.report.document import Block, Charts, Section, Table, Text
from trainer.report.material import GENERATE, Material
from trainer.report.rules.evaluation import Key, evals, score, shared_key
from trainer.report.sections.telling import Telling
from trainer.run.best import Best
from trainer.run.records import EvalEvent, SampledScores
from trainer.run.state import PROFILED
from trainer.show import downsampling
from trainer.show.charts import COLOURS, MOST_POINTS, Chart, Line, Style, window
from trainer.text import forms
from trainer.text.words import Words

# The names in W&B, in the order people look at them. Components come after the reward.
NAMES = (
    "train/reward",
    "train/reward_std",
    "train/advantage_mean",
    "train/advantage_std",
)
AFTER = (
    "train/loss",
    "train/mean_token_accuracy",
    "train/rewards/accuracies",
    "train/rewards/margins",
    "train/rewards/chosen",
    "train/rewards/rejected",
    "train/kl",
    "train/entropy",
    "train/grad_norm",
    "train/clip_ratio/region_mean",
    "train/completions/mean_length",
    "train/completions/max_length",
    "train/completions/clipped_ratio",
    "train/learning_rate",
    GENERATE,
)
GROUPS = ("group_std", "batch_std", "dead_frac", "all_right_frac", "all_wrong_frac", "constant_frac", "truncated_frac")
_BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
PROMPT_CHARACTERS = 160
_COURSE = 16  # characters of a course


def metrics(t: Telling) -> Section:
    """The table, the charts, and one sentence for every signal about learning."""
    blocks: list[Block] = [Text(t.say("metrics.intro", count=len(t.m.state.steps)), "small"), _table(t)]
    if t.m.points("train/advantage_mean") and t.m.method != "online_rft":
        blocks.append(Text(t.say("metrics.advantage"), "small"))
    if t.m.is_supervised:
        blocks += t.sayings("loss_trend", "grad_norm")
        blocks += drawn(t, _of_examples(t.m, t.say))
        return Section("metrics", t.say("title.metrics"), blocks)
    blocks += t.sayings("reward_trend", "reward_plateau", "reward_dips", "dip_period", "reward_spikes", "components")
    blocks += _asked(t)
    blocks += drawn(t, _reward(t.m, t.say))
    blocks += t.sayings("dead_groups", "zero_loss", "reward_errors")
    blocks += drawn(t, _spread(t.m, t.say))
    blocks += t.sayings("kl", "entropy", "clip_ratio", "grad_norm")
    blocks += drawn(t, _policy(t.m, t.say))
    blocks += t.sayings("length", "truncation")
    blocks += drawn(t, _lengths(t.m, t.say))
    return Section("metrics", t.say("title.metrics"), blocks)


def columns(m: Material) -> Iterator[tuple[str, series.Points]]:
    """(name, points) of every metric of the table."""
    parts = [f"train/rewards/{name}/{kind}" for name in m.components for kind in ("mean", "std")]
    for name in (*NAMES, *parts, *AFTER):
        if points := m.points(name):
            yield name, points
    for name in GROUPS:
        if points := m.group_points(name):
            yield name, points


def _table(t: Telling) -> Table:
    head = [t.say(f"metrics.{name}") for name in ("metric", "first", "last", "usual", "range", "least", "most")]
    rows = []
    for name, points in columns(t.m):
        found = series.usual(points)
        edge = max(1, min(10, len(points) // 2))
        first, last = (sum(v for _, v in part) / len(part) for part in (points[:edge], points[-edge:]))
        values = series.values_of(points)
        least, most = points[int(values.argmin())], points[int(values.argmax())]
        cells = [number(value) for value in (first, last, found.median)]
        cells.append(f"{number(found.low)} - {number(found.high)}")
        cells += [f"{number(value)} ({step:,})" for step, value in (least, most)]
        rows.append((name.removeprefix(PROFILED), *cells, course(points)))
    return Table([*head, t.say("metrics.course")], rows, frozenset(range(1, 7)), course=7)


def _asked(t: Telling) -> list[Table]:
    """The prompt with the lowest reward at each dip, and with the highest at each spike."""
    found = [asked for finding in t.of("reward_dips", "reward_spikes") for asked in finding.values.get("prompts") or ()]
    if not found:
        return []
    head = [t.say(f"metrics.{name}") for name in ("asked", "step", "paid")]
    rows = [(shortened(prompt), f"{step:,}", forms.number(reward)) for step, prompt, reward in found]
    return [Table(head, rows, frozenset((1, 2)))]


def shortened(text: str, most: int = PROMPT_CHARACTERS) -> str:
    """One line, cut at `most` characters."""
    line = " ".join(forms.printable(text).split())
    return line if len(line) <= most else f"{line[: most - 1]}\u2026"


def number(value: float) -> str:
    """Three digits; learning rates as they are typed."""
    return f"{value:.3g}" if 0 < abs(value) < 5e-3 else forms.number(value)


def course(points: series.Points) -> str:
    """The curve in a line of text: means of equal stretches."""
    if len(points) < 2:
        return ""
    count = min(_COURSE, len(points))
    bounds = [len(points) * part // count for part in range(count + 1)]
    values = series.values_of(points)
    means = [float(values[a:b].mean()) for a, b in itertools.pairwise(bounds)]
    low, high = min(means), max(means)
    top = len(_BARS) - 1
    return "".join(_BARS[round((mean - low) / (high - low) * top) if high > low else 0] for mean in means)


# ---- charts


def drawn(t: Telling, charts: Sequence[Chart]) -> list[Charts]:
    """Charts without a point are left out: a report is read, not watched. [] when none is left."""
    shown = [chart for chart in charts if any(line.points for line in chart.drawn)]
    return [Charts(shown, t.say("metrics.step"), t.say("metrics.empty"))] if shown else []


def two_lines(points: series.Points, say: Words) -> list[Line]:
    """Every step faint, the mean of its neighbourhood strong; a short run has only the first."""
    steps, values = series.steps_of(points), series.column_of(points)
    width = window(len(steps))
    each = Line(say("metrics.each"), "faint", downsampling.picture(steps, values, points=MOST_POINTS // 2))
    if len(steps) < 2 * width:
        return [Line(each.name, "strong", each.points)]
    smooth = downsampling.smooth(steps, values, width, points=MOST_POINTS // 2)
    return [each, Line(say("metrics.smooth", count=width), "strong", smooth)]


def _one(title: str, points: series.Points, say: Words, **more: Any) -> Chart:
    return Chart(title, two_lines(points, say), **more)


def _reward(m: Material, say: Words) -> list[Chart]:
    reward = m.points("train/reward")
    dips = [one.step for one in series.apart(series.away(reward, "low"))]
    found = [_one(say("metrics.chart_reward"), reward, say, marks=dips)]
    found += _evaluated(m, say)
    if len(m.components) > 1:
        found.append(Chart(say("metrics.chart_components"), _coloured(m, "train/rewards/{}/mean", m.components)))
    return found


def _coloured(m: Material, pattern: str, names: Sequence[str]) -> list[Line]:
    pairs = zip(names, COLOURS, strict=False)
    return [Line(name, colour, curve(m.points(pattern.format(name)), MOST_POINTS // 2)) for name, colour in pairs]


def curve(points: series.Points, most: int) -> series.Points:
    """For charts of several lines: smoothed, unless it is too short for that."""
    steps, values = series.steps_of(points), series.column_of(points)
    width = window(len(steps))
    if len(steps) >= 2 * width:
        return downsampling.smooth(steps, values, width, points=most)
    return downsampling.picture(steps, values, points=most)


def _spread(m: Material, say: Words) -> list[Chart]:
    inside = m.group_points("group_std")
    spreads: list[tuple[str, Style, series.Points]] = [
        ("in", "strong", inside),
        ("batch", "dashed", m.group_points("batch_std")),
        ("trl", "dotted", [] if inside else m.points("train/reward_std")),
    ]
    kinds: list[tuple[str, Style]] = [("all_right", "c3"), ("all_wrong", "c6"), ("constant", "c8")]
    spread = [Line(say(f"metrics.spread_{key}"), style, thin(points)) for key, style, points in spreads if points]
    dead = [Line(say(f"word.{key}"), style, _smooth(m.group_points(f"{key}_frac"))) for key, style in kinds]
    loss = m.points("train/loss")
    return [
        Chart(say("metrics.chart_spread"), spread, low=0.0),
        Chart(say("metrics.chart_dead"), dead, 0.0, 1.0, forms.percent, forms.percent, stacked=True),
        _one(say("metrics.chart_loss"), loss, say),
    ]


def _smooth(points: series.Points) -> series.Points:
    """Shares of few groups leap: their mean over a stretch is drawn."""
    steps, values = series.steps_of(points), series.column_of(points)
    return downsampling.smooth(steps, values, max(1, len(points) // 50), points=MOST_POINTS // 3)


def thin(points: series.Points) -> series.Points:
    """Evenly, so that stacked lines keep the same steps."""
    most = MOST_POINTS // 3
    if len(points) <= most:
        return points
    return [points[round(place * (len(points) - 1) / (most - 1))] for place in range(most)]


def _of_examples(m: Material, say: Words) -> list[Chart]:
    """Loss, what of the examples the model would write itself, prefers or tells apart, gradient; held-out rows."""
    shares = {"chart_tokens": "mean_token_accuracy", "chart_pairs": "rewards/accuracies", "chart_judged": "accuracy"}
    others = {
        "chart_margins": "rewards/margins",
        "chart_score_margin": "margin",
        "chart_score_error": "absolute_error",
    }
    own = [key for key, name in (shares | others).items() if m.points(f"train/{name}")]
    found = [_one(say("metrics.chart_loss"), m.points("train/loss"), say, low=0.0)]
    for key in own:
        form: dict[str, Any] = {"format": forms.percent, "mark": forms.percent} if key in shares else {}
        found.append(_one(say(f"metrics.{key}"), m.points(f"train/{(shares | others)[key]}"), say, **form))
    found.append(_one(say("metrics.chart_grad"), m.points("train/grad_norm"), say, low=0.0))
    return [*found, *_evaluated(m, say)]


def _evaluated(m: Material, say: Words) -> list[Chart]:
    there = evals(m)
    ordered = shared_key(event for _, event in there) == "ordered"
    scores = [(step, score(event, "ordered" if ordered else "reward")) for step, event in there]
    title = say("metrics.chart_eval_ordered" if ordered else "metrics.chart_eval")
    return [Chart(title, [Line(say("metrics.eval_dots"), "joined", scores)])] if scores else []


def _policy(m: Material, say: Words) -> list[Chart]:
    names = {"chart_kl": "train/kl", "chart_entropy": "train/entropy", "chart_grad": "train/grad_norm"}
    return [_one(say(f"metrics.{key}"), m.points(name), say, low=0.0) for key, name in names.items()]


def _lengths(m: Material, say: Words) -> list[Chart]:
    cut = m.group_points("truncated_frac") or m.points("train/completions/clipped_ratio")
    return [
        _one(say("metrics.chart_length"), m.points("train/completions/mean_length"), say, low=0.0),
        _one(say("metrics.chart_truncated"), cut, say, low=0.0, high=1.0, format=forms.percent, mark=forms.percent),
    ]


# ---- held-out rows


def evaluation(t: Telling) -> Section:
    """A row for each evaluation, the best checkpoint, and what may be chance."""
    found = evals(t.m)
    blocks: list[Block] = []
    if found:
        judged = shared_key(event for _, event in found) == "ordered"
        names = ("ordered", "correlation", "pairs") if judged else ("correct", "reward", "rows")
        head = [t.say(f"evaluation.{name}") for name in ("when", "step", *names)]
        sampled = any(event.sampled is not None for _, event in found)
        rows = [_row(t, step, event, sampled) for step, event in found]
        blocks.append(Table(head + ([t.say("evaluation.sampled")] if sampled else []), rows, frozenset((1, 2, 3, 4))))
    blocks += t.sayings("evaluation", "over_optimised", "overfitting")
    blocks += [Text(t.sentence(finding)) for finding in t.of("evaluation") if finding.level == "unknown"]
    best = t.m.best
    if best is not None:
        kind = "scores" if best.source == "scores.json" else best.source
        source = t.say(f"evaluation.best_source_{kind}", epoch=best.epoch)
        blocks.append(Text(t.say("evaluation.best", step=best.step, value=best.value, source=source)))
        blocks += _not_improved(t, best)
    return Section("evaluation", t.say("title.evaluation"), blocks)


def _not_improved(t: Telling, best: Best) -> Iterator[Text]:
    """That the model before training was no worse than the best checkpoint."""
    measured: Key = "ordered" if best.source == "pairs" else "reward"
    rewards = {step: score(event, measured) for step, event in evals(t.m)}
    before, after = rewards.get(0), rewards.get(best.step) if best.source == "scores.json" else best.value
    if before is not None and after is not None and before >= after:
        key = "not_improved" if before > after else "not_improved_same"
        yield Text(t.say(f"evaluation.{key}", step=best.step, before=before, after=after))


def _row(t: Telling, step: int, event: EvalEvent, sampled: bool) -> list[str]:
    at = "before_warm" if event.at == "before" and t.m.setting("model.warm_start") is not None else event.at
    when = t.say(f"word.{at}", method=t.words(f"method.{t.m.method}")) if f"word.{at}" in t.say else event.at
    last = (event.reward, event.rows) if event.pairs is None else (event.correlation, event.pairs)
    cells = [when, f"{step:,}", forms.percent(event.correct_frac), *map(forms.number, last)]
    return [*cells, _sampled(t, event.sampled or SampledScores())] if sampled else cells


def _sampled(t: Telling, found: SampledScores) -> str:
    rates = [
        t.say(f"evaluation.{name}_at", k=k, value=value)
        for name, shares in (("pass", found.pass_at), ("maj", found.maj_at))
        for k, value in shares.items()
    ]
    return ", ".join(rates)
