"""What a rule finds: a level, numbers as evidence, advice that names a setting and a value. No words, no formatting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["red", "amber", "green", "note", "unknown", "na"]
"""red: it fails or learns nothing. amber: look at it. green: as it should be. note: a fact, neither good nor bad.
unknown: this run did not record it. na: it cannot be anything else with these settings."""
WORST_FIRST: tuple[Level, ...] = ("red", "amber", "note", "green", "unknown", "na")


@dataclass(frozen=True)
class Advice:
    """What to change. key: of its sentence, `advice.<key>`. setting and value: as one types them after --set; the value
    is None where only the person knows it (which file, which reward), and the sentence says what it has to be.
    also: settings that have to change with it, so that the run stays legal. command: is typed instead of settings."""

    key: str
    setting: str
    value: Any
    values: Mapping[str, Any] = field(default_factory=dict)
    also: tuple[tuple[str, Any], ...] = ()
    command: str = ""

    @property
    def typed(self) -> str:
        """`--set grpo.beta=0.04`: what a new run is started with; only the setting's name without a value."""
        return self.command or " ".join(f"--set {change}" for change in self.changes) or self.setting

    @property
    def changes(self) -> list[str]:
        """`grpo.beta=0.04`, one for each setting; [] without a value."""
        if self.value is None:
            return []
        return [f"{name}={_shown(value)}" for name, value in ((self.setting, self.value), *self.also)]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Finding:
    """One sentence about one signal. key: of the sentence, `finding.<signal>.<key>`; values: the numbers in it, as
    measured; steps: where it was seen."""

    signal: str
    level: Level
    key: str
    values: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[int, ...] = ()
    advice: tuple[Advice, ...] = ()
