"""Write trainer/spec/trl_arguments.json: name -> type of every argument of the installed TRL's GRPOConfig, and
training_arguments.json beside it: those of them that every training of transformers has.

They let a preset be checked without importing TRL (4 s). Run it after changing the TRL pin:

    .venv/bin/python tools/trl_arguments.py
"""

import dataclasses
import enum
import json
import types
import typing
from pathlib import Path

from transformers import TrainingArguments
from trl import GRPOConfig

TARGET = Path(__file__).parent.parent / "trainer" / "spec" / "trl_arguments.json"
OF_ALL = TARGET.with_name("training_arguments.json")
NAMES = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    dict: "dict",
    list: "list",
    type(None): "none",
}


def kinds(annotation: object) -> set[str]:
    """The TOML kinds an annotation accepts: bool, int, float, str, list, dict, none."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return set().union(*(kinds(part) for part in typing.get_args(annotation)))
    if origin is typing.Literal:
        return {NAMES[type(value)] for value in typing.get_args(annotation)}
    target = origin or annotation
    if target is None:
        return {"none"}
    if isinstance(target, type) and issubclass(target, enum.Enum):
        return {"str"}
    if dataclasses.is_dataclass(target):
        return {"dict"}  # its fields; trainer/grpo/config.py makes the object
    return {NAMES[target]} if target in NAMES else set()


def table() -> dict[str, list[str]]:
    hints = typing.get_type_hints(GRPOConfig)
    fields = [field for field in dataclasses.fields(GRPOConfig) if field.init]
    return {
        field.name: sorted(kinds(hints[field.name]) | ({"none"} if field.default is None else set()))
        for field in fields
    }


def of_every_training() -> list[str]:
    names = {field.name for field in dataclasses.fields(TrainingArguments) if field.init}
    return sorted(names & table().keys())


def render() -> str:
    return json.dumps(table(), indent=0, sort_keys=True) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="ascii")
    OF_ALL.write_text(json.dumps(of_every_training(), indent=0) + "\n", encoding="ascii")
