"""The list of generators is the one of the pinned package, and says why some are left out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import files

import pytest

from tests.docs.reading import PROJECT
from trainer.rewards.library.task import task as reward
from trainer.tasks import catalogue, child, verifier
from trainer.text import languages, words


def test_the_list_was_made_with_the_version_that_is_pinned_and_installed() -> None:
    pins = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"{catalogue.PACKAGE}=={catalogue.checked_version()}" in pins
    assert catalogue.installed_version() == catalogue.checked_version()


def test_every_generator_of_the_package_is_in_the_list_or_left_out_with_a_reason() -> None:
    asked = "import json, reasoning_gym.factory as f; print(json.dumps(sorted(f.DATASETS)))"
    done = subprocess.run([sys.executable, "-c", f"import reasoning_gym; {asked}"], capture_output=True, text=True)
    theirs = {f"{catalogue.PREFIX}:{name}" for name in json.loads(done.stdout)}
    assert catalogue.tasks().keys() | catalogue.excluded().keys() == theirs
    assert not catalogue.tasks().keys() & catalogue.excluded().keys()
    assert len(catalogue.tasks()) > 80


def test_every_reason_has_its_words_in_every_language() -> None:
    for language in languages():
        for why in catalogue.excluded().values():
            assert len(words(language).said(why)) > 10


def test_a_parameter_takes_its_own_kind_only() -> None:
    params = catalogue.tasks()["reasoning_gym:chain_sum"].params
    assert params["max_terms"].takes(3)
    assert not params["max_terms"].takes(True) and not params["max_terms"].takes(3.0)
    assert not params["max_terms"].takes("3")
    assert params["allow_negation"].takes(False) and not params["allow_negation"].takes(0)


def test_no_other_verifier_hands_an_answer_to_python() -> None:
    """`eval` and sympy's `parse_expr` run what they are given: each use of the package was looked at."""
    own_text = {  # what these run is written by the generators, not by a model
        "basic_arithmetic", "bitwise_arithmetic", "codeio", "generators_00_49", "generators_50_99", "number_sorting",
        "bf", "Compiler", "BF-it", "propositional_logic",
    }  # fmt: skip
    found = set()
    for path in files(catalogue.PACKAGE) or []:
        if path.suffix == ".py" and path.parts[0] == catalogue.PREFIX:
            code = re.sub(r"re\.compile\(", "", path.read_text(encoding="utf-8"))
            if re.search(r"\b(eval|exec|parse_expr|sympify|compile)\(|pickle\.load|os\.system|subprocess", code):
                found.add(path.stem)
    assert found - own_text == verifier.READ_AS_CODE.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(catalogue.tasks()))
def test_every_task_pays_its_own_answer_and_no_text_that_answers_nothing(name: str) -> None:
    task = catalogue.tasks()[name]
    size = 6
    dataset = verifier.package().create_dataset(task.name, seed=7, size=size)
    rows = list(child.rows(task.name, {}, dataset, size))
    entries = [row["entry"] for row in rows]
    assert reward()(completions=[row["answer"] for row in rows], entry=entries) == [1.0] * size
    for text in ("I do not know.", "?", ""):
        assert max(reward()(completions=[text] * size, entry=entries)) < 0.5
