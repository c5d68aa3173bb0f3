"""The section `episode`: completions of several turns, played with an environment, or of two levels, plans and ways on
from each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.spec.section import Section

REMOTE = "openenv"
"""The name of the environment that is a server elsewhere."""


class Episode(Section):
    """Completions of several turns: the model calls tools, an environment answers. Or of two levels: plans, and several
    ways to carry out each. As it stands: none, one completion a prompt. docs/episodes.md."""

    environment: str | None = None
    """Name in the library of environments; with `file` the name of a class in that file. Empty: no episodes."""
    file: str | None = None
    """Your own Python file. Contract as TRL's `environment_factory`: `reset`, methods as tools, `get_reward`."""
    url: str | None = None
    """Address of the OpenEnv server that `environment = "openenv"` plays with, `http://localhost:8000`."""
    max_tool_calling_iterations: Annotated[int, Field(ge=1, le=1000)] = 8
    """Turns whose tool calls are answered at most; the completion length bounds them too."""
    baseline: Literal["dialogue", "turn"] = "dialogue"
    """`dialogue`: one advantage for all turns of a completion. `turn`: rewards are compared turn by turn, and a turn
    has the credit for itself and those after it."""
    deadline_s: Annotated[float, Field(gt=0)] = 10.0
    """Seconds that one call of an environment may take; one that takes longer loses its row."""
    memory_gib: Annotated[float, Field(ge=0)] = 4.0
    """Memory that the process of the environments may take, for all episodes together, in GiB; 0 is no bound."""
    plans: Annotated[int, Field(ge=2, le=1024)] | None = None
    """m, plans for a prompt; with `implementations`. Empty: completions of one level. Plans are compared by the mean
    reward of their implementations, and implementations with those of the same plan."""
    implementations: Annotated[int, Field(ge=2, le=1024)] | None = None
    """n, implementations of a plan; generation.num_generations is m times n."""
    max_plan_length: Annotated[int, Field(ge=1)] = 64
    """Tokens of a plan at most; one that has come to no end by then goes on from there in n ways."""
    plan_end: Annotated[str, Field(min_length=1, max_length=100)] = "</plan>"
    """The text that ends a plan; the token that completes it is the plan's last."""

    @property
    def has_plans(self) -> bool:
        """Completions have two levels."""
        return self.plans is not None and self.implementations is not None

    @property
    def is_on(self) -> bool:
        """Completions are episodes."""
        return self.environment is not None

    @property
    def is_remote(self) -> bool:
        """They are played on an OpenEnv server."""
        return self.environment == REMOTE and self.file is None
