"""CSV as spreadsheets write it, and text files in other encodings than UTF-8."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer import presets
from trainer.data import encodings, sources
from trainer.errors import DataError, SpecError
from trainer.spec import RunSpec

PLAIN = [{"prompt": "one", "answer": "1"}, {"prompt": "two", "answer": "2"}]
KOREAN = "prompt,answer\n서울은 어느 나라의 수도입니까?,한국\n둘 더하기 둘은?,넷\n"
GERMAN = "prompt,answer\nWie heißt die größte Stadt?,Zürich\nUnd grün?,Blätter\n"


def spec_for(path: Path, **data: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": {"name": "m"},
            "data": {"path": str(path), **data},
            "reward": {"components": [{"function": "exact_match"}]},
        }
    )


def read(folder: Path, content: str | bytes, suffix: str = "csv", **data: Any) -> list[dict[str, Any]]:
    path = folder / f"rows.{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [row.columns for row in sources.read_rows(path, spec_for(path, **data), "data.path")]


def refused(folder: Path, content: str | bytes, suffix: str = "csv", **data: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, content, suffix, **data)
    return str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "prompt,answer\rone,1\rtwo,2\r",
        "prompt,answer\rone,1\r\n\rtwo,2\n",
        "prompt,answer\r\r\none,1\r\r\ntwo,2",
        '"prompt\r\n(to ask)","answer\n\n(one word)"\r\none,1\r\ntwo,2\r\n',
        " prompt, answer \none,1\ntwo,2\n",
        '"prompt", "answer"\n"one", "1"\n"two", "2"\n',
        "prompt;answer\none;1\ntwo;2\n",
        "prompt\tanswer\none\t1\ntwo\t2\n",
        "prompt|answer\none|1\ntwo|2\n",
        "sep=;\r\nprompt;answer\r\none;1\r\ntwo;2\r\n",
        '\ufeff"sep=\t"\nprompt\tanswer\none\t1\ntwo\t2\n',
        "prompt,answer,,\none,1,,\ntwo,2,,\n,,,\n , ,,\n",
        "\n,,\nprompt,answer,\none,1,\ntwo,2,,,,\n",
        "prompt\tanswer\r\none\t1\r\ntwo\t2\r\n".encode("utf-16"),
        b"\xfe\xff" + "prompt,answer\none,1\ntwo,2\n".encode("utf-16-be"),
        "prompt,answer\none,1\ntwo,2\n".encode("utf-32"),
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, content: str | bytes) -> None:
    assert read(tmp_path, content) == PLAIN


@pytest.mark.parametrize(
    ("content", "header"),
    [
        ("prompt;answer, in short\n1,5 and 2?;3\n2,5 and 3?;4\n", ["prompt", "answer, in short"]),
        ("prompt, all of it, whole;answer\na, b, c;3\nb;4\n", ["prompt, all of it, whole", "answer"]),
        (",prompt,answer\n0,one,1\n1,two,2\n", ["column 1", "prompt", "answer"]),
        ("prompt,note,answer,note\na,b,c,d\nb,c,d,e\n", ["prompt", "note (1)", "answer", "note (2)"]),
        ('prompt,answer,size"\none,1,2\ntwo,2,3\n', ["prompt", "answer", 'size"']),
    ],
)
def test_a_header_is_divided_as_its_rows_are_and_every_column_has_a_name(
    tmp_path: Path, content: str, header: list[str]
) -> None:
    renamed = {"prompt": next(name for name in header if name.startswith("prompt")),
               "answer": next(name for name in header if name.startswith("answer"))}  # fmt: skip
    ours = {theirs: ours for ours, theirs in renamed.items()}
    assert set(read(tmp_path, content, columns=renamed)[0]) == {ours.get(name, name) for name in header}


def test_line_ends_inside_quotes_belong_to_the_cell_and_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'prompt,answer\r"a\rb",1\r"c\n\xe2\x80\xa8d",2\r')
    rows = list(sources.read_rows(path, spec_for(path), "data.path"))
    assert [(row.line, row.columns["prompt"]) for row in rows] == [(2, "a\rb"), (4, "c\n\u2028d")]


def test_line_ends_at_the_border_of_what_is_read_at_once(tmp_path: Path) -> None:
    for before in range(2**18 - 20, 2**18 - 14):
        content = b'prompt,answer\r\n"' + b"x" * before + b'",1\r\ntwo,2\r\n'
        assert read(tmp_path, content)[1] == PLAIN[1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("prompt,answer,\none, or more,1\n", "rows.csv:2: has 3 cells, the header has 2"),
        ("prompt,answer,note\none,1\n", "an empty cell keeps its delimiter"),
        ("prompt,answer,answer\none,1,2\n", "'data.columns.answer=answer (1)', one of: prompt, answer (1), answer (2)"),
        ('prompt,answer\n"' + ("x" * 1023 + "\n") * (2**14 + 1), "rows.csv:2: has a cell of more than 16 MiB"),
        (KOREAN.encode("cp949"), "rows.csv:2: is not UTF-8; in cp949 it reads: 서울은 어느"),
        (GERMAN.encode("cp1252"), "rows.csv:2: is not UTF-8; in cp1252 it reads: Wie heißt die"),
        ("prompt,answer\none,1\n".encode("utf-16-le"), "--set data.encoding=utf-16-le"),
        (KOREAN.encode() + b"\xed\x95,1\n", "rows.csv:4: is not UTF-8 (byte 1)"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert said in refused(tmp_path, content)


@pytest.mark.parametrize(("text", "encoding"), [(KOREAN, "cp949"), (GERMAN, "cp1252"), (KOREAN, "utf-16-be")])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json"])
def test_the_encoding_that_is_proposed_reads_the_file(tmp_path: Path, text: str, encoding: str, suffix: str) -> None:
    rows = read(tmp_path, text)
    if suffix != "csv":
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        text = "\n".join(lines) if suffix == "jsonl" else f"[{', '.join(lines)}]"
    said = refused(tmp_path, text.encode(encoding), suffix)
    assert said.count("\n") == 0 and said.endswith(f"--set data.encoding={encoding}")
    assert read(tmp_path, text.encode(encoding), suffix, encoding=encoding) == rows


def test_a_file_that_is_utf8_is_read_as_such_whatever_was_told_and_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(KOREAN)
    found = sources.inspect(spec_for(path, encoding="cp949"))
    assert found.rows == 2 and "is UTF-8, so data.encoding = cp949 is not used" in str(found.warnings[0])


def test_a_file_in_another_encoding_than_the_one_told_is_refused_at_its_line(tmp_path: Path) -> None:
    content = b"prompt,answer\r\n" + (b"x" * 900 + b",1\r\n") * 600 + b"\xff\xff,1\n"
    assert "rows.csv:602: is not cp949" in refused(tmp_path, content, encoding="cp949")
    with pytest.raises(SpecError, match=r'data\.encoding: is "cp94"'):
        presets.load("tiny", ["data.encoding=cp94"])


@pytest.mark.parametrize(
    ("text", "encoding", "likely"),
    [
        ("a,가\n", "cp949", "cp949"),
        ("q,a\nc'est où l\u2019école ?,là\n", "cp1252", "cp1252"),
        ("q,a\nl\u2019été à la plage,où\n", "mac_roman", "mac_roman"),
        ("質問,答え\nこれは何ですか,はい\n", "cp932", "cp932"),
        ("问题,答案\n中国的首都是哪里,北京\n", "gb18030", "gb18030"),
        ("東京都,首都\n北海道,札幌\n", "cp932", None),
        ("中國的首都是哪裡,北京\n", "big5", None),
        ("za\u017c\xf3\u0142\u0107 g\u0119\u015bl\u0105 ja\u017a\u0144\n", "cp1250", None),
        ("вопрос,ответ\nгде,дом\n", "cp1251", None),  # noqa: RUF001
    ],
)
def test_an_encoding_is_proposed_where_one_is_likely(text: str, encoding: str, likely: str | None) -> None:
    assert encodings.guessed(text.encode(encoding)) == likely


def test_a_blank_between_delimiter_and_quotes_is_no_part_of_the_text(tmp_path: Path) -> None:
    assert read(tmp_path, 'prompt, answer\n"one, two", "1, 2"\n"three", "4"\n')[0] == {
        "prompt": "one, two",
        "answer": "1, 2",
    }
    assert read(tmp_path, 'prompt,answer\none, "two" or so\nthree,4\n')[0]["answer"] == ' "two" or so'
