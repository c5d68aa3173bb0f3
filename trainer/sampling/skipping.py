"""Prompts whose groups had no spread are left out more and more often, and tried again now and then.

GRESO (arXiv 2506.02177, section 4): a prompt whose last z groups had no spread is skipped with the probability
1 - e^z. e is kept apart for prompts that were all right and all wrong, and moves by 0.01 towards the share of such
groups that is aimed at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trainer.sampling.history import Past, Seen

AIM_EASY, AIM_HARD = 1 / 12, 1 / 6
"""Shares of the groups that may have no spread: one in four together, and twice as many hard ones (the paper's)."""
STEP = 0.01
LEAST, MOST = 0.1, 1.0
"""Bounds of e. The lower one is ours: without it the few prompts that are left come over and over, and are learnt by
heart (docs/sampling.md)."""


FEW = 64
"""Groups of either kind before `brings_nothing` is judged."""


class Skipping:
    """explore: e at the beginning."""

    def __init__(self, explore: float) -> None:
        self.easy = self.hard = explore
        self.drawn = self.skipped = 0
        self.tried = self.revived = self.fresh = self.lively = 0
        """Groups of prompts that had no spread before, those of them that had some now; and the same of the others."""

    def skips(self, past: Past, chance: float) -> bool:
        """chance: uniform in [0, 1)."""
        explore = self.easy if past.easy else self.hard
        skip = past.dead > 0 and chance >= explore**past.dead
        self.skipped += skip
        self.drawn += 1
        return skip

    def taken(self) -> tuple[int, int]:
        """Prompts that were drawn and skipped, since this was asked last."""
        found = (self.drawn, self.skipped)
        self.drawn = self.skipped = 0
        return found

    def told(self, seen: Sequence[Seen], before: Sequence[Past]) -> None:
        """A round's groups, and what was known of their rows before."""
        easy = sum(each.outcome == "all_right" for each in seen) / len(seen)
        hard = sum(not each.has_spread for each in seen) / len(seen) - easy
        self.easy = _moved(self.easy, easy >= AIM_EASY)
        self.hard = _moved(self.hard, hard >= AIM_HARD)
        for each, past in zip(seen, before, strict=True):
            if past.dead:
                self.tried += 1
                self.revived += each.has_spread
            else:
                self.fresh += 1
                self.lively += each.has_spread

    def brings_nothing(self) -> bool:
        """Prompts that had no spread have it as often as the others: nothing is known from what they were."""
        return self.tried >= FEW and self.fresh >= FEW and self.revived / self.tried >= self.lively / self.fresh

    def state(self) -> dict[str, float]:
        return dict(vars(self))

    def load(self, state: Mapping[str, float]) -> None:
        vars(self).update(state)


def _moved(explore: float, too_many: bool) -> float:
    return min(MOST, max(LEAST, explore + (-STEP if too_many else STEP)))
