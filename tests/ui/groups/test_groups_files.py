"""Rollout files are read as they are, whole or not; the index of prompts reads each once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ui.groups.made import completion, line, run_with_groups, write_rollouts
from trainer.run.groups import best_of, group_of, key_of
from trainer.ui.groups import index as indexing
from trainer.ui.groups import step_files
from trainer.ui.groups.index import Indexes, PromptIndex
from trainer.ui.groups.step_files import StepFile, StepFiles
from trainer.ui.stamps import Stamp

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


def test_a_damaged_last_line_is_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "step_000001.jsonl"
    path.write_bytes(json.dumps(line()).encode() + b"\n" + b'{"step": 1, "grou')
    file = StepFiles().read(path)
    assert (len(file.groups), file.damaged, file.missing) == (1, 1, False)


def test_a_file_that_is_gone_is_missing(tmp_path: Path) -> None:
    assert StepFiles().read(tmp_path / "step_000001.jsonl").missing


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, real = [], step_files._read

    def read(path: Path, stamp: Stamp) -> StepFile:
        reads.append(path)
        return real(path, stamp)

    monkeypatch.setattr(step_files, "_read", read)
    path, files = tmp_path / "step_000001.jsonl", StepFiles()
    path.write_text(json.dumps(line()) + "\n")
    assert files.read(path) is files.read(path)
    path.write_text(json.dumps(line("another")) + "\n")
    assert files.read(path).groups[0].question == "another"
    assert len(reads) == 2


def test_only_so_much_of_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(line()) + "\n"
    monkeypatch.setattr(step_files, "MOST_BYTES", 2 * len(text))
    path = tmp_path / "step_000001.jsonl"
    path.write_text(text * 3)
    file = StepFiles().read(path)
    assert (len(file.groups), file.cut) == (2, True)


@given(st.dictionaries(st.sampled_from(["prompt", "columns", "reward_mean", "group_std", "prompt_tokens"]), JSON), JSON)
def test_values_of_the_wrong_kind_are_none(values: dict[str, Any], odd: Any) -> None:
    keys = ("text", "tokens", "components", "reward", "advantage", "correct", "failed", "steps")
    written = {"outcome": "spread", "completions": [dict.fromkeys(keys, odd)], **values}
    group = group_of(json.dumps(written).encode(), 0)
    assert group is not None
    found = group.completions[0]
    assert isinstance(found.text, str) and isinstance(group.question, str)
    assert all(value is None or isinstance(value, float) for value in (found.reward, found.advantage, group.mean))


@given(st.binary(max_size=60))
def test_junk_is_no_group(junk: bytes) -> None:
    assert group_of(junk, 0) is None


def test_the_best_is_the_first_of_equals_and_the_unpaid_are_last() -> None:
    assert best_of([None, 1.0, 2.0, 2.0]) == 2
    assert best_of([None, None]) == 0


# ---- the index


def test_a_prompt_is_found_at_all_its_steps(tmp_path: Path) -> None:
    own = line("mine", mean=0.25, std=0.125)
    run = run_with_groups(tmp_path, "a", {1: [line("x"), own], 2: [line("y")], 3: [own]})
    index = PromptIndex(run)
    assert index.advance([1, 2, 3], 10.0) == 1.0
    found = index.appearances(key_of("mine"))
    assert [(one.step, one.place, one.mean, one.std, one.outcome) for one in found] == [
        (1, 1, 0.25, 0.125, "spread"),
        (3, 0, 0.25, 0.125, "spread"),
    ]
    read = index.group(found[0])
    assert read is not None and read.question == "mine"
    assert index.appearances(key_of("nobody")) == []


def test_reading_goes_on_where_it_ended(tmp_path: Path) -> None:
    run = run_with_groups(tmp_path, "a", {n: [line(f"{n}"), line("mine")] for n in range(1, 6)})
    index = PromptIndex(run)
    shares = [index.advance(range(1, 6), 0.0) for _ in range(16)]  # a line at each call
    assert shares == sorted(shares) and 0 < shares[4] < 1
    assert shares[-1] == 1.0
    assert [one.step for one in index.appearances(key_of("mine"))] == [1, 2, 3, 4, 5]


def test_a_file_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    run = run_with_groups(tmp_path, "a", {1: [line("old")], 2: [line("old")]})
    index = PromptIndex(run)
    index.advance([1, 2], 10.0)
    write_rollouts(run, 2, [line("something new")])
    index.advance([1, 2], 10.0)
    assert [one.step for one in index.appearances(key_of("old"))] == [1]
    index.advance([2], 10.0)
    assert index.appearances(key_of("old")) == []


def test_missing_files_end_nothing(tmp_path: Path) -> None:
    run = run_with_groups(tmp_path, "a", {1: [line("mine")], 2: [line("mine")]})
    run.rollouts_file(2).unlink()
    index = PromptIndex(run)
    assert index.advance([1, 2], 10.0) == 1.0
    assert [one.step for one in index.appearances(key_of("mine"))] == [1]


def test_the_index_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "MOST_GROUPS", 2)
    run = run_with_groups(tmp_path, "a", {n: [line("mine"), line("other")] for n in range(1, 6)})
    index = PromptIndex(run)
    assert index.advance(range(1, 6), 10.0) == 1.0
    assert [one.step for one in index.appearances(key_of("mine"))] == [4, 5]


def test_indexes_are_kept_for_the_newest_runs(tmp_path: Path) -> None:
    runs = [run_with_groups(tmp_path, f"r{n}", {1: [line(completions=[completion()])]}) for n in range(5)]
    kept = Indexes()
    with kept.of(runs[0]) as first:
        pass
    with kept.of(runs[0]) as again:
        assert again is first
    for run in runs[1:]:
        with kept.of(run):
            pass
    with kept.of(runs[0]) as later:
        assert later is not first
