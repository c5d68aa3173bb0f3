"""A process of a run that is started without its run says how it is used."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable

import pytest

from trainer.run import entrance
from trainer.run.rundir import RunDir

MODULES = ["trainer.worker", "trainer.mirrors", "trainer.report", "trainer.tryit", "trainer.ui.train.aside"]


@pytest.mark.parametrize("arguments", [[], ["/nowhere"], ["/"]])
@pytest.mark.parametrize("module", MODULES)
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_usage_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: str, arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_module(module, run_name="__main__")
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(f"usage: python -m {module} ")


def test_the_folder_of_a_run_is_taken(make_run: Callable[..., RunDir]) -> None:
    run = make_run("tiny-1")
    assert entrance.parser("trainer.worker", "Train.").parse_args([str(run.path)]).rundir == run
