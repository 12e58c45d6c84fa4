"""The samplers on data ~ N(0, STD^2), whose denoiser, flow and marginals are known in closed form."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from auralith.config import DistributionShift
from auralith.diffusion import (
    Guidance,
    Predictor,
    RectifiedFlow,
    VObjective,
    variance_exploding_denoiser,
)
from auralith.errors import InvalidRequest, NonFiniteError
from auralith.noise import ItemStreams, ReferenceNoise
from auralith.samplers import (
    SAMPLERS,
    Schedule,
    SigmaSampler,
    descent_sigmas,
    dpm_solver,
    find_sampler,
    karras_sigmas,
    linear_times,
    logsnr_times,
    path,
    polyexponential_sigmas,
    sampler_names,
    sigma,
)

STD = 0.5
UNGUIDED = Guidance()
GOLDEN_SAMPLERS = [
    "dpmpp-3m-sde",
    "dpmpp-2m-sde",
    "dpmpp-2m",
    "k-heun",
    "k-lms",
    "k-dpm-2",
    "k-dpmpp-2s-ancestral",
]


def gaussian_denoiser(x, sigma):
    return x * (STD**2 / (STD**2 + sigma**2))


def gaussian_predictor(objective, guidance=UNGUIDED):
    """The true velocity E[v | z] of either objective."""

    def network(z, t):
        alpha, sigma, alpha_rate, sigma_rate = objective.path(t.double()[:, None, None])
        variance = alpha**2 * STD**2 + sigma**2
        return (z * ((alpha_rate * alpha * STD**2 + sigma_rate * sigma) / variance)).to(z.dtype)

    return Predictor(objective, network, lambda z, t: (network(z, t), 0 * z), guidance)


def deterministic(level, next_level):
    raise AssertionError("a deterministic sampler asked for noise")


def last(steps):
    *_, final = steps
    return final.x


def schedule_for(sampler, steps):
    return Schedule(steps, 0.03, 80.0 if sampler.objective is VObjective else 1.0)


@pytest.fixture(scope="module")
def golden(pytestconfig):
    return load_file(pytestconfig.rootpath / "tests/golden/sao_tiny/golden.safetensors")


class TestSchedules:
    @pytest.mark.parametrize(("low", "high", "steps"), [(0.3, 500, 100), (0.01, 100, 10)])
    def test_polyexponential_equals_the_reference(self, golden, low, high, steps):
        expected = golden[f"schedule.polyexponential_{low}_{high}_{steps}"].tolist()
        assert polyexponential_sigmas(steps, low, float(high)) == pytest.approx(expected, rel=1e-6)

    def test_polyexponential_bends_with_rho(self):
        *_, middle, _, end = polyexponential_sigmas(3, 0.01, 100.0, rho=2.0)
        assert (middle, end) == (pytest.approx(0.01 * 1e4**0.25), 0.0)

    def test_karras_spaces_evenly_in_the_root(self):
        sigmas = karras_sigmas(5, 0.3, 500.0)
        roots = [sigma ** (1 / 7) for sigma in sigmas[:-1]]
        steps = [a - b for a, b in pairwise(roots)]
        assert steps == pytest.approx([steps[0]] * 4, rel=1e-4)
        assert (sigmas[0], sigmas[-2], sigmas[-1]) == (
            pytest.approx(500),
            pytest.approx(0.3),
            0.0,
        )

    def test_descent_ends_at_sigma_min(self):
        assert descent_sigmas(2, 1.0, 100.0) == pytest.approx((100, 10, 1))

    def test_logsnr_times(self):
        times = logsnr_times(4, 1.0)
        inner = [math.log((1 - t) / t) for t in times[1:-1]]
        assert inner == pytest.approx([-4, -2, 0], abs=1e-4)
        assert (times[0], times[-1]) == (1.0, 0.0)
        lower = logsnr_times(2, 0.5)
        assert (lower[0], lower[-1]) == (0.5, 0.0)
        assert math.log((1 - lower[1]) / lower[1]) == pytest.approx(1.0, abs=1e-5)

    def test_linear_times_shift_with_the_length(self):
        assert linear_times(4, 1.0) == (1.0, 0.75, 0.5, 0.25, 0.0)
        shifted = linear_times(4, 1.0, DistributionShift(), 256)
        assert (shifted[0], shifted[-1]) == (1.0, 0.0)
        assert shifted[2] == pytest.approx(1 / (1 + math.exp(-0.5)))

    @pytest.mark.parametrize(
        "schedule",
        [Schedule(0, 0.3, 500.0), Schedule(5, 0.0, 500.0), Schedule(5, 1.0, 1.0)],
    )
    def test_impossible_ranges_are_refused(self, schedule):
        with pytest.raises(InvalidRequest):
            SAMPLERS["dpmpp-3m-sde"].levels(schedule)

    @pytest.mark.parametrize("name", ["euler", "rk4", "v-ddim"])
    @pytest.mark.parametrize("schedule", [Schedule(0, 0.0, 1.0), Schedule(5, 0.0, 0.0)])
    def test_impossible_times_are_refused(self, name, schedule):
        with pytest.raises(InvalidRequest):
            SAMPLERS[name].levels(schedule)


@pytest.mark.parametrize("steps", [6, 20])
@pytest.mark.parametrize("name", GOLDEN_SAMPLERS)
def test_sampler_equals_the_reference(golden, name, steps):
    sigmas, noise = golden[f"sampler.sigmas_{steps}"].tolist(), iter(golden["sampler.noise"])
    start = golden["sampler.x0"] * sigmas[0]
    sampler = SAMPLERS[name]
    assert isinstance(sampler, SigmaSampler)
    result = last(sampler.method(gaussian_denoiser, start, sigmas, lambda a, b: next(noise)))
    expected = golden[f"sampler.{name}_{steps}"]
    assert (result - expected).norm() <= 1e-5 * expected.norm()


class TestConvergence:
    """Errors against the exact flow x(t) = x(0) std(t) / std(0), halving the steps' length."""

    @pytest.mark.parametrize(
        ("method", "order"),
        [
            (partial(sigma.dpmpp_3m_sde, eta=0.0), 2),
            (sigma.dpmpp_2m, 2),
            (partial(sigma.dpmpp_2m_sde, eta=0.0, solver="heun"), 2),
            (sigma.heun, 2),
            (sigma.dpm_2, 2),
            (sigma.lms, 4),
            (partial(sigma.dpmpp_2s_ancestral, eta=0.0), 2),
            (dpm_solver.dpm_fast, 3),
        ],
    )
    def test_order_in_sigma(self, method, order):
        def error(steps):
            # Steps that grow from the start keep the low order of a multistep method's first steps invisible.
            sigmas = [10 * 0.01 ** ((i / steps) ** 2) for i in range(steps + 1)]
            x = torch.ones(1, 1, 1, dtype=torch.float64)
            exact = math.sqrt((STD**2 + 0.1**2) / (STD**2 + 10**2))
            return abs(last(method(gaussian_denoiser, x, sigmas, deterministic)).item() / exact - 1)

        assert math.log2(error(161) / error(323)) == pytest.approx(order, abs=0.15)

    @pytest.mark.parametrize(
        ("method", "objective", "steps", "order"),
        [
            (path.ddim, VObjective(), 32, 1),
            (path.ddim, RectifiedFlow(), 32, 1),
            (path.dpmpp, RectifiedFlow(), 32, 2),
            (path.rk4, RectifiedFlow(), 4, 4),
        ],
    )
    def test_order_along_t(self, method, objective, steps, order):
        predict = gaussian_predictor(objective)

        def std(t):
            alpha, sigma, *_ = objective.path(t)
            return math.sqrt(alpha**2 * STD**2 + sigma**2)

        def error(steps):
            times = [0.9 - 0.8 * i / steps for i in range(steps + 1)]
            x = torch.ones(1, 1, 1, dtype=torch.float64)
            exact = std(0.1) / std(0.9)
            return abs(last(method(predict, x, times, deterministic)).item() / exact - 1)

        assert math.log2(error(steps) / error(2 * steps)) == pytest.approx(order, abs=0.3)

    @pytest.mark.parametrize("method", [sigma.dpmpp_2m_sde, sigma.dpmpp_3m_sde])
    def test_sde_steps_along_one_brownian_path_converge(self, method):
        """In strong order 1: the noise inside a step is taken as one increment, whatever the order of the rest."""

        def result(steps):
            sigmas = polyexponential_sigmas(steps, 0.03, 80.0)
            noise = ReferenceNoise(1, (1, 16, 64))
            start = noise.initial() * sigmas[0]
            source = noise.for_steps(sigmas, "brownian")
            return last(method(gaussian_denoiser, start, sigmas, source))

        results = [result(steps) for steps in (40, 80, 160, 320, 640)]
        distances = [float((a - b).norm() / b.norm()) for a, b in pairwise(results)]
        orders = [math.log2(a / b) for a, b in pairwise(distances)]
        assert orders == pytest.approx([1.0] * 3, abs=0.3)
        assert distances[-1] < 0.01

    def test_other_numbers_of_steps_draw_other_noise_by_default(self):
        """Each step draws anew, so a sound of more steps is another one, not a finer one."""

        def result(steps):
            sigmas = polyexponential_sigmas(steps, 0.03, 80.0)
            noise = ItemStreams([1], (16, 64))
            return last(
                sigma.dpmpp_2m_sde(gaussian_denoiser, noise.initial() * sigmas[0], sigmas, noise)
            )

        assert (result(320) - result(640)).norm() > 0.5 * result(640).norm()

    def test_adaptive_keeps_its_tolerance(self):
        x = torch.full((1, 1, 1), 80.0, dtype=torch.float64)
        steps = list(dpm_solver.dpm_adaptive(gaussian_denoiser, x, (80.0, 0.03), deterministic))
        exact = 80 * math.sqrt((STD**2 + 0.03**2) / (STD**2 + 80**2))
        assert abs(steps[-1].x.item() - exact) < 0.02
        assert 5 < len(steps) < 60
        assert steps[0].total is None

    def test_adaptive_stops_on_a_network_that_fails(self):
        x = torch.ones(1, 1, 1)
        with pytest.raises(NonFiniteError, match="sigma = 80"):
            last(dpm_solver.dpm_adaptive(lambda x, s: x * math.nan, x, (80.0, 0.03), deterministic))

    @pytest.mark.parametrize("calls", range(1, 8))
    def test_fast_spends_exactly_the_calls_it_is_given(self, calls):
        count = 0

        def denoise(x, sigma):
            nonlocal count
            count += 1
            return gaussian_denoiser(x, sigma)

        sigmas = descent_sigmas(calls, 0.03, 80.0)
        last(dpm_solver.dpm_fast(denoise, torch.ones(1, 1, 1), sigmas, deterministic))
        assert count == calls


class TestDistribution:
    @pytest.mark.parametrize(
        "method",
        [
            sigma.dpmpp_3m_sde,
            sigma.dpmpp_2m_sde,
            partial(sigma.dpmpp_2m_sde, solver="heun"),
            sigma.dpmpp_2s_ancestral,
            partial(sigma.dpmpp_3m_sde, eta=0.5),
        ],
    )
    @pytest.mark.parametrize("brownian", [True, False])
    def test_stochastic_samplers_end_in_the_data_distribution(self, method, brownian):
        sigmas = polyexponential_sigmas(60, 0.03, 80.0)
        shape = (1, 64, 512)
        streams = ReferenceNoise(5, shape) if brownian else ItemStreams([5], shape[1:])
        start = streams.initial() * sigmas[0]
        noise = streams.for_steps(sigmas, "brownian")
        result = last(method(gaussian_denoiser, start, sigmas, noise))
        expected = STD**2 / math.sqrt(STD**2 + sigmas[-2] ** 2)
        assert result.std().item() == pytest.approx(expected, rel=0.02)
        assert result.mean().item() == pytest.approx(0, abs=0.01)

    def test_noise_that_is_scaled_away_changes_the_result(self):
        sigmas = polyexponential_sigmas(60, 0.03, 80.0)
        streams = ItemStreams([5], (64, 128))
        quiet = sigma.dpmpp_3m_sde(
            gaussian_denoiser, streams.initial() * 80, sigmas, streams, s_noise=0.8
        )
        assert last(quiet).std().item() < 0.9 * STD

    def test_pingpong_keeps_the_distribution_of_a_distilled_model(self):
        flow = RectifiedFlow()

        def network(z, t):
            level = t[:, None, None]
            return (z - z * STD / ((1 - level) ** 2 * STD**2 + level**2).sqrt()) / level

        predict = Predictor(flow, network, lambda z, t: (network(z, t), z))
        steps = SAMPLERS["pingpong"].steps(
            predict, Schedule(8, 0.0, 1.0), ItemStreams([1], (64, 512))
        )
        assert last(steps).std().item() == pytest.approx(STD, rel=0.02)


class TestRegistry:
    @pytest.mark.parametrize("name", SAMPLERS)
    def test_one_step_is_enough(self, name):
        sampler = SAMPLERS[name]
        streams, predict = ItemStreams([1, 2], (3, 5)), gaussian_predictor(sampler.objective())
        steps = list(sampler.steps(predict, schedule_for(sampler, 1), streams))
        assert steps[-1].x.shape == (2, 3, 5)
        assert steps[-1].x.isfinite().all()
        if name in ("dpmpp-3m-sde", "dpmpp-2m-sde", "v-ddim", "euler", "pingpong", "dpmpp"):
            assert torch.allclose(steps[-1].x, steps[-1].denoised, atol=1e-6)

    @pytest.mark.parametrize("name", SAMPLERS)
    def test_steps_count_themselves_and_descend(self, name):
        sampler = SAMPLERS[name]
        predict = gaussian_predictor(sampler.objective())
        steps = list(sampler.steps(predict, schedule_for(sampler, 9), ItemStreams([1], (3, 5))))
        levels = [step.noise_level for step in steps]
        assert [step.index for step in steps] == list(range(len(steps)))
        assert levels == sorted(levels, reverse=True)
        if name != "k-dpm-adaptive":
            assert {step.total for step in steps} == {len(steps)}
        if name not in ("k-dpm-adaptive", "k-dpm-fast"):
            assert len(steps) == 9

    @pytest.mark.parametrize("name", SAMPLERS)
    def test_only_stochastic_samplers_ask_for_noise(self, name):
        sampler, asked = SAMPLERS[name], []

        class Counting(ItemStreams):
            def __call__(self, level, next_level):
                asked.append((level, next_level))
                return super().__call__(level, next_level)

        streams, schedule = Counting([1], (2, 3)), schedule_for(sampler, 4)
        last(sampler.steps(gaussian_predictor(sampler.objective()), schedule, streams))
        levels = sampler.levels(schedule)
        # pingpong draws before the last step, too, as the reference does
        drawn = levels if name == "pingpong" else levels[:-1]
        expected = [] if sampler.step_noise == "none" else list(pairwise(drawn))
        assert asked == expected

    @pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "k-dpm-adaptive"])
    @pytest.mark.parametrize("guidance", [UNGUIDED, Guidance(2.0, 0.5, (0.2, 0.9))])
    def test_an_item_does_not_depend_on_its_batch(self, name, guidance):
        sampler = SAMPLERS[name]
        predict = gaussian_predictor(sampler.objective(), guidance)

        def run(seeds):
            return last(
                sampler.steps(predict, schedule_for(sampler, 5), ItemStreams(seeds, (4, 6)))
            )

        assert torch.allclose(run([3, 8, 1])[1:2], run([8]), rtol=1e-6, atol=1e-7)

    # Ping-pong is tested above: it needs a distilled model, with a plain denoiser it contracts toward the mean.
    @pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "pingpong"])
    def test_every_sampler_reaches_the_data(self, name):
        sampler = SAMPLERS[name]
        predict = gaussian_predictor(sampler.objective())
        steps = sampler.steps(predict, schedule_for(sampler, 60), ItemStreams([1], (64, 256)))
        assert last(steps).std().item() == pytest.approx(STD, abs=0.05)

    @pytest.mark.parametrize("name", ["dpmpp-3m-sde", "v-ddim", "euler", "pingpong"])
    def test_init_latents_are_noised_to_the_first_level(self, name):
        sampler = SAMPLERS[name]
        predict = gaussian_predictor(sampler.objective())
        init = torch.full((1, 4, 64), 0.7)

        def distance(level):
            streams = ItemStreams([1], (4, 64))
            schedule = Schedule(4, level / 2, level)
            first = next(sampler.steps(predict, schedule, streams, init))
            return (first.denoised - init).abs().mean().item()

        distances = [distance(level) for level in (1e-3, 0.1, 0.5, 1.0)]
        assert distances == sorted(distances)
        assert distances[0] < 0.01
        assert distances[-1] > 0.3

    def test_cfgpp_takes_its_noise_from_the_unconditional_prediction(self):
        predict = gaussian_predictor(VObjective(), Guidance(scale=2.0))
        x = torch.full((1, 1, 1), 1.2)
        v, v_uncond = predict(x, 0.8)
        plain, plus = (
            next(method(predict, x, (0.8, 0.5), deterministic)).x
            for method in (path.ddim, path.ddim_cfgpp)
        )
        sigma_next, alpha = math.sin(0.25 * math.pi), math.cos(0.4 * math.pi)
        assert (plain - plus).item() == pytest.approx(
            (sigma_next * alpha * (v - v_uncond)).item(), rel=1e-5
        )

    def test_cfgpp_without_guidance_is_ddim(self):
        results = [
            last(
                SAMPLERS[name].steps(
                    gaussian_predictor(VObjective()),
                    Schedule(5, 0.0, 1.0),
                    ItemStreams([1], (2, 3)),
                )
            )
            for name in ("v-ddim", "v-ddim-cfgpp")
        ]
        assert torch.equal(*results)

    def test_the_first_name_is_the_published_sampler(self):
        assert sampler_names(VObjective())[0] == "dpmpp-3m-sde"
        assert sampler_names(RectifiedFlow()) == [
            *("euler", "rk4", "dpmpp", "dpmpp-bounded", "pingpong"),
        ]

    def test_unknown_names_are_refused_with_the_nearest(self):
        with pytest.raises(InvalidRequest, match='did you mean "dpmpp-3m-sde"'):
            find_sampler("dpm++3m-sde", VObjective())
        with pytest.raises(InvalidRequest, match='"euler" is for models of another objective'):
            find_sampler("euler", VObjective())
        assert find_sampler("euler", RectifiedFlow()).name == "euler"


class TestHalfPrecision:
    def test_a_half_precision_network_keeps_a_finite_float32_state_at_sigma_500(self):
        layer = nn.Conv1d(8, 8, 1, bias=False).half().requires_grad_(False)
        inputs = []

        def network(z, t):
            inputs.append((z.std().item(), t.dtype))
            return layer(z.half())

        predict = Predictor(VObjective(), network, lambda z, t: (network(z, t), network(z, t)))
        sampler = find_sampler("dpmpp-3m-sde", VObjective())
        steps = list(sampler.steps(predict, Schedule(20, 0.3, 500.0), ItemStreams([1], (8, 64))))
        assert all(step.x.dtype == torch.float32 for step in steps)
        assert all(step.x.isfinite().all() for step in steps)
        assert all(std > 0.1 for std, _ in inputs)
        assert {dtype for _, dtype in inputs} == {torch.float32}

    def test_the_data_survives_at_sigma_500(self):
        x0, noise = (ItemStreams([seed], (8, 64)).initial() for seed in (1, 2))
        objective = VObjective()
        v = objective.target(x0, noise, objective.t_from_sigma(500.0))
        predict = Predictor(objective, lambda z, t: v.half(), lambda z, t: (v, v))
        denoised = variance_exploding_denoiser(predict)(x0 + 500 * noise, 500.0)
        assert (denoised - x0).norm() < 2e-3 * x0.norm()


def test_a_caller_can_stop_between_steps():
    calls = 0

    def denoise(x, sigma):
        nonlocal calls
        calls += 1
        return gaussian_denoiser(x, sigma)

    sigmas = polyexponential_sigmas(50, 0.3, 500.0)
    streams = ItemStreams([1], (2, 3))
    for step in sigma.dpmpp_3m_sde(denoise, streams.initial(), sigmas, streams):
        if step.index == 2:
            break
    assert calls == 3
