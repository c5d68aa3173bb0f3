"""Two runs or more beside each other: settings that differ, curves, evaluation, and a verdict with its uncertainty.

Scores are compared only where they measure the same: held-out scores on the same rows, rewards from the same reward.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from trainer.machine.secrets import SECRET, is_secret_setting
from trainer.report import series
from trainer.report.document import Block, Charts, Report, Section, Table, Text
from trainer.report.material import Material
from trainer.report.rules.evaluation import SURE, Key, error, evals, score, shared_key
from trainer.report.sections.metrics import curve
from trainer.report.sections.overview import inside
from trainer.report.sections.telling import words
from trainer.run.records import EvalEvent
from trainer.show.charts import COLOURS, MOST_POINTS, Chart, Line
from trainer.text import forms
from trainer.text import words as words_of
from trainer.text.words import Words

CURVES = (
    ("chart_reward_alone", "train/reward"),
    ("chart_spread", "group_std"),
    ("chart_kl", "train/kl"),
    ("chart_entropy", "train/entropy"),
    ("chart_tokens", "train/mean_token_accuracy"),
    ("chart_pairs", "train/rewards/accuracies"),
    ("chart_length", "train/completions/mean_length"),
    ("chart_time", "seconds"),
)


def build(found: Sequence[Material], language: str) -> Report:
    """The comparison as a report."""
    say = words(language)
    names = ", ".join(m.name for m in found)
    blocks: dict[str, list[Block]] = {
        "verdict": [Text(text, "lead" if n == 0 else "plain") for n, text in enumerate(verdicts(found, say))],
        "results": [_results(found, say)],
        "settings": [_settings(found, say)],
        "curves": [_curves(found, say)],
    }
    blocks["verdict"].append(Text(say("compare.seeds"), "small"))
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime())
    steps = " + ".join(f"{len(m.state.steps):,}" for m in found)
    return Report(
        language=language,
        title=say("title.compare", runs=names),
        subtitle=say("title.written", date=written, steps=steps),
        sections=[Section(key, say(f"compare.{key}"), parts) for key, parts in blocks.items()],
        footer=say("footer.made", file="events.jsonl", run=" ".join(m.name for m in found)),
    )


# ---- what came of it


def _results(found: Sequence[Material], say: Words) -> Table:
    head = ["", *(m.name for m in found)]
    rows: list[Sequence[str]] = [(say("compare.state"), *(say(f"status.{m.status}") for m in found))]
    if len({m.method for m in found}) > 1:
        methods = words_of(say.language)
        rows.insert(0, (say("compare.method"), *(methods(f"method.{m.method}") for m in found)))
    rows.append((say("compare.steps"), *(f"{m.state.last_step:,}" for m in found)))
    rewarded = any(not m.is_supervised for m in found)  # the others pay nothing while they train
    if rewarded:
        rows.append((say("compare.reward_last"), *(_late_reward(m, say) for m in found)))
    last = [trained_score(m) for m in found]
    judges = all(m.method == "reward_model" for m in found)
    held_out = say("compare.ordered" if judges else "compare.held_out")
    rows.append((held_out, *(_at(event, lambda e: forms.percent(e.correct_frac)) for event in last)))
    rows.append((say("compare.held_out_reward"), *(_at(event, lambda e: forms.number(e.reward)) for event in last)))
    if rewarded:
        rows.append((say("compare.dead"), *(_late_dead(m, say) for m in found)))
    rows.append((say("compare.step_time"), *(_usual_time(m, say) for m in found)))
    rows.append((say("compare.tokens"), *(forms.number(m.state.tokens) for m in found)))
    return Table(head, rows, frozenset(range(1, len(head))))


def trained_score(m: Material) -> EvalEvent | None:
    """The newest evaluation of trained weights; None when only the untrained model was evaluated, or none."""
    found = [event for step, event in evals(m) if step > 0]
    return found[-1] if found else None


def _at(event: EvalEvent | None, value: Callable[[EvalEvent], str]) -> str:
    return f"{value(event)} ({event.step:,})" if event is not None else "-"


def _rewards(m: Material, until: int) -> series.Points:
    """Of the steps up to `until`."""
    return [point for point in m.points("train/reward") if point[0] <= until]


def _late_reward(m: Material, say: Words) -> str:
    """Over the end of the run (series.newest), and which part of it that is."""
    points = m.points("train/reward")
    mean = _with_error(series.mean(series.newest(points)))
    return f"{mean} ({say.said(series.late(len(points)))})" if points else mean


def _with_error(mean: series.Mean | None) -> str:
    if mean is None or not math.isfinite(mean.error):
        return "n/a"
    return f"{forms.number(mean.value)} \u00b1 {forms.number(SURE * mean.error)}"


def _late_dead(m: Material, say: Words) -> str:
    """Over the end of the run as well: the share that its own report names."""
    points = m.group_points("dead_frac")
    mean = series.mean(series.newest(points))
    return f"{forms.percent(mean.value)} ({say.said(series.late(len(points)))})" if mean else "n/a"


def _usual_time(m: Material, say: Words) -> str:
    return say.duration(series.usual(m.seconds).median) if m.seconds else say.duration(None)


# ---- settings


def _settings(found: Sequence[Material], say: Words) -> Table | Text:
    """Only those that differ. What an imported run does not know is not known, not equal."""
    known = [_flat(m) for m in found]
    keys = sorted(set().union(*known))
    rows = []
    for key in keys:
        # What a run made here has no value for is not set; of an imported one it is not known.
        missing = [None if m.known is None and m.spec is not None else _MISSING for m in found]
        values = [settings.get(key, none) for settings, none in zip(known, missing, strict=True)]
        if any(value != values[0] for value in values):
            rows.append((key, *(say("compare.unknown") if v is _MISSING else _shown(v) for v in values)))
    if not rows:
        return Text(say("compare.same_settings"))
    return Table([say("compare.setting"), *(m.name for m in found)], rows)


_MISSING = object()


def _flat(m: Material) -> dict[str, Any]:
    """{section.key: value} of the settings that are known, tables and lists of tables taken apart."""
    if m.spec is None:
        return {}
    flat: dict[str, Any] = {}
    waiting: list[tuple[str, Mapping[str, Any]]] = [("", m.spec.model_dump(mode="json"))]
    while waiting:
        head, table = waiting.pop()
        for key, value in table.items():
            name = f"{head}{key}"
            if isinstance(value, list) and any(isinstance(one, dict) for one in value):
                value = {str(place): one for place, one in enumerate(value)}
            if name in _NO_SETTING:
                continue
            if name == "recipes":
                flat[name] = ", ".join(value) or None
            elif isinstance(value, dict):
                waiting.append((f"{name}.", value))
            elif m.known is None or (value is not None and m.is_known(name)):
                hidden = is_secret_setting(key, value)
                flat[name] = SECRET if hidden else inside(value) if isinstance(value, str) else value
    return flat


_NO_SETTING = ("title", "titles", "fixed")


def _shown(value: Any) -> str:
    """As it stands in TOML, cut where it is long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    text = ", ".join(map(str, value)) if isinstance(value, list) else "-" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:79]}\u2026"


# ---- curves


def _curves(found: Sequence[Material], say: Words) -> Charts:
    charts = []
    for key, name in CURVES:
        drawn = [
            Line(m.name, colour, curve(_points(m, name), MOST_POINTS // 4))
            for m, colour in zip(found, COLOURS, strict=False)
        ]
        if any(line.points for line in drawn):
            charts.append(Chart(say(f"metrics.{key}"), drawn, headline=False))
    scores = [
        Line(m.name, colour, [(step, event.reward) for step, event in evals(m) if event.reward is not None])
        for m, colour in zip(found, COLOURS, strict=False)
    ]
    if any(line.points for line in scores):
        charts.insert(1, Chart(say("metrics.chart_eval"), scores, headline=False))
    return Charts(charts, say("metrics.step"), say("metrics.empty"))


def _points(m: Material, name: str) -> series.Points:
    if name == "seconds":
        return m.seconds
    return m.points(name) or m.group_points(name)


# ---- verdict


def verdicts(found: Sequence[Material], say: Words) -> list[str]:
    """One sentence for each pair of runs, those that can be compared at all."""
    said: list[str] = []
    for a, b in combinations(found, 2):
        said += _pair(a, b, say)
        if a.known is None and b.known is None and _flat(a) == _flat(b):
            said.append(say("compare.same", a=a.name, b=b.name))
    return said


def _pair(a: Material, b: Material, say: Words) -> Iterator[str]:
    last_a, last_b = trained_score(a), trained_score(b)
    same = _same_reward(a, b)
    if last_a is not None and last_b is not None:
        if not _same_rows(a, b):
            yield say("compare.other_rows", a=a.name, b=b.name)
        elif shared_key((last_a, last_b)) == "correct_frac" and _same_correct(a, b):
            yield _held_out("correct", "correct_frac", (a, last_a), (b, last_b), say)
            return
        elif same and None not in (error(last_a, "reward"), error(last_b, "reward")):
            yield _held_out("reward", "reward", (a, last_a), (b, last_b), say)
            return
    if not same:
        yield say("compare.other_rewards", a=a.name, b=b.name)
        return
    until = min(a.state.last_step, b.state.last_step)
    points = _rewards(a, until), _rewards(b, until)
    means = [series.mean(series.newest(found)) for found in points]
    if means[0] is None or means[1] is None:
        yield say("compare.nothing", a=a.name, b=b.name)
        return
    yield say("compare.no_eval", a=a.name, b=b.name)
    difference, bound = means[0].value - means[1].value, SURE * math.hypot(means[0].error, means[1].error)
    late = series.late(min(map(len, points)))
    yield _sentence("training_better", "training_unclear", difference, bound, a, b, say, late=late)
    if a.state.last_step != b.state.last_step:
        yield say("compare.until", step=until)


def _held_out(
    kind: str, key: Key, one: tuple[Material, EvalEvent], other: tuple[Material, EvalEvent], say: Words
) -> str:
    (a, last_a), (b, last_b) = one, other
    errors = [error(event, key) for event in (last_a, last_b)]
    bound = SURE * math.hypot(*(value if value is not None else math.inf for value in errors))
    difference = score(last_a, key) - score(last_b, key)
    return _sentence(f"better_{kind}", f"unclear_{kind}", difference, bound, a, b, say)


def _sentence(
    clear: str, unclear: str, difference: float, bound: float, a: Material, b: Material, say: Words, **more: Any
) -> str:
    better, worse = (a, b) if difference >= 0 else (b, a)
    key = clear if abs(difference) > bound else unclear
    values = {"better": better.name, "worse": worse.name, "difference": abs(difference), "error": bound} | more
    return say(f"compare.{key}", **values)


def _same_rows(a: Material, b: Material) -> bool:
    """The same held-out questions, by their fingerprint; not known is not the same."""
    prints = [(m.state.data or {}).get("held_out_fingerprint") for m in (a, b)]
    return prints[0] is not None and prints[0] == prints[1]


def _same_reward(a: Material, b: Material) -> bool:
    parts = [m.setting("reward") for m in (a, b)]
    return parts[0] is not None and parts[0] == parts[1]


def _same_correct(a: Material, b: Material) -> bool:
    """Do both call the same answers right?"""
    return _judge(a) is not None and _judge(a) == _judge(b)


def _judge(m: Material) -> Any:
    if m.spec is None or m.setting("reward") is None:
        return None
    reward = m.spec.reward
    leaves = reward.leaves()
    chosen = next((leaf for leaf in leaves if leaf.title == reward.correct), leaves[0])
    return chosen.function, chosen.file, chosen.params, chosen.scale, chosen.clip, reward.correct_at
