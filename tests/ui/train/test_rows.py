"""Rows and prompts of a form, how they are counted, and the processes that look at them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from trainer import presets
from trainer.data import preview
from trainer.errors import DataError, WorkError
from trainer.machine.project import cache_dir
from trainer.spec import RunSpec
from trainer.text import words
from trainer.ui.train import aside, data, rows, tokens
from trainer.ui.train.form import Form

EN = words("en")


def spec_of(*changes: str) -> RunSpec:
    return presets.load("tiny", changes)


def write(path: Path, count: int) -> Path:
    path.write_text("".join(json.dumps({"prompt": f"Reverse: {n:05d}", "answer": str(n)}) + "\n" for n in range(count)))
    return path


def own(file: Path, *changes: str) -> tuple[str, ...]:
    return (f"data.path={file}", "data.eval_path=", "model.warm_start=", *changes)


# ---------------------------------------------------------------------------------- the first rows


def test_a_glance_reads_no_more_than_it_was_told(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", 50)
    with file.open("a") as more:
        more.write("not json\n")
    found = preview.glance(spec_of(*own(file)), 20)
    assert len(found.rows) == 20 and not found.is_all
    assert found.rows[0]["prompt"] == [{"role": "user", "content": "Reverse: 00000"}]
    with pytest.raises(DataError, match="is not JSON"):
        preview.glance(spec_of(*own(file)), 1000)


def test_a_glance_at_a_small_file_is_a_look_at_all_of_it(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", 50)
    found = preview.glance(spec_of(*own(file, "data.eval_fraction=0.1")), 1000)
    assert (len(found.rows), found.found.held_out, found.is_all) == (45, 5, True)


def test_rows_that_were_fetched_are_shown_as_those_of_a_file_are() -> None:
    spec = spec_of("data.path=", "data.eval_path=", "model.warm_start=", "data.name=someone/rows")
    with pytest.raises(DataError, match="is on the Hub"):
        rows.glanced(spec)
    rows.keep_fetched(spec, [{"prompt": f"Reverse: {n}", "answer": str(n)} for n in range(30)])
    assert len(rows.glanced(spec).rows) == 30
    form = Form(
        "preset", "tiny", changes=("data.path=", "data.eval_path=", "model.warm_start=", "data.name=someone/rows")
    )
    assert "30 to train on" in data.shown(form, None, EN)


def test_the_mapping_shows_what_was_found_and_places_inside_objects(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    turns = [{"role": "user", "content": "Reverse: abc"}]
    file.write_text(json.dumps({"prompt": turns, "reward_model": {"ground_truth": "cba"}}) + "\n")
    shown = data.shown(Form("preset", "tiny", changes=own(file)), None, EN)
    assert '<option value="" selected>(found: reward_model.ground_truth)</option>' in shown
    told = Form("preset", "tiny", changes=own(file, "data.columns.prompt=prompt.0.content"))
    assert '<option value="prompt.0.content" selected>' in data.shown(told, None, EN)


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", 10)
    spec = spec_of(*own(file))
    first = rows.surveyed(spec)
    assert first is not None and first.rows == 10 and rows.surveyed(spec) is first
    write(file, 12)
    os.utime(file, (1, 1))
    second = rows.surveyed(spec)
    assert second is not None and second.rows == 12


def test_a_file_without_end_or_rights_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    for path in (tmp_path / "pipe.jsonl", Path("/dev/zero"), tmp_path, tmp_path / "none.jsonl"):
        with pytest.raises(DataError):
            rows.surveyed(spec_of(*own(path)))


# ---------------------------------------------------------------------------------- tokens


def test_a_builtin_model_is_counted_as_its_tokenizer_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.data.dataset import prompt_ids
    from trainer.engine import builtin

    monkeypatch.setenv("ONEGRPO_CACHE", str(tmp_path))
    spec = spec_of()
    assert tokens.reader(spec).basis == "characters"
    made = builtin.make_tokenizer()
    made.save_pretrained(cache_dir() / "tiny-qwen3" / "abc")
    reader = tokens.reader(spec)
    prompt = [{"role": "system", "content": "Be <answer>short</answer>."}, {"role": "user", "content": "Reverse: abc"}]
    assert reader.basis == "exact" and reader.template is not None
    (sent,) = reader.sent([prompt])
    assert sent == made.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
    assert reader.tokens(prompt, sent) == len(prompt_ids(prompt, made))


def test_a_template_of_a_model_is_a_program_in_a_sandbox(tmp_path: Path) -> None:
    from trainer.engine import builtin

    builtin.make_tokenizer().save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "chat_template.jinja").write_text("{{ messages.__class__.__mro__[1].__subclasses__() }}")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    reader = tokens.reader(spec_of(f"model.name={tmp_path}", "model.warm_start="))
    with pytest.raises(DataError, match="unsafe"):
        reader.sent([[{"role": "user", "content": "x"}]])
    form = Form("preset", "tiny", changes=(f"model.name={tmp_path}", "model.warm_start="))
    assert "refuses these messages" in data.shown(form, None, EN)


def test_an_unknown_model_is_estimated_and_says_so() -> None:
    reader = tokens.reader(spec_of("model.name=someone/not-here", "model.warm_start="))
    assert (reader.basis, reader.tokens("x" * 41, "x" * 41), reader.template) == ("guess", 11, None)
    form = Form("preset", "tiny", changes=("model.name=someone/not-here", "model.warm_start="))
    assert "characters / 4" in data.shown(form, None, EN)


@pytest.mark.parametrize("counts", [[], [0], [5, 9, 9], [1000, 1], list(range(500))])
def test_every_prompt_is_in_one_bar_of_the_histogram(counts: list[int]) -> None:
    bars = tokens.histogram(counts, 32)
    assert sum(number for _, _, number in bars) == len(counts)
    assert bars[0][0] == 0 and bars[-1][1] >= max([32, *counts])
    for low, high, number in bars:
        assert number == sum(low <= count <= high for count in counts)


# ---------------------------------------------------------------------------------- processes


def test_all_rows_are_looked_at_by_a_process_of_its_own(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.jsonl", 30)
    found = aside.run("survey", spec_of(*own(file)), {}, 60)
    assert (found["rows"], found["held_out"], found["duplicates"]) == (30, None, 0)
    with pytest.raises(WorkError, match="no file"):
        aside.run("survey", spec_of(*own(tmp_path / "none.jsonl")), {}, 60)


def test_a_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import time\ntime.sleep(600)\ndef reward(completions, **kwargs): return [0.0 for _ in completions]\n"
    )
    spec = spec_of(f'reward.components=[{{function = "reward", file = "{slow}"}}]', "reward.correct=")
    asked: dict[str, Any] = {"rows": rows.glanced(spec).rows[:1], "typed": []}
    before = time.monotonic()
    with pytest.raises(WorkError, match="was ended"):
        aside.run("trial", spec, asked, 4)
    assert time.monotonic() - before < 60


def test_what_a_reward_prints_is_no_answer(tmp_path: Path) -> None:
    loud = tmp_path / "loud.py"
    loud.write_text(
        "import os\nprint('{}')\nos.write(1, b'x')\n"
        "def reward(completions, answer, **kwargs):\n"
        "    print('hello')\n    return [float(c[-1]['content'] == a) for c, a in zip(completions, answer)]\n"
    )
    spec = spec_of(
        f'reward.components=[{{function = "reward", file = "{loud}"}}]', "reward.correct=", "reward.gold_template="
    )
    found = aside.run("trial", spec, {"rows": rows.glanced(spec).rows[:2], "typed": ["mine"]}, 60)
    paid = {(one["row"], one["what"]): one["reward"] for one in found["tries"]}
    assert paid[0, "gold"] == 1.0 and paid[0, "empty"] == 0.0 and paid[1, "typed"] == 0.0
