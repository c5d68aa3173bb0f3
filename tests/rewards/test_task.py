"""The reward `task` in the processes that rewards run in: what takes long is there before the first row."""

from __future__ import annotations

import json

import pytest

from trainer.errors import RewardError
from trainer.rewards.calls import Call
from trainer.rewards.pool import Pool
from trainer.spec import Component
from trainer.tasks import verifier

ENTRY = json.dumps({"task": "chain_sum", "params": {}, "question": "4 + 3 =", "answer": "7", "metadata": {}})


def test_the_first_rows_do_not_wait_for_the_import() -> None:
    pool = Pool([Component(function="task", params={"extract": "= *(.+)"})], deadline_s=60.0, size=1)
    try:
        call = Call("task", 3, {"completions": ["4 + 3 = 7", "4 + 3 = 8", "seven"], "entry": [ENTRY] * 3})
        answer = pool.run([call])["task"]
    finally:
        pool.close()
    assert answer.values == [1.0, 0.0, 0.0]
    assert answer.seconds < 0.5  # the import alone takes longer


def test_without_the_package_the_reward_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("trainer.tasks.verifier.importlib.import_module", missing)
    with pytest.raises(RewardError, match=r"pip install -c constraints\.txt reasoning-gym=="):
        verifier.package()
