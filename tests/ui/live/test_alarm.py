"""A collapse and an exploited reward on Live: called by their name, with the texts, and a way on. No browser."""

from __future__ import annotations

from typing import Any

import pytest

from tests.report.cases import ALIKE, flat, gamed, lost, placed, same, up, whole
from trainer.report.material import Material
from trainer.report.rules import diagnose
from trainer.report.rules.evidence import commonest, not_right
from trainer.report.rules.verdict import run_verdict
from trainer.run.groups import Group, group_of
from trainer.text import words
from trainer.ui.advice import given
from trainer.ui.diagnoses import Diagnosis
from trainer.ui.live import alarm

EN, KO = words("en"), words("ko")


def written(*texts: str, right: str = "false") -> Any:
    """Groups of a step: these completions with the form, none of them right."""
    one = '{{"text": "{text}", "reward": 0.5, "correct": ' + right + ', "components": {{"format": {value}}}}}'
    said = ", ".join(one.format(text=text, value=len(text)) for text in texts)
    line = '{"group": 0, "prompt": "Add 1 and 2", "outcome": "all_wrong", "completions": [' + said + "]}"

    def told(step: int) -> list[Group]:
        group = group_of(line.encode(), 0)
        assert group is not None
        return [group]

    return told


def showing(m: Material, *texts: str) -> Material:
    object.__setattr__(m, "told", written(*texts))
    return m


@pytest.mark.parametrize(
    ("m", "verdict", "said", "advice"),
    [
        (lost(same_text_frac=ALIKE), "collapsed", "The policy has collapsed", "lower_rate"),
        (same(0.97, 0.9), "one_text", "one and the same text", "lower_rate"),
        (gamed(up(0.2, 1.0)), "gamed", "the component format has risen", "only_if"),
    ],
)
def test_what_goes_wrong_is_named_with_its_texts_and_a_button(
    m: Material, verdict: str, said: str, advice: str
) -> None:
    findings = diagnose(showing(m, "<b>7</b>", "<b>7</b>"))
    found = Diagnosis("made", "finished", 80, findings)
    assert run_verdict(findings) == verdict
    for say in (EN, KO):
        html = alarm.box(found, say)
        assert "&lt;b&gt;7&lt;/b&gt;" in html and "Add 1 and 2" in html and "<b>7" not in html
        assert f'data-advice="{advice}"' in html
    assert said in alarm.box(found, EN)
    signal = html.split('data-signal="')[1].split('"')[0]
    assert given(found, signal, advice) is not None


def test_a_run_goes_on_from_a_good_checkpoint_with_one_click_whether_of_adapters_or_whole_weights() -> None:
    for m, key in (
        (placed(lost(same_text_frac=ALIKE)), "model.adapter"),
        (whole(lost(same_text_frac=ALIKE)), "model.name"),
    ):
        found = Diagnosis("made", "finished", 80, diagnose(m))
        html = alarm.box(found, EN)
        assert 'data-advice="restart"' in html.split("<details>")[0] and 'data-advice="lower_rate"' in html
        way = given(found, "dead_groups", "restart")
        assert way is not None and f"{key}=made/checkpoints/checkpoint-20" in way.changes


def test_what_goes_well_has_no_box() -> None:
    assert alarm.box(None, EN) == ""
    assert alarm.box(Diagnosis("made", "finished", 80, diagnose(gamed(flat(0.5)))), EN).count("g-alarm") <= 1
    assert alarm.box(Diagnosis("made", "finished", 80, diagnose(same(0.9, 0.0))), EN) == ""


def test_the_texts_that_are_shown_are_the_commonest_and_those_that_earn_most() -> None:
    m = showing(same(0.97, 0.9), "aa", "bbb", "aa")
    (common,) = commonest(m)
    assert (common.text, common.times, common.of, common.step) == ("aa", 2, 3, 80)
    (most,) = not_right(m, "format")
    assert (most.text, most.reward) == ("bbb", 0.5)
    object.__setattr__(m, "told", written("aa", right="true"))
    assert not_right(m, "format") == ()
