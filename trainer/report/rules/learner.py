"""A reward model that learns meanwhile: does what it has learnt hold for answers it has not seen?"""

from __future__ import annotations

from collections.abc import Iterator

from trainer.report import series
from trainer.report.finding import Finding
from trainer.report.material import Material

HEAD = "train/reward_model/"
CHANCE = 0.55  # share of unseen comparisons; a coin has 0.5
LEAST = 3  # rounds


def reward_model(m: Material) -> Iterator[Finding]:
    """Before a round its new comparisons are unseen: the policy's newest answers, judged as they were paid."""
    unseen = m.points(f"{HEAD}accuracy_before")
    rounds = m.points(f"{HEAD}pairs_new")
    if not rounds:
        if m.spec is not None and m.setting("reward.learning") is None:
            yield Finding("reward_model", "na", "off")
        return
    values: dict[str, object] = {"count": len(rounds), "idle": len(rounds) - len(unseen)}
    if not unseen:
        yield Finding("reward_model", "amber", "idle", values)
        return
    now = series.mean(series.newest(unseen))
    assert now is not None
    values |= {"first": unseen[0][1], "now": now.value}
    if len(unseen) < LEAST:
        yield Finding("reward_model", "unknown", "short", values)
    elif now.value < CHANCE:
        yield Finding("reward_model", "amber", "guesses", values)
    else:
        yield Finding("reward_model", "green", "judges", values)
