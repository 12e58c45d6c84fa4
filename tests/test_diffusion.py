import math

import pytest
import torch
from safetensors.torch import load_file

from auralith.config import DistributionShift
from auralith.diffusion import (
    OBJECTIVES,
    Guidance,
    Predictor,
    RectifiedFlow,
    VObjective,
    guide,
    shift_times,
    variance_exploding_denoiser,
)

OBJECTIVE_PARAMETERS = pytest.mark.parametrize(
    "objective", [VObjective(), RectifiedFlow()], ids=["v", "flow"]
)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def predictor(objective, network):
    return Predictor(objective, network, lambda z, t: (network(z, t), -network(z, t)))


@OBJECTIVE_PARAMETERS
def test_data_and_noise_come_back_from_z_and_target(objective):
    x0, noise = normal(5, 3, 4), normal(5, 3, 4, seed=1)
    t = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
    z, v = objective.add_noise(x0, noise, t), objective.target(x0, noise, t)
    assert torch.allclose(objective.denoised(z, v, t), x0, atol=1e-14)
    assert torch.allclose(objective.noise(z, v, t), noise, atol=1e-14)
    assert torch.allclose(z[0], x0[0])
    assert torch.allclose(z[-1], noise[-1])


@OBJECTIVE_PARAMETERS
def test_the_target_is_the_velocity_of_z_along_the_path(objective):
    x0, noise, t, dt = normal(1, 2, 3), normal(1, 2, 3, seed=1), 0.3, 1e-6
    ahead, behind = (objective.add_noise(x0, noise, t + s * dt) for s in (1, -1))
    per_t = math.pi / 2 if isinstance(objective, VObjective) else 1.0
    expected = (ahead - behind) / (2 * dt) / per_t
    assert torch.allclose(objective.target(x0, noise, t), expected, atol=1e-8)


@OBJECTIVE_PARAMETERS
def test_one_t_for_all_equals_one_per_item(objective):
    x0, noise = normal(3, 2, 4), normal(3, 2, 4, seed=1)
    each = torch.full((3,), 0.7, dtype=torch.float64)
    assert torch.allclose(objective.add_noise(x0, noise, 0.7), objective.add_noise(x0, noise, each))


@OBJECTIVE_PARAMETERS
def test_sigma_and_t_are_inverse(objective):
    for sigma in (1e-3, 0.3, 1.0, 80.0, 500.0):
        assert objective.sigma_from_t(objective.t_from_sigma(sigma)) == pytest.approx(sigma)
    assert objective.sigma_from_t(0.0) == 0


def test_published_times_of_the_v_objective():
    assert VObjective().t_from_sigma(500.0) == pytest.approx(0.998727, abs=5e-7)
    assert VObjective().t_from_sigma(0.3) == pytest.approx(0.185547, abs=5e-7)
    assert RectifiedFlow().sigma_from_t(1.0) == math.inf


def test_preconditioning_of_the_v_objective():
    x, sigma = normal(2, 3, 4), 2.5
    seen = []

    def network(z, t):
        seen.append((z, t))
        return (3 * z + 1).float()

    denoised = variance_exploding_denoiser(predictor(VObjective(), network))(x, sigma)
    z = x / math.sqrt(sigma**2 + 1)
    expected = x / (sigma**2 + 1) - sigma / math.sqrt(sigma**2 + 1) * (3 * z + 1)
    assert torch.allclose(denoised, expected, atol=1e-6)
    assert torch.allclose(seen[0][0], z)
    assert seen[0][1].dtype == torch.float32
    assert seen[0][1].tolist() == pytest.approx([VObjective().t_from_sigma(sigma)] * 2)


@OBJECTIVE_PARAMETERS
def test_denoiser_recovers_the_data_from_the_true_velocity(objective):
    x0, noise = normal(2, 3, 4, dtype=torch.float32), normal(2, 3, 4, seed=1, dtype=torch.float32)
    for sigma in (0.3, 1.0, 20.0):
        v = objective.target(x0, noise, objective.t_from_sigma(sigma))
        denoise = variance_exploding_denoiser(predictor(objective, lambda z, t, v=v: v))
        assert torch.allclose(denoise(x0 + sigma * noise, sigma), x0, atol=1e-5)


def test_guidance_equals_the_reference(pytestconfig):
    golden = load_file(pytestconfig.rootpath / "tests/golden/sao_tiny/golden.safetensors")
    v_cond, at_7 = golden["dit.out"], golden["dit.out_cfg7"]
    v_uncond = (7 * v_cond - at_7) / 6
    assert torch.allclose(guide(v_cond, v_uncond, 7.0), at_7, atol=1e-5)
    rescaled = guide(v_cond, v_uncond, 7.0, 0.7)
    assert torch.allclose(rescaled, golden["dit.out_cfg7_rescale0.7"], atol=1e-5)


def test_rescaling_is_finite_where_the_guided_velocity_is_flat():
    assert guide(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), 5.0, 1.0).abs().max() == 0


def test_guidance_is_computed_in_float32():
    v_cond, v_uncond = torch.full((1, 2, 1), 60000.0).half(), torch.zeros(1, 2, 1).half()
    guided = guide(v_cond, v_uncond, 7.0)
    assert guided.dtype == torch.float32
    assert guided.isfinite().all()


def test_interval_is_stated_in_the_level_of_each_objective():
    guidance = Guidance(scale=7.0, interval=(0.5, 0.8))
    v, flow = VObjective(), RectifiedFlow()
    assert guidance.active_at(v, 1 / 3 + 1e-9)
    assert not guidance.active_at(v, 0.33)
    assert not guidance.active_at(v, 0.6)
    assert guidance.active_at(flow, 0.5)
    assert guidance.active_at(flow, 0.8)
    assert not guidance.active_at(flow, 0.81)
    assert not Guidance(scale=1.0).active_at(flow, 0.5)
    assert Guidance(scale=0.5).active_at(flow, 0.5)


def test_predictor_evaluates_the_unconditional_network_only_where_guidance_acts():
    calls = []

    def conditional(z, t):
        calls.append("conditional")
        return z

    def both(z, t):
        calls.append("both")
        return z, 0 * z

    guidance = Guidance(scale=3.0, interval=(0.0, 0.5))
    predict = Predictor(RectifiedFlow(), conditional, both, guidance)
    z = torch.ones(1, 1, 1)
    inside, outside = predict(z, 0.4), predict(z, 0.6)
    assert calls == ["both", "conditional"]
    assert (inside.v.item(), inside.v_uncond.item()) == (3.0, 0.0)
    assert (outside.v.item(), outside.v_uncond.item()) == (1.0, 1.0)


def test_shift_grows_with_length_and_keeps_the_ends():
    t = torch.tensor([0.0, 0.25, 0.5, 1.0])
    for frames, m in ((256, 0.5), (4096, 1.15), (64, 0.5), (9000, 1.15), (2176, 0.825)):
        shifted = shift_times(t, DistributionShift(), frames)
        assert shifted[[0, -1]].tolist() == [0.0, 1.0]
        inner = t[1:3]
        expected = 1 - math.exp(-m) / (math.exp(-m) + inner / (1 - inner))
        assert torch.allclose(shifted[1:3], expected)


def test_every_configured_objective_has_its_mathematics():
    assert isinstance(OBJECTIVES["v"], VObjective)
    assert OBJECTIVES["rf_denoiser"] == OBJECTIVES["rectified_flow"] == RectifiedFlow()
