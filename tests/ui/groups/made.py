"""Lines of rollout files and runs that have them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.builders import Event, began, finished, step, write_run
from trainer.run.groups import Group, group_of
from trainer.run.rundir import RunDir

HOSTILE = (
    '<img src=x onerror="alert(1)"><script>alert(2)</script> {{value}} ${value} ![](http://evil/x.png)\u202e\u200b'
)


def completion(text: str = "<answer>1</answer>", reward: float | None = 1.0, **more: Any) -> dict[str, Any]:
    known = {"tokens": len(text), "truncated": False, "components": {"exact_match": reward}, "advantage": 0.0}
    return {"text": text, "reward": reward, "correct": bool(reward), **known, **more}


def carried(number: int, plan: str, rest: str, paid: float | None, **told: Any) -> dict[str, Any]:
    """A completion that carries out a plan. told: what the file says of the plan beside its number and end."""
    known = {"reward": 0.5, "advantage": 0.7, "rest_advantage": 0.3, "tokens": 3}
    said = {"number": number, "text_end": len(plan), **known, **told}
    return completion(plan + rest, paid, plan=said)


def two_plans() -> list[dict[str, Any]]:
    """The second is the better one; each is carried out twice, once well and once badly."""
    best, other = {"reward": 0.75, "advantage": 0.71}, {"reward": 0.25, "advantage": -0.71}
    return [
        carried(1, "count back. ", "it is nine", 1.0, rest_advantage=0.5, **best),
        carried(0, "guess. ", "maybe four", 0.0, rest_advantage=-0.25, **other),
        carried(1, "count back. ", "it is eight", 0.5, rest_advantage=-0.5, **best),
        carried(0, "guess. ", "surely nine", 0.5, rest_advantage=0.25, **other),
    ]


def line(
    prompt: Any = "What is 1?",
    completions: Sequence[dict[str, Any]] = (),
    outcome: str = "spread",
    mean: float | None = 0.5,
    std: float | None = 0.5,
    **more: Any,
) -> dict[str, Any]:
    written = list(completions) or [completion(reward=1.0, advantage=0.7), completion("no", 0.0, advantage=-0.7)]
    told = {"reward_mean": mean, "group_std": std, "outcome": outcome, "completions": written}
    return {"step": 1, "group": 0, "prompt": prompt, "columns": {"answer": "1"}, "prompt_tokens": 5, **told, **more}


def group(place: int = 0, **given: Any) -> Group:
    found = group_of(json.dumps(line(**given)).encode(), place)
    assert found is not None
    return found


def write_rollouts(rundir: RunDir, number: int, lines: Sequence[dict[str, Any]]) -> Path:
    rundir.rollouts.mkdir(exist_ok=True)
    path = rundir.rollouts_file(number)
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    return path


def wrote(number: int) -> Event:
    return {"kind": "rollouts", "step": number, "file": f"step_{number:06d}.jsonl", "groups": 1, "completions": 2}


def run_with_groups(outputs: Path, name: str, steps: Mapping[int, Sequence[dict[str, Any]]], last: int = 0) -> RunDir:
    """A finished run with those rollout files; its events name them."""
    events: list[Event] = [began()]
    for number in range(1, max(last, *steps) + 1):
        events += [wrote(number)] if number in steps else []
        events.append(step(number, of=max(last, *steps)))
    rundir = write_run(outputs, name, [*events, finished(1)[-1]])
    for number, lines in steps.items():
        write_rollouts(rundir, number, lines)
    return rundir
