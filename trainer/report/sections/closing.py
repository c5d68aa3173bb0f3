"""What went well, what to change, the conclusion; what is missing, and the rules everything was read by."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.report import rules
from trainer.report.document import Block, Code, Sayings, Section, Table, Text
from trainer.report.finding import Advice, Finding
from trainer.report.rules.bounds import BOUNDS, signals_of
from trainer.report.rules.verdict import said_verdict
from trainer.report.sections.telling import Telling, meaning
from trainer.text import forms

MOST_ALERTS = 12
# Green says little about these: they are the absence of a fault.
NO_STRENGTH = {
    "slow_steps", "reward_errors", "reward_dips", "memory_creep", "over_optimised", "clip_ratio", "length", "grad_norm",
    "entropy", "truncation", "overfitting",
}  # fmt: skip


def strengths(t: Telling) -> Section:
    found = [finding for finding in t.findings if finding.level == "green" and finding.signal not in NO_STRENGTH]
    blocks: list[Block] = [Sayings([t.said(finding) for finding in found])] if found else []
    return Section("strengths", t.say("title.strengths"), blocks or [Text(t.say("conclusion.strengths_none"))])


def advised(t: Telling) -> list[tuple[Finding, Advice]]:
    """Each setting once, for the worst reason."""
    found: dict[tuple[str, str], tuple[Finding, Advice]] = {}
    for finding in rules.worst(t.findings):
        for advice in finding.advice:
            found.setdefault((advice.setting, advice.key), (finding, advice))
    return list(found.values())


def changes(t: Telling) -> Section:
    """Every piece of advice: why, what, and what to type where a value can be said."""
    say, found = t.say, advised(t)
    if not found:
        return Section("changes", say("title.changes"), [Text(say("changes.none"))])
    head = [say(f"changes.{name}") for name in ("why", "what", "type")]
    rows = [
        (say(f"signal.{finding.signal}.name"), say(f"advice.{advice.key}", **advice.values), advice.typed)
        for finding, advice in found
    ]
    blocks: list[Block] = [Table(head, rows)]
    if any(advice.value is not None for _, advice in found):
        blocks.append(Text(say("changes.how"), "small"))
    return Section("changes", say("title.changes"), blocks)


def conclusion(t: Telling) -> Section:
    """The verdict, the sentences it rests on, and the first thing to do."""
    say = t.say
    blocks: list[Block] = [Text(said_verdict(t.findings, say), "lead")]
    because = t.of(
        "evaluation", "loss_trend", "overfitting", "reward_trend", "dead_groups", "over_optimised", "generation_floor"
    )
    worth = [finding for finding in because if finding.level not in ("unknown", "na")]
    blocks += [Text(t.sentence(finding)) for finding in worth]
    first = next(iter(advised(t)), None)
    if first is not None:
        _finding, advice = first
        blocks.append(Text(say(f"advice.{advice.key}", **advice.values)))
        if advice.command or advice.changes:
            blocks.append(Code([advice.typed]))
    return Section("conclusion", say("title.conclusion"), blocks)


def missing(t: Telling) -> Section:
    """What a reader must know before believing the rest: unfinished, failed, lost, imported, resumed; alerts."""
    blocks: list[Block] = [Text(text) for text in _missing(t)]
    unknown = [finding for finding in t.findings if finding.level == "unknown" and finding.signal != "evaluation"]
    if unknown:
        rows = [(t.say(f"signal.{finding.signal}.name"), t.sentence(finding)) for finding in unknown]
        blocks.append(Table((t.say("missing.unknown"), ""), rows))
    alerts = [event for event in t.m.state.alerts if event.level in ("warn", "error")]
    if alerts:
        told = [(alert.level_said(t.say), *map(forms.printable, alert.said(t.say))) for alert in alerts[-MOST_ALERTS:]]
        blocks.append(Table(("", t.say("missing.alerts"), ""), told))
    return Section("missing", t.say("title.missing"), blocks)


def _missing(t: Telling) -> Iterator[str]:
    m, say, state = t.m, t.say, t.m.state
    step, total = f"{state.last_step:,}", f"{m.steps_total:,}" if m.steps_total else "?"
    if m.live:
        yield say("missing.live", step=step)
    elif m.status in ("stopped", "paused"):
        yield say(f"missing.{m.status}", step=step, total=total, run=m.name)
    elif m.imported is not None:
        files = ", ".join(map(str, m.imported.files or ["?"]))
        yield say("missing.imported", files=files, count=len(m.known or ()))
    elif m.status == "finished" and state.evals and not any(event.at == "after" for event in state.evals):
        yield say("missing.no_after")
    if m.spec is None:
        yield say("missing.no_settings")
    if not state.steps:
        yield say("missing.steps_none")
    if state.resumes:
        yield say("missing.retaken", count=len(state.resumes))
    if state.skipped:
        yield say("missing.skipped", count=state.skipped)
    if state.not_text:
        yield say("missing.not_text", count=state.not_text, file="events.jsonl")
    for message in m.damaged:
        yield say.said(message)
    yield from _rollouts(t)


def _rollouts(t: Telling) -> Iterator[str]:
    """What is wrong with the rollout files that were read for the sections before."""
    files, say = t.m.files, t.say
    gone = [step for step, file in sorted(files.items()) if file.gone]
    if gone:
        yield say("missing.rollouts_gone", count=len(gone), of=len(files), steps=gone)
    for step, file in sorted(files.items()):
        if file.why is not None:
            yield say("missing.rollouts_unreadable", step=step, why=file.why)
    damaged = [step for step, file in sorted(files.items()) if file.damaged]
    if damaged:
        lines = sum(file.damaged for file in files.values())
        yield say("missing.rollouts_damaged", lines=lines, count=len(damaged), of=len(files), steps=damaged)
    not_text = sum(file.not_text for file in files.values())
    if not_text:
        yield say("missing.not_text", count=not_text, file="rollouts/")
    short = [step for step, file in sorted(files.items()) if file.missing]
    if short:
        yield say("missing.rollouts_short", groups=sum(files[step].missing for step in short), steps=short)


def reading(t: Telling) -> Section:
    """A table of all rules: meaning, bounds, what they said here."""
    say = t.say
    if not t.findings:
        return Section("rules", say("title.rules"), [])
    rows = []
    for signal in signals_of(t.m.method):
        bounds = BOUNDS[signal]
        state = rules.level_of(t.of(signal)) if t.of(signal) else None
        name, rule = (say(f"signal.{signal}.{part}", **bounds) for part in ("name", "rule"))
        cells = [name, meaning(signal, t.m.method, say, **bounds), rule]
        rows.append((*cells, say(f"level.{state}") if state else "-"))
    head = [say(f"rules.{name}") for name in ("signal", "means", "rule", "state")]
    return Section("rules", say("title.rules"), [Text(say("rules.intro"), "small"), Table(head, rows)])
