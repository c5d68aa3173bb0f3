"""Changes of settings that need less memory, each as the sets of changes it allows, mildest first.

A lever knows what it costs, not whether it helps: fit measures that. Every set of changes leaves the
batch arithmetic possible. Pure functions; imports spec, batches, smaller and the shapes of known models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trainer.memory import formats, known
from trainer.memory.published import CONFIGS
from trainer.plan import smaller
from trainer.plan.batches import Batch, changes
from trainer.plan.estimate import TRL_VLLM_SHARE, Machine, evaluates, has_vllm, runs_on_gpu, vllm_of_trl
from trainer.spec import RunSpec
from trainer.spec.choices import OPTIMIZERS
from trainer.text import Message

Value = bool | int | float | str | None
Changes = dict[str, Value]

SHORTER = (0.75, 0.5, 0.25)  # of a length in tokens
LEAST_TOKENS = 16
LEAST_RANK = 4
VLLM_SHARES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # more room for its cache first


@dataclass(frozen=True)
class Lever:
    effect: Message
    """What it costs, for a reader who has to choose."""
    steps: Callable[[RunSpec, Batch, Machine], Iterator[Changes]]


def _eval_rows(spec: RunSpec, batch: Batch, machine: Machine) -> Iterator[Changes]:
    """Also of what is written before training: as many at once as this says, in whole groups."""
    rows = spec.eval.batch_size
    while (evaluates(spec) or spec.samples_first) and rows > 1:
        rows //= 2
        yield {"eval.batch_size": rows}


def _micro_batch(spec: RunSpec, batch: Batch, machine: Machine) -> Iterator[Changes]:
    """micro x accumulation stays, and with it the completions of an update and of a rollout phase."""
    for made in smaller.passes(batch):
        yield dict(changes(batch, made))


def _rollout_phase(spec: RunSpec, batch: Batch, machine: Machine) -> Iterator[Changes]:
    """Fewer completions at once: several phases an update, or fewer updates a phase; an update stays as large."""
    if spec.is_supervised or spec.grpo.looks_at_the_batch:
        return  # there is none; or the batch that advantages are divided by would be another one
    for made in smaller.phases(batch):
        yield _as_changes(spec, batch, made)


def _as_changes(spec: RunSpec, batch: Batch, after: Batch) -> Changes:
    """The evaluation shares the KV cache's peak: it may answer no more rows at once than a rollout phase has."""
    made: Changes = dict(changes(batch, after))
    rows = after.micro * after.steps_per_generation
    if evaluates(spec) and spec.eval.batch_size > rows:
        made["eval.batch_size"] = rows
    return made


def _standby(spec: RunSpec, batch: Batch, machine: Machine) -> Iterator[Changes]:
    if spec.model.fast_inference and not spec.model.standby:
        yield {"model.standby": True}


def _vllm_share(spec: RunSpec, batch: Batch, machine: Machine) -> Iterator[Changes]:
    """Every share with which vLLM starts; fit takes the first that is enough."""
    key, now = "model.gpu_memory_utilization", spec.model.gpu_memory_utilization
    if vllm_of_trl(spec):
        key, now = "trl.vllm_gpu_memory_utilization", spec.trl.get("vllm_gpu_memory_utilization", TRL_VLLM_SHARE)
    for share in VLLM_SHARES if has_vllm(spec) and runs_on_gpu(spec, machine) else ():
        if share != now:
            yield {key: share}


def _no_vllm(spec: RunSpec, batch: Batch, machine: Machine) -> Iterator[Changes]:
    """Alone, then with fewer completions at once: without vLLM all of them are in the KV cache together."""
    if has_vllm(spec):
        plain: Changes = {"trl.use_vllm" if vllm_of_trl(spec) else "model.fast_inference": False}
        yield plain
        yield plain | _as_changes(spec, batch, batch)
        for changed in _rollout_phase(spec, batch, machine):
            yield plain | changed


def _checkpointing(spec: RunSpec, batch: Batch, machine: Machine) -> Iterator[Changes]:
    if not spec.model.gradient_checkpointing:
        yield {"model.gradient_checkpointing": True}
    if spec.model.engine == "unsloth" and spec.model.gradient_checkpointing != "unsloth":
        yield {"model.gradient_checkpointing": "unsloth"}


def _optimizer(spec: RunSpec, batch: Batch, machine: Machine) -> Iterator[Changes]:
    name = spec.optim.optim
    adam = "adamw" in name and "8bit" not in name and "4bit" not in name
    if adam and runs_on_gpu(spec, machine) and "adamw_8bit" in OPTIMIZERS:
        yield {"optim.optim": "adamw_8bit"}


def _four_bit(spec: RunSpec, batch: Batch, machine: Machine) -> Iterator[Changes]:
    plain = formats.of(spec.model.name).format == "plain" and not spec.model.load_in_4bit
    if plain and spec.lora.enabled and spec.model.dtype != "float16":
        yield {"model.load_in_4bit": True}


def _completion(spec: RunSpec, batch: Batch, machine: Machine) -> Iterator[Changes]:
    yield from _shorter("generation.max_completion_length", spec.generation.max_completion_length)


def _prompt(spec: RunSpec, batch: Batch, machine: Machine) -> Iterator[Changes]:
    if spec.data.overlong != "error":  # the run would be refused at the first longer prompt
        yield from _shorter("data.max_prompt_length", spec.data.max_prompt_length)


def _shorter(key: str, tokens: int) -> Iterator[Changes]:
    for share in SHORTER:
        if int(tokens * share) >= LEAST_TOKENS:
            yield {key: int(tokens * share)}


def _group(spec: RunSpec, batch: Batch, machine: Machine) -> Iterator[Changes]:
    """Smaller groups of as many prompts: an update and a rollout phase shrink by the same factor where they can."""
    for made in smaller.groups(batch, whole_phase=spec.grpo.looks_at_the_batch):
        yield _as_changes(spec, batch, made)


def _samples(spec: RunSpec, batch: Batch, machine: Machine) -> Iterator[Changes]:
    """A row's completions are written together, however many an evaluation answers at once, and no others beside."""
    group = spec.generation.num_generations
    while spec.samples_first and group // 2 >= 2:
        group //= 2
        rows: Changes = {"eval.batch_size": group} if spec.eval.batch_size > group else {}
        yield {"generation.num_generations": group} | rows


def _rank(spec: RunSpec, batch: Batch, machine: Machine) -> Iterator[Changes]:
    """alpha follows, so that the adapter's scale alpha / r stays."""
    rank = spec.lora.r
    while spec.lora.enabled and rank // 2 >= LEAST_RANK:
        rank //= 2
        yield {"lora.r": rank, "lora.alpha": spec.lora.alpha * rank / spec.lora.r}


def _model(spec: RunSpec, batch: Batch, machine: Machine) -> Iterator[Changes]:
    """The same name with the next smaller sizes of the family."""
    for name in smaller_models(spec.model.name):
        yield {"model.name": name} | ({"model.revision": None} if spec.model.revision is not None else {})


def smaller_models(name: str) -> list[str]:
    """Hub ids of the family's smaller models, largest first; [] where the sizes do not share their endings."""
    model = known.normalise(name)
    match = re.fullmatch(r"(.*-)([\d.]+b)", model)
    # Only some sizes of a family have a release of July 2025 or a thinking variant of their own.
    if match is None or model not in CONFIGS or re.search(r"-(2507|thinking)", name.lower()):
        return []
    family, size = match.groups()
    sizes = [key.removeprefix(family) for key in CONFIGS if re.fullmatch(re.escape(family) + r"[\d.]+b", key)]
    fewer = [other for other in sizes if float(other[:-1]) < float(size[:-1])]
    owner, _, model = name.partition("/")
    written = re.compile(rf"(?<=-){re.escape(size[:-1])}(?=b(-|$))", re.IGNORECASE)
    return [
        f"{owner}/{written.sub(other[:-1], model, count=1)}"
        for other in sorted(fewer, key=lambda other: -float(other[:-1]))
    ]


# Cheapest for the learning first. The first FREE leave every optimizer step as it is and cost time only.
FREE = 3
LEVERS = (
    Lever(Message("plan.effect.evaluation_passes"), _eval_rows),
    Lever(Message("plan.effect.smaller_passes"), _micro_batch),
    Lever(Message("plan.effect.smaller_phase"), _rollout_phase),
    Lever(Message("plan.effect.standby"), _standby),
    Lever(Message("plan.effect.vllm_share"), _vllm_share),
    Lever(Message("plan.effect.checkpointing"), _checkpointing),
    Lever(Message("plan.effect.no_vllm"), _no_vllm),
    Lever(Message("plan.effect.optimizer_8bit"), _optimizer),
    Lever(Message("plan.effect.four_bit"), _four_bit),
    Lever(Message("plan.effect.shorter_completions"), _completion),
    Lever(Message("plan.effect.shorter_prompts"), _prompt),
    Lever(Message("plan.effect.smaller_groups"), _group),
    Lever(Message("plan.effect.fewer_samples"), _samples),
    Lever(Message("plan.effect.smaller_rank"), _rank),
    Lever(Message("plan.effect.smaller_model"), _model),
)
# Levers of which one is enough: with standby the share has no meaning, and without vLLM neither has.
VLLM = tuple(lever for lever in LEVERS if lever.steps in (_standby, _vllm_share, _no_vllm))
