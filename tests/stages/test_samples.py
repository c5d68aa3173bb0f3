"""What the starting policy writes is written once, whatever interrupts it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import REWARD, rows, tiny_model
from tests.stages.made import spec_of
from trainer.evaluate.answering import ends_of
from trainer.grpo.spans import Spans
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import Eval, Generation, RunSpec
from trainer.stages.samples import Sample, Sampled, SampleFile, _put, rows_at_once, sample

FACTS = {"model": "m", "seed": 42}
SPEC: RunSpec = spec_of(
    "rft",
    reward=REWARD.model_copy(update={"correct": "correct"}),
    generation=Generation(num_generations=2, max_completion_length=4, temperature=1.5),
    eval=Eval(batch_size=6),
)
ROWS = rows(8)  # three rows a part: 3, 3 and 2


class Stopped(Exception):
    """As a request to stop is noticed."""


@pytest.fixture(scope="module")
def write() -> Callable[..., list[Sampled]]:
    """write(path): samples of all rows; `after` parts it is stopped."""
    model, tokenizer = tiny_model()
    wrapper = ComponentRewardWrapper(SPEC.reward, Spans())

    def run(path: Path, after: int | None = None, facts: dict[str, Any] = FACTS, spec: RunSpec = SPEC) -> list[Sampled]:
        parts = iter(range(100))

        def check() -> None:
            if next(parts) == after:
                raise Stopped

        file = SampleFile(path, facts, rows_at_once(spec))
        return sample(file, model, tokenizer, ROWS, wrapper, spec, ends_of(model, tokenizer), check)

    return run


@pytest.fixture(scope="module")
def whole(write: Callable[..., list[Sampled]], tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Sampled]]:
    """(the file, what it says) of one that nobody interrupted."""
    path = tmp_path_factory.mktemp("whole") / "samples.jsonl"
    found = write(path)
    return path.read_bytes(), found


def test_a_line_a_row_with_its_completions(whole: tuple[bytes, list[Sampled]]) -> None:
    lines = [json.loads(line) for line in whole[0].splitlines()]
    assert lines[0] == FACTS | {"at_once": 3}
    assert len(lines) == 1 + len(ROWS)
    assert [len(line["completions"]) for line in lines[1:]] == [2] * len(ROWS)
    assert len({completion["text"] for line in lines[1:] for completion in line["completions"]}) > 8
    read: list[Sampled] = []
    assert all(_put(read, line) for line in lines[1:])
    assert read == whole[1]


def test_a_completion_that_has_ended_says_so(whole: tuple[bytes, list[Sampled]]) -> None:
    model, tokenizer = tiny_model()
    ends = ends_of(model, tokenizer)
    for row in whole[1]:
        for one in row.completions:
            assert one.ended == (one.ids[-1] in ends)
            assert one.ended or len(one.ids) == 4
            assert one.reward is not None


def test_cut_at_any_byte_it_goes_on_to_the_same_file(
    write: Callable[..., list[Sampled]], whole: tuple[bytes, list[Sampled]], tmp_path: Path
) -> None:
    text, found = whole
    ends = [place for place, byte in enumerate(text, 1) if byte == ord("\n")]
    # Nothing, inside the first line, and at the end, around it and inside of some of the others.
    places = {0, 1, ends[0] - 1, *ends[:5], ends[-1] - 1, *(end + more for end in ends[:7:2] for more in (1, 40))}
    for place in sorted(places):
        path = tmp_path / f"{place}.jsonl"
        path.write_bytes(text[:place])
        assert write(path) == found, place
        assert path.read_bytes() == text, place


def test_stopped_between_two_parts_it_goes_on_to_the_same_file(
    write: Callable[..., list[Sampled]], whole: tuple[bytes, list[Sampled]], tmp_path: Path
) -> None:
    for parts in range(3):
        path = tmp_path / f"{parts}.jsonl"
        with pytest.raises(Stopped):
            write(path, after=parts)
        assert path.read_bytes() == b"".join(whole[0].splitlines(keepends=True)[: 1 + 3 * parts])
        assert write(path) == whole[1]
        assert path.read_bytes() == whole[0]


def test_a_whole_file_is_only_read(
    write: Callable[..., list[Sampled]], whole: tuple[bytes, list[Sampled]], tmp_path: Path
) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(whole[0])
    assert write(path, after=0) == whole[1]


def test_another_number_of_rows_at_once_goes_on_with_the_files(
    write: Callable[..., list[Sampled]], whole: tuple[bytes, list[Sampled]], tmp_path: Path
) -> None:
    """eval.batch_size may be changed before a resume: the samples must not follow it."""
    path, other = tmp_path / "samples.jsonl", SPEC.model_copy(update={"eval": Eval(batch_size=16)})
    with pytest.raises(Stopped):
        write(path, after=1)
    assert write(path, spec=other) == whole[1]
    assert path.read_bytes() == whole[0]


def test_a_character_that_utf8_has_not_is_read_back_as_it_was(tmp_path: Path) -> None:
    file = SampleFile(tmp_path / "samples.jsonl", FACTS, 1)
    assert file.read() == []
    made = [Sampled([1], [Sample("a\ud83d\x00 \u2028 \uac00", [5], 0.1 + 0.2, None, False)])]
    file.add(made)
    assert file.read() == made


def test_one_of_other_facts_is_written_anew(
    write: Callable[..., list[Sampled]], whole: tuple[bytes, list[Sampled]], tmp_path: Path
) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_bytes(whole[0])
    with pytest.raises(Stopped):
        write(path, after=0, facts=FACTS | {"seed": 43})
    assert path.read_bytes().splitlines() == [json.dumps(FACTS | {"seed": 43, "at_once": 3}).encode()]


@pytest.mark.parametrize("damage", [b"{not json}\n", b"\xff\xfe\n", b"\n", b"[1]\n", b'{"prompt": [1]}\n', b"\0" * 50])
def test_from_a_damaged_line_on_it_is_written_again(
    damage: bytes, write: Callable[..., list[Sampled]], whole: tuple[bytes, list[Sampled]], tmp_path: Path
) -> None:
    path, lines = tmp_path / "samples.jsonl", whole[0].splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], damage, *lines[5:]]))
    assert write(path) == whole[1]
    assert path.read_bytes() == whole[0]


def test_another_seed_writes_others(
    write: Callable[..., list[Sampled]], whole: tuple[bytes, list[Sampled]], tmp_path: Path
) -> None:
    other = SPEC.model_copy(update={"run": SPEC.run.model_copy(update={"seed": 7})})
    assert write(tmp_path / "samples.jsonl", spec=other) != whole[1]
