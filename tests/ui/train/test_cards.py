"""Presets as cards: what runs here is seen, the rest folded; each says model, memory once, and how long."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from trainer import presets
from trainer.errors import SpecError
from trainer.presets import PresetInfo, headers
from trainer.text import Message, languages, words
from trainer.ui.train import cards
from trainer.ui.train.cards import PresetCard

EN = words("en")
MEASURED = Message("presets.measured", seconds="2.0", steps="90", device=Message("presets.cpu_cores", count=2))


def card(name: str, gb: int | None, fit: Any, measured: Message | None = None) -> PresetCard:
    gpu = Message("presets.gpu_at_least", gb=gb) if gb else Message("presets.gpu_none")
    info = PresetInfo(name, Path(name), name, (), f"org/{name}-model-unsloth-bnb-4bit", gpu, measured)
    return PresetCard(info, "lora", fit, 5.0, 24.0 if fit in ("fits", "tight", "no") else None)


def presets_in(html: str) -> list[str]:
    return re.findall('value="([^"]+)"', html)


def test_what_runs_here_is_seen_and_the_rest_is_folded_by_gpu() -> None:
    found = [card("here", None, "fits"), card("tight", 24, "tight"), card("big", 48, "no"), card("small", 8, "unknown")]
    seen, *folds = cards.rendered(found, EN).split('<details class="t-class">')
    assert presets_in(seen) == ["here", "tight"]
    assert [presets_in(fold) for fold in folds] == [["small"], ["big"]]
    assert EN("train.class_gb", gb=8, count=1, names="small-model") in folds[0]


def test_many_that_run_here_do_not_make_a_wall() -> None:
    found = [card(f"p{number}", 8, "fits") for number in range(10)]
    seen, fold = cards.rendered(found, EN).split('<details class="t-class">')
    assert len(presets_in(seen)) == cards.MOST_SEEN and len(presets_in(fold)) == 10 - cards.MOST_SEEN


def test_how_long_is_said_of_each_for_this_machine_or_the_card_it_is_for() -> None:
    html = cards.rendered(cards.cards(), EN)
    told = dict(re.findall(r'value="([^"]+)".*?t-small">([^<]*)<', html))
    assert re.fullmatch(
        r"about .* on this machine(, estimated)?", told["malpyeong-tiny"]
    )  # its steps are counted by rows
    assert re.fullmatch(r"about .* on (this machine|a card of 12 GB), estimated", told["qwen3-4b"])


def test_where_nothing_runs_some_cards_are_seen_all_the_same() -> None:
    assert presets_in(cards.rendered([card("big", 80, "no")], EN)) == ["big"]


def test_a_card_says_its_memory_once_and_how_long_it_took() -> None:
    html = cards.rendered([card("here", None, "fits", MEASURED), card("other", None, "fits")], EN)
    first, second = html.split('class="t-card"')[1:]
    assert first.count("GiB") == 1 and "about 3 min (measured: 2 CPU cores)" in first
    assert EN("train.card_time_unknown") in second


def test_those_to_begin_with_come_first_and_each_has_its_reasons() -> None:
    found = cards.cards()
    runs = [each.info.name for each in found if each.fit == "fits"]
    assert not runs or runs[:2] == ["tiny", "smollm2"]
    assert "half a minute on two cores" in cards.reasons("tiny", EN)
    for each in found:
        assert "max_steps" in cards.reasons(each.info.name, EN) or "num_train_epochs" in cards.reasons(
            each.info.name, EN
        )
    with pytest.raises(SpecError):
        cards.reasons("../../app", EN)


def test_reasons_are_said_in_korean_and_where_they_are_not_it_is_said(tmp_path: Path, monkeypatch: Any) -> None:
    ko = words("ko")
    for name in cards.BEGIN_WITH:
        html = cards.reasons(name, ko)
        assert 'lang="en"' not in html and ko("train.why_english") not in html
    assert "\ucf54\uc5b4 \ub450 \uac1c\ub85c 30\ucd08\ucbe4" in cards.reasons("tiny", ko)
    changed = (presets.PRESETS_DIR / "tiny.toml").read_text(encoding="utf-8").replace("half a minute", "1.5 minutes")
    (tmp_path / "other.toml").write_text(changed, encoding="utf-8")
    monkeypatch.setattr(presets, "PRESETS_DIR", tmp_path)
    html = cards.reasons("other", ko)
    assert html.startswith('<p class="t-small">') and '<dd lang="en">1.5 minutes on two cores</dd>' in html


def test_no_reason_in_another_language_is_of_a_comment_that_is_gone() -> None:
    texts = [path.read_text(encoding="utf-8") for path in presets.PRESETS_DIR.glob("*.toml")]
    known = {reason for text in texts for _, _, reason in headers.reasons(text)}
    known |= {line for text in texts for line in headers.paragraphs(text)}
    for code in languages():
        said = {key.removeprefix("reason.") for key in words(code).keys() if key.startswith("reason.")}  # noqa: SIM118
        assert said <= known, said - known
