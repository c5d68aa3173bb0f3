"""A record a kind: what is written is read back, lines of earlier versions are read, and no emit makes up a field."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.records import event_of
from trainer.run import records
from trainer.run.events import EventReader, EventWriter
from trainer.run.records import KINDS, AlertEvent, Event, RunFailedEvent, SampledScores, Skipped, SpanSeconds, StepEvent
from trainer.run.state import RunState, fold
from trainer.text import Message, languages, words

TRAINER = Path(records.__file__).parents[1]
OLD = Path(__file__).with_name("old_events.jsonl")  # as the version before records wrote them, every kind
MADE_UP: dict[str, Any] = {
    "int": 3, "Number": 1.5, "str": "a \ud55c", "bool": True, "Any": "x", "dict": {"a": 1.0}, "list": ["a"],
    "Skipped": Skipped(checkpoint="checkpoint-2", reason="damaged"), "SpanSeconds": SpanSeconds(name="a", self_s=0.5),
    "SampledScores": SampledScores(pass_at={"1": 0.5}, rows=4), "Origin": records.Origin(source="wandb", files=["a"]),
}  # fmt: skip


def filled(record: type[Event]) -> Event:
    """With a value in every field that its writer says."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(record):
        if field.name in ("t", "attempt", "dropped", "shortened"):
            continue
        said = str(next(base.__annotations__[field.name] for base in record.__mro__ if _says(base, field.name)))
        inner = next((name for name in MADE_UP if f"list[{name}]" in said and name[0].isupper()), "")
        kinds = ("Origin", "SampledScores", "dict", "list", "str", "bool", "Whole", "Number", "Any")
        outer = next(name for name in kinds if name in said)
        value = MADE_UP["int" if outer == "Whole" else outer]
        values[field.name] = [MADE_UP[inner]] if inner and inner != "Any" else value
    return record(**values)


def _says(base: type, name: str) -> bool:
    return name in inspect.get_annotations(base)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_field_of_every_kind_comes_back(tmp_path: Path, kind: str) -> None:
    given = filled(KINDS[kind])
    with EventWriter(tmp_path / "log", 2) as events:
        events.emit(given)
    (found,) = EventReader(tmp_path / "log").read()
    assert found == msgspec.structs.replace(given, t=found.t, attempt=2)


def test_every_line_of_the_version_before_is_read_with_all_it_says() -> None:
    reader = EventReader(OLD)
    found, said = reader.read(), [json.loads(line) for line in OLD.read_text(encoding="utf-8").splitlines()]
    assert reader.skipped == 0 and {event.kind for event in found} == KINDS.keys()
    for event, line in zip(found, said, strict=True):
        built = msgspec.to_builtins(event)
        assert line.keys() <= built.keys(), line["kind"]
        assert _nested(built, line), line["kind"]


def _nested(built: Any, line: Any) -> bool:
    """Does `built` say what the line says, and no more than defaults besides?"""
    if isinstance(line, dict):
        return isinstance(built, dict) and all(_nested(built.get(name), value) for name, value in line.items())
    if isinstance(line, list):  # _dropped and _shortened are tuples
        return len(built) == len(line) and all(map(_nested, built, line))
    return bool(built == line)


def test_a_fold_of_the_version_before_knows_what_it_knew() -> None:
    state = RunState()
    for event in EventReader(OLD).read()[:-2]:  # until it was stopped
        fold(state, event)
    assert (state.steps, state.steps_total, state.tokens, state.retries) == ([1], 2, 100, 1)
    assert state.metrics == {"train/reward": [0.5], "train/kl": [None]}
    assert state.self_s == {"step": [0.5], "backward": [1.5]}
    assert state.final is not None and state.final.kind == "run_stopped"
    assert [str(alert.said(words("ko"))) for alert in state.alerts][1].startswith("reward failed: exact: 1 of 8")
    assert state.trained is not None and state.trained.device == "cpu"


def test_a_field_of_a_later_version_is_passed_over_and_free_forms_hold_anything() -> None:
    found = event_of({"kind": "step", "step": 1, "mood": "good", "metrics": {"a": "x", "b": [1], "c": 2.0}})
    assert isinstance(found, StepEvent)
    state = RunState()
    fold(state, found)
    assert state.metrics == {"a": [None], "b": [None], "c": [2.0]}


# ---- who writes


def emitted(path: Path) -> list[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if "emit" in (getattr(call.func, "attr", ""), getattr(call.func, "id", ""))]


def test_every_emit_is_given_one_record() -> None:
    """Names of fields are then the constructor's to refuse, and mypy's before it."""
    found = [(path, call) for path in TRAINER.rglob("*.py") for call in emitted(path)]
    assert len(found) > 20
    for path, call in found:
        assert len(call.args) == 1 and not call.keywords, f"{path}:{call.lineno}"


def alert_keys() -> set[str]:
    """Keys that are named where alerts are made."""
    table = {key.split(".")[1] for key in words("en").keys() if key.startswith("alert.")}  # noqa: SIM118
    source = "".join(path.read_text(encoding="utf-8") for path in TRAINER.rglob("*.py"))
    return {key for key in table if f'"{key}"' in source}


def test_every_alert_has_words_and_every_words_an_alert() -> None:
    for language in languages():
        keys = {key for key in words(language).keys() if key.startswith("alert.")}  # noqa: SIM118
        named = {key.split(".")[1] for key in keys}
        assert named == alert_keys()
        assert {f"alert.{name}.{part}" for name in named for part in ("title", "text")} <= keys


# ---- alerts


def test_an_alert_is_said_in_the_language_of_who_reads_it(tmp_path: Path) -> None:
    why = Message("mirror.why.refused", host="example.org")
    with EventWriter(tmp_path / "log", 1) as events:
        events.emit(AlertEvent.of("warn", "mirror_failed", why=why))
    (found,) = EventReader(tmp_path / "log").read()
    assert isinstance(found, AlertEvent)
    assert (found.title, found.text) == found.said(words("en"))
    assert found.text == "not copied to W&B (example.org refuses the key); the run goes on without it"
    korean = found.said(words("ko")).text
    assert "example.org" in korean and "refuses" not in korean and "goes on" not in korean


@pytest.mark.parametrize(
    "alert",
    [
        AlertEvent(title="disk almost full", text="deleted checkpoint-5"),  # of a version without keys
        AlertEvent(key="of_a_later_version", title="disk almost full", text="deleted checkpoint-5"),
        AlertEvent(key="policy_sync", values={}, title="disk almost full", text="deleted checkpoint-5"),
        AlertEvent(key="policy_sync", values={"evidence": "x"}, title="disk almost full", text="deleted checkpoint-5"),
    ],
)
def test_what_cannot_be_said_any_more_is_said_as_it_was(alert: AlertEvent) -> None:
    assert alert.said(words("ko")).text == "deleted checkpoint-5"


def test_why_a_run_failed_is_said_even_where_nothing_was_written() -> None:
    (only,) = RunFailedEvent(error="ValueError", step=4).reasons()
    assert str(only) == "ValueError: failed at step 4"
    (old,) = RunFailedEvent(problems=[{"where": "a", "what": "b", "fix": "c"}, "no object"]).reasons()
    assert str(old) == "a: b  ->  c"
