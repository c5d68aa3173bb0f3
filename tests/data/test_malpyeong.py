"""The rows of the preset malpyeong: well formed, balanced, kept apart, and paid as its header says."""

from __future__ import annotations

import json
import re
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from trainer import presets
from trainer.data import sources
from trainer.data.dataset import with_prompt
from trainer.plan import make
from trainer.rewards.library import REWARDS
from trainer.spec import RunSpec

DATA = presets.PRESETS_DIR / "data"
COUNTS = {"train": 32, "fewshot": 6, "eval": 14}
SELECTION, CORRECTION = "선택형", "교정형"
QUESTION = re.compile(r'[^"\n]+\n"([^"\n]+)"')
ANSWER = re.compile(r'"([^"\n]+)"(가|이) 옳다\. ([^"\n]{10,}\.)')
REASON = "규범에 맞는 표기이므로 이렇게 적는다."
HANGUL_FIRST, HANGUL_LAST, FINALS = 0xAC00, 0xD7A3, 28


def read(split: str) -> list[dict[str, str]]:
    lines = (DATA / f"malpyeong_{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


ROWS = [(split, row) for split in COUNTS for row in read(split)]
each_row = pytest.mark.parametrize("row", [row for _, row in ROWS], ids=[f"{s}-{n}" for n, (s, _) in enumerate(ROWS)])


@pytest.fixture(scope="module")
def malpyeong() -> RunSpec:
    return presets.load("malpyeong")


def paid(spec: RunSpec, text: str, row: dict[str, str]) -> list[float | None]:
    """Value of each component, before its weight: exact match, format."""
    columns: dict[str, Any] = {name: [value] for name, value in row.items()}
    completions = [[{"role": "assistant", "content": text}]]
    parts = spec.reward.components
    return [REWARDS[part.function](**part.params)(completions=completions, **columns)[0] for part in parts]


def sentence(row: dict[str, str]) -> str:
    """The sentence of the question, with its braces or its errors."""
    found = QUESTION.fullmatch(row["question"])
    assert found, row["question"]
    return found[1]


def accepted(row: dict[str, str]) -> list[str]:
    return row["accepted"].split("#")


def particle(text: str) -> str:
    """이 after a final consonant, else 가: the last syllable's code point tells."""
    last = [ord(c) for c in text if HANGUL_FIRST <= ord(c) <= HANGUL_LAST][-1]
    return "이" if (last - HANGUL_FIRST) % FINALS else "가"


def pairs(row: dict[str, str]) -> set[str]:
    """What the row is about: both alternatives, or what was corrected, wrong and right."""
    found = re.search(r"\{([^{}/]+)/([^{}/]+)\}", sentence(row))
    if found:
        return {found[1], found[2]}
    wrong, changed = sentence(row).split(), set()
    for right in (text.split() for text in accepted(row)):
        for kind, i, j, k, m in SequenceMatcher(None, wrong, right, autojunk=False).get_opcodes():
            if kind != "equal":
                changed |= {" ".join(wrong[i:j]).strip(".,"), " ".join(right[k:m]).strip(".,")}
    return changed


# ---- the rows


@pytest.mark.parametrize("split", COUNTS)
def test_both_types_are_half_of_every_file(split: str) -> None:
    types = [row["question_type"] for row in read(split)]
    assert len(types) == COUNTS[split]
    assert types.count(SELECTION) == types.count(CORRECTION) == COUNTS[split] // 2


@each_row
def test_row_has_all_columns_and_the_instruction_of_its_type(row: dict[str, str]) -> None:
    assert list(row) == ["question_type", "instruction", "question", "answer", "accepted"]
    assert all(value == value.strip() and value for value in row.values())
    same = [other["instruction"] for _, other in ROWS if other["question_type"] == row["question_type"]]
    assert set(same) == {row["instruction"]}


@each_row
def test_answer_is_the_quoted_sentence_its_particle_and_a_reason(row: dict[str, str]) -> None:
    found = ANSWER.fullmatch(row["answer"])
    assert found
    assert found[1] == row["accepted"]
    assert {particle(text) for text in accepted(row)} == {found[2]}
    assert 1 <= len(re.findall(r"다\.(?: |$)", found[3])) <= 3


def test_both_particles_occur_in_every_file() -> None:
    for split in COUNTS:
        assert {particle(row["accepted"]) for row in read(split)} == {"가", "이"}


@each_row
def test_selection_answers_are_an_alternative_filled_in(row: dict[str, str]) -> None:
    found = re.findall(r"\{([^{}/]+)/([^{}/]+)\}", sentence(row))
    assert (len(found) == 1) == (row["question_type"] == SELECTION)
    if found:
        filled = [re.sub(r"\{[^{}]+\}", form, sentence(row)) for form in found[0]]
        assert filled[0] != filled[1]
        assert row["accepted"] in filled


def test_the_right_alternative_stands_first_in_about_half_of_the_rows() -> None:
    """A model that always takes the first one must not do well."""
    for split in COUNTS:
        rows = [row for row in read(split) if row["question_type"] == SELECTION]
        first = sum(re.sub(r"\{([^{}/]+)/[^{}]+\}", r"\1", sentence(row)) == row["accepted"] for row in rows)
        assert len(rows) / 3 <= first <= len(rows) * 2 / 3


@each_row
def test_corrections_change_the_sentence_and_nothing_twice(row: dict[str, str]) -> None:
    assert sentence(row) not in accepted(row)
    assert len(set(accepted(row))) == len(accepted(row))
    assert all(text == " ".join(text.split()) for text in accepted(row))


@pytest.mark.parametrize(("one", "other"), list(combinations(COUNTS, 2)))
def test_no_sentence_and_no_pair_of_words_is_in_two_files(one: str, other: str) -> None:
    for texts in (lambda row: {sentence(row)}, accepted, pairs):
        mine, theirs = ({text for row in read(split) for text in texts(row)} for split in (one, other))
        assert mine & theirs == set()


def test_no_row_is_there_twice() -> None:
    everything = [text for _, row in ROWS for text in {sentence(row), *accepted(row)}]
    assert len(set(everything)) == len(everything)


# ---- the preset


def test_files_are_those_of_the_preset_and_plan_whole_epochs(malpyeong: RunSpec) -> None:
    assert malpyeong.data.path is not None and malpyeong.data.eval_path is not None
    assert Path(malpyeong.data.path) == DATA / "malpyeong_train.jsonl"
    assert Path(malpyeong.data.eval_path) == DATA / "malpyeong_eval.jsonl"
    assert sources.inspect(malpyeong) == sources.Inspection(rows=COUNTS["train"], eval_rows=COUNTS["eval"])
    plan = make(malpyeong, COUNTS["train"])
    assert plan.rows_unused_per_epoch == 0
    assert plan.optimizer_steps_per_epoch == malpyeong.checkpoint.save_steps == malpyeong.eval.eval_steps
    assert plan.warnings == []


def test_values_the_task_asks_for(malpyeong: RunSpec) -> None:
    model, lora = malpyeong.model, malpyeong.lora
    assert (model.load_in_4bit, model.double_quant, model.dtype) == (True, True, "bfloat16")
    assert (lora.r, lora.alpha, lora.dropout) == (64, 16, 0.05)
    assert lora.target_modules == ["q_proj", "k_proj", "v_proj", "o_proj"]


@each_row
def test_prompt_is_the_instruction_and_the_question(malpyeong: RunSpec, row: dict[str, str]) -> None:
    (message,) = with_prompt(row, malpyeong.data)["prompt"]
    assert message == {"role": "user", "content": f"{row['instruction']}\n\n{row['question']}"}


# ---- what is paid


@each_row
def test_extract_finds_the_sentence_in_the_gold_answer(malpyeong: RunSpec, row: dict[str, str]) -> None:
    extract = malpyeong.reward.components[0].params["extract"]
    (found,) = re.findall(extract, row["answer"])
    assert found == row["accepted"]


@each_row
def test_every_accepted_answer_is_paid_in_full(malpyeong: RunSpec, row: dict[str, str]) -> None:
    for text in accepted(row):
        gold = row["answer"].replace(f'"{row["accepted"]}"', f'"{text}"')
        assert paid(malpyeong, gold, row) == [1.0, 1.0]
        assert paid(malpyeong, f"\n “{text}”{particle(text)} 옳다.\n\n{REASON}\n", row) == [1.0, 1.0]


@each_row
def test_wrong_sentences_are_paid_the_form_alone(malpyeong: RunSpec, row: dict[str, str]) -> None:
    right = accepted(row)
    wrong = sentence(row)  # braces still in it, or errors
    assert paid(malpyeong, f'"{wrong}"가 옳다. {REASON}', row) == [0.0, 1.0]
    for form in re.findall(r"[^{}/]+(?=[/}])", wrong) if row["question_type"] == SELECTION else ():
        filled = re.sub(r"\{[^{}]+\}", form, wrong)
        assert paid(malpyeong, f'"{filled}"가 옳다. {REASON}', row) == [float(filled in right), 1.0]
    assert paid(malpyeong, f'"{wrong}"가 옳다. "{right[0]}"가 옳다. {REASON}', row) == [0.0, 1.0]  # a second guess
    if len(right) > 1:  # all of them at once is no sentence
        assert paid(malpyeong, row["answer"], row) == [0.0, 1.0]


@each_row
def test_answers_without_the_form_are_paid_nothing(malpyeong: RunSpec, row: dict[str, str]) -> None:
    right = accepted(row)[0]
    for junk in (
        "",
        " \n",
        "옳다.",
        '""가 옳다. ' + REASON,
        right,
        f'"{right}"',
        f"{right}가 옳다. {REASON}",
        "asdf " * 40,
    ):
        assert paid(malpyeong, junk, row) == [0.0, 0.0]
    for shapeless in (
        f'답: "{right}"가 옳다. {REASON}',
        f'**"{right}"가 옳다.** {REASON}',
        f'"{right}"가 맞다. {REASON}',
    ):
        assert paid(malpyeong, shapeless, row) == [0.0, 0.0]
    assert paid(malpyeong, f'"{right}"가 옳다.', row) == [1.0, 0.0]  # no reason


# ---- own data, as the comments of the preset say


def test_own_rows_with_the_three_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = presets.find("malpyeong").read_text(encoding="utf-8")
    (arguments,) = re.findall(r"python app\.py --dry-run --preset malpyeong (.*data\.path=my\.jsonl.*)", text)
    own = [{key: row[key] for key in ("instruction", "question", "accepted")} for row in read("train")]
    monkeypatch.chdir(tmp_path)
    Path("my.jsonl").write_text("\n".join(json.dumps(row) for row in own), encoding="utf-8")
    overrides = [word for word in arguments.split() if word != "--set"]
    assert sources.inspect(presets.load("malpyeong", overrides)) == sources.Inspection(rows=29, eval_rows=3)


def test_own_rows_without_accepted(tmp_path: Path, malpyeong: RunSpec) -> None:
    own = tmp_path / "my.jsonl"
    rows = [row for row in read("train") if len(accepted(row)) == 1]
    own.write_text(
        "\n".join(json.dumps({key: row[key] for key in ("question", "answer")}) for row in rows), encoding="utf-8"
    )
    extract = malpyeong.reward.components[0].params["extract"]
    spec = presets.load(
        "malpyeong",
        [f"data.path={own}", "data.eval_path=", "data.eval_fraction=0.1", "data.prompt_template={question}",
         "reward.components.0.params.answer_column=answer",
         f"reward.components.0.params.gold_extract='''{extract}'''"],
    )  # fmt: skip
    counted = sources.inspect(spec)
    assert (counted.rows or 0) + (counted.eval_rows or 0) == len(rows)
    assert all(paid(spec, row["answer"], row) == [1.0, 1.0] for row in rows)
