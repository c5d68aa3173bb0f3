"""Groups and prompts over the whole run, one step up close, and samples of what was written."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from trainer.report import series
from trainer.report.document import Block, Completion, Group, Heading, Section, Table, Text
from trainer.report.sections.metrics import shortened
from trainer.report.sections.overview import signed
from trainer.report.sections.telling import Telling
from trainer.run import groups as written
from trainer.run.groups import OUTCOMES
from trainer.text import forms

MOST_FILES = 200  # rollout files read for patterns: of a long run evenly chosen ones
MOST_PROMPTS = 5
MOST_GROUPS = 24  # of a step up close
MOST_COMPLETIONS = 8  # shown of a group
MOST_REWARD = 1e100  # whose square can be added up
TEXT_CHARACTERS = 2000  # shown of a completion
CLOSE_UP = (
    "train/reward",
    "train/reward_std",
    "train/loss",
    "train/kl",
    "train/entropy",
    "train/grad_norm",
    "train/completions/mean_length",
)


@dataclass(frozen=True)
class AskedOnce:
    """What came of a prompt at one step. mean: reward. correct: of each completion."""

    mean: float | None
    correct: Sequence[bool | None]


@dataclass
class Seen:
    """What the groups that were read add up to."""

    steps: int = 0
    groups: int = 0
    outcomes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    rewards: list[Sequence[float]] = field(default_factory=list)
    """Of each group, those that are known."""
    distinct: list[int] = field(default_factory=list)
    completions: int = 0
    prompts: dict[str, list[AskedOnce]] = field(default_factory=lambda: defaultdict(list))

    def take(self, group: written.Group) -> None:
        completions = group.completions
        rewards = [one.reward for one in completions if one.reward is not None]
        self.groups += 1
        self.outcomes[group.outcome] += 1
        self.completions += len(completions)
        self.distinct.append(len({one.text for one in completions}))
        if rewards:
            self.rewards.append(rewards)
        kept = AskedOnce(group.mean, [one.correct for one in completions])
        self.prompts[group.question].append(kept)


def seen(t: Telling) -> Seen:
    found = Seen()
    for step in t.m.sampled_steps(MOST_FILES):
        groups = t.m.groups(step)
        found.steps += bool(groups)
        for group in groups:
            found.take(group)
    return found


def patterns(t: Telling) -> Section:
    """How often all right and all wrong, spread inside groups against between prompts, hard and easy prompts. Nothing
    of a run that has no groups."""
    say, found = t.say, seen(t)
    if t.m.is_supervised:
        return Section("patterns", say("title.patterns"), [])
    if not found.groups:
        return Section(
            "patterns", say("title.patterns"), [Text(say("patterns.gone" if t.m.rollout_steps else "patterns.none"))]
        )
    every = found.steps == len(t.m.rollout_steps)
    sampled = say("patterns.all_steps" if every else "patterns.some_steps")
    intro = say("patterns.intro", groups=f"{found.groups:,}", steps=f"{found.steps:,}", sampled=sampled)
    shares = [(say(f"word.{kind}"), forms.percent(found.outcomes[kind] / found.groups)) for kind in OUTCOMES]
    blocks: list[Block] = [
        Text(intro),
        Table((say("patterns.outcome"), say("patterns.share")), shares, frozenset((1,))),
    ]
    part = share_between(found.rewards)
    if part is not None:
        blocks.append(Text(say("patterns.variance", within=1 - part, between=part)))
    size = f"{found.completions / found.groups:.3g}"  # a mean, where groups have several sizes
    blocks.append(Text(say("patterns.distinct", size=size, distinct=statistics.fmean(found.distinct))))
    return Section("patterns", say("title.patterns"), [*blocks, *_prompts(t, found)])


def share_between(groups: Sequence[Sequence[float]]) -> float | None:
    """The share of the rewards' variance that is between the groups and not inside them; None where nothing varies.

    groups: the known rewards of each, however many. By the variance components of a one-way analysis of variance with
    unequal group sizes, which the means' own scatter does not inflate (Searle, Casella and McCulloch 1992, 3.6); a
    negative estimate counts as 0.
    """
    sizes = [len(rewards) for rewards in groups]
    total, count = sum(sizes), len(groups)
    if count < 2 or total <= count:
        return None
    if max(abs(reward) for rewards in groups for reward in rewards) > MOST_REWARD:
        return None
    means = [statistics.fmean(rewards) for rewards in groups]
    grand = math.fsum(mean * size for mean, size in zip(means, sizes, strict=True)) / total
    inside = math.fsum((reward - m) ** 2 for rewards, m in zip(groups, means, strict=True) for reward in rewards)
    outside = math.fsum(size * (mean - grand) ** 2 for mean, size in zip(means, sizes, strict=True))
    within = inside / (total - count)
    usual_size = (total - sum(size * size for size in sizes) / total) / (count - 1)
    between = max(0.0, (outside / (count - 1) - within) / usual_size)
    return between / (within + between) if within + between > 0 else None


def _prompts(t: Telling, found: Seen) -> Iterator[Block]:
    """Hardest and easiest, of the prompts that were asked most often."""
    means = {text: [one.mean for one in asked if one.mean is not None] for text, asked in found.prompts.items()}
    often = max(map(len, means.values()), default=0)
    known = {text: values for text, values in means.items() if values and len(values) >= max(1, often // 2)}
    if len(known) < 2:
        return
    mean = {text: statistics.fmean(values) for text, values in known.items()}
    order = sorted(known, key=lambda text: mean[text])
    head = [t.say(f"patterns.{name}") for name in ("prompt", "mean", "times", "right")]
    most = min(MOST_PROMPTS, len(order) // 2)
    for key, chosen in (("hardest", order[:most]), ("easiest", order[-most:][::-1])):
        yield Heading(t.say(f"patterns.{key}"))
        rows = [(shortened(x), forms.number(mean[x]), str(len(known[x])), _right(found.prompts[x])) for x in chosen]
        yield Table(head, rows, frozenset((1, 2, 3)))


def _right(asked: Sequence[AskedOnce]) -> str:
    judged = [flag for one in asked if one.mean is not None for flag in one.correct if flag is not None]
    return forms.percent(sum(judged) / len(judged)) if judged else "-"


# ---- one step


def close_up(t: Telling) -> Section:
    """The step that was asked for, else the lowest dip, else the last: its metrics and all its groups."""
    m, say = t.m, t.say
    step, why = _chosen(t)
    place = m.state.steps.index(step)
    rows = []
    for name in CLOSE_UP:
        points = m.points(name)
        value = (m.state.metrics.get(name) or [None] * (place + 1))[place]
        if value is not None:
            usual = series.usual(points).median
            rows.append((name, forms.number(value), forms.number(usual)))
    seconds = m.state.seconds[place]
    if seconds is not None:
        rows.append((say("metrics.chart_time"), say.duration(seconds), say.duration(_median(t))))
    head = [say(f"close_up.{name}") for name in ("metric", "value", "usual")]
    blocks: list[Block] = [Text(say(f"close_up.{why}"), "small"), Table(head, rows, frozenset((1, 2)))]
    blocks += [] if m.is_supervised else _groups_of(t, step)
    return Section("close_up", say("title.close_up", step=step), blocks)


def _median(t: Telling) -> float:
    return series.usual(t.m.seconds).median


def _chosen(t: Telling) -> tuple[int, str]:
    if t.step is not None:
        return t.step, "chosen_asked"
    dip = next((finding for finding in t.of("reward_dips") if finding.steps), None)
    if dip is not None:
        return int(dip.values["at"]), "chosen_dip"
    return t.m.state.last_step, "chosen_last"


def _groups_of(t: Telling, step: int) -> Iterator[Block]:
    say, groups = t.say, t.m.groups(step)
    if not groups:
        yield Text(say("close_up.no_rollouts"))
        return
    yield Text(say("close_up.intro", groups=len(groups)))
    head = [say(f"close_up.{name}") for name in ("prompt", "rewards", "mean", "spread", "outcome")]
    rows = []
    for group in sorted(groups, key=lambda group: group.thrown)[:MOST_GROUPS]:
        rewards = ", ".join(forms.number(one.reward) for one in group.completions[:16])
        rewards += ", \u2026" if len(group.completions) > 16 else ""
        cells = [forms.number(group.mean), forms.number(group.std)]
        outcome = say(f"word.{group.outcome}")
        outcome = say("close_up.not_trained_on", outcome=outcome) if group.thrown else outcome
        rows.append((shortened(group.question, 90), rewards, *cells, outcome))
    yield Table(head, rows, frozenset((2, 3)))
    if len(groups) > MOST_GROUPS:
        source, rundir = t.m.written_for(step), t.m.rundir
        assert source is not None and rundir is not None, "its groups were read from there"
        file = rundir.rollouts_file(source)
        yield Text(say("close_up.more", count=len(groups) - MOST_GROUPS, file=f"{file.parent.name}/{file.name}"))


# ---- samples


def samples(t: Telling) -> Section:
    """Late in the run: the group with the largest spread, and one that taught nothing."""
    say = t.say
    late = list(t.m.sampled_steps(20))[-5:]
    groups = [(step, group) for step in late for group in t.m.groups(step)]
    blocks: list[Block] = []
    lively = [pair for pair in groups if not pair[1].dead]
    dead = [pair for pair in groups if pair[1].dead]
    if lively:
        step, group = max(lively, key=lambda pair: (not pair[1].thrown, pair[1].std or 0.0))
        blocks.append(shown(t, group, say("samples.best", step=step)))
    if dead:
        order = ("all_wrong", "constant", "all_right")
        step, group = min(dead, key=lambda pair: (pair[1].thrown, order.index(pair[1].outcome)))
        key = "samples.replaced" if group.thrown else "samples.worst"
        blocks.append(shown(t, group, say(key, step=step, outcome=say(f"word.{group.outcome}"))))
    return Section("samples", say("title.samples"), blocks)


def shown(t: Telling, group: written.Group, title: str) -> Group:
    """The completions, best first; those that are alike once."""
    say = t.say
    same: dict[tuple[str, float | None], list[int]] = defaultdict(list)
    for place, completion in enumerate(group.completions):
        same[completion.text, completion.reward].append(place)
    order = sorted(same.values(), key=lambda places: -_rank(group.completions[places[0]]))
    cards = [_card(t, group.completions[places[0]], places) for places in order[:MOST_COMPLETIONS]]
    return Group(title, say("samples.prompt"), _cut(group.question), cards)


def _rank(completion: written.Completion) -> float:
    return completion.reward if completion.reward is not None else -math.inf


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARACTERS else f"{text[:TEXT_CHARACTERS]}\u2026"


def _card(t: Telling, completion: written.Completion, places: Sequence[int]) -> Completion:
    say, advantage = t.say, completion.advantage
    facts = [say("samples.paid", reward=completion.reward, advantage=signed(advantage), tokens=completion.tokens)]
    facts += [
        say("samples.unpaid", name=name, value=completion.unpaid[name])
        if name in completion.unpaid
        else say("samples.components", name=name, value=value)
        for name, value in completion.components.items()
    ]
    facts += [say("samples.cut")] if completion.truncated else []
    facts += [_plan_told(t, completion.plan)] if completion.plan is not None else []
    text = completion.text or say("samples.empty")
    numbers = ", ".join(str(place + 1) for place in places)
    return Completion(say("samples.completion", numbers=numbers), " \u00b7 ".join(facts), advantage, _cut(text))


def _plan_told(t: Telling, plan: written.Plan) -> str:
    """Which part of the text is the plan that others of the group share, and what that part and the rest got."""
    signs = {"advantage": signed(plan.advantage), "rest": signed(plan.rest)}
    return t.say("samples.plan", number=plan.number + 1, end=plan.end, reward=plan.reward, **signs)
