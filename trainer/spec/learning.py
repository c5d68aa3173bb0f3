"""The section `reward.learning`: a reward model that goes on learning while the policy trains."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trainer.spec.section import Section


class Learning(Section):
    """A reward model that goes on learning from the policy's completions, compared by a rule, in rounds (iterative
    GRPO; DeepSeekMath, section 4.1.4)."""

    component: str
    """Name of the `reward_model` component that learns."""
    rule: str
    """Name of the component whose values say which of two completions is better; its weight may be 0."""
    every_steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps between two rounds; raised to the next whole rollout phase. Empty takes grpo.ref_update_steps."""
    replay: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    """Share of the comparisons of a round that come from earlier rounds; 0 replays none."""
    reservoir: Annotated[int, Field(ge=1, le=10**6)] = 4096
    """Comparisons of earlier rounds that are kept, each of all there were equally likely."""
    pairs_per_prompt: Annotated[int, Field(ge=1, le=512)] = 1
    """Comparisons of a group: best with worst, second best with second worst, and so on."""
    max_pairs: Annotated[int, Field(ge=1, le=10**6)] = 4096
    """New comparisons a round at most; of more the newest count."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-5
    """Learning rate of its AdamW, constant."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    """Comparisons in one update; both completions of each are in the same forward pass."""
    epochs: Annotated[int, Field(ge=1, le=100)] = 1
    """Passes over the comparisons of a round."""
