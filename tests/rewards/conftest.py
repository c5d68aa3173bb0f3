"""A judge that is asked over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.judge_server import KEY, Endpoint, serving


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.setattr("trainer.rewards.library.endpoint.FIRST_PAUSE_S", 0.02)
    with serving() as server:
        yield server
