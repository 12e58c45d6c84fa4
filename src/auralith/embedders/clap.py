"""LAION-CLAP through transformers: sounds and texts in one space of 512 dimensions, every row of length 1.

"clap-fused" is that of the CLAP score of arXiv 2407.14358: one row for a whole sound. "clap-unfused" gives a row for every
window of 10 s and draws nothing; it serves for memorization.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from auralith.embedders.clap_front import (
    FFT_SIZE,
    HIGHEST_HZ,
    HOP,
    LOWEST_HZ,
    MAX_SAMPLES,
    NUM_BANDS,
    SAMPLE_RATE,
    filled,
    fusion,
    log_mel,
    through_int16,
)
from auralith.embedders.embedder import OWN_NETWORK, ProtocolValue, at_peak, checked, mono, windows
from auralith.errors import CheckpointError, shown
from auralith.foreign import CONFIG_ERRORS, Json, without_code
from auralith.models.lazy_tensor import Weights, require_tensors, weights_of
from auralith.sound.resampling import resample
from auralith.tensor_files import read_component, read_json
from auralith.text.foreign_tokenizer import open_foreign_tokenizer
from auralith.weights import WeightsOrigin, find_weights

if TYPE_CHECKING:
    import transformers

MAX_TOKENS = 77
_LARGEST = 1 << 17
"""Largest whole number in a config of CLAP's size: widths, tokens, classes."""
_DEEPEST = 64
FRONT_END: Json = {
    "sampling_rate": SAMPLE_RATE,
    "fft_window_size": FFT_SIZE,
    "hop_length": HOP,
    "feature_size": NUM_BANDS,
    "frequency_min": LOWEST_HZ,
    "frequency_max": HIGHEST_HZ,
    "max_length_s": MAX_SAMPLES // SAMPLE_RATE,
    "padding": "repeatpad",
    "top_db": None,
}
"""Settings of `preprocessor_config.json` that the front end implements; transformers' own defaults begin at 0 Hz."""


class Clap:
    """CLAP as an embedder of mono sound, and of text."""

    def __init__(
        self,
        name: str,
        model: "transformers.ClapModel",
        tokenizer: "transformers.PreTrainedTokenizerBase",
        weights_sha256: str,
        origin: WeightsOrigin = OWN_NETWORK,
    ) -> None:
        self.origin = origin
        config: Any = model.config
        self.name, self.dim = name, config.projection_dim
        self._model, self._tokenizer, self._sha256 = model.eval(), tokenizer, weights_sha256
        self._is_fused = is_fused(model)
        self._num_tokens = config.text_config.vocab_size

    def protocol(self) -> dict[str, ProtocolValue]:
        return {
            "embedder": self.name,
            "front_end": "htk-64, fusion" if self._is_fused else "slaney-64",
            "front_end_version": 1,
            "weights_sha256": self._sha256,
            "resampler": "soxr-hq",
            "sample_rate": SAMPLE_RATE,
            "window_s": None if self._is_fused else 10,
            "hop_s": None if self._is_fused else 5,
            "channels": "mean",
            "level": "peak -1 dBFS, 16 bits",
            "dtype": str(self._model.dtype).removeprefix("torch."),
        }

    @torch.inference_mode()
    def embed(
        self, waveform: Float[Tensor, "channel sample"], sample_rate: int, seed: int = 0
    ) -> Float[Tensor, "window dim"]:
        """Return a row for the whole sound (fused; crops of sound beyond 10 s are drawn from the seed), or one for each
        10 s, every 5 s (unfused). Raises as `Embedder.embed`."""
        sound = resample(mono(checked(waveform, sample_rate)), sample_rate, SAMPLE_RATE)
        sound = through_int16(at_peak(checked(sound, SAMPLE_RATE))[0])
        if self._is_fused:
            item = fusion(sound, seed)
            return self._hear(item.mels[None], item.is_longer[None])
        parts = windows(sound[None], MAX_SAMPLES, MAX_SAMPLES // 2)
        never = torch.tensor([[False]])
        rows = [self._hear(log_mel(filled(p), slaney=True)[None, None], never) for p in parts]
        return torch.cat(rows)

    def _hear(
        self, mels: Float[Tensor, "batch view frame band"], is_longer: Bool[Tensor, "batch 1"]
    ) -> Float[Tensor, "batch dim"]:
        features = self._model.get_audio_features(
            mels.to(self._model.device, self._model.dtype),
            is_longer=is_longer.to(self._model.device),
        )
        return _unit(features)

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> Float[Tensor, "text dim"]:
        """Return a row for each text, of which the first 77 tokens count, on the CPU.

        Raises:
            CheckpointError: the tokenizer is of another network.
        """
        rows = [self._read(text) for text in texts]
        return torch.cat(rows) if rows else torch.empty(0, self.dim)

    def _read(self, text: str) -> Float[Tensor, "1 dim"]:
        encoded = self._tokenizer(
            [text],
            padding="max_length",
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        )
        ids = encoded["input_ids"]
        if int(ids.max()) >= self._num_tokens:
            raise CheckpointError(
                f"the tokenizer gives token {int(ids.max())}, and CLAP's text encoder has"
                f" {self._num_tokens}; get the folder again"
            )
        device = self._model.device
        mask = encoded["attention_mask"].to(device)
        return _unit(self._model.get_text_features(ids.to(device), attention_mask=mask))


def _unit(features: Any) -> Float[Tensor, "row dim"]:
    """Return rows of length 1 of what transformers gives: a tensor, or an output that holds one."""
    rows = features if isinstance(features, Tensor) else features.pooler_output
    return normalize(rows.float(), dim=-1).cpu()


def open_clap(name: str, weights: Path | None, device: torch.device, dtype: torch.dtype) -> Clap:
    """Return "clap-fused" or "clap-unfused"; `weights` is a folder of weights, or the one of this model.

    Raises:
        CheckpointError: files are missing, damaged, of another network, or of the other CLAP.
    """
    found = find_weights(name, weights)
    data = without_code(read_json(found.path / "config.json"))
    _check_front_end(found.path / "preprocessor_config.json", name == "clap-fused")
    model = read_clap(found.path, data)
    if is_fused(model) != (name == "clap-fused"):
        raise CheckpointError(
            f"{found.path} is CLAP {'with' if is_fused(model) else 'without'} fusion, not {name};"
            " name the folder of the other one"
        )
    torch.nn.Module.to(model, device, dtype)
    return Clap(name, model, open_foreign_tokenizer(found.path), found.sha256, found.origin)


def read_clap(folder: Path, config: Json) -> "transformers.ClapModel":
    """Return the network with the weights of a folder, every tensor of them used, on the CPU.

    Raises:
        CheckpointError: config and weights are not of CLAP, or do not fit each other.
    """
    from transformers import ClapModel

    path = folder / "config.json"
    _check_sizes(config, path)
    parsed = _config(config, path)
    file = folder / "model.safetensors"
    if not file.is_file():
        file = folder / "pytorch_model.bin"
    weights = _floating(read_component(file))
    with torch.device("meta"):  # nothing is allocated before the file is known to fit
        expected = ClapModel(parsed).state_dict()
    require_tensors(weights, _floating(weights_of(expected)), file)
    model = ClapModel(parsed)  # makes the tables of positions, which are not weights
    tables = {n: t for n, t in model.state_dict().items() if not t.is_floating_point()}
    cpu = torch.device("cpu")
    state = {name: tensor.load(cpu, torch.float32) for name, tensor in weights.items()}
    model.load_state_dict(state | tables, strict=True, assign=True)
    return model.eval().requires_grad_(False)


def _config(data: Json, path: Path) -> "transformers.ClapConfig":
    from huggingface_hub.errors import StrictDataclassError
    from transformers import ClapConfig

    errors = (StrictDataclassError, *CONFIG_ERRORS)
    try:
        if data.get("model_type") != "clap":
            raise ValueError(f"its model_type is {shown(data.get('model_type'))}")
        return ClapConfig.from_dict(data)
    except errors as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} is not a config of CLAP ({reason}); get it again") from None


def _check_sizes(data: Json, path: Path) -> None:
    """Raise CheckpointError for sizes beyond those of any CLAP: layers are built before weights are seen."""
    for part in (data, *(data.get(name) for name in ("audio_config", "text_config"))):
        for name, value in part.items() if isinstance(part, dict) else ():
            limit = _DEEPEST if name in ("num_hidden_layers", "depths") else _LARGEST
            numbers = value if isinstance(value, list) else [value]
            whole = [number for number in numbers if isinstance(number, int)]
            if len(numbers) > _DEEPEST or any(abs(number) > limit for number in whole):
                raise CheckpointError(
                    f"{path} is not a config of CLAP: {shown(name)} is {shown(value)}, {limit:,} at most"
                )


def _floating(weights: Weights) -> Weights:
    """Return the tensors that are learned; files of some versions hold tables of positions beside them."""
    return {name: tensor for name, tensor in weights.items() if tensor.dtype.is_floating_point}


def is_fused(model: "transformers.ClapModel") -> bool:
    """Return whether a network has the branch for crops of sounds beyond 10 s."""
    config: Any = model.config
    return bool(config.audio_config.enable_fusion)


def _check_front_end(path: Path, fused: bool) -> None:
    """Raise `CheckpointError` if the settings of a front end are other ones than are implemented here."""
    found = read_json(path)
    wanted = FRONT_END | {"truncation": "fusion" if fused else "rand_trunc"}
    for name, value in wanted.items():
        if found.get(name) != value:
            raise CheckpointError(
                f"{path} has {name} = {shown(found.get(name))}, not {value}; get the files of the"
                " published model"
            )
