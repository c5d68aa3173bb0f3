"""The plan card of a run on episodes: a sentence for what answers, for turns, comparison and deadline."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer import plan, presets
from trainer.plan import card
from trainer.text import Words, words

EN, KO = words("en"), words("ko")


def shown(preset: str, *changes: str, say: Words = EN) -> str:
    """The card in one line, so that a sentence is found whatever its line breaks."""
    spec = presets.load(preset, list(changes))
    return " ".join(card.render(spec, plan.make(spec, 512), say).split())


def test_the_card_says_how_episodes_are_played() -> None:
    text = shown("tiny-guess", "episode.deadline_s=90")
    assert "Episodes (episode) - Tool calls are answered by the environment guess, in a process of its own." in text
    assert "The calls of 2 turns at most are answered, and all turns with their answers have 64 tokens at most." in text
    assert "Turns are compared with the same turn of the group's other completions." in text
    assert "A call may take 90 s; one that takes longer loses its completion." in text
    assert "come on top of the 32 tokens of a prompt, and of the memory estimate." in text


def test_one_turn_and_whole_dialogues_have_words_of_their_own() -> None:
    text = shown("tiny-tool")
    assert "The calls of one turn are answered, and both turns with their answers have 48 tokens at most." in text
    assert "A completion is compared as a whole: one advantage for all of its turns." in text


def test_a_file_and_a_server_are_named(tmp_path: Path) -> None:
    own = tmp_path / "countdown.py"
    own.write_text("class Countdown: pass\n", encoding="utf-8")
    text = shown("tiny-tool", "episode.environment=Countdown", f"episode.file={own}")
    assert "Tool calls are answered by Countdown of countdown.py, in a process of its own." in text
    text = shown("tiny-tool", "episode.environment=openenv", "episode.url=http://localhost:8000")
    assert "by the OpenEnv server http://localhost:8000; what it does not repeat, a resumed run does not." in text


@pytest.mark.parametrize("preset", ["tiny-guess", "tiny-tool"])
def test_the_card_is_korean_too(preset: str) -> None:
    text = shown(preset, say=KO)
    for sentence in sentences(preset):
        assert sentence in text
    assert "차례" in text and "Tool calls" not in text


def sentences(preset: str) -> list[str]:
    spec = presets.load(preset)
    return [" ".join(KO.said(message).split()) for message in plan.make(spec, 512).episodes]


def test_without_episodes_nothing_is_said() -> None:
    spec = presets.load("tiny")
    assert plan.make(spec, 512).episodes == []
    assert EN("plan.card.episodes") not in card.render(spec, plan.make(spec, 512), EN)
