"""The tokenizer, the fixed embeddings of numbers and notes, and how well captions are understood."""

from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from auralith.training.optimizers import OptimizerSettings
from auralith.training.task import Share
from recipes.tiny.corpus import ProceduralCorpus
from recipes.tiny.synth import numeric_value
from recipes.tiny.text import (
    NONE,
    TextNetwork,
    TextSettings,
    TextTask,
    build_tokenizer,
    numeric_features,
    told_rightly,
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(["house drum loop at 128 bpm", "a bell playing F#3"], 32)


def test_words_numbers_and_notes_are_one_token_each(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.tokenize("Drum loop, 97 BPM; F#3 440") == [
        *("drum", "loop", ",", "97", "bpm", ";", "f#3", "440")
    ]


def test_unknown_words_fall_into_pieces_not_away(tokenizer: PreTrainedTokenizerFast) -> None:
    pieces = tokenizer.tokenize("dubstep")
    assert len(pieces) > 1 and "<unk>" not in pieces


def test_sequences_end_and_pad_as_t5_does(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer("drum", padding="max_length", max_length=4)["input_ids"]
    assert ids[1:] == [1, 0, 0]


def test_a_note_is_its_frequency() -> None:
    assert numeric_value("a4") == pytest.approx(440.0)
    near = (numeric_features(440.0) - numeric_features(445.0)).abs().max()
    far = (numeric_features(440.0) - numeric_features(523.25)).abs().max()
    assert near < far


def test_numeric_embeddings_stay_fixed_while_words_learn(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    settings = TextSettings(d_model=48, d_ff=32, layers=1, heads=2, batch_size=32)
    with torch.random.fork_rng():
        network = TextNetwork(settings, tokenizer, ProceduralCorpus())
    task = TextTask(network, tokenizer, ProceduralCorpus(), settings, OptimizerSettings(), 1)
    losses = task.losses(task.batch(0, Share(0, 1)), 0, task.networks)
    assert set(losses) == {"kind", "descriptors", "tempo", "pitch"}
    torch.stack(list(losses.values())).sum().backward()
    gradient = network.encoder.get_input_embeddings().weight.grad
    assert gradient is not None
    vocabulary = tokenizer.get_vocab()
    assert gradient[vocabulary["128"]].abs().max() == 0
    assert gradient[vocabulary["f#3"]].abs().max() == 0
    assert gradient[vocabulary["a"]].abs().max() > 0


def test_what_is_told_rightly_is_counted_among_the_sounds_that_have_it() -> None:
    tempi = torch.stack(
        [numeric_features(120.0), numeric_features(96.0), torch.full((32,), torch.nan)]
    )
    target = {
        "kind": torch.tensor([2, 0, NONE]),
        "descriptors": torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]),
        "tempo": tempi,
    }
    told = {
        "kind": torch.tensor([[0.0, 0.1, 0.2], [0.0, 0.9, 0.1], [1.0, 0.0, 0.0]]),
        "descriptors": torch.tensor([[3.0, 2.0], [-1.0, -1.0], [1.0, -1.0]]),
        "tempo": torch.stack([numeric_features(120.4), numeric_features(98.0), tempi[0]]),
    }
    found = {name: right.tolist() for name, right in told_rightly(told, target)}
    assert found == {
        "kind": [True, False],
        "descriptors": [True, True, False],
        "tempo": [True, False],
    }


def test_validation_tells_shares_and_weights_change_losses_alone(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    settings = TextSettings(
        d_model=48, d_ff=32, layers=1, heads=2, batch_size=16, validation_captions=40
    )
    corpus = ProceduralCorpus()
    with torch.random.fork_rng():
        network = TextNetwork(settings, tokenizer, corpus)
    plain = TextTask(network, tokenizer, corpus, settings, OptimizerSettings(), 1)
    weighed = replace(settings, descriptor_weight=30.0, value_weight=20.0)
    other = TextTask(network, tokenizer, corpus, weighed, OptimizerSettings(), 1)
    shares = plain.validate(plain.networks)
    assert shares == other.validate(other.networks)
    assert shares.keys() == {"kind", "descriptors", "tempo", "pitch"}
    assert all(0 <= share <= 1 for share in shares.values())
    batch = plain.batch(0, Share(0, 1))
    before, after = (task.losses(batch, 0, task.networks) for task in (plain, other))
    factors = {name: float((after[name] / before[name]).detach()) for name in before}
    assert factors == pytest.approx({"kind": 1, "descriptors": 30, "tempo": 20, "pitch": 20})
