"""{signal: the thresholds its rule names}: what a text says about a rule is what the rule does."""

from __future__ import annotations

from typing import Any

from trainer.report import series
from trainer.report.rules import gaming, generation, groups, learner, length, memory, policy, reward, sampling, time
from trainer.run.rollouts import SAME_TEXT
from trainer.sampling import skipping
from trainer.spec import Method
from trainer.spec.methods import SUPERVISED

_AWAY = {"sigmas": series.SIGMAS, "part": series.SHARE_OF_RANGE, "window": series.WINDOW}

BOUNDS: dict[str, dict[str, Any]] = {
    "dead_groups": {"amber": groups.AMBER, "red": groups.RED},
    "zero_loss": {"red": groups.RED, "amber": groups.ZERO_AMBER},
    "dynamic_sampling": {"part": sampling.COSTLY, "left": sampling.LEFT, "least": sampling.LEAST},
    "replay": {"part": sampling.STALE},
    "skip_dead": {"few": skipping.FEW},
    "same_texts": {"same": SAME_TEXT, "wrong": groups.MAINLY},
    "gamed_component": {},
    "only_form": {"never": gaming.NEVER_RIGHT, "part": gaming.FORM_SHARE, "least": gaming.LEAST_STEPS},
    "reward_trend": {"sigmas": series.TREND_SIGMAS, "few": series.FEW},
    "reward_plateau": {"part": reward.PLATEAU},
    "reward_dips": _AWAY,
    "dip_period": {"least": series.LEAST_RETURNS, "spread": series.MOST_SPREAD},
    "reward_spikes": _AWAY,
    "components": {"part": reward.DOMINATES},
    "reward_errors": {"red": reward.FAILED_RED},
    "reward_model": {"chance": learner.CHANCE, "least": learner.LEAST},
    "evaluation": {},
    "over_optimised": {},
    "loss_trend": {"sigmas": series.TREND_SIGMAS, "few": series.FEW},
    "overfitting": {},
    "kl": {"amber": policy.KL_AMBER, "red": policy.KL_RED},
    "entropy": {"low": policy.ENTROPY_LOW, "part": policy.ENTROPY_FELL},
    "clip_ratio": {"amber": policy.CLIP_AMBER, "red": policy.CLIP_RED},
    "grad_norm": {"factor": policy.SPIKE},
    "length": {"grew": length.GREW, "shrank": length.SHRANK},
    "truncation": {"amber": length.CUT_AMBER, "red": length.CUT_RED},
    "time_share": {"part": time.REWARDS_AMBER},
    "slow_steps": {"factor": time.SLOW},
    "generation_floor": {"amber": generation.AMBER, "red": generation.RED},
    "lost_cache": {"power": generation.GROWS},
    "memory_creep": {"part": memory.GREW},
}

OF_EXAMPLES = ("loss_trend", "evaluation", "overfitting", "grad_norm", "time_share", "slow_steps", "memory_creep")
"""Signals of supervised training: nothing is written while it trains, and nothing is paid."""
_OWN = ("loss_trend", "overfitting")
_OF_A_BASELINE = ("zero_loss", "kl")
"""What online RFT does not have: its coefficients do not add up to 0, and there is no reference."""


def signals_of(method: Method) -> tuple[str, ...]:
    """Those that mean something in a run of this method."""
    if method in SUPERVISED:
        return OF_EXAMPLES
    left_out = (*_OWN, *_OF_A_BASELINE) if method == "online_rft" else _OWN
    return tuple(signal for signal in BOUNDS if signal not in left_out)
