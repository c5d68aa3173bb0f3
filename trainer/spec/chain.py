"""A run that is one of several stages: what comes after it. Written by trainer.presets.stages, from `[[stage]]`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from trainer.spec.section import Section


class Following(Section):
    """A stage that comes later."""

    name: str
    """Of the stage; its run is called NAME.2-this."""
    start: Literal["best", "last"] = "best"
    """Which checkpoint of the stage before it starts from; without evaluations the last."""
    settings: dict[str, Any]
    """All of its settings, as in a spec.json of its own."""


class Chain(Section):
    """The place of a run among its stages."""

    name: str
    """Of this stage."""
    number: Annotated[int, Field(ge=1)] = 1
    """From 1."""
    count: Annotated[int, Field(ge=1)] = 1
    """Stages in all."""
    following: list[Following] = Field(default_factory=list)
    """Those after this one."""
    earlier: list[str] = Field(default_factory=list)
    """Names of those before it."""
    policy: int | None = None
    """Number of the newest up to this one that trains a policy; None where all train reward models."""
