"""The run plan as text for a terminal of 80 columns: what `--dry-run` prints.

Computes nothing that is not in the plan. Imports plan, the words and the names of stored formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from trainer.memory import Phase, formats
from trainer.plan import RunPlan
from trainer.plan.checks import gib
from trainer.plan.duration import Duration
from trainer.plan.estimate import GIB_PER_NOMINAL_GB, NOMINAL_GB
from trainer.presets import recipes
from trainer.spec import RunSpec
from trainer.text import Message, Words
from trainer.text.forms import moment
from trainer.text.layout import left, shortened, width, wrapped

WIDTH = 80
_NAME, _VALUE = 18, 12  # columns of a line's name and number
_PHASES: tuple[Phase, ...] = ("always", "generation", "update")
_FITTING = {"does not fit": "make_it_fit", "tight": "make_room"}


def render(spec: RunSpec, plan: RunPlan, say: Words, lasts: Duration | None = None, now: float | None = None) -> str:
    """The card in that language, without a final line break. now: unix seconds; with it the expected time is said."""
    return _Card(spec, plan, say, lasts, now).text()


class _Card:
    def __init__(self, spec: RunSpec, plan: RunPlan, words: Words, lasts: Duration | None, now: float | None) -> None:
        self.spec, self.plan, self.words, self.lasts, self.now = spec, plan, words, lasts, now
        self.say = words.under("plan.card")

    def text(self) -> str:
        plan, say = self.plan, self.say
        fitting = _FITTING.get(plan.memory_verdict)
        blocks = [
            _block(self.spec.title_in(say.language) or say("title"), self._model()),
            _block(say("recipes"), self._recipes()),
            _block(say("first"), self._first()),
            _block(say("update"), self._update()),
            _block(say("phase"), self._phase()),
            _block(say("run"), self._run()),
            _block(say("episodes"), self._bullets(plan.episodes)),
            _block(say("sampling"), self._bullets(plan.sampling)),
            _block(say("fast"), self._fast()),
            _block(say("time"), self._time()),
            _block(say("memory"), self._memory()),
            _block(say(fitting) if fitting else "", self._suggestions()),
            _block(say("costs"), self._costs()),
            _block(say("verl"), self._verl()),
            _block(say("notes"), self._bullets(plan.notes)),
            _block(say("warnings"), self._bullets(plan.warnings)),
        ]
        return "\n\n".join(block for block in blocks if block)

    # ---- what is trained

    def _model(self) -> Iterator[str]:
        spec, model, lora = self.spec, self.spec.model, self.spec.lora
        yield self._named("model", model.name)
        stored = "nf4" if model.load_in_4bit else formats.of(model.name).format
        kind = self.say({"nf4": "weights_4bit", "fp8": "weights_fp8"}.get(stored, "weights_plain"), dtype=model.dtype)
        how = self.say("lora", r=lora.r) if lora.enabled else self.say("whole")
        where = self.say("on" if model.engine == "auto" else "on_with", device=model.device, engine=model.engine)
        yield self._named("training", f"{how}, {kind}, {where}")
        if self.plan.start is not None:
            yield self._named("start", self.words.said(self.plan.start))
        if model.warm_start is not None:
            warm = self.say("warm_start", steps=model.warm_start.steps, path=Path(model.warm_start.path).name)
            yield self._named("warm_start", warm)
        path = spec.data.task or spec.data.path
        data = path or " ".join(filter(None, (spec.data.name, spec.data.config, spec.data.split)))
        yield self._named("data", data)
        yield self._named("reward", spec.reward.formula())
        yield self._named("objective", self._objective())

    def _objective(self) -> str:
        spec, grpo, rate = self.spec, self.spec.grpo, self.spec.optim.learning_rate
        if spec.run.method == "dpo":
            return self.say("rate_dpo", loss=spec.dpo.loss_type, beta=spec.dpo.beta, rate=rate)
        if spec.run.method != "grpo":
            return self.say(f"rate_{spec.learns}", loss=grpo.loss_type, rate=rate)
        level = "GSPO, " if grpo.importance_sampling_level == "sequence" else ""
        level += {"rloo": "RLOO, ", "maxrl": "MaxRL, "}.get(grpo.advantage, "")
        return self.say("rate", loss=f"{level}{grpo.loss_type}", beta=grpo.beta, rate=rate)

    def _named(self, key: str, text: str) -> str:
        return f"  {left(self.say(f'name.{key}'), 10)}{shortened(text, WIDTH - 12)}"

    def _recipes(self) -> Iterator[str]:
        """What they changed in the preset, and what was changed again by hand."""
        for name in self.spec.recipes:
            done = [change for change in recipes.changes(self.spec) if change.recipe == name]
            yield f"  {name}" if done else f"  {name}: {self.say('recipe_changes_nothing')}"
            for change in done:
                yield wrapped(self.words.said(change.message()), WIDTH, "    ", "      ")

    # ---- counts

    def _first(self) -> Iterator[str]:
        """What the model writes before it is trained."""
        spec, plan, say = self.spec, self.plan, self.say
        if not spec.samples_first:
            return
        group = plan.written_first // plan.rows if plan.written_first and plan.rows else spec.generation.num_generations
        if plan.written_first is None:
            yield self._line("completions", say("not_known"), say("written_each", group=group))
        else:
            tokens = plan.written_first * plan.max_tokens_per_completion
            remark = say("written_first", rows=plan.rows, group=group, tokens=tokens)
            yield self._line("completions", _number(plan.written_first), remark)
        most = {"rft": spec.rft.per_prompt, "dpo": spec.dpo.per_prompt}
        kept = most.get(spec.run.method, spec.reward_model.per_prompt)
        if plan.examples is None:
            yield self._line("examples", say("not_known"), say(f"examples_{spec.learns}", count=kept))
        else:
            yield self._line("examples", _number(plan.examples), say(f"examples_{spec.learns}", count=kept))

    def _examples(self) -> Iterator[str]:
        """An update of supervised training."""
        plan, say = self.plan, self.say
        key = "made_on_devices" if plan.world_size > 1 else "made"
        sizes = {"micro": plan.per_device_train_batch_size, "accumulation": plan.gradient_accumulation_steps}
        made = say(key, **sizes, devices=plan.world_size)
        yield self._line("examples", _number(plan.completions_per_update), made)
        key = "at_most_of_a_pair" if self.spec.learns in ("dpo", "pairwise") else "at_most"
        each = say(key, prompt=plan.max_prompt_tokens, completion=plan.max_tokens_per_completion)
        yield self._line("tokens", _number(plan.max_tokens_per_update), each)

    def _update(self) -> Iterator[str]:
        plan, say = self.plan, self.say
        if self.spec.is_supervised:
            yield from self._examples()
            return
        yield self._line("prompts", _number(plan.prompts_per_update), say("distinct_prompts"))
        yield self._line("group", _number(plan.num_generations), self._group())
        key = "made_on_devices" if plan.world_size > 1 else "made"
        sizes = {"micro": plan.per_device_train_batch_size, "accumulation": plan.gradient_accumulation_steps}
        made = say(key, **sizes, devices=plan.world_size)
        yield self._line("completions", _number(plan.completions_per_update), made)
        each = say("at_most", prompt=plan.max_prompt_tokens, completion=plan.max_tokens_per_completion)
        yield self._line("tokens", _number(plan.max_tokens_per_update), each)

    def _group(self) -> str:
        """What the completions of a prompt are."""
        plan, episode = self.plan, self.spec.episode
        if episode.has_plans:
            return self.say("plans_per_prompt", plans=episode.plans, ways=episode.implementations)
        if plan.least_generations:
            return self.say("completions_on_average", least=plan.least_generations, most=plan.most_generations)
        return self.say("completions_per_prompt")

    def _phase(self) -> Iterator[str]:
        plan, say = self.plan, self.say
        if self.spec.is_supervised:
            return
        yield self._line("prompts", _number(plan.prompts_per_phase))
        rounds, size = plan.max_rounds, plan.completions_per_phase
        once = say("at_once") if rounds == 1 else say("in_rounds", rounds=rounds, most=rounds * size)
        yield self._line("completions", _number(size), once)
        if plan.phases_per_update > 1:
            remark = say("phases_make_a_step", count=plan.phases_per_update)
            yield self._line("steps", f"1/{plan.phases_per_update}", remark)
            return
        several = "off_policy" if plan.updates_per_phase > 1 else "replayed"
        policy = say("on_policy" if plan.on_policy else several)
        passes = f", {say('passes', count=plan.num_iterations)}" if plan.num_iterations > 1 else ""
        yield self._line("steps", _number(plan.updates_per_phase), policy + passes)

    def _run(self) -> Iterator[str]:
        plan, say = self.plan, self.say
        if plan.rows is None:
            yield self._line("rows", say("not_read"), say("read_later"))
        else:
            yield self._line("rows", _number(plan.rows), self._rows_used())
        if self.spec.is_supervised:
            yield from self._passes()
        elif plan.optimizer_steps is None or plan.rollout_phases is None or plan.completions_total is None:
            yield self._line("steps", say("not_known"), say("until_read"))
        else:
            epochs = say("epochs", count=f"{plan.epochs:.3g}") if plan.epochs is not None else ""
            yield self._line("steps", _number(plan.optimizer_steps), epochs)
            yield self._line("phases", _number(plan.rollout_phases))
            count, rounds = plan.completions_total * plan.max_tokens_per_completion, plan.max_rounds
            tokens = say("tokens_at_most", count=count)
            if rounds > 1:
                tokens = say("tokens_in_rounds", count=count, rounds=rounds, most=rounds * count)
            yield self._line("completions", _number(plan.completions_total), tokens)
        if plan.ref_update_steps is not None:
            yield self._line("ref_update_steps", _number(plan.ref_update_steps), say("reference_moves"))
        learning = self.spec.reward.learning
        if plan.reward_model_every is not None and learning is not None:
            remark = say("reward_model_learns", name=learning.component, rule=learning.rule, share=learning.replay)
            yield self._line("reward_model_every", _number(plan.reward_model_every), remark)
        yield self._line("save_steps", _number(plan.save_steps), say("and_at_the_end"))

    def _passes(self) -> Iterator[str]:
        """How often supervised training sees its examples."""
        plan, say = self.plan, self.say
        if plan.optimizer_steps is None:
            yield self._line("steps", say("not_known"), say("until_written" if plan.rows else "until_read"))
            return
        epochs = say("epochs", count=f"{plan.epochs:.3g}") if plan.epochs is not None else ""
        yield self._line("steps", _number(plan.optimizer_steps), epochs)
        tokens = say("tokens_trained", count=plan.optimizer_steps * plan.max_tokens_per_update)
        yield self._line("examples", _number(plan.optimizer_steps * plan.completions_per_update), tokens)

    def _rows_used(self) -> str:
        plan = self.plan
        if self.spec.is_supervised:
            return self.say(f"rows_{plan.method}")
        if plan.sampling:
            return self.say("rows_chosen")
        if plan.rollout_phases is not None and plan.epochs is not None and plan.epochs < 1:
            return self.say("rows_reached", count=plan.rollout_phases * plan.prompts_per_phase)
        unused = plan.rows_unused_per_epoch or 0
        return self.say("rows_unused", count=unused) if unused else self.say("rows_all_used")

    def _fast(self) -> Iterator[str]:
        if self.plan.fast:
            yield wrapped(self.words.every(self.plan.fast), WIDTH, "  ", "  ")

    # ---- time

    def _time(self) -> Iterator[str]:
        lasts, say = self.lasts, self.say
        plan_waits = self.spec.samples_first and self.plan.rows is not None
        if self.now is None:
            return
        if lasts is None:
            yield self._line("step_s", say("not_known"), self.words("plan.duration.unknown"))
            return
        yield self._line("step_s", self.words.duration(lasts.step_s), self.words.said(lasts.source))
        if lasts.total_s is None:
            yield self._line("total_s", say("not_known"), say("until_written" if plan_waits else "until_read"))
        else:
            done = self.words("plan.duration.done", clock=moment(self.now + lasts.total_s, self.now))
            yield self._line("total_s", self.words.duration(lasts.total_s), done if lasts.gb is None else "")
        if lasts.at_most is not None:
            yield wrapped(self.words.said(lasts.at_most), WIDTH, "  ", "  ")
        if lasts.too_long is not None:
            yield wrapped(self.words.said(lasts.too_long), WIDTH, "  ", "  ")

    # ---- memory

    def _memory(self) -> Iterator[str]:
        plan, say = self.plan, self.say
        if plan.memory_total_gib is None:
            why = self.words.said(plan.memory_unknown) if plan.memory_unknown else ""
            yield f"  {shortened(why, WIDTH - 2)}"
            yield from self._against()
            return
        for phase in _PHASES:
            parts = [part for part in plan.memory if part.phase == phase]
            if not parts:
                continue
            written = "evaluation" if phase == "generation" and plan.method == "sft" else phase
            yield _columns(say(f"while.{written}"), gib(sum(part.gib for part in parts), 2))
            for part in parts:
                name = self.words(f"plan.part.{part.key}")
                yield _columns(f"  {name}", gib(part.gib, 2).removesuffix(" GiB"), self.words.said(part.how))
        larger = "generation" if (plan.memory_generation_gib or 0) > (plan.memory_update_gib or 0) else "update"
        larger = "evaluation" if larger == "generation" and plan.method == "sft" else larger
        yield self._line("peak", gib(plan.memory_total_gib, 2), say(f"peak_{larger}"))
        yield from self._against()

    def _against(self) -> Iterator[str]:
        """The estimate beside what it has to fit into."""
        plan, say = self.plan, self.say
        verdict = plan.memory_verdict.replace(" ", "_")
        judged = f" -> {say(f'verdict.{verdict}')}" if verdict else ""
        if plan.gpu_total_gib is None:
            yield f"  {say('no_gpu')}"
        elif plan.memory_on == "GPU":
            yield f"  {plan.gpu_name or 'GPU'}: {gib(plan.gpu_total_gib)}{judged}"
        if plan.memory_on == "RAM" and plan.memory_limit_gib is not None:
            yield f"  RAM: {gib(plan.memory_limit_gib)}{judged}"
        if plan.memory_on == "GPU" and plan.memory_total_gib is not None and plan.memory_verdict != "fits":
            yield wrapped(self._sizes(), WIDTH, "  ", "  ")

    def _sizes(self) -> str:
        """Which GPUs hold the run as it is."""
        each = f"{GIB_PER_NOMINAL_GB:g}"
        if not self.plan.fits_gb:
            return self.say("held_by_none", gb=NOMINAL_GB[-1], each=each)
        return self.say("held_by", sizes=", ".join(map(str, self.plan.fits_gb)), each=each)

    def _suggestions(self) -> Iterator[str]:
        """One set of changes after the other, ready to be pasted behind the command."""
        for suggestion in self.plan.suggestions:
            yield from _joined(suggestion.typed())
            remark = f"-> {gib(suggestion.total_gib)}: {suggestion.effect(self.words)}"
            yield wrapped(remark, WIDTH, "      ", "         ")

    # ---- in sentences

    def _costs(self) -> Iterator[str]:
        """What one more completion costs in generation and in the update, with this plan's numbers."""
        plan, say = self.plan, self.say
        if self.spec.is_supervised:
            yield from self._micro_costs()
            return
        per_row, per_micro = plan.gib_per_generated_completion, plan.gib_per_micro_batch_completion
        prompts = plan.prompts_per_phase
        rows = say("more_completions_one" if prompts == 1 else "more_completions_many", count=prompts)
        tokens = prompts * plan.max_tokens_per_completion
        if per_row:
            gained = _gib(prompts * per_row / plan.world_size)
            group = say("group_costs_memory", rows=rows, tokens=tokens, gib=gained)
        else:
            group = say("group_costs", rows=rows, tokens=tokens)
        micro = say("micro_costs") if per_micro is None else say("micro_costs_memory", gib=_gib(per_micro))
        yield wrapped(f"{group} {micro}", WIDTH, "  ", "  ")

    def _micro_costs(self) -> Iterator[str]:
        per_micro = self.plan.gib_per_micro_batch_completion
        key = "example_costs" if per_micro is None else "example_costs_memory"
        yield wrapped(self.say(key, gib=_gib(per_micro or 0.0)), WIDTH, "  ", "  ")

    def _verl(self) -> Iterator[str]:
        if self.spec.is_supervised:
            return
        verl = self.plan.verl
        if verl.ppo_mini_batch_size is None:
            mini = self.say("no_whole_prompts")
        else:
            mini = self.say("counts_prompts", count=verl.ppo_mini_batch_size)
        parts = [
            f"train_batch_size {self.say('counts_prompts', count=verl.train_batch_size)}",
            f"rollout.n {verl.rollout_n}",
            f"ppo_mini_batch_size {mini}",
            f"ppo_micro_batch_size_per_gpu {self.say('counts_completions', count=verl.ppo_micro_batch_size_per_gpu)}",
            f"ppo_epochs {verl.ppo_epochs}",
        ]
        yield wrapped(", ".join(parts), WIDTH, "  ", "  ")

    def _bullets(self, sentences: Iterable[Message]) -> Iterator[str]:
        for sentence in sentences:
            yield wrapped(self.words.said(sentence), WIDTH, "  - ", "    ")

    def _line(self, key: str, value: str, remark: str = "") -> str:
        return _columns(self.say(f"name.{key}"), value, remark)


def _block(title: str, lines: Iterator[str]) -> str:
    body = list(lines)
    return "\n".join([shortened(title, WIDTH), *body]) if body else ""


def _columns(name: str, value: str, remark: str = "") -> str:
    """A name, a right-aligned number and what it means, on as many lines as the remark needs."""
    room = max(_NAME + _VALUE - width(value), width(name) + 1)  # a long name may take what the number leaves free
    head = f"  {left(name, room)}{value}"
    return wrapped(remark, WIDTH, f"{head}  ", " " * (_NAME + _VALUE + 4))


def _joined(typed: list[str]) -> Iterator[str]:
    """As many on a line as fit; a backslash where the shell has to read on."""
    line = ""
    for words in typed:
        if line and len(line) + len(words) + 5 > WIDTH:
            yield f"  {line} \\"
            line = ""
        line = f"{line} {words}".strip()
    yield f"  {line}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _gib(value: float) -> str:
    return gib(value, 2) if value >= 0.01 else f"{value * 1024:.2g} MiB"
