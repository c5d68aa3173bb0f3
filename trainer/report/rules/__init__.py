"""The rules: every sentence that interprets a run has one here. Pure functions of Material; no words, no formatting.

    groups      groups without spread, losses of 0        time        phases of a step, slow steps
    reward      trend, plateau, dips, components, errors  generation  distance from the floor, KV cache
    policy      KL, entropy, clipped ratios, gradients    memory      growth
    length      lengths, truncation                       evaluation  held-out rows
    gaming      one text for all, a component that is exploited, pay for the form alone
    supervised  the loss of examples, and whether they are learnt by heart
    learner     a reward model that learns meanwhile
    sampling    groups written anew or come again, prompts left out

A rule yields what it found about its signal, green too. Thresholds are constants of its module; the words of a sentence
are in trainer/text under report.finding.<signal>.<key>, those of the signal itself under report.signal.<signal>.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from trainer.report.finding import WORST_FIRST, Finding, Level
from trainer.report.material import Material
from trainer.report.rules import (
    evaluation,
    gaming,
    generation,
    groups,
    learner,
    length,
    memory,
    policy,
    reward,
    sampling,
    supervised,
    time,
)
from trainer.report.rules.bounds import signals_of

Rule = Callable[[Material], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    groups.dead_groups,
    groups.zero_loss,
    sampling.dynamic_sampling,
    sampling.replay,
    sampling.skip_dead,
    gaming.same_texts,
    gaming.gamed_component,
    gaming.only_form,
    reward.reward_trend,
    reward.reward_plateau,
    reward.reward_dips,
    reward.reward_spikes,
    reward.components,
    reward.reward_errors,
    learner.reward_model,
    evaluation.evaluation,
    evaluation.over_optimised,
    supervised.loss_trend,
    supervised.overfitting,
    policy.kl,
    policy.entropy,
    policy.clip_ratio,
    policy.grad_norm,
    length.length,
    length.truncation,
    time.time_share,
    time.slow_steps,
    generation.generation_floor,
    generation.lost_cache,
    memory.memory_creep,
)


def diagnose(m: Material) -> list[Finding]:
    """All findings about what this run's method has, in the order of the rules; [] before the first step."""
    if not m.state.steps:
        return []
    signals = signals_of(m.method)
    return [finding for rule in RULES for finding in rule(m) if finding.signal in signals]


def worst(findings: Iterable[Finding]) -> list[Finding]:
    """The same, the worst first; in the order of the rules where they are equally bad."""
    return sorted(findings, key=lambda finding: WORST_FIRST.index(finding.level))


def level_of(findings: Iterable[Finding]) -> Level:
    """The worst level among them; "unknown" without any."""
    return next((finding.level for finding in worst(findings)), "unknown")
