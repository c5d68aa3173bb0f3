"""What a report must not say, and what it must: damage, uncertainty, collapse, the whole of the time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import began, checkpoint, finished, step
from tests.report.cases import ALIKE, ENTROPY, REWARD, ev, lost, run, shares, up
from tests.report.synthetic import make_run as make_whole_run
from trainer.report import compare, material, rules, sections, series
from trainer.report import write as reports
from trainer.report.rules import verdict
from trainer.report.sections import groups, resources, telling
from trainer.run.rundir import RunDir
from trainer.run.state import state_of

MakeRun = Callable[..., RunDir]
EN, KO = telling.words("en"), telling.words("ko")


# ---- damage


def group(text: str, prompt: str = "2+2?") -> bytes:
    completions = [{"text": text, "reward": reward, "tokens": 3} for reward in (0.0, 1.0)]
    return json.dumps({"prompt": prompt, "outcome": "spread", "completions": completions}, ensure_ascii=False).encode()


def test_texts_with_other_line_ends_lose_no_group(make_run: MakeRun) -> None:
    made = make_run("tiny-1", *finished(2), {"kind": "rollouts", "step": 2, "file": "step_000002.jsonl", "groups": 3})
    odd = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"
    made.rollouts_file(2).write_bytes(b"\n".join(group(odd, f"{n}{odd}") for n in range(3)) + b"\n")
    m = material.of(made)
    assert [len(one.completions) for one in m.groups(2)] == [2, 2, 2]
    assert [one.completions[0].text for one in m.groups(2)] == [odd] * 3
    assert "Of 3 groups at 1 steps" in reports.text_of([made], "en", "md")


def as_folder(made: RunDir) -> None:
    made.rollouts_file(2).unlink()
    made.rollouts_file(2).mkdir()


DAMAGE: dict[str, tuple[Callable[[RunDir], object], list[str], str]] = {
    "half a plan": (lambda r: r.plan.write_bytes(b'{"a": '), ["plan.json cannot be read"], "plan.json"),
    "no environment": (lambda r: r.env.unlink(), ["env.json is not there"], "env.json"),
    "an environment of lists": (lambda r: r.env.write_text('{"packages": []}'), [], "missing"),
    "an odd environment": (
        lambda r: r.env.write_text('{"packages": ["torch"]}'),
        ["packages is of another"],
        "env.json",
    ),
    "an odd plan": (lambda r: r.plan.write_text('{"optimizer_steps": "many"}'), ["optimizer_steps is of"], "plan.json"),
    "a torn line": (
        lambda r: r.rollouts_file(2).write_bytes(group("a") + b"\n" + group("b")[:30]),
        ["damaged (2): 1 lines are no group"],
        "1줄",
    ),
    "bytes that are no text": (
        lambda r: r.rollouts_file(2).write_bytes(group("a") + b"\n" + group("b").replace(b"b", b"\xff") + b"\n"),
        ["1 lines are no group", "1 of the lines left out in rollouts/ hold bytes that are not UTF-8"],
        "UTF-8",
    ),
    "a group less": (lambda r: r.rollouts_file(2).write_bytes(group("a")), ["1 groups are missing"], "빠져"),
    "no file": (
        lambda r: r.rollouts_file(2).unlink(),
        ["of 1 of the 1 steps that were looked at are not there"],
        "없습니다",
    ),
    "a folder": (
        as_folder,
        ["of step 2 cannot be read: it is a folder"],
        "폴더",
    ),
    "a log with odd bytes": (
        lambda r: r.events.write_bytes(r.events.read_bytes() + b'{"kind": "\xff"}\n'),
        ["1 of the lines left out in events.jsonl hold bytes"],
        "UTF-8",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_said_in_the_report(make_run: MakeRun, name: str) -> None:
    spoil, said, korean = DAMAGE[name]
    made = make_run("tiny-1", *finished(2), {"kind": "rollouts", "step": 2, "file": "step_000002.jsonl", "groups": 2})
    made.rollouts_file(2).write_bytes(group("a") + b"\n" + group("b") + b"\n")
    told = "\n".join(block.text for block in missing(made, "en"))
    assert not any(part in told for part in said)
    spoil(made)
    told = "\n".join(block.text for block in missing(made, "en"))
    assert all(part in told for part in said), told
    if said:
        assert korean in "\n".join(block.text for block in missing(made, "ko"))


def test_nothing_is_called_damaged_where_nothing_is(tmp_path: Path) -> None:
    found = material.of(make_whole_run(tmp_path, steps=4).rundir)
    assert found.damaged == () and found.plan["suggestions"]


def missing(made: RunDir, language: str) -> list[Any]:
    report = sections.build(material.of(made), language)
    found = next((section for section in report.sections if section.id == "missing"), None)
    return [block for block in found.blocks if hasattr(block, "text")] if found is not None else []


# ---- time


def test_time_outside_of_steps_is_all_of_it(make_run: MakeRun) -> None:
    phase = {"kind": "phase", "state": "end"}
    made = make_run(
        "tiny-1",
        {"t": 0, **began()},
        {"t": 20, **phase, "name": "load", "seconds": 12.0},
        {"t": 20, **phase, "name": "warm_start", "seconds": 7.0},
        {"t": 32, **step(1)},
        {"t": 60, "kind": "eval", "at": "during", "step": 1, "reward": 0.5, "rows": 9, "seconds": 25.0},
        {"t": 70, **checkpoint(1), "seconds": 3.0},
        {"t": 80, **step(2)},
        {"t": 90, **phase, "name": "train", "seconds": 70.0},
        {"t": 100, "kind": "run_finished", "step": 2},
    )
    found = resources.outside(state_of(made))
    assert found == {"load": 12.0, "eval": 25.0, "save": 3.0, "rest": 56.0}
    assert sum(found.values()) == 100 - 2 * 2.0
    text = reports.text_of([made], "en", "md")
    assert "2 min (96 % of the time" in text and "| answering held-out rows | 25 s |" in text


# ---- the end of a run


@pytest.mark.parametrize(
    ("count", "taken", "said"),
    [(8, 8, "all 8 steps so far"), (24, 10, "the last 10 steps"), (900, 180, "the last 180 steps")],
)
def test_the_end_is_called_what_it_is(count: int, taken: int, said: str) -> None:
    assert EN.said(series.late(count)) == said
    assert len(series.newest([(n, float(n)) for n in range(count)])) == taken
    dead = next(rules.groups.dead_groups(run(groups=shares(0, 0.9), n=count)))
    assert said in EN(f"finding.dead_groups.{dead.key}", **dead.values)


def test_a_comparison_names_the_steps_it_compares() -> None:
    one, other = (run({REWARD: up(low, low, n=20)}, n=20) for low in (0.2, 0.8))
    assert "Over the last 10 steps" in "".join(compare.verdicts([one, other], EN))


# ---- spread


def test_the_share_between_groups_is_not_inflated_by_their_size() -> None:
    assert groups.share_between([[0.0, 1.0]] * 3) == 0.0
    assert groups.share_between([[1.0, 1.0, 1.0], [0.0]]) == 1.0
    assert groups.share_between([[1.0, 1.0], [1.0]]) is None
    assert groups.share_between([[0.0, 1.0]]) is None
    assert groups.share_between([[0.0], [1.0]]) is None
    random = np.random.default_rng(0)
    for sigma, wanted in ((0.0, 0.0), (0.5, 0.2), (1.0, 0.5)):
        made = [random.normal(random.normal() * sigma, 1.0, random.integers(1, 6)).tolist() for _ in range(4000)]
        assert groups.share_between(made) == pytest.approx(wanted, abs=0.03)


# ---- held-out rows


@pytest.mark.parametrize("rows", [12, 400])
def test_no_headline_about_held_out_rows_without_its_uncertainty(rows: int) -> None:
    m = run({REWARD: up(0.2, 0.9)}, evals=[ev(0, 0.2, 0.1, rows=rows), ev(80, 0.9, 0.9, rows=rows)])
    found = rules.diagnose(m)
    for say in (EN, KO):
        said = verdict.said_verdict(found, say)
        assert "\u00b1" in said and str(rows) in said
        assert said in json.dumps([block.text for block in sections.build(m, say.language).sections[0].blocks
                                   if hasattr(block, "text")], ensure_ascii=False)  # fmt: skip
    assert ("only 12 rows" in verdict.said_verdict(found, EN)) == (rows == 12)


@pytest.mark.parametrize("pair", [(0.9, 0.2), (0.2, 0.9)])
def test_every_verdict_about_held_out_rows_can_be_said(pair: tuple[float, float]) -> None:
    fell = [ev(0, 0.1, 0.1), ev(40, pair[0], pair[0]), ev(80, pair[1], pair[1])]
    for evals in (fell, fell[1:], [{**one, "correct_frac": None} for one in fell]):
        said = verdict.said_verdict(rules.diagnose(run({REWARD: up(0.2, 0.9)}, evals=evals)), EN)
        assert "\u00b1" in said


def test_rewards_that_never_differ_prove_nothing() -> None:
    m = run({REWARD: up(0.2, 0.9)}, evals=[ev(0, 0.0, std=0.0, rows=3), ev(80, 1.0, std=0.0, rows=3)])
    assert verdict.run_verdict(rules.diagnose(m)) == "learnt_rows"


@pytest.mark.parametrize(("before", "said"), [(0.8, "has more (0.800)"), (0.5, "has as much"), (0.3, "")])
def test_the_best_checkpoint_is_compared_with_the_model_before(make_run: MakeRun, before: float, said: str) -> None:
    share = {"kind": "eval", "rows": 40}
    made = make_run(
        "tiny-1",
        began(),
        {**share, "at": "before", "step": 0, "reward": before},
        *(step(n) for n in range(1, 41)),
        checkpoint(40),
        {**share, "at": "after", "step": 40, "reward": 0.5},
    )
    made.checkpoint(40).mkdir()
    text = reports.text_of([made], "en", "md")
    assert "Best checkpoint: step 40" in text
    assert said in text and ("no checkpoint has improved" in text) == bool(said)


# ---- collapse


def test_a_collapse_is_called_so_and_names_what_to_do(make_run: MakeRun) -> None:
    def at(n: int) -> dict[str, Any]:
        dead = 1.0 if n > 24 else 0.1
        said = step(n, 0.0 if n > 24 else 0.3 + 0.02 * n + 0.01 * (n % 3), dead)
        return {**said, "groups": {"dead_frac": dead, "all_right_frac": 0.0, "all_wrong_frac": dead,
                                   "constant_frac": 0.0, "same_text_frac": 1.0 if n > 24 else 0.2}}  # fmt: skip

    events = [event for n in range(1, 41) for event in (at(n), *([checkpoint(n)] if n % 10 == 0 else []))]
    made = make_run("tiny-1", began(), *events)
    for n in (10, 20, 30, 40):
        made.checkpoint(n).mkdir()
    m = material.of(made)
    (dead,) = (finding for finding in rules.diagnose(m) if finding.signal == "dead_groups")
    assert (dead.key, dead.values["start"]) == ("collapsed_same", 25)
    assert [way.typed for way in dead.advice] == [
        f"--set optim.learning_rate=5e-07 --set model.adapter={made.checkpoint(20)}",
        "--set optim.learning_rate=5e-07",
    ]
    for language, words in (("en", "collapsed"), ("ko", "붕괴")):
        text = reports.text_of([made], language, "md")
        assert words in text.split("##")[1] and "checkpoint-20" in text
        assert "never saw a right answer" not in text
    made.checkpoint(20).rmdir()  # rotated away
    (dead,) = (finding for finding in rules.diagnose(material.of(made)) if finding.signal == "dead_groups")
    assert dead.advice[0].typed.endswith("checkpoint-10")


@pytest.mark.parametrize(
    "healthy",
    [
        lambda: run({REWARD: 0.0}, groups={**shares(0, 1.0), "same_text_frac": 1.0}),  # it never could do anything
        lambda: run({REWARD: up(0.2, 1.0), ENTROPY: up(0.5, 0.0)}, groups={**shares(0.9), "same_text_frac": ALIKE}),
        lambda: run({REWARD: up(0.2, 0.25, 0.2)}, groups=shares(0, 0.7)),  # hard rows, with dead stretches by chance
    ],
)
def test_what_is_no_collapse_is_not_called_one(healthy: Callable[[], Any]) -> None:
    assert verdict.run_verdict(rules.diagnose(healthy())) != "collapsed"


def test_a_collapse_comes_before_what_was_better_on_held_out_rows() -> None:
    m = lost(same_text_frac=ALIKE)
    m.state.evals.extend(run(evals=[ev(0, 0.2, 0.2), ev(80, 0.9, 0.9)]).state.evals)
    assert verdict.run_verdict(rules.diagnose(m)) == "collapsed"


# ---- length


def test_a_trend_of_a_very_long_run_takes_no_longer_than_reading_it() -> None:
    values = np.linspace(0, 1, 300_000) + np.random.default_rng(0).normal(size=300_000)
    points = series.known(range(300_000), values.tolist())
    began_s = time.process_time()
    found = series.trend(points)
    assert found is not None and found.direction == 1
    assert time.process_time() - began_s < 5  # 0.2; a convolution took 30
    assert points.steps.nbytes + points.values.nbytes == 16 * 300_000
