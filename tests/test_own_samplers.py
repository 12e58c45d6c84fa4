"""A caller's own sampler: it works wherever a name does, and one that misbehaves has one clear line."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from rounding import RUN

from auralith.cli.main import run
from auralith.diffusion import Denoiser, Latents, Predictor, RectifiedFlow, VObjective
from auralith.editing import Clip, Inpainting, Variation, inpaint, vary
from auralith.errors import AuralithError, InvalidRequest, NonFiniteError
from auralith.noise import NoiseSource
from auralith.pipeline import Auralith, load
from auralith.provenance import read_provenance
from auralith.request import GenerationRequest, recorded
from auralith.samplers import SAMPLERS, SigmaSampler, Step, TimeSampler, path, sigma
from auralith.samplers.own import sampler_label
from auralith.sets import plan_set, read_rows
from tests.conftest import GOLDEN

MODEL = str(GOLDEN / "sao_tiny")
FLOW = str(GOLDEN / "sao_small_tiny")


@pytest.fixture(scope="module")
def model() -> Auralith:
    return load(MODEL, device="cpu", dtype="float32")


def request(sampler: Any, **changes: Any) -> GenerationRequest:
    settings = {"steps": 4, "seed": 5, "seconds_total": 0.3, "window": "fit"} | changes
    return GenerationRequest("rain", sampler=sampler, **settings)


def euler(
    denoise: Denoiser, x: Latents, sigmas: Sequence[float], noise: NoiseSource
) -> Iterator[Step]:
    for index, (level, lower) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, level)
        x = denoised + (x - denoised) * (lower / level)
        yield Step(index, len(sigmas) - 1, level, x, denoised)


class Euler:
    """The same as an object that is called."""

    def __call__(self, *arguments: Any) -> Iterator[Step]:
        return euler(*arguments)


def test_a_function_of_the_library_makes_the_bits_of_its_name(model: Auralith) -> None:
    named = model.generate(request("k-heun")).waveform
    for own in (
        sigma.heun,
        SAMPLERS["k-heun"],
        SigmaSampler("mine", VObjective, "none", sigma.heun),
    ):
        assert torch.equal(model.generate(request(own)).waveform, named)


def test_along_t_a_function_is_given_the_velocity_and_times() -> None:
    flow = load(FLOW, device="cpu", dtype="float32")
    named = flow.generate(request("euler")).waveform
    for own in (path.ddim, TimeSampler("mine", RectifiedFlow, "none", path.ddim, "logsnr")):
        assert torch.equal(flow.generate(request(own)).waveform, named)


def test_euler_in_sigma_is_ddim() -> None:
    """Song et al. 2021, section 4.3: the same steps, the states differ by the scale of the data."""
    times = (0.95, 0.6, 0.3, 0.1, 0.0)
    sigmas = [math.tan(math.pi / 2 * t) for t in times]
    predict = Predictor(VObjective(), lambda z, t: (z * 3).sin(), lambda z, t: (z, z))
    start = torch.randn(1, 4, 9, generator=torch.Generator().manual_seed(3))
    own = SigmaSampler("euler", VObjective, "none", euler)
    *_, mine = own.walk(predict, start / math.cos(math.pi / 2 * times[0]), sigmas, _no_noise)
    *_, ddim = SAMPLERS["v-ddim"].walk(predict, start, times, _no_noise)
    assert (mine.x - ddim.x).abs().max() <= RUN * ddim.x.abs().max()


def _no_noise(level: float, lower: float) -> Latents:
    raise AssertionError("a deterministic sampler asked for noise")


def test_every_step_is_the_callers(model: Auralith) -> None:
    seen: list[Step] = []
    sound = model.generate(request(euler, sigmas=(80.0, 9.0, 1.0, 0.0), steps=None), seen.append)
    assert [(step.index, step.total, step.noise_level) for step in seen] == [
        (0, 3, 80.0),
        (1, 3, 9.0),
        (2, 3, 1.0),
    ]
    assert sound.waveform.isfinite().all()
    assert sound.request.sampler is euler
    by_object = model.generate(request(Euler(), sigmas=(80.0, 9.0, 1.0, 0.0), steps=None))
    assert torch.equal(by_object.waveform, sound.waveform)


def test_noise_is_drawn_from_the_seed(model: Auralith) -> None:
    def noisy(
        denoise: Denoiser, x: Latents, sigmas: Sequence[float], noise: NoiseSource
    ) -> Iterator[Step]:
        for step in euler(denoise, x, sigmas, noise):
            yield Step(step.index, step.total, step.noise_level, noise(2.0, 1.0), step.denoised)

    first, again, other = (model.generate(request(noisy, seed=seed)).waveform for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_only_items_of_one_sampler_share_a_batch(model: Auralith) -> None:
    eta_0 = partial(sigma.dpmpp_2m_sde, eta=0.0)
    requests = [request(euler), request(eta_0, seed=6), request("dpmpp-2m"), request(euler, seed=7)]
    resolved = [model.resolve(one) for one in requests]
    assert model.groups(resolved) == [[0, 3], [1], [2]]
    sounds = model.generate_batch(requests)
    alone = model.generate(requests[1])
    assert torch.equal(sounds[1].waveform, alone.waveform)
    assert [sound.request.sampler for sound in sounds] == [euler, eta_0, "dpmpp-2m", euler]


def test_edits_take_it(model: Auralith) -> None:
    clip = Clip(0.1 * torch.randn(2, 9_000, generator=torch.Generator().manual_seed(1)), 44_100)
    levels: list[float] = []
    wanted = request(euler, seconds_total=None)
    varied = vary(
        model,
        wanted,
        clip,
        Variation(init_noise_level=10.0),
        lambda step: levels.append(step.noise_level),
    )
    assert levels[0] == pytest.approx(10.0) and len(levels) == 4
    repaired = inpaint(model, wanted, clip, Inpainting(((0.05, 0.15),), passes=2))
    assert varied.waveform.isfinite().all() and repaired.waveform.isfinite().all()


# Those that misbehave


def _yielding(change: Callable[[Latents], Any], part: str = "x") -> Callable[..., Iterator[Any]]:
    """Euler's steps, the second one with a part changed."""

    def method(*arguments: Any) -> Iterator[Step]:
        for step in euler(*arguments):
            values = {"x": step.x, "denoised": step.denoised}
            if step.index == 1:
                values[part] = change(values[part])
            yield Step(step.index, step.total, step.noise_level, **values)

    return method


def _returns_nothing(*arguments: Any) -> None:
    euler(*arguments)


def _yields_no_step(*arguments: Any) -> Iterator[Step]:
    yield from ()


def _returns_latents(denoise: Denoiser, x: Latents, *rest: Any) -> Latents:
    return denoise(x, 1.0)


def _yields_latents(denoise: Denoiser, x: Latents, *rest: Any) -> Iterator[Latents]:
    yield x


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (_yielding(lambda x: x[..., :-1]), "yielded a Step whose x is float32 of shape"),
        (_yielding(lambda x: x[0]), "yielded a Step whose x is float32 of shape"),
        (_yielding(lambda x: x.to(torch.complex64)), "whose x is complex64 of shape"),
        (_yielding(lambda x: None), "whose x is None"),
        (_yielding(lambda x: x.detach().numpy()), "whose x is float32 of shape"),
        (_yielding(lambda x: x[:0], "denoised"), "whose denoised is float32 of shape"),
        (_returns_nothing, "sampler _returns_nothing returned None; it must yield Steps"),
        (_yields_no_step, "sampler _yields_no_step yielded no step"),
        (_returns_latents, "sampler _returns_latents yielded float32 of shape"),
        (_yields_latents, "sampler _yields_latents yielded float32 of shape"),
    ],
)
def test_what_are_no_steps_is_said_in_one_line(model: Auralith, method: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as raised:
        model.generate(request(method))
    assert "\n" not in str(raised.value)
    assert "float tensors of shape (1, " in str(raised.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_latents_that_are_not_finite_name_the_step(model: Auralith, value: float) -> None:
    def fill(x: Latents) -> Latents:
        return x.clone().fill_(value)

    with pytest.raises(NonFiniteError, match="NaN or infinite at step 2 of 4") as raised:
        model.generate(request(_yielding(fill)))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (3, "sampler is 3; give a name, or a function of"),
        ([euler], "give a name, or a function of"),
        (lambda x, sigmas: iter(()), r"takes \(x, sigmas\); give a name, or a function of"),
        (lambda *, x: iter(()), r"takes \(\*, x\); give a name, or a function of"),
    ],
)
def test_what_is_no_sampler_is_refused_at_once(sampler: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as raised:
        request(sampler)
    assert "\n" not in str(raised.value)


def test_a_sampler_of_another_objective_is_refused(model: Auralith) -> None:
    for wrong in (SAMPLERS["euler"], TimeSampler("mine", RectifiedFlow, "none", path.ddim)):
        with pytest.raises(InvalidRequest, match="for models of another objective, RectifiedFlow"):
            model.resolve(request(wrong))


def test_the_callers_own_errors_are_his(model: Auralith) -> None:
    def broken(*arguments: Any) -> Iterator[Step]:
        yield next(euler(*arguments))
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        model.generate(request(broken))


# What tags say


def test_tags_hold_the_name_and_do_not_pretend_to_more(
    model: Auralith,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    model.generate(request(euler)).save("a.wav")
    assert read_provenance("a.wav").settings.sampler == "own: euler"
    again = ["generate", "--from", "a.wav", "--model", MODEL, "-o", "b.wav"]
    assert run(again) == 2
    error = capsys.readouterr().err
    assert "the sampler 'euler' is someone's own" in error and error.count("\n") == 1
    assert run(["info", "a.wav"]) == 0
    assert run([*again, "--sampler", "k-heun"]) == 0
    assert read_provenance("b.wav").settings.sampler == "k-heun"
    with pytest.raises(InvalidRequest, match="someone's own"):
        model.resolve(read_provenance("a.wav").settings)


def test_samplers_that_everybody_has_are_recorded_by_name(model: Auralith, tmp_path: Path) -> None:
    model.generate(request(SAMPLERS["dpmpp-2m"])).save(tmp_path / "a.wav")
    assert read_provenance(tmp_path / "a.wav").settings.sampler == "dpmpp-2m"
    changed = SigmaSampler("dpmpp-2m", VObjective, "none", sigma.heun)
    assert sampler_label(changed) == "own: dpmpp-2m"
    assert sampler_label(partial(sigma.dpmpp_3m_sde, eta=0.5)) == "own: dpmpp_3m_sde"
    assert recorded(GenerationRequest("x")) == GenerationRequest("x")


def test_names_can_not_break_lines() -> None:
    name = "a\nb\x1b[31m" * 50
    hostile = SigmaSampler(name, VObjective, "none", euler)
    label = sampler_label(hostile)
    assert label.isprintable() and len(label) < 200


def test_a_set_takes_names_only(model: Auralith, tmp_path: Path) -> None:
    table = tmp_path / "prompts.csv"
    table.write_text("prompt\nrain\n")
    planned = plan_set(model, read_rows(table), {"seconds_total": 0.3, "sampler": euler})
    assert not planned.items
    assert "someone's own" in planned.problems[0].reason
    named = plan_set(model, read_rows(table), {"seconds_total": 0.3, "sampler": SAMPLERS["k-lms"]})
    assert named.items[0].request.sampler == "k-lms"
    json.dumps(named.items[0].origin.to_tags())


@pytest.mark.parametrize("value", [5, ["euler"], {"name": "x", "objective": 1}, {}])
def test_other_values_in_tags_are_one_line(
    value: Any, model: Auralith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = model.provenance(model.resolve(request("k-heun"))).to_tags()
    tags["settings"]["sampler"] = value
    monkeypatch.setattr("auralith.provenance.read_tags", lambda path: tags)
    with pytest.raises(AuralithError) as raised:
        read_provenance(tmp_path / "a.wav")
    assert "\n" not in str(raised.value)
