"""Guidance: APG against its equations, what a run remembers, and where the unconditional network is evaluated."""

import numpy as np
import pytest
import torch

from auralith import GenerationRequest
from auralith.cli.main import run
from auralith.config import DistributionShift
from auralith.diffusion import (
    Guidance,
    Momentum,
    Predictor,
    Projection,
    RectifiedFlow,
    VObjective,
    guide,
)
from auralith.errors import InvalidRequest
from auralith.noise import ItemStreams
from auralith.pipeline import Auralith, load
from auralith.provenance import read_provenance
from auralith.samplers import SAMPLERS, Schedule, sampler_names
from auralith.sound.reading import read
from tests.conftest import GOLDEN

SHAPE = (3, 4, 7)
OBJECTIVES = pytest.mark.parametrize("objective", [VObjective(), RectifiedFlow()], ids=["v", "rf"])


@pytest.fixture(scope="module")
def model() -> Auralith:
    return load(GOLDEN / "sao_tiny", device="cpu", dtype="float32")


def normal(seed, shape=SHAPE):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def networks(seed=0, shape=SHAPE):
    """A conditioned and an unconditioned velocity that depend on the state and on the time, item by item."""
    a, b = normal(10 + seed, (1, *shape[1:])), normal(20 + seed, (1, *shape[1:]))

    def conditional(z, t):
        return torch.tanh(z * a + t[:, None, None])

    def both(z, t):
        return conditional(z, t), torch.sin(z * b - t[:, None, None])

    return conditional, both


def expected_apg(z, v_cond, v_uncond, path, settings, sums):
    """The paper's steps in double precision, item by item, on the data; back to a velocity at the end."""
    scale, eta, r, beta = settings
    _, sigma, _, sigma_rate = path
    out = np.empty_like(z)
    for item in range(len(z)):
        d_cond = sigma_rate * z[item] - sigma * v_cond[item]
        d_uncond = sigma_rate * z[item] - sigma * v_uncond[item]
        delta = d_cond - d_uncond + beta * sums[item]
        sums[item] = delta
        if r > 0:
            delta = delta * min(1.0, r / np.linalg.norm(delta.ravel()))
        unit = d_cond.ravel() / np.linalg.norm(d_cond.ravel())
        parallel = (delta.ravel() @ unit * unit).reshape(delta.shape)
        guided = d_cond + (scale - 1) * (delta - parallel + eta * parallel)
        out[item] = (sigma_rate * z[item] - guided) / sigma
    return out


@OBJECTIVES
@pytest.mark.parametrize(("r", "beta"), [(0.0, 0.0), (1e9, 0.0)])
def test_without_projection_limit_and_momentum_it_is_plain_guidance(objective, r, beta) -> None:
    """eta a hair below 1 takes the long way round; 1 and a limit that nothing reaches change nothing either."""
    conditional, both = networks()
    for eta in (1.0, 1 - 1e-7):
        guidance = Guidance(5.0, 0.3, projection=Projection(eta, r, beta))
        for t in (1e-4, 0.3, 0.7, 1.0):
            z = normal(1)
            found = Predictor(objective, conditional, both, guidance)(z, t)
            v_cond, v_uncond = both(z, torch.full((3,), t))
            expected = guide(v_cond, v_uncond, 5.0, 0.3)
            assert float((found.v - expected).abs().max()) <= 1e-6 * float(expected.abs().max())
            assert torch.equal(found.v_uncond, v_uncond)


@OBJECTIVES
@pytest.mark.parametrize(
    "settings", [(4.0, 0.0, 0.0, 0.0), (4.0, 0.3, 1.5, 0.0), (7.0, 0.0, 2.0, -0.75)]
)
def test_it_follows_the_papers_equations_step_after_step(objective, settings) -> None:
    scale, *rest = settings
    conditional, both = networks()
    predict = Predictor(objective, conditional, both, Guidance(scale, projection=Projection(*rest)))
    sums = np.zeros(SHAPE)
    for number, t in enumerate((0.95, 0.8, 0.5, 0.2)):
        z = normal(number)
        v_cond, v_uncond = (v.double().numpy() for v in both(z, torch.full((3,), t)))
        expected = expected_apg(
            z.double().numpy(), v_cond, v_uncond, objective.path(t), settings, sums
        )
        assert np.allclose(predict(z, t).v.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_orthogonal_part_is_orthogonal_and_the_limit_holds() -> None:
    difference, denoised = normal(1) * 10, normal(2)
    kept = Projection(eta=0.0, norm_threshold=2.0).project(difference, denoised)
    along = (kept * denoised).sum(dim=(1, 2)) / denoised.square().sum(dim=(1, 2)).sqrt()
    assert float(along.abs().max()) < 1e-5
    whole = Projection(eta=1.0, norm_threshold=2.0).project(difference, denoised)
    assert torch.allclose(whole.square().sum(dim=(1, 2)).sqrt(), torch.tensor(2.0))
    small = Projection(eta=1.0, norm_threshold=1e6).project(difference, denoised)
    assert torch.equal(small, difference)


def test_nothing_to_guide_by_is_no_nan() -> None:
    zeros = torch.zeros(SHAPE)
    assert not Projection(0.0, 1.0).project(zeros, zeros).any()
    same = Predictor(
        VObjective(),
        lambda z, t: z,
        lambda z, t: (z, z),
        Guidance(7.0, projection=Projection(0.0, 1.0)),
    )
    assert torch.equal(same(normal(3), 0.0).v, normal(3))


@pytest.mark.parametrize("name", ["dpmpp-3m-sde", "k-heun", "v-ddim-cfgpp", "euler", "rk4"])
def test_an_item_is_the_same_alone_and_in_a_batch(name) -> None:
    sampler = SAMPLERS[name]
    objective = sampler.objective()
    conditional, both = networks()
    guidance = Guidance(6.0, 0.2, projection=Projection(0.0, 1.0, -0.5))
    predict = Predictor(objective, conditional, both, guidance)
    high = 80.0 if objective == VObjective() else 1.0
    schedule = Schedule(
        6, 0.05 if high > 1 else 0.0, high, num_frames=SHAPE[2], shift=DistributionShift()
    )

    def latents(seeds):
        *_, step = sampler.steps(predict, schedule, ItemStreams(seeds, (SHAPE[1], SHAPE[2])))
        return step.x

    together = latents([1, 2, 3])
    for index, seed in enumerate((1, 2, 3)):
        assert torch.allclose(together[index], latents([seed])[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sampler_names(VObjective()))
def test_momentum_belongs_to_a_run(name) -> None:
    """The same predictor gives the same run twice, also where another one was left in the middle."""
    conditional, both = networks()
    guidance = Guidance(6.0, projection=Projection(0.5, 0.0, -0.8))
    predict = Predictor(VObjective(), conditional, both, guidance)
    streams = ((SHAPE[1], SHAPE[2]),)

    def steps():
        return SAMPLERS[name].steps(
            predict, Schedule(6, 0.05, 80.0), ItemStreams([1, 2, 3], *streams)
        )

    first = [step.x for step in steps()]
    left = steps()
    next(left)
    second = [step.x for step in steps()]
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert predict.momentum.add(normal(1), 1.0).equal(normal(1))  # nothing was left in it


def test_momentum_sums_what_came_before() -> None:
    momentum = Momentum()
    ones = torch.ones(1, 1, 1)
    assert [float(momentum.add(ones, -0.5)) for _ in range(3)] == [1.0, 0.5, 0.75]
    assert [float(Momentum().add(ones, 0.0)) for _ in range(2)] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("change", "both_calls", "single_calls"),
    [
        ({}, 8, 0),
        ({"cfg_scale": 1.0}, 0, 8),
        ({"cfg_interval": (0.9, 1.0)}, 3, 5),
        ({"cfg_interval": (0.0, 0.0)}, 0, 8),
        ({"apg_eta": 0.0, "apg_momentum": -0.5, "cfg_interval": (0.9, 1.0)}, 3, 5),
    ],
)
def test_the_network_has_no_unconditional_rows_where_guidance_is_off(
    model: Auralith, monkeypatch, change, both_calls, single_calls
) -> None:
    rows = []
    step = model.dit.step
    monkeypatch.setattr(model.dit, "step", lambda z, *given: rows.append(len(z)) or step(z, *given))
    request = GenerationRequest(
        "rain", seconds_total=0.3, steps=8, sampler="v-ddim", seed=1, window="fit", **change
    )
    model.generate(request)
    assert rows == [2] * both_calls + [1] * single_calls


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"apg_eta": 1.5}, "apg_eta is 1.5; it must be at most 1"),
        ({"apg_momentum": None}, "apg_momentum is missing"),
        ({"apg_norm_threshold": -1.0}, "at least 0"),
        ({"apg_norm_threshold": float("inf")}, "finite"),
        ({"apg_momentum": -1.5}, "at least -1"),
        ({"apg_momentum": True}, "not a number"),
    ],
)
def test_bad_settings_are_refused(change, message) -> None:
    with pytest.raises(InvalidRequest, match=message):
        GenerationRequest("rain", **change)


def test_the_command_line_sets_them_and_a_file_brings_them_back(tmp_path, capsys) -> None:
    made, again, plain = (str(tmp_path / name) for name in ("a.wav", "b.wav", "c.wav"))
    quick = ("--model", str(GOLDEN / "sao_tiny"), "--steps", "4", "--seconds", "0.3", "--seed", "2")
    apg = ("--apg-eta", "0.2", "--apg-norm-threshold", "3", "--apg-momentum", "-0.5")
    command = ["generate", "rain", *quick, "--dtype", "float32", "--subtype", "float"]
    assert run([*command, *apg, "--interval", "0.3-1", "-o", made]) == 0
    settings = read_provenance(made).settings
    assert (settings.apg_eta, settings.apg_norm_threshold, settings.apg_momentum) == (0.2, 3, -0.5)
    assert settings.cfg_interval == (0.3, 1.0)
    assert run(["generate", "--from", made, *quick[:2], "--subtype", "float", "-o", again]) == 0
    assert read_provenance(again) == read_provenance(made)
    assert run([*command, "-o", plain]) == 0
    sounds = [read(path)[0] for path in (made, again, plain)]
    assert torch.equal(sounds[0], sounds[1])
    assert not torch.equal(sounds[0], sounds[2])
    assert run([*command, "--interval", "half"]) == 2
    assert "--interval is 'half'; write two numbers as 0.2-0.8" in capsys.readouterr().err
