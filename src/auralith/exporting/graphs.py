"""A model cut into graphs: networks with named tensors as inputs and outputs, whose batch and lengths may be any.

`auralith.exports.ports` lists them. `step` holds the rotary table of the longest window, so no runtime computes angles of positions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from auralith.checkpoints import Checkpoint
from auralith.conditioning import Router
from auralith.errors import CheckpointError
from auralith.exports.ports import (
    CONDITIONER,
    DECODER,
    PREPARE,
    STEP,
    TEXT_ENCODER,
    Port,
)
from auralith.models import dit as prepending
from auralith.models import memory_dit as memorizing
from auralith.models.attention import KeyValue, Rotary, rotary_table
from auralith.models.autoencoder import Autoencoder, Oobleck
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.dit import DiT
from auralith.models.embedders import GeometricFeatures
from auralith.models.memory_dit import MemoryDiT
from auralith.models.same import Same
from auralith.models.spectral import Spectral
from auralith.models.t5 import Stack as T5Stack
from auralith.models.text_network import TextNetwork
from auralith.text.encoder import TextStates


@dataclass(frozen=True, eq=False)
class Graph:
    """A network whose arguments and results are tensors."""

    name: str
    module: nn.Module
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def example(self, sizes: Mapping[str, int], seed: int = 0) -> tuple[Tensor, ...]:
        """Return random inputs whose named axes have these sizes; whole numbers are 0 or 1, the first one 1, and times up to 1."""
        generator = torch.Generator().manual_seed(seed)
        values = []
        for port in self.inputs:
            shape = [sizes[axis] if isinstance(axis, str) else axis for axis in port.axes]
            if port.is_integer:
                drawn = torch.randint(2, shape, generator=generator)
                drawn[:, 0] = 1  # a mask has a real token
                values.append(drawn)
            elif port.name == "t":
                values.append(torch.rand(shape, generator=generator))
            else:
                values.append(torch.randn(shape, generator=generator))
        return tuple(values)


def graphs_of(checkpoint: Checkpoint) -> tuple[Graph, ...]:
    """Return the graphs of a model, in float32. Raises CheckpointError for networks that have none."""
    config = checkpoint.config
    for networks in (checkpoint.dit, checkpoint.numbers, checkpoint.text.model):
        _hold_tables(networks, config.text.max_tokens)
    prepare = _entry(PREPARED, checkpoint.dit)(checkpoint.dit, config.window_frames)
    decoder = _entry(DECODERS, checkpoint.autoencoder)(checkpoint.autoencoder)
    return (_text_encoder(checkpoint), _conditioner(checkpoint), *prepare, decoder)


def _hold_tables(networks: nn.Module, num_tokens: int) -> None:
    """Let tables be constants of the graphs, as torch computes them: runtimes would round them otherwise."""
    for network in networks.modules():
        if isinstance(network, GeometricFeatures):
            network.hold(torch.device("cpu"))
        elif isinstance(network, T5Stack):
            network.hold(num_tokens)


def _entry(table: Mapping[type, Callable[..., Any]], network: nn.Module) -> Callable[..., Any]:
    found = next((make for kind, make in table.items() if isinstance(network, kind)), None)
    if found is None:
        raise CheckpointError(
            f"a {type(network).__name__} can't be exported; use a model of Stable Audio or the embedded one"
        )
    return found


# --- text and numbers ---


class TextGraph(nn.Module):
    """A text encoder with padding set to zero."""

    def __init__(self, model: TextNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, ids: Int[Tensor, "batch token"], mask: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token dim"]:
        return self.model(ids, mask) * mask.unsqueeze(-1)


def _text_encoder(checkpoint: Checkpoint) -> Graph:
    text, tokens = checkpoint.text, checkpoint.config.text.max_tokens
    ids = Port("ids", ("batch", tokens), is_integer=True)
    states = Port("states", ("batch", tokens, text.width))
    return Graph(TEXT_ENCODER, TextGraph(text.model), (ids, _mask(tokens)), (states,))


def _mask(tokens: int) -> Port:
    return Port("mask", ("batch", tokens), is_integer=True)


class ConditionerGraph(nn.Module):
    """The routing of text and numbers, and the global vector of the null condition."""

    def __init__(self, router: Router) -> None:
        super().__init__()
        self.router, self.networks = router, router.numbers

    def forward(
        self,
        states: Float[Tensor, "batch token dim"],
        mask: Int[Tensor, "batch token"],
        *numbers: Float[Tensor, " batch"],
    ) -> tuple[Tensor, Tensor, Tensor]:
        given = dict(zip(self.router.number_ids, numbers, strict=True))
        found = self.router.assemble(TextStates(states, mask.bool()), given)
        return found.context, found.global_embed, self.router.null(given, states.device)


def _conditioner(checkpoint: Checkpoint) -> Graph:
    config = checkpoint.config
    tokens = config.text.max_tokens
    router = Router(config, checkpoint.numbers)
    # the text's rows, and one of each number
    rows = sum(tokens if name == config.text.id else 1 for name in config.context_ids)
    numbers = [Port(name, ("batch",)) for name in router.number_ids]
    inputs = (Port("states", ("batch", tokens, checkpoint.text.width)), _mask(tokens), *numbers)
    width = len(config.global_ids) * config.condition_dim
    outputs = (
        Port("context", ("batch", rows, config.condition_dim)),
        Port("global_vector", ("batch", width)),
        Port("null_global_vector", ("batch", width)),
    )
    return Graph(CONDITIONER, ConditionerGraph(router), inputs, outputs)


# --- transformers ---


class DiTPrepare(nn.Module):
    def __init__(self, dit: DiT) -> None:
        super().__init__()
        self.dit = dit

    def forward(
        self,
        context: Float[Tensor, "context_row token context_dim"],
        global_vector: Float[Tensor, "batch global_dim"],
    ) -> tuple[Tensor, Tensor, Tensor]:
        prepared = self.dit.prepare(context, global_vector, 1)
        keys, values = zip(*prepared.memories, strict=True)
        return prepared.global_embed, torch.stack(keys), torch.stack(values)


class DiTStep(nn.Module):
    def __init__(self, dit: DiT, most_frames: int) -> None:
        super().__init__()
        self.dit, self.before = dit, dit.config.extra_positions
        self.rotary = RotaryRows(most_frames + self.before, dit.config.rotary_dim)

    def forward(
        self,
        latents: Float[Tensor, "batch channel frame"],
        t: Float[Tensor, " batch"],
        projected: Float[Tensor, "batch global_width"],
        keys: Float[Tensor, "depth context_row head token head_dim"],
        values: Float[Tensor, "depth context_row head token head_dim"],
        extra: Float[Tensor, "batch extra frame"] | None = None,
    ) -> Float[Tensor, "batch channel frame"]:
        memories = tuple(map(KeyValue, keys.unbind(0), values.unbind(0)))
        rotary = self.rotary(latents.shape[-1] + self.before)
        return self.dit.step(latents, t, prepending.Prepared(projected, memories, rotary, extra))


class MemoryPrepare(nn.Module):
    def __init__(self, dit: MemoryDiT) -> None:
        super().__init__()
        self.dit = dit

    def forward(
        self,
        context: Float[Tensor, "context_row token context_dim"],
        global_vector: Float[Tensor, "batch global_dim"],
        extra: Float[Tensor, "batch extra position"],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        prepared = self.dit.prepare(context, global_vector, 1, extra)
        keys = torch.stack([torch.stack([pair.key for pair in m]) for m in prepared.memories])
        values = torch.stack([m[0].value for m in prepared.memories])
        return prepared.global_embed, keys, values, torch.stack(prepared.local)


class MemoryStep(nn.Module):
    def __init__(self, dit: MemoryDiT, most_frames: int) -> None:
        super().__init__()
        self.dit, self.before = dit, dit.config.num_memory_tokens
        self.rotary = RotaryRows(most_frames + self.before, dit.config.rotary_dim)

    def forward(
        self,
        latents: Float[Tensor, "batch channel frame"],
        t: Float[Tensor, " batch"],
        projected: Float[Tensor, "batch dim"],
        keys: Float[Tensor, "depth pair context_row head token head_dim"],
        values: Float[Tensor, "depth context_row head token head_dim"],
        local: Float[Tensor, "depth batch position dim"],
    ) -> Float[Tensor, "batch channel frame"]:
        memories = tuple(
            tuple(KeyValue(key, value) for key in pairs.unbind(0))
            for pairs, value in zip(keys.unbind(0), values.unbind(0), strict=True)
        )
        rotary = self.rotary(latents.shape[-1] + self.before)
        prepared = memorizing.Prepared(projected, memories, rotary, local.unbind(0))
        return self.dit.step(latents, t, prepared)


class RotaryRows(nn.Module):
    """The first rows of a rotary table that was computed once."""

    def __init__(self, positions: int, dim: int) -> None:
        super().__init__()
        table = rotary_table(positions, dim, torch.device("cpu"))
        self.register_buffer("cos", table.cos)
        self.register_buffer("sin", table.sin)
        self.cos: Tensor
        self.sin: Tensor

    def forward(self, positions: int) -> Rotary:
        return Rotary(self.cos[:positions], self.sin[:positions])


def _dit(dit: DiT, most_frames: int) -> tuple[Graph, Graph]:
    config = dit.config
    heads = ("token", config.embed_dim // config.num_heads)
    memory = (config.depth, "context_row", config.num_heads, *heads)
    shared = (
        Port(
            "projected", ("batch", config.global_width if config.global_dim else config.embed_dim)
        ),
        Port("keys", memory),
        Port("values", memory),
    )
    extra = Port("extra", ("batch", config.extra_channels, "frame"))
    given = (extra,) if config.extra_channels else ()
    prepare = Graph(PREPARE, DiTPrepare(dit), _conditions(config), shared)
    return prepare, _step(DiTStep(dit, most_frames), config.latent_channels, (*shared, *given))


def _memory_dit(dit: MemoryDiT, most_frames: int) -> tuple[Graph, Graph]:
    config = dit.config
    heads = (config.num_heads, "token", config.head_dim)
    pairs = 2 if config.differential else 1
    shared = (
        Port("projected", ("batch", config.embed_dim)),
        Port("keys", (config.depth, pairs, "context_row", *heads)),
        Port("values", (config.depth, "context_row", *heads)),
        Port("local", (config.depth, "batch", "position", config.embed_dim)),
    )
    extra = Port("extra", ("batch", config.extra_channels, "position"))
    prepare = Graph(PREPARE, MemoryPrepare(dit), (*_conditions(config), extra), shared)
    return prepare, _step(MemoryStep(dit, most_frames), config.latent_channels, shared)


def _conditions(config: Any) -> tuple[Port, Port]:
    context = Port("context", ("context_row", "token", config.context_dim))
    return context, Port("global_vector", ("batch", config.global_dim))


def _step(module: nn.Module, channels: int, shared: Sequence[Port]) -> Graph:
    latents = ("batch", channels, "frame")
    inputs = (Port("latents", latents), Port("t", ("batch",)), *shared)
    return Graph(STEP, module, inputs, (Port("velocity", latents),))


PREPARED: Mapping[type[DiffusionTransformer[Any]], Callable[..., tuple[Graph, Graph]]] = {
    DiT: _dit,
    MemoryDiT: _memory_dit,
}


# --- decoders ---


class Decode(nn.Module):
    """A decoder from latents to a waveform."""

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        return self.autoencoder.decode(latents)


class Predict(nn.Module):
    """The network of a spectral decoder: levels and scales, and the stereo that latents carry."""

    def __init__(self, autoencoder: Spectral) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        found = self.autoencoder.predict(latents)
        return found.spectrum.level, found.spectrum.stereo, found.scale


def _waveform(autoencoder: Oobleck | Same) -> Graph:
    config = autoencoder.config
    outputs = (Port("waveform", ("batch", config.channels, "sample")),)
    return Graph(DECODER, Decode(autoencoder), (_latents(config),), outputs)


def _spectrum(autoencoder: Spectral) -> Graph:
    config = autoencoder.config
    axes = ("batch", config.bands, "hop")
    stereo = Port("stereo", ("batch", 2 * config.stereo_bands, "frame"))
    outputs = (Port("level", axes), stereo, Port("scale", axes))
    return Graph(DECODER, Predict(autoencoder), (_latents(config),), outputs)


def _latents(config: Any) -> Port:
    return Port("latents", ("batch", config.latent_channels, "frame"))


DECODERS: Mapping[type[Autoencoder], Callable[..., Graph]] = {
    Oobleck: _waveform,
    Same: _waveform,
    Spectral: _spectrum,
}
