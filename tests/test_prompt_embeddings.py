"""Embeddings in place of prompts: they make the same sounds, can be changed and mixed, and tags tell what they were."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rounding import RUN

from auralith.cli.main import run
from auralith.editing import Clip, Extension, Variation, extend, vary
from auralith.errors import AuralithError, InvalidRequest
from auralith.pipeline import Auralith, load
from auralith.prompt_embedding import EmbeddingRecord, PromptEmbedding, mix_prompts
from auralith.provenance import read_provenance
from auralith.request import GenerationRequest, Prompt
from auralith.sets import plan_set, read_rows
from auralith.sound.reading import read
from tests.conftest import GOLDEN

MODEL = str(GOLDEN / "sao_tiny")
FLOW = str(GOLDEN / "sao_small_tiny")


@pytest.fixture(scope="module", params=[MODEL, FLOW])
def any_model(request: pytest.FixtureRequest) -> Auralith:
    return load(request.param, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def model() -> Auralith:
    return load(MODEL, device="cpu", dtype="float32")


def request(prompt: Prompt, **changes: Any) -> GenerationRequest:
    settings = {"steps": 3, "seed": 5, "seconds_total": 0.3, "window": "fit"} | changes
    return GenerationRequest(prompt, **settings)


@torch.no_grad()  # the type checks of the tests hide from `inference_mode` that the loop is a generator
def samples(model: Auralith, prompt: Prompt, **changes: Any) -> torch.Tensor:
    return model.generate(request(prompt, **changes)).waveform


def test_an_embedding_makes_the_bits_of_its_prompt(any_model: Auralith) -> None:
    rain, hiss = any_model.encode_prompt("rain on a roof"), any_model.encode_prompt("hiss")
    assert rain.text == "rain on a roof" and not rain.states.requires_grad
    expected = samples(any_model, "rain on a roof", negative_prompt="hiss", cfg_scale=4.0)
    assert torch.equal(samples(any_model, rain, negative_prompt=hiss, cfg_scale=4.0), expected)
    assert not torch.equal(samples(any_model, rain, cfg_scale=4.0), expected)


def test_texts_and_embeddings_share_a_batch(any_model: Auralith) -> None:
    bell = any_model.encode_prompt("a bell")
    prompts: list[Prompt] = ["rain", bell, "thunder", any_model.encode_prompt("rain")]
    requests = [request(prompt, seed=index) for index, prompt in enumerate(prompts)]
    assert len(any_model.groups([any_model.resolve(one) for one in requests])) == 1
    for sound, one in zip(any_model.generate_batch(requests), requests, strict=True):
        alone = any_model.generate(one).waveform
        assert (sound.waveform - alone).abs().max() <= RUN * alone.abs().max()


def test_a_changed_embedding_makes_another_sound(model: Auralith) -> None:
    rain = model.encode_prompt("rain")
    louder = replace(rain, states=2 * rain.states)
    assert not torch.equal(samples(model, louder), samples(model, rain))
    widened = replace(rain, states=rain.states.to(torch.float64))
    assert torch.equal(samples(model, widened), samples(model, rain))


def test_padding_is_zero_after_the_text(model: Auralith) -> None:
    short, long = model.encode_prompt("rain"), model.encode_prompt("rain on a roof of tin")
    used = [int(one.states.abs().sum(1).count_nonzero()) for one in (short, long)]
    assert 0 < used[0] < used[1]
    assert not short.states[used[0] :].any()


def test_edits_take_it(model: Auralith) -> None:
    clip = Clip(0.1 * torch.randn(2, 9_000, generator=torch.Generator().manual_seed(1)), 44_100)
    rain = model.encode_prompt("rain")
    again = Extension(0.5, prompts=((0.3, "thunder"),))
    varied, longer = zip(
        *(
            (vary(model, one, clip, Variation(0.5)), extend(model, one, clip, again))
            for one in (request("rain", seconds_total=None), request(rain, seconds_total=None))
        ),
        strict=True,
    )
    for text, embedding in (varied, longer):
        assert (text.waveform - embedding.waveform).abs().max() <= RUN * text.waveform.abs().max()


def test_an_embedding_of_another_model_is_refused(model: Auralith) -> None:
    foreign = PromptEmbedding("rain", torch.zeros(3, 5), torch.zeros(5))
    for wrong in (GenerationRequest(foreign), GenerationRequest("x", negative_prompt=foreign)):
        with pytest.raises(InvalidRequest, match=r"has the shape \(3, 5\), this model takes"):
            model.resolve(wrong)


STATES, MEAN = torch.zeros(3, 5), torch.zeros(5)


@pytest.mark.parametrize(
    ("text", "states", "mean", "message"),
    [
        ("", STATES, MEAN, "has no text"),
        (3, STATES, MEAN, "has no text"),
        ("x", STATES.numpy(), MEAN, "states is float32 of shape"),
        ("x", STATES.long(), MEAN, "states is int64 of shape"),
        (
            "x",
            STATES[0],
            MEAN,
            r"states is float32 of shape \(5,\); give a tensor of floats with 2",
        ),
        ("x", STATES, STATES, "give a tensor of floats with 1 axes"),
        ("x", STATES, None, "mean is None"),
        ("x", STATES, MEAN[:4], "are 5 wide, its mean 4"),
        ("x", STATES * math.nan, MEAN, "states holds NaN or infinity"),
        ("x", STATES, MEAN + math.inf, "mean holds NaN or infinity"),
    ],
)
def test_other_values_have_one_clear_line(text: Any, states: Any, mean: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as raised:
        PromptEmbedding(text, states, mean)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", " ", "\ud800", "x" * 100_001])
def test_what_is_no_prompt_is_not_encoded(model: Auralith, text: Any) -> None:
    with pytest.raises(InvalidRequest) as raised:
        model.encode_prompt(text)
    assert "\n" not in str(raised.value)


def test_the_words_of_an_embedding_are_checked_as_a_prompts() -> None:
    for text in ("\ud800", "x" * 100_001):
        with pytest.raises(InvalidRequest):
            GenerationRequest(PromptEmbedding(text, STATES, MEAN))


# What tags say


def test_tags_hold_text_and_hash(
    model: Auralith,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    rain, hiss = model.encode_prompt("rain"), model.encode_prompt("hiss")
    model.generate(request(rain, negative_prompt=hiss)).save("a.wav")
    found = read_provenance("a.wav").settings
    assert found.prompt == rain.record() and found.negative_prompt == hiss.record()
    assert found.text == "rain"
    assert rain.record() == model.encode_prompt("rain").record() != hiss.record()
    assert rain.record() != replace(rain, states=rain.states * 1.001).record()
    assert run(["info", "a.wav"]) == 0
    with pytest.raises(InvalidRequest, match="the prompt is someone's own embedding, of 'rain'"):
        model.resolve(found)

    again = ["generate", "--from", "a.wav", "--model", MODEL, "-o", "b.wav"]
    capsys.readouterr()
    assert run(again) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert run([*again[:1], "rain", *again[1:]]) == 2  # the negative one is missing still
    assert run([*again[:1], "rain", *again[1:], "--negative", "hiss"]) == 0
    assert read_provenance("b.wav").settings.prompt == "rain"
    capsys.readouterr()
    assert run(["vary", "a.wav", "--model", MODEL, "--steps", "2"]) == 2
    error = capsys.readouterr().err
    assert "made with an embedding" in error and error.count("\n") == 1


def test_a_set_takes_texts_only(model: Auralith, tmp_path: Path) -> None:
    table = tmp_path / "prompts.csv"
    table.write_text("prompt\nrain\n")
    values = {"seconds_total": 0.3, "negative_prompt": model.encode_prompt("hiss")}
    planned = plan_set(model, read_rows(table), values)
    assert not planned.items
    assert "someone's own embedding, of 'hiss'" in planned.problems[0].reason


@pytest.mark.parametrize(
    "value",
    [
        5,
        None,
        [],
        {},
        {"text": "x"},
        {"text": " ", "embedding": "00"},
        {"text": "x", "embedding": 1},
        {"text": "x", "states": [[0.0]], "mean": [0.0]},
    ],
)
def test_other_values_in_tags_are_one_line(
    value: Any, model: Auralith, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = model.provenance(model.resolve(request("rain"))).to_tags()
    tags["settings"]["prompt"] = value
    monkeypatch.setattr("auralith.provenance.read_tags", lambda path: tags)
    with pytest.raises(AuralithError) as raised:
        read_provenance("a.wav")
    assert "\n" not in str(raised.value)


def test_a_record_is_read_as_it_was_written(
    model: Auralith, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = model.provenance(model.resolve(request(model.encode_prompt("rain")))).to_tags()
    monkeypatch.setattr("auralith.provenance.read_tags", lambda path: tags)
    assert isinstance(read_provenance("a.wav").settings.prompt, EmbeddingRecord)


# Mixtures


def test_a_mixture_is_the_weighted_mean(any_model: Auralith) -> None:
    rain, bell = any_model.encode_prompt("rain"), any_model.encode_prompt("a bell, note C5")
    made = mix_prompts([(3.0, rain), (1.0, bell)])
    assert made.text == "0.75 rain + 0.25 a bell, note C5"
    assert torch.allclose(made.states, 0.75 * rain.states + 0.25 * bell.states, atol=1e-6)
    assert torch.allclose(made.mean, 0.75 * rain.mean + 0.25 * bell.mean, atol=1e-6)
    assert torch.equal(mix_prompts([(1.0, rain), (0.0, bell)]).states, rain.states)
    away = mix_prompts([(1.5, rain), (-0.5, bell)])
    assert torch.allclose(away.states, 1.5 * rain.states - 0.5 * bell.states, atol=1e-6)
    many = mix_prompts([(1 / 7, rain)] * 7)
    assert torch.allclose(many.states, rain.states, atol=1e-6)


@pytest.mark.parametrize("weights", [(), (0.0, 0.0), (1.0, -1.0), (math.nan, 1.0), (math.inf, 1.0)])
def test_weights_without_a_sum_are_refused(weights: tuple[float, ...]) -> None:
    one = PromptEmbedding("x", STATES, MEAN)
    with pytest.raises(InvalidRequest) as raised:
        mix_prompts([(weight, one) for weight in weights])
    assert "\n" not in str(raised.value)


def test_embeddings_of_two_models_do_not_mix() -> None:
    one, other = PromptEmbedding("x", STATES, MEAN), PromptEmbedding("y", STATES[:, :4], MEAN[:4])
    with pytest.raises(InvalidRequest, match="encode both with one model"):
        mix_prompts([(1.0, one), (1.0, other)])


def test_what_a_request_mixes_is_what_mix_prompts_gives(model: Auralith) -> None:
    mixed = samples(model, "rain", mix=((0.3, "thunder"), (0.2, "a bell")), negative_prompt="hiss")
    parts = [(0.5, "rain"), (0.3, "thunder"), (0.2, "a bell")]
    by_hand = mix_prompts([(weight, model.encode_prompt(text)) for weight, text in parts])
    expected = samples(model, by_hand, negative_prompt="hiss")
    assert (mixed - expected).abs().max() <= RUN * expected.abs().max()
    assert (mixed - samples(model, "rain", negative_prompt="hiss")).abs().max() > 0
    assert torch.equal(samples(model, "rain", mix=((0.0, "thunder"),)), samples(model, "rain"))
    assert torch.equal(samples(model, "rain", mix=((1.0, "thunder"),)), samples(model, "thunder"))
    halves = samples(model, by_hand, mix=((0.5, "thunder"),))
    assert (halves - samples(model, by_hand)).abs().max() > 0


def test_mixtures_share_a_batch(model: Auralith) -> None:
    requests = [
        request("rain", seed=1),
        request("rain", seed=2, mix=((0.5, "thunder"),)),
        request("a bell", seed=3, mix=[[0.1, "thunder"], [0.1, "hiss"]]),
    ]
    assert len(model.groups([model.resolve(one) for one in requests])) == 1
    for sound, one in zip(model.generate_batch(requests), requests, strict=True):
        alone = model.generate(one).waveform
        assert (sound.waveform - alone).abs().max() <= RUN * alone.abs().max()


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ("0.3:thunder", "give up to 100 weights and prompts"),
        ({"thunder": 0.3}, "give up to 100 weights and prompts"),
        ([(0.001, "x")] * 101, "give up to 100 weights and prompts"),
        ([0.3, "thunder"], "give a weight from 0 to 1 and a prompt"),
        ([("thunder", 0.3)], "give a weight from 0 to 1 and a prompt"),
        ([(1.5, "thunder")], "give a weight from 0 to 1 and a prompt"),
        ([(-0.1, "thunder")], "give a weight from 0 to 1 and a prompt"),
        ([(math.nan, "thunder")], "give a weight from 0 to 1 and a prompt"),
        ([(0.3, " ")], "mix is empty"),
        ([(0.3, None)], "mix is None"),
        ([(0.3, PromptEmbedding("x", STATES, MEAN))], "mix embeddings by mix_prompts"),
        ([(0.6, "a"), (0.6, "b")], "mix has weights of the sum 1.2"),
    ],
)
def test_other_mixtures_have_one_clear_line(mix: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as raised:
        GenerationRequest("rain", mix=mix)
    assert "\n" not in str(raised.value)


def test_tags_make_a_mixture_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--model", MODEL, "--steps", "3", "--seconds", "0.3", "--subtype", "float"]
    mix = ["--mix", "0.3:thunder", "--mix", "0.2: a bell: C5", "--seed", "3"]
    assert run(["generate", "rain", *options, *mix, "-o", "a.wav"]) == 0
    assert read_provenance("a.wav").settings.mix == ((0.3, "thunder"), (0.2, "a bell: C5"))
    assert run(["generate", "--from", "a.wav", *options, "-o", "b.wav"]) == 0
    first, again = read("a.wav")[0], read("b.wav")[0]
    assert torch.equal(first, again)
    assert run(["generate", "snow", "--from", "a.wav", *options, "-o", "c.wav"]) == 0
    assert read_provenance("c.wav").settings.mix == ()
    assert run(["vary", "a.wav", "--model", MODEL, "--steps", "2", "-o", "d.wav"]) == 0
    assert read_provenance("d.wav").settings.mix == ((0.3, "thunder"), (0.2, "a bell: C5"))
    for wrong in ("thunder", "x:thunder", "2:thunder", "0.3:", ":thunder"):
        capsys.readouterr()
        assert run(["generate", "rain", *options, "--mix", wrong]) == 2
        assert capsys.readouterr().err.count("\n") == 1
