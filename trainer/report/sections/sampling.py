"""Which prompts came, and what that cost: only of a run that used [sampling]."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainer.report import series
from trainer.report.document import Block, Section, Table, Text
from trainer.report.rules.sampling import HEAD, thrown_share, total
from trainer.report.sections.metrics import curve, drawn, thin
from trainer.report.sections.telling import Telling
from trainer.show.charts import COLOURS, MOST_POINTS, Chart, Line, Style
from trainer.text import Message, forms

_LEVEL = re.compile(re.escape(f"{HEAD}pass_rate/level_") + r"(\d+)")


def sampling(t: Telling) -> Section:
    """What was chosen, how levels went, what was thrown away, completions of a prompt."""
    told = t.m.plan.get("sampling") or []
    if not told and not any(name.startswith(HEAD) for name in t.m.state.metrics):
        return Section("sampling", t.say("title.sampling"), [])
    blocks: list[Block] = [Text(t.say.said(Message.read(stored))) for stored in told]
    blocks += [Text(alert.said(t.say)[1]) for alert in t.m.state.alerts if alert.key == "pass_rates"]
    blocks += _levels(t)
    blocks += _sums(t)
    found = [finding.signal for finding in t.of("dynamic_sampling", "replay", "skip_dead") if finding.level != "na"]
    blocks += t.sayings(*found)
    blocks += drawn(t, _charts(t))
    return Section("sampling", t.say("title.sampling"), blocks)


def _levels(t: Telling) -> Iterator[Table]:
    """When each level came, for how many steps it was the one, and how often it is answered right by now."""
    level = t.m.points(f"{HEAD}level")
    if not level:
        return
    rates = {int(match[1]): name for name in t.m.state.metrics if (match := _LEVEL.fullmatch(name))}
    first: dict[int, int] = {}
    count: dict[int, int] = {}
    for step, value in level:
        first.setdefault(round(value), step)
        count[round(value)] = count.get(round(value), 0) + 1
    measured = [alert.values.get("levels") for alert in t.m.state.alerts if alert.key == "pass_rates" and alert.values]
    counted = [len(levels) for levels in measured if isinstance(levels, list)]
    most = max([*rates, *counted], default=0)
    rows = []
    for number in sorted(first):
        points = t.m.points(rates[number]) if number in rates else []
        # After the last level all rows come.
        name = t.say("sampling.all_rows") if number == most + 1 else f"{number}"
        right = forms.percent(points[-1][1]) if points else "-"
        rows.append((name, f"{first[number]:,}", f"{count[number]:,}", right))
    head = [t.say(f"sampling.{name}") for name in ("level", "first", "steps", "right")]
    yield Table(head, rows, frozenset((1, 2, 3)))


def _sums(t: Telling) -> Iterator[Table]:
    m, say = t.m, t.say
    rows = []
    if m.points(f"{HEAD}thrown_frac"):
        seconds = float(series.values_of(m.seconds).sum())
        thrown = {"tokens": total(m, "thrown_tokens"), "share": thrown_share(m)}
        rows.append((say("sampling.thrown"), say("sampling.thrown_tokens", **thrown)))
        lost = {"seconds": total(m, "thrown_s"), "all": seconds}
        rows.append((say("sampling.thrown_s"), say("sampling.seconds", **lost)))
        rows.append((say("sampling.rounds"), forms.number(_mean(t, "rounds"))))
        rows.append((say("sampling.without_spread"), forms.percent(_mean(t, "kept_without_spread_frac"))))
    if m.points(f"{HEAD}replayed_frac"):
        rows.append((say("sampling.replayed"), forms.percent(_mean(t, "replayed_frac"))))
    if m.points(f"{HEAD}replay_age"):
        rows.append((say("sampling.replay_age"), forms.number(_mean(t, "replay_age"))))
    if m.points(f"{HEAD}skipped_frac"):
        rows.append((say("sampling.skipped"), forms.percent(_mean(t, "skipped_frac"))))
    least, most = (m.points(f"{HEAD}completions_{end}") for end in ("min", "max"))
    if least and most:
        bounds = {"least": series.values_of(least).min(), "most": series.values_of(most).max()}
        rows.append((say("sampling.sizes"), say("sampling.from_to", **{name: int(v) for name, v in bounds.items()})))
    if rows:
        yield Table((say("sampling.what"), say("sampling.value")), rows, frozenset((1,)))


def _mean(t: Telling, name: str) -> float:
    return float(series.values_of(t.m.points(HEAD + name)).mean())


def _charts(t: Telling) -> list[Chart]:
    say = t.say
    numbers = sorted(int(match[1]) for name in t.m.state.metrics if (match := _LEVEL.fullmatch(name)))
    rates = [
        _line(t, f"pass_rate/level_{number}", say("sampling.level_n", number=number), colour)
        for number, colour in zip(numbers[-len(COLOURS) :], COLOURS, strict=False)
    ]
    shares: tuple[tuple[str, Style], ...] = (
        ("thrown_frac", "strong"), ("kept_without_spread_frac", "dashed"), ("skipped_frac", "dotted"),
        ("replayed_frac", "c2"),
    )  # fmt: skip
    sizes: tuple[tuple[str, Style], ...] = (("completions_max", "strong"), ("completions_min", "dashed"))
    return [
        Chart(
            say("sampling.chart_level"),
            [_line(t, "level", say("sampling.level"), "strong", exact=True)],
            1.0,
            None,
            "{:g}".format,
        ),
        _of_shares(say("sampling.chart_rates"), rates),
        _of_shares(say("sampling.chart_shares"), [_line(t, key, say(f"sampling.{key}"), s) for key, s in shares]),
        Chart(say("sampling.sizes"), [_line(t, key, say(f"sampling.{key}"), s) for key, s in sizes], 0.0),
    ]


def _of_shares(title: str, lines: list[Line]) -> Chart:
    return Chart(title, lines, 0.0, 1.0, forms.percent, forms.percent, headline=False)


def _line(t: Telling, key: str, name: str, style: Style, exact: bool = False) -> Line:
    """exact: a level that is smoothed never was."""
    points = t.m.points(HEAD + key)
    return Line(name, style, thin(points) if exact else curve(points, MOST_POINTS // 2) if points else [])
