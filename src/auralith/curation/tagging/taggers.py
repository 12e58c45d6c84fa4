"""The taggers behind the protocol: PANNs at 100 frames a second, AST (Gong et al. 2021) with one frame per clip.

Both load their weights at the first use, on the device that is named.
"""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from auralith.checkpoints.tensors import read_json
from auralith.checkpoints.text_encoder import without_code
from auralith.curation.tagging.classes import NUM_LABELS
from auralith.curation.tagging.frontend import HOP, SAMPLE_RATE
from auralith.curation.tagging.tagger import TaggerFacts
from auralith.curation.tagging.weights import (
    check_hash,
    existing_weights,
    read_panns,
)
from auralith.errors import CheckpointError
from auralith.files import file_hash
from auralith.resources import choose_device

if TYPE_CHECKING:
    from transformers import ASTFeatureExtractor, ASTForAudioClassification

AST_NAME = "MIT/ast-finetuned-audioset-10-10-0.4593"


class PannsTagger:
    """Cnn14_DecisionLevelMax on windows of 10 s, its training length."""

    facts = TaggerFacts("panns", SAMPLE_RATE, 10 * SAMPLE_RATE, HOP)

    def __init__(
        self,
        weights: Path | None,
        *,
        sha256: str | None = None,
        allow_unknown: bool = False,
        device: str = "auto",
    ) -> None:
        self._weights, self._sha256, self._allow_unknown = weights, sha256, allow_unknown
        self._device = device

    def weights_sha256(self) -> str:
        return self._found[1]

    @cached_property
    def _found(self) -> tuple[Path, str]:
        path = existing_weights(self._weights)
        return path, file_hash(path)

    @cached_property
    def _network(self) -> nn.Module:
        path, digest = self._found
        check_hash(str(path), digest, self._sha256, self._allow_unknown)
        return read_panns(path).to(choose_device(self._device))

    def framewise(self, waveform: Float[np.ndarray, "sample"]) -> Float[np.ndarray, "frame label"]:
        """The frames that begin in the window; the network makes one more, centered on its end."""
        device = next(self._network.parameters()).device
        with torch.inference_mode():
            framewise = self._network(torch.from_numpy(waveform)[None].to(device)).framewise[0]
        return framewise[: self.facts.frames_per_window].cpu().numpy()


class AstTagger:
    """The Audio Spectrogram Transformer through transformers, from a folder that `save_pretrained` wrote.

    It says for a clip of 10.24 s what is in it, not when: its frame is its window.
    """

    facts = TaggerFacts("ast", 16_000, 163_840, 163_840)

    def __init__(
        self, weights: Path | None, *, sha256: str | None = None, device: str = "auto"
    ) -> None:
        self._folder, self._sha256, self._device = weights, sha256, device

    def weights_sha256(self) -> str:
        return self._digest

    @cached_property
    def _digest(self) -> str:
        file = None if self._folder is None else self._folder / "model.safetensors"
        if file is None or not file.is_file():
            raise CheckpointError(
                f"{file or 'model.safetensors'} is not there; the AST tagger needs a folder of"
                f" {AST_NAME} (config.json, preprocessor_config.json, model.safetensors, 346 MB):"
                " download it and name it with --weights"
            )
        return file_hash(file)

    @cached_property
    def _parts(self) -> tuple["ASTForAudioClassification", "ASTFeatureExtractor"]:
        digest = self.weights_sha256()
        if self._sha256:
            check_hash(str(self._folder), digest, self._sha256, False)
        return _load_ast(str(self._folder), choose_device(self._device))

    def framewise(self, waveform: Float[np.ndarray, "sample"]) -> Float[np.ndarray, "frame label"]:
        network, extractor = self._parts
        inputs = extractor(waveform, sampling_rate=self.facts.sample_rate, return_tensors="pt")
        with torch.inference_mode():
            logits = network(inputs["input_values"].to(network.device)).logits
        return logits.sigmoid().cpu().numpy()


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
        raise CheckpointError(f"{folder} is no folder of an AST ({error}); get it again") from error
    if network.config.num_labels != NUM_LABELS:
        raise CheckpointError(
            f"{folder} knows {network.config.num_labels} classes, not AudioSet's {NUM_LABELS};"
            f" use {AST_NAME}"
        )
    nn.Module.to(network.eval(), device)
    return network, extractor
