"""Models trained for inpainting, by their mask channels: against the reference, in edits, in training."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from auralith.checkpoints import inspect_checkpoint
from auralith.cli.main import run
from auralith.compat.stable_audio_tools import (
    generate_diffusion_cond,
    generate_diffusion_cond_inpaint,
    get_pretrained_model,
)
from auralith.compat.stable_audio_tools.loading import StableAudioModel
from auralith.conditioning import MaskedInput
from auralith.editing import Clip, Extension, Inpainting, extend, inpaint
from auralith.errors import CheckpointError, InvalidRequest
from auralith.pipeline import Auralith, Steering, load
from auralith.request import GenerationRequest
from auralith.training.finetune import FinetuneSettings
from auralith.training.noising import InpaintMasks
from auralith.training.published import follow_training
from tests.conftest import GOLDEN, relative_error

FOLDER = GOLDEN / "inpaint"
MODEL = str(FOLDER)
CASES = json.loads((FOLDER / "cases.json").read_bytes())
CONDITIONING = [{"prompt": "a low bell 128 bpm", "seconds_start": 0, "seconds_total": 30}]
REQUEST = GenerationRequest("a low bell", steps=2, seed=1)


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(FOLDER / "golden.safetensors")


@pytest.fixture(scope="module")
def theirs() -> StableAudioModel:
    return get_pretrained_model(MODEL)[0]


@pytest.fixture(scope="module")
def model() -> Auralith:
    return load(MODEL, device="cpu", dtype="float32")


@pytest.mark.parametrize("case", CASES)
def test_the_references_runs_are_reproduced(
    theirs: StableAudioModel, golden: dict[str, torch.Tensor], case: str
) -> None:
    given = dict(CASES[case])
    steps, level = given.pop("steps"), given.pop("init", None)
    sound = (44_100, golden["audio"])
    shown = {} if case == "no_mask" else {"inpaint_audio": sound, "inpaint_mask": golden["mask"]}
    if level is not None:
        given |= {"init_audio": (44_100, golden["audio"] * 0.5), "init_noise_level": level}
    found = generate_diffusion_cond_inpaint(
        theirs, steps, conditioning=CONDITIONING, sample_size=2_112, device="cpu",
        return_latents=True, **given, **shown,
    )  # fmt: skip
    assert relative_error(found, golden[f"gen.{case}"]) <= 1e-4
    if case == "no_mask":  # plain generation shows nothing, too
        plain = generate_diffusion_cond(
            theirs, steps, conditioning=CONDITIONING, sample_size=2_112, device="cpu",
            return_latents=True, **given,
        )  # fmt: skip
        assert torch.equal(plain, found)


def test_a_plain_generation_shows_nothing(model: Auralith, golden: dict[str, torch.Tensor]) -> None:
    case = CASES["no_mask"]
    request = GenerationRequest(
        "a low bell 128 bpm",
        seconds_total=30,
        seconds_output=0.04,
        steps=case["steps"],
        cfg_scale=float(case["cfg_scale"]),
        sampler=case["sampler_type"],
        sigma_min=0.01,
        sigma_max=100.0,
        seed=case["seed"],
        noise="reference",
    )
    assert relative_error(model.denoise([request]), golden["gen.no_mask"]) <= 1e-4


def test_one_mask_serves_a_batch(theirs: StableAudioModel, golden: dict[str, torch.Tensor]) -> None:
    found = generate_diffusion_cond_inpaint(
        theirs, 2, 3, CONDITIONING * 2, batch_size=2, sample_size=2_112, device="cpu", seed=1,
        inpaint_audio=(44_100, golden["audio"]), inpaint_mask=golden["mask"],
    )  # fmt: skip
    assert found.shape == (2, 2, 2_112)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(2_112), "of shape"),
        (torch.ones(3, 2_112), "of shape"),
        (torch.full((1, 2_112), 2.0), "values from 0"),
        (torch.full((1, 2_112), float("nan")), "values from 0"),
    ],
)
def test_masks_that_are_none(theirs: StableAudioModel, mask: torch.Tensor, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        generate_diffusion_cond_inpaint(
            theirs, 2, 3, CONDITIONING, sample_size=2_112, device="cpu", inpaint_mask=mask
        )


def clip(seconds: float, rate: int = 44_100) -> Clip:
    noise = np.random.default_rng(0).normal(0, 0.1, (2, round(seconds * rate)))
    return Clip(torch.from_numpy(noise.astype(np.float32)), rate)


def test_inpainting_shows_the_rest_and_pastes_it_back(
    model: Auralith, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The masked latents reach the network; samples outside the range and its seams are the file's own bits."""
    seen: list[Steering] = []
    denoise = Auralith.denoise

    def watched(self: Auralith, requests: object, steering: Steering, *rest: object) -> object:
        seen.append(steering)
        return denoise(self, requests, steering, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Auralith, "denoise", watched)
    source = clip(0.045)
    made = inpaint(model, REQUEST, source, Inpainting(((0.01, 0.02),), crossfade=0.002))
    (steering,) = seen
    assert steering.shown is not None and steering.passes == 1
    kept = steering.shown.mask[0, 0]
    assert kept[:6].all() and not kept[7:13].any() and kept[15:31].all()
    assert not steering.shown.latents[..., kept == 0].any()
    assert steering.shown.latents[..., kept == 1].any()
    changed = (made.waveform != source.waveform).any(0).nonzero()
    assert changed.min() >= round(0.008 * 44_100) and changed.max() < round(0.022 * 44_100)


def test_what_is_shown_matters(model: Auralith) -> None:
    request = GenerationRequest("a bell", seconds_total=0.04, steps=2, seed=1)
    frames = model.config.window_frames
    latents = torch.randn(1, 6, frames, generator=torch.Generator().manual_seed(0))
    masks = [torch.full_like(latents[:, :1], share) for share in (0.0, 1.0)]
    results = [
        model.denoise([request], Steering(shown=MaskedInput.of(latents, mask))) for mask in masks
    ]
    assert relative_error(*results) > 1e-3
    assert torch.equal(results[0], model.denoise([request], Steering(passes=1, shown=None)))


def test_an_extension_continues_by_the_mask(model: Auralith) -> None:
    made = extend(model, REQUEST, clip(0.03), Extension(0.08))
    assert made.waveform.shape[-1] == 3_528


def write_dataset(folder: Path) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = ["path,prompt"]
    for index in range(4):
        soundfile.write(
            folder / f"{index}.wav", rng.normal(0, 0.1, (1_500 + 200 * index, 2)), 44_100
        )
        rows.append(f"{index}.wav,a bell")
    (folder / "table.csv").write_text("\n".join(rows))
    return folder / "table.csv"


def test_fine_tuning_trains_the_mask_channels(tmp_path: Path) -> None:
    out = tmp_path / "model"
    command = f"finetune {write_dataset(tmp_path / 'data')} --model {MODEL} -o {out} --steps 3"
    settings = ("mode=full", 'checks="none"', "dit.inpainting.everything=0.0")
    settings += ("dit.inpainting.segments=0.5", "dit.inpainting.continuation=0.5")
    arguments = [part for setting in settings for part in ("--set", setting)]
    assert run([*command.split(), "--batch-size", "2", *arguments]) == 0
    before, after = (load_file(Path(folder) / "model.safetensors") for folder in (MODEL, out))
    name = "model.model.transformer.project_in.weight"
    difference = after[name] - before[name]
    assert difference.shape == (64, 13) and difference[:, 6:].abs().min() > 0
    assert inspect_checkpoint(out).spec == inspect_checkpoint(MODEL).spec


def test_masks_are_the_published_mixture() -> None:
    """Shares and the mean of shown frames, as recorded from the reference's random_inpaint_mask (scripts/golden_inpaint_masks.py)."""
    recorded = json.loads((GOLDEN / "inpaint_masks.json").read_bytes())
    rng = np.random.default_rng(0)
    for case in recorded["cases"]:
        masks = InpaintMasks(*case["probabilities"])
        drawn = np.stack(
            [masks.kept_frames(case["sounding"], case["frames"], rng) for _ in range(4_000)]
        )
        # five standard deviations of the mean of 4,000 draws of something from 0 to 1, and of the recording's
        bound = 5 * 0.5 * (1 / 4_000 + 1 / recorded["draws"]) ** 0.5
        assert np.abs(drawn.mean(0) - case["kept"]).max() <= bound
        assert np.abs((drawn.sum(1) == 0).mean() - case["nothing_kept"]) <= bound


@pytest.mark.parametrize("shares", [(0.5, 0.6, 0.1), (-0.1, 1.0, 0.1)])
def test_mixtures_that_are_none(shares: tuple[float, float, float]) -> None:
    with pytest.raises(InvalidRequest, match="add up to 1"):
        InpaintMasks(*shares)


def test_the_mixture_of_a_models_own_training_section_is_followed() -> None:
    kwargs = {"max_mask_segments": 3, "mask_type_probabilities": [0.5, 0.25, 0.25]}
    followed = follow_training(FinetuneSettings(), {"inpainting": {"mask_kwargs": kwargs}})
    assert followed.settings.dit.inpainting == InpaintMasks(0.5, 0.25, 0.25, 3)
    assert "inpainting" in followed.used[0] and not followed.ignored
    assert follow_training(FinetuneSettings(), {"inpainting": {}}).settings == FinetuneSettings()
    for bad in ({"mask_type_probabilities": [1]}, {"masks": 3}, {"max_mask_segments": 0}):
        with pytest.raises(CheckpointError, match=next(iter(bad))):
            follow_training(FinetuneSettings(), {"inpainting": {"mask_kwargs": bad}})
