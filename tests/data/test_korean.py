"""What is said of rows in Korean: every problem and note in Korean words, whatever is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.latin import in_korean, in_text
from trainer.data import sources
from trainer.errors import DataError, Problem
from trainer.spec import RunSpec
from trainer.text import words

GOOD = '{"prompt": "1+1", "answer": "2"}'
TWO = f'{GOOD}\n{{"prompt": "2+2", "answer": "4"}}\n'
MIXED = '{"prompt": "a", "answer": "b", "x": [1, "b"]}'

REFUSED: list[tuple[str, str | bytes]] = [
    ("rows.jsonl", ""),
    ("rows.jsonl", f"{GOOD}\n{GOOD[:-3]}"),
    ("rows.jsonl", f"{GOOD}\n" + "[" * 5000),
    ("rows.jsonl", f"{GOOD}\n42\n"),
    ("rows.jsonl", GOOD.encode() + b'\n{"prompt": "\xe9"}\n'),
    ("rows.jsonl", gzip.compress(GOOD.encode(), mtime=0)),
    ("rows.jsonl", '{\n  "prompt": "a"\n}'),
    ("rows.jsonl", f"[{GOOD}]"),
    ("rows.jsonl", f'{GOOD}\n{{"answer": "b"}}\n'),
    ("rows.jsonl", f'{GOOD}\n{{"prompt": "a", "answer": null}}\n'),
    ("rows.jsonl", f'{GOOD}\n{{"prompt": "a", "answer": [["5"]]}}\n'),
    ("rows.jsonl", f'{GOOD}\n{{"prompt": "a", "answer": NaN}}\n'),
    ("rows.jsonl", f'{GOOD}\n{{"prompt": "a", "prompt": "b"}}\n'),
    ("rows.csv", "prompt,answer\n둘 더하기 둘은?,넷\n".encode("cp949")),
    ("rows.csv", 'prompt,answer\n"' + ("x" * 1023 + "\n") * (2**14 + 1)),
    ("rows.jsonl", '{"messages": [{"role": "user", "content": [5]}], "answer": "b"}'),
    ("rows.jsonl", '{"messages": [{"role": "user", "content": "a"}]}'),
    ("rows.jsonl", f'{GOOD}\n{{"prompt": "\\ud800", "answer": "b"}}\n'),
    ("rows.jsonl", f"{GOOD}\n{MIXED}\n"),
    ("rows.jsonl", f'{GOOD}\n{{"prompt": [], "answer": "b"}}\n'),
    ("rows.jsonl", f"{GOOD}\n" * 5),
    ("rows.jsonl", f'{GOOD}\n{{"prompt": "a", "answer": "b", "photo": {{"bytes": null, "path": "x.png"}}}}\n'),
    ("rows.json", GOOD),
    ("rows.json", f"{GOOD}\n{GOOD}\n"),
    ("rows.json", f"[{GOOD} {GOOD}]"),
    ("rows.json", f"[{GOOD},"),
    ("rows.csv", "prompt,answer\na,b,c\n"),
    ("rows.csv", 'prompt,answer\n"a,b\n'),
    ("rows.csv", "prompt,prompt\na,b\n"),
    ("rows.parquet", "PAR1 and nothing more"),
    ("rows.txt", TWO),
    ("none.jsonl", b"absent"),
]


def spec_for(path: Path, **data: Any) -> RunSpec:
    raw = {"model": {"name": "m"}, "data": {"path": str(path), **data}}
    return RunSpec.model_validate(raw | {"reward": {"components": [{"function": "exact_match"}]}})


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    if content != b"absent":
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(("name", "content"), REFUSED)
def test_what_is_wrong_with_rows_is_said_in_korean(tmp_path: Path, name: str, content: str | bytes) -> None:
    with pytest.raises(DataError) as caught:
        sources.inspect(spec_for(written(tmp_path, name, content)))
    for problem in caught.value.problems:
        in_korean(problem)


@pytest.mark.parametrize(
    ("rows", "data"),
    [
        (TWO, {"eval_fraction": 0.1, "prompt_template": "{missing}"}),
        (TWO, {"few_shot": {"template": "{prompt}{answer}", "count": 5}, "prompt_template": "{few_shot}{prompt}"}),
        (
            TWO,
            {
                "instruction": {"by": "answer", "texts": {"2": "Add."}},
                "prompt_template": "{instruction} {prompt}",
            },
        ),
        (GOOD, {"eval_fraction": 0.5}),
        (GOOD, {"columns": {"prompt": "frage"}}),
        ('{"a": {"b": 1}, "answer": "b"}', {"prompt_template": "{a}"}),
    ],
)
def test_what_does_not_fit_the_settings_is_said_in_korean(tmp_path: Path, rows: str, data: dict[str, Any]) -> None:
    with pytest.raises(DataError) as caught:
        sources.inspect(spec_for(written(tmp_path, "rows.jsonl", rows), **data))
    for problem in caught.value.problems:
        in_korean(problem)


def test_an_english_sentence_would_be_found() -> None:
    problem = Problem("data.changed", "data.path", name="a.jsonl")
    assert in_text(str(problem))
    assert not in_text("rows.jsonl: --set data.path=PATH, int float str", ["int float str"])


def same(prompts: list[str]) -> str:
    return "".join(json.dumps({"prompt": text, "answer": "a"}) + "\n" for text in prompts)


LONG = "one two three four five six seven eight nine ten eleven twelve thirteen"


@pytest.mark.parametrize(
    ("rows", "held", "leaks"),
    [
        (same(["a", "a", "b"]), None, "error"),
        (same(["a", "A", "b"]), None, "error"),
        (same(["a\0", "b"]), None, "error"),
        ('{"prompt": "a", "answer": " "}\n{"prompt": "b", "answer": "c"}\n', None, "error"),
        (same(["a", "b", "c", "d", "e"]), same(["a", "b", "c", "d"]), "warn"),
        (same(["a", "b"]), same(["A"]), "warn"),
        (same(["a", "b", "c"]), same(["a"]), "drop"),
        (same(["a", "b", "c"]), same(["a", "B"]), "drop"),
        (same([f"{LONG} x", "b"]), same([f"{LONG} y"]), "error"),
    ],
)
def test_what_is_odd_about_rows_is_said_in_korean(tmp_path: Path, rows: str, held: str | None, leaks: str) -> None:
    more = {"eval_path": str(written(tmp_path, "held.jsonl", held))} if held else {}
    found = sources.inspect(spec_for(written(tmp_path, "rows.jsonl", rows), leaks=leaks, **more))
    assert found.warnings
    for note in found.warnings:
        in_korean(note)


def test_a_leak_that_ends_the_run_is_said_in_korean(tmp_path: Path) -> None:
    path, held = written(tmp_path, "a.jsonl", same(["a", "b"])), written(tmp_path, "b.jsonl", same(["a"]))
    with pytest.raises(DataError) as caught:
        sources.inspect(spec_for(path, eval_path=str(held)))
    assert "b.jsonl:1" in in_korean(caught.value.problems[0])


@pytest.mark.parametrize("room", ["problem.data.", "problem.rewards.", "data.", "rewards."])
def test_no_text_of_these_rooms_was_left_in_english(room: str) -> None:
    korean = words("ko")
    own = [key for key in korean.keys() if key.startswith(room)]  # noqa: SIM118
    assert own
    assert {key: found for key in own if (found := in_text(korean(key)))} == {}
