"""`[[stage]]` of a preset: several runs, one after the other, each the preset with some sections changed.

    [[stage]]                 its keys: name, from ("best" or "last" checkpoint of the stage before), and sections
    name = "sft"
    run.method = "sft"

    parsed      the RunSpec of the first stage, which carries the settings of those after it
    apart       a key typed on the command line is one of all stages; `stage.1.optim.max_steps` of the second alone

A later stage starts from the weights of the newest one before it that has trained a policy, so it has to be the same
model: `_fit`. A reward may name an earlier stage's reward model, params.model = "stage:NAME": `_judges_fit`.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from trainer.errors import Problem
from trainer.presets.explain import shown
from trainer.spec import RunSpec
from trainer.spec.chain import Chain, Following

STAGE = "stage"
OF_STAGE = "stage:"  # in a reward's params.model
OWN = ("name", "from")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,15}")
SAME = (
    *(("model", key) for key in ("name", "revision", "load_in_4bit", "trust_remote_code")),
    *(("lora", key) for key in ("enabled", "r", "alpha", "target_modules")),
)
"""What stages have in common: they hand weights on."""
OF_THE_BASE = (("model", "warm_start"), ("run", "seed"))
"""What an adapter on a built-in model needs as well: the base is made from them."""
Tables = dict[str, Any]
Parse = Callable[[Tables], tuple[RunSpec | None, list[Problem]]]


def parsed(raw: Mapping[str, Any], parse: Parse) -> tuple[RunSpec | None, list[Problem]]:
    """The first stage, or everything that is wrong with any of them. parse: a spec without stages."""
    stages = raw[STAGE]
    base = {key: value for key, value in raw.items() if key != STAGE}
    problems = list(_of_the_shape(stages))
    if problems:
        return None, problems
    specs: list[RunSpec] = []
    for number, stage in enumerate(stages):
        goes_on = any(_trains_a_policy(base, before) for before in stages[:number])
        spec, wrong = parse(laid(base, stage, goes_on))
        problems += [_in_stage(problem, stage, number) for problem in wrong]
        specs += [spec] if spec is not None else []
    problems = list(dict.fromkeys(problems))  # what is wrong in the preset itself is wrong in every stage
    if not problems:
        problems += [*_fit(specs), *_judges_fit(stages, specs)]
    if problems:
        return None, problems
    following = [
        Following(
            name=stage["name"],
            start=stage.get("from", "best"),
            settings=spec.model_dump(mode="json", exclude_none=True),
        )
        for stage, spec in zip(stages[1:], specs[1:], strict=True)
    ]
    policy = None if specs[0].is_reward_model else 1
    chain = Chain(name=stages[0]["name"], count=len(stages), following=following, policy=policy)
    return specs[0].model_copy(update={"chain": chain}), []


def later(spec: RunSpec) -> list[RunSpec]:
    """Those after the first, as they are before there are weights to start from."""
    following = spec.chain.following if spec.chain is not None else []
    return [RunSpec.model_validate_json(json.dumps(each.settings)) for each in following]


def laid(base: Mapping[str, Any], stage: Mapping[str, Any], goes_on: bool) -> Tables:
    """The tables of a stage: those of the preset, its own laid over them. goes_on: it has weights to start from."""
    merged = copy.deepcopy(dict(base))
    for section, table in stage.items():
        if section not in OWN:
            _lay(merged, section, table)
    lora = merged.get("lora")
    adapts = not isinstance(lora, dict) or lora.get("enabled", True)
    if goes_on and not adapts and isinstance(merged.get("model"), dict):
        merged["model"].pop("warm_start", None)  # the stage before is in its place; an adapter lies on what it made
    return merged


def _trains_a_policy(base: Mapping[str, Any], stage: Mapping[str, Any]) -> bool:
    run = laid({"run": base.get("run", {})}, {"run": stage.get("run", {})}, False)["run"]
    return not isinstance(run, dict) or run.get("method") != "reward_model"


def alone(spec: RunSpec) -> Iterator[Problem]:
    """A preset without stages has no reward model of one."""
    for key, name in spec.reward.judges():
        if name.startswith(OF_STAGE):
            yield Problem("presets.judge_without_stages", key, seen=shown(name))


def _judges_fit(stages: Sequence[Mapping[str, Any]], specs: Sequence[RunSpec]) -> Iterator[Problem]:
    """Each is of an earlier stage that trains one."""
    names = [stage["name"] for stage in stages]
    for number, spec in enumerate(specs):
        there = [name for name, before in zip(names, specs[:number], strict=False) if before.is_reward_model]
        for key, name in spec.reward.judges():
            asked = name.removeprefix(OF_STAGE)
            if name.startswith(OF_STAGE) and asked not in there:
                known = [f"{OF_STAGE}{each}" for each in there]
                reason = "presets.judge_of_no_stage" if there else "presets.judge_before_any"
                problem = Problem(reason, key, seen=shown(name), **({"known": known} if known else {}))
                yield _in_stage(problem, stages[number], number)


def _lay(merged: Tables, key: str, value: Any) -> None:
    if isinstance(value, dict) and isinstance(merged.get(key), dict):
        for inner, each in value.items():
            _lay(merged[key], inner, each)
    else:
        merged[key] = copy.deepcopy(value)


def apart(raw: Tables, path: Sequence[int | str]) -> list[Tables]:
    """A key that was typed for all stages is nowhere set by one of them any more; those that have a list of their own
    on the way to it, where it has to be set as well."""
    own = []
    stages = raw.get(STAGE) if path[0] != STAGE else None
    for stage in stages if isinstance(stages, list) else ():
        here: Any = stage
        for step in path[:-1]:
            here = here.get(step) if isinstance(here, dict) else here if isinstance(here, list) else None
        if isinstance(here, list):
            own.append(stage)
        elif isinstance(here, dict):
            here.pop(path[-1], None)
    return own


def _of_the_shape(stages: Any) -> Iterator[Problem]:
    if not isinstance(stages, list) or not stages or not all(isinstance(stage, dict) for stage in stages):
        yield Problem("presets.stages_no_list", STAGE)
        return
    names = [stage.get("name") for stage in stages]
    for number, stage in enumerate(stages):
        name, start = stage.get("name"), stage.get("from", "best")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            yield Problem("presets.stage_name", f"{STAGE}.{number}.name", seen=shown(name))
        elif name in names[:number]:
            yield Problem("presets.stage_twice", f"{STAGE}.{number}.name", name=name)
        if start not in ("best", "last") or (number == 0 and "from" in stage):
            key = "presets.stage_from" if number else "presets.stage_from_first"
            yield Problem(key, f"{STAGE}.{number}.from", seen=shown(start))


def _in_stage(problem: Problem, stage: Mapping[str, Any], number: int) -> Problem:
    """With the key that has to be changed: the stage's own where it sets it."""
    here: Any = stage
    for step in problem.place.split("."):
        if isinstance(here, list):
            here = here[int(step)] if step.isdigit() and int(step) < len(here) else None
        else:
            here = here.get(step) if isinstance(here, dict) else None
    place = f"{STAGE}.{number}.{problem.place}" if here is not None else problem.place
    return Problem(problem.key, place, **problem.values)


def _fit(specs: Sequence[RunSpec]) -> Iterator[Problem]:
    first = specs[0]
    for number, spec in enumerate(specs[1:], 1):
        for section, key in [*SAME, *(OF_THE_BASE if first.lora.enabled else ())]:
            wanted, seen = (getattr(getattr(each, section), key) for each in (first, spec))
            unread = section == "lora" and key != "enabled" and not first.lora.enabled
            if wanted != seen and not unread:
                place = f"{STAGE}.{number}.{section}.{key}"
                yield Problem("presets.stage_other", place, seen=shown(seen), wanted=shown(wanted))
