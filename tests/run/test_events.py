"""The event log: whatever happens to the file, readers see whole events, each once."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.errors import EventLogError
from trainer.run.events import LINE_BYTES, EventReader, EventWriter
from trainer.run.records import (
    KINDS,
    AlertEvent,
    Event,
    GpuEvent,
    PlanEvent,
    RunFailedEvent,
    SpanEvent,
    SpanSeconds,
    StepEvent,
)


def written(path: Path, *given: Event, attempt: int = 1) -> list[Any]:
    with EventWriter(path, attempt) as events:
        for each in given:
            events.emit(each)
    return EventReader(path).read()


def titled(*titles: str) -> list[AlertEvent]:
    return [AlertEvent(title=title) for title in titles]


def last_line(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes().splitlines()[-1])
    return found


def alerts(reader: EventReader) -> list[AlertEvent]:
    found = reader.read()
    assert all(isinstance(event, AlertEvent) for event in found)
    return [event for event in found if isinstance(event, AlertEvent)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_an_event_comes_back_with_its_time_kind_and_attempt(log: Path) -> None:
    (event,) = written(log, AlertEvent(level="info", title="spaß", text="x"), attempt=3)
    assert event.t == pytest.approx(time.time(), abs=60)
    assert event == AlertEvent(t=event.t, attempt=3, level="info", title="spaß", text="x")
    assert (event.kind, last_line(log)["kind"], last_line(log)["attempt"]) == ("alert", "alert", 3)


def test_what_is_not_known_is_not_written(log: Path) -> None:
    written(log, StepEvent(step=3, seconds=1.5))
    assert last_line(log).keys() == {"t", "kind", "attempt", "step", "seconds"}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_read_back(log: Path, kind: Any) -> None:
    record = KINDS[kind]
    needed: dict[str, Any] = {"step": 1} if "step" in record.__struct_fields__ else {}
    (event,) = written(log, record(**needed))
    assert (type(event), event.kind) == (record, kind)


def test_time_and_attempt_are_the_writers_and_no_field_is_made_up(log: Path) -> None:
    (event,) = written(log, GpuEvent(t=1.0, attempt=9))
    assert event.attempt == 1 and event.t > 1e9
    with pytest.raises(TypeError, match="party"):
        StepEvent(step=1, party=1)  # type: ignore[call-arg]


def test_non_finite_numbers_are_dropped_and_named(log: Path) -> None:
    values = {"good": 1.0, "bad": math.nan, "deep": [1.0, math.inf, {"x": -math.inf}]}
    (event,) = written(log, StepEvent(step=1, metrics=values, seconds=math.nan))
    assert event.metrics == {"good": 1.0, "deep": [1.0, None, {}]}
    assert event.seconds is None
    assert set(event.dropped) == {"seconds", "metrics.bad", "metrics.deep.1", "metrics.deep.2.x"}


def test_numpy_numbers_are_written_as_numbers(log: Path) -> None:
    numpy = pytest.importorskip("numpy")
    told = {"a": numpy.float32(0.5), "b": numpy.float32("nan"), "p": Path("x")}
    (event,) = written(log, StepEvent(step=1, metrics=told, seconds=numpy.float64(2.5)))
    assert (event.metrics, event.seconds, event.dropped) == ({"a": 0.5, "p": "x"}, 2.5, ("metrics.b",))


@pytest.mark.parametrize(
    "given",
    [
        AlertEvent(title="a" * 100_000),
        RunFailedEvent(problems=[{"what": "x" * 300} for _ in range(200)]),
        AlertEvent(text="한글" * 5000, title="b" * 5000),
        SpanEvent(step=1, spans=[SpanSeconds(name=f"s{n}", total_s=1.0) for n in range(900)]),
        StepEvent(step=1, metrics={"k" * 100 + str(n): math.nan for n in range(300)}),
        StepEvent(step=1, metrics={"k" * 300 + str(n): 1.0 for n in range(300)}),
    ],
    ids=lambda given: given.kind,
)
def test_a_long_line_is_cut_below_the_limit_and_says_where(log: Path, given: Event) -> None:
    (event,) = written(log, given)
    assert len(log.read_bytes()) < LINE_BYTES
    assert event.shortened or event.dropped


def test_a_shortened_text_keeps_both_ends(log: Path) -> None:
    (event,) = written(log, RunFailedEvent(error="kept", traceback_tail="first" + "x" * 20_000 + "last"))
    assert event.traceback_tail.startswith("first")
    assert event.traceback_tail.endswith("last")
    assert (event.error, event.shortened) == ("kept", ("traceback_tail",))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(value=JSON_VALUES)
def test_anything_is_written_as_one_readable_line(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    assert len(written(path, PlanEvent(data={"value": value}), RunFailedEvent(traceback_tail=value))) == 2
    assert path.read_bytes().count(b"\n") == 2


TEXTS = st.lists(st.text(max_size=12), min_size=1, max_size=4)


@settings(max_examples=5, deadline=None)
@given(texts=TEXTS)
def test_cut_at_every_byte_nothing_is_raised_or_repeated(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    whole = written(folder / "whole", *titled(*texts))
    data = (folder / "whole").read_bytes()
    path = folder / "cut"
    every_byte, seen = EventReader(path), []
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        late = EventReader(path)
        early = late.read()
        seen += every_byte.read()
        assert seen == early == whole[: len(early)]
        path.write_bytes(data)
        assert early + late.read() == whole
        assert (late.read(), late.skipped) == ([], 0)


@settings(max_examples=25, deadline=None)
@given(texts=TEXTS, cut=st.integers(min_value=1, max_value=200))
def test_a_new_writer_ends_the_line_its_predecessor_was_killed_in(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], cut: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    whole = written(path, *titled(*texts))
    data = path.read_bytes()[:-cut]
    path.write_bytes(data)
    with EventWriter(path, 2) as events:
        events.emit(AlertEvent(title="later"))
    reader = EventReader(path)
    *before, last = alerts(reader)
    assert before == whole[: len(before)]
    assert (last.title, last.attempt) == ("later", 2)
    assert len(before) >= data.count(b"\n")


def test_two_readers_agree_however_often_they_look(log: Path) -> None:
    with EventWriter(log, 1) as events:
        often, seen = EventReader(log), []
        for step in range(50):
            events.emit(StepEvent(step=step))
            seen += often.read()
    assert seen == EventReader(log).read()


def test_lines_that_are_no_events_are_counted(log: Path) -> None:
    good = '{"t": 1, "kind": "gpu", "attempt": 1}'
    bad = [
        "",
        "not json",
        "[1]",
        '{"t": 1, "kind": "dance", "attempt": 1}',
        '{"kind": "gpu", "attempt": 1}',
        '{"t": 1, "kind": "gpu"}',
        '{"t": NaN, "kind": "gpu", "attempt": 1}',
        '{"t": 1, "kind": "gpu", "attempt": 1, "x": -Infinity}',
        '{"t": 1, "kind": "gpu", "attempt": 1, "used_gib": 1e999}',
        '{"t": 1, "kind": "gpu", "attempt": 1, "used_gib": 1%s}' % ("0" * 400),
        '{"t": 1, "kind": "gpu", "attempt": 1, "used_gib": "1"}',
        '{"t": 1, "kind": "step", "attempt": 1}',
        '{"t": 1, "kind": "step", "attempt": 1, "step": "1"}',
        '{"t": 1, "kind": "step", "attempt": 1, "step": 1.5}',
        '{"t": 1, "kind": "step", "attempt": 1, "step": 1, "metrics": []}',
        '{"t": 1, "kind": "span", "attempt": 1, "step": 1, "spans": [{"self_s": "1"}]}',
        '{"t": 1, "kind": ["gpu"], "attempt": 1}',
        '{"t": "1", "kind": "gpu", "attempt": 1}',
        '{"t": 1, "kind": "gpu", "attempt": 1.0}',
        "[" * 100_000,
        '{"t": 1, "kind": "gpu", "attempt": 1, "x": ' + "[" * 2000 + "]" * 2000 + "}",
    ]
    body = "".join(f"{line}\n" for line in [good, *bad, good]).encode() + b"\xff\xfe\x00\n"
    log.write_bytes(body)
    reader = EventReader(log)
    assert len(reader.read()) == 2
    assert reader.skipped == len(bad) + 1


def test_a_line_of_megabytes_is_passed_over_once(log: Path) -> None:
    log.write_bytes(b"x" * 3_000_000)
    reader = EventReader(log)
    assert reader.read() == []
    assert reader.offset > 2_000_000
    with log.open("ab") as file:
        file.write(b'yy\n{"t": 1, "kind": "gpu", "attempt": 1}\n')
    assert [event.kind for event in reader.read()] == ["gpu"]
    assert reader.skipped == 1


def test_a_file_that_is_not_there_yet_is_empty(log: Path) -> None:
    reader = EventReader(log)
    assert reader.read() == []
    written(log, *titled("now"))
    assert [event.title for event in alerts(reader)] == ["now"]


def test_a_tick_reads_only_what_is_new(log: Path) -> None:
    written(log, *titled(*map(str, range(500))))
    reader = EventReader(log)
    reader.read()
    size = log.stat().st_size
    assert reader.offset == size
    written(log, *titled("new"))
    assert len(reader.read()) == 1


def test_threads_do_not_mix_their_lines(log: Path) -> None:
    with EventWriter(log, 1) as events:

        def work(name: int) -> None:
            for n in range(200):
                events.emit(AlertEvent(title=f"{name}-{n}", text="x" * 500))

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    reader = EventReader(log)
    assert len({event.title for event in alerts(reader)}) == 800
    assert reader.skipped == 0


def test_a_log_that_can_not_be_written_stops_the_run(log: Path) -> None:
    with pytest.raises(EventLogError, match="cannot be written"):
        EventWriter(log / "no" / "folder", 1)
    with EventWriter(log, 1) as events:
        log.unlink()
        with pytest.raises(EventLogError, match="deleted"):
            events.emit(GpuEvent())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_named() -> None:
    with (
        pytest.raises(EventLogError, match="free disk space"),
        EventWriter(Path("/dev/full"), 1) as events,
    ):
        events.emit(GpuEvent())


def test_after_a_torn_write_the_next_event_starts_a_line(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with EventWriter(log, 1) as events:
        budget = [10]

        def short(fd: int, data: bytes) -> int:
            if budget[0] <= 0:
                raise OSError(28, "No space left on device")
            count = write(fd, data[: budget[0]])
            budget[0] -= count
            return count

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", short)
            with pytest.raises(EventLogError):
                events.emit(GpuEvent())
        events.emit(AlertEvent(title="after"))
    reader = EventReader(log)
    assert [event.title for event in alerts(reader)] == ["after"]
    assert reader.skipped == 1
    assert json.loads(log.read_text().splitlines()[-1])["title"] == "after"
