"""Write docs/events.schema.json, the JSON Schema of a line of events.jsonl: python -m tools.events_schema

Made from the records of trainer/run/records.py, through which every line is written, by msgspec.json.schema_components.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from trainer.run.records import KINDS

TARGET = Path(__file__).resolve().parents[1] / "docs" / "events.schema.json"
ALWAYS = ("t", "kind", "attempt")  # every line has them
NOISE = {"minimum", "maximum", "default"}
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """A line is one of the kinds; `$defs` has each with its fields and their types."""
    found, inside = msgspec.json.schema_components(list(KINDS.values()), ref_template="#/$defs/{name}")
    kinds = {reference["$ref"].rsplit("/", 1)[-1] for reference in found}
    for name, record in inside.items():
        if name in kinds:
            record["required"] = list(dict.fromkeys([*ALWAYS, *record.get("required", ())]))
    inside = {name: _plain(record) for name, record in inside.items()}
    return {"$schema": DRAFT, "title": "A line of outputs/RUN/events.jsonl", "oneOf": list(found), "$defs": inside}


def _plain(part: Any) -> Any:
    """Without the bounds of whole numbers in a 64-bit word, and defaults: a field that is not there has no value."""
    if isinstance(part, list):
        return [_plain(each) for each in part]
    if not isinstance(part, dict):
        return part
    kept = {key: _plain(value) for key, value in part.items() if key not in NOISE}
    options = kept.get("anyOf", [])
    if options and all(option.keys() == {"type"} for option in options):
        types = [option["type"] for option in options]
        del kept["anyOf"]
        kept["type"] = [name for name in types if name != "integer" or "number" not in types]
    if isinstance(kept.get("description"), str):
        kept["description"] = " ".join(kept["description"].split())
    return kept


def render() -> str:
    return json.dumps(schema(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
