"""What the plan says of episodes: who answers the tool calls, how often, what is compared, and what is not counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainer.spec import RunSpec
from trainer.text import Message


def of(spec: RunSpec) -> list[Message]:
    """A sentence each; empty without episodes."""
    return list(_said(spec)) if spec.episode.is_on else []


def _said(spec: RunSpec) -> Iterator[Message]:
    episode = spec.episode
    if episode.is_remote:
        yield Message("plan.episodes.server", url=episode.url)
    elif episode.file is not None:
        yield Message("plan.episodes.own", name=episode.environment, file=Path(episode.file).name)
    else:
        yield Message("plan.episodes.library", name=episode.environment)
    turns, tokens = episode.max_tool_calling_iterations, spec.generation.max_completion_length
    yield Message("plan.episodes.turns_one" if turns == 1 else "plan.episodes.turns", turns=turns, tokens=tokens)
    yield Message("plan.episodes.by_turn" if episode.baseline == "turn" else "plan.episodes.by_dialogue")
    yield Message("plan.episodes.deadline", seconds=f"{episode.deadline_s:g}")
    yield Message("plan.episodes.not_counted", tokens=spec.data.max_prompt_length)
