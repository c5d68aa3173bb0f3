"""In short, the settings, and how GRPO works with the numbers of this run."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from typing import Any

from trainer import launch
from trainer.machine.project import PROJECT
from trainer.presets import recipes
from trainer.report import rules
from trainer.report.document import Block, Code, Sayings, Section, Table, Text
from trainer.report.material import Material
from trainer.report.rules.verdict import said_verdict
from trainer.report.sections.telling import Telling
from trainer.run import start_files
from trainer.run.groups import Group
from trainer.run.records import PlanEvent, RunFailedEvent
from trainer.run.start_adapter import called
from trainer.spec import RunSpec
from trainer.text import Message, forms
from trainer.text.words import Words

MOST_LOOKED_AT = 6  # findings in the summary


def summary(t: Telling) -> Section:
    """State, verdict, and what is worth a look."""
    m, say = t.m, t.say
    total, status = m.steps_total, say(f"status.{m.status}")
    key = "summary.state" if total else "summary.state_unknown"
    state = say(key, status=status, steps=f"{m.state.last_step:,}", total=f"{total or 0:,}")
    blocks: list[Block] = [Text(said_verdict(t.findings, say), "lead"), Text(state)]
    blocks += [Text(text) for text in ended(t)]
    look = [finding for finding in rules.worst(t.findings) if finding.level in ("red", "amber")]
    if look:
        blocks.append(Sayings([t.said(finding) for finding in look[:MOST_LOOKED_AT]]))
    elif t.findings and m.status not in ("failed", "lost"):
        blocks.append(Text(say("summary.nothing_wrong")))
    return Section("summary", say("title.summary"), blocks)


def ended(t: Telling) -> Iterator[str]:
    """Why a run failed, or that its process is gone: before anything else is believed."""
    step = f"{t.m.state.last_step:,}"
    if t.m.status == "failed":
        final = t.m.state.final
        told = [str(problem.said(t.say)) for problem in final.reasons()] if isinstance(final, RunFailedEvent) else ["?"]
        reason = "; ".join(told)
        yield t.say("missing.failed", step=step, reason=forms.printable(reason))
    elif t.m.status == "lost":
        yield t.say("missing.lost", step=step, run=t.m.name)


def overview(t: Telling) -> Section:
    """One table: what was asked for and on what it ran. What is not known has no row."""
    rows = [*_model(t.m, t.say), *_settings(t.m, t.say), *_course(t.m, t.say)]
    shown = [(t.say(f"overview.{name}"), value) for name, value in rows if value]
    return Section("overview", t.say("title.overview"), [Table(("", ""), shown)])


def _model(m: Material, say: Words) -> Iterator[tuple[str, str]]:
    yield "stages", _stages(m, say)
    yield "model", called(str(m.setting("model.name") or ""))
    if m.spec is not None and m.spec.recipes:
        hand = [change.key for change in recipes.changes(m.spec) if change.by_hand is not None]
        names = say.listed(list(m.spec.recipes))
        yield "recipes", say("overview.recipes_by_hand", names=names, keys=hand) if hand else names
    enabled = m.setting("lora.enabled")
    if enabled:
        targets = m.setting("lora.target_modules")
        targets = ", ".join(targets) if isinstance(targets, list) else targets
        yield "trained", say("overview.lora", r=m.setting("lora.r"), alpha=m.setting("lora.alpha"), targets=targets)
    elif enabled is False:
        yield "trained", say("overview.whole")
    if start := start_files.of_env(m.env):
        yield "start", say("overview.start_value", start=start_files.message(start))
    trained = m.state.trained or PlanEvent()
    dtype = trained.dtype or m.setting("model.dtype") or ""
    yield "precision", say("overview.four_bit", dtype=dtype) if m.setting("model.load_in_4bit") else dtype
    yield "engine", ", ".join(filter(None, (trained.engine, trained.trainer_class)))
    data = m.state.data or {}
    path = inside(m.setting("data.task") or m.setting("data.path") or m.setting("data.name"))
    if path and path != "unknown":
        rows, held_out = data.get("rows", m.plan.get("rows")), data.get("eval_rows")
        known = rows is not None and held_out is not None
        yield "data", say("overview.rows", path=path, rows=rows, held_out=held_out) if known else str(path)


def _stages(m: Material, say: Words) -> str:
    """Which it is of several, and their runs; those that are to come too."""
    if m.rundir is None or m.spec is None or m.spec.chain is None:
        return ""
    names = ", ".join(one.rundir.name for one in launch.chain.stages(m.rundir, m.spec))
    return say("overview.stages_value", number=m.spec.chain.number, count=m.spec.chain.count, names=names)


def inside(path: Any) -> str:
    """A file of the project without the folder it lies in on this machine."""
    text = str(path or "")
    return text.removeprefix(f"{PROJECT}{os.sep}")


def _settings(m: Material, say: Words) -> Iterator[tuple[str, str]]:
    if m.spec is not None and m.imported is None:
        yield "method", say.said(Message(f"method.long.{m.method}"))
    if m.spec is not None and m.is_supervised:
        yield from _of_examples(m, m.spec, say)
        return
    group = m.setting("generation.num_generations")
    if m.setting("reward.components") is not None and m.spec is not None:
        yield "reward", m.spec.reward.formula()
    yield "group", str(group or "")
    completions, prompts = m.plan.get("completions_per_update"), m.plan.get("prompts_per_update")
    if group and completions and m.setting("optim.per_device_train_batch_size"):
        yield "batch", say("overview.batch_value", completions=completions, prompts=prompts, group=group)
    yield "updates", str(m.updates_per_phase or "")
    prompt, completion = m.setting("data.max_prompt_length"), m.setting("generation.max_completion_length")
    if prompt and completion:
        yield "lengths", say("overview.lengths_value", prompt=f"{prompt:,}", completion=f"{completion:,}")
    rate = m.setting("optim.learning_rate")
    yield "rate", f"{rate:g}" if rate else ""
    beta = m.setting("grpo.beta") if m.method == "grpo" else None
    yield "beta", f"{beta:g}" if beta is not None else ""
    loss, level = m.setting("grpo.loss_type"), m.setting("grpo.importance_sampling_level")
    yield "loss", ", ".join(filter(None, (loss, "GSPO" if level == "sequence" else "")))
    low, high = m.setting("grpo.epsilon"), m.setting("grpo.epsilon_high")
    if low is not None and not m.ratios_are_one:
        yield "clip", f"{low:g} / {low if high is None else high:g}"
    temperature = m.setting("generation.temperature")
    yield "temperature", f"{temperature:g}" if temperature else ""


def _of_examples(m: Material, spec: RunSpec, say: Words) -> Iterator[tuple[str, str]]:
    """What a supervised method was asked for: nothing of groups, clips or sampling that it does not have."""
    yield "reward", spec.reward.formula()
    if spec.samples_first:
        group, written = spec.generation.num_generations, m.plan.get("written_first")
        known = written is not None
        yield "written", say("overview.written_value", count=written, group=group) if known else str(group)
    examples, each = m.plan.get("examples"), m.plan.get("completions_per_update")
    yield "examples", f"{examples:,}" if isinstance(examples, int) else ""
    yield "per_update", f"{each:,}" if isinstance(each, int) else ""
    prompt, completion = f"{spec.data.max_prompt_length:,}", f"{spec.generation.max_completion_length:,}"
    yield "lengths", say("overview.lengths_value", prompt=prompt, completion=completion)
    yield "rate", f"{spec.optim.learning_rate:g}"
    if spec.is_reward_model:
        yield "objective", spec.reward_model.objective
    if spec.run.method == "dpo":
        yield "beta_dpo", f"{spec.dpo.beta:g}"
        yield "loss", spec.dpo.loss_type
    if spec.samples_first:
        yield "temperature", f"{spec.generation.temperature:g}"


def _course(m: Material, say: Words) -> Iterator[tuple[str, str]]:
    state = m.state
    done, total = f"{state.last_step:,}", m.steps_total
    yield "steps", say("overview.steps_value", done=done, total=f"{total:,}") if total else done
    epochs = next((epoch for epoch in reversed(state.epochs) if epoch is not None), None)
    yield "epochs", forms.number(epochs) if epochs is not None else ""
    yield "time", say.duration(state.train_seconds) if state.train_seconds else ""
    yield "took", _took(m, say)
    yield "tokens", f"{state.tokens:,}" if state.tokens else ""
    yield "peak", f"{forms.number(state.peak_memory_gib)} GiB" if state.peak_memory_gib else ""
    yield "gpu", m.gpu or ("" if m.imported is not None else say("overview.cpu"))
    if state.attempts > 1:
        steps = say.listed([event.resumed_from_step for event in state.resumes]) or "-"
        yield "attempts", say("overview.attempts_value", count=state.attempts, steps=steps)
    versions = m.env.get("packages") or {}
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    yield "commit", str(m.env.get("commit") or "")[:12]


def _took(m: Material, say: Words) -> str:
    """Beside what was expected of a run that was never interrupted."""
    expected, attempts = m.env.get("expected_s"), list(m.state.attempt_t.values())
    if m.status != "finished" or len(attempts) != 1 or not isinstance(expected, int | float) or not expected > 0:
        return ""
    wall_s = attempts[0][1] - attempts[0][0]
    if not wall_s:
        return ""
    return say("overview.took_value", took=wall_s, expected=expected, times=f"{expected / wall_s:.2f}")


def method(t: Telling) -> Section:
    """What the method does at one step, in this run's numbers; of GRPO one of its groups worked through."""
    m, say = t.m, t.say
    if m.is_supervised:
        return _method_of_examples(t)
    group = m.setting("generation.num_generations")
    completions, prompts = m.plan.get("completions_per_update"), m.plan.get("prompts_per_update")
    texts = []
    if group and completions and prompts and m.setting("optim.per_device_train_batch_size"):
        key = "method.groups_one" if prompts == 1 else "method.groups"
        key = "method.groups_sizes" if m.setting("sampling.group_size") in ("spread", "threshold") else key
        texts.append(say(key, prompts=prompts, group=group, completions=completions))
    elif group:
        texts.append(say("method.groups_only", group=group))
    if m.setting("reward.components") is not None and m.spec is not None:
        texts.append(say("method.paid", formula=m.spec.reward.formula()))
    process = m.setting("reward.supervision") == "process"
    gdpo = m.setting("grpo.multi_objective_aggregation") == "normalize_then_sum"
    own = m.setting("grpo.advantage")
    own = own if own in ("rloo", "maxrl") else None
    scale = "process" if process else "gdpo" if gdpo else own or m.setting("grpo.scale_rewards")
    scale = "online_rft" if m.method == "online_rft" else scale
    texts.append(say(f"method.advantage_{scale or 'unknown'}"))
    if m.setting("sampling.group_size") in ("spread", "threshold") and m.setting("sampling.weigh") == "prompts":
        texts.append(say("method.weighed", group=group))
    if m.method == "online_rft":
        texts.append(say("method.all_wrong"))
        return Section("method", _title(t), [*map(Text, texts), Code([_FORMULAS[m.method]])])
    texts.append(say("method.equal"))
    texts += _ratio_and_kl(m, say)
    return Section("method", _title(t), [*map(Text, texts), *_example(t)])


# x: prompt, y: completion; s: the score of a reward model; y+ and y- the better and the worse one of a pair.
_FORMULAS = {
    "online_rft": "gradient = mean of  A * grad log p(y | x),  A = 1 if y is right, else 0",
    "sft": "loss = - mean over tokens of  log p(y_t | x, y_<t)",
    "rft": "loss = - mean over tokens of  log p(y_t | x, y_<t),  y right and written by the model itself",
    "pairwise": "loss = - log sigmoid( s(x, y+) - s(x, y-) )",
    "pointwise": "loss = ( s(x, y) - reward(x, y) )^2",
    "dpo": "loss = - log sigmoid( beta * [ log p(y+ | x) / p0(y+ | x)  -  log p(y- | x) / p0(y- | x) ] )",
}


def _title(t: Telling) -> str:
    return t.say("title.method", method=t.words(f"method.{t.m.method}"))


def _method_of_examples(t: Telling) -> Section:
    m, say = t.m, t.say
    learns = m.spec.learns if m.spec is not None else m.method
    texts = []
    if m.spec is not None and m.spec.samples_first:
        group, written = m.spec.generation.num_generations, m.plan.get("written_first")
        rows, examples = m.plan.get("rows"), m.plan.get("examples")
        if written is not None and examples is not None:
            told = {"rows": rows, "group": group, "written": written, "examples": examples}
            texts.append(say(f"method.examples_{learns}", **told))
    elif m.plan.get("examples") is not None:
        texts.append(say("method.examples_sft", examples=m.plan["examples"]))
    values = {"each": m.plan.get("completions_per_update"), "beta": m.setting("dpo.beta")}
    texts.append(say(f"method.{learns}", **values))
    texts.append(say("method.ordered" if m.method == "reward_model" else "method.judged"))
    formula = _FORMULAS[learns]
    if m.method == "dpo" and m.setting("dpo.loss_type") != "sigmoid":
        formula = ""
    return Section("method", _title(t), [*map(Text, texts), *([Code([formula])] if formula else [])])


def _ratio_and_kl(m: Material, say: Words) -> Iterator[str]:
    updates, low, high = m.updates_per_phase, m.setting("grpo.epsilon"), m.setting("grpo.epsilon_high")
    bounds = {"low": low, "high": low if high is None else high}
    if m.ratios_are_one:
        yield say("method.on_policy")
    elif updates and updates > 1 and low is not None:
        yield say("method.off_policy", updates=updates, **bounds)
    if m.setting("sampling.replay") and low is not None:
        yield say("method.replayed", **bounds)
    beta = m.setting("grpo.beta")
    if beta:
        yield say("method.with_kl", beta=beta)
    elif beta is not None:
        yield say("method.without_kl")


def _example(t: Telling) -> Iterator[Block]:
    """A real group with spread: the newest that is there."""
    found = next(((step, group) for step in reversed(t.m.sampled_steps(20)) for group in _mixed(t.m, step)), None)
    if found is None or t.m.setting("reward.supervision") == "process":
        return
    step, group = found
    rewards = [one.reward for one in group.completions if one.reward is not None] or [0.0]
    mean = statistics.fmean(rewards)
    std = statistics.stdev(rewards) if len(rewards) > 1 else 0.0
    yield Text(t.say("method.example", step=step, mean=mean, std=std))
    head = [t.say(f"method.{name}") for name in ("number", "reward", "above", "advantage")]
    rows = []
    for number, completion in enumerate(group.completions, 1):
        reward = completion.reward
        above = "-" if reward is None else f"{reward - mean:+.3g}"
        rows.append((str(number), forms.number(reward), above, signed(completion.advantage)))
    yield Table(head, rows, frozenset((1, 2, 3)))


def _mixed(m: Material, step: int) -> list[Group]:
    return [group for group in m.groups(step) if not group.dead and not group.thrown]


def signed(value: float | None) -> str:
    """+0.52; an advantage of 0 has no sign."""
    if value is None:
        return "-"
    return f"{value:+.2f}" if value else "0"
