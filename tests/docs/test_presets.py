"""The table in presets/README.md has every preset, and no other."""

from __future__ import annotations

import re

from tests.docs.reading import page, pages
from trainer import presets

EMBEDDED = {path.stem for path in presets.PRESETS_DIR.glob("*.toml")}
_AFTER = re.compile(r"(?:--preset|PRESET=)[ ]?([a-z][\w.-]*)")


def table(text: str) -> set[str]:
    return set(re.findall(r"^\| `([\w.-]+)` \|", text, re.MULTILINE))


def chosen(text: str) -> set[str]:
    """Names after --preset; files of a person's own are none of ours."""
    return {name for name in _AFTER.findall(text) if not name.endswith(".toml")}


def test_every_preset_is_in_the_table_and_no_other() -> None:
    assert table(page("presets/README.md")) == EMBEDDED


def test_every_preset_a_page_chooses_exists() -> None:
    assert {name: chosen(text) - EMBEDDED for name, text in pages().items() if chosen(text) - EMBEDDED} == {}


def test_a_wrong_name_is_found() -> None:
    text = page("presets/README.md")
    assert table(text.replace("| `gspo` |", "| `gsop` |")) ^ EMBEDDED == {"gspo", "gsop"}
    assert chosen("make train PRESET=tiny-qlor and --preset my.toml, --preset tiny") - EMBEDDED == {"tiny-qlor"}
