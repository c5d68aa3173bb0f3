"""What Live says of one run: RunState -> words. Pure functions but for one small file; no gradio.

Numbers come from run.state and are formatted by trainer.console.lines, as on the console, so that page and console
say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer import launch
from trainer.console import lines
from trainer.errors import Problem
from trainer.launch import stop_asked
from trainer.machine.json_files import read_json
from trainer.report.finding import Finding
from trainer.report.rules.verdict import named, said_verdict
from trainer.report.sections import telling
from trainer.run.records import EndedOnRequestEvent, RunFailedEvent
from trainer.run.state import RunState
from trainer.run.status import LIVE
from trainer.run.summary import summary
from trainer.spec.methods import SUPERVISED
from trainer.text import Words, forms
from trainer.ui.diagnoses import Diagnosis
from trainer.ui.known_runs import Seen

RECENT = 10  # steps a pace is the mean of, and lines shown
# phases before the first step
EARLY = ("load", "warm_start", "data", "rewards", "policy_probe", "memory_probe", "pass_rates", "samples",
         "held_out_samples")  # fmt: skip
_MOST_BECAUSE = 2  # findings named below the verdict
_MOST_CAUSE = 240  # characters of the cause in the sentence at the top


def told(seen: Seen, found: Diagnosis | None, words: Words) -> list[str]:
    """The sentence at the top, then the others. found: None while the first diagnosis is made.

    The verdict is that of Health and report. A run that broke says why first; before its first step a run has none.
    """
    said = sentences(seen, words)
    if seen.status == "failed":
        step, total = f"{seen.state.last_step:,}", planned(seen)
        first = problems(seen)[0].said(words)
        why = forms.printable(f"{first.where}: {first.what}")
        why = why if len(why) <= _MOST_CAUSE else f"{why[:_MOST_CAUSE]}\u2026"
        said[0] = words("sentence.failed_why", step=step, total=total, why=why)
    if found is None or found.broken or not found.last_step:
        return said
    report = telling.words(words.language)
    verdict = said_verdict(found.findings, report)
    said = [said[0], verdict] if seen.status in ("failed", "lost") else [verdict, said[0]]
    return [*said, *sentences(seen, words)[1:], *_because(found.findings, report)]


def _because(findings: Sequence[Finding], report: Words) -> list[str]:
    """What the rules call wrong, in their own sentences, after how many groups taught nothing."""
    shown = [finding for finding in findings if finding.signal == "dead_groups" and finding.level != "unknown"]
    shown += [finding for finding in findings if finding.level == "red" and finding not in shown]
    cause = named(findings)
    if cause is not None:  # it has a box of its own, with the texts that other findings are about
        shown = [finding for finding in shown if finding is not cause and "shown" not in finding.values]
    return [report(f"finding.{finding.signal}.{finding.key}", **finding.values) for finding in shown[:_MOST_BECAUSE]]


def sentences(seen: Seen, words: Words) -> list[str]:
    """What the run is doing or came to: its state first, then the reward."""
    found = summary(seen.state, seen.rundir, seen.status)
    said = [_state_sentence(seen, found["wall_seconds"], words)]
    before, after = found["correct_before"], found["correct_after"]
    if seen.method in SUPERVISED and before is not None and after is not None:
        key = "held_out" if found["pairs"] is None else "ordered"
        said.append(words(f"sentence.{key}", before=before, after=after))
    elif found["reward_first"] is not None:
        first, last = forms.number(found["reward_first"]), forms.number(found["reward_last"])
        said.append(words("sentence.reward", first=first, last=last))
    return said


def _state_sentence(seen: Seen, seconds: float, words: Words) -> str:
    """seconds: of all attempts, as Runs has them."""
    state, status = seen.state, seen.status
    step, total = f"{state.last_step:,}", planned(seen)
    if status == "finished":
        return words("sentence.finished", step=step, time=words.duration(seconds))
    if status in ("stopped", "paused"):
        saved = state.final.checkpoint if isinstance(state.final, EndedOnRequestEvent) else None
        kept = words("sentence.kept", checkpoint=forms.printable(str(saved)))
        kept = kept if saved else words("sentence.kept_nothing")
        return words(f"sentence.{status}", step=step, total=total, kept=kept, device=device(state, words))
    if status in ("failed", "lost", "imported", "queued"):
        return words(f"sentence.{status}", step=step, total=total)
    if status == "running" and state.phase in ("train", "") and state.steps:
        return words("sentence.training", step=step, total=total)
    if status == "stopping":
        asked = stop_asked(seen.rundir)
        return words("sentence.pausing" if asked is not None and asked.pause else "sentence.stopping")
    return words(f"sentence.{status}", phase=phase(seen, words))


def phase(seen: Seen, words: Words) -> str:
    """What the worker is doing now, in words."""
    if seen.status == "imported":
        return words("fact.unknown")
    if seen.status == "queued":
        return words("phase.waits")
    if seen.status not in LIVE:
        return words("phase.ended")
    key = f"phase.{seen.state.phase}"
    return words(key) if seen.state.phase and key in words else words("phase.between")


def phase_s(seen: Seen, now: float) -> float | None:
    """How long the worker has been at it; None while it trains, and when nobody knows."""
    state = seen.state
    if seen.status not in LIVE or (state.steps and state.phase in ("train", "")):
        return None
    if seen.status == "starting" or state.started is None:
        since: Any = (read_json(seen.rundir.identity) or {}).get("t")
    elif state.phase in EARLY:
        # A phase begins when the one before it ends: only ends are kept, and heartbeats may have come since.
        since = max(event.t for event in (state.started, *state.phases[-1:], *state.evals[-1:]) if event is not None)
    else:
        since = state.attempt_t[state.attempts][1]
    return max(0.0, now - since) if isinstance(since, int | float) else None


def device(state: RunState, words: Words) -> str:
    """What is free when the run has ended: the GPU of one that trains on it, else the memory it used."""
    gpu = state.gpu is not None or (state.trained is not None and str(state.trained.device).startswith("cuda"))
    return words("sentence.gpu" if gpu else "sentence.memory")


def planned(seen: Seen) -> str:
    """Planned steps in words."""
    return "?" if seen.total is None else f"{seen.total:,}"


def facts(seen: Seen, words: Words, now: float) -> list[tuple[str, str]]:
    """(name, value) pairs, the same names in every state of a run: nothing jumps."""
    state = seen.state
    index = len(state.steps) - 1
    unknown = words("fact.unknown")
    live = seen.status in LIVE
    heard = max((newest for _, newest in state.attempt_t.values()), default=None)
    ago = unknown if heard is None else words("fact.ago", time=words.duration(_since(heard, now)))
    spent = phase_s(seen, now)
    doing = phase(seen, words) + ("" if spent is None else f", {words.duration(max(1, round(spent)))}")
    shown = [
        ("fact.state", words(f"status.{seen.status}")),
        ("fact.step", f"{state.last_step:,} / {planned(seen)}"),
        ("fact.pace", words.duration(state.seconds[-1]) if index >= 0 else unknown),
        ("fact.left", _left(seen, words, now) or unknown if live and seen.status != "stopping" else "-"),
        ("fact.phase", doing),
        # Of a run that has ended the moment is shown: a number that counts up is no news.
        ("fact.sign", ago if live or heard is None else forms.clock(heard)),
        ("fact.attempt", str(state.attempts or 1)),
    ]
    return [(words(name), value) for name, value in shown]


def _left(seen: Seen, words: Words, now: float) -> str:
    """How long it still takes, and when it is done; expected before the first step, at the pace of the newest then."""
    state = seen.state
    left, key = lines.eta_s(state, len(state.steps) - 1) if state.steps else None, "fact.left_done"
    if left is None and seen.spec is not None and not state.steps:
        found = launch.expected_of(seen.spec, (read_json(seen.rundir.plan) or {}).get("rows"))
        begun = state.attempt_t.get(state.attempts, (now, now))[0]
        total = found.total_s if found is not None else None
        left, key = (None if total is None else max(0.0, total - (now - begun))), "fact.left_expected"
    if left is None:
        return ""
    return words(key, left=words.duration(left), clock=forms.moment(now + left, now))


def _since(then: float, now: float) -> float:
    return float(max(1, round(now - then)))


def step_lines(seen: Seen, words: Words) -> list[str]:
    """The newest steps as the console prints them, the newest first."""
    count = len(seen.state.steps)
    beta = seen.spec.grpo.beta if seen.spec else 0.0
    newest = range(count - 1, max(-1, count - 1 - RECENT), -1)
    return [lines.step_line(seen.state, index, beta, words, seen.method) for index in newest]


def alerts(state: RunState, words: Words) -> list[tuple[str, str, str]]:
    """(level, its word, text) of the newest alerts, the newest first."""
    return [
        (alert.level, alert.level_said(words), str(alert.said(words)))
        for alert in reversed(state.alerts[-2 * RECENT :])
    ]


def problems(seen: Seen) -> list[Problem]:
    """Why a run failed, at least one; [] for a run that did not."""
    final = seen.state.final
    return final.reasons() if seen.status == "failed" and isinstance(final, RunFailedEvent) else []


def traceback_tail(seen: Seen) -> str:
    """The end of the traceback of a run that failed, "" otherwise."""
    final = seen.state.final
    tail = final.traceback_tail if seen.status == "failed" and isinstance(final, RunFailedEvent) else None
    return "\n".join(map(str, tail)) if isinstance(tail, list) else str(tail or "")
