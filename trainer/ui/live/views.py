"""Views of one run: RunState -> words, points and lines. Pure functions; no gradio, no files.

Numbers come from report.fold and are formatted by trainer.console.lines, as on the console, so that page
and console say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer import forms
from trainer.charts import MOST_POINTS, Chart, Line, Style, smoothed, thinned, window
from trainer.console import lines
from trainer.report.fold import Column, RunState, summary
from trainer.status import LIVE
from trainer.ui.known_runs import Seen
from trainer.ui.text import Words

RECENT = 10  # steps a sentence speaks of, and lines shown


@dataclass(frozen=True)
class Action:
    """What a button does, or why it is off."""

    on: bool
    text: str


def sentences(seen: Seen, words: Words) -> list[str]:
    """What the run is doing or came to: the state first, then what was learnt."""
    said = [_state_sentence(seen, words)]
    found = summary(seen.state, seen.rundir, seen.status)
    if found["reward_first"] is not None:
        first, last = forms.number(found["reward_first"]), forms.number(found["reward_last"])
        said.append(words("sentence.reward", first=first, last=last))
    before, after = found["correct_before"], found["correct_after"]
    if before is not None and after is not None:
        rows = next((e.get("rows") for e in reversed(seen.state.evals)), None)
        said.append(
            words(
                "sentence.held_out",
                before=forms.percent(before),
                after=forms.percent(after),
                rows=forms.number(rows),
            )
        )
    dead = dead_sentence(seen.state, words)
    return [*said, dead] if dead else said


def _state_sentence(seen: Seen, words: Words) -> str:
    state, status = seen.state, seen.status
    step, total = f"{state.last_step:,}", planned(seen)
    if status == "finished":
        seconds = (state.final or {}).get("seconds")
        return words("sentence.finished", step=step, time=words.duration(seconds))
    if status == "stopped":
        saved = (state.final or {}).get("checkpoint")
        kept = words("sentence.kept", checkpoint=forms.printable(str(saved)))
        kept = kept if saved else words("sentence.kept_nothing")
        return words("sentence.stopped", step=step, total=total, kept=kept)
    if status in ("failed", "lost", "imported"):
        return words(f"sentence.{status}", step=step, total=total)
    if status == "running" and state.phase in ("train", "") and state.steps:
        return words("sentence.training", step=step, total=total)
    return words(f"sentence.{status}", phase=phase(seen, words))


def dead_sentence(state: RunState, words: Words) -> str:
    """How many groups of the newest steps gave no gradient; "" before the first step."""
    known = [share for share in state.groups.get("dead_frac", [])[-RECENT:] if share is not None]
    if not known:
        return ""
    if not any(known):
        return words("sentence.dead_none", count=len(known))
    return words(
        "sentence.dead",
        count=len(known),
        share=_mean_percent(state, "dead_frac"),
        right=_mean_percent(state, "all_right_frac"),
        wrong=_mean_percent(state, "all_wrong_frac"),
    )


def _mean_percent(state: RunState, name: str) -> str:
    known = [share for share in state.groups.get(name, [])[-RECENT:] if share is not None]
    return forms.percent(sum(known) / len(known) if known else None)


def phase(seen: Seen, words: Words) -> str:
    """What the worker is doing now, in words."""
    if seen.status == "imported":
        return words("fact.unknown")
    if seen.status not in LIVE:
        return words("phase.ended")
    known = {"load", "warm_start", "data", "eval", "train", "memory_probe", "save"}
    name = seen.state.phase
    return words(f"phase.{name}") if name in known else words("phase.between")


def planned(seen: Seen) -> str:
    """Planned steps in words."""
    return "?" if seen.total is None else f"{seen.total:,}"


def facts(seen: Seen, words: Words, now: float) -> list[tuple[str, str]]:
    """(name, value) pairs, the same names in every state of a run: nothing jumps."""
    state = seen.state
    index = len(state.steps) - 1
    unknown = words("fact.unknown")

    def last(columns: dict[str, Column], name: str) -> float | None:
        return columns.get(name, [None])[-1] if index >= 0 else None

    live = seen.status in LIVE
    left = lines.eta_s(state, index) if live and index >= 0 else None
    dead = last(state.groups, "dead_frac")
    reward = last(state.metrics, "train/reward")
    spread = last(state.groups, "group_std")
    memory = (state.gpu or {}).get("used_gib") or state.peak_memory_gib
    heard = max((newest for _, newest in state.attempt_t.values()), default=None)
    ago = unknown if heard is None else words("fact.ago", time=words.duration(_since(heard, now)))
    shown = [
        ("fact.phase", phase(seen, words)),
        ("fact.step", f"{state.last_step:,} / {planned(seen)}"),
        ("fact.pace", words.duration(state.seconds[-1]) if index >= 0 else unknown),
        ("fact.left", words.duration(left) if left is not None else unknown if live else "-"),
        ("fact.reward", forms.number(reward) if reward is not None else unknown),
        ("fact.spread", forms.number(spread) if spread is not None else unknown),
        ("fact.dead", forms.percent(dead) if dead is not None else unknown),
        ("fact.memory", f"{forms.number(memory)} GiB" if memory is not None else unknown),
        # Of a run that has ended the moment is shown: a number that counts up is no news.
        ("fact.sign", ago if live or heard is None else forms.clock(heard)),
        ("fact.attempt", str(state.attempts or 1)),
    ]
    return [(words(name), value) for name, value in shown]


def _since(then: float, now: float) -> float:
    return float(max(0, round(now - then)))


def reward_chart(state: RunState, words: Words) -> Chart:
    """Every step faint, the mean of its neighbourhood strong."""
    column = state.metrics.get("train/reward", [])
    return Chart(words("chart.reward"), _two_lines(state.steps, column, words))


def spread_chart(state: RunState, words: Words) -> Chart:
    """From 0, which is what to look for."""
    column = state.groups.get("group_std", [])
    return Chart(words("chart.spread"), _two_lines(state.steps, column, words), low=0.0)


def dead_chart(state: RunState, words: Words) -> Chart:
    """The share of dead groups, and of it the part that was all right and all wrong.

    In a long run as means over a stretch: a step has few groups, their shares leap.
    """
    names: list[tuple[str, str, Style]] = [
        ("dead_frac", "chart.dead_all", "wide"),
        ("all_right_frac", "chart.dead_right", "dashed"),
        ("all_wrong_frac", "chart.dead_wrong", "dotted"),
    ]
    width = len(state.steps) // 50
    title = words("chart.dead")
    if width > 1:
        title += f", {words('chart.smooth', count=width)}"
    drawn = []
    for name, key, style in names:
        column = state.groups.get(name, [])
        column = smoothed(column, width) if width > 1 else column
        drawn.append(Line(words(key), style, thinned(state.steps, column, MOST_POINTS // 3)))
    return Chart(title, drawn, low=0.0, high=1.0, format=forms.percent, mark=forms.percent)


def _two_lines(steps: Sequence[int], column: Column, words: Words) -> list[Line]:
    width = window(len(steps))
    raw = thinned(steps, column, MOST_POINTS // 2)
    mean = thinned(steps, smoothed(column, width), MOST_POINTS // 2)
    smooth = words("chart.smooth", count=width)
    return [Line(words("chart.each"), "faint", raw), Line(smooth, "strong", mean)]


def step_lines(seen: Seen) -> list[str]:
    """The newest steps as the console prints them, the newest first."""
    count = len(seen.state.steps)
    beta = seen.spec.grpo.beta if seen.spec else 0.0
    newest = range(count - 1, max(-1, count - 1 - RECENT), -1)
    return [lines.step_line(seen.state, index, beta) for index in newest]


def alerts(state: RunState) -> list[tuple[str, str]]:
    """(level, text) of the newest alerts, the newest first."""
    return [
        (str(alert.get("level", "info")), f"{alert.get('title', '')}: {alert.get('text', '')}")
        for alert in reversed(state.alerts[-2 * RECENT :])
    ]


def cause(seen: Seen) -> list[str]:
    """Why a run failed, one problem a line; [] for a run that did not."""
    final = seen.state.final
    return forms.failure(final) if seen.status == "failed" and final else []


def traceback_tail(seen: Seen) -> str:
    """The end of the traceback of a run that failed, "" otherwise."""
    tail: Any = (seen.state.final or {}).get("traceback_tail") if seen.status == "failed" else None
    return "\n".join(map(str, tail)) if isinstance(tail, list) else str(tail or "")


def stop_action(seen: Seen, words: Words) -> Action:
    """Whether the run can be asked to stop, and what happens then."""
    if seen.status == "stopping":
        return Action(False, words("stop.asked", run=seen.rundir.name))
    if seen.status not in LIVE:
        return Action(False, words("stop.ended"))
    if not seen.state.steps:
        early = seen.status == "starting" or seen.state.phase in ("load", "warm_start", "data")
        return Action(True, words("stop.before" if early else "stop.first"))
    pace = [seconds for seconds in seen.state.seconds[-RECENT:] if seconds is not None]
    return Action(True, words("stop.now", time=words.duration(max(pace, default=None))))


def resume_action(seen: Seen, words: Words) -> Action:
    """Whether the run can go on, and from where."""
    if seen.status in LIVE:
        return Action(False, words("resume.live"))
    if seen.status in ("finished", "imported"):
        return Action(False, words(f"resume.{seen.status}"))
    attempt = max(seen.rundir.newest_attempt(), seen.state.attempts) + 1
    saved = [event.get("name") for event in seen.state.checkpoints if event.get("verified")]
    if not saved:
        return Action(True, words("resume.nothing", attempt=attempt))
    name = forms.printable(str(saved[-1]))
    return Action(True, words("resume.checkpoint", checkpoint=name, attempt=attempt))
