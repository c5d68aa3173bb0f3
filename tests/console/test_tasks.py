"""python -m trainer tasks: what there is, and one of them with a row."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.__main__ import main
from trainer.console import rows_made
from trainer.tasks import catalogue


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEGRPO_CACHE", str(tmp_path / "cache"))


def test_the_list_has_every_generator_and_why_others_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks"]) == 0
    told = capsys.readouterr().out
    for name in catalogue.tasks():
        assert f"\n  {name.partition(':')[2]}" in told
    assert "chain_sum* (min_terms=2, max_terms=6" in told
    assert "\n  composite: it only puts other generators together" in told
    assert "Apache-2.0" in told
    assert max(map(len, told.splitlines())) < 140


def test_the_list_needs_no_package(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "installed_version", lambda: None)
    assert main(["tasks"]) == 0
    assert "chain_sum" in capsys.readouterr().out


def test_a_command_that_waits_for_rows_says_how_far_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_made, "SILENT_S", 0.0)
    assert main(["tasks", "chain_sum"]) == 0
    told = capsys.readouterr()
    assert "making the rows of reasoning_gym:chain_sum: 0 of 3" in told.err and "making" not in told.out


def test_a_task_is_shown_with_its_parameters_and_a_row_of_the_ones_that_were_typed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["tasks", "chain_sum", "min_terms=2", "max_terms=2", "max_digits=1"]) == 0
    told = capsys.readouterr().out
    assert "max_terms" in told and "a whole number" in told
    prompt = next(line for line in told.splitlines() if line.startswith("  prompt: "))
    assert sum(sign in "+-" for sign in prompt.partition(":")[2].partition(":")[2]) == 1
    assert "--set data.task=reasoning_gym:chain_sum --set data.task_params.min_terms=2" in told


def test_it_speaks_korean(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "chain_sum", "--lang", "ko"]) == 0
    assert "\uc608\uc2dc \ud589" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chain_sun"], "did you mean reasoning_gym:chain_sum"),
        (["composite"], "is left out"),
        (["chain_sum", "max_term=3"], "did you mean data.task_params.max_terms?"),
        (["chain_sum", "three"], "error: three: is not of the form PARAMETER=VALUE"),
        (["chain_sum", "min_terms=9"], "does not take these parameters"),
    ],
)
def test_bad_input_is_one_line_and_two(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", *words]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("making the rows")]
    assert len(told) == 1 and said in told[0]  # a slow machine is told how far the rows are
