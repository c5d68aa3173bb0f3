"""python -m trainer evaluate: the contest's figures, checked by plain loops; labels that do not fit are refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest

from tests.evaluate import independent_scores
from tests.evaluate.made import EXACT, FORMULA, MALPYEONG, PARTS, Row, evaluate, told
from trainer.errors import InputError
from trainer.evaluate import answers, contest
from trainer.machine.json_files import read_json
from trainer.rewards.contract import RewardFunction
from trainer.rewards.library import tiny_bert
from trainer.run import best as named
from trainer.run.rundir import RunDir, outputs_dir
from trainer.run.state import state_of
from trainer.spec import Component, Data, RunSpec
from trainer.text import words

ROWS = 8  # of both types; the plain loops take a second for each


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The labels' file."""
    path = tmp_path_factory.mktemp("labels") / "right.jsonl"
    path.write_text("".join(MALPYEONG.read_text(encoding="utf-8").splitlines(True)[:ROWS]), encoding="utf-8")
    return path


@pytest.fixture
def spec(spec: RunSpec, right: Path) -> RunSpec:
    return spec.model_copy(update={"reward": FORMULA, "data": Data(path="rows.jsonl", eval_path=str(right))})


@pytest.fixture(scope="module")
def labels(right: Path) -> list[Row]:
    return [json.loads(line) for line in right.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def run(make_run: Callable[..., RunDir], labels: list[Row]) -> RunDir:
    """A run with the answers of three epochs, the second being the best."""
    rundir = make_run("contest-1", *[{"kind": "step", "step": n, "epoch": n / 2} for n in range(1, 5)])
    for label, quality in (("1", 0), ("1.5", 3), ("2", 2)):
        answers.write(rundir, label, labels, told(labels, quality))
    return rundir


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What is printed for a call that is refused: one line."""
    assert evaluate(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_every_figure_is_what_plain_loops_find(run: RunDir, right: Path, tmp_path: Path) -> None:
    model, tokenizer = tiny_bert.make()
    model.save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    assert evaluate(run.name) == 0
    written = read_json(run.scores)
    assert written is not None
    expected = independent_scores.scores(run.path, right, str(tmp_path / "bert"))
    assert [epoch["epoch"] for epoch in written["epochs"]] == sorted(expected) == ["1", "1.5", "2"]
    for epoch in written["epochs"]:
        own = expected[epoch["epoch"]]
        for figure, within in (("rouge1", 1e-6), ("em", 1e-6), ("bertscore", 1e-5), ("mean", 1e-5), ("reward", 1e-5)):
            assert epoch[figure] == pytest.approx(own[figure], abs=within), (epoch["epoch"], figure)
    assert len({epoch["bertscore"] for epoch in written["epochs"]}) == 3
    assert 0 < written["epochs"][0]["mean"] < written["best"]["mean"] < 1


def test_the_table_names_the_best_and_its_weights(run: RunDir, capsys: pytest.CaptureFixture[str]) -> None:
    run.epoch_folder("1.5").mkdir()
    assert evaluate(run.name) == 0
    header, first, second, third, sentence = capsys.readouterr().out.splitlines()
    assert header.split() == ["EPOCH", "STEP", "ROUGE-1", "BERTSCORE", "EM", "MEAN", "REWARD"]
    assert [line.split()[:2] for line in (first, second, third)] == [["1", "2"], ["1.5", "3"], ["2", "4"]]
    assert [line.endswith("<- best") for line in (first, second, third)] == [False, True, False]
    mean = second.split()[5]
    weights = run.epoch_folder("1.5")
    assert (
        sentence
        == f"Epoch 1.5 (step 3) is the best of 3, with a mean of {mean} on {ROWS} rows; its weights are in {weights}."
    )


def test_the_scores_say_what_they_are_of(run: RunDir, right: Path) -> None:
    evaluate(run.name)
    written = read_json(run.scores)
    assert written is not None
    digest = hashlib.sha256(right.read_bytes()).hexdigest()
    assert written["labels"] == {"file": "right.jsonl", "sha256": digest}
    assert written["metrics"]["em"] == {"function": "exact_match", "params": EXACT}
    assert written["metrics"]["mean"] == "(rouge1 + bertscore + em) / 3"
    assert written["best"] == written["epochs"][1]


def test_the_best_epoch_is_the_runs_best_checkpoint(run: RunDir) -> None:
    evaluate(run.name)
    run.checkpoint(3).mkdir()
    found = named.find_best(run, state_of(run))
    assert found is not None
    assert (found.step, found.epoch, found.source) == (3, "1.5", "scores.json")


def test_of_equal_epochs_the_earlier_is_the_best() -> None:
    scores = [
        contest.EpochScore(epoch, None, 0.5, 0.5, 0.5, mean, None, 14, "")
        for epoch, mean in (("1", 0.4), ("2", 0.5), ("3", 0.5))
    ]
    assert contest.best(scores).epoch == "2"


def test_epochs_are_in_order_of_their_number(run: RunDir, labels: list[Row], spec: RunSpec) -> None:
    answers.write(run, "10", labels, told(labels, 1))
    assert list(contest.inference_files(run.path)) == ["1", "1.5", "2", "10"]


def test_any_folder_is_scored_with_a_presets_rewards(
    labels: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files from elsewhere: no event log, so no steps; accepted answers only inside the model answers."""
    folder = RunDir(tmp_path / "theirs")
    folder.path.mkdir()
    answers.write(folder, "3", labels, [row["answer"] for row in labels])
    own = tmp_path / "labels.json"
    kept = [{name: row[name] for name in ("question", "answer")} for row in labels]
    own.write_text(json.dumps(kept, ensure_ascii=False), encoding="utf-8")
    assert evaluate(folder.path, "--labels", own, "--preset", preset(tmp_path)) == 0
    header, line, sentence = capsys.readouterr().out.splitlines()
    assert header.split() == ["EPOCH", "ROUGE-1", "BERTSCORE", "EM", "MEAN"]
    assert line.split()[:5] == ["3", "1.0000", "1.0000", "1.0000", "1.0000"]
    assert sentence.endswith(f"the only one, with a mean of 1.0000 on {ROWS} rows; its weights are not in this folder.")


def preset(folder: Path) -> Path:
    """A preset that pays more than the contest's formula: its total cannot be had from the texts."""
    path = folder / "own.toml"
    parts = {
        "bertscore": {"encoder": tiny_bert.NAME, **PARTS},
        "exact_match": EXACT,
        "rouge1": PARTS,
        "repetition": {},
    }
    text = f'[model]\nname = "builtin/tiny-korean"\n[data]\npath = "{MALPYEONG}"\nprompt_template = "{{question}}"\n'
    for function, params in parts.items():
        text += f'[[reward.components]]\nfunction = "{function}"\n[reward.components.params]\n'
        for name, value in params.items():
            text += f"{name} = {json.dumps(value, ensure_ascii=False)}\n"
    path.write_text(text, encoding="utf-8")
    return path


def change(run: RunDir, edit: Callable[[list[Row]], object]) -> None:
    entries = json.loads(run.inference_file("1.5").read_text(encoding="utf-8"))
    edit(entries)
    run.inference_file("1.5").write_text(json.dumps(entries, ensure_ascii=False), encoding="utf-8")


@pytest.mark.parametrize(
    ("edit", "where", "what"),
    [
        (lambda entries: entries.pop(3), "inference_epoch1.5.json, id 3", "has no answer"),
        (
            lambda entries: entries.append({"id": ROWS, "answer": "x"}),
            f"inference_epoch1.5.json, id {ROWS}",
            "is not in the labels",
        ),
        (lambda entries: entries[5].update(question="?"), "inference_epoch1.5.json, id 5", "answers another question"),
        (lambda entries: entries[5].pop("question"), "inference_epoch1.5.json, id 5", "answers another question"),
        (lambda entries: entries[2].update(answer=3), "inference_epoch1.5.json, row 2", 'has no text "answer"'),
        (lambda entries: entries.clear(), "inference_epoch1.5.json", "is not a list of answers"),
        (lambda entries: entries.append(entries[4]), f"inference_epoch1.5.json, row {ROWS}", "id 4 is there twice"),
    ],
)
def test_answers_to_other_questions_are_refused(
    run: RunDir, capsys: pytest.CaptureFixture[str], edit: Callable[[list[Row]], object], where: str, what: str
) -> None:
    change(run, edit)
    line = refusal(capsys, run.name)
    assert line.startswith(f"error: {where}: ")
    assert what in line
    assert not run.scores.exists()


def test_rows_may_stand_in_any_order_when_they_have_ids(run: RunDir, right: Path) -> None:
    before = contest.score_folder(run.path, contest.read_labels(right, run.read_spec()), run.read_spec())
    change(run, list.reverse)
    after = contest.score_folder(run.path, contest.read_labels(right, run.read_spec()), run.read_spec())
    assert after == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody"], "there is no such run"),
        (["{run}", "--labels", "gone.jsonl"], "no file gone.jsonl"),
        (["{run}", "--preset", "gone"], "there is no preset"),
        (["{run}", "--preset", "tiny"], "has no components rouge1"),
        (["{elsewhere}"], "--labels FILE"),
    ],
)
def test_what_is_not_there_is_one_line(
    run: RunDir, capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    typed = [argument.format(run=run.name, elsewhere=tmp_path / "elsewhere") for argument in arguments]
    assert said in refusal(capsys, *typed)


def test_a_run_without_answers_says_how_to_get_them(
    make_run: Callable[..., RunDir], capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("silent-1")
    assert "eval.answers=true" in refusal(capsys, "silent-1")


def test_an_encoder_that_is_not_there_is_one_line(
    run: RunDir, spec: RunSpec, make_run: Callable[..., RunDir], labels: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    params = {"encoder": str(outputs_dir() / "no-encoder"), **PARTS}
    components = [Component(function="bertscore", params=params), *FORMULA.components[1:]]
    broken = spec.model_copy(update={"reward": FORMULA.model_copy(update={"components": components})})
    run.spec.write_text(broken.model_dump_json(), encoding="utf-8")
    assert "no-encoder" in refusal(capsys, run.name)


def test_a_plain_folder_is_scored_by_the_contests_preset_and_offline_its_encoder_is_not_there(
    labels: list[Row], right: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunDir(tmp_path / "theirs")
    folder.path.mkdir()
    answers.write(folder, "3", labels, [row["answer"] for row in labels])
    for name, value in (("HF_HUB_OFFLINE", True), ("HF_HUB_CACHE", str(tmp_path / "empty"))):
        monkeypatch.setattr(huggingface_hub.constants, name, value)  # read from the environment when it was imported
    assert "bert-base-multilingual-cased" in refusal(capsys, folder.path, "--labels", right)
    assert not folder.scores.exists()


def test_the_small_preset_of_the_contest_pays_model_answers_the_whole_formula(
    labels: list[Row], right: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunDir(tmp_path / "theirs")
    folder.path.mkdir()
    answers.write(folder, "3", labels, [row["answer"] for row in labels])
    assert evaluate(folder.path, "--labels", right, "--preset", "malpyeong-tiny") == 0
    header, line, _ = capsys.readouterr().out.splitlines()
    assert header.split() == ["EPOCH", "ROUGE-1", "BERTSCORE", "EM", "MEAN", "REWARD"]
    assert line.split()[:6] == ["3", "1.0000", "1.0000", "1.0000", "1.0000", "1.3333"]


def test_a_label_that_can_not_be_judged_is_refused(
    run: RunDir, labels: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Left out of the mean it would flatter."""
    own = tmp_path / "labels.jsonl"
    rows = [row | {"accepted": ""} if number == 6 else row for number, row in enumerate(labels)]
    own.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    assert "row 6: exact_match gave no value" in refusal(capsys, run.name, "--labels", own)


def test_why_a_label_cannot_be_judged_is_said_in_the_readers_language(spec: RunSpec) -> None:
    def broken(completions: list[str], **columns: object) -> list[float]:
        raise ValueError("no such word")

    scorer = contest.Scorer(spec)
    scorer.functions = {"exact_match": RewardFunction(broken)}
    with pytest.raises(InputError) as refused:
        scorer._judged("exact_match", ["a"], {}, "inference_epoch1.json")
    (problem,) = refused.value.problems
    assert "raised ValueError" in problem.what
    korean = problem.said(words("ko")).what
    assert "no such word" in korean and "raised" not in korean


def test_as_many_labels_as_the_run_evaluates_on(
    spec: RunSpec, make_run: Callable[..., RunDir], labels: list[Row]
) -> None:
    rundir = make_run("few-1")
    few = spec.model_copy(update={"eval": spec.eval.model_copy(update={"max_rows": 5})})
    rundir.spec.write_text(few.model_dump_json(), encoding="utf-8")
    answers.write(rundir, "1", labels[:5], told(labels, 1)[:5])
    assert evaluate("few-1") == 0
    written = read_json(rundir.scores)
    assert written is not None and written["best"]["rows"] == 5
