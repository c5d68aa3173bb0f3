"""The section `run`, and those of the methods beside GRPO: what their examples are, and their objective."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from trainer.spec.section import Section

Method = Literal["grpo", "online_rft", "sft", "rft", "dpo", "reward_model"]
METHODS: tuple[Method, ...] = get_args(Method)
SUPERVISED: tuple[Method, ...] = ("sft", "rft", "dpo", "reward_model")
"""They learn from examples that are there before the first step; the others from what the policy writes meanwhile."""
SAMPLING: tuple[Method, ...] = ("rft", "dpo", "reward_model")
"""Of these, those whose examples the model itself writes before training."""


class Run(Section):
    """The run itself."""

    method: Method = "grpo"
    """How it learns: `grpo`; `online_rft`, which reinforces every right completion; `sft` on gold answers; `rft` on its
    own right completions; `dpo` on pairs of its own completions; `reward_model`, which makes a judge of it.
    docs/methods.md."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of sampling, data order and adapters."""
    memory_probe: bool = True
    """Before step 1, run the longest prompt at full completion length once and report the peak memory."""
    fast: Literal["auto", "off"] = "auto"
    """`auto` reads each prompt once for all its completions, drops rows that have ended and spends nothing on groups
    that teach nothing, with the same gradient; `off` works as TRL does. docs/fast.md."""


class Sft(Section):
    """With `run.method = "sft"`: supervised fine-tuning on the gold answers of the rows."""

    completion_template: str | None = None
    """What the model should write for a row; `{column}` is replaced. Empty takes `reward.gold_template`."""


class Rft(Section):
    """With `run.method = "rft"`: before training the model writes `num_generations` completions a row, and is then
    trained on those that are right (rejection sampling)."""

    per_prompt: Annotated[int, Field(ge=1, le=1024)] = 4
    """Right completions of a row that are kept at most; equal texts count once."""


class Dpo(Section):
    """With `run.method = "dpo"`: before training the model writes `num_generations` completions a row, and is then
    trained to prefer those with the higher reward (direct preference optimisation)."""

    beta: Annotated[float, Field(gt=0, le=100)] = 0.1
    """How strongly the policy is held to the model it started from: low lets it go far."""
    loss_type: Literal["sigmoid", "hinge", "ipo"] = "sigmoid"
    """`sigmoid` is the loss of the DPO paper."""
    per_prompt: Annotated[int, Field(ge=1, le=512)] = 1
    """Pairs of a row: best with worst, second best with second worst, and so on."""
    min_difference: Annotated[float, Field(ge=0)] = 0.0
    """A pair whose rewards differ by no more than this is left out."""


class RewardModel(Section):
    """With `run.method = "reward_model"`: before training the model writes `num_generations` completions a row; then a
    model of it with a head for one number learns what the rewards said of them."""

    objective: Literal["pairwise", "pointwise"] = "pairwise"
    """`pairwise` learns which of two completions earned more; `pointwise` learns the reward itself."""
    per_prompt: Annotated[int, Field(ge=1, le=512)] = 4
    """Pairs of a row, as of `dpo.per_prompt`; with `pointwise` every judged completion is an example."""
    min_difference: Annotated[float, Field(ge=0)] = 0.0
    """A pair whose rewards differ by no more than this is left out, of the held-out ones as well."""
