"""PaSST (Koutini et al. 2022, arXiv 2110.05069) as KL_passt of arXiv 2407.14358 uses it: mono sound → logits of 527
AudioSet classes, and 768 numbers, for 10 s windows every 5 s.

The chain: mean of the channels, soxr to 32 kHz, peak to -1 dBFS, windows; the last one is padded with zeros to 10 s unless
the whole sound is shorter than 1.5 s, which goes through as it is. Names of tensors are those of the published file
(`passt_s_swa_p16_128_ap476`). Only inference is implemented: patchout and SpecAugment of the training are left out.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu, pad, scaled_dot_product_attention

from auralith.embedders.embedder import (
    CPU,
    OWN_NETWORK,
    ProtocolValue,
    at_peak,
    checked,
    load_strictly,
    mono,
    state_digest,
    windows,
)
from auralith.errors import AudioError
from auralith.sound.resampling import resample
from auralith.sound.spectrum import mel_filters
from auralith.tensor_files import read_tensor_file
from auralith.weights import WeightsOrigin, find_weights

SAMPLE_RATE = 32_000
WINDOW, WINDOW_HOP = 10 * SAMPLE_RATE, 5 * SAMPLE_RATE
PADDED_ABOVE = 3 * SAMPLE_RATE // 2
"""A sound of at most so many samples is not padded."""
FFT_SIZE, HOP, STFT_WINDOW = 1_024, 320, 800
NUM_BANDS, HIGHEST_HZ = 128, 15_000.0
PATCH, STRIDE = 16, 10
SHORTEST = (PATCH - 1) * HOP + 1 + 1
"""Samples of one patch, and the one that pre-emphasis takes."""
GRID = (12, 99)
"""Patches of a window of 10 s: bands, time."""
WIDTH, DEPTH, HEADS = 768, 12, 12
NUM_CLASSES = 527
_PRE_EMPHASIS = 0.97
_BATCH = 4


class PaSSTNetwork(nn.Module):
    """The transformer; smaller sizes are for tests."""

    def __init__(self, width: int = WIDTH, depth: int = DEPTH, heads: int = HEADS) -> None:
        super().__init__()
        self.cls_token, self.dist_token = (nn.Parameter(torch.empty(1, 1, width)) for _ in "cd")
        self.new_pos_embed = nn.Parameter(torch.empty(1, 2, width))
        self.freq_new_pos_embed = nn.Parameter(torch.empty(1, width, GRID[0], 1))
        self.time_new_pos_embed = nn.Parameter(torch.empty(1, width, 1, GRID[1]))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, width, PATCH, STRIDE)})
        self.blocks = nn.ModuleList([PaSSTBlock(width, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, 1e-6)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, NUM_CLASSES))
        self.head_dist = nn.Linear(
            width, NUM_CLASSES
        )  # in the file; the logits are those of `head`

    def forward(
        self, log_mel: Float[Tensor, "batch 1 band frame"]
    ) -> tuple[Float[Tensor, "batch class"], Float[Tensor, "batch width"]]:
        """Return logits, and the mean of class and distillation token that they are made of."""
        patches = self.patch_embed["proj"](log_mel)
        positions = self.time_new_pos_embed[..., : patches.shape[3]] + self.freq_new_pos_embed
        tokens = torch.cat([self.cls_token, self.dist_token], dim=1) + self.new_pos_embed
        x = (patches + positions).flatten(2).mT
        x = torch.cat([tokens.expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks[:-1]:
            x = block(x, x.shape[1])
        # nothing reads the patches after the last block
        features = self.norm(self.blocks[-1](x, 2)).mean(dim=1)
        return self.head(features), features


class PaSSTBlock(nn.Module):
    """Attention and MLP, each behind a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attn = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)}
        )
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
        )
        self.heads = heads

    def forward(
        self, x: Float[Tensor, "batch token width"], kept: int
    ) -> Float[Tensor, "batch kept width"]:
        """Return the first `kept` tokens, which have seen all."""
        x, attended = x[:, :kept], self._attention(self.norm1(x), kept)
        x = x + self.attn["proj"](attended)
        return x + self.mlp["fc2"](gelu(self.mlp["fc1"](self.norm2(x))))

    def _attention(
        self, x: Float[Tensor, "batch token width"], kept: int
    ) -> Float[Tensor, "batch kept width"]:
        qkv = self.attn["qkv"](x).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return scaled_dot_product_attention(q[:, :, :kept], k, v).transpose(1, 2).flatten(2)


class PaSST:
    """PaSST as a classifier and embedder of mono sound."""

    name = "passt"
    classes = tuple(map(str, range(NUM_CLASSES)))
    """Hold the indices of AudioSet's published list of labels."""

    def __init__(
        self,
        network: PaSSTNetwork,
        device: torch.device = CPU,
        dtype: torch.dtype = torch.float32,
        origin: WeightsOrigin = OWN_NETWORK,
    ) -> None:
        self.origin = origin
        self.dim = network.norm.normalized_shape[0]
        self._sha256 = state_digest(network.state_dict())
        self._network = network.to(device, dtype).eval().requires_grad_(False)
        self._device, self._dtype = device, dtype

    def protocol(self) -> dict[str, ProtocolValue]:
        return {
            "embedder": self.name,
            "front_end": "kaldi-128",
            "front_end_version": 1,
            "weights_sha256": self._sha256,
            "resampler": "soxr-hq",
            "sample_rate": SAMPLE_RATE,
            "window_s": 10.0,
            "hop_s": 5.0,
            "channels": "mean",
            "level": "peak -1 dBFS",
            "dtype": str(self._dtype).removeprefix("torch."),
        }

    def embed(
        self, waveform: Float[Tensor, "channel sample"], sample_rate: int, seed: int = 0
    ) -> Float[Tensor, "window dim"]:
        return self._run(waveform, sample_rate)[1]

    def logits(
        self, waveform: Float[Tensor, "channel sample"], sample_rate: int
    ) -> Float[Tensor, "window class"]:
        """Return logits of 527 classes; KL_passt takes their mean over windows, then softmax. Raises as `embed`."""
        return self._run(waveform, sample_rate)[0]

    @torch.inference_mode()
    def _run(self, waveform: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
        parts = ten_second_windows(sound(waveform, sample_rate)).split(_BATCH)
        made = [self._network(self._picture(part)) for part in parts]
        logits, features = (torch.cat(column).float().cpu() for column in zip(*made, strict=True))
        return logits, features

    def _picture(self, part: Float[Tensor, "batch sample"]) -> Float[Tensor, "batch 1 band frame"]:
        return log_mel(part.to(self._device))[:, None].to(self._dtype)


def open_passt(name: str, weights: Path | None, device: torch.device, dtype: torch.dtype) -> PaSST:
    """Return PaSST with the weights of its published file. Raises CheckpointError."""
    found = find_weights(name, weights)
    with torch.device("meta"):
        network = PaSSTNetwork()
    load_strictly(network, read_tensor_file(found.path).weights, found.path, "PaSST")
    return PaSST(network, device, dtype, found.origin)


def sound(
    waveform: Float[Tensor, "channel sample"], sample_rate: int
) -> Float[Tensor, "1 resampled"]:
    """Return the sound as PaSST hears it. Raises as `Embedder.embed`; a sixth of a second is needed."""
    mixed = resample(mono(checked(waveform, sample_rate)), sample_rate, SAMPLE_RATE)
    if mixed.shape[1] < SHORTEST:
        raise AudioError(
            f"the sound lasts {mixed.shape[1] / SAMPLE_RATE:.3f} s; PaSST needs"
            f" {SHORTEST / SAMPLE_RATE:.3f} s: leave it out",
            "too_short",
        )
    return at_peak(checked(mixed, SAMPLE_RATE))


def ten_second_windows(mixed: Float[Tensor, "1 sample"]) -> Float[Tensor, "window size"]:
    """Return all windows in 10 s each, the last with zeros after its end; a sound of at most 1.5 s stays as it is."""
    if mixed.shape[1] <= PADDED_ABOVE:
        return mixed
    parts = windows(mixed, WINDOW, WINDOW_HOP)
    return torch.stack([pad(part, (0, WINDOW - len(part))) for part in parts])


def log_mel(waveform: Float[Tensor, "batch sample"]) -> Float[Tensor, "batch band frame"]:
    """Return ln of 128 Kaldi bands of sound at 32 kHz, shifted and scaled, every 10 ms: 1,000 frames of 10 s."""
    emphasized = waveform[:, 1:] - _PRE_EMPHASIS * waveform[:, :-1]
    window = torch.hann_window(STFT_WINDOW, periodic=False, device=waveform.device)
    spectrum = torch.stft(
        emphasized, FFT_SIZE, HOP, STFT_WINDOW, window, pad_mode="reflect", return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    filters = mel_filters(
        SAMPLE_RATE, FFT_SIZE, NUM_BANDS, 0.0, HIGHEST_HZ, scale="kaldi", unit_area=False
    )
    return ((filters.to(waveform) @ power + 1e-5).log() + 4.5) / 5
