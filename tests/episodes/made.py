"""Environments that are written into files, and the host that runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.episodes.host import Asked, Host
from trainer.episodes.own import Recipe

GOOD = '''
import os, random, time


class Steps:
    """Counts."""

    def reset(self, seed, start=0, **row):
        self.at, self.draw = start, random.Random(seed)
        return f" from {start}" if start else None

    def step(self, by: int = 1) -> str:
        """Go on.

        Args:
            by: How far.
        """
        if by > 100:
            raise ValueError("too far")
        self.at += by
        return f"{self.at} {self.draw.randint(0, 999)} {random.random():.6f}"

    def bad(self, how: str) -> str:
        """Misbehave.

        Args:
            how: Which way.
        """
        if how == "hang":
            while True:
                time.sleep(1)
        if how == "exit":
            os._exit(3)
        if how == "grow":
            kept = []
            while True:
                kept.append(bytearray(2**26))
        return {"none": None, "object": object(), "long": "x" * 30_000, "table": {"a": [1]}, "flag": True}.get(how, how)

    def get_reward(self):
        if self.at == 13:
            return float("nan")
        if self.at == 14:
            raise RuntimeError("no luck")
        if self.at == 15:
            return "much"
        return self.at / 10
'''


def written(folder: Path, source: str = GOOD, name: str = "own.py") -> str:
    path = folder / name
    path.write_text(source, encoding="utf-8")
    return str(path)


def host_of(folder: Path, name: str = "Steps", source: str = GOOD, **options: Any) -> Host:
    settings: dict[str, Any] = {"deadline_s": 20.0, "memory_gib": 0.0} | options
    return Host(Recipe.of(name, written(folder, source)), **settings)


def asked(method: str, drawn: str = "1/1", /, **arguments: Any) -> Asked:
    return Asked(drawn, method, arguments)
