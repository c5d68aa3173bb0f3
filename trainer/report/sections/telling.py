"""What every section is told from: Material, findings, the words of one language."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from trainer import text
from trainer.report.document import Said, Sayings
from trainer.report.finding import Finding
from trainer.report.material import Material
from trainer.spec import Method
from trainer.text import Words


def words(language: str) -> Words:
    """The report's words in a language."""
    return text.words(language).under("report")


def meaning(signal: str, method: Method, say: Words, **bounds: Any) -> str:
    """What a signal means in a run of this method. say: the report's words."""
    own = f"signal.{signal}.means_{method}"
    return say(own if own in say else f"signal.{signal}.means", **bounds)


@dataclass(frozen=True)
class Telling:
    """What every section needs. step: the one to show up close; None chooses."""

    m: Material
    findings: list[Finding]
    say: Words
    step: int | None = None
    now: float = field(default_factory=time.time)

    @property
    def words(self) -> Words:
        """Those of the whole project, in the report's language."""
        return text.words(self.say.language)

    def of(self, *signals: str) -> list[Finding]:
        """Findings about these signals, in the order of the rules."""
        return [finding for finding in self.findings if finding.signal in signals]

    def sentence(self, finding: Finding) -> str:
        return self.say(f"finding.{finding.signal}.{finding.key}", **finding.values)

    def said(self, finding: Finding) -> Said:
        name = self.say(f"signal.{finding.signal}.name")
        return Said(finding.level, self.say(f"level.{finding.level}"), name, self.sentence(finding))

    def sayings(self, *signals: str) -> list[Sayings]:
        """One block with what was found about these signals; [] when nothing was. What was not recorded is named once,
        at the end, and not at every place where it is missing."""
        found = [self.said(finding) for finding in self.of(*signals) if finding.level != "unknown"]
        return [Sayings(found)] if found else []
