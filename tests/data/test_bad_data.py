"""The 50 bad data files and rows that must not start a run, each with what becomes of it.

R refused before anything loads, W a warning, A accepted. Elsewhere: 40 (for model.max_seq_length) and 41 in
trainer/plan/checks.py; 38 and 39 need a tokenizer (test_dataset.py).
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer import presets
from trainer.data import decoding, files, sources
from trainer.errors import DataError
from trainer.spec import RunSpec

GOOD = '{"prompt": "1+1", "answer": "2"}'
OTHER = '{"prompt": "1+2", "answer": "3"}'


def spec_for(path: Path, **data: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": {"name": "m"},
            "data": {"path": str(path), **data},
            "reward": {"components": [{"function": "exact_match"}]},
        }
    )


def second(line: str) -> str:
    return f"{GOOD}\n{line}\n{OTHER}\n"


def chat(*messages: dict[str, Any]) -> str:
    return second(json.dumps({"prompt": messages, "answer": "x"}))


def same(count: int, prompt: str = "same") -> str:
    rows = [{"prompt": f"q{n}", "answer": "a"} for n in range(10)]
    rows += [{"prompt": prompt, "answer": "a"} for _ in range(count)]
    return "".join(json.dumps(row) + "\n" for row in rows)


CASES: list[tuple[str, str | bytes, str, str]] = [
    ("1 empty file", "", "R", "has no rows"),
    ("2 blank lines", "\n \n", "R", "has no rows"),
    ("3 byte order mark", b"\xef\xbb\xbf" + f"{GOOD}\n{OTHER}".encode(), "A", ""),
    ("4 CRLF", f"{GOOD}\r\n{OTHER}\r\n", "A", ""),
    ("5 UTF-16", f"{GOOD}\n{OTHER}\n".encode("utf-16"), "W", "rows.jsonl: read as UTF-16"),
    ("6 Latin-1", GOOD.encode() + b'\n{"prompt": "\xe9"}\n', "R", "rows.jsonl:2: is not UTF-8 (byte 13)"),
    ("7 truncated last line", f'{GOOD}\n{{"prompt": "a', "R", "rows.jsonl:2: is not JSON"),
    ("8 trailing comma", second(GOOD + ","), "R", "rows.jsonl:2: is not JSON: Extra data"),
    ("9 JSON array", f"[{GOOD}]", "R", "rename it to rows.json"),
    ("10 pretty-printed", '{\n  "prompt": "a"\n}', "R", "rows.jsonl:1: is an object spread over several lines"),
    ("11 Python quotes", second("{'prompt': 'a'}"), "R", "rows.jsonl:2: is not JSON"),
    ("12 CSV", "prompt,answer\na,b\n", "R", "rename it to rows.csv"),
    ("13 PDF", b"%PDF-1.7\n%\xe2\xe3", "R", "is a PDF: pages, no rows  ->  save the table"),
    ("13 picture", b"\x89PNG\r\n\x1a\n", "R", "is a picture  ->  a file of rows"),
    ("13 gzip", gzip.compress(GOOD.encode(), mtime=0), "R", "is gzip  ->  unpack it"),
    ("14 scalar", second("42"), "R", "rows.jsonl:2: is int, not an object"),
    ("15 null", second("null"), "R", "rows.jsonl:2: is NoneType"),
    ("16 duplicate key", second('{"prompt": "a", "prompt": "b"}'), "R", "rows.jsonl:2: is not JSON: key prompt occurs"),
    ("17 NaN", second('{"prompt": "a", "answer": NaN}'), "R", "rows.jsonl:2: is not JSON: NaN"),
    ("17 infinity", second('{"prompt": "a", "answer": -1e999}'), "R", "rows.jsonl:2: is not JSON: -1e999 is too large"),
    ("18 lone surrogate", second('{"prompt": "\\ud800", "answer": "b"}'), "R", "column prompt holds half"),
    ("19 NUL", second('{"prompt": "a\\u0000b", "answer": "b"}'), "W", "rows.jsonl:2: column prompt holds NUL"),
    ("20 long integer", second('{"prompt": "a", "answer": %s}' % ("9" * 30)), "R", "more than 64 bits"),
    ("21 nesting", second("[" * 5000), "R", "rows.jsonl:2: is not JSON"),
    ("26 no prompt", '{"answer": "b"}\n{"answer": "c"}\n', "R", "rows.jsonl:1: has no column prompt"),
    ("27 Prompt", '{"Prompt": "a", "answer": "b"}', "R", "--set data.columns.prompt=Prompt"),
    ("28 missing in row 2", second('{"answer": "b"}'), "R", "rows.jsonl:2: has no column prompt"),
    ("29 null prompt", second('{"prompt": null, "answer": "b"}'), "R", "rows.jsonl:2: column prompt is null"),
    ("30 number", second('{"prompt": 5, "answer": "b"}'), "R", "rows.jsonl:2: prompt is int"),
    ("31 empty prompt", second('{"prompt": "", "answer": "b"}'), "R", "rows.jsonl:2: prompt is empty"),
    ("32 white space", second('{"prompt": " \\n", "answer": "b"}'), "R", "rows.jsonl:2: prompt is empty"),
    ("33 text and chat", chat({"role": "user", "content": "a"}), "R", "rows.jsonl:2: column prompt is list, in line 1"),
    ("34 no messages", second('{"prompt": [], "answer": "b"}'), "R", "rows.jsonl:2: prompt is list"),
    ("35 no content", chat({"role": "user"}), "R", "rows.jsonl:2: a message of prompt has no role or no content"),
    ("36 unknown role", chat({"role": "usr", "content": "a"}), "R", "rows.jsonl:2: a message of prompt has the role"),
    ("37 assistant last", chat({"role": "assistant", "content": "a"}), "R", "the assistant's"),
    ("42 only bad rows", "[]\n", "R", "rename it to rows.json"),
    ("43 identical", f"{GOOD}\n" * 5, "R", "all 5 rows have the same prompt"),
    ("44 duplicates", same(4), "W", "rows.jsonl:12: 3 of 14 rows (21 %)"),
    ("44 few duplicates", same(2), "A", ""),
    ("47 prompts", second('{"prompt": "a", "answer": "b", "prompts": 1}'), "W", "column prompts reaches"),
    ("47 trainer_state", second('{"prompt": "a", "answer": "b", "trainer_state": 1}'), "W", "trainer_state reaches"),
    ("48 no answer", second('{"prompt": "a"}'), "R", "rows.jsonl:2: has no column answer"),
    ("49 null answer", second('{"prompt": "a", "answer": null}'), "R", "rows.jsonl:2: column answer is null"),
    ("49 object answer", second('{"prompt": "a", "answer": {"v": 1}}'), "R", "column answer is an object"),
    ("49 empty answer", second('{"prompt": "a", "answer": " "}'), "W", "rows.jsonl:2: column answer, which a reward"),
    ("50 image", second('{"prompt": "a", "answer": "b", "photo": {"bytes": null, "path": "x.png"}}'), "R", "an image"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "fate", "message"), CASES, ids=[case[0] for case in CASES])
def test_bad_input(tmp_path: Path, name: str, content: str | bytes, fate: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        found = sources.inspect(spec_for(path))
        said, seen = [str(warning) for warning in found.warnings], "W" if found.warnings else "A"
    except DataError as error:
        said, seen = [str(error)], "R"
    assert (seen, any(message in text for text in said)) == (fate, bool(said)), said


def test_case_22_a_line_without_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"prompt": "' + b"a" * (decoding.MAX_LINE + 1))
    with pytest.raises(DataError, match=r"rows\.jsonl:1: is longer than 16 MiB"):
        sources.inspect(spec_for(path))


@pytest.mark.parametrize(("kind", "message"), [("fifo", "a pipe"), ("folder", "a folder"), ("loop", "symbolic links"),
                                               ("device", "or device"), ("none", "no file")])  # fmt: skip
def test_case_23_what_is_no_file_is_refused_without_hanging(tmp_path: Path, kind: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match=f"data.path: .*{message}"):
        sources.inspect(spec_for(path))


@pytest.mark.skipif(os.getuid() != 0, reason="another user is needed that may not read the file")
def test_case_24_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(GOOD)
    path.chmod(0)
    script = (
        "import os, sys; from trainer.data.files import records; os.setuid(65534)\n"
        "try: list(records(sys.argv[1], 'data.path'))\nexcept Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("DataError data.path:")


@pytest.mark.parametrize("change", ["append", "replace", "delete"])
def test_case_25_a_file_that_changes_while_it_is_read(tmp_path: Path, change: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{GOOD}\n{OTHER}\n")
    reading = files.records(path, "data.path")
    next(reading)
    if change == "append":
        with path.open("a") as file:
            file.write(GOOD)
    elif change == "replace":
        (tmp_path / "new").write_text(GOOD)
        (tmp_path / "new").replace(path)
    else:
        path.unlink()
    with pytest.raises(DataError, match="no file" if change == "delete" else "was changed while it was read"):
        list(reading)


def leaky(tmp_path: Path, held_out: str, **data: Any) -> sources.Inspection:
    path, other = tmp_path / "rows.jsonl", tmp_path / "held.jsonl"
    path.write_text('{"prompt": "What is it?", "answer": "a"}\n{"prompt": "Who?", "answer": "b"}\n')
    other.write_text(held_out)
    return sources.inspect(spec_for(path, eval_path=str(other), **data))


HELD = '{"prompt": "Where?", "answer": "c"}\n{"prompt": "%s", "answer": "a"}\n'


def test_case_45_leaks(tmp_path: Path) -> None:
    held = HELD % "What is it?"
    with pytest.raises(DataError, match=r"rows\.jsonl:1: its prompt is also held out, in held\.jsonl:2"):
        leaky(tmp_path, held)
    assert "held.jsonl:2" in str(leaky(tmp_path, held, leaks="warn").warnings[0])
    dropped = leaky(tmp_path, held, leaks="drop")
    assert (dropped.rows, dropped.eval_rows) == (1, 2)
    assert "1 training rows are left out" in str(dropped.warnings[0])


@pytest.mark.parametrize(("train", "held"), [("3 - 4", "3 + 4"), ("1.5", "15"), ("1 23", "12 3"), ("3!", "3")])
def test_sums_that_differ_are_no_leak(tmp_path: Path, train: str, held: str) -> None:
    path, other = tmp_path / "rows.jsonl", tmp_path / "held.jsonl"
    path.write_text(json.dumps({"prompt": train, "answer": "1"}))
    other.write_text(json.dumps({"prompt": held, "answer": "1"}))
    assert sources.inspect(spec_for(path, eval_path=str(other))).warnings == []


@pytest.mark.parametrize(("count", "warns"), [(12, False), (13, True)])
def test_case_45_thirteen_words_in_a_row(tmp_path: Path, count: int, warns: bool) -> None:
    path, other = tmp_path / "rows.jsonl", tmp_path / "held.jsonl"
    shared = " ".join(f"w{n}" for n in range(count))
    path.write_text(f"{GOOD}\n{json.dumps({'prompt': f'here {shared} end', 'answer': '1'})}\n")
    other.write_text(json.dumps({"prompt": f"there {shared} stop", "answer": "1"}))
    found = [str(warning) for warning in sources.inspect(spec_for(path, eval_path=str(other))).warnings]
    assert any("rows.jsonl:2: 1 training rows share 13 words" in text for text in found) == warns == bool(found)


def test_template_text_is_no_overlap(tmp_path: Path) -> None:
    path, other = tmp_path / "rows.jsonl", tmp_path / "held.jsonl"
    text = " ".join(f"w{n}" for n in range(20))
    for file, names in ((path, "abc"), (other, "xyz")):
        file.write_text("".join(json.dumps({"prompt": f"{text} {name}", "answer": "1"}) + "\n" for name in names))
    assert sources.inspect(spec_for(path, eval_path=str(other))).warnings == []


def test_case_46_no_held_out_rows_and_the_training_file_again(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.eval_path: held\.jsonl has no rows"):
        leaky(tmp_path, "")
    with pytest.raises(DataError, match=r"rows\.jsonl:2: its prompt is also held out"):
        leaky(tmp_path, (tmp_path / "rows.jsonl").read_text())


@pytest.mark.parametrize(("suffix", "content", "message"), [
    ("json", f"{GOOD}\n{OTHER}\n", "rename it to rows.jsonl"),
    ("json", f"[{GOOD},\n{OTHER},\n]", "rows.json:3: is not JSON"),
    ("json", f"[{GOOD},\n{OTHER}", "ends in the middle of the array"),
    ("json", f'{{"a": [{GOOD}], "b": 1}}', "has more than one key around its rows"),
    ("json", f'[{GOOD},\n\n42]', "rows.json:3: is int, not an object"),
    ("csv", "prompt,answer\na,b,c\n", "rows.csv:2: has 3 cells, the header has 2"),
    ("csv", "prompt,prompt,answer\na,b,c\n", "prompt=prompt (1)', one of: prompt (1), prompt (2), answer"),
    ("csv", f"{GOOD}\n", "rename it to rows.jsonl"),
    ("csv", 'prompt,answer\n"a,b\n', "rows.csv:2: is not CSV"),
    ("json", f'[{GOOD}, {{"prompt": "a", "answer": 1e999}}]', "rows.json:1: is not JSON: 1e999 is too large"),
    ("parquet", GOOD, "is not a Parquet file"),
    ("txt", GOOD, "one of: .jsonl, .json, .csv, .tsv, .parquet"),
])  # fmt: skip
def test_other_formats_refuse(tmp_path: Path, suffix: str, content: str, message: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        sources.inspect(spec_for(path))
    assert message in str(caught.value)


ROWS = [{"prompt": 'say "a",\nthen b', "answer": "x"}, {"prompt": "둘", "answer": "y"}]


@pytest.mark.parametrize(("suffix", "content", "lines"), [
    ("json", json.dumps(ROWS, indent=1), [2, 6]),
    ("json", json.dumps({"data": ROWS}), [1, 1]),
    ("csv", '\n \nprompt,answer\n"say ""a"",\nthen b",x\n둘,y\n', [4, 6]),
    ("csv", '\ufeffprompt,answer\n"say ""a"",\nthen b",x\n둘,y\n', [2, 4]),
    ("csv", 'prompt;answer\r\n"say ""a"",\nthen b";x\r\n둘;y\r\n', [2, 4]),
    ("csv", 'prompt\tanswer\n"say ""a"",\nthen b"\tx\n둘\ty\n', [2, 4]),
])  # fmt: skip
def test_every_format_gives_the_rows_and_their_lines(
    tmp_path: Path, suffix: str, content: str, lines: list[int]
) -> None:
    path = tmp_path / f"rows.{suffix}"
    path.write_text(content, newline="")
    rows = list(sources.read_rows(path, spec_for(path), "data.path"))
    assert ([row.columns for row in rows], [row.line for row in rows]) == (ROWS, lines)


def test_parquet(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    rows = list(sources.read_rows(path, spec_for(path), "data.path"))
    assert ([row.columns for row in rows], [row.line for row in rows]) == (ROWS, [1, 2])


def test_what_python_has_no_value_for_is_refused_at_its_row_and_two_columns_of_one_name_are_numbered(
    tmp_path: Path,
) -> None:
    import pyarrow
    from pyarrow import parquet

    path, prompts = tmp_path / "rows.parquet", pyarrow.array(["a", "b"])
    far = pyarrow.array([0, 2**62], pyarrow.timestamp("us"))  # beyond the year 9999
    parquet.write_table(pyarrow.table({"prompt": prompts, "answer": prompts, "at": far}), path)
    with pytest.raises(DataError, match=r"rows\.parquet:2: cannot be read as Parquet"):
        list(sources.read_rows(path, spec_for(path), "data.path"))
    table = pyarrow.table([prompts, prompts, pyarrow.array(["c", "d"])], names=["prompt", "answer", "answer"])
    parquet.write_table(table, path)
    with pytest.raises(DataError, match=r"one of: prompt, answer \(1\), answer \(2\)"):
        list(sources.read_rows(path, spec_for(path), "data.path"))


def test_an_array_is_read_in_pieces_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    rows = [{"prompt": f"q{n} " + "가" * (n % 7 * 3000), "answer": "a"} for n in range(200)]
    path.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]")
    read = list(sources.read_rows(path, spec_for(path), "data.path"))
    assert [row.columns for row in read] == rows
    assert [row.line for row in read] == list(range(2, 202))


def test_files_of_examples_and_rewards_start_at_the_preset(tmp_path: Path) -> None:
    raw: dict[str, Any] = {
        "data": {"few_shot": {"path": "f.jsonl"}},
        "reward": {"components": [{"file": "a.py"}, {"components": [{"components": [{"file": "b.py"}]}]}]},
    }
    presets._make_absolute(raw, tmp_path)
    assert raw["data"]["few_shot"]["path"] == str(tmp_path / "f.jsonl")
    outer, inner = raw["reward"]["components"]
    assert (outer["file"], inner["components"][0]["components"][0]["file"]) == (
        str(tmp_path / "a.py"), str(tmp_path / "b.py"),
    )  # fmt: skip
