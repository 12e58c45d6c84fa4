"""What is remembered of prompts: the same bits, as long as nothing about the text encoder has changed."""

import copy
import logging
import pickle
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auralith.conditioning import Conditioner
from auralith.text.encoder import TextEncoder
from auralith.text.recent import RecentStates
from auralith.text.tokenizer import open_tokenizer
from tests.conftest import GOLDEN, open_tiny

LIMIT = 16


class Count:
    """Counts the texts that a network encodes."""

    def __init__(self, model: nn.Module) -> None:
        self.rows = 0
        model.register_forward_hook(lambda _, given, __: self.add(len(given[0])))

    def add(self, rows: int) -> None:
        self.rows += rows


@pytest.fixture
def text() -> TextEncoder:
    shared = open_tiny("sao_tiny").text
    return TextEncoder(copy.deepcopy(shared.model), shared.tokenizer)


@torch.no_grad()
def test_a_batch_that_comes_again_is_not_encoded_again(text: TextEncoder) -> None:
    recent, count = RecentStates(), Count(text.model)
    first = recent.encode(text, ["rain", "wind"], LIMIT)
    again = recent.encode(text, ["rain", "wind"], LIMIT)
    assert count.rows == 2
    assert torch.equal(first.states, again.states) and torch.equal(first.mask, again.mask)
    recent.encode(text, ["rain"], LIMIT)  # another shape rounds otherwise
    recent.encode(text, ["wind", "rain"], LIMIT)
    assert count.rows == 5
    assert recent.encode(text, ["rain"], LIMIT + 1).states.shape[1] == LIMIT + 1


PROMPTS = st.lists(st.sampled_from(["rain", "wind", "", "a drum"]), min_size=1, max_size=2)


@settings(max_examples=30)
@given(st.lists(PROMPTS, max_size=5))
@torch.no_grad()
def test_states_are_those_of_the_encoder_in_every_order(batches: list[list[str]]) -> None:
    text, recent = open_tiny("sao_tiny").text, RecentStates(3 * LIMIT * 64 * 4)
    for batch in batches:
        found, expected = recent.encode(text, batch, LIMIT), text.encode(batch, LIMIT)
        assert torch.equal(found.states, expected.states)
        assert torch.equal(found.mask, expected.mask)


@torch.no_grad()
def test_who_changes_states_changes_a_copy(text: TextEncoder) -> None:
    recent = RecentStates()
    expected = recent.encode(text, ["rain"], LIMIT).states.clone()
    for _ in range(2):
        found = recent.encode(text, ["rain"], LIMIT)
        assert torch.equal(found.states, expected)
        found.states.zero_()
        found.mask.zero_()


@torch.no_grad()
def test_the_oldest_are_dropped_and_the_bytes_are_bounded(text: TextEncoder) -> None:
    recent, count = RecentStates(), Count(text.model)
    one = recent.encode(text, ["0"], LIMIT)
    recent = RecentStates(4 * (one.states.nbytes + one.mask.nbytes))
    for name in "01230":  # the last one is young again
        recent.encode(text, [name], LIMIT)
    assert count.rows == 1 + 4
    recent.encode(text, ["4"], LIMIT)
    for name, rows in (("0", 6), ("4", 6), ("1", 7)):
        recent.encode(text, [name], LIMIT)
        assert count.rows == rows
    kept = sum(each.states.nbytes + each.mask.nbytes for each in recent._kept.values())
    assert kept <= recent.most_bytes
    small = RecentStates(10)
    assert torch.equal(small.encode(text, ["0"], LIMIT).states, one.states)
    assert not small._kept


def changed_in_place(model: nn.Module) -> None:
    next(model.parameters()).mul_(2)


def loaded(model: nn.Module) -> None:
    state = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    model.load_state_dict(state, assign=True)


def rounded(model: nn.Module) -> None:
    """Leave new weights in the same number format, of other values, perhaps at the same address."""
    nn.Module.to(model, torch.bfloat16)
    nn.Module.to(model, torch.float32)


CHANGES: dict[str, Callable[[nn.Module], object]] = {
    "in place": changed_in_place,
    "loaded": loaded,
    "rounded": rounded,
    "number format": lambda model: nn.Module.to(model, torch.bfloat16),
}


@pytest.mark.parametrize("change", CHANGES)
@torch.no_grad()
def test_nothing_is_kept_of_an_encoder_that_has_changed(change: str, text: TextEncoder) -> None:
    recent, count = RecentStates(), Count(text.model)
    recent.encode(text, ["rain"], LIMIT)
    CHANGES[change](text.model)
    found = recent.encode(text, ["rain"], LIMIT)
    assert count.rows == 2 and len(recent._kept) == 1
    assert torch.equal(found.states, text.encode(["rain"], LIMIT).states)


@torch.no_grad()
def test_another_encoder_or_tokenizer_has_states_of_its_own(text: TextEncoder) -> None:
    recent = RecentStates()
    recent.encode(text, ["rain"], LIMIT)
    other = TextEncoder(text.model, open_tokenizer(GOLDEN / "v_bpm/t5"))
    found = recent.encode(other, ["rain"], LIMIT)
    assert torch.equal(found.states, other.encode(["rain"], LIMIT).states)
    with torch.autocast("cpu", torch.bfloat16):
        found = recent.encode(other, ["rain"], LIMIT)
        assert torch.equal(found.states, other.encode(["rain"], LIMIT).states)


def test_states_for_training_are_not_kept(text: TextEncoder) -> None:
    recent = RecentStates()
    assert recent.encode(text, ["rain"], LIMIT).states.requires_grad and not recent._kept
    with torch.inference_mode():
        recent.encode(text, ["rain"], LIMIT)
    with torch.no_grad():
        assert not recent.encode(text, ["rain"], LIMIT).states.is_inference()


@torch.no_grad()
def test_copies_are_empty(text: TextEncoder) -> None:
    recent = RecentStates(123_456)
    recent.encode(text, ["rain"], LIMIT)
    for copied in (copy.copy(recent), copy.deepcopy(recent), pickle.loads(pickle.dumps(recent))):
        assert copied.most_bytes == 123_456 and not copied._kept


@torch.inference_mode()
def test_the_warning_of_a_cut_prompt_is_repeated(caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = open_tiny("sao_tiny")
    conditioner = Conditioner(checkpoint.config, checkpoint.numbers, checkpoint.text)
    with caplog.at_level(logging.WARNING, "auralith"):
        for _ in range(2):
            conditioner.encode_text(["drum " * 40])
    assert len(caplog.records) == 2


@torch.inference_mode()
def test_a_conditioner_encodes_a_prompt_once() -> None:
    checkpoint = open_tiny("sao_tiny")
    model = copy.deepcopy(checkpoint.text.model)
    text, count = TextEncoder(model, checkpoint.text.tokenizer), Count(model)
    conditioner = Conditioner(checkpoint.config, checkpoint.numbers, text)
    numbers = {"seconds_start": [0.0], "seconds_total": [1.0]}
    first = conditioner.both(["rain"], ["wind"], numbers, guided=True)
    again = conditioner.both(["rain"], ["wind"], numbers | {"seconds_total": [2.0]}, guided=True)
    assert count.rows == 2
    tokens = LIMIT  # rows of the text come first
    assert torch.equal(first.context[:, :tokens], again.context[:, :tokens])
