"""Do the settings still say what the run was trained with? And what was agreed where they do not.

Compared with the copy that was made with spec.json; where that is gone, with what the newest checkpoint's manifest
says. What a resume was allowed to do in spite of a difference is left in control/resume.json for the worker, the only
writer of events. Torch-free.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.errors import Problem, RunError
from trainer.machine.json_files import read_json, write_json
from trainer.machine.regular_files import read_file
from trainer.presets.explain import dotted, shown
from trainer.run import checkpoints, spec_file
from trainer.run.records import AlertEvent
from trainer.run.rundir import RunDir
from trainer.spec import RunSpec, files
from trainer.text import Message, readable

Tables = dict[str, Any]

# Everything else decides the weights, also a key that is added one day. Files count by what is in them.
OTHERS = (
    *("title", "titles", "fixed", "recipes", "chain", "log", "eval", "checkpoint"),
    *("run.memory_probe", "model.gpu_memory_utilization", "model.standby"),
    *("reward.workers", "reward.correct", "reward.correct_at", "reward.gold_template"),
)
# What decides them only with some methods: what is right chooses their examples, or is the coefficient.
_RIGHT = ("reward.correct", "reward.correct_at")
DECIDE = {"online_rft": _RIGHT, "rft": _RIGHT, "sft": ("reward.gold_template",)}
_STEPS = "optim.max_steps"


@dataclass(frozen=True)
class Change:
    """decides: the weights. before, now: None where the key is not set."""

    key: str
    before: Any
    now: Any
    decides: bool

    def message(self) -> Message:
        return Message("run.settings.change", key=self.key, before=_said(self.before), now=_said(self.now))


def recorded(spec: RunSpec) -> Tables:
    """What a checkpoint's manifest says of the settings that decide its weights: the tables, and a hash of them."""
    stored = _without(spec_file.tables(spec))
    said = json.dumps(_values(stored, [key for key, _ in files.named(stored)]), sort_keys=True)
    return {"settings": stored, "settings_sha256": hashlib.sha256(said.encode()).hexdigest()}


def changes(rundir: RunDir) -> list[Change]:
    """What spec.json says otherwise than the run was made with, or than was agreed last. Raises RunError."""
    now = spec_file.tables(rundir.read_spec())
    copy = spec_file.copied(rundir.spec_copy)
    if copy is not None:
        return _differences(spec_file.tables(copy), now)
    manifest = _newest_manifest(rundir)
    if manifest is None:
        return []
    found = _differences(manifest, _without(now))
    return [one for one in found if one.decides and not (one.key == _STEPS and rundir.was_extended)]


def respelt(rundir: RunDir) -> bool:
    """Is spec.json spelt otherwise than its copy? To be asked where it says the same."""
    try:
        return read_file(rundir.spec_copy) != read_file(rundir.spec)
    except OSError:
        return False


def refuse_changed(rundir: RunDir, found: Sequence[Change]) -> None:
    """Raises RunError naming every changed key that decides the weights, and how to go on."""
    wrong = [one for one in found if one.decides]
    if not wrong:
        return
    problems = [Problem("run.setting_changed", one.key, before=_said(one.before), now=_said(one.now)) for one in wrong]
    values = {"name": rundir.name, "spec": shlex.quote(str(rundir.spec))}
    if spec_file.copied(rundir.spec_copy) is not None:
        problems.append(Problem("run.settings_changed_copy", **values, copy=shlex.quote(str(rundir.spec_copy))))
    else:
        problems.append(Problem("run.settings_changed", **values))
    raise RunError(problems)


def leave_word(rundir: RunDir, attempt: int, alerts: Sequence[AlertEvent], any_rows: bool) -> None:
    """For the worker of that attempt: what to write into the event log. any_rows: the rows need not be the same."""
    if not alerts and not any_rows:
        rundir.resume_note.unlink(missing_ok=True)
        return
    said = [{"level": one.level, "key": one.key, "values": one.values} for one in alerts]
    write_json(rundir.resume_note, {"attempt": attempt, "alerts": said, "any_rows": any_rows})


def word(rundir: RunDir, attempt: int) -> list[AlertEvent]:
    """What was left for that attempt."""
    stored = read_json(rundir.resume_note) or {}
    alerts = stored.get("alerts") if stored.get("attempt") == attempt else None
    found = (_alert(one) for one in (alerts if isinstance(alerts, list) else ()))
    return [alert for alert in found if alert is not None]


def _alert(stored: Any) -> AlertEvent | None:
    """None of what this version did not write."""
    try:
        return AlertEvent.of(stored["level"], stored["key"], **readable(stored["values"]))
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError):
        return None


def any_rows(rundir: RunDir) -> bool:
    """Also of the attempts that a worker starts itself after that one."""
    return bool((read_json(rundir.resume_note) or {}).get("any_rows"))


def _said(value: Any) -> str | Message:
    return Message("run.settings.not_set") if value is None else shown(value)


def _without(tables: Tables) -> Tables:
    """The tables without what does not decide the weights."""
    kept: Tables = {}
    others = _others(tables)
    for name, part in tables.items():
        if name in others:
            continue
        inside = isinstance(part, dict)
        kept[name] = {key: one for key, one in part.items() if f"{name}.{key}" not in others} if inside else part
    return kept


def _others(tables: Tables) -> frozenset[str]:
    run = tables.get("run")
    method = run.get("method") if isinstance(run, dict) else None
    return frozenset(OTHERS) - frozenset(DECIDE.get(str(method), ()))


def _newest_manifest(rundir: RunDir) -> Tables | None:
    for checkpoint in reversed(checkpoints.listed(rundir.checkpoints)):
        found = (checkpoints.sealed_manifest(checkpoint.path) or {}).get("settings")
        if isinstance(found, dict):
            try:  # a key that is new since has its default
                return _without(spec_file.tables(spec_file.parse(json.dumps(found).encode())))
            except ValueError:
                return found
    return None


def _differences(before: Tables, now: Tables) -> list[Change]:
    paths = {dotted(key) for tables in (before, now) for key, _ in files.named(tables)}
    one, other = _values(before), _values(now)
    keys = [*other, *(key for key in one if key not in other)]
    others = _others(now)
    return [
        Change(key, one.get(key), other.get(key), key not in paths and not _other(key, others))
        for key in keys
        if one.get(key) != other.get(key)
    ]


def _other(key: str, others: Collection[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in others)


def _values(tables: Tables, left_out: Collection[files.Key] = ()) -> dict[str, Any]:
    return {dotted(key): value for key, value in _leaves(tables) if key not in left_out and value is not None}


def _leaves(value: Any, at: files.Key = ()) -> Iterator[tuple[files.Key, Any]]:
    parts: Any = None
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
        parts = enumerate(value)
    if parts is None:
        yield at, value
        return
    for step, part in parts:
        yield from _leaves(part, (*at, step))
