"""What a training on episodes refuses before its first step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from trl.chat_template_utils import qwen3_chat_template

from trainer import presets
from trainer.engine import builtin
from trainer.episodes.host import Host
from trainer.episodes.own import Recipe
from trainer.errors import EngineError, RewardError
from trainer.worker import conversing
from trainer.worker.conversing import Conversing, factor


def test_a_template_without_tools_is_refused_with_those_that_have_them() -> None:
    self: Any = SimpleNamespace(spec=presets.load("tiny-guess"))
    loaded: Any = SimpleNamespace(tokenizer=builtin.make_tokenizer())
    with pytest.raises(EngineError, match=r"model\.name: the chat template of .* a model that can: Qwen2\.5"):
        Conversing._put_together(self, object, object, {}, loaded)


def test_a_template_whose_calls_nobody_can_read_is_none_with_tools() -> None:
    tokenizer = builtin.make_tokenizer("builtin/tiny-tools")
    assert conversing._speaks_tools(tokenizer)
    tokenizer.response_template = None
    assert not conversing._speaks_tools(tokenizer)
    tokenizer.chat_template = qwen3_chat_template
    assert conversing._speaks_tools(tokenizer) and tokenizer.response_template is not None


def test_a_component_that_reads_an_environment_that_pays_nothing_is_refused() -> None:
    spec = presets.load("tiny-guess", ["episode.environment=calculator"])
    host = Host(Recipe.of("calculator", None), 10.0, 0.0)
    with pytest.raises(RewardError, match="calculator: has no get_reward"):
        conversing._refuse_unpaid(spec, host)
    conversing._refuse_unpaid(presets.load("tiny-tool"), host)
    host.close()


def test_what_a_unit_of_the_environments_reward_counts() -> None:
    assert factor(presets.load("tiny-tool")) is None
    changes = ["reward.components.0.weight=3.0", "reward.components.0.scale=0.5", "reward.divide_by=2.0"]
    assert factor(presets.load("tiny-guess", changes)) == 0.75


def test_a_tool_that_a_chat_template_cannot_describe_is_named() -> None:
    def odd(a: int) -> str:
        return ""

    with pytest.raises(RewardError, match="cannot describe the tool odd"):
        conversing._describe([odd], "own.py: Odd")
