"""trainer.data.sources: a bad row is named by file:line, every one, before anything is loaded."""

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.data import sources
from trainer.errors import DataError
from trainer.spec import RunSpec

GOOD = '{"prompt": "1+1", "answer": "2"}'


def spec_for(path: Path, **data: Any) -> RunSpec:
    return RunSpec.model_validate(
        {
            "model": {"name": "m"},
            "data": {"path": str(path), **data},
            "reward": {"components": [{"function": "exact_match"}]},
        }
    )


def refuse(tmp_path: Path, content: bytes | str, **data: Any) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        sources.inspect(spec_for(path, **data))
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "rows.jsonl:2: is not JSON: .* column"),
        (GOOD + ",", "rows.jsonl:2: is not JSON: Extra data"),
        ("{'prompt': 'a'}", "in double quotes"),
        ("prompt,answer", "rows.jsonl:2: is not JSON"),
        ("42", "rows.jsonl:2: is int, not an object"),
        ("null", "rows.jsonl:2: is NoneType, not an object"),
        ('{"prompt": "a", "answer": NaN}', "NaN is not JSON"),
        ('{"Prompt": "a", "answer": "b"}', "has no column prompt .*one of: Prompt, answer"),
        ('{"prompt": "a"}', "has no column answer"),
        ('{"prompt": "a", "answer": null}', "column answer is null"),
        ('{"prompt": null, "answer": "b"}', "column prompt is null"),
        ('{"prompt": 5, "answer": "b"}', "prompt is int"),
        ('{"prompt": "  ", "answer": "b"}', "prompt is empty"),
        ('{"prompt": [], "answer": "b"}', "prompt is list"),
        ('{"prompt": [{"role": "user"}], "answer": "b"}', "has no role or no content"),
        ('{"prompt": [{"role": "assistant", "content": "x"}], "answer": "b"}', "the assistant's"),
        ("[" * 3000, "rows.jsonl:2: is not JSON"),
        ('{"prompt": "a", "answer": [["2"]]}', "column answer is a list inside a list"),
        ('{"prompt": "a", "answer": "b", "id": ' + "9" * 30 + "}", "column id is a number of more than 64 bits"),
        ('{"prompt": "\\ud800abc", "answer": "b"}', "column prompt holds half a character"),
        ('{"prompt": [{"role": "user", "content": 5}], "answer": "b"}', "no text as its content"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    import re

    found = refuse(tmp_path, f"{GOOD}\n{line}\n{GOOD}\n")
    assert re.search(message, found), found
    assert "rows.jsonl:2" in found


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    assert "rows.jsonl:2: is not UTF-8 (byte 13)" in refuse(tmp_path, GOOD.encode() + b'\n{"prompt": "\xe9"}\n')


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: str) -> None:
    assert "has no rows" in refuse(tmp_path, content)


def test_every_bad_row_is_listed_up_to_ten(tmp_path: Path) -> None:
    found = refuse(tmp_path, "42\n" * 25).splitlines()
    assert len(found) == 11
    assert found[9].startswith("rows.jsonl:10:")
    assert found[10] == "rows.jsonl: and 15 more bad rows"


def test_both_files_are_checked_before_anything_is_said(tmp_path: Path) -> None:
    found = refuse(tmp_path, "42\n", eval_path=str(tmp_path / "absent.jsonl"))
    assert "rows.jsonl:1" in found
    assert "data.eval_path: no file" in found


def test_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n" + GOOD.replace("1+1", "1+2").encode())
    assert sources.inspect(spec_for(path)) == sources.Inspection(rows=2, eval_rows=None)


def test_columns_are_renamed_before_they_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"question": "1+1", "solution": "2"}))
    spec = spec_for(path, columns={"prompt": "question", "answer": "solution"})
    assert next(sources.read_rows(path, spec, "data.path")).columns == {"prompt": "1+1", "answer": "2"}


def test_rows_held_out_are_not_counted_for_training(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(GOOD.replace("1+1", f"{n}+1") + "\n" for n in range(20)))
    assert sources.inspect(spec_for(path, eval_fraction=0.25, max_rows=16)) == sources.Inspection(12, 4)


def test_the_mapping_wins_over_a_column_that_has_the_name_already(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"question": "1+1", "prompt": "ignored", "answer": "2"}))
    spec = spec_for(path, columns={"prompt": "question"})
    assert next(sources.read_rows(path, spec, "data.path")).columns == {"prompt": "1+1", "answer": "2"}


def test_a_mapping_from_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    found = refuse(tmp_path, GOOD, columns={"prompt": "question"})
    assert "rows.jsonl:1: has no column question, which data.columns.prompt names" in found


def test_a_column_that_no_row_has_is_said_once(tmp_path: Path) -> None:
    found = refuse(tmp_path, '{"prompt": "a", "solution": "b"}\n' * 50).splitlines()
    assert found == [
        "rows.jsonl:1: has no column answer  ->  --set data.columns.answer=solution, one of: prompt, solution"
    ]


QUESTIONS = '{"question": "a", "prompt": %s, "answer": "b"}\n{"question": "c", "prompt": "x", "answer": "d"}\n'


@pytest.mark.parametrize("prompt", ["null", "5", '""'])
def test_a_prompt_that_no_template_names_is_not_judged(tmp_path: Path, prompt: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(QUESTIONS % prompt)
    assert sources.inspect(spec_for(path, prompt_template="{question}")) == sources.Inspection(2, None)


def test_messages_among_texts_are_refused_though_no_template_names_them(tmp_path: Path) -> None:
    found = refuse(tmp_path, QUESTIONS % '[{"role": "user", "content": "q"}]', prompt_template="{question}")
    assert "rows.jsonl:2: column prompt is str, in line 1 it is list" in found


@pytest.mark.parametrize(
    ("data", "warns"),
    [({"system_prompt": "Be short."}, True), ({"prompt_template": "Q: {prompt}!"}, True), ({}, False)],
)
def test_messages_take_no_template_and_no_system_prompt_and_that_is_said_once(
    tmp_path: Path, data: dict[str, str], warns: bool
) -> None:
    path = tmp_path / "rows.jsonl"
    chat = [{"prompt": [{"role": "user", "content": text}], "answer": "b"} for text in ("one", "two")]
    path.write_text("".join(json.dumps(row) + "\n" for row in chat))
    said = [str(warning) for warning in sources.inspect(spec_for(path, **data)).warnings]
    assert len(said) == warns
    assert all("data.system_prompt and prompt_template are not used (rows: 2)" in text for text in said)


def test_steps_is_a_word_of_its_own_with_process_supervision_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "answer": "b", "steps": 3}\n{"prompt": "c", "answer": "b", "steps": 2}\n')
    plain = spec_for(path)
    assert sources.inspect(plain).warnings == []
    reward = plain.reward.model_copy(update={"supervision": "process"})
    found = sources.inspect(plain.model_copy(update={"reward": reward}))
    assert "column steps reaches no reward" in str(found.warnings[0])
