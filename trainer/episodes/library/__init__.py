"""Environments by name, each a class with the contract of trainer.episodes.contract. No third-party package."""

from __future__ import annotations

from trainer.episodes.library.calculator import Calculator
from trainer.episodes.library.guess import Guess
from trainer.episodes.library.maze import Maze
from trainer.episodes.library.python import Python

ENVIRONMENTS: dict[str, type] = {"guess": Guess, "calculator": Calculator, "maze": Maze, "python": Python}
