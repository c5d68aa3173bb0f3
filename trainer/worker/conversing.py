"""A training on episodes: the environments beside everything else.

Imports torch, transformers and TRL; only the worker imports it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.utils import get_json_schema
from trl.chat_template_utils import add_response_schema, supports_tool_calling

from trainer.engine.interface import Loaded
from trainer.episodes import check
from trainer.episodes.host import Host
from trainer.episodes.own import Recipe
from trainer.episodes.table import Table
from trainer.errors import EngineError, Problem, RewardError
from trainer.evaluate import dialogues
from trainer.run.records import AlertEvent
from trainer.spec import RunSpec
from trainer.spec.reward import ENVIRONMENT
from trainer.worker.training import Training


class Conversing(Training):
    """Training whose completions are episodes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.held_out.converse(self._answer)
        file = self.spec.episode.file
        if file is not None:
            self.manifest["reward_files"][Path(file).name] = hashlib.sha256(Path(file).read_bytes()).hexdigest()

    def _put_together(
        self, trainer_class: type, config_class: type, chosen: dict[str, Any], loaded: Loaded, **arguments: Any
    ) -> Any:
        if not _speaks_tools(loaded.tokenizer):
            raise EngineError(Problem("episodes.no_template", "model.name", name=self.spec.model.name, known=TEMPLATES))
        settings = self.spec.episode
        assert settings.environment is not None
        recipe = Recipe.of(settings.environment, settings.file, settings.url)
        host = Host(recipe, settings.deadline_s, settings.memory_gib)
        self.episodes = Table(host, self.spec.run.seed, factor(self.spec))
        try:
            _refuse_unpaid(self.spec, host)
            return super()._put_together(
                trainer_class, config_class, chosen, loaded, **arguments, episodes=self.episodes
            )
        except BaseException:
            host.close()
            raise

    def check_rewards(self) -> None:
        """The environment too. Raises RewardError."""
        rows = [self.data.train[row] for row in range(min(check.ROWS, len(self.data.train)))]
        _describe(self.trainer.tools, self.episodes.host.recipe.place)
        found = check.trial(self.episodes.host, rows)
        if found.problems:
            raise RewardError(found.problems)
        for said in found.notes:
            self.session.events.emit(AlertEvent.of("warn", "environment", said=said))
        super().check_rewards()

    def _answer(self, rows: list[dict[str, Any]], batch_size: int) -> Any:
        return dialogues.answer(self.trainer, rows, batch_size, self.session.flag)

    @contextmanager
    def watched(self) -> Iterator[None]:
        try:
            with super().watched():
                yield
        finally:
            self.episodes.close()


TEMPLATES = (
    "Qwen2.5, Qwen3, Qwen3.5 and later, Llama 3.1 and 3.2, Gemma 4, GPT-OSS, GLM 4 MoE, Nemotron 3, LFM2.5, "
    "DeepSeek-R1 distills, builtin/tiny-tools"
)
"""Families whose chat templates can write tool calls and what tools answer, and whose calls TRL 1.14.2 can read
(trl/chat_template_utils.py, `add_response_schema`)."""


def _speaks_tools(tokenizer: Any) -> bool:
    if not supports_tool_calling(tokenizer):
        return False
    if any(getattr(tokenizer, f"response_{kind}", None) is not None for kind in ("template", "schema")):
        return True
    try:
        add_response_schema(tokenizer)  # as TRL would when it makes the trainer
    except ValueError:
        return False
    return True


def factor(spec: RunSpec) -> float | None:
    """What the environment's reward counts in the total, where turns are compared."""
    if spec.episode.baseline != "turn":
        return None
    (component,) = [c for c in spec.reward.components if c.function == ENVIRONMENT and c.file is None]
    return component.weight * component.scale / spec.reward.divide_by


def _describe(tools: list[Any], place: str) -> None:
    """Raises RewardError for a tool that a chat template could not describe."""
    for tool in tools:
        try:
            get_json_schema(tool)
        except Exception as error:  # of several kinds, none of which says more than its text
            raise RewardError(Problem("episodes.no_schema", place, tool=tool.__name__, said=str(error))) from error


def _refuse_unpaid(spec: RunSpec, host: Host) -> None:
    """Raises RewardError where a component reads what this environment does not have."""
    if host.described.has_reward:
        return
    if any(leaf.function == ENVIRONMENT and leaf.file is None for leaf in spec.reward.leaves()):
        raise RewardError(Problem("episodes.no_reward", host.recipe.place))
