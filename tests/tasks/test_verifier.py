"""The verifiers of the generators, and that no answer of a model is run as a program."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from trainer.rewards.library.task import task
from trainer.tasks import catalogue, generated, verifier


def made(name: str, tmp: Path, monkeypatch: pytest.MonkeyPatch, size: int = 4) -> list[dict[str, str]]:
    monkeypatch.setenv("ONEGRPO_CACHE", str(tmp / "cache"))
    return list(generated.rows(generated.file(catalogue.tasks()[f"reasoning_gym:{name}"], {}, size, 1)))


def test_the_gold_answer_gets_one_and_another_number_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = made("chain_sum", tmp_path, monkeypatch)
    entries, answers = [row["entry"] for row in rows], [row["answer"] for row in rows]
    assert task()(completions=answers, entry=entries) == [1.0] * 4
    assert task()(completions=[str(int(answer) + 1) for answer in answers], entry=entries) == [0.0] * 4
    assert task()(completions=["", "  ", "\ud55c\uad6d\uc5b4", "no idea"], entry=entries) == [0.0] * 4


def test_the_answer_is_found_as_the_pattern_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = made("chain_sum", tmp_path, monkeypatch, 1)
    right, entry = row["answer"], [row["entry"]]
    tags, last = r"<answer>(.*?)</answer>", r"([^\n]*)\s*\Z"
    said = f"Let me see.\n<answer> {right} </answer>"
    assert task(tags)(completions=[said], entry=entry) == [1.0]
    assert task(tags)(completions=[right], entry=entry) == [0.0]
    assert task(last)(completions=[f"I add them.\n{right}\n"], entry=entry) == [1.0]
    assert task(last)(completions=[[{"role": "assistant", "content": f"So:\n{right}"}]], entry=entry) == [1.0]
    judge = task(tags)
    assert judge.answer is not None and judge.answer(said) == right


ATTACKS = (
    "__import__('os').system('touch {file}')",
    "open('{file}', 'w')",
    "[open('{file}', 'w')]",
    "(lambda: open('{file}', 'w'))()",
    "eval(\"open('{file}', 'w')\")",
    "sin(open('{file}', 'w'))",
    "x.__class__.__base__.__subclasses__()",
    "().__class__.__mro__",
)


@pytest.mark.parametrize("name", sorted(verifier.READ_AS_CODE))
def test_an_answer_that_is_a_program_is_not_run(name: str, tmp_path: Path) -> None:
    file = tmp_path / "written"
    for attack in ATTACKS:
        answer = attack.format(file=file)
        assert not verifier.harmless(name, answer), answer
        entry = {"task": name, "params": {}, "question": "", "answer": "", "metadata": {}}
        assert verifier.score(answer, json.dumps(entry)) == 0.0
    assert not os.path.exists(file)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("countdown", "(3 + 4)*5 - 12/4"),
        ("intermediate_integration", "-x**2*cos(x) + 2*x*sin(x) + 2*cos(x) + C"),
        ("simple_integration", "3*x**2/2 + 5*x + C"),
        ("polynomial_multiplication", "12*x**6 - 3*x"),
        ("binary_matrix", "[[0, 1], [1, 0]]"),
        ("n_queens", "_ Q _ _\n_ _ _ Q"),
        ("string_insertion", "['A', 'B']"),
    ],
)
def test_an_answer_that_is_meant_is_read(name: str, answer: str) -> None:
    assert verifier.harmless(name, answer)


@pytest.mark.parametrize("answer", ["9**9**9", "2**99999", "9" * 3000, "(2**9)**9**9"])
def test_a_sum_that_takes_hours_is_not_computed(answer: str) -> None:
    assert not verifier.harmless("countdown", answer)


def test_a_verifier_that_cannot_read_an_answer_pays_nothing_and_a_broken_one_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def of_numbers(answer: str, entry: dict[str, str]) -> float:
        return float(int(answer) == int(entry["answer"]))

    monkeypatch.setattr(verifier, "_verifier", lambda task, params: of_numbers)
    entry = {"task": "chain_sum", "params": {}, "answer": "4"}
    assert verifier.score("four", json.dumps(entry)) == 0.0
    with pytest.raises(ValueError, match="invalid literal"):
        verifier.score("4", json.dumps(entry | {"answer": "four"}))
