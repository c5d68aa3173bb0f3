"""Environments by name, each a class with the contract of trainer.episodes.contract. No third-party package."""

from __future__ import annotations

from trainer.episodes.library.calculator import Calculator
from trainer.episodes.library.guess import Guess

ENVIRONMENTS: dict[str, type] = {"guess": Guess, "calculator": Calculator}
