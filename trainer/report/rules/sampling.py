"""Is choosing prompts worth what it costs? Groups that were replaced (max_rounds) or come again (replay), prompts left
out (skip_dead)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trainer.report import series
from trainer.report.finding import Advice, Finding
from trainer.report.material import Material
from trainer.report.rules.groups import KINDS, mainly
from trainer.report.rules.prompts import easy_first, skip

HEAD = "train/sampler/"
COSTLY = 0.5  # share of the tokens that is thrown away
LEFT = 0.5  # share of what is trained on that has no spread although all rounds were written
LEAST = 10  # steps
STALE = 0.5  # share of the tokens that come again whose ratio is outside of the clip range


def dynamic_sampling(m: Material) -> Iterator[Finding]:
    """What of the writing was thrown away, and whether that filled the batch with groups that teach."""
    thrown, most = m.points(f"{HEAD}thrown_frac"), m.setting("sampling.max_rounds")
    if not thrown:
        if most == 1:
            yield Finding("dynamic_sampling", "na", "off")
        return
    kept, taken = (_late(m, name) for name in ("kept_without_spread_frac", "rounds"))
    share = thrown_share(m, series.steps_of(series.newest(thrown)))
    values = {"share": share, "kept": kept, "taken": taken, "late": series.late(len(thrown))}
    values |= {"seconds": total(m, "thrown_s"), "all": float(series.values_of(m.seconds).sum())}
    shares = {kind: _mean(series.newest(m.group_points(f"{kind}_frac"))) for kind in KINDS}
    kind = mainly(shares, sum(shares.values()))
    if len(thrown) >= LEAST and kept >= LEFT and isinstance(most, int) and taken > most - 0.5:
        ways = tuple(_ways(m, kind))
        yield Finding("dynamic_sampling", "amber", "used_up", values | {"rounds": most}, advice=ways)
    elif len(thrown) >= LEAST and share > COSTLY:
        yield Finding("dynamic_sampling", "amber", "costly", values, advice=tuple(_ways(m, kind)))
    else:
        yield Finding("dynamic_sampling", "green", "works", values)


def _ways(m: Material, kind: str) -> Iterator[Advice]:
    """Rows that teach more often: no further rounds."""
    if kind == "constant":
        yield Advice("finer_reward", "reward.components", None)
    yield from skip(m)
    yield from easy_first(m, kind)
    if kind in ("all_wrong", "mixed"):
        yield Advice("easier_rows", "data.path", None)
    if kind == "all_right":
        yield Advice("harder_rows", "data.path", None)


def skip_dead(m: Material) -> Iterator[Finding]:
    skipped = m.points(f"{HEAD}skipped_frac")
    if not skipped:
        if m.setting("sampling.skip_dead") is False:
            yield Finding("skip_dead", "na", "off")
        return
    idle = m.points(f"{HEAD}filter_is_idle")
    dead = _mean(series.newest(m.group_points("dead_frac")))
    values = {"share": _late(m, "skipped_frac"), "dead": dead, "late": series.late(len(skipped))}
    if idle and idle[-1][1] >= 1:
        ways = (Advice("keep_all", "sampling.skip_dead", False),)
        yield Finding("skip_dead", "amber", "idle", values, advice=ways)
    elif not series.values_of(skipped).any():
        yield Finding("skip_dead", "note", "none", values)
    else:
        yield Finding("skip_dead", "green", "works", values)


def replay(m: Material) -> Iterator[Finding]:
    """Are groups that come again still near enough to the policy?"""
    replayed, outside = m.points(f"{HEAD}replayed_frac"), m.points(f"{HEAD}replay_outside_frac")
    if not replayed:
        if m.setting("sampling.replay") == 0:
            yield Finding("replay", "na", "off")
        return
    values: dict[str, object] = {"share": _late(m, "replayed_frac"), "late": series.late(len(replayed))}
    if not series.values_of(replayed).any():
        yield Finding("replay", "note", "none", values)
        return
    values |= {"age": _late(m, "replay_age")}
    if not outside:  # of a loss without a clip
        yield Finding("replay", "note", "unclipped", values)
        return
    values |= {"outside": _late(m, "replay_outside_frac")}
    if len(outside) < LEAST or _late(m, "replay_outside_frac") <= STALE:
        yield Finding("replay", "green", "works", values)
        return
    now = m.setting("sampling.replay_steps")
    fewer = min(now // 2, round(_late(m, "replay_age")) - 1) if isinstance(now, int) else 0
    away = Advice("no_replay", "sampling.replay", 0)
    # A group is at least as old as the updates of a phase are many.
    near = fewer >= max(1, m.updates_per_phase or 1)
    way = Advice("fresher", "sampling.replay_steps", fewer, {"steps": fewer, "now": now}) if near else away
    yield Finding("replay", "amber", "stale", values, advice=(way,))


# ---- sums over steps


def total(m: Material, name: str) -> float:
    """Of a count of each phase, over the whole run: a step has the mean of its phases."""
    phases = m.plan.get("phases_per_update")
    counts = series.values_of(m.points(HEAD + name))
    return float(counts.sum()) * (phases if isinstance(phases, int) else 1)


def thrown_share(m: Material, steps: list[int] | None = None) -> float:
    """The share of the tokens that was thrown away, of all steps or of these; of the completions, where lengths or the
    size of a phase are not known."""
    names = ("sampler/thrown_frac", "sampler/thrown_tokens", "completions/mean_length", "sampler/replayed_frac")
    frac, tokens, length, again = (dict(m.points(f"train/{name}")) for name in names)
    wanted = [step for step in (frac if steps is None else steps) if step in frac]
    size = m.plan.get("completions_per_phase")
    known = [step for step in wanted if step in tokens and step in length]

    def of(step: int) -> float:
        """Tokens that were written: those of what is kept of it, less what came again, are the rest."""
        kept = size * (1 - again.get(step, 0.0)) if isinstance(size, int) else 0.0
        return length[step] * kept / (1 - frac[step]) if frac[step] < 1 else tokens[step]

    written = sum(map(of, known)) if isinstance(size, int) else 0.0
    if not written:
        return float(np.mean([frac[step] for step in wanted])) if wanted else 0.0
    return min(1.0, sum(tokens[step] for step in known) / written)


def _late(m: Material, name: str) -> float:
    return _mean(series.newest(m.points(HEAD + name)))


def _mean(points: series.Points) -> float:
    return float(series.values_of(points).mean()) if points else 0.0
