"""Columns, encoding and delimiter of a person's file, guessed from its first records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.data import guess
from trainer.errors import DataError

ROWS = [("Was ist 2 + 2?", "4"), ("Was ist 3 + 5?", "8"), ("Was ist 10 - 1?", "9")]


def rows(*columns: str, more: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) | (more or {}) for row in ROWS]


@pytest.mark.parametrize(
    ("columns", "mapped"),
    [
        (("prompt", "answer"), ()),
        (("Frage", "Antwort"), (("prompt", "Frage"), ("answer", "Antwort"))),
        (("질문", "정답"), (("prompt", "질문"), ("answer", "정답"))),
        (("질문 내용", "정답 번호"), (("prompt", "질문 내용"), ("answer", "정답 번호"))),
        (("question_text", "gold_label"), (("prompt", "question_text"), ("answer", "gold_label"))),
        (("instruction", "output"), ()),  # found by every run, as Alpaca has them
        (("a column", "b"), (("prompt", "a column"), ("answer", "b"))),
        (("Question", "prompt"), (("answer", "Question"),)),
    ],
)
def test_columns_are_found_by_their_names_else_by_their_texts(
    columns: tuple[str, str], mapped: tuple[tuple[str, str], ...]
) -> None:
    assert guess.columns(rows(*columns)).mapped == mapped


def test_a_number_of_the_row_a_type_and_tests_are_neither() -> None:
    found = [
        {"번호": str(place), "question_type": "sum", "question": asked, "정답": right, "tests": "assert True"}
        for place, (asked, right) in enumerate(ROWS, 1)
    ]
    columns = guess.columns(found)
    assert (columns.prompt, columns.answer, columns.tests) == ("question", "정답", "tests")
    counted = [{"x": str(place), "y": asked, "z": right} for place, (asked, right) in enumerate(ROWS)]
    assert guess.columns(counted).mapped == (("prompt", "y"), ("answer", "z"))


def test_rows_without_answers_have_none() -> None:
    columns = guess.columns([{"text": "Tell a story."}, {"text": "Tell another one."}])
    assert (columns.prompt, columns.answer) == ("text", None)


@pytest.mark.parametrize(
    ("encoding", "told", "sign"), [("utf-8", None, ";"), ("cp949", "cp949", ","), ("utf-16", None, "\t")]
)
def test_encoding_and_delimiter_are_seen(tmp_path: Path, encoding: str, told: str | None, sign: str) -> None:
    file = tmp_path / ("sheet.tsv" if sign == "\t" else "sheet.csv")
    lines = [f"질문{sign}정답", *(f"서울에서 {n}번째로 큰 도시는 어디인가요?{sign}부산 {n}" for n in range(30))]
    file.write_bytes("\r\n".join(lines).encode(encoding))
    found = guess.table(str(file))
    assert (found.encoding, found.delimiter, len(found.records)) == (told, sign, 30)
    assert list(found.records[0]) == ["질문", "정답"]


def test_a_file_without_rows_and_one_that_is_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("a,b\n")
    (tmp_path / "sheet.csv").write_bytes(b"PK\x03\x04" + b"x" * 100)
    for name in ("empty.csv", "sheet.csv", "none.csv"):
        with pytest.raises(DataError):
            guess.table(str(tmp_path / name))


def test_values_are_those_of_the_column_that_was_chosen_or_found() -> None:
    asked, told = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "1"}
    chat = [{"messages": [asked, told]}, {"messages": [asked, told | {"content": "2"}]}]
    assert guess.values(chat, "answer", "answer") == ["1", "2"]
    assert guess.values(rows("Frage", "Antwort"), "answer", "Antwort") == ["4", "8", "9"]
