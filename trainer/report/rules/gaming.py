"""Reward without what it was meant for: one text for all, a component that is exploited, pay for the form alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trainer.report import series
from trainer.report.finding import Advice, Finding
from trainer.report.material import Material
from trainer.report.rules.evaluation import over_optimised
from trainer.report.rules.evidence import commonest, not_right
from trainer.report.rules.groups import MAINLY
from trainer.report.rules.restart import restarts
from trainer.run.rollouts import SAME_TEXT
from trainer.spec import Component

SHAPE = ("format_regex", "length_penalty", "overlong", "repetition")
"""Functions that judge the form of a completion, whatever it says."""
NEVER_RIGHT = 0.02  # of what the component that tells right from wrong has to reach
FORM_SHARE = 0.8  # of the reward that the form pays
LEAST_STEPS = 30  # before that a model may still be learning the form first


def same_texts(m: Material) -> Iterator[Finding]:
    """Does a group hold one text only, and is it not the right one? Then there is nothing to choose."""
    points = m.group_points("same_text_frac")
    if len(points) < series.LEAST_FOR_TREND:
        return
    same = _late(points)
    wrong = sum(_late(m.group_points(f"{kind}_frac")) for kind in ("all_wrong", "constant"))
    values = {"same": same, "wrong": wrong, "late": series.late(len(points))}
    if same < SAME_TEXT or wrong < MAINLY:
        yield Finding("same_texts", "green", "some", values)
        return
    ways = []
    temperature, rate = m.setting("generation.temperature"), m.setting("optim.learning_rate")
    if isinstance(temperature, float) and temperature < 1:
        ways.append(Advice("hotter", "generation.temperature", 1.0, {"now": temperature}))
    if rate:
        ways.append(Advice("lower_rate", "optim.learning_rate", rate / 2, {"now": rate}))
    yield Finding("same_texts", "red", "wrong", values | {"shown": commonest(m)}, advice=tuple(ways))


def gamed_component(m: Material) -> Iterator[Finding]:
    """A component that has risen in training since held-out rows were at their best, and they have fallen."""
    fell = next((one for one in over_optimised(m) if one.level in ("red", "amber")), None)
    if fell is None or m.spec is None or m.setting("reward.components") is None:
        return
    at = fell.values["at"]
    places = dict(_places(m.spec.reward.components, "reward.components"))
    right = m.spec.reward.correct or m.spec.reward.leaves()[0].title
    rises = {}
    for name in m.components:
        since = series.trend([p for p in m.points(f"train/rewards/{name}/mean") if p[0] >= at])
        if name != right and name in places and since is not None and since.direction > 0:
            rises[name] = places[name][1] * since.change, since
    if not rises:
        return
    name = max(rises, key=lambda one: rises[one][0])
    gained, rise = rises[name]
    if gained <= 0:
        return
    values = {"name": name, "before": rise.first, "after": rise.last, "at": at, "right": right}
    leaves = {leaf.title: leaf for leaf in m.spec.reward.leaves()}
    ways = _only_if(places[name][0], leaves[name], right, m, before=fell.values["at"] + 1)
    yield Finding("gamed_component", "red", "rises", values | {"shown": not_right(m, name)}, fell.steps, ways)


def only_form(m: Material) -> Iterator[Finding]:
    """Is the form all that is paid, because hardly an answer is right?"""
    if m.spec is None or m.setting("reward.components") is None:
        return
    leaves = {leaf.title: leaf for leaf in m.spec.reward.leaves()}
    right = m.spec.reward.correct or next(iter(leaves))
    points, total = m.points(f"train/rewards/{right}/mean"), m.points("train/reward")
    places = dict(_places(m.spec.reward.components, "reward.components"))
    paid = {
        name: places[name][1] / m.spec.reward.divide_by * _late(m.points(f"train/rewards/{name}/mean"))
        for name, leaf in leaves.items()
        if leaf.function in SHAPE and m.points(f"train/rewards/{name}/mean")
    }
    form = max(paid, key=lambda name: paid[name], default=None)
    if len(points) < LEAST_STEPS or form is None or right not in leaves or leaves[right].function in SHAPE:
        return
    late, moved = _late(points), series.trend(points)
    values = {"form": form, "paid": paid[form], "right": right, "now": late, "late": series.late(len(points))}
    learns = moved is not None and moved.direction > 0
    never = late <= NEVER_RIGHT * m.spec.reward.correct_at
    if learns or not never or paid[form] <= 0 or paid[form] < FORM_SHARE * _late(total):
        yield Finding("only_form", "green", "more", values)
        return
    ways = (*_only_if(places[form][0], leaves[form], right, m), Advice("easier_rows", "data.path", None))
    yield Finding("only_form", "red", "only", values | {"shown": not_right(m, form)}, advice=ways)


def _only_if(place: str, part: Component, right: str, m: Material, before: int | None = None) -> tuple[Advice, ...]:
    """Pay it only where the answer is right; in a run that starts from a checkpoint of before, where there is one."""
    if part.only_if is not None:
        return ()
    key = f"{place}.only_if"
    ways = restarts(m, before, key, right) if before is not None else []
    return (*ways, Advice("only_if", key, right, {"right": right}))


def _places(parts: Sequence[Component], head: str, factor: float = 1.0) -> Iterator[tuple[str, tuple[str, float]]]:
    """(component, (its setting, what its value is multiplied by)), those inside sums too."""
    for number, part in enumerate(parts):
        here = f"{head}.{number}"
        if part.components:
            yield from _places(part.components, f"{here}.components", factor * part.weight * part.scale)
        else:
            yield part.title, (here, factor * part.weight)


def _late(points: series.Points) -> float:
    found = series.mean(series.newest(points))
    return found.value if found is not None else 0.0
