"""One sentence about the whole run, from what the rules found. Held-out rows count before the training reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from trainer.report.finding import Finding

Verdict = Literal[
    "short", "nothing", "worse", "over_optimised", "past_best", "learnt", "learnt_dead", "learnt_rows",
    "falls", "flat", "unclear", "solved",
]  # fmt: skip


def run_verdict(findings: Sequence[Finding]) -> Verdict:
    """The strongest thing that is true; "unclear" when nothing is."""
    keys = {finding.signal: finding for finding in findings}

    def is_at(signal: str, *starts: str) -> bool:
        found = keys.get(signal)
        return found is not None and found.key.startswith(starts)

    dead = keys.get("dead_groups")
    if is_at("over_optimised", "apart"):
        return "over_optimised"
    if is_at("evaluation", "worse"):
        return "worse"
    if is_at("over_optimised", "fell"):
        return "past_best"
    stuck = dead is not None and dead.level == "red"
    if is_at("evaluation", "better"):
        return "learnt_dead" if stuck else "learnt"
    if stuck:
        return "nothing"
    if is_at("reward_trend", "rises"):
        return "learnt_rows"
    if is_at("reward_trend", "falls"):
        return "falls"
    if dead is not None and dead.level == "amber" and dead.key == "all_right":
        return "solved"
    if is_at("reward_trend", "flat"):
        return "flat"
    return "short" if is_at("reward_trend", "short") or not findings else "unclear"
