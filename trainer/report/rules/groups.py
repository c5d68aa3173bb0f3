"""Did the groups teach anything? Groups without spread, all right or all wrong, and losses that are exactly 0."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from trainer.report import series
from trainer.report.finding import Advice, Finding, Level
from trainer.report.material import Material
from trainer.report.rules.evidence import commonest
from trainer.report.rules.policy import ENTROPY_FELL, ENTROPY_LOW
from trainer.report.rules.prompts import other_prompts
from trainer.report.rules.restart import good_checkpoint, restarts
from trainer.run.rollouts import FELL, SAME_TEXT

RED = 0.8  # share of groups that teach nothing
AMBER = 0.5
ZERO_AMBER = 0.2  # share of steps whose loss is 0 because nothing was learnt
MAINLY = 0.6  # share of the dead groups that makes one kind the reason
KINDS = ("all_right", "all_wrong", "constant")
LEAST_BEFORE, LEAST_SINCE = 3, 5  # steps before the dead stretch and in it
SMOOTH = 5  # steps
MOST_READ, MOST_LATE = 20, 5  # rollout files
MOST_GENERATIONS = 16  # beyond it more completions mostly cost time


def dead_groups(m: Material) -> Iterator[Finding]:
    """Share of groups whose completions all got the same reward, in the newest steps: Live, Health and report name the
    same share of the same steps."""
    dead = m.group_points("dead_frac")
    if not dead:
        yield from _dead_steps(m)
        return
    now = _mean(series.newest(dead))
    kinds = {kind: _mean(series.newest(m.group_points(f"{kind}_frac"))) for kind in KINDS}
    steps = tuple(step for step, value in dead if value >= 1.0)
    values = {"now": now, **kinds, "count": len(dead), "late": series.late(len(dead))}
    kind = mainly(kinds, now)
    level: Level = "green"
    if now >= AMBER:
        # Solved prompts are what was wanted: a fact that the verdict names, nothing that is wrong.
        level = "note" if kind == "all_right" else "red" if now >= RED else "amber"
    key = kind if level != "green" else "some" if now > 0 else "none"
    key = "none_online_rft" if key == "none" and m.method == "online_rft" else key
    if now >= AMBER and kinds["all_right"] < MAINLY * now:
        lost = _lost(m, dead, now)
        if lost is not None:
            yield lost_finding(m, lost, values, steps)
            return
    yield Finding("dead_groups", level, key, values, steps, tuple(_ways(m, kind, now)) if level != "green" else ())


@dataclass(frozen=True)
class Lost:
    """Groups that teach nothing because the policy has lost what it had. start: the first step of the dead stretch.

    key: "collapsed" when it writes one text only, "lost" when only the rewards tell. before: the most that it earned
    before; after: mean reward since. same: share of a group that is one text; entropy: nats a token; None: not known.
    """

    key: Literal["collapsed", "lost"]
    start: int
    before: float
    after: float
    same: float | None
    entropy: float | None


def _lost(m: Material, dead: series.Points, now: float) -> Lost | None:
    """None where earlier steps were no better: then it never had what it would have lost."""
    start = _dead_since(dead, now)
    rewards = m.points("train/reward")
    early, since = [p for p in rewards if p[0] < start], [p for p in rewards if p[0] >= start]
    if len(early) < LEAST_BEFORE or len(since) < LEAST_SINCE:
        return None
    before, after = series.mean(early), series.mean(since)
    assert before is not None and after is not None
    fell = before.value - after.value
    if fell < FELL * max(abs(before.value), abs(after.value)) or fell < 2 * math.hypot(before.error, after.error):
        return None
    same, entropy = _same_text(m, start), m.points("train/entropy")
    nats = _mean(series.newest(entropy)) if entropy else None
    gone = nats is not None and nats < ENTROPY_LOW and nats < ENTROPY_FELL * _mean(series.oldest(entropy))
    one_text = same is not None and same >= SAME_TEXT
    most = float(series.rolling_median(series.values_of(early), SMOOTH).max())
    if gone or one_text:
        return Lost("collapsed", start, most, after.value, same, nats)
    # Hard prompts have dead stretches by chance: without other signs most groups must have taught before.
    alive, stretch = [p for p in dead if p[0] < start], [p for p in dead if p[0] >= start]
    if not alive or _mean(alive) >= AMBER or _mean(stretch) < RED:
        return None
    return Lost("lost", start, most, after.value, same, nats)


def _dead_since(dead: series.Points, now: float) -> int:
    """The first step of the stretch at the end in which so many groups are dead: steps before it were livelier."""
    level = series.rolling_median(series.values_of(dead), SMOOTH)
    livelier = [n for n, value in enumerate(level) if value < now / 2]
    return dead[min(len(dead) - 1, livelier[-1] + 1)][0] if livelier else dead[0][0]


def _same_text(m: Material, start: int) -> float | None:
    """Of the steps since `start`; of a run that did not record it by its completions."""
    told = [point for point in m.group_points("same_text_frac") if point[0] >= start]
    if told:
        return _mean(told)
    steps = [step for step in m.sampled_steps(MOST_READ) if step >= start][-MOST_LATE:]
    found = [max(Counter(one.text for one in group.completions).values()) / len(group.completions)
             for step in steps for group in m.groups(step)]  # fmt: skip
    return sum(found) / len(found) if found else None


def lost_finding(m: Material, lost: Lost, values: dict[str, Any], steps: tuple[int, ...]) -> Finding:
    """Called by its name, with the learning rate and the checkpoint to go back to."""
    rate = m.setting("optim.learning_rate")
    ways = [Advice("lower_rate", "optim.learning_rate", rate / 2, {"now": rate})] if rate else []
    again = restarts(m, lost.start, "optim.learning_rate", rate / 2) if rate else []
    ways = again + ways
    step = good_checkpoint(m, lost.start)
    if step is not None and not again:
        command = f"python -m trainer export {m.name} --to merged --checkpoint {step}"
        ways.append(Advice("go_back", "--checkpoint", None, {"step": step}, command=command))
    why = "entropy" if lost.key == "collapsed" and (lost.same is None or lost.same < SAME_TEXT) else "same"
    key = f"{lost.key}_{why}" if lost.key == "collapsed" else lost.key
    told = values | asdict(lost) | {"shown": commonest(m)}
    return Finding("dead_groups", "red", key, told, steps, tuple(ways))


def _dead_steps(m: Material) -> Iterator[Finding]:
    """Of a run that recorded no groups: steps at which TRL's reward_std is exactly 0.

    In some versions it is the mean spread inside the groups, in others the spread of the whole batch; where it is 0
    either way no completion got another reward than the others of its group.
    """
    spread = m.points("train/reward_std")
    if not spread:
        yield Finding("dead_groups", "unknown", "unknown")
        return
    steps = tuple(step for step, value in spread if value == 0)
    share = len(steps) / len(spread)
    values = {"share": share, "count": len(spread), "dead": len(steps), "most": max(value for _, value in spread)}
    if share < AMBER:
        yield Finding("dead_groups", "green", "steps_some", values, steps)
        return
    level: Level = "red" if share >= RED else "amber"
    yield Finding("dead_groups", level, "steps", values, steps, tuple(_ways(m, "constant", share)))


def mainly(kinds: dict[str, float], share: float) -> str:
    """The kind that most dead groups are of; "mixed" when none is."""
    most = max(kinds, key=lambda kind: kinds[kind])
    return most if share and kinds[most] >= MAINLY * share else "mixed"


def _ways(m: Material, kind: str, dead: float) -> Iterator[Advice]:
    group = m.setting("generation.num_generations")
    if kind == "constant":
        yield Advice("finer_reward", "reward.components", None)
    if kind == "all_right":
        yield Advice("harder_rows", "data.path", None)
    if kind == "all_wrong":
        yield Advice("easier_rows", "data.path", None)
    if isinstance(group, int) and group < MOST_GENERATIONS:
        yield from _more_generations(m, group, min(2 * group, MOST_GENERATIONS))
    yield from other_prompts(m, kind, dead)


def _more_generations(m: Material, now: int, more: int) -> Iterator[Advice]:
    """Only what is a legal batch: whole groups, with more accumulation where one group would not fit."""
    values = {"now": now, "more": more}
    micro, accumulation = m.setting("optim.per_device_train_batch_size"), m.setting("optim.gradient_accumulation_steps")
    if micro is None or accumulation is None:
        yield Advice("more_generations", "generation.num_generations", more, values)
        return
    phase = m.setting("generation.generation_batch_size") or micro * (
        m.setting("generation.steps_per_generation") or accumulation
    )
    if phase % more == 0:
        yield Advice("more_generations", "generation.num_generations", more, values)
    elif not m.setting("generation.generation_batch_size") and not m.setting("generation.steps_per_generation"):
        fits = next(a for a in range(accumulation, accumulation + more + 1) if micro * a % more == 0)
        also = (("optim.gradient_accumulation_steps", fits),)
        yield Advice("more_generations", "generation.num_generations", more, values, also)


def zero_loss(m: Material) -> Iterator[Finding]:
    """Steps whose loss is exactly 0, and whether there was a gradient all the same."""
    loss = m.points("train/loss")
    if not loss:
        yield Finding("zero_loss", "unknown", "unknown")
        return
    zero = {step for step, value in loss if value == 0}
    dead = {step for step, value in m.group_points("dead_frac") if value >= 1.0}
    dead |= {step for step, value in m.points("train/reward_std") if value == 0}
    dead |= {step for step, value in m.points("train/grad_norm") if value == 0}
    both = tuple(sorted(zero & dead))
    values = {"zero": len(zero), "count": len(loss), "both": len(both), "share": len(zero) / len(loss)}
    if not zero:
        yield Finding("zero_loss", "note", "never", values)
    elif len(both) >= 0.5 * len(zero):
        solved = {step for step, value in m.group_points("all_right_frac") if value >= MAINLY}
        failed = len([step for step in both if step not in solved])
        level: Level = "red" if failed >= RED * len(loss) else "amber" if failed >= ZERO_AMBER * len(loss) else "note"
        yield Finding("zero_loss", level, "dead", values, both)
    else:
        moved = {step for step, value in m.points("train/grad_norm") if value > 0}
        known = len(zero & moved) >= 0.5 * len(zero)
        level = "note" if known else "unknown"
        yield Finding("zero_loss", level, "balanced" if known else "no_gradient_known", values, tuple(sorted(zero)))


def _mean(points: series.Points) -> float:
    return sum(value for _, value in points) / len(points) if points else 0.0
