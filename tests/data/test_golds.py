"""Columns of gold answers: what they may hold, how it reaches the training, and what is said of it before."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from tests.builders import tiny_model
from trainer.data import dataset, preview, sources
from trainer.errors import DataError
from trainer.spec import RunSpec


def spec_for(path: Path, model: str = "m", function: str = "exact_match", **more: Any) -> RunSpec:
    params = more.pop("params", {})
    reward = {"components": [{"function": function, "params": params}], **more.pop("reward", {})}
    data = {"path": str(path), "max_prompt_length": 64, **more}
    return RunSpec.model_validate({"model": {"name": model}, "data": data, "reward": reward})


def rows_of(tmp_path: Path, golds: list[Any]) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"p{n}", "answer": gold}) + "\n" for n, gold in enumerate(golds)))
    return path


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_model()[1]


MIXED = [42, "forty", ["4", 5.5, None, True], False, 1.0, "0012"]


@pytest.mark.parametrize("in_memory", [2**20, 60])
def test_values_of_several_kinds_reach_the_training_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Any, in_memory: int
) -> None:
    monkeypatch.setattr(dataset, "IN_MEMORY_BYTES", in_memory)
    spec = spec_for(rows_of(tmp_path, MIXED))
    train = dataset.load(spec, tokenizer, tmp_path).train
    found = [train[row]["answer"] for row in range(len(train))]
    assert found == MIXED and [type(each) for each in found] == [type(each) for each in MIXED]
    assert [row["answer"] for row in preview.preview(spec)] == MIXED


@pytest.mark.parametrize(
    ("gold", "function", "said"),
    [
        (None, "exact_match", "rows.jsonl:2: column answer is null"),
        ([], "rouge1", "rows.jsonl:2: column answer is a list without an answer"),
        ([["a"]], "exact_match", "rows.jsonl:2: column answer is a list inside a list"),
        ([{"a": 1}], "position_match", "rows.jsonl:2: column answer is dict"),
        ({"a": 1}, "exact_match", "rows.jsonl:2: column answer is an object"),
        (True, "math", "rows.jsonl:2: column answer is bool, and math compares numbers"),
    ],
)
def test_what_no_answer_can_equal_is_refused_with_its_line(tmp_path: Path, gold: Any, function: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        sources.inspect(spec_for(rows_of(tmp_path, ["1", gold]), function=function))
    assert said in str(caught.value)


def test_a_missing_number_of_a_parquet_column_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    import pyarrow
    from pyarrow import parquet

    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table({"prompt": ["a", "b"], "answer": [1.5, float("nan")]}), path)
    with pytest.raises(DataError, match=r"rows\.parquet:2: column answer is nan, which no answer equals"):
        sources.inspect(spec_for(path))
    parquet.write_table(pyarrow.table({"prompt": ["a", "b"], "answer": [Decimal("1.50"), Decimal("2.00")]}), path)
    assert dataset.load(spec_for(path), tokenizer, tmp_path).train[1]["answer"] == Decimal("2.00")


@pytest.mark.parametrize(
    ("golds", "params", "said"),
    [
        (["C#", "Java", "F#", "Rust"], {}, "2 of 4 gold answers in column answer hold the separator"),
        (["item #5", "x", "y"], {}, "1 of 3"),
        (["F#m", "Am", "Dm"], {}, "'F#m' accepts 'F', 'm'"),
        (["C#", "Java"], {"accepted_separator": ""}, None),
        ([["C#"], "Java"], {}, None),
        (["do it#do it now", "x", "y", "z"], {}, None),
        (["sofa#couch", "cat#kitty", "dog"], {}, None),
        (["= 4 #### 4", "= 5 #### 5"], {"gold_extract": r"####\s*(\S+)"}, None),
        (["a|b", "x", "y", "z"], {"accepted_separator": "|"}, "'a|b' accepts 'a', 'b'"),
    ],
)
def test_a_separator_that_belongs_to_the_answer_is_said(
    tmp_path: Path, golds: list[Any], params: dict[str, Any], said: str | None
) -> None:
    found = [str(each) for each in sources.inspect(spec_for(rows_of(tmp_path, golds), params=params)).warnings]
    assert (said is None and not found) or (said is not None and said in found[0])


def test_a_tag_that_the_tokenizer_drops_is_named_before_the_start(tmp_path: Path) -> None:
    core = Tokenizer(models.WordLevel({"<tool>": 0, "<keep>": 1, "[UNK]": 2}, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.add_special_tokens([AddedToken("<tool>", special=True)])
    core.add_tokens([AddedToken("<keep>", special=False)])
    core.save(str(tmp_path / "tokenizer.json"))
    path = rows_of(tmp_path, ["1", "2", "<tool>"])
    reward = {"gold_template": "<keep>{answer}"}
    (said,) = sources.inspect(spec_for(path, model=str(tmp_path), reward=reward)).warnings
    assert str(said).startswith("<tool>: special tokens of this model") and "1 of 3 gold answers" in str(said)
    assert sources.inspect(spec_for(path, reward=reward)).warnings == []  # a tokenizer that is not here


def test_few_shot_examples_show_an_answer_and_no_list(tmp_path: Path) -> None:
    few_shot = {"count": 1, "template": "{prompt} -> {answer}"}
    spec = spec_for(
        rows_of(tmp_path, [["a", "b"], ["a", "b"], 2.0]), few_shot=few_shot, prompt_template="{few_shot} {prompt}"
    )
    shown = "".join(str(row["prompt"]) for row in preview.preview(spec))
    assert "-> " in shown and "[" not in shown.replace("[{", "").replace("}]", "") and "2.0" not in shown
