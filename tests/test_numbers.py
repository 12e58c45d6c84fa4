"""Numbers of any library are numbers, in requests, edits and the two compatible packages; nothing else is one."""

from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pytest
import torch

from auralith.edits import Extension, Inpainting, Loop, Variation
from auralith.errors import InvalidRequest
from auralith.numbers import plain_number, real_number, whole_number
from auralith.request import GenerationRequest

WHOLE = [np.int64(2), np.int8(2), np.uint32(2), np.array(2), torch.tensor(2), 2]
REAL = [*WHOLE, np.float32(2), np.float64(2), np.array(2.0), torch.tensor(2.0), Fraction(2), 2.0]
NONE = [True, np.True_, torch.tensor(True), "2", None, [2], np.array([2]), torch.tensor([2]), 2j]


@pytest.mark.parametrize("value", REAL)
def test_every_real_number_is_taken_as_pythons_own(value: object) -> None:
    request = GenerationRequest("rain", seconds_total=value, cfg_interval=(np.float32(0), 1))  # pyright: ignore
    assert request == GenerationRequest("rain", seconds_total=2, cfg_interval=(0, 1))
    assert all(
        type(one) in (str, int, float, bool, tuple, dict, type(None))
        for one in asdict(request).values()
    )
    assert Loop(seconds=value).seconds == 2  # pyright: ignore
    assert Variation(np.float32(0.5)).strength == 0.5  # pyright: ignore
    assert Inpainting(((np.float32(0), value),)).ranges == ((0.0, 2.0),)  # pyright: ignore
    assert Extension(value, prompts=((value, "x"),)).prompts == ((2.0, "x"),)  # pyright: ignore


@pytest.mark.parametrize("value", WHOLE)
def test_every_whole_number_is_taken(value: object) -> None:
    request = GenerationRequest("rain", steps=value, seed=value)  # pyright: ignore
    assert (type(request.steps), request.steps, request.seed) == (int, 2, 2)


@pytest.mark.parametrize("value", NONE)
def test_what_is_no_number(value: object) -> None:
    assert plain_number(value) is None
    if value is not None:
        with pytest.raises(InvalidRequest, match=r"seconds_total is .*, not a number"):
            GenerationRequest("rain", seconds_total=value)  # pyright: ignore
        with pytest.raises(InvalidRequest, match=r"steps is .*; give a whole number"):
            GenerationRequest("rain", steps=value)  # pyright: ignore


def test_the_compatible_packages_take_text_too() -> None:
    assert (real_number("x", "2.5"), whole_number("x", " 2 "), whole_number("x", 2.0)) == (
        2.5,
        2,
        2,
    )
    for value in ("two", "nan", "1e999", None, True):
        with pytest.raises(InvalidRequest, match="x is "):
            real_number("x", value)
    for value in ("2.5", 0, np.int64(0)):
        with pytest.raises(InvalidRequest, match="x is "):
            whole_number("x", value)


def test_a_prompt_of_other_bytes_is_refused() -> None:
    for prompt, negative in (("caf\udce9", None), ("rain", "\udce9")):
        with pytest.raises(InvalidRequest, match=r"udce9', which is not UTF-8"):
            GenerationRequest(prompt, negative)


def test_an_edit_takes_only_numbers_that_a_float_holds() -> None:
    for huge in (10**400, float("inf"), float("nan")):
        with pytest.raises(InvalidRequest, match="ranges"):
            Inpainting(((0.0, huge),))
