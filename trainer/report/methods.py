"""Methods compared on one budget: held-out score, pass@k and maj@k before and after, over several seeds.

What RL changes is asked as DeepSeekMath does (arXiv 2402.03300, section 5.2.2): pass@k says what the model can do in k
tries, maj@k what it does most of the time. A gain of maj@k without one of pass@k makes right answers more frequent and
finds no new ones.

Means are over seeds, and their errors those of the seeds (Student's t, 95 %); with one seed there is none.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from trainer.report.document import Block, Charts, Report, Section, Table, Text
from trainer.report.material import Material
from trainer.report.rules.evaluation import evals
from trainer.report.sections.telling import words
from trainer.run.records import EvalEvent
from trainer.show.charts import COLOURS, Chart, Line
from trainer.text import forms
from trainer.text.words import Words

Kind = Literal["pass_at", "maj_at"]
T_95 = {
    1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 12: 2.179,
    15: 2.131, 20: 2.086, 30: 2.042,
}  # fmt: skip
"""Quantiles of Student's t at 97.5 %, by degrees of freedom."""


@dataclass(frozen=True)
class Mean:
    """error: half of the 95 % interval; None with one seed."""

    value: float
    error: float | None

    def text(self) -> str:
        bound = "" if self.error is None else f" \u00b1 {forms.percent(self.error)}"
        return f"{forms.percent(self.value)}{bound}"


def mean(values: Sequence[float]) -> Mean | None:
    """None of nothing."""
    if not values:
        return None
    if len(values) == 1:
        return Mean(values[0], None)
    t = T_95[max(freedom for freedom in T_95 if freedom < len(values))]  # the next smaller one is on the safe side
    return Mean(statistics.fmean(values), t * statistics.stdev(values) / math.sqrt(len(values)))


@dataclass(frozen=True)
class Ran:
    """One run of a method: its first and its last evaluation. sampled: completions it wrote to learn from."""

    material: Material
    before: EvalEvent
    after: EvalEvent
    sampled: int
    seed: int = 0

    def share(self, kind: Kind, k: str, after: bool) -> float | None:
        event = self.after if after else self.before
        value = getattr(event.sampled, kind).get(k) if event.sampled is not None else None
        return float(value) if isinstance(value, int | float) else None


def ran(m: Material, sampled: int, seed: int = 0) -> Ran | None:
    """None where it has no evaluation before and after."""
    found = evals(m)
    if len(found) < 2 or found[0][0] != 0:
        return None
    return Ran(m, found[0][1], found[-1][1], sampled, seed)


def build(found: Mapping[str, Sequence[Ran]], budget: int, language: str) -> Report:
    """found: the runs of each method, the same seeds in the same order."""
    say = words(language)
    ks = _ks(found)
    blocks: dict[str, list[Block]] = {
        "methods_verdict": [Text(text, "lead" if n == 0 else "plain") for n, text in enumerate(_verdicts(found, say))],
        "methods_table": [_table(found, ks, say), Text(say("methods.budget", budget=budget), "small")],
        "methods_changed": [*(Text(text) for text in _changed(found, ks, say)), _charts(found, ks, say)],
    }
    names = ", ".join(found)
    seeds = max(map(len, found.values()), default=0)
    runs = " ".join(run.material.name for of_method in found.values() for run in of_method)
    return Report(
        language=language,
        title=say("methods.title", methods=names),
        subtitle=say("methods.subtitle", date=time.strftime("%Y-%m-%d %H:%M", time.localtime()), seeds=seeds),
        sections=[Section(key, say(f"methods.{key.removeprefix('methods_')}"), parts) for key, parts in blocks.items()],
        footer=say("footer.methods", file="events.jsonl", run=runs),
    )


def _ks(found: Mapping[str, Sequence[Ran]]) -> list[str]:
    """Those that every run measured before and after."""
    events = [event for runs in found.values() for run in runs for event in (run.before, run.after)]
    each = [set(event.sampled.pass_at) if event.sampled is not None else set() for event in events]
    return sorted(set.intersection(*each), key=int) if each else []


def _correct(runs: Sequence[Ran], after: bool = True) -> list[float]:
    events = [run.after if after else run.before for run in runs]
    return [float(event.correct_frac) for event in events if event.correct_frac is not None]


def _table(found: Mapping[str, Sequence[Ran]], ks: Sequence[str], say: Words) -> Table:
    shown = [k for k in ks if k in (ks[0], ks[-1])] if ks else []
    head = [say("methods.method"), say("methods.before"), say("methods.after")]
    head += [f"{kind}@{k}" for k in shown for kind in ("pass", "maj")]
    head += [say("methods.written"), say("methods.tokens"), say("methods.seconds")]
    rows = [[name, *_cells(runs, shown, say)] for name, runs in found.items()]
    return Table(head, rows, frozenset(range(1, len(head))))


def _cells(runs: Sequence[Ran], shown: Sequence[str], say: Words) -> Iterator[str]:
    for after in (False, True):
        found = mean(_correct(runs, after))
        yield "n/a" if found is None else found.text()
    for k in shown:
        for kind in ("pass_at", "maj_at"):
            yield " \u2192 ".join(_share(runs, kind, k, after) for after in (False, True))
    yield forms.number(_plain_mean([run.sampled for run in runs]))
    yield forms.number(_plain_mean([run.material.state.tokens for run in runs]))
    yield say.duration(_plain_mean([sum(seconds for _, seconds in run.material.seconds) for run in runs]))


def _share(runs: Sequence[Ran], kind: Kind, k: str, after: bool) -> str:
    values = [value for run in runs if (value := run.share(kind, k, after)) is not None]
    return forms.percent(_plain_mean(values))


def _plain_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


# ---- in sentences


def _verdicts(found: Mapping[str, Sequence[Ran]], say: Words) -> list[str]:
    """The best, then one sentence for each pair: better, or not told apart."""
    scores = {name: {run.seed: score for run in runs for score in _correct([run])} for name, runs in found.items()}
    known = {name: statistics.fmean(values.values()) for name, values in scores.items() if values}
    if not known:
        return [say("methods.nothing")]
    best = max(known, key=lambda name: known[name])
    said = [say("methods.best", method=best, score=known[best])]
    for one, other in combinations(sorted(known, key=lambda name: -known[name]), 2):
        seeds = scores[one].keys() & scores[other].keys()  # what a seed does to both is taken out
        difference = mean([scores[one][seed] - scores[other][seed] for seed in sorted(seeds)])
        if difference is None:
            continue
        values = {"better": one, "worse": other, "difference": difference.value}
        if difference.error is None:
            said.append(say("methods.one_seed", **values))
        else:
            key = "better" if abs(difference.value) > difference.error else "unclear"
            said.append(say(f"methods.{key}", **values, error=difference.error))
    return said


def _changed(found: Mapping[str, Sequence[Ran]], ks: Sequence[str], say: Words) -> Iterator[str]:
    """Per method: did it make right answers more frequent (maj@k), or find new ones (pass@k)?"""
    if not ks:
        yield say("methods.no_samples")
        return
    k = ks[-1]
    for name, runs in found.items():
        gains = {kind: mean(_gains(runs, kind, k)) for kind in ("pass_at", "maj_at")}
        in_tries, mostly = gains["pass_at"], gains["maj_at"]
        if in_tries is None or mostly is None:
            continue
        sure = _is_sure(in_tries), _is_sure(mostly)
        key = {(1, 1): "both", (0, 1): "more_often", (1, 0): "new_ones", (0, 0): "neither"}.get(sure, "fell")
        if in_tries.error is None or mostly.error is None:
            key = "one_seed"
        yield say(f"methods.changed_{key}", method=name, k=k, tries=in_tries.value, mostly=mostly.value)


def _is_sure(gain: Mean) -> int:
    """1 for a gain, -1 for a loss, 0 where chance explains it."""
    if gain.error is None or abs(gain.value) <= gain.error:
        return 0
    return 1 if gain.value > 0 else -1


def _gains(runs: Sequence[Ran], kind: Kind, k: str) -> list[float]:
    pairs = [(run.share(kind, k, False), run.share(kind, k, True)) for run in runs]
    return [after - before for before, after in pairs if before is not None and after is not None]


def _charts(found: Mapping[str, Sequence[Ran]], ks: Sequence[str], say: Words) -> Charts:
    """pass@k and maj@k over k: of each method after its training, and the start of all in grey."""
    charts = []
    for kind in ("pass_at", "maj_at"):
        named = zip(found.items(), COLOURS, strict=False)
        lines = [Line(name, colour, _curve(runs, kind, ks, True)) for (name, runs), colour in named]
        first = next(iter(found.values()), ())
        before = Line(say("methods.before"), "dashed", _curve(first, kind, ks, False))
        charts.append(Chart(say(f"methods.chart_{kind}"), [before, *lines], low=0.0, high=1.0, headline=False))
    return Charts(charts, "k", say("metrics.empty"))


def _curve(runs: Sequence[Ran], kind: Kind, ks: Sequence[str], after: bool) -> list[tuple[int, float]]:
    points = ((int(k), [v for run in runs if (v := run.share(kind, k, after)) is not None]) for k in ks)
    return [(k, statistics.fmean(values)) for k, values in points if values]
