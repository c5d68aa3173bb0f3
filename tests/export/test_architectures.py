"""Merged weights of today's architectures answer as base and adapter did."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architectures import EACH, make
from tests.export.conftest import make_run
from trainer.export import export


@pytest.mark.parametrize("name", EACH)
def test_merged_weights_answer_as_base_and_adapter(name: str, tmp_path: Path) -> None:
    rundir = make_run(tmp_path, "lora", {"name": str(make(name, tmp_path / "base"))})
    made = export(rundir, "merged", dtype="float32", say=lambda line: None)
    assert made.facts["verified"]["trained_max_abs_diff"] < 1e-3
