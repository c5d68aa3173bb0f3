"""The charts of Live, in order: what one run reported about itself, each in a card of the same size, also where there
is nothing to draw. RunState -> Chart; no gradio, no files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.report import series
from trainer.report.rules.time import PHASES, phase_of_spans
from trainer.report.sections import telling
from trainer.rewards.highest import highest
from trainer.run.columns import Column
from trainer.run.state import PROFILED, RunState
from trainer.run.status import Status
from trainer.show import charts
from trainer.show.charts import COLOURS, Chart, Format, Line, Style
from trainer.spec import Component, RunSpec
from trainer.text import Words, forms
from trainer.ui.colours import component_colours
from trainer.ui.known_runs import Seen
from trainer.ui.live import example_charts, learning_charts, sampling_charts
from trainer.ui.live.drawing import Pen, Points, View

MOST_EVALS = 240
_DEAD: dict[str, Style] = {"all_right": "c3", "all_wrong": "c6", "constant": "c8"}


@dataclass(frozen=True)
class ChartCard:
    """empty: why there is nothing, where there is nothing. large: two rows and columns."""

    chart: Chart
    empty: str
    large: bool = False


def stage(seen: Seen | None, view: View, say: Words) -> ChartCard:
    """The largest chart: what training and held-out rows were paid, and the most there is; of supervised training, in
    which nothing is paid, the loss."""
    board = _board(seen, view, say)
    return board.examples()[0] if board.supervised else board.reward()


def cards(seen: Seen | None, view: View, say: Words) -> list[ChartCard]:
    """The others; the same cards in every state of a run, and without one. Those of [sampling] and of [reward.learning]
    come last, where the run has set them. Of supervised training those of what it has: no groups, nothing that
    it writes."""
    board = _board(seen, view, say)
    if board.supervised:
        return [
            *board.examples()[1:],
            *(board.grad_norm(), board.rate(), *([] if board.judges else [board.entropy()])),
            *(board.time(), board.speed(), board.tokens(), board.memory(), board.busy()),
        ]
    return [
        *(board.components(), board.spread(), board.dead(), board.kl()),
        *(board.loss(), board.grad_norm(), board.entropy(), board.clipped()),
        *(board.lengths(), board.truncated(), board.speed(), board.tokens()),
        *(board.time(), board.memory(), board.busy(), board.rate()),
        *board.sampling(),
    ]


def _board(seen: Seen | None, view: View, say: Words) -> _Board:
    if seen is None:
        return _Board(Pen(RunState(), view), None, None, say)
    return _Board(Pen(seen.state, view), seen.spec, seen.status, say)


def render(found: Iterable[ChartCard], say: Words) -> str:
    step = say("chart.step")
    cells = [f'<div class="{_kind(card)}">{charts.render(card.chart, step, card.empty)}</div>' for card in found]
    return f'<div class="g-board">{"".join(cells)}</div>'


def _kind(card: ChartCard) -> str:
    """Where only single steps and their mean are drawn nothing needs to say so: the line above all charts does."""
    plain = all(line.style in ("faint", "strong") for line in card.chart.drawn) and not card.chart.stacked
    return "g-cell" + (" g-large" if card.large else "") + (" g-plain" if plain and card.chart.drawn else "")


def weights(spec: RunSpec | None) -> dict[str, float]:
    """{component: what its value counts in the total}, in the order of the preset, those inside sums too."""
    found: dict[str, float] = {}

    def walk(components: Sequence[Component], factor: float) -> None:
        for part in components:
            if part.components:
                walk(part.components, factor * part.weight)
            else:
                found[part.title] = factor * part.weight

    if spec is not None:
        walk(spec.reward.components, 1 / spec.reward.divide_by)
    return found


@dataclass(frozen=True)
class _Board:
    pen: Pen
    spec: RunSpec | None
    status: Status | None
    say: Words

    # ---- rewards

    def reward(self) -> ChartCard:
        column, view = self._metric("train/reward"), self.pen.view
        mean = self.say("chart.smooth", count=f"{view.width:,}")
        lines = self.pen.two(column, self.say("chart.sampled"), mean)
        shown = [
            (max(view.first, event.step), float(event.reward))  # that before the first step stands at it
            for event in self.pen.state.evals[-MOST_EVALS:]
            if event.reward is not None and view.holds(event.step)
        ]
        most = highest(self.spec.reward) if self.spec is not None and self.status != "imported" else None
        ends = sorted({step for line in lines for step, _ in line.points})
        if most is not None and ends:
            told = self.say("chart.most", reward=forms.number(most))
            lines.append(Line(told, "dashed", [(step, most) for step in ends[:1] + ends[-1:]]))
        if shown:
            lines.append(Line(self.say("chart.evaluated"), "joined", shown))
        note = self.say("chart.at", step=f"{lines[0].points[-1][0]:,}") if lines[0].points else ""
        return ChartCard(self._chart("reward", lines, column, note=note), self._missing(), large=True)

    def components(self) -> ChartCard:
        weight = weights(self.spec)
        recorded = [name for name in self._recorded() if name not in weight]
        colours = component_colours([*weight, *recorded])
        lines = []
        for name, colour in colours.items():
            column = self._metric(f"train/rewards/{name}/mean")
            if column:
                counts = f" \u00d7 {weight[name]:g}" if name in weight else ""
                lines.append(self.pen.one(name + counts, colour, column))
        return ChartCard(self._chart("components", lines, headline=False), self._missing())

    def _recorded(self) -> list[str]:
        head, tail = "train/rewards/", "/mean"
        names = [name for name in self.pen.state.metrics if name.startswith(head) and name.endswith(tail)]
        return [name[len(head) : -len(tail)] for name in names if name != f"{head}ComponentRewardWrapper{tail}"]

    def spread(self) -> ChartCard:
        column, key = self._group("group_std"), "spread"
        if self.pen.state.steps and not column:
            column, key = self._metric("train/reward_std"), "spread_trl"
        return ChartCard(self._chart(key, self._two(column), column, low=0.0), self._missing())

    def dead(self) -> ChartCard:
        kinds = {name: self._group(f"{name}_frac") for name in _DEAD}
        lines = [
            Line(self.say(f"chart.{name}"), _DEAD[name], self.pen.stacked(column))
            for name, column in kinds.items()
            if column
        ]
        column = self._group("dead_frac")
        if not lines:
            column = self._metric("train/frac_reward_zero_std")
            lines = [Line(self.say("chart.dead_all"), "c8", self.pen.stacked(column))] if column else []
        newest = series.newest_mean(column)
        if newest is None:
            return ChartCard(self._share("dead", lines, stacked=True), self._missing())
        # The number that the sentences name, and of which steps it is.
        share, over = newest[0], self.say.said(series.late(newest[1]))
        return ChartCard(self._share("dead", lines, stacked=True, value=share, note=over), self._missing())

    # ---- learning from examples

    @property
    def supervised(self) -> bool:
        return self.spec is not None and self.spec.is_supervised

    @property
    def judges(self) -> bool:
        """A reward model is trained: it draws no tokens."""
        return self.spec is not None and self.spec.is_reward_model

    def examples(self) -> list[ChartCard]:
        """The loss, large, and what a method on examples has beside it."""
        first, *others = example_charts.charts(self.pen, self.spec, self.say, self._chart)
        why = self.say("chart.na_held_out") if self.spec and not self.spec.data.has_held_out_rows else self._missing()
        small = [ChartCard(chart, why if chart.title in self._of_held_out() else self._missing()) for chart in others]
        return [ChartCard(first, self._missing(), large=True), *small]

    def _of_held_out(self) -> set[str]:
        return {self.say(f"chart.held_out_{name}") for name in ("correct", "reward", "ordered", "correlation")}

    # ---- how far the policy moved

    def kl(self) -> ChartCard:
        column = self._metric("train/kl")
        none = self.spec is not None and self.spec.grpo.beta == 0 and self.status != "imported"
        why = self.say("chart.na_kl") if none else self._missing()
        of = next((step for step in reversed(self._metric("train/reference_step") or []) if step is not None), None)
        key, note = ("kl", "") if of is None else ("kl_moving", self._reference(round(of)))
        return ChartCard(self._chart(key, [] if none else self._two(column), column, low=0.0, note=note), why)

    def _reference(self, step: int) -> str:
        """Of which step the policy is that the reference has become."""
        return self.say("chart.kl_step", step=step) if step else self.say("chart.kl_start")

    def loss(self) -> ChartCard:
        return self._plain("loss", "train/loss", low=None)

    def grad_norm(self) -> ChartCard:
        return self._plain("grad_norm", "train/grad_norm")

    def entropy(self) -> ChartCard:
        return self._plain("entropy", "train/entropy")

    def rate(self) -> ChartCard:
        column = self._metric("train/learning_rate")
        lines = self._exact(column)
        return ChartCard(self._chart("rate", lines, column, low=0.0, format=_rate, mark=_rate), self._missing())

    def clipped(self) -> ChartCard:
        if self._on_policy():
            return ChartCard(self._share("clipped", []), self.say("chart.na_clip"))
        parts: list[tuple[str, Style]] = [("region_mean", "strong"), ("low_mean", "dashed"), ("high_mean", "dotted")]
        column = self._metric("train/clip_ratio/region_mean")
        return ChartCard(
            self._share("clipped", self._several("train/clip_ratio/", parts), column, high=None), self._missing()
        )

    def _on_policy(self) -> bool:
        """Every ratio is 1: one update for each generation, and none comes again."""
        spec, plan = self.spec, self.pen.state.plan or {}
        if spec is None or self.status == "imported":
            return False
        updates = plan.get("updates_per_phase") or spec.generation.steps_per_generation or 1
        return spec.grpo.num_iterations == 1 and updates == 1 and not spec.sampling.replay

    # ---- what was written

    def lengths(self) -> ChartCard:
        parts: list[tuple[str, Style]] = [("mean_length", "strong"), ("max_length", "dashed"), ("min_length", "dotted")]
        column = self._metric("train/completions/mean_length")
        lines = self._several("train/completions/", parts)
        return ChartCard(self._chart("lengths", lines, column, low=0.0, format=self._unit("tokens")), self._missing())

    def truncated(self) -> ChartCard:
        column = self._group("truncated_frac") or self._metric("train/completions/clipped_ratio")
        return ChartCard(self._share("truncated", self._two(column), column), self._missing())

    def speed(self) -> ChartCard:
        points = self.pen.rate(self.pen.state.tokens_at, self.pen.state.seconds)
        lines = [Line(self.say("chart.each"), "strong", points)]
        return ChartCard(self._chart("speed", lines, low=0.0, format=self._unit("speed")), self._missing())

    def tokens(self) -> ChartCard:
        lines = [Line(self.say("chart.sum"), "strong", self.pen.raw(self.pen.state.tokens_at))]
        return ChartCard(
            self._chart("tokens", lines, low=0.0, format=self._unit("tokens"), mark=_short), self._missing()
        )

    # ---- what it took

    def time(self) -> ChartCard:
        """Seconds of each part of a step; without spans what the profiling metrics tell."""
        told = telling.words(self.say.language)
        lines = [
            Line(told(f"word.{name}"), colour, points)
            for (name, points), colour in zip(self._parts().items(), COLOURS, strict=False)
            if points
        ]
        chart = self._chart("time", lines, self.pen.state.seconds, low=0.0, format=self.say.duration, stacked=True)
        return ChartCard(chart, self._missing())

    def _parts(self) -> dict[str, Points]:
        """{part: its seconds}, all parts in the same order, empty where there is nothing: the colours stay."""
        state = self.pen.state
        vllm = self.spec is not None and (self.spec.model.fast_inference or bool(self.spec.trl.get("use_vllm")))
        home = phase_of_spans(state.self_s, vllm)
        found: dict[str, dict[int, float]] = {part: {} for part in (*PHASES, "other")}
        for span, column in state.self_s.items():
            sums = found["rewards" if span.startswith("reward.") else home.get(span, "other")]
            for step, value in self.pen.stacked(column):
                sums[step] = sums.get(step, 0.0) + value
        if not state.self_s:
            for part, span in (("generate", "transformers.generate"), ("rewards", "_calculate_rewards")):
                found[part] = dict(self.pen.stacked(self._metric(f"{PROFILED}{span}")))
        return {part: sorted(sums.items()) for part, sums in found.items()}

    def memory(self) -> ChartCard:
        used = self.pen.state.memory.get("used_gib", Column())
        column = used or self.pen.state.memory.get("rss_gib", Column())
        lines = self._exact(column)
        total = self.pen.state.gpu.total_gib if self.pen.state.gpu else None
        if used and total is not None:
            ends = sorted({point[0] for point in lines[0].points})
            lines.append(Line(self.say("chart.memory_all"), "dashed", [(step, total) for step in ends[:1] + ends[-1:]]))
        chart = self._chart("memory" if used else "memory_ram", lines, column, low=0.0, format=_gib)
        return ChartCard(chart, self._missing())

    def busy(self) -> ChartCard:
        column = self.pen.state.memory.get("utilization_frac", Column())
        state = self.pen.state
        known = bool(state.steps) or (state.trained is not None and state.trained.device == "cpu")
        none = known and state.gpu is None and self.status != "imported"
        why = self.say("chart.na_gpu") if none else self._missing()
        return ChartCard(self._share("busy", self._two(column), column), why)

    # ---- which prompts came, and what the reward model has learnt

    def sampling(self) -> list[ChartCard]:
        found = sampling_charts.charts(self.pen, self.spec, self.say, self._chart)
        found += learning_charts.charts(self.pen, self.spec, self.say, self._chart)
        return [ChartCard(chart, self._missing()) for chart in found]

    # ---- pieces

    def _metric(self, name: str) -> Column:
        return self.pen.state.metrics.get(name, Column())

    def _group(self, name: str) -> Column:
        return self.pen.state.groups.get(name, Column())

    def _plain(self, key: str, name: str, low: float | None = 0.0, **more: Any) -> ChartCard:
        column = self._metric(name)
        return ChartCard(self._chart(key, self._two(column), column, low=low, **more), self._missing())

    def _two(self, column: Column) -> list[Line]:
        return self.pen.two(column, self.say("chart.each"), self.say("chart.smooth", count=f"{self.pen.view.width:,}"))

    def _exact(self, column: Column) -> list[Line]:
        """Every step as it was, also where others are smoothed: a mean of what is planned or held never was."""
        return [Line(self.say("chart.each"), "strong", self.pen.raw(column))]

    def _several(self, head: str, parts: Iterable[tuple[str, Style]]) -> list[Line]:
        known = [(name, style, self._metric(head + name)) for name, style in parts]
        return [self.pen.one(self.say(f"chart.{name}"), style, column) for name, style, column in known if column]

    def _share(self, key: str, lines: list[Line], column: Column | None = None, **more: Any) -> Chart:
        options: dict[str, Any] = {"low": 0.0, "high": 1.0, "format": forms.percent, "mark": forms.percent}
        return self._chart(key, lines, column, **(options | more))

    def _chart(
        self,
        key: str,
        lines: list[Line],
        column: Column | None = None,
        *,
        format: Format = forms.number,
        note: str = "",
        **more: Any,
    ) -> Chart:
        """column: whose newest value is compared with that of ten steps before. note: said before that."""
        kept = [line for line in lines if line.points]
        moved = _moved(self.pen.change(column or []), format) if kept else ""
        note = ", ".join(filter(None, (note, moved)))
        return Chart(self.say(f"chart.{key}"), kept, format=format, note=note, hover=True, **more)

    def _unit(self, name: str) -> Format:
        unit = self.say(f"chart.unit_{name}")
        return lambda value: f"{forms.number(_rounded(value))} {unit}"

    def _missing(self) -> str:
        return self.say("chart.unrecorded" if self.pen.state.steps else "chart.soon")


def _moved(change: float | None, format: Format) -> str:
    """An arrow and by how much; "" where it is not known."""
    if change is None:
        return ""
    size = format(abs(change))
    if size == format(0.0):
        return "\u2192"
    return f"\u2197 +{size}" if change > 0 else f"\u2198 \u2212{size}"


def _gib(value: float) -> str:
    return f"{forms.number(value)} GiB"


def _rate(value: float) -> str:
    return f"{value:.3g}"


def _short(value: float) -> str:
    """Numbers on an axis that become large: 120 k, 3.5 M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}"


def _rounded(value: float) -> float:
    return round(value) if abs(value) >= 100 else value
