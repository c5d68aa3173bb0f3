"""trainer.machine.environment: what a run ran on."""

from pathlib import Path

import pytest

from trainer.machine import environment


def test_a_limit_of_the_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(environment, "CONTAINER_LIMITS", (limit, tmp_path / "none"))
    whole = environment.ram_gib()
    for text, wanted in (("max\n", whole), (f"{2**29}\n", 0.5), (f"{2**63 - 4096}\n", whole)):
        limit.write_text(text)
        assert environment.ram_gib() == wanted
