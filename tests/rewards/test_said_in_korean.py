"""What is said of rewards in Korean: why params, files and values cannot be used, and what the check finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.judge_server import Endpoint, says
from tests.latin import in_korean
from trainer.errors import RewardError
from trainer.rewards import building, check, own_file, sandbox
from trainer.rewards.calls import Call
from trainer.rewards.contract import Failure, checked
from trainer.rewards.in_process import Here
from trainer.rewards.library import REWARDS
from trainer.rewards.wrapper import BATCHES, ComponentRewardWrapper
from trainer.spec import Component, Reward
from trainer.text import words

CHAT: list[dict[str, Any]] = [{"prompt": [{"role": "user", "content": "6 * 7"}], "answer": "42"}]
JUDGE = {"model": "m", "base_url": "http://localhost/v1", "prompt": "{completion}"}


@pytest.mark.parametrize(
    ("function", "params"),
    [
        ("exact_match", {"extract": "("}),
        ("exact_match", {"extract": "x"}),
        ("exact_match", {"accepted_separator": 5}),
        ("length_penalty", {"start": 5, "end": 5}),
        ("length_penalty", {"start": 5, "end": 9, "unit": "pages"}),
        ("overlong", {"max_tokens": 5, "buffer": 9}),
        ("repetition", {"n": 0}),
        ("rouge1", {"tokens": "letter"}),
        ("code", {"language": "rust"}),
        ("code", {"timeout_s": 0}),
        ("code", {"memory_mb": 1}),
        ("bertscore", {"encoder": "x", "batch_size": 0}),
        ("reward_model", {"model": "x", "activation": "tanh"}),
        ("reward_model", {"model": "x", "batch_size": 0}),
        ("llm_judge", JUDGE | {"prompt": "grade"}),
        ("llm_judge", JUDGE | {"prompt": "{completion} {0}"}),
        ("llm_judge", JUDGE | {"answer_column": "answer"}),
        ("llm_judge", JUDGE | {"scale": [9, 1]}),
        ("llm_judge", JUDGE | {"retries": -1}),
        ("llm_judge", JUDGE | {"base_url": "localhost"}),
        ("llm_judge", JUDGE | {"api_key_env": "sk-1"}),
        ("llm_judge", JUDGE | {"rubric": "/rubric.txt"}),
        ("llm_judge", JUDGE | {"prompt": None, "rubric": "/nowhere/rubric.txt"}),
        ("llm_group_judge", JUDGE),
        ("llm_group_judge", JUDGE | {"prompt": "{completions}", "orders": 3}),
        ("llm_group_judge", JUDGE | {"prompt": "{completions}", "max_chars": 0}),
    ],
)
def test_params_that_do_not_fit(function: str, params: dict[str, Any]) -> None:
    with pytest.raises(RewardError) as caught:
        building.make(Component(function=function, params=params))
    assert function in in_korean(caught.value.problems[0])


@pytest.mark.parametrize("content", [b"", b"\xff", b"x" * 2**16])
def test_a_rubric_that_cannot_be_used(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rubric.txt"
    path.write_bytes(content)
    params = JUDGE | {"prompt": None, "rubric": str(path)}
    with pytest.raises(RewardError) as caught:
        building.make(Component(function="llm_judge", params=params))
    assert str(path) in in_korean(caught.value.problems[0])


@pytest.mark.parametrize("completions", [["a", "b"], ["long " * 30, "longer " * 30], [str(one) for one in range(27)]])
def test_a_group_that_cannot_be_ranked(endpoint: Endpoint, completions: list[str]) -> None:
    endpoint.reply = lambda question: says("no")
    params = JUDGE | {"base_url": endpoint.url, "prompt": "{completions}", "max_chars": 100, "retries": 0}
    values = REWARDS["llm_group_judge"](**params)(prompts=["p"] * len(completions), completions=completions)
    for value in values:
        assert isinstance(value, Failure)
        in_korean(value.why)


@pytest.mark.parametrize("raw", [{"a": 1}, None, [1.0], ["one", "two"]])
def test_values_of_a_wrong_shape(raw: Any) -> None:
    with pytest.raises(RewardError) as caught:
        checked(raw, 2, "mine")
    in_korean(caught.value.problems[0])


def test_too_few_values_of_the_steps_of_a_completion() -> None:
    with pytest.raises(RewardError) as caught:
        checked([[1.0], [1.0]], 2, "mine", steps=[1, 3])
    in_korean(caught.value.problems[0])


@pytest.mark.parametrize("source", [None, "def (:", "x = 1", "def other(completions): pass"])
def test_a_file_without_its_function(tmp_path: Path, source: str | None) -> None:
    path = tmp_path / "mine.py"
    if source is not None:
        path.write_text(source)
    (problem,) = own_file.problems(str(path), "right", "reward.components")
    in_korean(problem)


@pytest.mark.parametrize(
    "tests",
    ["no list", [{"input": 1}], []],
)
def test_tests_of_a_program_that_cannot_be_read(tests: Any) -> None:
    function = REWARDS["code"]()
    found = Here({"code": function}).run([Call("code", 1, {"completions": ["pass"], "tests": [tests]})])
    (failed,) = found["code"].values
    assert isinstance(failed, Failure)
    in_korean(failed.why)


@pytest.mark.parametrize("tests", [["x ="], ["def check(f): pass"], [5]])
def test_asserts_that_test_nothing(tests: Any) -> None:
    function = REWARDS["code"](style="assert")
    found = Here({"code": function}).run([Call("code", 1, {"completions": ["pass"], "tests": [tests]})])
    in_korean(found["code"].values[0].why)


@pytest.mark.parametrize(
    "stderr", ["", "bwrap: Unknown option --size", "bwrap: setting up uid map: Permission denied", "bwrap: no"]
)
def test_a_sandbox_that_does_not_work(stderr: str) -> None:
    in_korean(sandbox._trouble_in(stderr))


BODIES = [
    "return [0.5] * len(completions)",
    "return [random.random() for _ in completions]",
    "return [float(len(c[-1]['content'])) for c in completions]",
    "return [1 / len(c[-1]['content']) for c in completions]",
    "return [float(c.strip() == a) for c, a in zip(completions, answer)]",
    "return [1 / 0 for c in completions]",
    "import os; os._exit(3)",
    "import sys; sys.exit(3)",
    "return [float('inf') for c in completions]",
]


@pytest.mark.parametrize("body", BODIES)
def test_what_the_check_finds(tmp_path: Path, body: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"import random\ndef mine(completions, answer, **columns):\n    {body}\n")
    reward = Reward(components=[Component(function="mine", file=str(path))], workers=1)
    wrapper = ComponentRewardWrapper(reward, pooled=True)
    try:
        found = check.trial(wrapper, CHAT)
    finally:
        wrapper.close()
    assert found.problems or found.warnings
    for problem in found.problems:
        in_korean(problem)
    for note in found.warnings:
        in_korean(note)
    for one in found.tries:
        for why in one.failures.values():
            in_korean(why)
    assert check.table(found, words("ko"))[0][:3] == [words("ko")(f"rewards.try.{name}") for name in HEADS]


HEADS = ("row", "completion", "reward")


@pytest.mark.parametrize("on_error", ["fail", "none"])
def test_a_component_that_can_judge_nothing(monkeypatch: pytest.MonkeyPatch, on_error: Any) -> None:
    component = Component(function="exact_match")
    wrapper = ComponentRewardWrapper(Reward(components=[component], on_error=on_error))
    monkeypatch.setattr(wrapper, "_judged", {"exact_match"})
    with pytest.raises(RewardError) as caught:
        for _ in range(BATCHES):  # a column that is no text in the middle of a pattern: every row raises
            wrapper(prompts=["p"], completions=[5], answer=["a"])  # type: ignore[list-item]
    in_korean(caught.value.problems[0])


def test_batches_without_a_reward() -> None:
    wrapper = ComponentRewardWrapper(Reward(components=[Component(function="exact_match")]))
    with pytest.raises(RewardError) as caught:
        for _ in range(BATCHES):
            wrapper(prompts=["p"], completions=["c"], answer=[None])
    in_korean(caught.value.problems[0])
