"""trainer.data.render and preview: instructions by type, few-shot examples that are never the row itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from trainer.data import preview, sources
from trainer.data.keys import HELD_OUT
from trainer.data.render import Renderer
from trainer.data.survey import survey
from trainer.errors import DataError, SpecError
from trainer.presets import parse

TEXTS = {"a": "Add.", "b": "Take."}


def raw(folder: Path, rows: list[dict[str, Any]], **data: Any) -> dict[str, Any]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "model": {"name": "m"},
        "data": {"path": str(path), "prompt_template": "{instruction}\n{few_shot}\nQ: {prompt}",
                 "instruction": {"by": "kind", "texts": TEXTS}, "few_shot": {"by": "kind", "count": 2}, **data},
        "reward": {"components": [{"function": "exact_match"}]},
    }  # fmt: skip


def made(count: int = 8) -> list[dict[str, Any]]:
    return [{"kind": "ab"[n % 2], "prompt": f"<{n}>", "answer": str(n)} for n in range(count)]


def shown(folder: Path, rows: list[dict[str, Any]], **data: Any) -> dict[str, str]:
    """{prompt of a row: what is sent}"""
    sent = preview.preview(parse(raw(folder, rows, **data), "x.toml"), 100)
    return {row["prompt"][0]["content"].rpartition("Q: ")[2]: row["prompt"][0]["content"] for row in sent}


def test_examples_are_of_the_rows_type_and_never_the_row_itself(tmp_path: Path) -> None:
    for prompt, text in shown(tmp_path, made()).items():
        numbers = [int(n) for n in re.findall(r"<(\d+)>", text)]
        assert len(set(numbers)) == 3 and f"<{numbers[-1]}>" == prompt
        assert len({n % 2 for n in numbers}) == 1
        assert text.startswith(TEXTS["ab"[numbers[-1] % 2]])


def test_a_row_gets_the_same_examples_in_any_order_and_others_for_another_seed(tmp_path: Path) -> None:
    forwards = shown(tmp_path, made(20))
    assert shown(tmp_path, made(20)[::-1]) == forwards
    other = parse(raw(tmp_path, made(20)) | {"run": {"seed": 1}}, "x.toml")
    assert [row["prompt"][0]["content"] for row in preview.preview(other, 20)] != list(forwards.values())


def test_held_out_rows_are_no_examples(tmp_path: Path) -> None:
    held = {"prompt": "<99>", "kind": "a", "answer": "99"}
    (tmp_path / "held.jsonl").write_text(json.dumps(held))
    rows = [*made(), held]
    sent = shown(tmp_path, rows, eval_path=str(tmp_path / "held.jsonl"), leaks="drop")
    assert len(sent) == 8 and not any("<99>" in text for text in sent.values())


def test_examples_of_their_own_file_leave_the_row_out(tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in made(6)))
    few_shot = {"by": "kind", "count": 2, "path": str(own)}
    for text in shown(tmp_path, made(6), few_shot=few_shot).values():
        assert len(set(re.findall(r"<(\d+)>", text))) == 3


@pytest.mark.parametrize("own", [False, True])
def test_too_few_examples_of_a_type_are_said_with_their_number(tmp_path: Path, own: bool) -> None:
    data: dict[str, Any] = {}
    if own:
        (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made(5)))
        data = {"few_shot": {"by": "kind", "count": 2, "path": str(tmp_path / "own.jsonl")}}
    with pytest.raises(DataError, match=r"rows.jsonl:2: there are 1 other examples of type 'b', 2 are needed"):
        sources.inspect(parse(raw(tmp_path, made(5), **data), "x.toml"))


def test_a_row_of_an_unknown_type_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    rows = [*made(), {"kind": "c", "prompt": "x", "answer": "y"}]
    with pytest.raises(DataError, match=r"rows.jsonl:9: column kind is 'c', .* one of: a, b"):
        sources.inspect(parse(raw(tmp_path, rows), "x.toml"))


def test_columns_that_are_made_are_not_asked_for_and_those_of_rewards_are(tmp_path: Path) -> None:
    spec = parse(raw(tmp_path, made(), few_shot={"template": "{hint}"}), "x.toml")
    assert sources.needed_columns(spec) == ["prompt", "kind", "hint", "answer"]
    assert sources.needed_columns(spec, "data.eval_path") == ["prompt", "kind", "answer"]


@pytest.mark.parametrize("name", ["instruction", "few_shot"])
def test_what_is_made_must_be_named_by_the_template(tmp_path: Path, name: str) -> None:
    other = "few_shot" if name == "instruction" else "instruction"
    with pytest.raises(SpecError, match=f"data.{name}: is set, but data.prompt_template does not use it"):
        parse(raw(tmp_path, made(), prompt_template=f"{{{other}}} {{prompt}}"), "x.toml")


def with_file(folder: Path, examples: list[dict[str, Any]], held: list[dict[str, Any]], **data: Any) -> dict[str, Any]:
    """A run with a file of examples and one of held-out rows."""
    for name, rows in (("own", examples), ("held", held)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    few_shot = {"by": "kind", "count": 2, "path": str(folder / "own.jsonl")}
    return raw(folder, made(4), few_shot=few_shot, eval_path=str(folder / "held.jsonl"), **data)


def test_examples_of_a_file_that_are_held_out_are_left_out_and_said(tmp_path: Path) -> None:
    own = [{"kind": "ab"[n % 2], "prompt": f"<{n}>", "answer": str(n)} for n in range(10, 18)]
    spec = parse(with_file(tmp_path, own, [own[2], own[3] | {"prompt": " <13> "}]), "x.toml")
    (said,) = map(str, sources.inspect(spec).warnings)
    assert said.startswith("own.jsonl:3: 2 examples are left out: their questions are held out (lines 3, 4)")
    train, held = sources.feeds(spec)
    assert train is not None and held is not None
    renderer = Renderer(spec, survey(spec, train, held).pool)
    for row in [*train.rows(spec), *held.rows(spec)]:
        assert not re.search(r"<1[23]>\n", renderer.row(row.columns)["prompt"][0]["content"])


def test_too_few_examples_without_the_held_out_ones_are_refused(tmp_path: Path) -> None:
    own = [{"kind": "a", "prompt": f"<{n}>", "answer": str(n)} for n in range(10, 13)]
    own += [row | {"kind": "b", "prompt": "b" + row["prompt"]} for row in own]
    with pytest.raises(DataError, match=r"rows\.jsonl:1: there are 1 other examples of type 'a', 2 are needed"):
        sources.inspect(parse(with_file(tmp_path, own, own[:2]), "x.toml"))


def test_examples_of_the_held_out_part_of_the_same_file_are_left_out(tmp_path: Path) -> None:
    few_shot = {"by": "kind", "count": 2, "path": str(tmp_path / "rows.jsonl")}
    spec = parse(raw(tmp_path, made(20), few_shot=few_shot, eval_fraction=0.2), "x.toml")
    train, _ = sources.feeds(spec)
    assert train is not None
    found = survey(spec, train, None)
    held = {n for n, role in enumerate(found.roles) if role == HELD_OUT}
    renderer = Renderer(spec, found.pool)
    shown = {int(n) for row in train.rows(spec)
             for n in re.findall(r"<(\d+)>\n", renderer.row(row.columns)["prompt"][0]["content"])}  # fmt: skip
    assert len(held) == 4 and shown and not held & shown


def test_the_held_out_file_is_no_file_of_examples(tmp_path: Path) -> None:
    (tmp_path / "held.jsonl").write_text(json.dumps(made()[0]))
    data = {"eval_path": str(tmp_path / "held.jsonl"), "few_shot": {"path": str(tmp_path / "held.jsonl")}}
    with pytest.raises(SpecError, match=r"data\.few_shot\.path: is the held-out file"):
        parse(raw(tmp_path, made(), **data), "x.toml")


@pytest.mark.parametrize("shared", [True, False])
def test_a_row_of_the_same_question_under_another_number_is_no_example(tmp_path: Path, shared: bool) -> None:
    """The template names a column that differs, so the whole prompts do."""
    rows = [{"id": n, "question": f"<{n // 2}>", "text": f"<{n // 2}> is {n // 2}", "answer": str(n // 2)}
            for n in range(12)]  # fmt: skip
    few_shot = {"template": "{question}\n{answer}" if shared else "{text}", "count": 2}
    data = {"prompt_template": "{few_shot}\n\n{id}. {question}", "instruction": None, "few_shot": few_shot}
    for prompt in (row["prompt"][0]["content"] for row in preview.preview(parse(raw(tmp_path, rows, **data), "x"), 50)):
        numbers = re.findall(r"<(\d+)>", prompt)
        assert len(numbers) == len(set(numbers)) == 3
