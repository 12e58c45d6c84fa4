"""Where noise levels lie: schedules by name, from Python, the shell and tables."""

import hashlib
import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from conftest import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st

from auralith.cli.main import run
from auralith.config import DistributionShift
from auralith.errors import InvalidRequest
from auralith.pipeline import Auralith, load
from auralith.provenance import read_provenance
from auralith.request import GenerationRequest
from auralith.samplers import SAMPLERS, Schedule, polyexponential_sigmas
from auralith.samplers.schedules import SIGMA_SCHEDULES
from auralith.sets import plan_set, read_rows

MODEL = str(GOLDEN / "sao_tiny")
FLOW = str(GOLDEN / "sao_small_tiny")
QUICK = {"steps": 4, "seed": 5, "seconds_total": 0.3, "window": "fit"}
BY_SIGMA = [name for name, sampler in SAMPLERS.items() if "karras" in sampler.schedules]
BY_TIME = [name for name, sampler in SAMPLERS.items() if "linear" in sampler.schedules]


@pytest.fixture(scope="module")
def model() -> Auralith:
    return load(MODEL, device="cpu", dtype="float32")


def request(**changes: Any) -> GenerationRequest:
    return GenerationRequest("rain", **(QUICK | changes))


def samples(path: str) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


# The formulas of k-diffusion, in float32 as it computes them


def karras(steps: int, low: float, high: float, rho: float = 7.0) -> list[float]:
    ramp = torch.linspace(0, 1, steps)
    return ((high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho).tolist()


def exponential(steps: int, low: float, high: float) -> list[float]:
    return torch.linspace(math.log(high), math.log(low), steps).exp().tolist()


def polyexponential(steps: int, low: float, high: float, rho: float = 1.0) -> list[float]:
    ramp = torch.linspace(1, 0, steps) ** rho
    return (ramp * (math.log(high) - math.log(low)) + math.log(low)).exp().tolist()


FORMULAS: dict[str, Callable[..., list[float]]] = {
    "karras": karras,
    "exponential": exponential,
    "polyexponential": polyexponential,
}


@settings(max_examples=200)
@given(
    st.sampled_from(sorted(FORMULAS)),
    st.integers(1, 200),
    st.floats(1e-3, 1.0),
    st.floats(1.5, 1e3),
    st.none() | st.floats(0.5, 10.0),
)
def test_schedules_by_name_are_those_of_k_diffusion(
    name: str, steps: int, low: float, ratio: float, rho: float | None
) -> None:
    high = low * ratio
    bends = name != "exponential"
    options = {"rho": rho} if bends and rho is not None else {}
    schedule = Schedule(steps, low, high, rho if bends else None, name=name)
    try:
        levels = SAMPLERS["dpmpp-3m-sde"].levels(schedule)
    except InvalidRequest:  # float32 can't tell the last ones apart
        expected = FORMULAS[name](steps, low, high, **options)
        assert any(a <= b for a, b in pairwise(expected))
        return
    assert levels == (*FORMULAS[name](steps, low, high, **options), 0.0)
    assert levels[0] == pytest.approx(high, rel=1e-4)
    assert steps == 1 or levels[-2] == pytest.approx(low, rel=1e-3)
    assert all(a > b for a, b in pairwise(levels))


def test_the_default_is_the_published_schedule() -> None:
    schedule = Schedule(100, 0.3, 500.0)
    for name in BY_SIGMA:
        assert SAMPLERS[name].levels(schedule) == polyexponential_sigmas(100, 0.3, 500.0)
    assert next(iter(SIGMA_SCHEDULES)) == "polyexponential"


@pytest.mark.parametrize("name", BY_TIME)
def test_times_have_schedules_of_their_own(name: str) -> None:
    sampler = SAMPLERS[name]
    for schedule in sampler.schedules:
        chosen = Schedule(8, 0.0, 1.0, None, 2_000, DistributionShift(), schedule)
        levels = sampler.levels(chosen)
        assert (levels[0], levels[-1], len(levels)) == (1.0, 0.0, 9)
        assert all(a > b for a, b in pairwise(levels))
    own = sampler.levels(Schedule(8, 0.0, 1.0, None, 2_000, DistributionShift()))
    first = Schedule(8, 0.0, 1.0, None, 2_000, DistributionShift(), next(iter(sampler.schedules)))
    assert own == sampler.levels(first)


@pytest.mark.parametrize("name", SAMPLERS)
def test_what_a_sampler_can_not_follow_is_refused(name: str) -> None:
    sampler = SAMPLERS[name]
    wrong = [{"name": "sideways"}, {"name": "linear" if name in BY_SIGMA else "karras"}]
    if name not in BY_SIGMA:
        wrong.append({"rho": 2.0})
    if name == "rk4":
        wrong.append({"name": "shifted"})  # the config has no shift
    for change in wrong:
        with pytest.raises(InvalidRequest):
            sampler.levels(Schedule(5, 0.1, 1.0, **change))


def test_a_bend_needs_a_schedule_that_bends() -> None:
    with pytest.raises(InvalidRequest, match="the schedule exponential has none"):
        SAMPLERS["k-heun"].levels(Schedule(5, 0.1, 80.0, 2.0, name="exponential"))
    assert SAMPLERS["k-heun"].levels(Schedule(5, 0.1, 80.0, 2.0)) == (
        *polyexponential(5, 0.1, 80.0, 2.0),
        0.0,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 10_000, "sigma_min": 80.0, "sigma_max": 80.001},
        {"schedule": "polyexponential", "rho": 200.0, "steps": 100},
        {"schedule": "karras", "rho": 0.03, "sigma_max": 1e6},
        {"schedule": "karras", "rho": 1e-5},
        {"sigma_min": 1e-60},
        {"sigma_max": 1e7},
        {"rho": 0.0},
        {"rho": 1e5},
        {"rho": 10**400},
        {"schedule": 3},
        {"schedule": "Karras!"},
    ],
)
def test_a_schedule_that_has_no_levels_is_refused(model: Auralith, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        model.resolve(request(**change))
    assert "\n" not in str(raised.value)


# From the shell, from tags, from tables


@pytest.mark.parametrize(
    "options",
    [
        "--steps 3 --schedule karras",
        "--steps 3 --schedule karras --rho 3.5",
        "--steps 3 --schedule exponential --sampler k-heun",
        "--steps 3 --rho 2",
    ],
)
def test_tags_make_the_same_samples_again(
    options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = "generate rain --seconds 0.3 --window fit --seed 3 --subtype float --model".split()
    assert run([*command, MODEL, *options.split(), "-o", "a.wav"]) == 0
    again = ["generate", "--from", "a.wav", "--model", MODEL, "--subtype", "float"]
    assert run([*again, "-o", "b.wav"]) == 0
    assert np.array_equal(samples("a.wav"), samples("b.wav"))
    assert read_provenance("a.wav") == read_provenance("b.wav")
    plain = [*command, MODEL, "--steps", str(read_provenance("a.wav").settings.steps)]
    assert run([*plain, "-o", "c.wav"]) == 0
    assert not np.array_equal(samples("a.wav"), samples("c.wav"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--schedule karas", "takes polyexponential, exponential, karras"),
        ("--schedule linear", "takes polyexponential, exponential, karras"),
        ("--rho -1", "rho is -1; it must be above 0"),
        ("--schedule karras --sampler k-dpm-fast", "chooses its own steps"),
    ],
)
def test_the_shell_has_one_line_for_each_mistake(
    options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["generate", "rain", "--model", MODEL, *options.split()]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def planned(model: Auralith, folder: Path, text: str, name: str = "prompts.csv") -> Any:
    (folder / name).write_text(text)
    return plan_set(model, read_rows(folder / name), {"seconds_total": 0.5})


def test_keys_are_as_they_were_before_requests_had_these_fields(
    model: Auralith, tmp_path: Path
) -> None:
    (item,) = planned(model, tmp_path, "prompt,seed\nrain,4\n").items
    tags = item.origin.to_tags()
    later = ("conditions", "schedule", "rho")
    settings = {name: value for name, value in tags["settings"].items() if name not in later}
    made_of = {"model_hash": tags["model_hash"], "settings": settings}
    made_of |= {"adapters": [], "edit": None, "source": None}
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    assert item.key == digest
    others = planned(model, tmp_path, "prompt,seed,schedule\nrain,4,karras\n").items
    assert others[0].key != digest
