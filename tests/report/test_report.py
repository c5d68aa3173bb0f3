"""The report of one run: every number in it recomputed from the events, every state of a run, hostile text inert."""

from __future__ import annotations

import html
import json
import re
import statistics
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.report.cases import run, taught
from tests.report.synthetic import Made, Today, make_run, write
from trainer.report import html as as_html
from trainer.report import markdown, material, sections
from trainer.report.document import Report, Table
from trainer.report.sections import overview, resources
from trainer.report.sections.telling import Telling, words
from trainer.run.records import PhaseEvent
from trainer.run.rundir import RunDir
from trainer.text import forms

Events = list[dict[str, Any]]
LANGUAGES = ("en", "ko")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    evals = [(0, 0.40), (40, 0.55), (80, 0.70)]
    return make_run(tmp_path_factory.mktemp("report"), "run-1", steps=80, evals=evals, change=hard_at_30)


def hard_at_30(step: int, today: Today) -> None:
    if step == 30:
        today.skill, today.length = -6.0, 420.0


@pytest.fixture(scope="module")
def text(made: Made) -> str:
    return markdown.render(report(made.rundir))


def report(rundir: RunDir, language: str = "en", step: int | None = None) -> Report:
    return sections.build(material.of(rundir), language, step)


def rows_of(text: str, head: str) -> dict[str, list[str]]:
    """{first cell: the others} of the Markdown table whose head begins with that cell."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {head} |"))
    found = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        first, *rest = (cell.strip().replace("\\", "") for cell in line.strip("| ").split(" | "))
        found[first] = rest
    return found


def column(made: Made, name: str) -> list[tuple[int, float]]:
    steps = [event for event in made.events if event["kind"] == "step"]
    return [(e["step"], e["metrics"][name]) for e in steps if name in e["metrics"]]


# ---- numbers


def test_every_number_of_the_metrics_table_is_that_of_the_events(made: Made, text: str) -> None:
    table = rows_of(text, "Metric")
    groups = {name: [(e["step"], e["groups"][name]) for e in made.events if e["kind"] == "step"] for name in
              ("group_std", "batch_std", "dead_frac", "all_right_frac", "truncated_frac")}  # fmt: skip
    names = ("train/reward", "train/loss", "train/kl", "train/entropy", "train/rewards/correct/mean")
    for name, points in {**{name: column(made, name) for name in names}, **groups}.items():
        values = [value for _, value in points]
        first, last, usual, between, least, most = (table[name][n] for n in range(6))
        assert near(first, statistics.fmean(values[:10])) and near(last, statistics.fmean(values[-10:]))
        assert near(usual, statistics.median(values))
        lowest, highest = min(points, key=lambda p: p[1]), max(points, key=lambda p: p[1])
        assert least.endswith(f"({lowest[0]})") and near(least.split(" ")[0], lowest[1])
        assert most.endswith(f"({highest[0]})") and near(most.split(" ")[0], highest[1])
        low, high = between.split(" - ")
        inside = [value for value in values if float(low) - 1e-3 <= value <= float(high) + 1e-3]
        assert 0.85 * len(values) <= len(inside)


def test_the_mean_advantage_stands_there_with_why_it_is_0(made: Made, text: str) -> None:
    table = rows_of(text, "Metric")
    assert set(table["train/advantage_mean"][:3]) <= {"0", "0.00", "0.000", "0.0000"}
    assert "train/advantage_std" in table
    assert "train/advantage_mean is 0 because an advantage is a reward less the mean of its group" in text.replace(
        "\\", ""
    )
    assert "advantage_mean" in markdown.render(report(made.rundir, "ko")).replace("\\", "")


def near(shown: str, value: float) -> bool:
    return float(shown.replace(",", "")) == pytest.approx(value, rel=6e-3, abs=6e-4)


def test_shares_of_the_time_are_those_of_the_spans(made: Made, text: str) -> None:
    spans: dict[str, float] = {}
    for event in made.events:
        if event["kind"] == "span" and not event["warmup"]:
            for span in event["spans"]:
                spans[span["name"]] = spans.get(span["name"], 0.0) + span["self_s"]
    total = sum(spans.values())
    table = rows_of(text, "Part of a step")
    assert table["generation"][0] == forms.percent(spans["transformers.generate"] / total)
    assert table["the rewards"][0] == forms.percent(spans["_calculate_rewards"] / total)
    assert table["loss and backward pass"][0] == forms.percent((spans["backward"] + spans["compute_loss"]) / total)


def test_dead_groups_and_patterns_are_counted_from_the_rollouts(made: Made, text: str) -> None:
    lines = [json.loads(line) for file in sorted(made.rundir.rollouts.iterdir()) for line in file.open()]
    outcomes = [line["outcome"] for line in lines]
    table = rows_of(text, "Outcome")
    words_of = {"spread": "taught something", "all_right": "all right", "all_wrong": "all wrong"}
    for kind, word in words_of.items():
        assert table[word] == [forms.percent(outcomes.count(kind) / len(outcomes))]
    assert f"Of {len(lines)} groups at 80 steps" in text
    rewards = [[c["reward"] for c in line["completions"]] for line in lines]
    within = statistics.fmean(statistics.variance(group) for group in rewards)
    between = statistics.variance([statistics.fmean(group) for group in rewards]) - within / len(rewards[0])
    assert f"{forms.percent(within / (within + between))} of the variance of the rewards is inside" in text


def test_the_held_out_rows_are_those_of_the_evaluations(text: str) -> None:
    assert rows_of(text, "When") == {
        "before training": ["0", "40 %", "0.850", "200"],
        "during training": ["40", "55 %", "1.00", "200"],
        "after training": ["80", "70 %", "1.15", "200"],
    }
    assert "40 % at first, 70 % at last, of 200 (± 9 points)" in text


def test_a_group_is_worked_through_with_its_own_rewards(made: Made, text: str) -> None:
    step = int(re.findall(r"One group of step (\d+)", text)[0])
    lines = [json.loads(line) for line in made.rundir.rollouts_file(step).open()]
    group = next(line for line in lines if line["outcome"] == "spread")
    rewards = [completion["reward"] for completion in group["completions"]]
    shown = rows_of(text, "Completion")
    assert [float(row[0]) for row in shown.values()] == rewards
    mean = statistics.fmean(rewards)
    assert [float(row[1]) for row in shown.values()] == pytest.approx([r - mean for r in rewards], abs=6e-3)


def test_the_step_that_was_asked_for_is_shown_close_up(made: Made) -> None:
    text = markdown.render(report(made.rundir, step=12))
    assert "## Step 12 up close" in text and "As asked for." in text
    lines = [json.loads(line) for line in made.rundir.rollouts_file(12).open()]
    table = rows_of(text.split("## Step 12 up close")[1], "Prompt")
    for line in lines:
        rewards = ", ".join(forms.number(completion["reward"]) for completion in line["completions"])
        assert table[line["prompt"]][0] == rewards
    values = dict(column(made, "train/reward"))
    assert f"| train/reward | {forms.number(values[12])} |" in text


def test_without_a_wish_the_lowest_dip_is_shown(text: str) -> None:
    assert "## Step 30 up close" in text and "The lowest dip of the reward." in text


def test_the_prompt_that_was_paid_least_at_a_dip_is_named(made: Made, text: str) -> None:
    lines = [json.loads(line) for line in made.rundir.rollouts_file(30).open()]
    worst = min(lines, key=lambda line: line["reward_mean"])
    table = rows_of(text, "Lowest reward at a dip, highest at a spike")
    assert table[worst["prompt"]] == ["30", forms.number(worst["reward_mean"])]


# ---- form


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_placeholder_is_left_and_both_forms_have_the_same_sections(made: Made, language: str) -> None:
    found = report(made.rundir, language)
    text, page = markdown.render(found), as_html.render(found)
    assert not re.search(r"\{[a-z_]+(:[a-z]+)?\}", text)
    titles = [html.unescape(title) for title in re.findall(r"<h2>(.*?)</h2>", page)]
    assert titles == [section.title for section in found.sections]
    assert [line[3:].replace("\\", "") for line in text.splitlines() if line.startswith("## ")] == titles
    assert f'<html lang="{language}">' in page


class Balanced(HTMLParser):
    """Fails on a tag that is not closed by its own."""

    VOID = frozenset({"meta", "br", "wbr", "path", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_file_stands_alone(made: Made, language: str) -> None:
    page = as_html.render(report(made.rundir, language))
    parsed = Balanced()
    parsed.feed(page)
    assert parsed.open == [] and "svg" in parsed.tags
    assert not parsed.tags & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"https?://|@import|url\(|src=", page)
    assert "default-src 'none'" in page


NASTY = "</pre><script>alert(1)</script><img src=x onerror=alert(1)> ```\n# heading {x} $y | cell [a](b) <!--"


def test_what_a_model_wrote_stays_text(tmp_path: Path) -> None:
    made = make_run(tmp_path, steps=12)
    for file in made.rundir.rollouts.iterdir():
        lines = [json.loads(line) for line in file.open()]
        for line in lines:
            line["prompt"] = [{"role": "user", "content": f"{NASTY} {line['prompt']}"}]
            for completion in line["completions"]:
                completion["text"] = NASTY
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = report(made.rundir)
    page, text = as_html.render(found), markdown.render(found)
    parsed = Balanced()
    parsed.feed(page)
    assert parsed.open == [] and not parsed.tags & {"script", "img"}
    assert html.escape(NASTY.split(" ")[0]) in page
    assert "\n# heading" in text  # inside a fence, which is longer than what it holds
    fences = re.findall(r"^(`{3,})", text, re.M)
    assert len(fences) % 2 == 0 and max(map(len, fences)) >= 4


# ---- states


def test_a_run_without_a_step_says_so(tmp_path: Path) -> None:
    made = make_run(tmp_path, steps=0, evals=[], end=None)
    text = markdown.render(report(made.rundir))
    assert "No step was finished" in text and "## Metric by metric" not in text


def ended(made: Made, *last: dict[str, Any], keep: Callable[[dict[str, Any]], bool] = lambda event: True) -> str:
    write(made.rundir, [*(event for event in made.events[:-1] if keep(event)), *last])
    return markdown.render(report(made.rundir))


def test_every_end_of_a_run_says_what_is_missing(tmp_path: Path) -> None:
    made = make_run(tmp_path, "run-2", steps=24)
    problem = {"where": "memory", "what": "ran out", "fix": "a smaller batch"}
    failed = {"kind": "run_failed", "step": 24, "error": "X", "problems": [problem], "exit_code": 1}
    assert "The run failed at step 24: memory: ran out  -\\>  a smaller batch" in ended(made, failed)
    stopped = {"kind": "run_stopped", "step": 24, "checkpoint": None, "reason": "SIGTERM"}
    assert "`python app.py --headless --resume run-2`" in ended(made, stopped)
    assert "The process of this run disappeared without reporting an end after step 24" in ended(made)
    finished = made.events[-1]
    text = ended(made, finished, keep=lambda event: event.get("at") != "after")
    assert "The held-out rows were not answered at the end." in text
    alert = {"kind": "alert", "level": "warn", "title": "disk almost full", "text": "deleted checkpoint-5"}
    assert "disk almost full" in ended(made, alert, finished)


def test_a_resumed_run_counts_steps_once(tmp_path: Path) -> None:
    made = make_run(tmp_path, steps=24)
    begun = {"kind": "run_started", "attempt": 2, "resumed_from_step": 20, "resumed_from": "checkpoint-20"}
    again = [event | {"attempt": 2} for event in made.events if event.get("step", 0) > 20 and event["kind"] == "step"]
    write(made.rundir, [*made.events[:-1], begun, *again, made.events[-1] | {"attempt": 2}])
    text = markdown.render(report(made.rundir))
    assert "trained twice count once" in text and "2, resumed at steps 20" in text
    assert "usual is the median of all 24 steps" in text


def test_settings_of_another_version_and_damaged_lines_are_said(tmp_path: Path) -> None:
    made = make_run(tmp_path, steps=24)
    made.rundir.spec.write_text("{}")
    with made.rundir.events.open("a") as log:
        log.write("not an event\n")
    text = markdown.render(report(made.rundir))
    assert "cannot be read by this version" in text and "1 lines of the event log" in text
    assert "train/reward" in text


def test_the_report_reads_and_changes_nothing(made: Made) -> None:
    before = {path: path.read_bytes() for path in made.rundir.path.rglob("*") if path.is_file()}
    report(made.rundir, "ko")
    assert {path: path.read_bytes() for path in made.rundir.path.rglob("*") if path.is_file()} == before


def test_both_languages_have_every_key_with_the_same_values() -> None:
    en, ko = ({key for key in words(code).keys() if key.startswith("report.")} for code in ("en", "ko"))  # noqa: SIM118
    assert en == ko and en


@pytest.mark.parametrize("language", LANGUAGES)
def test_supervised_training_has_no_groups_and_says_nothing_about_completions_of_a_step(language: str) -> None:
    say = words(language)
    found = sections.build(taught([2.0 - n / 100 for n in range(100)], n=100), language)
    assert "patterns" not in [section.id for section in found.sections]
    shown = markdown.render(found)
    assert say("patterns.none") not in shown and say("close_up.no_rollouts") not in shown


def test_what_was_written_before_training_has_its_own_line_of_time() -> None:
    state = taught([2.0] * 20, n=20).state
    state.train_seconds = 1.0
    before = resources.outside(state)
    state.phases.append(PhaseEvent(name="samples", seconds=7.0))
    assert resources.outside(state)["samples"] == 7.0 and "samples" not in before
    assert "time_table.outside_samples" in words("ko")


def test_the_model_of_a_later_stage_is_the_run_and_step_it_starts_from(tmp_path: Path) -> None:
    start = RunDir(tmp_path / "words.1-sft").checkpoint(40)
    for name, said in ((str(start), "run:words.1-sft@40"), ("Qwen/Qwen3-4B", "Qwen/Qwen3-4B")):
        (table,) = overview.overview(Telling(run(spec={"model": {"name": name}}), [], words("en"))).blocks
        assert isinstance(table, Table) and ("Model", said) in table.rows
