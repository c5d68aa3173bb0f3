"""trainer.preflight.rewards: what the rewards of a run need of this machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer.machine.project import PROJECT
from trainer.preflight import rewards
from trainer.spec import Component, RunSpec


def found(spec: RunSpec, **component: Any) -> list[str]:
    reward = spec.reward.model_copy(update={"components": [Component(**component)]})
    return [str(problem) for problem in rewards.problems(spec.model_copy(update={"reward": reward}))]


def test_a_library_function_needs_nothing(spec: RunSpec) -> None:
    assert found(spec, function="exact_match") == []


def test_an_own_file_is_read(spec: RunSpec, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def right(completions): return [1.0] * len(completions)\n")
    (said,) = found(spec, function="wrong", file=str(path))
    assert "has no function wrong" in said
    (said,) = found(spec, function="right", file=str(tmp_path / "none.py"))
    assert "No such file" in said


def test_model_written_code_needs_a_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an interpreter of its own: that a sandbox works is remembered in this one."""
    monkeypatch.setenv("PATH", "/nowhere")
    script = "from trainer.preflight import rewards; print(*rewards._sandbox('reward component code'))"
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert "runs code that a model wrote, and there is no sandbox here" in done.stdout


@pytest.mark.parametrize(
    ("url", "problems"),
    [
        ("https://api.example.com/v1", 1),
        ("https://localhost.example.com/v1", 1),
        ("http://127.0.0.1:8000/v1", 0),
        ("http://localhost:8000/v1", 0),
        ("http://192.168.1.5:8000/v1", 0),
        ("http://[::1]:8000/v1", 0),
        ("http://judge:8000/v1", 0),
    ],
)
def test_a_judge_elsewhere_needs_its_key(
    spec: RunSpec, monkeypatch: pytest.MonkeyPatch, url: str, problems: int
) -> None:
    params = {"model": "m", "base_url": url, "prompt": "{completion}", "api_key_env": "JUDGE_KEY"}
    for function in ("llm_judge", "llm_group_judge"):
        monkeypatch.delenv("JUDGE_KEY", raising=False)
        assert len(found(spec, function=function, params=params)) == problems
        monkeypatch.setenv("JUDGE_KEY", "x")
        assert found(spec, function=function, params=params) == []


def test_a_model_in_a_folder_must_be_there(spec: RunSpec, tmp_path: Path) -> None:
    (said,) = found(spec, function="bertscore", params={"encoder": str(tmp_path)})
    assert "no config.json" in said
    (tmp_path / "config.json").write_text("{}")
    assert found(spec, function="bertscore", params={"encoder": str(tmp_path)}) == []
    assert found(spec, function="bertscore", params={"encoder": "builtin/tiny-bert"}) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def right(completions): return [1.0] * len(completions)", None),
        ("raise SystemExit\ndef right(completions): pass", "mine.py:1: SystemExit"),
        ("def right(completions): return 'no'", "reward right: returned str 'no'"),
        ("def right(completions): return [1 / 0 for c in completions]", "fails on the gold answer of row 0"),
    ],
)
def test_an_own_file_is_tried_on_rows_before_a_run_is_made(
    spec: RunSpec, tmp_path: Path, text: str, words: str | None
) -> None:
    path, rows = tmp_path / "mine.py", tmp_path / "rows.jsonl"
    path.write_text(f"{text}\n")
    rows.write_text('{"prompt": "a", "answer": "b"}\n{"prompt": "c", "answer": "d"}\n')
    here = spec.model_copy(update={"data": spec.data.model_copy(update={"path": str(rows)})})
    reward = here.reward.model_copy(update={"components": [Component(function="right", file=str(path))]})
    said = [str(problem) for problem in rewards.tried(here.model_copy(update={"reward": reward}))]
    assert (said == []) if words is None else (words in said[0])
