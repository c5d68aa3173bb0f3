"""BERTScore against the package bert-score, and the paper's equations by hand."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from trainer.errors import RewardError
from trainer.rewards.contract import Failure
from trainer.rewards.library import REWARDS, tiny_bert
from trainer.rewards.library.bertscore import Scorer, greedy_f1

REFERENCES = [
    "그는 학교에 갔다.",
    "the cat sat on the mat",
    "받침이 있으므로 '이'가 옳다.",
    "a",
    "42 apples and 7 pears",
]
CANDIDATES = ["그녀는 학교에 간다", "a cat is on a mat, is it not? Yes it is.", "'가'가 옳다", "zebra", "7 pears"]
TINY = "builtin/tiny-bert"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are slower on several threads, and much slower beside other tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 3 layers with weights large enough that the layers differ."""
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoder")
    _, tokenizer = tiny_bert.make()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            initializer_range=0.2,
        )
        BertModel(config).save_pretrained(folder)
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(folder)
    return folder


def pay(completions: list[Any], answers: list[Any], encoder: str | Path = TINY, **params: Any) -> list[Any]:
    return REWARDS["bertscore"](str(encoder), **params)(completions=completions, answer=answers)


@pytest.mark.parametrize("num_layers", [0, 2, 3])
def test_it_agrees_with_the_package_bert_score(encoder: Path, num_layers: int) -> None:
    from bert_score import BERTScorer

    scorer = BERTScorer(model_type=str(encoder), num_layers=num_layers, idf=False, device="cpu")
    _, _, expected = scorer.score(CANDIDATES, REFERENCES)
    values = pay(CANDIDATES, REFERENCES, encoder, num_layers=num_layers, device="cpu", batch_size=2)
    assert values == pytest.approx(expected.tolist(), abs=1e-5)
    assert max(values) - min(values) > 0.05  # texts this different must not all get the same


def test_the_last_layer_is_taken_where_the_encoder_is_not_in_the_table(encoder: Path) -> None:
    last = pay(CANDIDATES, REFERENCES, encoder, num_layers=3)
    assert pay(CANDIDATES, REFERENCES, encoder) == last
    assert pay(CANDIDATES, REFERENCES, encoder, num_layers=2) != last


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("bert-base-multilingual-cased", 9),
        ("google-bert/bert-base-multilingual-cased", 9),
        ("microsoft/deberta-v3-base", 9),
        ("klue/roberta-large", 24),  # another model than the roberta-large of the table
        ("models/roberta-large", 24),
    ],
)
def test_only_the_very_encoders_of_the_table_have_its_layers(name: str, layer: int) -> None:
    module = importlib.import_module("trainer.rewards.library.bertscore")
    assert module._usual_layer(name, 24) == layer


def test_f1_of_three_tokens_by_hand() -> None:
    # Candidate tokens at 0 and 90 degrees, reference tokens at 0 and 60, lengths that must not matter; the third is an
    # end token of weight 0, which may be matched: the candidate's second token is closest to the reference's end.
    candidate = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]), torch.tensor([True, True, False])
    reference = torch.tensor([[1.0, 0.0], [0.5, 3**0.5 / 2], [0.0, 5.0]]), torch.tensor([True, True, False])
    precision = (1 + 1) / 2
    recall = (1 + 3**0.5 / 2) / 2
    f1 = 2 * precision * recall / (precision + recall)
    assert greedy_f1(candidate, reference).item() == pytest.approx(f1, abs=1e-7)


def test_equal_texts_get_exactly_one(encoder: Path) -> None:
    assert pay(REFERENCES, REFERENCES, encoder) == [1.0] * len(REFERENCES)
    assert pay(REFERENCES, REFERENCES) == [1.0] * len(REFERENCES)


@pytest.mark.parametrize(("completion", "answer"), [("", "gold"), ("  \n", "gold"), ("text", ""), ("", "")])
def test_an_empty_text_gets_nothing(completion: str, answer: str) -> None:
    assert pay([completion], [answer]) == [0.0]


def test_a_text_of_end_tokens_only_has_no_weight_and_gets_nothing() -> None:
    assert pay(["[SEP][CLS]"], ["gold"]) == [0.0]


def test_a_row_without_gold_answer_has_no_value() -> None:
    assert pay(["a", "b"], [None, "b"]) == [None, 1.0]


def test_the_rest_of_the_batch_does_not_change_a_value(encoder: Path) -> None:
    together = pay([*CANDIDATES, "x " * 30], [*REFERENCES, "y"], encoder, batch_size=4)
    alone = [pay([c], [r], encoder)[0] for c, r in zip(CANDIDATES, REFERENCES, strict=True)]
    assert together[:-1] == pytest.approx(alone, abs=1e-5)


def test_remembered_references_give_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Scorer(TINY, None, None, 2, "cpu", None)
    pairs = list(zip(CANDIDATES, REFERENCES, strict=True))
    first = scorer.f1(pairs)
    assert set(scorer.references) == set(REFERENCES)
    encoded: list[int] = []
    forward = scorer.model.forward

    def counted(**batch: Any) -> Any:
        encoded.append(len(batch["input_ids"]))
        return forward(**batch)

    monkeypatch.setattr(scorer.model, "forward", counted)
    assert scorer.f1(pairs) == first
    assert sum(encoded) == len(CANDIDATES)


def test_the_memory_for_references_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("trainer.rewards.library.bertscore"), "CACHED_TOKENS", 20)
    scorer = Scorer(TINY, None, None, 2, "cpu", None)
    assert scorer.f1([("x" * 8, "a" * 8), ("y", "b" * 8), ("z", "z")]) == pytest.approx(
        [pay(["x" * 8], ["a" * 8])[0], pay(["y"], ["b" * 8])[0], 1.0]
    )
    assert sum(len(weights) for _, weights in scorer.references.values()) <= 20
    assert scorer.references


def test_only_the_part_that_was_found_is_compared() -> None:
    params = {"extract": r"<answer>(.*)</answer>", "gold_extract": r"####\s*(.*)"}
    assert pay(["so <answer>cat</answer>"], ["because #### cat"], **params) == [1.0]
    assert pay(["cat"], ["#### cat"], **params) == [1.0]  # nothing found: the whole text


def test_a_pattern_that_takes_too_long_fails_its_row_only() -> None:
    found = pay(["a" * 60 + "b", "(cat)"], ["cat", "cat"], extract=r"^\(?((a|aa)+|cat)\)?$")
    assert isinstance(found[0], Failure)
    assert found[1] == 1.0


def test_normalising_makes_labels_and_quotation_marks_equal() -> None:
    assert pay(["답변: “가”가 옳다."], ['"가"가 옳다.'], normalise=True) == [1.0]
    assert pay(["답변: “가”가 옳다."], ['"가"가 옳다.'])[0] < 1.0


def test_chat_completions_are_read_from_their_message() -> None:
    assert pay([[{"role": "assistant", "content": "cat"}]], ["cat"]) == [1.0]


def test_texts_longer_than_the_encoder_are_cut(encoder: Path) -> None:
    assert pay(["x" * 500], ["x" * 62 + "y"], encoder) == [1.0]  # 64 positions, two of them for [CLS] and [SEP]
    assert pay(["abcX"], ["abcY"], max_length=5) == [1.0]


def test_the_space_before_the_first_word_of_roberta_is_put_there(tmp_path: Path) -> None:
    from tokenizers import pre_tokenizers
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

    letters = {letter: number + 5 for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4} | letters
    RobertaTokenizer(vocab=vocabulary, merges=[]).save_pretrained(tmp_path)
    config = RobertaConfig(
        vocab_size=261, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=34
    )
    with torch.random.fork_rng(devices=[]):
        RobertaModel(config).save_pretrained(tmp_path)
    scorer = Scorer(str(tmp_path), None, None, 2, "cpu", None)
    assert scorer.f1([("ab", "ab"), ("x" * 99, "x" * 99)]) == [1.0, 1.0]
    assert len(scorer.references["ab"][1]) == 5  # <s>, space, a, b, </s>
    assert len(scorer.references["x" * 99][1]) == 32  # of 34 positions RoBERTa leaves the first two free


def test_random_numbers_of_the_training_are_not_drawn(encoder: Path) -> None:
    before = torch.get_rng_state()
    pay(["a"], ["b"], encoder)
    pay(["a"], ["b"])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_builtin_encoder_is_the_same_every_time_and_knows_every_text() -> None:
    one, other = tiny_bert.make()[0].state_dict(), tiny_bert.make()[0].state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)
    _, tokenizer = tiny_bert.make()
    assert len(tokenizer("가나")["input_ids"]) == 4
    assert tokenizer.unk_token_id not in tokenizer("뷁 \u4e2d \U0001f600 \u1112\u1161\u11ab")["input_ids"]


def test_the_builtin_encoder_prefers_shared_characters() -> None:
    near, far = pay(["문법이 옳다", "the weather"], ["문법은 옳다"] * 2)
    assert near > far + 0.1


def test_an_encoder_that_is_not_there_is_named_with_a_fix(tmp_path: Path) -> None:
    with pytest.raises(RewardError, match=r"nothing-here: cannot be loaded: .* ->  check the name"):
        pay(["a"], ["b"], tmp_path / "nothing-here")


def test_a_checkpoint_without_the_weights_is_refused(encoder: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(encoder, broken)
    weights = load_file(broken / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if "layer.1.output" not in name}
    save_file(kept, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RewardError, match=r"has no encoder\.layer\.1\.output"):
        pay(["a"], ["b"], broken)


@pytest.mark.parametrize("params", [{"num_layers": -1}, {"batch_size": 0}, {"max_length": 2}, {"extract": "("}])
def test_params_that_can_not_work_are_refused_when_the_reward_is_made(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        REWARDS["bertscore"](TINY, **params)
