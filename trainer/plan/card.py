"""The run plan as text for a terminal of 80 columns: what `--dry-run` prints.

Imports the standard library, plan and the names of stored formats. Computes nothing that is not in the plan.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from trainer.memory import Phase, formats
from trainer.plan import RunPlan
from trainer.plan.checks import gib
from trainer.plan.estimate import GIB_PER_NOMINAL_GB, NOMINAL_GB
from trainer.spec import RunSpec

WIDTH = 80
_PHASES: tuple[tuple[Phase, str], ...] = (
    ("always", "all the time"),
    ("generation", "while generating"),
    ("update", "in the update"),
)


_FITTING = {
    "does not fit": "To make it fit, add one of these to the command",
    "tight": "To make it fit with room to spare, add one of these to the command",
}


def render(spec: RunSpec, plan: RunPlan) -> str:
    """The card, without a final line break."""
    blocks = [
        _block(spec.title or "Run plan", _model(spec)),
        _block("One optimizer step", _update(plan)),
        _block("One rollout phase", _phase(plan)),
        _block("The whole run", _run(plan)),
        _block("Memory (estimated, not measured)", _memory(plan)),
        _block(_FITTING.get(plan.memory_verdict, ""), _suggestions(plan)),
        _block("What the numbers cost", _costs(plan)),
        _block("In verl's words", _verl(plan)),
        _block("Notes", _bullets(plan.notes)),
        _block("Warnings", _bullets(plan.warnings)),
    ]
    return "\n\n".join(block for block in blocks if block)


def _block(title: str, lines: Iterator[str]) -> str:
    body = list(lines)
    return "\n".join([textwrap.shorten(title, WIDTH, placeholder="..."), *body]) if body else ""


def _line(name: str, value: str, remark: str = "") -> str:
    """A name, a right-aligned number and what it means, on as many lines as the remark needs."""
    head = f"  {name:<18}{value:>12}  "
    rest = textwrap.wrap(remark, WIDTH - len(head), break_on_hyphens=False) or [""]
    return "\n".join([(head + rest[0]).rstrip(), *(" " * len(head) + more for more in rest[1:])])


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _count(number: float, one: str, many: str) -> str:
    return f"{_number(number)} {one if number == 1 else many}"


def _text(name: str, text: str) -> str:
    return f"  {name:<10}{textwrap.shorten(text, WIDTH - 12, placeholder='...')}"


def _model(spec: RunSpec) -> Iterator[str]:
    yield _text("model", spec.model.name)
    model = spec.model
    where = model.device if model.engine == "auto" else f"{model.device} with {model.engine}"
    stored = "nf4" if spec.model.load_in_4bit else formats.of(spec.model.name).format
    kind = {"nf4": "4-bit weights", "fp8": "FP8 weights"}.get(stored, f"{spec.model.dtype} precision")
    lora = spec.lora
    how = f"LoRA rank {lora.r}" if lora.enabled else "all weights trained"
    yield _text("training", f"{how}, {kind}, on {where}")
    yield _text(
        "data",
        spec.data.path or " ".join(filter(None, (spec.data.name, spec.data.config, spec.data.split))),
    )
    yield _text("reward", spec.reward.formula())
    grpo = spec.grpo
    level = "GSPO, " if grpo.importance_sampling_level == "sequence" else ""
    yield _text(
        "objective",
        f"{level}{grpo.loss_type}, beta {grpo.beta:g}, learning rate {spec.optim.learning_rate:g}",
    )


def _update(plan: RunPlan) -> Iterator[str]:
    yield _line("prompts", _number(plan.prompts_per_update), "distinct prompts, one group each")
    yield _line("group size", _number(plan.num_generations), "completions per prompt (num_generations)")
    devices = f" x {plan.world_size} devices" if plan.world_size > 1 else ""
    micro, accumulation = plan.per_device_train_batch_size, plan.gradient_accumulation_steps
    made = f"micro-batch {micro} x accumulation {accumulation}"
    yield _line("completions", _number(plan.completions_per_update), made + devices)
    prompt, completion = plan.max_prompt_tokens, plan.max_tokens_per_completion
    each = f"at most: {prompt:,} prompt + {completion:,} completion each"
    yield _line("tokens", _number(plan.max_tokens_per_update), each)


def _phase(plan: RunPlan) -> Iterator[str]:
    yield _line("prompts", _number(plan.prompts_per_phase), "")
    yield _line("completions", _number(plan.completions_per_phase), "generated at once")
    if plan.phases_per_update > 1:
        remark = f"{plan.phases_per_update} phases make one step: on-policy"
        yield _line("optimizer steps", f"1/{plan.phases_per_update}", remark)
        return
    times = f", {plan.num_iterations} passes" if plan.num_iterations > 1 else ""
    policy = "on-policy" if plan.on_policy else "off-policy after the first"
    yield _line("optimizer steps", _number(plan.updates_per_phase), policy + times)


def _run(plan: RunPlan) -> Iterator[str]:
    if plan.rows is None:
        yield _line("rows", "not read", "the data is read when the run starts")
    else:
        yield _line("rows", _number(plan.rows), _rows_used(plan))
    if plan.optimizer_steps is None or plan.rollout_phases is None or plan.completions_total is None:
        yield _line("optimizer steps", "not known", "until the data is read")
    else:
        epochs = f"{plan.epochs:.3g} epochs" if plan.epochs is not None else ""
        yield _line("optimizer steps", _number(plan.optimizer_steps), epochs)
        yield _line("rollout phases", _number(plan.rollout_phases))
        tokens = f"up to {plan.completions_total * plan.max_tokens_per_completion:,} tokens to generate"
        yield _line("completions", _number(plan.completions_total), tokens)
    yield _line("checkpoint every", _number(plan.save_steps), "optimizer steps, and at the end")


def _rows_used(plan: RunPlan) -> str:
    if plan.rollout_phases is not None and plan.epochs is not None and plan.epochs < 1:
        return f"{plan.rollout_phases * plan.prompts_per_phase:,} of them are reached"
    unused = plan.rows_unused_per_epoch or 0
    return f"{unused:,} of them unused in each epoch" if unused else "all used in each epoch"


def _memory(plan: RunPlan) -> Iterator[str]:
    if plan.memory_total_gib is None:
        yield "  " + textwrap.shorten(plan.memory_unknown, WIDTH - 2, placeholder="...")
        yield from _against(plan)
        return
    for phase, words in _PHASES:
        parts = [part for part in plan.memory if part.phase == phase]
        yield _line(words, gib(sum(part.gib for part in parts), 2))
        for part in parts:
            yield _line(f"  {part.name}", gib(part.gib, 2).removesuffix(" GiB"), part.how)
    larger = "generating" if (plan.memory_generation_gib or 0) > (plan.memory_update_gib or 0) else "the update"
    yield _line(
        "peak",
        gib(plan.memory_total_gib, 2),
        f"all the time + {larger}",
    )
    yield from _against(plan)


def _against(plan: RunPlan) -> Iterator[str]:
    """The estimate beside what it has to fit into."""
    judged = f" -> {plan.memory_verdict}" if plan.memory_verdict else ""
    if plan.gpu_total_gib is None:
        yield "  no GPU here"
    elif plan.memory_on == "GPU":
        yield f"  {plan.gpu_name or 'GPU'}: {gib(plan.gpu_total_gib)}{judged}"
    if plan.memory_on == "RAM" and plan.memory_limit_gib is not None:
        yield f"  RAM: {gib(plan.memory_limit_gib)}{judged}"
    if plan.memory_on == "GPU" and plan.memory_total_gib is not None and plan.memory_verdict != "fits":
        yield textwrap.fill(_sizes(plan), WIDTH, initial_indent="  ", subsequent_indent="  ")


def _sizes(plan: RunPlan) -> str:
    """Which GPUs hold the run as it is."""
    counted = f"(counted as {GIB_PER_NOMINAL_GB:g} GiB for each GB)"
    if not plan.fits_gb:
        return f"a GPU of {NOMINAL_GB[-1]} GB does not hold it {counted}"
    return f"held by GPUs of {', '.join(map(str, plan.fits_gb))} GB {counted}"


def _suggestions(plan: RunPlan) -> Iterator[str]:
    """One set of changes after the other, ready to be pasted behind the command."""
    for suggestion in plan.suggestions:
        yield from _joined(suggestion.typed())
        remark = f"-> {gib(suggestion.total_gib)}: {suggestion.effect}"
        yield textwrap.fill(remark, WIDTH, initial_indent="      ", subsequent_indent="         ")


def _joined(typed: list[str]) -> Iterator[str]:
    """As many on a line as fit; a backslash where the shell has to read on."""
    line = ""
    for words in typed:
        if line and len(line) + len(words) + 5 > WIDTH:
            yield f"  {line} \\"
            line = ""
        line = f"{line} {words}".strip()
    yield f"  {line}"


def _costs(plan: RunPlan) -> Iterator[str]:
    """One sentence: what one more completion costs in generation and in the update, with this plan's numbers."""
    per_row, per_micro = plan.gib_per_generated_completion, plan.gib_per_micro_batch_completion
    prompts = plan.prompts_per_phase
    rows = _count(prompts, "more completion", "more completions")
    tokens = prompts * plan.max_tokens_per_completion
    memory = "" if not per_row else f" and {_gib(prompts * per_row / plan.world_size)} of cache and prompt reading"
    micro = "more memory in the update" if per_micro is None else f"{_gib(per_micro)} in the update"
    sentence = (
        f"One more in num_generations, with the same prompts, is {rows} per rollout phase: up to {tokens:,} more "
        f"tokens to generate{memory}, nothing in the update; one more in per_device_train_batch_size is "
        f"{micro} and fewer, "
        "larger passes."
    )
    yield textwrap.fill(sentence, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _gib(value: float) -> str:
    return gib(value, 2) if value >= 0.01 else f"{value * 1024:.2g} MiB"


def _verl(plan: RunPlan) -> Iterator[str]:
    verl = plan.verl
    mini = "no whole number of prompts" if verl.ppo_mini_batch_size is None else str(verl.ppo_mini_batch_size)
    words = (
        f"train_batch_size {verl.train_batch_size} (prompts), rollout.n {verl.rollout_n}, "
        f"ppo_mini_batch_size {mini}"
        f"{'' if verl.ppo_mini_batch_size is None else ' (prompts)'}, ppo_micro_batch_size_per_gpu "
        f"{verl.ppo_micro_batch_size_per_gpu} (completions), ppo_epochs {verl.ppo_epochs}"
    )
    yield textwrap.fill(words, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _bullets(sentences: list[str]) -> Iterator[str]:
    for sentence in sentences:
        yield textwrap.fill(
            sentence,
            WIDTH,
            initial_indent="  - ",
            subsequent_indent="    ",
            break_on_hyphens=False,
            break_long_words=False,
        )
