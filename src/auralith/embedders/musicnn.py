"""musicnn (Pons and Serra 2019, arXiv 1909.06654): 50 tags of music and a 200-dimensional embedding for every 3 s.

The published weights are checkpoints of TensorFlow in the package musicnn on PyPI; they are read without TensorFlow and
without that package. The front end is that of the package with numpy 1: mel powers are rounded to float16, as they were
when the network was trained, and then computed on in float32. (With numpy 2 the package computes on in float16, where a
mel power above 6.5 becomes infinite.)
"""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad, relu

from auralith.embedders.embedder import OWN_NETWORK, ProtocolValue, checked, mono
from auralith.embedders.tensorflow_bundle import read_bundle
from auralith.errors import AudioError, CheckpointError
from auralith.sound.resampling import resample
from auralith.sound.spectrum import mel_filters
from auralith.weights import WeightsOrigin, find_weights

SAMPLE_RATE = 16_000
FFT_SIZE, HOP, NUM_BANDS = 512, 256, 96
WINDOW_FRAMES = 187
"""Frames of a window: 3 s rounded up to whole hops, so 2.992 s."""
DIM = 200
_EPSILON = 1e-3
_LARGEST_HALF = 65_504.0
_TIMBRAL, _TEMPORAL, _MIDDLE = 204, 51, 64
"""Channels of the front's wide and long filters, and of the middle."""
_PAD = 3
"""Frames on both sides of a filter of seven."""

MTT_TAGS = tuple(
    "guitar,classical,slow,techno,strings,drums,electronic,rock,fast,piano,ambient,beat,violin,vocal,synth,female,indian,"
    "opera,male,singing,vocals,no vocals,harpsichord,loud,quiet,flute,woman,male vocal,no vocal,pop,soft,sitar,solo,man,"
    "classic,choir,voice,new age,dance,male voice,female vocal,beats,harp,cello,no voice,weird,country,metal,female voice,"
    "choral".split(",")
)
"""Tags of MagnaTagATune, in the network's order."""
MSD_TAGS = tuple(
    "rock,pop,alternative,indie,electronic,female vocalists,dance,00s,alternative rock,jazz,beautiful,metal,chillout,"
    "male vocalists,classic rock,soul,indie rock,Mellow,electronica,80s,folk,90s,chill,instrumental,punk,oldies,blues,"
    "hard rock,ambient,acoustic,experimental,female vocalist,guitar,Hip-Hop,70s,party,country,easy listening,sexy,catchy,"
    "funk,electro,heavy metal,Progressive rock,60s,rnb,indie pop,sad,House,happy".split(",")
)
"""Tags of the Million Song Dataset, in the network's order."""
TAGS = {"musicnn-mtt": MTT_TAGS, "musicnn-msd": MSD_TAGS}


class Heard(NamedTuple):
    """Output of the network for windows."""

    embedding: Float[Tensor, "window dim"]
    """Last layer before the tags, after its batch norm ("penultimate" in the package)."""
    logits: Float[Tensor, "window tag"]
    """Tags before the sigmoid."""


class MusicnnNetwork(nn.Module):
    """The network. Its batch norms need `eval()`.

    Wide filters see timbre (0.4 and 0.7 of the bands, 7 frames), long ones rhythm (one band, up to 128 frames); each keeps
    its largest answer over the bands. Three layers with shortcuts follow, then maximum and mean over time.
    """

    def __init__(self, num_tags: int = 50) -> None:
        super().__init__()
        wide = [nn.Conv2d(1, _TIMBRAL, (7, int(part * NUM_BANDS))) for part in (0.4, 0.7)]
        long = [nn.Conv2d(1, _TEMPORAL, (frames, 1)) for frames in (128, 64, 32)]
        self.front = nn.ModuleList([*wide, *long])
        front_channels = 2 * _TIMBRAL + 3 * _TEMPORAL
        widths = (front_channels, _MIDDLE, _MIDDLE)
        self.middle = nn.ModuleList(nn.Conv1d(width, _MIDDLE, 7) for width in widths)
        pooled = 2 * (front_channels + 3 * _MIDDLE)
        self.dense = nn.Linear(pooled, DIM)
        self.tags = nn.Linear(DIM, num_tags)
        counts = (1, *2 * [_TIMBRAL], *3 * [_TEMPORAL], *3 * [_MIDDLE], pooled, DIM)
        self.norms = nn.ModuleList(nn.BatchNorm1d(count, _EPSILON) for count in counts)

    def forward(self, log_mel: Float[Tensor, "window frame band"]) -> Heard:
        """Return embedding and logits for windows of any number of frames."""
        image = affine(log_mel[:, None], self.norms[0])
        front = torch.cat([self._heard(i, image) for i in range(len(self.front))], dim=1)
        features = [front]
        for number, layer in enumerate(self.middle):
            x = pad(features[-1], (_PAD, _PAD))
            x = affine(relu(layer(x)), self.norms[6 + number])
            features.append(x if number == 0 else x + features[-1])
        everything = torch.cat(features, dim=1)
        # the package's order: of each channel maximum, then mean
        pooled = torch.stack([everything.amax(dim=2), everything.mean(dim=2)], dim=2).flatten(1)
        hidden = relu(self.dense(affine(pooled, self.norms[9])))
        embedding = affine(hidden, self.norms[10])
        return Heard(embedding, self.tags(embedding))

    def _heard(
        self, number: int, image: Float[Tensor, "window 1 frame band"]
    ) -> Float[Tensor, "window channel frame"]:
        """Return the largest answer of a filter over the bands, in each frame."""
        layer = self.front[number]
        assert isinstance(layer, nn.Conv2d)
        frames = layer.kernel_size[0]
        image = pad(image, (0, 0, (frames - 1) // 2, frames // 2))
        answers = relu(conv2d(image, layer.weight, layer.bias))
        # an affine map keeps or turns round the order of answers, so only their ends can be largest after it
        scale, shift = scale_and_shift(self.norms[1 + number])
        ends = torch.where(scale[:, None] > 0, answers.amax(dim=3), answers.amin(dim=3))
        return ends * scale[:, None] + shift[:, None]


def scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return what a batch norm in eval mode multiplies with and adds."""
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


def affine(x: Tensor, norm: nn.Module) -> Tensor:
    """Return a batch norm of the channels, the second axis."""
    scale, shift = (v.reshape(-1, *(1,) * (x.ndim - 2)) for v in scale_and_shift(norm))
    return x * scale + shift


def read_musicnn(folder: Path, num_tags: int = 50) -> MusicnnNetwork:
    """Return the network with the weights of a TensorFlow checkpoint, on the CPU, in eval mode.

    Raises:
        CheckpointError: a file is missing or damaged, or is of another network.
    """
    tensors = read_bundle(folder)
    with torch.device("meta"):
        network = MusicnnNetwork(num_tags)
    expected = network.state_dict()
    state = {}
    for name, source in _sources().items():
        if name.endswith("num_batches_tracked"):
            continue
        found = tensors.get(source)
        values = None if found is None else _torch_layout(found)
        wanted = expected[name].shape
        if values is None or values.shape != wanted:
            have = "is missing" if found is None else f"has the shape {tuple(found.shape)}"
            raise CheckpointError(
                f"{folder} is of another network: {source} {have}; a musicnn with {num_tags} tags is needed"
            )
        state[name] = values
    counters = {n: torch.tensor(0) for n in expected if n.endswith("num_batches_tracked")}
    network.load_state_dict(state | counters, assign=True)
    return network.eval().requires_grad_(False)


def _sources() -> dict[str, str]:
    """Return the names of the checkpoint's tensors by the names of this network's."""
    convolutions = [f"front.{i}" for i in range(5)] + [f"middle.{i}" for i in range(3)]
    layers = {name: _numbered("conv2d", i) for i, name in enumerate(convolutions)}
    layers |= {"dense": "dense", "tags": "dense_1"}
    norms = {f"norms.{i}": _numbered("batch_normalization", i) for i in range(11)}
    parts = {"weight": "kernel", "bias": "bias"}
    norm_parts = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    return {
        f"{name}.{part}": f"{source}/{theirs}"
        for group, names in ((layers, parts), (norms, norm_parts))
        for name, source in group.items()
        for part, theirs in names.items()
    }


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _torch_layout(values: Tensor) -> Tensor:
    """Return a kernel with its outputs first: (out, in, frame, band), (out, in, frame) or (out, in)."""
    if values.ndim != 4:
        return values.mT.contiguous() if values.ndim == 2 else values
    if values.shape[3] == _MIDDLE:  # the middle's inputs lie where the front has its bands
        return values[:, :, 0].permute(2, 1, 0).contiguous()
    return values.permute(3, 2, 0, 1).contiguous()


def log_mel(waveform: Float[Tensor, " sample"]) -> Float[Tensor, "frame band"]:
    """Return log10(10,000 m + 1) of mel powers m, every 16 ms, of sound at 16 kHz; `1 + sample // 256` frames."""
    window = torch.hann_window(FFT_SIZE, device=waveform.device)
    spectrum = torch.stft(
        waveform, FFT_SIZE, HOP, window=window, pad_mode="reflect", return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    mel = power.mT @ mel_filters(SAMPLE_RATE, FFT_SIZE, NUM_BANDS).float().to(power.device).mT
    rounded = mel.clamp(max=_LARGEST_HALF).half().float()
    return torch.log10(10_000 * rounded + 1)


def windows_of(frames: Float[Tensor, "all_frames band"]) -> Float[Tensor, "window frame band"]:
    """Return windows of 187 frames without overlap; a rest is left out, a shorter sound repeated until it fills one."""
    if len(frames) < WINDOW_FRAMES:
        frames = frames.repeat(-(-WINDOW_FRAMES // len(frames)), 1)
    count = len(frames) // WINDOW_FRAMES
    return frames[: count * WINDOW_FRAMES].reshape(count, WINDOW_FRAMES, NUM_BANDS)


class Musicnn:
    """musicnn as an embedder of mono sound with 50 tags, at the sound's own level."""

    dim = DIM

    def __init__(
        self,
        name: str,
        network: MusicnnNetwork,
        weights_sha256: str,
        device: torch.device | None = None,
        origin: WeightsOrigin = OWN_NETWORK,
    ) -> None:
        self.origin = origin
        self.name, self.classes = name, TAGS[name]
        self._network, self._sha256, self._device = network.to(device), weights_sha256, device

    def protocol(self) -> dict[str, ProtocolValue]:
        return {
            "embedder": self.name,
            "front_end": "musicnn-0.1",
            "front_end_version": 1,
            "weights_sha256": self._sha256,
            "resampler": "soxr-hq",
            "sample_rate": SAMPLE_RATE,
            "window_s": WINDOW_FRAMES * HOP / SAMPLE_RATE,
            "hop_s": WINDOW_FRAMES * HOP / SAMPLE_RATE,
            "channels": "mean",
            "level": "as is",
            "dtype": "float32",
        }

    def embed(
        self, waveform: Float[Tensor, "channel sample"], sample_rate: int, seed: int = 0
    ) -> Float[Tensor, "window dim"]:
        """Return a row for every 2.992 s. Raises as `Embedder.embed`."""
        return self._hear(waveform, sample_rate).embedding

    def logits(
        self, waveform: Float[Tensor, "channel sample"], sample_rate: int
    ) -> Float[Tensor, "window tag"]:
        """Return a row for every 2.992 s; their sigmoid is each tag's probability. Raises as `Embedder.embed`."""
        return self._hear(waveform, sample_rate).logits

    @torch.inference_mode()
    def _hear(self, waveform: Float[Tensor, "channel sample"], sample_rate: int) -> Heard:
        sound = resample(mono(checked(waveform, sample_rate)), sample_rate, SAMPLE_RATE)
        sound = checked(sound, SAMPLE_RATE)[0]  # channels in antiphase are silent in the mean
        if len(sound) <= FFT_SIZE // 2:
            raise AudioError(
                f"the sound has {len(sound)} samples at 16 kHz; more than {FFT_SIZE // 2} are needed",
                "too_short",
            )
        # one by one: so the answers stay in the cache, which is twice as fast as eight at once
        parts = windows_of(log_mel(sound)).to(self._device).split(1)
        heard = [self._network(part) for part in parts]
        return Heard(*(torch.cat(rows).cpu() for rows in zip(*heard, strict=True)))


def open_musicnn(
    name: str, weights: Path | None, device: torch.device, dtype: torch.dtype
) -> Musicnn:
    """Return the embedder; `weights` is a folder of weights, or that with the checkpoint's files.

    Raises:
        CheckpointError: weights are missing, damaged or of another network.
    """
    found = find_weights(name, weights)
    network = read_musicnn(found.path, len(TAGS[name]))
    return Musicnn(name, network, found.sha256, device, found.origin)
