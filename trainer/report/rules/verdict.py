"""One sentence about the whole run, from what the rules found. Held-out rows count before the training reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from trainer.report.finding import Finding
from trainer.text import Message, Words

Verdict = Literal[
    "short", "collapsed", "one_text", "gamed", "only_form", "nothing", "worse",
    "over_optimised", "past_best", "learnt", "learnt_solved", "learnt_dead", "learnt_rows",
    "falls", "flat", "unclear", "solved", "overfitted", "past_best_loss", "loss_falls", "loss_rises", "loss_flat",
]  # fmt: skip

FEW_ROWS = 30  # held-out rows below which it is said that they are few
# Verdicts about held-out rows, and the signal that measured them.
_MEASURED: dict[Verdict, str] = {
    "worse": "evaluation", "learnt": "evaluation", "learnt_solved": "evaluation",
    "learnt_dead": "evaluation",
    "overfitted": "overfitting", "past_best_loss": "overfitting",
    "over_optimised": "over_optimised", "past_best": "over_optimised", "gamed": "over_optimised",
}  # fmt: skip
# Verdicts that call what went wrong by its name, and the signal that did.
_NAMED: dict[Verdict, str] = {
    "collapsed": "dead_groups", "one_text": "same_texts", "gamed": "gamed_component",
    "over_optimised": "over_optimised", "only_form": "only_form",
}  # fmt: skip


def run_verdict(findings: Sequence[Finding]) -> Verdict:
    """The strongest thing that is true; "unclear" when nothing is."""
    keys = {finding.signal: finding for finding in findings}

    def is_at(signal: str, *starts: str) -> bool:
        found = keys.get(signal)
        return found is not None and found.key.startswith(starts)

    dead = keys.get("dead_groups")
    if is_at("dead_groups", "collapsed", "lost"):
        return "collapsed"
    if is_at("same_texts", "wrong"):
        return "one_text"
    if is_at("gamed_component", "rises"):
        return "gamed"
    if is_at("over_optimised", "apart"):
        return "over_optimised"
    if is_at("only_form", "only"):
        return "only_form"
    if is_at("overfitting", "apart"):
        return "overfitted"
    if is_at("evaluation", "worse"):
        return "worse"
    if is_at("over_optimised", "fell"):
        return "past_best"
    if is_at("overfitting", "fell"):
        return "past_best_loss"
    stuck, solved = dead is not None and dead.level == "red", is_at("dead_groups", "all_right")
    if is_at("evaluation", "better"):
        return "learnt_dead" if stuck else "learnt_solved" if solved else "learnt"
    if stuck:
        return "nothing"
    if is_at("reward_trend", "rises"):
        return "learnt_rows"
    if is_at("reward_trend", "falls"):
        return "falls"
    if solved:
        return "solved"
    if is_at("reward_trend", "flat"):
        return "flat"
    if "loss_trend" in keys:
        return _of_examples(keys["loss_trend"])
    return "short" if is_at("reward_trend", "short") or not findings else "unclear"


def _of_examples(found: Finding) -> Verdict:
    """Where held-out rows say nothing."""
    of: dict[str, Verdict] = {"falls": "loss_falls", "rises": "loss_rises", "flat": "loss_flat"}
    return of.get(found.key, "short")


def named(findings: Sequence[Finding]) -> Finding | None:
    """What the verdict calls by its name: a collapse, or a reward that is exploited; None of any other verdict."""
    signal = _NAMED.get(run_verdict(findings))
    return next((finding for finding in findings if finding.signal == signal), None)


def said_verdict(findings: Sequence[Finding], say: Words) -> str:
    """The verdict in words; what it says of held-out rows with how uncertain that is. say: the report's words."""
    key = run_verdict(findings)
    signal = _MEASURED.get(key)
    found = next((finding for finding in findings if finding.signal == signal), None)
    cause = named(findings)
    told = dict(cause.values) if cause is not None else {}
    if found is None:
        return say(f"verdict.{key}", **told)
    rows = found.values["rows"]
    share = next((end for end in ("correct_frac", "ordered") if found.key.endswith(end)), "reward")
    first = found.values.get("first", found.values.get("best"))
    values = {"first": first, "last": found.values["last"], "error": found.values["error"], "rows": rows}
    few = "few_" if rows and rows < FEW_ROWS else ""
    return say(f"verdict.{key}", **told, measured=Message(f"report.verdict_measured.{few}{share}", **values))
