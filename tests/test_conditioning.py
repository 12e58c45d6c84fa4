"""Prompt and seconds against the reference; the null condition; what happens to long prompts."""

import json
import logging

import pytest
import torch
from torch import Tensor

from auralith.checkpoints import Checkpoint
from auralith.conditioning import Conditioner
from auralith.errors import CheckpointError, InvalidRequest
from tests.conftest import GOLDEN, open_tiny, relative_error


def conditioner_of(checkpoint: Checkpoint) -> Conditioner:
    return Conditioner(checkpoint.config, checkpoint.numbers, checkpoint.text)


@pytest.fixture(scope="module")
def sao() -> Conditioner:
    return conditioner_of(open_tiny("sao_tiny"))


def test_a_tokenizer_of_another_text_encoder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sao = conditioner_of(open_tiny("sao_tiny"))
    monkeypatch.setattr(sao.text.model.embedding, "num_embeddings", 3)
    with pytest.raises(CheckpointError, match=r"it gives token \d+, and the text encoder has 3"):
        sao.encode_text(["rain"])


def numbers_of(conditioner: Conditioner, entries: list[list[float]]) -> dict[str, list[float]]:
    values = {
        "seconds_start": [float(e[1]) for e in entries],
        "seconds_total": [float(e[2]) for e in entries],
    }
    return {name: values[name] for name in conditioner.number_ids}


@torch.inference_mode()
def test_equals_the_reference(
    tiny_name: str, checkpoint: Checkpoint, golden: dict[str, Tensor]
) -> None:
    """The reference ran its text encoder in float16, hence the tolerance of the context."""
    entries = next(iter(json.loads((GOLDEN / tiny_name / "cases.json").read_text()).values()))[
        "prompts"
    ]
    conditioner = conditioner_of(checkpoint)
    made = conditioner([entry[0] for entry in entries], numbers_of(conditioner, entries))
    assert relative_error(made.context, golden["cond.context"]) <= 1e-2
    assert relative_error(made.global_embed, golden["cond.global"]) <= 1e-5
    padding = ~golden["cond.prompt_mask"].bool()
    assert made.context[:, : padding.shape[1]][padding].abs().max() == 0


@torch.inference_mode()
def test_seconds_equal_the_reference_also_out_of_range(
    checkpoint: Checkpoint, golden: dict[str, Tensor]
) -> None:
    embedded = checkpoint.numbers["seconds_total"](golden["cond.seconds"])
    assert relative_error(embedded, golden["cond.seconds_embedding"]) <= 1e-5


@torch.inference_mode()
def test_the_null_condition_keeps_the_numbers_in_the_global_vector(sao: Conditioner) -> None:
    numbers = {"seconds_start": [0.0, 3.0], "seconds_total": [10.0, 20.0]}
    text = sao.encode_text(["rain", "wind"])
    kept = sao.assemble(text, numbers)
    dropped = sao.assemble(text, numbers, keep=torch.tensor([True, False]))
    assert torch.equal(dropped.context[0], kept.context[0])
    assert dropped.context[1].abs().max() == 0
    assert torch.equal(dropped.global_embed, kept.global_embed)
    assert torch.equal(sao.null(numbers, torch.device("cpu")), kept.global_embed)


def test_a_long_prompt_warns_and_shows_what_was_cut(
    sao: Conditioner, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "auralith"), torch.inference_mode():
        sao.encode_text(["drum " * 90 + "thunder"])
        sao.encode_text(["short"])
    (record,) = caplog.records
    assert "the limit is 32" in record.getMessage()
    assert "thunder" in record.getMessage().split("cut")[1]


def test_a_missing_number_is_named(sao: Conditioner) -> None:
    with pytest.raises(InvalidRequest, match="seconds_total"):
        sao(["rain"], {"seconds_start": [0.0]})
