"""Rules of `reward.learning`."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.errors import Problem
from trainer.presets.explain import nearest, shown
from trainer.presets.rules.registry import rule
from trainer.spec import Component, RunSpec


def _is_model(leaf: Component) -> bool:
    return leaf.file is None and leaf.function == "reward_model"


@rule("reward.learning", "reward.components")
def _a_reward_model_learns(spec: RunSpec) -> Iterator[Problem]:
    learning = spec.reward.learning
    if learning is None:
        return
    place, seen = "reward.learning.component", shown(learning.component)
    leaf, models = spec.reward.learner, [one.title for one in spec.reward.leaves() if _is_model(one)]
    if not models:
        yield Problem("presets.nothing_learns", place, seen=seen)
    elif leaf is None or not _is_model(leaf):
        key = "presets.learner_unknown" if leaf is None else "presets.learner_is_no_model"
        function = None if leaf is None else leaf.function
        yield Problem(key, place, seen=seen, function=function, names=", ".join(models), near=shown(models[0]))
    elif leaf.params.get("activation") == "softmax":
        yield Problem("presets.learner_of_several_labels", place, name=learning.component)


@rule("reward.learning", "reward.components")
def _another_component_compares(spec: RunSpec) -> Iterator[Problem]:
    learning = spec.reward.learning
    if learning is None:
        return
    names = [leaf.title for leaf in spec.reward.leaves() if leaf.title != learning.component]
    if learning.rule not in names:
        key = "learner_is_its_own_rule" if learning.rule == learning.component else "learner_without_rule"
        values = {"seen": shown(learning.rule), "names": ", ".join(names)}
        close = (nearest(learning.rule, names) or names)[:1]
        near = shown(close[0]) if close else "NAME"
        yield Problem(f"presets.{key}", "reward.learning.rule", **values, near=near)


@rule("reward.learning", "grpo.ref_update_steps")
def _its_rounds_have_a_length(spec: RunSpec) -> Iterator[Problem]:
    learning = spec.reward.learning
    if learning is not None and learning.every_steps is None and spec.grpo.ref_update_steps is None:
        yield Problem("presets.learner_without_rounds", "reward.learning.every_steps")


@rule("reward.learning", "reward.supervision", "model.engine")
def _it_learns_from_whole_completions_without_unsloth(spec: RunSpec) -> Iterator[Problem]:
    """Comparisons are of whole completions. Unsloth patches the classes of models that a classifier may be of as well,
    and nobody has tried what that does to its gradient."""
    if spec.reward.learning is None:
        return
    if spec.reward.supervision == "process":
        yield Problem("presets.learner_of_steps", "reward.supervision")
    if spec.model.engine == "unsloth":
        yield Problem("presets.learner_under_unsloth", "model.engine")
