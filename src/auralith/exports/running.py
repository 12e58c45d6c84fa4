"""An export in the place of a checkpoint: the same networks by the same interfaces, computed by OpenVINO on a CPU.

Only this room knows of it. What has no graph stays in torch: the autoencoder's encoder, the synthesis of the embedded
model, and the small networks of the conditions.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from auralith.checkpoints import Checkpoint
from auralith.config import ModelConfig
from auralith.errors import CheckpointError, InvalidRequest
from auralith.exports.manifest import (
    AGAIN,
    REST,
    TOKENIZER,
    Manifest,
    manifest_hash,
    read_manifest,
)
from auralith.exports.openvino import CompiledGraph, compiled
from auralith.exports.ports import (
    CONDITIONER,
    DECODER,
    PREPARE,
    ROWS,
    STEP,
    TEXT_ENCODER,
    Port,
)
from auralith.families.family import Spec, rename
from auralith.families.registry import condition_kind, condition_networks, prefixes
from auralith.models.autoencoder import Autoencoder, Draw, Oobleck
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.lazy_tensor import Weights, meta_device, require_tensors, weights_of
from auralith.models.same import Same
from auralith.models.spectral import Spectral, SpectralPrediction, Spectrum
from auralith.models.step_cache import StepCache
from auralith.models.text_network import TextNetwork
from auralith.network_config import OobleckConfig, SameConfig, SpectralConfig
from auralith.tensor_files import read_safetensors
from auralith.text.encoder import TextEncoder
from auralith.text.tokenizer import open_tokenizer

CPU = torch.device("cpu")


def open_export(folder: Path) -> Checkpoint:
    """Return the model of an export, whose networks OpenVINO computes.

    Raises:
        CheckpointError: it is damaged, incomplete, of another version, or its graphs are not those of its manifest.
        MissingExtra: openvino is not installed.
    """
    manifest = read_manifest(folder)
    graphs = {
        name: _opened(folder, name, manifest) for name in manifest.graphs if name != CONDITIONER
    }
    rest = read_safetensors(folder / REST)
    config = _as_stored(manifest.config, rest)
    networks = _rest_networks(config, graphs[DECODER], rest, folder / REST)
    tokenizer = open_tokenizer(folder / TOKENIZER, has_special_tokens=manifest.has_special_tokens)
    text = ExportedText(graphs[TEXT_ENCODER], manifest.vocabulary, manifest.states_width)
    hashing: Future[str] = Future()
    hashing.set_result(manifest_hash(folder))
    return Checkpoint(
        config=config,
        autoencoder=networks.autoencoder,
        dit=ExportedTransformer(graphs[PREPARE], graphs[STEP], manifest),
        numbers=networks.numbers,
        text=TextEncoder(text, tokenizer),
        hashing=hashing,
        source=str(folder),
        folder=folder,
    )


def _opened(folder: Path, name: str, manifest: Manifest) -> CompiledGraph:
    """Return a graph's network. Raises CheckpointError if it has other inputs or outputs than the manifest says."""
    stored = manifest.graphs[name]
    network = compiled(folder / stored.file)
    for ports, found in (
        (stored.inputs, network.network.inputs),
        (stored.outputs, network.network.outputs),
    ):
        if len(ports) != len(found) or not all(
            port.name in one.names and len(port.axes) == len(one.partial_shape)
            for port, one in zip(ports, found, strict=True)
        ):
            raise CheckpointError(
                f"{folder / stored.file} has other inputs or outputs than its manifest says; {AGAIN}"
            )
    return network


def _as_stored(config: ModelConfig, rest: Weights) -> ModelConfig:
    """Return the config with what only the tensors of the conditions tell."""
    table = prefixes(Spec.of(config), "ours", "single_file")
    published = {target: t for name, t in rest.items() if (target := rename(name, table))}
    conditions = tuple(
        condition_kind(config, one).as_stored(one, published, config.condition_dim)
        for one in config.conditions
    )
    return replace(config, conditions=conditions)


def is_in_graph(name: str) -> bool:
    """Return whether a weight of autoencoder or conditions is in a graph alone."""
    return name.startswith("autoencoder.decoder.")


class _Rest(nn.Module):
    def __init__(self, autoencoder: Autoencoder, numbers: nn.ModuleDict) -> None:
        super().__init__()
        self.autoencoder, self.numbers = autoencoder, numbers


def _rest_networks(config: ModelConfig, decoder: CompiledGraph, rest: Weights, path: Path) -> _Rest:
    make = AUTOENCODERS[type(config.autoencoder)]
    with meta_device():
        networks = _Rest(make(config.autoencoder, decoder), condition_networks(config))
    whole = networks.state_dict()
    expected = {name: t for name, t in whole.items() if not is_in_graph(name)}
    require_tensors(rest, weights_of(expected), path, remedy=AGAIN)
    state = {name: t.load(CPU, expected[name].dtype) for name, t in rest.items()}
    networks.load_state_dict(state, strict=False, assign=True)  # the decoder has no weights
    return networks.eval()


class ExportedText(TextNetwork):
    """A text encoder whose embedding tells sizes alone."""

    def __init__(self, graph: CompiledGraph, vocabulary: int, width: int) -> None:
        super().__init__()
        self.graph, self._embedding = graph, nn.Embedding(vocabulary, width, device="meta")

    @property
    def embedding(self) -> nn.Embedding:
        return self._embedding

    @property
    def device(self) -> torch.device:
        return CPU

    def forward(
        self, ids: Int[Tensor, "batch token"], mask: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token dim"]:
        return self.graph(ids, mask)[0]


# --- the transformer ---


@dataclass(frozen=True)
class ExportedPrepared:
    """The inputs of `step` that stay the same over all steps, with their ports."""

    tensors: Mapping[Port, Tensor]

    def rows(self, selection: slice) -> "ExportedPrepared":
        """Return the same for some rows of the batch alone."""
        return ExportedPrepared({p: _rows(p, t, selection) for p, t in self.tensors.items()})


def _rows(port: Port, values: Tensor, selection: slice) -> Tensor:
    chosen = tuple(selection if axis in ROWS else slice(None) for axis in port.axes)
    return values[chosen].contiguous()


class ExportedTransformer(DiffusionTransformer[ExportedPrepared]):
    """A transformer of two graphs, in float32 but for the large products of a quantized one."""

    def __init__(self, prepare: CompiledGraph, step: CompiledGraph, manifest: Manifest) -> None:
        super().__init__()
        self.prepare_graph, self.step_graph = prepare, step
        self.prepare_ports = manifest.graphs[PREPARE].inputs
        self.shared_ports = manifest.graphs[STEP].inputs[2:]
        self.most_frames = manifest.most_frames

    def prepare(
        self,
        context: Float[Tensor, "context_row token context_dim"] | None,
        global_embed: Float[Tensor, "batch global_dim"],
        num_frames: int,
        extra: Float[Tensor, "batch extra frame"] | None = None,
        valid: Bool[Tensor, "batch frame"] | None = None,
        *,
        keeps_keys: bool = False,
    ) -> ExportedPrepared:
        """Compute what all steps share. Raises InvalidRequest for what an export has no graph for."""
        if context is None:
            raise InvalidRequest("an export needs a context; use the model it was made from")
        if valid is not None:
            raise InvalidRequest(
                "an export has no mask for padding, which the reference's noise needs here; leave --noise out, or use "
                "the model it was made from"
            )
        if num_frames > self.most_frames:
            raise InvalidRequest(
                f"an export takes at most {self.most_frames} latent frames, not {num_frames}; ask for less at once"
            )
        given = {"context": context.float(), "global_vector": global_embed.float()}
        known = {port.name: port for port in (*self.prepare_ports, *self.shared_ports)}
        if "extra" in known:
            given["extra"] = self._extra(known["extra"], extra, len(global_embed), num_frames)
        made = self.prepare_graph(*(given[port.name] for port in self.prepare_ports))
        # outputs bear the names of the inputs that they become
        given |= {port.name: t for port, t in zip(self.shared_ports, made, strict=False)}
        return ExportedPrepared({port: given[port.name] for port in self.shared_ports})

    def _extra(self, port: Port, extra: Tensor | None, batch: int, num_frames: int) -> Tensor:
        if extra is not None:
            return extra.float()
        channels, frames = port.axes[1], num_frames if port.axes[2] == "frame" else 1
        assert isinstance(channels, int)
        return torch.zeros(batch, channels, frames)

    def step(
        self,
        latents: Float[Tensor, "batch channel frame"],
        t: Float[Tensor, " batch"],
        prepared: ExportedPrepared,
        cache: StepCache | None = None,
    ) -> Float[Tensor, "batch channel frame"]:
        """Return one evaluation. There can't be a cache, which needs the blocks one by one: `Resolver` refuses it."""
        assert cache is None
        shared = (prepared.tensors[port] for port in self.shared_ports)
        return self.step_graph(latents.float(), t.float(), *shared)[0]

    def enter(
        self,
        latents: Float[Tensor, "batch channel frame"],
        t: Float[Tensor, " batch"],
        prepared: ExportedPrepared,
    ) -> NoReturn:
        _not_trained()

    def block_inputs(
        self,
        index: int,
        modulation: Float[Tensor, "batch six_dims"] | None,
        prepared: ExportedPrepared,
    ) -> NoReturn:
        _not_trained()

    def kept_widths(self, *, adapted: bool, half: bool, checkpointed: bool) -> float:
        _not_trained()

    def reset_parameters(self) -> None:
        _not_trained()


def _not_trained() -> NoReturn:
    raise CheckpointError("an export can't be trained; train the model it was made from")


# --- decoders ---


class ExportedOobleck(Oobleck):
    def __init__(self, config: OobleckConfig, graph: CompiledGraph) -> None:
        super().__init__(config)
        self.decoder = graph

    def decode(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        return self.decoder(latents)[0]


class ExportedSame(Same):
    def __init__(self, config: SameConfig, graph: CompiledGraph) -> None:
        super().__init__(config)
        self.decoder = graph

    def _decode(
        self, latents: Float[Tensor, "batch channel frame"], draw: Draw | None
    ) -> Float[Tensor, "batch audio_channel sample"]:
        if draw is not None:
            raise InvalidRequest(
                "an export decodes without the noise of the reference; use the model it was made from"
            )
        return self.decoder(latents)[0]


class ExportedSpectral(Spectral):
    def __init__(self, config: SpectralConfig, graph: CompiledGraph) -> None:
        super().__init__(config)
        self.decoder = graph

    def predict(self, latents: Float[Tensor, "batch channel frame"]) -> SpectralPrediction:
        level, stereo, scale = self.decoder(latents)
        return SpectralPrediction(Spectrum(level, stereo), scale)


AUTOENCODERS: Mapping[type, Callable[[Any, CompiledGraph], Autoencoder]] = {
    OobleckConfig: ExportedOobleck,
    SameConfig: ExportedSame,
    SpectralConfig: ExportedSpectral,
}
