"""What goes wrong is said in Korean on the Korean page: no English sentence is left in it.

Each case makes something go wrong as a person or a browser would, on `python app.py` as it is served, and hands back
what the page is told. All cases are asked and all sentences are listed at once. Another case is another line below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests import latin
from tests.e2e.served import TITLE, World, served, shown
from trainer.text import words

EN, KO = words("en"), words("ko")
# Words of libraries that stand in a problem as they are, and single names that are several words.
KNOWN = (
    *(TITLE, "Synthetic", "Hugging Face Hub", "NVIDIA GeForce RTX"),
    *(
        "No such file or directory",
        "on the Hub",
        "got an unexpected keyword argument",
        "encountered in format string",
        "Unterminated string starting at",
        "Unterminated string starting at",
    ),
)

Ask = Callable[[World], str]
SETTINGS = {
    "not a number": ("optim.learning_rate=abc",),
    "below its bound": ("optim.learning_rate=-1",),
    "above its bound": ("grpo.beta=1e9",),
    "not a whole number": ("lora.r=2.5",),
    "not a choice": ("data.overlong=never",),
    "not true or false": ("lora.enabled=maybe",),
    "not a list": ("log.mirrors=wandb",),
    "left empty": ("model.name=",),
    "no such key": ("optim.learning_rat=1",),
    "no such section": ("nowhere.key=1",),
    "no key at all": ("justtext",),
    "place beyond a list": ("reward.components.7.weight=1",),
    "impossible batch": ("generation.num_generations=7", "optim.per_device_train_batch_size=3"),
    "too long together": ("model.max_seq_length=10",),
    "no rewards": ("reward.components=[]", "reward.correct="),
    "no such reward": ("reward.components.0.function=exact_mach",),
    "params that do not fit": ("reward.components.0.params={nothing = 1}",),
    "weights of nothing": ("reward.components.0.weight=0", "reward.components.1.weight=0"),
    "no such component": ("reward.correct=nobody",),
    "upside down clip": ("reward.components.0.clip=[2, 1]",),
    "a broken gold answer": ("reward.gold_template={",),
    "a template without columns": ("data.prompt_template=nothing",),
    "a broken template": ("data.prompt_template={",),
    "no data": ("data.path=",),
    "two sources": ("data.name=openai/gsm8k",),
    "held out twice": ("data.eval_fraction=0.1",),
    "a split without a dataset": ("data.eval_split=test", "data.eval_path="),
    "missing file": ("data.path=/nowhere/x.jsonl",),
    "pass@k of too few answers": ("eval.pass_at=[8]", "eval.samples=2"),
    "answers without rows": ("data.eval_path=", "eval.answers=true"),
    "clip range": ("grpo.epsilon=0.3", "grpo.epsilon_high=0.1"),
    "no such optimizer": ("optim.optim=adamm",),
    "an argument of TRL that has a key": ("trl.beta=0.1",),
    "no argument of TRL": ("trl.nonsense=1",),
    "4 bits of all weights": ("model.load_in_4bit=true",),
    "no such built-in model": ("model.name=builtin/none",),
    "a warm start of a real model": ("model.name=Qwen/Qwen3-4B",),
    "vLLM without Unsloth": ("model.fast_inference=true",),
    "half precision": ("model.dtype=float16",),
    "no GPU": ("model.device=cuda",),
    "no Unsloth": ("model.engine=unsloth",),
    "several at once": ("optim.max_steps=-3", "generation.top_p=2", "optim.learning_rate=x", "nowhere.key=1"),
}
ALLOWED = {
    "a biased sampler": ("generation.top_p=0.9",),
    "nothing held out": ("data.eval_path=",),
    "GSPO with a wide range": ("grpo.importance_sampling_level=sequence",),
    "code of the model": ("model.trust_remote_code=true",),
    "LUSPO of tokens": ("grpo.loss_type=luspo",),
}
SEEN = (
    "failed",
    "failed-old",
    "lost",
    "going",
    "stopped",
    "paused",
    "imported",
    "alerts",
    "done",
    "saved",
    "long",
    "",
)
DATA = ("not json", "half a line", "no rows", "no column", "a list in it", "leaks", "bytes", "wrong kind")
REWARDS = ("raises", "too few", "no function", "no module", "says text", "prints and sleeps")


def cases() -> dict[str, Ask]:
    made: dict[str, Ask] = {}
    for name, changes in SETTINGS.items():
        made[f"settings: {name}"] = partial(_with_settings, changes)
    for name, changes in ALLOWED.items():
        made[f"allowed: {name}"] = partial(_with_warnings, changes)
    for name in DATA:
        made[f"data: {name}"] = partial(_with_data, name)
    for name in REWARDS:
        made[f"reward: {name}"] = partial(_with_reward, name)
    for tab, run in ((tab, run) for tab in ("live", "health", "groups", "try") for run in SEEN):
        made[f"{tab}: {run or 'no run'}"] = partial(_on_tab, tab, run)
    for run in SEEN:
        made[f"report: {run or 'no run'}"] = partial(_report, run)
    return made | FORMS | RUNS


def _with_settings(changes: Sequence[str], world: World) -> str:
    return world.refused(*changes)


def _with_warnings(changes: Sequence[str], world: World) -> str:
    return world.planned(*changes)


def _on_tab(tab: str, run: str, world: World) -> str:
    return world.tab(tab, run)


def _report(run: str, world: World) -> str:
    return world.report(run)


def _with_data(name: str, world: World) -> str:
    change = f"data.path={world.files[name]}"
    given = (change, "model.warm_start=") if name != "leaks" else (change, f"data.eval_path={world.files[name]}")
    return shown(world.check(*given)) + shown(world.ask("look", *given, ask="look"))


def _with_reward(name: str, world: World) -> str:
    component = f'reward.components=[{{function = "reward", file = "{world.files[name]}"}}]'
    return shown(world.check(component, "reward.correct=")) + shown(world.ask("attempt", component, "reward.correct="))


FORMS: dict[str, Ask] = {
    "the whole form": lambda w: str(w.check(have="")["still"]["html"]),
    "every preset planned": lambda w: "".join(w.planned(preset=name) for name in ("gsm8k-7b", "qwen3-4b", "qwen3-8b")),
    "form: no JSON": lambda w: w.junk("{"),
    "form: nothing": lambda w: w.junk(""),
    "form: too long": lambda w: w.junk("x" * 200_000),
    "form: no such preset": lambda w: w.refused(base={"preset": "none"}),
    "form: no such run": lambda w: w.refused(base={"run": "none"}),
    "form: a name of a run that is none": lambda w: w.refused(base={"run": "../x"}),
    "form: a run that cannot be read": lambda w: w.refused(base={"run": "broken"}),
    "form: no TOML": lambda w: w.refused(base={"toml": "a = = 1", "file": "mine.toml"}),
    "form: a long TOML": lambda w: w.refused(base={"toml": "#" * 70_000, "file": "mine.toml"}),
    "form: relative paths": lambda w: w.refused(base={"toml": '[data]\npath = "x.jsonl"\n', "file": "mine.toml"}),
    "form: code that was uploaded": lambda w: w.refused(
        f'reward.components=[{{function = "reward", file = "{w.files["uploaded"]}"}}]', "reward.correct="
    ),
    "name: not legal": lambda w: w.refused(name="../up"),
    "name: taken": lambda w: w.refused(name="done"),
    "start: refused": lambda w: shown(w.ask("start", "lora.r=0")),
    "rewards: junk pays more": lambda w: shown(
        w.ask("attempt", "reward.components.0.weight=0", "reward.components.1.weight=-1", typed="x")
    ),
    "rewards: rows not fetched": lambda w: shown(w.ask("attempt", "data.name=a/b", "data.path=", "data.eval_path=")),
    "look: on the Hub": lambda w: shown(w.ask("look", "data.name=a/b", "data.path=", "data.eval_path=", ask="fetch")),
}
RUNS: dict[str, Ask] = {
    "runs": lambda w: w.tab("runs", "done"),
    "live: stop what has ended": lambda w: w.said("stop", "done", "ko"),
    "live: pause what has ended": lambda w: w.said("pause", "done", "ko"),
    "live: save what has ended": lambda w: w.said("save", "done", "ko"),
    "live: resume what is finished": lambda w: w.said("resume", "done", "ko"),
    "live: resume what was imported": lambda w: w.said("resume", "imported", "ko"),
    "live: resume nothing": lambda w: w.said("resume", "none", "ko"),
    "live: no run": lambda w: w.said("stop", "", "ko"),
    "live: force without a word": lambda w: w.said("force", "done", "ko", "other"),
    "live: force too early": lambda w: w.said("force", "done", "ko", "done"),
    "runs: extend what was imported": lambda w: w.wish("extend", "imported"),
    "runs: extend by nothing": lambda w: w.wish("extend", "done", steps="0"),
    "runs: extend": lambda w: w.wish("extend", "done", steps="5"),
    "runs: extend what cannot be read": lambda w: w.wish("extend", "broken"),
    "runs: extend what is running": lambda w: w.wish("extend", "going", steps="5"),
    "runs: delete what is running": lambda w: w.wish("deleted", "going"),
    "runs: resume what is running": lambda w: w.wish("resume", "going"),
    "runs: delete": lambda w: w.wish("delete", "done"),
    "runs: delete nothing": lambda w: w.wish("deleted", "none"),
    "runs: resume what is finished": lambda w: w.wish("resume", "done"),
    "runs: compare one": lambda w: w.wish("compare", runs=("done",)),
    "runs: compare with nothing": lambda w: w.wish("compare", runs=("done", "none")),
    "runs: compare": lambda w: w.wish("compare", runs=("done", "stopped")),
    "runs: report of nothing": lambda w: w.wish("report", "none"),
    "try: no checkpoint": lambda w: w.tried("done"),
    "try: an empty prompt": lambda w: w.tried("saved", "  "),
    "try: too many tokens": lambda w: w.tried("saved", tokens=99_999),
    "try: a very long prompt": lambda w: w.tried("saved", "x" * 30_000),
    "export: no checkpoint": lambda w: w.said("try_export_adapter", "done", "ko", ""),
    "export: no such repository": lambda w: w.said("try_export_hub", "saved", "ko", "", "none", True),
    "export: no token": lambda w: w.said("try_export_hub", "saved", "ko", "", "me/mine", True),
    "export: no tools": lambda w: w.said("try_export_gguf", "saved", "ko", ""),
    "export: exists": lambda w: w.said("try_export_merged", "saved", "ko", ""),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, pages: Path | None) -> Iterator[World]:
    yield from served(tmp_path_factory.mktemp("korean"), pages)


def test_no_english_sentence_is_left_on_the_korean_page(world: World) -> None:
    found, asked = dict[str, list[str]](), cases()
    assert len(asked) >= 40
    for name, ask in asked.items():
        try:
            html = ask(world)
        except AssertionError as error:
            found[name] = [str(error).splitlines()[0]]
            continue
        english = latin.sentences(html, KNOWN) if html.strip() else ["nothing is shown"]
        if english:
            found[name] = list(dict.fromkeys(english))
    told = "\n".join(f"{name}\n    " + "\n    ".join(english) for name, english in found.items())
    assert not found, f"{len(found)} of {len(asked)} cases:\n{told}"


def test_no_text_of_the_korean_table_is_an_english_sentence() -> None:
    keys = [key for key in EN.keys() if not key.startswith("help.")]  # noqa: SIM118
    found = {key: english for key in keys if (english := latin.in_text(KO(key), KNOWN))}
    assert not found, "\n".join(f"{key}: {english}" for key, english in found.items())
