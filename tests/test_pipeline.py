"""The path from request to audio on the tiny reference checkpoints: parity, invariances, limits."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from rounding import RUN
from safetensors.torch import load_file

from auralith import resources
from auralith.conditioning import Conditioner, Conditioning
from auralith.config import SamplingDefaults
from auralith.diffusion import Predictor
from auralith.errors import InvalidRequest, NonFiniteError, ResourceError
from auralith.pipeline import Auralith, Steering, load
from auralith.request import GenerationRequest
from auralith.samplers import Step
from tests.conftest import GOLDEN, relative_error
from tests.networks import dit_of

CASES = [
    (model, name)
    for model in ("sao_tiny", "sao_small_tiny")
    for name in json.loads((GOLDEN / model / "cases.json").read_text())
]


def load_tiny(name: str, window_frames: int = 16) -> Auralith:
    model = load(GOLDEN / name, device="cpu", dtype="float32")
    model.config = replace(model.config, window_samples=2048 * window_frames)
    return model


@pytest.fixture(scope="module")
def model() -> Auralith:
    return load_tiny("sao_tiny")


def request(prompt: str = "rain", **changes: object) -> GenerationRequest:
    settings: dict[str, object] = {"steps": 4, "seed": 5, "seconds_total": 0.4, "window": "fit"}
    return GenerationRequest(prompt, **(settings | changes))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_runs_of_the_reference_are_reproduced(
    name: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Latents and audio of stable-audio-tools from its own conditioning, with its seeds and its Brownian tree."""
    golden = load_file(GOLDEN / name / "golden.safetensors")
    cases = json.loads((GOLDEN / name / "cases.json").read_text())
    settings = cases[case]
    prompts = [entry[0] for entry in next(iter(cases.values()))["prompts"]]
    rows = [prompts.index(entry[0]) for entry in settings["prompts"]]

    def golden_conditioning(
        self: Conditioner,
        texts: Sequence[str],
        numbers: Mapping[str, Sequence[float]],
        *,
        negative: bool = False,
    ) -> Conditioning:
        assert negative == (texts[0] == settings["negative"])
        key = "cond.negative_context" if negative else "cond.context"
        return Conditioning(golden[key][rows], golden["cond.global"][rows])

    monkeypatch.setattr(Conditioner, "__call__", golden_conditioning)
    expected = golden[f"gen.{case}.latents"]
    model = load_tiny(name, expected.shape[-1])
    has_start = "seconds_start" in model.conditioner.number_ids
    requests = [
        GenerationRequest(
            prompt,
            settings["negative"],
            seconds_start=float(start) if has_start else 0.0,
            seconds_total=float(total),
            seconds_output=0.5,
            steps=settings["steps"],
            cfg_scale=settings["cfg_scale"],
            sampler=settings["sampler_type"],
            sigma_min=settings.get("sigma_min"),
            sigma_max=float(settings.get("sigma_max", 1)),
            seed=settings["seed"],
            window="full",
            noise="reference",
        )
        for prompt, start, total in settings["prompts"]
    ]
    *_, last = model.denoising_steps(requests)
    assert relative_error(last.x, expected) <= 1e-4
    assert relative_error(model.decode(last.x), golden[f"gen.{case}.audio"]) <= 1e-4


def test_an_item_is_the_same_alone_and_anywhere_in_a_batch(model: Auralith) -> None:
    mine = request("a bell", seed=77, negative_prompt="noise")
    others = [request("wind", seed=1, negative_prompt="hum"), request("sea", seed=2)]
    alone = model.generate(mine).waveform
    for batch in ([mine, *others], [*others, mine]):
        together = model.generate_batch(batch)[batch.index(mine)].waveform
        assert relative_error(together, alone) <= RUN


def test_seeds_are_repeatable_and_matter(model: Auralith) -> None:
    first, again = model.generate(request(seed=1)), model.generate(request(seed=1))
    assert torch.equal(first.waveform, again.waveform)
    assert not torch.equal(first.waveform, model.generate(request(seed=2)).waveform)


def test_a_drawn_seed_is_reported_and_makes_the_same_audio(model: Auralith) -> None:
    made = model.generate(request(seed=None))
    assert made.request.seed is not None
    assert torch.equal(model.generate(made.request).waveform, made.waveform)


@pytest.mark.parametrize("window", ["full", "fit"])
@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.37, 0.6])
def test_every_length_has_exactly_its_samples(model: Auralith, window: str, seconds: float) -> None:
    made = model.generate(request(seconds_total=seconds, window=window, steps=2))
    assert made.waveform.shape == (2, round(seconds * 44_100))


def test_lengths_of_a_batch_are_each_items_own(model: Auralith) -> None:
    lengths = [0.3, 0.11, 0.3001]
    made = model.generate_batch([request(seconds_total=s, steps=2) for s in lengths])
    assert [sound.waveform.shape[-1] for sound in made] == [round(s * 44_100) for s in lengths]


def test_fit_computes_fewer_latents_than_full(model: Auralith) -> None:
    sizes = {}
    for window in ("full", "fit"):
        steps = model.denoising_steps([request(seconds_total=0.1, window=window)])
        sizes[window] = next(steps).x.shape[-1]
    assert sizes == {"full": 16, "fit": 3 + SamplingDefaults().room_frames}


def test_a_start_conditions_and_never_slices(model: Auralith) -> None:
    made = model.generate(request(seconds_start=10.0, seconds_total=10.5))
    assert made.waveform.shape[-1] == round(0.5 * 44_100)
    part = model.generate(request(seconds_start=100.0, seconds_total=180.0, seconds_output=0.2))
    assert part.waveform.shape[-1] == round(0.2 * 44_100)


def test_the_loop_can_be_watched_and_left(model: Auralith) -> None:
    seen: list[Step] = []
    model.generate(request(steps=6), seen.append)
    assert [step.index for step in seen] == list(range(6))
    assert all(step.total == 6 for step in seen)
    steps = model.denoising_steps([request(steps=6)])
    assert next(steps).index == 0
    assert not torch.is_inference_mode_enabled()
    steps.close()


def test_steps_are_made_in_inference_mode(model: Auralith) -> None:
    """Even where a check of types is around every function: with gradients other kernels run, with other bits."""
    modes: list[bool] = []

    def watched(predictor: Predictor) -> Predictor:
        modes.append(torch.is_inference_mode_enabled())
        return predictor

    *_, last = model.denoising_steps([request()], Steering(constrain=watched))
    assert modes == [True] and last.denoised.is_inference()


def test_guidance_off_evaluates_the_network_once(
    model: Auralith, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    original = model.dit.step

    def counted(latents: torch.Tensor, *rest: object) -> torch.Tensor:
        rows.append(latents.shape[0])
        return original(latents, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(model.dit, "step", counted)
    model.generate(request(cfg_scale=1.0, steps=3))
    assert rows == [1, 1, 1]
    rows.clear()
    model.generate(request(cfg_scale=3.0, cfg_interval=(0.9, 1.0), sampler="v-ddim", steps=4))
    assert set(rows) == {1, 2}


def test_encode_pads_to_whole_frames_and_decode_returns_them(model: Auralith) -> None:
    latents = model.encode(torch.zeros(1, 2, 5_000))
    assert latents.shape == (1, 16, 3)
    assert model.decode(latents).shape == (1, 2, 3 * 2048)
    noise = torch.ones(1, 16, 3)
    assert not torch.equal(model.encode(torch.zeros(1, 2, 5_000), noise), latents)


def test_nan_weights_are_an_error_that_names_the_step() -> None:
    model = load_tiny("sao_tiny")
    with torch.no_grad():
        dit_of(model.dit).project_out.weight[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="step 1 of 4"):
        model.generate(request())


def test_latents_without_signal_give_a_warning_not_a_failure(
    model: Auralith, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        model, "decode", lambda latents: torch.zeros(1, 2, latents.shape[-1] * 2048)
    )
    assert "silent" in model.generate(request()).warnings[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds_total": 3.0}, "at most 0.74 s"),
        ({"sampler": "dpmpp-3m-sdd"}, 'did you mean "dpmpp-3m-sde"'),
        ({"sampler": "pingpong"}, "another objective"),
        ({"sigma_min": 600.0}, "sigma_min"),
    ],
)
def test_what_the_model_cannot_do(model: Auralith, change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        model.generate(request("rain", **change))


def test_small_knows_no_start() -> None:
    with pytest.raises(InvalidRequest, match="knows no start"):
        load_tiny("sao_small_tiny").generate(request(seconds_start=0.1, seconds_total=0.4))


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("sao_tiny", ("dpmpp-3m-sde", 100, 7.0, 0.3, 500.0)),
        ("sao_small_tiny", ("pingpong", 8, 1.0, 0.0, 1.0)),
    ],
)
def test_each_checkpoint_brings_its_own_defaults(name: str, defaults: tuple[object, ...]) -> None:
    """Stable Audio Open Small is distilled: 8 steps, no guidance."""
    resolved = load_tiny(name).resolve(GenerationRequest("rain", seed=1))
    found = (resolved.sampler, resolved.steps, resolved.cfg_scale)
    assert (*found, resolved.sigma_min, resolved.sigma_max) == defaults
    assert resolved.window == "full"


def test_requests_that_cannot_share_a_batch(model: Auralith) -> None:
    with pytest.raises(InvalidRequest, match="one batch"):
        model.denoising_steps([request(steps=3), request(steps=4)])


def test_too_little_memory_says_how_much_is_needed(
    model: Auralith, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "available_memory", lambda device: 1_000)
    with pytest.raises(ResourceError, match=r"needs \d.* [KMG]iB of memory on cpu, 1\.0 KiB"):
        model.generate(request())


@pytest.mark.parametrize(
    ("choose", "name"),
    [
        (resources.choose_device, "gpu9"),
        (lambda name: resources.choose_dtype(name, torch.device("cpu")), "int3"),
        (lambda name: resources.choose_dtype(name, torch.device("cpu")), "float16"),
    ],
)
def test_unknown_devices_and_dtypes(choose: Callable[[str], object], name: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        choose(name)
