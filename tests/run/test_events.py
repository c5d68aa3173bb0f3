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
from trainer.run.events import KINDS, LINE_BYTES, EventReader, EventWriter


def written(path: Path, *fields: dict[str, Any], attempt: int = 1) -> list[dict[str, Any]]:
    with EventWriter(path, attempt) as events:
        for each in fields:
            events.emit("alert", **each)
    return EventReader(path).read()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_an_event_comes_back_with_its_time_kind_and_attempt(log: Path) -> None:
    (event,) = written(log, {"level": "info", "title": "spaß"}, attempt=3)
    assert event.pop("t") == pytest.approx(time.time(), abs=60)
    assert event == {"kind": "alert", "attempt": 3, "level": "info", "title": "spaß"}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_read_back(log: Path, kind: Any) -> None:
    with EventWriter(log, 1) as events:
        events.emit(kind)
    assert [event["kind"] for event in EventReader(log).read()] == [kind]


def test_an_unknown_kind_and_a_reserved_field_are_refused(log: Path) -> None:
    with EventWriter(log, 1) as events:
        with pytest.raises(ValueError, match="not an event"):
            events.emit("party")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="not an event"):
            events.emit("step", t=1)


def test_non_finite_numbers_are_dropped_and_named(log: Path) -> None:
    values = {"good": 1.0, "bad": math.nan, "deep": [1.0, math.inf, {"x": -math.inf}]}
    (event,) = written(log, {"metrics": values})
    assert event["metrics"] == {"good": 1.0, "deep": [1.0, None, {}]}
    assert event["_dropped"] == ["metrics.bad", "metrics.deep.1", "metrics.deep.2.x"]


def test_numpy_numbers_are_written_as_numbers(log: Path) -> None:
    numpy = pytest.importorskip("numpy")
    (event,) = written(log, {"a": numpy.float32(0.5), "b": numpy.float32("nan"), "p": Path("x")})
    assert (event["a"], event["p"], event["_dropped"]) == (0.5, "x", ["b"])


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "a" * 100_000},
        {"problems": [{"what": "x" * 300} for _ in range(200)]},
        {"text": "한글" * 5000, "more": "b" * 5000},
        {"spans": [{"name": f"s{n}", "total_s": 1.0} for n in range(900)]},
        {"metrics": {"k" * 100 + str(n): math.nan for n in range(300)}},
        {"k" * 300 + str(n): 1.0 for n in range(300)},
    ],
)
def test_a_long_line_is_cut_below_the_limit_and_says_where(log: Path, fields: dict[str, Any]) -> None:
    (event,) = written(log, fields)
    assert len(log.read_bytes()) < LINE_BYTES
    assert event.get("_shortened") or event.get("_dropped")


def test_a_shortened_text_keeps_both_ends(log: Path) -> None:
    (event,) = written(log, {"title": "kept", "traceback_tail": "first" + "x" * 20_000 + "last"})
    assert event["traceback_tail"].startswith("first")
    assert event["traceback_tail"].endswith("last")
    assert (event["title"], event["_shortened"]) == ("kept", ["traceback_tail"])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(value=JSON_VALUES)
def test_anything_is_written_as_one_readable_line(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    assert len(written(path, {"value": value}, {"value": value})) == 2
    assert path.read_bytes().count(b"\n") == 2


TEXTS = st.lists(st.text(max_size=12), min_size=1, max_size=4)


@settings(max_examples=5, deadline=None)
@given(texts=TEXTS)
def test_cut_at_every_byte_nothing_is_raised_or_repeated(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    whole = written(folder / "whole", *({"title": text} for text in texts))
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
    whole = written(path, *({"title": text} for text in texts))
    data = path.read_bytes()[:-cut]
    path.write_bytes(data)
    with EventWriter(path, 2) as events:
        events.emit("alert", title="later")
    reader = EventReader(path)
    *before, last = reader.read()
    assert before == whole[: len(before)]
    assert (last["title"], last["attempt"]) == ("later", 2)
    assert len(before) >= data.count(b"\n")


def test_two_readers_agree_however_often_they_look(log: Path) -> None:
    with EventWriter(log, 1) as events:
        often, seen = EventReader(log), []
        for step in range(50):
            events.emit("step", step=step)
            seen += often.read()
    assert seen == EventReader(log).read()


def test_lines_that_are_no_events_are_counted(log: Path) -> None:
    good = '{"t": 1, "kind": "step", "attempt": 1}'
    bad = [
        "",
        "not json",
        "[1]",
        '{"t": 1, "kind": "dance", "attempt": 1}',
        '{"kind": "step", "attempt": 1}',
        '{"t": NaN, "kind": "step", "attempt": 1}',
        '{"t": 1, "kind": "step", "attempt": 1, "x": -Infinity}',
        '{"t": 1, "kind": "step", "attempt": 1, "x": 1e999}',
        '{"t": 1, "kind": ["step"], "attempt": 1}',
        '{"t": "1", "kind": "step", "attempt": 1}',
        '{"t": 1, "kind": "step", "attempt": 1.0}',
        "[" * 100_000,
        '{"t": 1, "kind": "step", "attempt": 1, "x": ' + "[" * 2000 + "]" * 2000 + "}",
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
    assert [event["kind"] for event in reader.read()] == ["gpu"]
    assert reader.skipped == 1


def test_a_file_that_is_not_there_yet_is_empty(log: Path) -> None:
    reader = EventReader(log)
    assert reader.read() == []
    written(log, {"title": "now"})
    assert [event["title"] for event in reader.read()] == ["now"]


def test_a_tick_reads_only_what_is_new(log: Path) -> None:
    written(log, *({"title": str(n)} for n in range(500)))
    reader = EventReader(log)
    reader.read()
    size = log.stat().st_size
    assert reader.offset == size
    written(log, {"title": "new"})
    assert len(reader.read()) == 1


def test_threads_do_not_mix_their_lines(log: Path) -> None:
    with EventWriter(log, 1) as events:

        def work(name: int) -> None:
            for n in range(200):
                events.emit("alert", title=f"{name}-{n}", text="x" * 500)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    reader = EventReader(log)
    assert len({event["title"] for event in reader.read()}) == 800
    assert reader.skipped == 0


def test_a_log_that_can_not_be_written_stops_the_run(log: Path) -> None:
    with pytest.raises(EventLogError, match="cannot be written"):
        EventWriter(log / "no" / "folder", 1)
    with EventWriter(log, 1) as events:
        log.unlink()
        with pytest.raises(EventLogError, match="deleted"):
            events.emit("gpu")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_named() -> None:
    with (
        pytest.raises(EventLogError, match="free disk space"),
        EventWriter(Path("/dev/full"), 1) as events,
    ):
        events.emit("gpu")


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
                events.emit("gpu")
        events.emit("alert", title="after")
    reader = EventReader(log)
    assert [event.get("title") for event in reader.read()] == ["after"]
    assert reader.skipped == 1
    assert json.loads(log.read_text().splitlines()[-1])["title"] == "after"
