"""docs/events.md has every kind of event with its fields, and no other."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from tests.docs.reading import named, page, parts
from tools import events_schema
from trainer.run.records import KINDS

HEAD = {"t", "kind", "attempt", "_dropped", "_shortened"}  # of every event: said once, above the kinds


@pytest.fixture(scope="module")
def kinds() -> dict[str, set[str]]:
    """{kind: fields, as they are called in the file}."""
    return {kind: set(record.__struct_encode_fields__) - HEAD for kind, record in KINDS.items()}


def differences(text: str, kinds: dict[str, set[str]]) -> set[str]:
    """Kinds, and fields as `kind.field`, that only the text or only the records have."""
    told = {kind: set(named(part)) for kind, part in parts(text).items()}
    both = told.keys() & kinds.keys()
    return (told.keys() ^ kinds.keys()) | {f"{kind}.{name}" for kind in both for name in told[kind] ^ kinds[kind]}


def test_every_kind_and_field_is_documented_and_no_other(kinds: dict[str, set[str]]) -> None:
    assert differences(page("docs/events.md"), kinds) == set()


def test_what_every_event_has_is_documented() -> None:
    head = page("docs/events.md").split("\n## ", 1)[0]
    assert set(re.findall(r"`(\w+)`", head)) >= HEAD


def test_a_wrong_page_is_found(kinds: dict[str, set[str]]) -> None:
    text = page("docs/events.md").replace("## heartbeat\n", "## heart\n").replace("| `exit_code` |", "| `code` |")
    assert differences(text, kinds) == {"heartbeat", "heart", "run_failed.exit_code", "run_failed.code"}


def test_the_schema_is_the_records() -> None:
    assert page("docs/events.schema.json") == events_schema.render(), "run: python -m tools.events_schema"


def test_the_schema_has_every_kind_with_the_fields_and_types_of_its_lines(kinds: dict[str, set[str]]) -> None:
    schema: dict[str, Any] = json.loads(page("docs/events.schema.json"))
    records = [schema["$defs"][part["$ref"].removeprefix("#/$defs/")] for part in schema["oneOf"]]
    told = {record["properties"]["kind"]["enum"][0]: set(record["properties"]) - HEAD for record in records}
    assert told == kinds
    step = next(record for record in records if record["properties"]["kind"]["enum"] == ["step"])
    assert step["required"] == ["t", "kind", "attempt", "step"]
    assert step["properties"]["step"]["type"] == "integer"
    assert step["properties"]["seconds"]["type"] == ["number", "null"]


def test_the_line_shown_on_the_page_is_one() -> None:
    (line,) = [text.strip() for text in page("docs/events.md").splitlines() if text.startswith("    {")]
    event = msgspec.json.decode(line, type=KINDS[json.loads(line)["kind"]], strict=True)
    assert set(json.loads(line)) - HEAD <= set(event.__struct_encode_fields__)
