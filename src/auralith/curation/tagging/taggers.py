"""The taggers: PANNs at 100 frames a second, AST (Gong et al. 2021) with one frame per clip, musicnn with one per 3 s.

Both load their weights at the first use, on the given device. The clip-level network Cnn14 has the names and shapes of
Cnn14_DecisionLevelMax, so its file would load and give meaningless frames; only the hash tells them apart. A file must
therefore have a known hash, or the requested one.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from auralith.curation.tagging.meter import NUM_LABELS, Tagger, TaggerFacts, WeightsTagger
from auralith.curation.tagging.musicnn import MusicnnTagger
from auralith.curation.tagging.panns import HOP, SAMPLE_RATE, read_panns
from auralith.errors import CheckpointError, InvalidRequest, ResourceError
from auralith.files import cached_file_hash, whole_file
from auralith.foreign import SHAPE_ERRORS, parse_json, read_json, without_code
from auralith.resources import choose_device
from auralith.weights import find_weights, weights_entry

if TYPE_CHECKING:
    from transformers import ASTFeatureExtractor, ASTForAudioClassification

AST_NAME = "MIT/ast-finetuned-audioset-10-10-0.4593"
KNOWN_SHA256 = frozenset(file.sha256 for file in weights_entry("panns").files)
"""Hashes of published files, from the manifest of weights."""
PIN_NAME = "tagger_weights.json"
"""File in a curation's folder with the hash of an unknown file that was trusted at its first use."""


class PannsTagger(WeightsTagger):
    """Cnn14_DecisionLevelMax on windows of 10 s, its training length."""

    facts = TaggerFacts("panns", SAMPLE_RATE, 10 * SAMPLE_RATE, HOP, needs_known_weights=True)

    def weights_sha256(self) -> str:
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[Path, str]:
        path = existing_weights(self._weights)
        return path, cached_file_hash(path)

    @cached_property
    def _network(self) -> nn.Module:
        path, digest = self._found
        check_hash(str(path), digest, self._sha256, self._allow_unknown)
        return read_panns(path).to(choose_device(self._device))

    def framewise(self, waveform: Float[np.ndarray, "sample"]) -> Float[np.ndarray, "frame label"]:
        """Return the frames that begin in the window; the network makes one more, centered on its end."""
        device = next(self._network.parameters()).device
        with torch.inference_mode():
            framewise = self._network(torch.from_numpy(waveform)[None].to(device)).framewise[0]
        return framewise[: self.facts.frames_per_window].cpu().numpy()


class AstTagger(WeightsTagger):
    """The Audio Spectrogram Transformer through transformers, from a folder that `save_pretrained` wrote.

    It tags a clip of 10.24 s as a whole, so its frame is its window. It takes any weights unless a hash is required: those
    of another network do not load.
    """

    facts = TaggerFacts("ast", 16_000, 163_840, 163_840)

    def weights_sha256(self) -> str:
        return self._digest

    @cached_property
    def _digest(self) -> str:
        file = None if self._weights is None else self._weights / "model.safetensors"
        if file is None or not file.is_file():
            raise CheckpointError(
                f"{file or 'model.safetensors'} is not there; the AST tagger needs a folder of"
                f" {AST_NAME} (config.json, preprocessor_config.json, model.safetensors, 346 MB):"
                " download it and name it with --weights"
            )
        return cached_file_hash(file)

    @cached_property
    def _parts(self) -> tuple["ASTForAudioClassification", "ASTFeatureExtractor"]:
        digest = self.weights_sha256()
        if self._sha256:
            check_hash(str(self._weights), digest, self._sha256, False)
        return _load_ast(str(self._weights), choose_device(self._device))

    def framewise(self, waveform: Float[np.ndarray, "sample"]) -> Float[np.ndarray, "frame label"]:
        network, extractor = self._parts
        inputs = extractor(waveform, sampling_rate=self.facts.sample_rate, return_tensors="pt")
        with torch.inference_mode():
            logits = network(inputs["input_values"].to(network.device)).logits
        return logits.sigmoid().cpu().numpy()


TAGGERS: Mapping[str, Callable[..., Tagger]] = {
    "panns": PannsTagger,
    "ast": AstTagger,
    "musicnn": MusicnnTagger,
}
"""Taggers by name; all are made as `WeightsTagger` is."""


def _load_ast(
    folder: str, device: torch.device
) -> tuple["ASTForAudioClassification", "ASTFeatureExtractor"]:
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    if Path(
        folder, "adapter_config.json"
    ).exists():  # transformers would follow it to another model
        raise CheckpointError(f"{folder} holds an adapter; name the folder of an AST itself")
    try:
        config = ASTConfig.from_dict(without_code(read_json(Path(folder, "config.json"))))
        network = ASTForAudioClassification.from_pretrained(
            folder, config=config, use_safetensors=True, local_files_only=True
        )
        extractor = ASTFeatureExtractor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder} is not the folder of an AST ({error}); get it again"
        ) from error
    if network.config.num_labels != NUM_LABELS:
        raise CheckpointError(
            f"{folder} knows {network.config.num_labels} classes, not AudioSet's {NUM_LABELS};"
            f" use {AST_NAME}"
        )
    nn.Module.to(network.eval(), device)
    return network, extractor


def existing_weights(path: Path | None) -> Path:
    """Return the path of PANNs' weights: the given file, or the published one in the given or usual folder of weights.

    Raises:
        CheckpointError: the file is missing; the message names the one that is needed and its source.
    """
    if path is not None and path.is_file():
        return path
    return find_weights("panns", path).path


def check_hash(path: str, found: str, wanted: str | None, allow_unknown: bool) -> None:
    """Raise `CheckpointError` unless a file has the wanted hash or, if `wanted` is empty, a known one."""
    if wanted:
        if len(wanted) != 64:
            raise InvalidRequest(f"{wanted!r} is not a SHA-256; give its 64 hexadecimal digits")
        if found != wanted.lower():
            raise CheckpointError(
                f"{path} has the SHA-256 {found}, not {wanted}; fetch the file again"
            )
    elif found not in KNOWN_SHA256 and not allow_unknown:
        raise CheckpointError(
            f"{path} has the unknown SHA-256 {found}; if you trust the file, give that hash with"
            " --weights-sha256, or allow any with --allow-unknown-weights"
        )


def check_pin(folder: Path, path: Path | None, found: str, allow_unknown: bool) -> None:
    """Compare the hash of a file with the one that this curation trusted first.

    With `allow_unknown` and no pin yet, the hash becomes the pin; `PIN_NAME` in the folder holds it.

    Raises:
        CheckpointError: the file is unknown and not allowed, or another one was trusted before.
        ResourceError: the pin can't be read or written.
    """
    pin = folder / PIN_NAME
    trusted = _read_pin(pin)
    if trusted == found:
        return
    if trusted:
        raise CheckpointError(
            f"{path} has the SHA-256 {found}, but this curation trusts {trusted}; use that file, or remove"
            f" {pin} to trust another"
        )
    check_hash(str(path), found, None, allow_unknown)
    if found not in KNOWN_SHA256:
        with whole_file(pin) as file:
            file.write(json.dumps({"panns": found}).encode() + b"\n")


def _read_pin(pin: Path) -> str | None:
    if not pin.is_file():
        return None
    try:
        trusted = parse_json(pin.read_bytes())["panns"]
    except (OSError, *SHAPE_ERRORS) as error:
        raise ResourceError(f"{pin} can't be read ({error}); remove it to pin again") from error
    if not re.fullmatch(r"[0-9a-f]{64}", str(trusted)):
        raise ResourceError(f"{pin} holds no SHA-256; remove it to pin again")
    return trusted
