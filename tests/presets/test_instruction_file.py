"""data.instruction.path: a contest's instructions as it hands them out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from trainer import presets
from trainer.errors import SpecError
from trainer.text import words


def load(path: Path, *more: str) -> dict[str, str]:
    spec = presets.load("malpyeong-tiny", [f"data.instruction.path={path}", *more])
    assert spec.data.instruction is not None and spec.data.instruction.path is None
    return spec.data.instruction.texts


def test_the_contests_file_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "instruct.json"
    found = {"prompt": " 규범을 설명하세요.\n", "selection_prompt": "고르세요.", "correction_prompt": "고치세요."}
    path.write_text(json.dumps(found), encoding="utf-8-sig")
    texts = load(path)
    assert texts["선택형"] == texts["selection"] == "규범을 설명하세요.\n\n고르세요."
    assert texts["교정형"] == texts["correction"] == "규범을 설명하세요.\n\n고치세요."


def test_any_type_may_stand_in_it_and_the_run_keeps_its_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"요약형": "줄이세요.", "free_prompt": "쓰세요."}', encoding="utf-8")
    texts = load(path)
    assert (texts["요약형"], texts["free"]) == ("줄이세요.", "쓰세요.")
    assert "선택형" in texts  # of the preset: the file does not speak of it


def test_a_file_stands_where_its_preset_is(tmp_path: Path) -> None:
    (tmp_path / "instruct.json").write_text('{"add": "Add."}', encoding="utf-8")
    preset = tmp_path / "mine.toml"
    text = (presets.PRESETS_DIR / "malpyeong-tiny.toml").read_text(encoding="utf-8")
    text = text.replace('"data/', f'"{presets.PRESETS_DIR}/data/')
    preset.write_text(
        text.replace("[data.instruction]", '[data.instruction]\npath = "instruct.json"'), encoding="utf-8"
    )
    instruction = presets.load(preset).data.instruction
    assert instruction is not None and instruction.texts["add"] == "Add."


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no JSON"),
        (b"\xff\xfe{", "is no JSON in UTF-8"),
        (b'{"a": 1', "is no JSON"),
        (b'["a"]', "is no object of texts"),
        (b'"a"', "is no object of texts"),
        (b'{"prompt": "for all"}', "none for one"),
        (b"{}", "none for one"),
        (b'{"a_prompt": ["Add."]}', "a_prompt is"),
        (b'{"a_prompt": " "}', "a_prompt is"),
        (b'{"a_prompt": "Add.", "prompt": null}', "prompt is"),
    ],
)
def test_another_file_is_refused_by_its_key(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(SpecError) as refused:
        load(path)
    (problem,) = refused.value.problems
    assert problem.place == "data.instruction.path"
    assert said in str(problem)
    assert str(path) in str(problem.said(words("ko")))


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("", "missing.json", "pipe"):
        with pytest.raises(SpecError, match="cannot be read"):
            load(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        '{"free_prompt": "one", "free_prompt": "two"}',
        '{"free_prompt": "one", "free": "two"}',
        '{"선택형": "one", "selection_prompt": "two"}',
    ],
)
def test_two_texts_for_one_type_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "twice.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(SpecError, match="there are two texts for"):
        load(path)
