"""The rows of malpyeong and malpyeong-tiny: well formed, balanced, kept apart, and paid as the presets' headers say."""

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
from trainer.data.render import Renderer
from trainer.data.survey import survey
from trainer.plan import make
from trainer.rewards.library import REWARDS
from trainer.rewards.wrapper import ComponentRewardWrapper
from trainer.spec import RunSpec

DATA = presets.PRESETS_DIR / "data"
COUNTS = {"train": 96, "fewshot": 12, "eval": 24}
TINY_COUNTS = {"tiny_train": 32, "tiny_eval": 12}
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


@pytest.fixture(scope="module")
def cheap(malpyeong: RunSpec) -> ComponentRewardWrapper:
    """All of malpyeong's reward but BERTScore: exact match, format and ROUGE-1."""
    return ComponentRewardWrapper(malpyeong.reward.model_copy(update={"components": malpyeong.reward.components[1:]}))


def paid(wrapper: ComponentRewardWrapper, text: str, row: dict[str, str]) -> dict[str, float | None]:
    """Value of each component, before its weight."""
    columns: dict[str, Any] = {name: [value] for name, value in row.items()}
    wrapper(prompts=[row["question"]], completions=[[{"role": "assistant", "content": text}]], **columns)
    return {name: values[0] for name, values in wrapper.last_components.items()}


def right_and_formal(wrapper: ComponentRewardWrapper, text: str, row: dict[str, str]) -> list[float | None]:
    """Exact match and format."""
    values = paid(wrapper, text, row)
    return [values["exact_match"], values["format"]]


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
def test_row_has_all_columns_and_the_question_of_its_type(row: dict[str, str]) -> None:
    assert list(row) == ["question_type", "question", "answer", "accepted"]
    assert all(value == value.strip() and value for value in row.values())
    same = [other["question"] for _, other in ROWS if other["question_type"] == row["question_type"]]
    assert {question.split("\n")[0] for question in same} == {row["question"].split("\n")[0]}


@each_row
def test_answer_is_the_quoted_sentence_its_particle_and_a_reason(row: dict[str, str]) -> None:
    found = ANSWER.fullmatch(row["answer"])
    assert found
    assert found[1] == accepted(row)[0]
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


# ---- the short rows of malpyeong-tiny


@pytest.mark.parametrize("split", TINY_COUNTS)
def test_short_rows_are_those_of_the_long_file_with_the_end_of_the_reason(split: str) -> None:
    rows = read(split)
    types = [row["question_type"] for row in rows]
    assert types.count(SELECTION) == types.count(CORRECTION) == TINY_COUNTS[split] // 2
    long = {row["question"].split("\n")[1]: row for row in read(split.removeprefix("tiny_"))}
    assert len({row["question"] for row in rows}) == len(rows)
    for row in rows:
        whole = long[row["question"]]
        assert list(row) == list(whole)
        assert (row["question_type"], row["accepted"]) == (whole["question_type"], whole["accepted"])
        short, full = ANSWER.fullmatch(row["answer"]), ANSWER.fullmatch(whole["answer"])
        assert short and full
        assert short.groups()[:2] == full.groups()[:2]
        assert full[3].endswith(short[3])


# ---- the presets


@pytest.mark.parametrize(("name", "counts"), [("malpyeong", COUNTS), ("malpyeong-tiny", TINY_COUNTS)])
def test_files_are_those_of_the_preset_and_plan_whole_epochs(name: str, counts: dict[str, int]) -> None:
    spec = presets.load(name)
    assert spec.data.path is not None and spec.data.eval_path is not None and spec.data.few_shot is not None
    train, *_, held_out = counts
    assert Path(spec.data.path) == DATA / f"malpyeong_{train}.jsonl"
    assert Path(spec.data.eval_path) == DATA / f"malpyeong_{held_out}.jsonl"
    assert sources.inspect(spec) == sources.Inspection(rows=counts[train], eval_rows=counts[held_out])
    plan = make(spec, counts[train])
    assert plan.rows_unused_per_epoch == 0
    assert plan.optimizer_steps_per_epoch == spec.checkpoint.save_steps
    assert spec.checkpoint.save_total_limit >= spec.optim.num_train_epochs
    assert spec.eval.answers
    assert plan.warnings == []


def test_values_the_task_asks_for(malpyeong: RunSpec) -> None:
    model, lora = malpyeong.model, malpyeong.lora
    assert (model.load_in_4bit, model.double_quant, model.dtype) == (True, True, "bfloat16")
    assert (lora.r, lora.alpha, lora.dropout) == (64, 16, 0.05)
    assert lora.target_modules == ["q_proj", "k_proj", "v_proj", "o_proj"]


def test_both_presets_pay_the_same_formula_and_differ_in_the_encoder(malpyeong: RunSpec) -> None:
    big, small = (spec.reward.model_dump() for spec in (malpyeong, presets.load("malpyeong-tiny")))
    encoder = big["components"][0]["params"].pop("encoder"), big["components"][0]["params"].pop("num_layers")
    assert encoder == ("bert-base-multilingual-cased", 9)
    assert small["components"][0]["params"].pop("encoder") == "builtin/tiny-bert"
    assert big == small


@pytest.mark.parametrize("split", ["train", "eval"])
def test_prompt_is_the_instruction_two_examples_of_the_type_and_the_question(malpyeong: RunSpec, split: str) -> None:
    renderer = Renderer(malpyeong, survey(malpyeong, *sources.feeds(malpyeong)).pool)
    assert malpyeong.data.instruction is not None
    examples = {f"{row['question']}\n{row['answer']}": row["question_type"] for row in read("fewshot")}
    longest = 0
    for row in read(split):
        (message,) = renderer.row(row)["prompt"]
        instruction, first, second, question = message["content"].rsplit("\n\n", 3)
        assert instruction == malpyeong.data.instruction.texts[row["question_type"]]
        assert {examples[first], examples[second]} == {row["question_type"]}
        assert first != second
        assert question == row["question"]
        longest = max(longest, len(message["content"]))
    assert longest * 1.6 < malpyeong.data.max_prompt_length  # tokens a character that the preset assumes


# ---- what is paid


TINY_BERT = REWARDS["bertscore"](encoder="builtin/tiny-bert")
FORMULA = {  # completion: (exact match, format, ROUGE-1, what BERTScore reads of it); gold reason: six words
    '"나는 집에 가."가 옳다. 하나 둘 셋 넷 다섯 여섯.': (1, 1, 1.0, "하나 둘 셋 넷 다섯 여섯."),
    "답: “나는 집에 가.”가 옳다. 하나 둘 셋": (1, 1, 2 * 3 / (3 + 6), "하나 둘 셋"),
    '"나는 집으로 가."가 옳다.\n\n일곱': (1, 1, 0.0, "일곱"),
    '"나는 집을 가."가 옳다. 하나 둘 셋 넷 다섯 여섯.': (0, 1, 1.0, "하나 둘 셋 넷 다섯 여섯."),
    '"나는 집에 가."가 옳다.': (1, 1, 0.0, ""),
    "하나 둘 여덟": (0, 0, 2 * 2 / (3 + 6), "하나 둘 여덟"),
    '나는 집에 가."가 옳다. 하나': (0, 0, 2 * 1 / (6 + 6), '나는 집에 가."가 옳다. 하나'),
    "": (0, 0, 0.0, ""),
}


@pytest.mark.parametrize("completion", FORMULA)
def test_reward_is_the_formula_of_the_contest(malpyeong: RunSpec, completion: str) -> None:
    exact, formal, rouge, read_by_bert = FORMULA[completion]
    bert, *others = malpyeong.reward.components
    params = {key: value for key, value in bert.params.items() if key != "num_layers"} | {
        "encoder": "builtin/tiny-bert"
    }
    reward = malpyeong.reward.model_copy(update={"components": [bert.model_copy(update={"params": params}), *others]})
    reason = "하나 둘 셋 넷 다섯 여섯."
    columns: dict[str, Any] = {
        "answer": [f'"나는 집에 가."가 옳다. {reason}'],
        "accepted": ["나는 집에 가.#나는 집으로 가."],
    }
    (similar,) = TINY_BERT(completions=[read_by_bert], answer=[reason])
    wrapper = ComponentRewardWrapper(reward)
    (total,) = wrapper(prompts=[""], completions=[completion], **columns)
    values = {name: column[0] for name, column in wrapper.last_components.items()}
    expected = {"bertscore": similar, "exact_match": exact, "format": formal, "rouge1": pytest.approx(rouge)}
    assert values == expected
    assert total == pytest.approx((similar + exact + (formal + 3 * rouge) / 2) / 3)
    assert wrapper.last_correct == [bool(exact)]


@each_row
def test_every_accepted_answer_is_paid_in_full(cheap: ComponentRewardWrapper, row: dict[str, str]) -> None:
    for text in accepted(row):
        gold = row["answer"].replace(f'"{accepted(row)[0]}"', f'"{text}"')
        assert paid(cheap, gold, row) == {"exact_match": 1.0, "format": 1.0, "rouge1": 1.0}
        assert right_and_formal(cheap, f"\n “{text}”{particle(text)} 옳다.\n\n{REASON}\n", row) == [1.0, 1.0]
        assert right_and_formal(cheap, f'답: "{text}"{particle(text)} 옳다.', row) == [1.0, 1.0]


@each_row
def test_wrong_sentences_are_paid_the_form_alone(cheap: ComponentRewardWrapper, row: dict[str, str]) -> None:
    right = accepted(row)
    wrong = sentence(row)  # braces still in it, or errors
    assert right_and_formal(cheap, f'"{wrong}"가 옳다. {REASON}', row) == [0.0, 1.0]
    for form in re.findall(r"[^{}/]+(?=[/}])", wrong) if row["question_type"] == SELECTION else ():
        filled = re.sub(r"\{[^{}]+\}", form, wrong)
        assert right_and_formal(cheap, f'"{filled}"가 옳다. {REASON}', row) == [float(filled in right), 1.0]
    second_guess = f'"{wrong}"가 옳다. "{right[0]}"가 옳다. {REASON}'
    assert right_and_formal(cheap, second_guess, row) == [0.0, 1.0]
    if len(right) > 1:  # all of them at once is no sentence
        assert right_and_formal(cheap, f'"{row["accepted"]}"가 옳다. {REASON}', row) == [0.0, 1.0]


@each_row
def test_answers_without_the_form_are_neither_right_nor_formal(
    cheap: ComponentRewardWrapper, row: dict[str, str]
) -> None:
    right = accepted(row)[0]
    for text in (
        "",
        " \n",
        "옳다.",
        '""가 옳다. ' + REASON,
        right,
        f'"{right}"',
        f"{right}가 옳다. {REASON}",
        "asdf " * 40,
        f'물론입니다. "{right}"가 옳다. {REASON}',
        f'**"{right}"가 옳다.** {REASON}',
        f'"{right}"가 맞다. {REASON}',
    ):
        assert right_and_formal(cheap, text, row) == [0.0, 0.0]


# ---- own data, as the comments of the preset say


def test_own_rows_with_the_four_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = presets.find("malpyeong").read_text(encoding="utf-8")
    (arguments,) = re.findall(r"python app\.py --dry-run --preset malpyeong (.*data\.path=my\.jsonl.*)", text)
    monkeypatch.chdir(tmp_path)
    Path("my.jsonl").write_text("\n".join(json.dumps(row) for row in read("train")[:32]), encoding="utf-8")
    overrides = [word for word in arguments.split() if word != "--set"]
    assert sources.inspect(presets.load("malpyeong", overrides)) == sources.Inspection(rows=29, eval_rows=3)


def test_own_rows_without_accepted(tmp_path: Path, malpyeong: RunSpec) -> None:
    """Several right sentences then stand in the answer itself."""
    own = tmp_path / "my.jsonl"
    rows = [row | {"answer": row["answer"].replace(accepted(row)[0], row["accepted"], 1)} for row in read("train")]
    rows = [{key: row[key] for key in ("question_type", "question", "answer")} for row in rows]
    own.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    extract = malpyeong.reward.components[1].params["extract"]
    spec = presets.load(
        "malpyeong",
        [f"data.path={own}", "data.eval_path=", "data.eval_fraction=0.1",
         "reward.components.1.params.answer_column=answer",
         f"reward.components.1.params.gold_extract='''{extract}'''"],
    )  # fmt: skip
    counted = sources.inspect(spec)
    assert (counted.rows or 0) + (counted.eval_rows or 0) == len(rows)
    wrapper = ComponentRewardWrapper(spec.reward.model_copy(update={"components": spec.reward.components[1:]}))
    for row, given in zip(rows, read("train"), strict=True):
        for text in accepted(given):
            assert right_and_formal(wrapper, f'"{text}"가 옳다. {REASON}', row) == [1.0, 1.0]
