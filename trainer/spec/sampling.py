"""The section `sampling`: which prompts come next, and how many completions each gets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainer.spec.section import Section


class Sampling(Section):
    """Which prompts come next, and how many completions each gets. As it stands: all rows, one group of the same size
    each, again and again."""

    curriculum: Literal["off", "column", "pass_rate"] = "off"
    """Easy rows first: `column` orders them by `difficulty`, `pass_rate` by how often the model is right."""
    difficulty: str = "difficulty"
    """Column that says how hard a row is: numbers, low is easy; or texts, which `difficulty_order` names. Where it is
    there, `group_size = "spread"` expects rows that are equally hard to be alike."""
    difficulty_order: list[str] = Field(default_factory=list)
    """The texts of the column `difficulty`, easy to hard."""
    levels: Annotated[int, Field(ge=2, le=100)] = 4
    """Levels that the rows are divided into, of about the same size; a column of fewer values has as many as those."""
    measure: Annotated[int, Field(ge=0, le=64)] = 4
    """Completions a row with `pass_rate`, written before training to measure it; 0 learns it while training: levels
    from the second pass over the rows on."""
    pace: Literal["success", "steps"] = "success"
    """When the next level comes: where the running pass rate of this one has passed `pass_bound`, or with the steps."""
    pass_bound: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """Share of right completions at which the next level comes; with `pace = "success"`."""
    level_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps of each level with `pace = "steps"`; empty: all levels have come after half of the steps."""
    mix: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the prompts that is drawn from earlier levels."""
    max_rounds: Annotated[int, Field(ge=1, le=100)] = 1
    """Dynamic sampling (DAPO): groups without spread are replaced by further prompts, until none is left or so many
    rounds were written. 1 keeps every group."""
    replay: Annotated[int, Field(ge=0, le=65536)] = 0
    """Groups with spread that are remembered, to come again, once, in place of groups without. 0 remembers none."""
    replay_steps: Annotated[int, Field(ge=1)] = 8
    """With `replay`: optimizer steps after which a group is forgotten."""
    skip_dead: bool = False
    """Prompts whose groups had no spread are left out more and more often, and tried again now and then (GRESO)."""
    explore: Annotated[float, Field(gt=0, le=1)] = 0.5
    """With `skip_dead`: probability with which such a prompt is tried after one group without spread, its square after
    two, and so on. It moves until one group in four has no spread."""
    group_size: Literal["fixed", "spread", "threshold"] = "fixed"
    """Completions a prompt, `num_generations` on average: all the same; more where rewards are expected to differ;
    or one more after a group whose spread was above `spread_threshold`, one fewer after another."""
    min_generations: Annotated[int, Field(ge=2, le=1024)] = 2
    """Completions that a prompt gets at least."""
    max_generations: Annotated[int, Field(ge=2, le=1024)] | None = None
    """Completions that a prompt gets at most; empty is twice `num_generations`."""
    spread_threshold: Annotated[float, Field(gt=0)] = 0.1
    """Standard deviation of a group's rewards, with `group_size = "threshold"`."""
    weigh: Literal["prompts", "completions"] = "prompts"
    """With groups of several sizes: every prompt counts the same, as with one size, or every completion does."""

    @property
    def is_on(self) -> bool:
        """Anything but all rows in their turn, one group of the same size each."""
        chooses = self.curriculum != "off" or self.skip_dead or self.group_size != "fixed"
        return chooses or self.max_rounds > 1 or self.replay > 0

    @property
    def measures(self) -> bool:
        """Pass rates are measured before training."""
        return self.curriculum == "pass_rate" and self.measure > 0

    def most(self, group: int) -> int:
        """Completions that a prompt gets at most. group: num_generations."""
        return group if self.group_size == "fixed" else self.max_generations or 2 * group
