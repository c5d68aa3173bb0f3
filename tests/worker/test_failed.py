"""What a run that failed says of the error, on the page and in its report, holds no secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from trainer.run.rundir import RunDir
from trainer.worker import __main__ as worker


def test_the_error_of_a_library_is_told_without_what_is_secret(
    make_run: Callable[..., RunDir], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker, "ENVIRONMENT", {"GITHUB_PAT": "canary-of-a-name", "NETRC": "/none"})
    told: list[Any] = []
    session: Any = SimpleNamespace(rundir=make_run(), events=SimpleNamespace(emit=told.append))
    error = ConnectionError("https://me:canary-of-a-url@hub/x?api_key=canary-of-a-query refused canary-of-a-name")
    worker._emit_failed(session, error, [worker._problem(error)], 1)
    written = json.dumps(msgspec.to_builtins(told[0])) + capsys.readouterr().err
    assert "https://[secret]@hub/x?api_key=[secret] refused [secret]" in written
    assert "canary" not in written
