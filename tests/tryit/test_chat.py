"""tryit.chat with models that a trainer really made: who answers is checked by another way to the same weights."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import tiny_model
from tests.export.conftest import make_run
from trainer import launch
from trainer.__main__ import main
from trainer.console import talk
from trainer.errors import RunError
from trainer.machine import gpu, spawn
from trainer.machine.json_files import read_json, write_json
from trainer.run import checkpoints
from trainer.run.events import EventWriter
from trainer.run.records import EvalEvent
from trainer.run.rundir import RunDir
from trainer.run.start_files import Origin
from trainer.tryit.chat import Chat, ChatSettings, Dialogue, opened

Capture = pytest.CaptureFixture[str]
GREEDY = ChatSettings(temperature=0, max_new_tokens=12)
ASKED = [{"role": "user", "content": "Reverse: kihpg"}]


def silent(line: object) -> None:
    pass


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An outputs folder with the runs lora (checkpoints 2 and 9, of which 2 is the best) and whole, and their base."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two stall each other on a busy machine
    place = tmp_path_factory.mktemp("chat")
    model, tokenizer = tiny_model()
    model.save_pretrained(place / "base")
    tokenizer.save_pretrained(place / "base")
    lora = make_run(place, "lora", {"name": str(place / "base")})
    make_run(place, "whole", {"name": str(place / "base")}, lora=False)
    shutil.copytree(lora.checkpoint(2), lora.staging / "checkpoint-9")
    weaken(lora.staging / "checkpoint-9" / "adapter_model.safetensors")
    own = ("files", checkpoints.SEAL)
    facts = {key: value for key, value in checkpoints.read_manifest(lora.checkpoint(2)).items() if key not in own}
    checkpoints.publish(lora.staging / "checkpoint-9", lora.checkpoints, facts | {"step": 9})
    with EventWriter(lora.events, 1) as events:
        for step, reward in ((2, 0.7), (9, 0.3)):
            events.emit(EvalEvent(at="during", step=step, reward=reward))
    yield place / "outputs"
    torch.set_num_threads(threads)


def weaken(adapter: Path) -> None:
    """The adapter with its sign turned: other answers."""
    from safetensors.torch import load_file, save_file

    save_file({key: -value if "lora_B" in key else value for key, value in load_file(adapter).items()}, adapter)


@pytest.fixture(autouse=True)
def their_outputs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "runs" in request.fixturenames:
        monkeypatch.setenv("ONEGRPO_OUTPUTS", str(request.getfixturevalue("runs")))


def greedy(model: Any, folder: Path) -> str:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer.apply_chat_template(ASKED, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    output = model.eval().generate(**inputs, do_sample=False, max_new_tokens=12)
    text: str = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return text


def expected(runs: Path, name: str, step: int | None) -> str:
    """What plain transformers and PEFT answer; step None: the base."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    checkpoint = RunDir(runs / name).checkpoint(step or 2)
    if step is not None and name == "whole":
        return greedy(AutoModelForCausalLM.from_pretrained(checkpoint), checkpoint)
    base = AutoModelForCausalLM.from_pretrained(runs.parent / "base")
    return greedy(base if step is None else PeftModel.from_pretrained(base, checkpoint), checkpoint)


def test_the_answers_these_tests_compare_are_different(runs: Path) -> None:
    assert len({expected(runs, "lora", step) for step in (None, 2, 9)}) == 3
    assert expected(runs, "whole", 2)


@pytest.mark.parametrize(
    ("name", "which", "base", "step"),
    [
        ("lora", "best", False, 2),
        ("lora", None, False, 2),
        ("lora", "latest", False, 9),
        ("lora", "9", False, 9),
        ("lora", "9", True, None),
        ("whole", None, False, 2),
        ("whole", None, True, None),
    ],
)
def test_the_weights_that_were_asked_for_answer(
    runs: Path, name: str, which: str | None, base: bool, step: int | None
) -> None:
    pieces: list[str] = []
    with opened(RunDir(runs / name), which, say=silent) as chat:
        answer = chat.answer(ASKED, GREEDY, base=base, on_text=pieces.append)
    assert answer.text == expected(runs, name, step)
    assert "".join(pieces) == answer.text
    assert len(pieces) > 1
    assert answer.cut == (answer.tokens == 12)


def test_base_and_tuned_take_turns_on_the_same_weights(runs: Path) -> None:
    with opened(RunDir(runs / "lora"), "2", say=silent) as chat:
        said = [chat.answer(ASKED, GREEDY, base=base, on_text=silent).text for base in (False, True, False)]
    assert said == [expected(runs, "lora", step) for step in (2, None, 2)]


def test_beside_a_run_that_trained_an_adapter_further_answers_that_adapter(runs: Path) -> None:
    shutil.copytree(runs / "lora", runs / "further")
    run = RunDir(runs / "further")
    try:
        run.take_start(Origin("run:lora@9", RunDir(runs / "lora").checkpoint(9)))
        with opened(run, "2", say=silent) as chat:
            said = [chat.answer(ASKED, GREEDY, base=base, on_text=silent).text for base in (True, False, True)]
        assert said == [expected(runs, "lora", step) for step in (9, 2, 9)]
    finally:
        shutil.rmtree(run.path)


def test_sampling_is_repeated_by_its_seed(runs: Path) -> None:
    warm = ChatSettings(temperature=1.5, max_new_tokens=12)
    with opened(RunDir(runs / "lora"), say=silent) as chat:
        said = [chat.answer(ASKED, warm, seed=seed, on_text=silent).text for seed in (0, 1, 0)]
    assert said[0] == said[2] != said[1]


def other_spec(runs: Path, tmp_path: Path, **data: Any) -> RunDir:
    """A copy of the run lora with other settings of its data."""
    run = RunDir(shutil.copytree(runs / "lora", tmp_path / "outputs" / "other"))
    spec = read_json(run.spec)
    assert spec is not None
    write_json(run.spec, spec | {"data": spec["data"] | data})
    return run


def test_a_dialogue_remembers_until_it_is_reset(runs: Path, tmp_path: Path) -> None:
    run = other_spec(runs, tmp_path, system_prompt="Be brief.")
    with opened(run, say=silent) as chat:
        dialogue = Dialogue(chat, GREEDY)
        first = dialogue.say("Reverse: ab", silent)
        second = dialogue.say("Again", silent)
        history = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Reverse: ab"},
            {"role": "assistant", "content": first.text},
            {"role": "user", "content": "Again"},
        ]
        assert second.text == chat.answer(history, GREEDY, on_text=silent).text
        assert len(dialogue.turns) == 4
        dialogue.reset()
        assert dialogue.say("Reverse: ab", silent).text == first.text


def test_a_run_of_plain_text_is_asked_in_plain_text(runs: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = other_spec(runs, tmp_path, chat=False)
    with opened(run, "2", say=silent) as chat:
        with pytest.raises(RunError, match=r"--system: .*plain text"):
            Dialogue(chat, GREEDY, system="Be brief.")
        dialogue = Dialogue(chat, GREEDY)
        said = [dialogue.say("abc", silent).text for _ in range(2)]
    tokenizer = AutoTokenizer.from_pretrained(run.checkpoint(2))
    model = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(runs.parent / "base"), run.checkpoint(2)
    ).eval()
    inputs = tokenizer("abc", return_tensors="pt")
    output = model.generate(**inputs, do_sample=False, max_new_tokens=12)
    alone = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert said == [alone, alone]


def test_the_command_answers_once_and_says_which_checkpoint(runs: Path, capsys: Capture) -> None:
    arguments = ["chat", "lora", "--temperature", "0", "--max-new-tokens", "12", "--prompt", ASKED[0]["content"]]
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert shown.out == expected(runs, "lora", 2) + "\n"
    assert "step 2, held-out reward 0.7, the best of 2 evaluated\ncheckpoint: checkpoint-2\n" in shown.err
    assert main([*arguments, "--base"]) == 0
    assert capsys.readouterr().out == expected(runs, "lora", None) + "\n"
    assert main([*arguments, "--compare", "--checkpoint", "latest"]) == 0
    both = f"base:\n{expected(runs, 'lora', None)}\ntuned:\n{expected(runs, 'lora', 9)}\n"
    assert capsys.readouterr().out == both


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "there is no such run"),
        (["whole", "--checkpoint", "best"], "no checkpoint of run whole was evaluated"),
        (["lora", "--checkpoint", "3"], "'3' is not a checkpoint of this run"),
        (["lora", "--temperature", "-1"], "--temperature: -1.0 is not between"),
        (["lora", "--max-new-tokens", "0"], "--max-new-tokens: 0 is not 1 or more"),
    ],
)
def test_what_can_not_be_is_one_line(runs: Path, capsys: Capture, arguments: list[str], told: str) -> None:
    assert main(["chat", *arguments, "--prompt", "a"]) == launch.EXIT_INPUT
    assert told in capsys.readouterr().err


def test_a_gpu_on_which_a_run_trains_is_refused(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawn, "one_gpu", dict)
    monkeypatch.setattr("trainer.tryit.chat._with_gpu", lambda device: "cuda")
    card = gpu.chosen()
    with (
        launch.hold_gpu_lock(card.uuid if card else "unnamed", "busy-1"),
        pytest.raises(RunError, match=r"in use by run busy-1.*stop busy-1"),
        opened(RunDir(runs / "lora"), device="cuda", say=silent),
    ):
        raise AssertionError("opened")


def test_a_conversation_in_the_terminal(runs: Path) -> None:
    typed = iter(["Reverse: ab", "", "/reset", "Reverse: ab", "/exit", "never"])
    out, notes = io.StringIO(), io.StringIO()
    with opened(RunDir(runs / "lora"), say=silent) as chat:
        dialogue = Dialogue(chat, GREEDY)
        talk.converse([dialogue], lambda prompt: next(typed), out, notes)
    first, second = out.getvalue().splitlines()
    assert first == second
    assert len(dialogue.turns) == 2
    assert "forgotten" in notes.getvalue()
    assert next(typed) == "never"


def test_an_answer_that_is_cut_short_is_forgotten_and_control_characters_are_not_shown(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter(["one", "two", "three"])
    real = Chat.answer

    def answer(self: Chat, prompt: Any, settings: ChatSettings, *, on_text: Any, **options: Any) -> Any:
        on_text("\x1b[2J\n")
        if prompt[-1]["content"] == "two":
            raise KeyboardInterrupt
        return real(self, prompt, settings, on_text=on_text, **options)

    def read(prompt: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(Chat, "answer", answer)
    out = io.StringIO()
    with opened(RunDir(runs / "lora"), say=silent) as chat:
        dialogue = Dialogue(chat, GREEDY)
        talk.converse([dialogue], read, out, io.StringIO())
    assert [turn["content"] for turn in dialogue.turns[::2]] == ["one", "three"]
    assert "\x1b" not in out.getvalue()
