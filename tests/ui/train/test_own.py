"""Somebody's own rows: the changes that come with them, and that nothing of the preset's rows stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer import presets
from trainer.errors import TrainerError
from trainer.text import words
from trainer.ui.train import actions, data, fixes, own
from trainer.ui.train.form import Form

EN = words("en")


def sheet(folder: Path, header: str, rows: list[tuple[str, str]], encoding: str = "utf-8", sign: str = ",") -> Path:
    file = folder / "sheet.csv"
    file.write_bytes("".join(f"{sign.join(row)}\n" for row in [tuple(header.split(",")), *rows]).encode(encoding))
    return file


def korean(folder: Path) -> Path:
    asked = [(f"{n}번 낱말: 나무를 거꾸로 쓰면?", f"무나{n}") for n in range(40)]
    return sheet(folder, "질문,정답", asked, "cp949")


def with_changes(preset: str, file: Path) -> Form:
    return Form("preset", preset, changes=own.chosen(Form("preset", preset), str(file)).changes)


def test_a_korean_sheet_starts_on_the_smallest_preset_with_one_step(tmp_path: Path) -> None:
    form = with_changes("tiny", korean(tmp_path))
    found = actions.check(form)
    assert not found.problems and found.spec is not None and found.data is not None
    spec = found.spec
    assert (spec.title, spec.titles) == ("sheet", {})
    assert (spec.data.encoding, spec.data.columns) == ("cp949", {"prompt": "질문", "answer": "정답"})
    assert (spec.data.eval_path, spec.data.eval_fraction) == (None, 0.1)
    assert spec.model.name == "builtin/tiny-korean" and spec.model.warm_start is not None
    assert spec.model.warm_start.path == spec.data.path == str(tmp_path / "sheet.csv")
    assert [leaf.function for leaf in spec.reward.leaves()] == ["exact_match", "format_regex"]
    assert found.data.rows is not None and found.data.held_out is not None
    assert found.data.rows + found.data.held_out == 40


def test_rows_in_latin_letters_are_taught_to_a_model_that_knows_something(tmp_path: Path) -> None:
    """On a machine without a GPU; one with a large one is offered more."""
    german = sheet(
        tmp_path, "Frage,Antwort", [(f"Wie hei\u00dft die {n}. Stra\u00dfe?", f"Stra\u00dfe {n}") for n in range(40)]
    )
    assert own.proposed_preset(Form("preset", "tiny"), str(german)) == "smollm2"
    assert own.proposed_preset(Form("preset", "tiny", changes=("model.name=Qwen/Qwen3-0.6B",)), str(german)) is None
    assert own.proposed_preset(Form("preset", "qwen3-4b"), str(german)) is None
    form = with_changes("smollm2", german)
    found = actions.check(form)
    assert not found.problems and found.spec is not None
    assert found.spec.model.name == "builtin/smollm2-135m" and found.spec.model.warm_start is None
    assert [leaf.name for leaf in found.spec.reward.leaves()] == ["correct", "short"]
    assert found.spec.data.system_prompt == EN("own.ask.bare") and found.spec.data.eval_path is None
    assert own.proposed_preset(Form("preset", "tiny"), str(korean(tmp_path))) is None


@pytest.mark.parametrize("preset", ["tiny", "malpyeong", "malpyeong-tiny", "qwen3-4b", "smollm2", "tiny-qlora"])
def test_nothing_of_the_presets_own_rows_stays(preset: str, tmp_path: Path) -> None:
    rows = [(f"Was ist {n} + 1?", str(n + 1)) for n in range(64)]
    form = with_changes(preset, sheet(tmp_path, "Frage,Antwort", rows, sign=";"))
    base = presets.list_presets()
    draft = presets.draft(presets.tables(next(each.path for each in base if each.name == preset)), form.changes, preset)
    spec = draft.spec
    assert spec is not None, draft.problems
    named = json.dumps(spec.model_dump(mode="json"))
    assert "presets/data" not in named and "gsm8k" not in named
    assert spec.data.few_shot is None and spec.data.instruction is None and spec.data.prompt_template == "{prompt}"
    form_of = "length_penalty" if preset == "smollm2" else "format_regex"
    assert [leaf.function for leaf in spec.reward.leaves()] == ["math", form_of]
    asked = spec.data.system_prompt or ""
    assert ("between <answer>" in asked) != spec.model.name.startswith("builtin/")


def test_lengths_hold_the_rows_and_the_batch_is_one_they_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "ONEGRPO_CACHE", str(tmp_path / "cache")
    )  # the tokenizer is not made yet: a character is a token
    rows = [(f"Please say what the word number {n} of this long list is", f"word {n} and {n} more") for n in range(20)]
    form = with_changes("tiny", sheet(tmp_path, "question,answer", rows))
    found = actions.check(form)
    assert not found.problems and found.plan is not None and found.spec is not None
    assert found.data is not None and found.data.rows == 18
    assert found.spec.data.max_prompt_length >= 58 and found.spec.generation.max_completion_length >= 36


def test_another_answer_column_is_taken_instead_of_the_guess(tmp_path: Path) -> None:
    rows = [(f"Was ist {n}?", f"{n}", "ja") for n in range(40)]
    file = tmp_path / "sheet.csv"
    file.write_text("Frage,Antwort,Urteil\n" + "".join(",".join(row) + "\n" for row in rows))
    found = own.chosen(Form("preset", "tiny"), str(file), {"answer": "Urteil"})
    assert "data.columns.answer=Urteil" in found.changes and found.proposed is not None
    assert found.proposed.kind == "short"


def test_rows_without_answers_keep_the_reward_and_say_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "asked.jsonl"
    file.write_text("".join(json.dumps({"text": f"Tell story {n}."}) + "\n" for n in range(40)))
    found = own.chosen(Form("preset", "tiny"), str(file))
    assert found.proposed is None and not any(change.startswith("reward") for change in found.changes)


def test_the_file_is_told_with_what_was_left_out_and_a_way_back(tmp_path: Path) -> None:
    html = data.shown(with_changes("tiny", korean(tmp_path)), "look", EN)
    assert html.index("CP949") < html.index("data-own-back") < html.index("data-column") < html.index("t-rows")
    assert "10 % of the rows are held out" in html and "data.eval_path" in html
    assert "나무를 거꾸로" in html


def test_no_button_goes_back_to_the_presets_rows_or_undoes_the_columns(tmp_path: Path) -> None:
    rows = [(f"Wie heißt Nummer {n}?", str(n)) for n in range(40)]
    file = sheet(tmp_path, "Aufgabentext,Loesungstext", rows)
    changes = (f"data.path={file}", "data.eval_path=", "model.warm_start=", "data.columns.prompt=Aufgabentext")
    found = actions.check(Form("preset", "tiny", changes=changes))
    assert found.problems
    offered = [way for ways in fixes.ways(found) for way in ways]
    assert any(way.changes == ("data.columns.answer=Loesungstext",) for way in offered)
    kept = ("data.path", "data.columns")
    assert not [way for way in offered if any(key.startswith(kept) for key in way.undo)]
    gone = actions.check(Form("preset", "tiny", changes=("data.path=/no/x.csv",)))
    assert any("data.path" in way.undo for ways in fixes.ways(gone) for way in ways)


def test_the_page_is_told_which_rows_an_answer_is_of_and_why_there_is_none(tmp_path: Path) -> None:
    from trainer.ui.train.tab import TrainTab

    def asked(path: str) -> dict[str, object]:
        form = {"base": {"preset": "tiny"}, "changes": ["optim.learning_rate=abc"], "path": path, "turn": 3}
        found: dict[str, object] = json.loads(TrainTab.own("ko", json.dumps(form)))
        return found

    file = korean(tmp_path)
    found = asked(str(file))
    assert (found["kind"], found["path"], found["turn"]) == ("owned", str(file), 3)
    assert f"data.path={file}" in list(found["changes"])  # type: ignore[call-overload]
    (tmp_path / "none.csv").write_text("a,b\n")
    for name in ("none.csv", "gone.csv", "sheet.xlsx"):
        refused = asked(str(tmp_path / name))
        assert "changes" not in refused and name in str(refused["html"])


def dataset(folder: Path) -> str:
    """What `load_dataset` takes for a Hub dataset, in a folder: nothing is asked over the network."""
    folder.mkdir()
    lines = [f"What is {n} + 1?,{n + 1}\n" for n in range(60)]
    (folder / "train.csv").write_text("question,answer\n" + "".join(lines), encoding="utf-8")
    return str(folder)


def test_rows_of_the_hub_are_taken_in_the_same_one_step_as_a_file(tmp_path: Path) -> None:
    name = dataset(tmp_path / "sums")
    path = f"hub:{name}||"
    assert own.proposed_preset(Form("preset", "tiny"), path) == "smollm2"
    form = Form("preset", "smollm2", changes=own.chosen(Form("preset", "smollm2"), path).changes)
    found = actions.check(form)
    assert not found.problems and found.spec is not None
    read = found.spec.data
    assert (read.name, read.path, read.eval_path, read.eval_fraction) == (name, None, None, 0.1)
    assert read.columns == {"prompt": "question"} and found.spec.title == "sums"
    assert found.spec.reward.correct == found.spec.reward.components[0].title
    html = data.shown(form, None, EN)
    assert "What is 3 + 1?" in html and "sums" in html and EN("own.on_hub", count=200) in html


def test_a_hub_dataset_that_cannot_be_read_says_why() -> None:
    with pytest.raises(TrainerError, match="cannot be read"):
        own.chosen(Form("preset", "smollm2"), "hub:someone/nowhere|main|")
