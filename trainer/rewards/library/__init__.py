"""Reward functions by name, each usable from TOML with parameters.

Every entry of REWARDS is a factory: its keyword arguments are the `params` of the component. Importing it imports
nothing heavy; a function that needs more brings it at its first call.
"""

from __future__ import annotations

from trainer.rewards.contract import Factory
from trainer.rewards.library.form import format_regex
from trainer.rewards.library.match import exact_match, position_match

REWARDS: dict[str, Factory] = {
    "exact_match": exact_match,
    "position_match": position_match,
    "format_regex": format_regex,
}
