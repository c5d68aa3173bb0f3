"""The section `reward`: the functions that judge a completion, and how their values are added up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from trainer.spec.conditions import Condition, conditions
from trainer.spec.learning import Learning
from trainer.spec.section import Section

SUM = "sum"
"""Not a function: a component that adds up components."""
JUDGES = ("reward_model", "process_reward_model")
"""Functions of the library that read a trained reward model, params.model."""
GROUP_JUDGE = "llm_group_judge"
"""The function that compares the completions of a group with one another."""
ASKED = ("llm_judge", GROUP_JUDGE)
"""Functions of the library that ask a language model on a server."""
ENVIRONMENT = "environment"
"""The function that reads what the environment of an episode pays."""


class Component(Section):
    """One reward function with its weight, or a sum of such components.

    What it does with a function's values, in this order: scale, clip, only_if, clip_percentiles, normalise, weight.
    """

    function: str
    """Name in the reward library; with `file` the name of a function in that file; `sum` adds up `components`."""
    file: str | None = None
    """Your own Python file. Contract as in TRL: fn(prompts, completions, **columns) -> one number a completion."""
    components: list[Component] = Field(default_factory=list)
    """What a `sum` adds up: each scaled, clipped and weighted as here."""
    name: str | None = None
    """Name in metrics and rollouts; empty takes the function's."""
    weight: Annotated[float, Field(ge=-1000, le=1000)] = 1.0
    """The component's value is multiplied by it."""
    clip: Annotated[tuple[float, float], Field(strict=False)] | None = None
    """Lowest and highest value."""
    clip_percentiles: Annotated[tuple[float, float], Field(strict=False)] | None = None
    """Values beyond these percentiles (0 to 100) of the batch are pulled in to them; only while training."""
    normalise: bool = False
    """Subtract the batch's mean, divide by its standard deviation; only while training."""
    scale: Annotated[float, Field(ge=-1000, le=1000)] = 1.0
    """Factor on the raw value."""
    only_if: str | None = None
    """Paid only where another component earned something (its name) or reached a bound (`rouge1 >= 0.5`); else it
    counts 0. Several are joined by `and`."""
    per_step: bool = False
    """Call the function for every step of a completion instead of the whole; reward.supervision = "process"."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the function."""

    @property
    def title(self) -> str:
        """What it is called in metrics and rollouts."""
        return self.name or self.function

    def formula(self) -> str:
        """What it adds to the sum, in words: `3 x rouge1`, `0.5 x (format + 3 x rouge1)`, `format [only_if right]`."""
        inside = f"({_added(self.components)})" if self.components else self.title
        factor = self.weight * self.scale
        paid = "" if self.only_if is None else f" [only_if {self.only_if}]"
        return (inside if factor == 1 else f"{factor:g} x {inside}") + paid

    def conditions(self) -> list[Condition]:
        """What must hold for it to be paid; [] when it always is."""
        return [] if self.only_if is None else conditions(self.only_if)

    def leaves(self) -> list[Component]:
        """The reward functions in it, in order: itself, or those of a sum."""
        return [leaf for part in self.components for leaf in part.leaves()] if self.components else [self]


class Reward(Section):
    """The reward of a completion: the weighted sum of its components."""

    components: Annotated[list[Component], Field(min_length=1)]
    """Each value is scaled, clipped, weighted and summed."""
    divide_by: Annotated[float, Field(gt=0)] = 1.0
    """The sum is divided by it."""
    correct: str | None = None
    """The component that tells right from wrong; empty takes the first."""
    correct_at: float = 1.0
    """A completion is right when that component reaches this value (before the weight)."""
    gold_template: str = "{answer}"
    """What a perfect completion to a row looks like; for the check before training and for trying the rewards."""
    on_error: Literal["fail", "none", "zero"] = "none"
    """A row whose reward function failed or hung: the run fails, the row has no reward, or its reward is 0."""
    deadline_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds a batch of rewards may take. After half of them rows are tried one by one, to find the one that hangs."""
    workers: Annotated[int, Field(ge=1, le=64)] | None = None
    """Processes rewards run in; empty is one a core, at most four."""
    supervision: Literal["outcome", "process"] = "outcome"
    """One reward a completion, or one for each of its steps (DeepSeekMath, section 4.1.3)."""
    step_split: str = "line"
    """Where a step ends: `line`, `step` (before "Step 2:") or a regular expression that matches a step's end."""
    learning: Learning | None = None
    """A reward model that goes on learning while the policy trains. docs/methods.md."""

    def formula(self) -> str:
        """The total in words: `(bertscore + exact_match + 0.5 x (format + 3 x rouge1)) / 3`."""
        text = _added(self.components)
        return text if self.divide_by == 1 else f"({text}) / {self.divide_by:g}"

    def leaves(self) -> list[Component]:
        """Every reward function in order, those inside sums too."""
        return [leaf for component in self.components for leaf in component.leaves()]

    @property
    def learner(self) -> Component | None:
        """The component that `learning` names."""
        named = self.learning.component if self.learning is not None else None
        return next((leaf for leaf in self.leaves() if leaf.title == named), None)

    def placed(self) -> Iterator[tuple[str, Component]]:
        """(key, component) of every component, those inside sums too."""
        return _placed(self.components, "reward.components")

    def judges(self) -> list[tuple[str, str]]:
        """(key, name) of the trained reward models that components name."""
        return [
            (f"{key}.params.model", str(part.params.get("model", "")))
            for key, part in self.placed()
            if part.file is None and part.function in JUDGES
        ]

    def with_judges(self, names: Mapping[str, str]) -> Reward:
        """The same with other names for some of these."""
        if not names:
            return self
        return Reward.model_validate_json(json.dumps(_renamed(self.model_dump(mode="json"), names)))


def _placed(components: Sequence[Component], prefix: str) -> Iterator[tuple[str, Component]]:
    for place, component in enumerate(components):
        yield f"{prefix}.{place}", component
        yield from _placed(component.components, f"{prefix}.{place}.components")


def _renamed(table: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    for part in table["components"]:
        _renamed(part, names)
        if part["file"] is None and part["function"] in JUDGES and part["params"].get("model") in names:
            part["params"]["model"] = names[part["params"]["model"]]
    return table


def _added(components: Sequence[Component]) -> str:
    return " + ".join(component.formula() for component in components)
