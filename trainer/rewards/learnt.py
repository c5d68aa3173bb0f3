"""The rewards of a spec with another model behind the component that learns. Torch-free."""

from __future__ import annotations

from pathlib import Path

from trainer.memory.embedded import BUILTIN
from trainer.spec import Component, Reward


def starts_built_in(reward: Reward) -> bool:
    """Its reward model is a built-in one: it has to be made before anything can be judged."""
    learner = reward.learner
    return learner is not None and str(learner.params.get("model", "")).startswith(BUILTIN)


def from_folder(reward: Reward, folder: Path) -> Reward:
    """The component that learns judges with the classifier in that folder."""
    return reward.model_copy(update={"components": [_placed(part, reward, folder) for part in reward.components]})


def _placed(part: Component, reward: Reward, folder: Path) -> Component:
    if part.components:
        return part.model_copy(update={"components": [_placed(inner, reward, folder) for inner in part.components]})
    if part is not reward.learner:
        return part
    params = {key: value for key, value in part.params.items() if key != "revision"}
    return part.model_copy(update={"params": params | {"model": str(folder)}})
