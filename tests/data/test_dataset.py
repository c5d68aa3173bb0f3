"""trainer.data.dataset: prompts as TRL tokenises them; what is too long is dropped or cut, and counted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.builders import tiny_model
from trainer.data import dataset
from trainer.errors import DataError
from trainer.spec import RunSpec


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny_model()[1]


def load(
    tmp_path: Path, tokenizer: Any, texts: list[str], **data: Any
) -> tuple[list[dict], list[dict], dataset.DataReport]:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": text, "answer": "x"}) for text in texts))
    spec = RunSpec.model_validate(
        {
            "model": {"name": "m"},
            "data": {"path": str(path), **data},
            "reward": {"components": [{"function": "exact_match"}]},
        }
    )
    rows, held_out, report = dataset.load(spec, tokenizer)
    return list(rows), held_out, report


def test_a_row_that_the_chat_template_refuses_is_named(tmp_path: Path) -> None:
    tokenizer = tiny_model()[1]
    tokenizer.chat_template = "{% if 'no' in messages[-1].content %}{{ raise_exception('odd') }}{% endif %}x"
    with pytest.raises(DataError, match=r"refuses the messages of row 3 \(user\): odd"):
        load(tmp_path, tokenizer, ["one", "two", "no", "four"])


def test_a_text_becomes_a_chat_with_its_system_prompt(tmp_path: Path, tokenizer: Any) -> None:
    rows, _, report = load(
        tmp_path,
        tokenizer,
        ["hi"],
        system_prompt="Be short.",
        prompt_template="Q: {prompt}",
        max_prompt_length=64,
    )
    assert rows[0]["prompt"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Q: hi"},
    ]
    assert rows[0]["answer"] == "x"
    assert report.longest_prompt_tokens == len(
        tokenizer("<bos><user>Be short.<end><user>Q: hi<end><assistant>").input_ids
    )


def test_prompts_are_counted_as_trl_tokenises_them(tmp_path: Path, tokenizer: Any) -> None:
    from tests.builders import rows as tiny_rows
    from tests.builders import tiny_trainer

    trainer, _ = tiny_trainer(tmp_path)
    prompts = [row["prompt"] for row in tiny_rows()]
    theirs = trainer._tokenize_prompts(prompts)[0]
    assert [dataset.prompt_ids(prompt, tokenizer) for prompt in prompts] == theirs


# Every character is a token, and the template adds four: <bos><user> ... <end><assistant>.
LONG, SHORT = "abcdefghij", "abc"


def test_prompts_that_are_too_long_are_dropped_and_counted(tmp_path: Path, tokenizer: Any) -> None:
    rows, _, report = load(tmp_path, tokenizer, [LONG, SHORT], max_prompt_length=8)
    assert [row["prompt"][0]["content"] for row in rows] == [SHORT]
    assert (report.rows, report.dropped, report.cut) == (1, 1, 0)


def test_or_cut_at_their_start_with_the_template_whole(tmp_path: Path, tokenizer: Any) -> None:
    rows, _, report = load(tmp_path, tokenizer, [LONG, SHORT], max_prompt_length=8, overlong="cut")
    assert [row["prompt"][0]["content"] for row in rows] == ["ghij", SHORT]
    assert (report.rows, report.dropped, report.cut) == (2, 0, 1)
    assert report.longest_prompt_tokens == 8
    assert report.longest_prompt_row == 0


def test_the_longest_prompt_is_found_among_those_that_are_kept(tmp_path: Path, tokenizer: Any) -> None:
    rows, _, report = load(tmp_path, tokenizer, [SHORT, LONG, "abcd", "ab"], max_prompt_length=8)
    assert rows[report.longest_prompt_row]["prompt"][0]["content"] == "abcd"
    assert report.longest_prompt_tokens == 8


def test_or_refused_with_the_length_that_would_do(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(DataError, match=r"a prompt has 14 tokens, 8 are allowed .* data.max_prompt_length=14"):
        load(tmp_path, tokenizer, [LONG], max_prompt_length=8, overlong="error")


def test_nothing_left_is_an_error_and_not_a_run_of_no_steps(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(DataError, match="all 2 prompts are longer than 4 tokens"):
        load(tmp_path, tokenizer, [LONG, SHORT], max_prompt_length=4)


def test_held_out_rows_are_never_trained_on_and_the_same_for_the_same_seed(tmp_path: Path, tokenizer: Any) -> None:
    texts = [f"q{number}" for number in range(20)]
    rows, held_out, report = load(tmp_path, tokenizer, texts, eval_fraction=0.2)
    assert (report.rows, report.eval_rows) == (16, 4)
    assert not {str(row["prompt"]) for row in rows} & {str(row["prompt"]) for row in held_out}
    assert load(tmp_path, tokenizer, texts, eval_fraction=0.2)[1] == held_out


def test_other_rows_have_another_fingerprint(tmp_path: Path, tokenizer: Any) -> None:
    first = load(tmp_path, tokenizer, ["a"])[2].fingerprint
    assert first == load(tmp_path, tokenizer, ["a"])[2].fingerprint
    assert first != load(tmp_path, tokenizer, ["b"])[2].fingerprint


def test_rows_of_the_hub_are_checked_like_those_of_a_file(monkeypatch: pytest.MonkeyPatch, tokenizer: Any) -> None:
    hub = [{"question": "1+1", "answer": "2"}, {"question": None, "answer": "3"}]
    monkeypatch.setattr(dataset, "load_dataset", lambda name, config, split: hub)
    spec = RunSpec.model_validate(
        {
            "model": {"name": "m"},
            "data": {"name": "openai/gsm8k", "columns": {"prompt": "question"}},
            "reward": {"components": [{"function": "exact_match"}]},
        }
    )
    with pytest.raises(DataError, match="openai/gsm8k train:2: column prompt is null"):
        dataset.load(spec, tokenizer)
    monkeypatch.setattr(dataset, "load_dataset", lambda name, config, split: hub[:1])
    assert dataset.load(spec, tokenizer)[2].rows == 1


def test_held_out_rows_that_are_dropped_are_counted_too(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "held.jsonl").write_text(
        "".join(json.dumps({"prompt": t, "answer": "x"}) + "\n" for t in (LONG, "xyz"))
    )
    _, held_out, report = load(
        tmp_path, tokenizer, [SHORT], max_prompt_length=8, eval_path=str(tmp_path / "held.jsonl")
    )
    assert (len(held_out), report.eval_rows, report.eval_dropped, report.dropped) == (1, 1, 1, 0)


def test_rows_of_a_large_file_lie_in_mapped_files_and_are_the_same(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"q{number}" for number in range(50)]
    in_memory = load(tmp_path, tokenizer, texts)
    monkeypatch.setattr(dataset, "IN_MEMORY_BYTES", 1000)
    rows, _, report = load(tmp_path, tokenizer, texts)
    assert rows == in_memory[0]
    assert report == in_memory[2]


def test_another_template_has_another_fingerprint(tmp_path: Path, tokenizer: Any) -> None:
    first = load(tmp_path, tokenizer, ["a"])[2].fingerprint
    assert first != load(tmp_path, tokenizer, ["a"], prompt_template="Q: {prompt}")[2].fingerprint


def test_duplicates_leaks_and_columns_are_reported(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "held.jsonl").write_text(json.dumps({"prompt": "a", "answer": "x"}))
    data = {"eval_path": str(tmp_path / "held.jsonl"), "leaks": "drop"}
    rows, _, report = load(tmp_path, tokenizer, ["a", "b", "b", "c"], **data)
    assert (len(rows), report.rows, report.leaked, report.duplicates) == (3, 3, 1, 1)
    assert report.columns == ["prompt", "answer"]
    assert len(report.warnings) == 2


def test_chat_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    bare = tiny_model()[1]
    bare.chat_template = None
    with pytest.raises(DataError, match=r"data\.chat: is true, and the tokenizer of this model has no chat template"):
        load(tmp_path, bare, ["a"])
    assert load(tmp_path, bare, ["a"], chat=False)[2].rows == 1


def test_no_held_out_row_left_is_an_error(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "held.jsonl").write_text(json.dumps({"prompt": LONG, "answer": "x"}))
    with pytest.raises(DataError, match="all 1 held-out prompts are longer than 8 tokens"):
        load(tmp_path, tokenizer, [SHORT], max_prompt_length=8, eval_path=str(tmp_path / "held.jsonl"))


def test_held_out_rows_keep_their_number_in_the_file_and_show_it_to_no_reward(tmp_path: Path, tokenizer: Any) -> None:
    path = tmp_path / "held.jsonl"
    path.write_text("".join(json.dumps({"prompt": text, "answer": "x"}) + "\n" for text in ("p", LONG, "q")))
    held = load(tmp_path, tokenizer, [SHORT], max_prompt_length=8, eval_path=str(path))[1]
    assert [getattr(row, "number", None) for row in held] == [0, 2]
    assert [list(row) for row in held] == [["prompt", "answer"]] * 2
    part = load(tmp_path, tokenizer, [f"q{number}" for number in range(20)], eval_fraction=0.2)[1]
    assert [row["prompt"][0]["content"] for row in part] == [f"q{getattr(row, 'number', None)}" for row in part]


def test_other_held_out_rows_have_another_fingerprint_of_their_own(tmp_path: Path, tokenizer: Any) -> None:
    reports = []
    for text in ("p", "q", "p"):
        (tmp_path / "held.jsonl").write_text(json.dumps({"prompt": text, "answer": "x"}))
        reports.append(load(tmp_path, tokenizer, [SHORT], eval_path=str(tmp_path / "held.jsonl"))[2])
    assert reports[0] == reports[2]
    assert reports[0].held_out_fingerprint != reports[1].held_out_fingerprint
    assert reports[0].fingerprint == reports[1].fingerprint
    assert load(tmp_path, tokenizer, [SHORT])[2].held_out_fingerprint == ""


@pytest.mark.parametrize("chat", [False, True])
def test_messages_without_a_chat_template_are_refused_without_leading_back(tmp_path: Path, chat: bool) -> None:
    bare = tiny_model()[1]
    bare.chat_template = None
    messages: Any = [[{"role": "user", "content": "a"}], [{"role": "user", "content": "b"}]]
    with pytest.raises(DataError, match=r"data: holds chat messages as prompts, .* has no chat template") as caught:
        load(tmp_path, bare, messages, chat=chat)
    assert "--set data.chat=false" not in str(caught.value)


NESTED: list[dict[str, Any]] = [
    {"diff": 1, "meta": {"a": 1}, "tags": []},
    {"diff": 0.5, "meta": {"b": [0.5]}, "tags": ["x"]},
    {"diff": None, "meta": {"a": None, "b": [2, None]}, "tags": None},
    {"diff": 2, "meta": {}, "tags": ["y", None]},
]


@pytest.mark.parametrize("in_memory", [10**9, 1])
def test_what_inspect_accepts_can_be_stored_in_one_piece_or_many(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, in_memory: int
) -> None:
    monkeypatch.setattr(dataset, "IN_MEMORY_BYTES", in_memory)
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt": f"q{n}", "answer": "x", **row}) + "\n" for n, row in enumerate(NESTED))
    )
    spec = RunSpec.model_validate(
        {"model": {"name": "m"}, "data": {"path": str(path)}, "reward": {"components": [{"function": "exact_match"}]}}
    )
    rows = list(dataset.load(spec, tokenizer, tmp_path)[0])
    assert [row["diff"] for row in rows] == [1.0, 0.5, None, 2.0]
    assert [row["meta"]["b"] for row in rows] == [None, [0.5], [2.0, None], None]
    assert [row["tags"] for row in rows] == [[], ["x"], None, ["y", None]]
    assert bool(list(tmp_path.glob("rows-*/*.arrow"))) == (in_memory == 1)


def test_looking_at_a_file_takes_less_memory_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with path.open("w") as file:
        for number in range(15_000):
            file.write(json.dumps({"prompt": f"{number} " + "word " * 400, "answer": "x"}) + "\n")
    script = (
        "import resource, sys; from trainer.data import sources; from trainer.spec import RunSpec\n"
        "spec = RunSpec.model_validate({'model': {'name': 'm'}, 'data': {'path': sys.argv[1]},"
        " 'reward': {'components': [{'function': 'exact_match'}]}})\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(sources.inspect(spec).rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    rows, grown = map(int, done.stdout.split())
    assert path.stat().st_size > 30_000_000
    assert (rows, grown < 12_000) == (15_000, True), f"{grown} KiB"


def test_a_turn_has_no_key_that_only_another_one_has(tmp_path: Path, tokenizer: Any) -> None:
    """Chat templates ask `'name' in message`: Arrow would give every turn all keys, with null in them."""
    path = tmp_path / "rows.jsonl"
    prompts = [[{"role": "user", "content": "one", "name": "Bo"}], [{"role": "user", "content": "two", "name": None}]]
    path.write_text("\n".join(json.dumps({"prompt": prompt, "answer": "x"}) for prompt in prompts))
    spec = RunSpec.model_validate(
        {
            "model": {"name": "m"},
            "data": {"path": str(path)},
            "reward": {"components": [{"function": "exact_match"}]},
        }
    )
    rows = list(dataset.load(spec, tokenizer).train)
    assert [row["prompt"][0].keys() - {"role", "content"} for row in rows] == [{"name"}, set()]
