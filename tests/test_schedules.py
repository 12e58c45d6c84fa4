"""Where noise levels lie: schedules by name, and lists of the caller's own, from Python, the shell and tables."""

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
from hypothesis import given, settings
from hypothesis import strategies as st

from auralith.cli.main import run
from auralith.config import DistributionShift
from auralith.diffusion import Predictor, RectifiedFlow, VObjective
from auralith.editing import Clip, Variation, vary
from auralith.errors import InvalidRequest
from auralith.noise import ItemStreams
from auralith.pipeline import Auralith, load
from auralith.provenance import read_provenance
from auralith.request import GenerationRequest, changed, starting_from
from auralith.samplers import SAMPLERS, Schedule, polyexponential_sigmas
from auralith.samplers.schedules import MOST_SIGMA, SIGMA_SCHEDULES
from auralith.sets import plan_set, read_rows
from tests.conftest import GOLDEN

MODEL = str(GOLDEN / "sao_tiny")
FLOW = str(GOLDEN / "sao_small_tiny")
QUICK = {"steps": 4, "seed": 5, "seconds_total": 0.3, "window": "fit"}
BY_SIGMA = [name for name, sampler in SAMPLERS.items() if "karras" in sampler.schedules]
BY_TIME = [name for name, sampler in SAMPLERS.items() if "linear" in sampler.schedules]
OWN_STEPS = [name for name, sampler in SAMPLERS.items() if not sampler.schedules]


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
    # sigma^(1/rho) of the last level is a difference of numbers up to ratio^(1/rho) times as large
    bend = rho or 7.0
    lost = 2**-22 * bend * ratio ** (1 / bend) if name == "karras" else 0.0
    assert steps == 1 or levels[-2] == pytest.approx(low, rel=1e-3 + lost)
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
    wrong: list[dict[str, Any]] = [{"name": "sideways"}]
    wrong += [{"name": "linear" if name in BY_SIGMA else "karras"}]
    if name not in BY_SIGMA:
        wrong.append({"rho": 2.0})
    if name in BY_TIME:
        wrong.append({"levels": (1.5, 0.5, 0.0)})
    if name in OWN_STEPS:
        wrong.append({"levels": (5.0, 0.5)})
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


# Lists of the caller's own


@settings(max_examples=300)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=6))
def test_a_list_of_noise_levels_falls_or_is_refused(levels: list[float]) -> None:
    falls = all(a > b for a, b in pairwise(levels))
    inside = all(0 < level <= MOST_SIGMA for level in levels[:-1])
    good = len(levels) > 1 and falls and inside and levels[-1] >= 0
    try:
        made = GenerationRequest("x", sigmas=tuple(levels))
    except InvalidRequest as error:
        assert not good and "\n" not in str(error)
        return
    assert good and made.sigmas == tuple(levels)


@pytest.mark.parametrize(
    "value",
    [
        [80.0, 4.0, 0.5, 0.0],
        np.array([80, 4, 0.5, 0], dtype=np.float32),
        torch.tensor([80, 4, 0.5, 0], dtype=torch.float64),
        [np.float64(80), torch.tensor(4), 0.5, 0],
    ],
)
def test_any_sequence_of_numbers_is_taken(value: Any) -> None:
    assert GenerationRequest("x", sigmas=value).sigmas == (80.0, 4.0, 0.5, 0.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("80,4,0", "give a list of numbers"),
        (7.0, "give a list of numbers"),
        ({80: 4}, "give a list of numbers"),
        ([80.0, "4", 0.0], "holds '4'; give finite numbers"),
        ([80.0, True, 0.0], "give finite numbers"),
        ([[80.0], [0.0]], "give finite numbers"),
        ([], "a step needs at least 2"),
        ([80.0], "a step needs at least 2"),
        ([10**400, 1.0], "give finite numbers"),
        ([1e7, 1.0], "give numbers up to 1e"),
        ([80.0, 80.0, 0.0], "each must be below the one before"),
        ([80.0, 0.0, 0.0], "only the last may be 0"),
        ([80.0, -1.0], "only the last may be 0, none less"),
        (range(3), "give a list of numbers"),
        ([float(9 - i * 1e-4) for i in range(10_002)], "at most 10,001"),
    ],
)
def test_other_values_have_one_clear_line(value: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as raised:
        GenerationRequest("x", sigmas=value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "change",
    [{"steps": 4}, {"sigma_min": 0.1}, {"sigma_max": 90}, {"schedule": "karras"}, {"rho": 7}],
)
def test_other_settings_beside_the_list_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="beside sigmas"):
        GenerationRequest("x", sigmas=(80.0, 4.0, 0.5, 0.0), **change)


def test_the_list_says_the_other_settings(model: Auralith) -> None:
    resolved = model.resolve(request(steps=None, sigmas=[80.0, 4.0, 0.5, 0.0]))
    assert (resolved.steps, resolved.sigma_min, resolved.sigma_max) == (3, 0.5, 80.0)
    assert model.resolve(resolved) == resolved
    steps = list(model.denoising_steps([resolved]))
    assert [step.noise_level for step in steps] == [80.0, 4.0, 0.5]
    kept = model.resolve(request(steps=None, sigmas=[80.0, 4.0, 0.5]))
    assert (kept.steps, kept.sigma_min) == (2, 0.5)
    assert model.resolve(request(steps=None, sigmas=[5, 0])).sigma_min == 5


def test_the_levels_of_the_default_as_a_list_give_its_bits(model: Auralith) -> None:
    by_steps = request()
    levels = SAMPLERS["dpmpp-3m-sde"].levels(model.schedule(model.resolve(by_steps)))
    listed = model.generate(request(steps=None, sigmas=levels))
    assert torch.equal(listed.waveform, model.generate(by_steps).waveform)


@pytest.mark.parametrize("name", BY_SIGMA)
def test_noise_of_the_last_level_stays_unless_it_is_0(name: str) -> None:
    """Of data that are all zero, noise is all there is."""
    zero = Predictor(VObjective(), lambda z, t: z * (math.pi / 2 * t[0]).tan().reciprocal(), _none)
    schedule = Schedule(6, 0.7, 80.0, levels=(80.0, 30.0, 8.0, 3.0, 1.5, 0.7))
    *_, last = SAMPLERS[name].steps(zero, schedule, ItemStreams([1], (64, 256)))
    assert last.x.std().item() == pytest.approx(0.7, rel=0.1)
    assert last.index == 4 and last.noise_level == 1.5


def _none(z: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    raise AssertionError("not guided")


def test_along_t_the_list_holds_times() -> None:
    model = load(FLOW, device="cpu", dtype="float32")
    steps = list(model.denoising_steps([request(steps=None, sigmas=(1.0, 0.9, 0.4, 0.0))]))
    assert [step.noise_level for step in steps] == [1.0, 0.9, 0.4]
    with pytest.raises(InvalidRequest, match="sigmas begins with 80"):
        model.resolve(request(steps=None, sigmas=(80.0, 1.0)))
    assert isinstance(RectifiedFlow(), SAMPLERS["euler"].objective)


def test_a_variation_walks_the_lower_part_of_the_list(model: Auralith) -> None:
    sigmas = (80.0, 20.0, 4.0, 0.5, 0.0)
    resolved = model.resolve(request(steps=None, sigmas=sigmas))
    assert starting_from(resolved, 80.0 * (1 + 1e-12)).sigmas == (80.0 * (1 + 1e-12), *sigmas[1:])
    assert starting_from(resolved, 10.0).sigmas == (10.0, 4.0, 0.5, 0.0)
    assert starting_from(resolved, 200.0).sigmas == (200.0, *sigmas)
    clip = Clip(0.1 * torch.randn(2, 9_000, generator=torch.Generator().manual_seed(1)), 44_100)
    options = {"steps": None, "sigmas": sigmas, "seconds_total": None}
    levels: list[float] = []
    made = vary(
        model,
        request(**options),
        clip,
        Variation(init_noise_level=10.0),
        lambda step: levels.append(step.noise_level),
    )
    assert levels == [10.0, 4.0, 0.5]
    assert made.request.sigmas == sigmas


# From the shell, from tags, from tables


@pytest.mark.parametrize(
    "options",
    [
        "--sigmas 80,20.5,4,0.3,0",
        "--sigmas 80,20.5,4,0.3",
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


def test_what_is_given_beside_tags_overrules_what_says_the_same() -> None:
    listed = GenerationRequest(
        "rain", steps=2, sigma_min=0.5, sigma_max=80.0, sigmas=(80.0, 0.5, 0.0)
    )
    assert changed(listed, {"steps": 9}).sigmas is None
    assert changed(listed, {"seed": 9}).sigmas == listed.sigmas
    named = GenerationRequest("rain", steps=9, sigma_min=0.5, schedule="karras", rho=5.0)
    after = changed(named, {"sigmas": (9.0, 1.0)})
    assert (after.sigmas, after.steps, after.schedule, after.rho) == ((9.0, 1.0), None, None, None)
    with pytest.raises(InvalidRequest, match="beside sigmas"):
        changed(named, {"sigmas": (9.0, 1.0), "steps": 7})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--sigmas 80,x", "'80,x' are no noise levels"),
        ("--sigmas 4,80", "each must be below the one before"),
        ("--sigmas 80,4 --steps 3", "--steps is 3 beside --sigmas"),
        ("--schedule karas", "takes polyexponential, exponential, karras"),
        ("--schedule linear", "takes polyexponential, exponential, karras"),
        ("--rho -1", "rho is -1; it must be above 0"),
        ("--schedule karras --sampler k-dpm-fast", "chooses its own steps"),
        ("--sigmas 80,4,1 --sampler k-dpm-adaptive", "chooses its own steps"),
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


def test_noise_levels_can_be_set_in_a_row(model: Auralith, tmp_path: Path) -> None:
    sigmas = (80.0, 4.5, 0.3, 0.0)
    row = json.dumps({"prompt": "rain", "sigmas": sigmas})
    for found in (
        planned(model, tmp_path, 'prompt,sigmas\nrain,"80, 4.5,0.3,0"\n'),
        planned(model, tmp_path, row, "prompts.jsonl"),
    ):
        (item,) = found.items
        assert (item.request.sigmas, item.request.steps) == (sigmas, 3)
    found = read_rows(tmp_path / "prompts.csv")
    assert len(found.rows) == 1
    broken = planned(model, tmp_path, 'prompt,sigmas\nrain,"80,x"\nrain,"4,80"\n')
    assert not broken.items and len(broken.problems) == 2


def test_keys_are_as_they_were_before_requests_had_these_fields(
    model: Auralith, tmp_path: Path
) -> None:
    (item,) = planned(model, tmp_path, "prompt,seed\nrain,4\n").items
    tags = item.origin.to_tags()
    later = (
        "conditions",
        "schedule",
        "rho",
        "sigmas",
        "mix",
        "normalize",
        "fast",
        "cache_threshold",
    )
    settings = {name: value for name, value in tags["settings"].items() if name not in later}
    made_of = {"model_hash": tags["model_hash"], "settings": settings}
    made_of |= {"adapters": [], "edit": None, "source": None}
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    assert item.key == digest
    others = planned(model, tmp_path, "prompt,seed,schedule\nrain,4,karras\n").items
    assert others[0].key != digest
