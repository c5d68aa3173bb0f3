"""Reward functions by name, each usable from TOML with parameters.

Every entry of REWARDS is a factory: its keyword arguments are the `params` of the component. What it makes is called
as TRL calls a reward function, with lists of B entries, one a completion, and returns (B,) values. Importing it imports
nothing heavy; a function that needs more brings it at its first call.
"""

from __future__ import annotations

from trainer.rewards.contract import Factory
from trainer.rewards.library.bertscore import bertscore
from trainer.rewards.library.code import code
from trainer.rewards.library.environment import environment
from trainer.rewards.library.group_judge import llm_group_judge
from trainer.rewards.library.judge import llm_judge
from trainer.rewards.library.match import exact_match, position_match
from trainer.rewards.library.math_answer import math_answer
from trainer.rewards.library.overlap import rouge1
from trainer.rewards.library.reward_model import process_reward_model, reward_model
from trainer.rewards.library.shape import format_regex, length_penalty, overlong, repetition
from trainer.rewards.library.task import task

REWARDS: dict[str, Factory] = {
    "exact_match": exact_match,
    "position_match": position_match,
    "format_regex": format_regex,
    "rouge1": rouge1,
    "bertscore": bertscore,
    "reward_model": reward_model,
    "process_reward_model": process_reward_model,
    "llm_judge": llm_judge,
    "llm_group_judge": llm_group_judge,
    "math": math_answer,
    "length_penalty": length_penalty,
    "overlong": overlong,
    "repetition": repetition,
    "code": code,
    "task": task,
    "environment": environment,
}

RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("exact_match", "position_match", "math", "rouge1"), (0.0, 1.0)),
    **dict.fromkeys(("format_regex", "code", "llm_judge", "llm_group_judge", "task"), (0.0, 1.0)),
    "bertscore": (-1.0, 1.0),
    **dict.fromkeys(("length_penalty", "overlong", "repetition"), (-1.0, 0.0)),
}
"""Lowest and highest value of those that have one, before scale, clip and weight."""
