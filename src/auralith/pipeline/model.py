"""From a request to a waveform: condition, denoise, decode, trim.

`Auralith` is a loaded model. `denoising_steps` is the whole loop as a generator, so that progress, preview and
cancellation are the caller's `for`; `generate` and `generate_batch` run it to the end. Requests of a batch that differ
in more than prompt, conditions, seconds and seed are run one group after another: an item's audio depends on its own
request only.
"""

import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from auralith import __version__
from auralith.adapter_effect import active_set
from auralith.checkpoints import (
    Applied,
    Checkpoint,
    Choice,
    adapter_warnings,
    open_adapters,
    transformers_by_set,
    with_adapters,
)
from auralith.conditioning import Conditioner, MaskedInput
from auralith.diffusion import OBJECTIVES, Guidance, Predictor
from auralith.edits import Edit, SourceFile
from auralith.errors import InvalidRequest, shown
from auralith.exports import ExportedTransformer
from auralith.guided import guided
from auralith.models.compiled import compile_blocks
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.latent_codec import LatentCodec
from auralith.noise import ItemStreams, NoiseStream, ReferenceNoise
from auralith.numbers import plain_number
from auralith.prompt_embedding import PromptEmbedding, encodable
from auralith.provenance import AdapterUse, Provenance
from auralith.request import GenerationRequest, check_prompt
from auralith.resolution import Resolver, known
from auralith.resources import NumberFormat, require_memory
from auralith.result import Audio, faded_chunks, finished
from auralith.samplers import Step
from auralith.samplers.repaint import repainted_steps
from auralith.samplers.step import finite_steps, in_inference_mode
from auralith.sound.arrays import AnyLatents, AnyWaveform, batched, latents_of, waveforms_of
from auralith.stages import stage
from auralith.steering import UNSTEERED, Steering

STREAM_FRAMES = 64
log = logging.getLogger(__name__)


class Auralith(Resolver):
    """A loaded model, driven by `GenerationRequest`s."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        name: str,
        device: torch.device,
        number_format: NumberFormat,
        adapters: Sequence[Applied] = (),
        parts: Mapping[tuple[int, ...], DiffusionTransformer[Any]] | None = None,
        *,
        is_compiled: bool = False,
    ) -> None:
        """`adapters` says which ones are merged into the checkpoint already.

        Where some act at some noise levels only, `parts` has the transformer with each set of them that acts together.
        With `is_compiled` torch compiles the transformer's blocks, in place, when they are first called.
        """
        is_export = isinstance(checkpoint.dit, ExportedTransformer)
        super().__init__(checkpoint.config, is_export=is_export)
        self.checkpoint, self.name, self.adapters = checkpoint, name, tuple(adapters)
        self.device, self.number_format, self.dtype = device, number_format, number_format.dtype
        self.parts = dict(parts or {})
        self.dit, self.autoencoder = checkpoint.dit, checkpoint.autoencoder
        self.codec = LatentCodec(self.autoencoder, checkpoint.config.latent_scale)
        self.conditioner = Conditioner(checkpoint.config, checkpoint.numbers, checkpoint.text)
        self.is_compiled = is_compiled
        if is_compiled:
            for dit in self.transformers:
                compile_blocks(dit, device)

    def with_adapters(self, adapters: Sequence[Choice]) -> "Auralith":
        """The model with these (file, strength or `AdapterEffect`) merged into it in place of those it has now.

        What no adapter changes is shared with this one, which stays as it is. Raises as `load` does.
        """
        return self.with_applied(open_adapters(adapters))

    def with_applied(self, applied: Sequence[Applied]) -> "Auralith":
        """Return the model with adapters that are opened already, as `with_adapters` otherwise."""
        checkpoint = with_adapters(self.checkpoint, applied, self.adapters)
        for warning in adapter_warnings(applied, checkpoint.model_hash):
            log.warning(warning)
        parts = transformers_by_set(checkpoint, applied)
        where = (self.name, self.device, self.number_format)
        return Auralith(checkpoint, *where, applied, parts, is_compiled=self.is_compiled)

    @property
    def transformers(self) -> tuple[DiffusionTransformer[Any], ...]:
        """The transformer, with adapters that act at some noise levels only several of them."""
        return (self.dit, *self.parts.values())

    def _dit_at(self, level: float) -> DiffusionTransformer[Any]:
        return self.parts[active_set([one.effect for one in self.adapters], level)]

    def generate(
        self, request: GenerationRequest, on_step: Callable[[Step], None] | None = None
    ) -> Audio:
        """Return the sound of one request. What `on_step` raises ends the generation and reaches the caller."""
        return self.generate_batch([request], on_step)[0]

    def generate_batch(
        self,
        requests: Sequence[GenerationRequest],
        on_step: Callable[[Step], None] | None = None,
    ) -> list[Audio]:
        """The sounds of several requests, in their order. `on_step` is called after every step of every group."""
        resolved = [self.resolve(request) for request in requests]
        sounds: dict[int, Audio] = {}
        for indices in self.groups(resolved):
            group = [resolved[index] for index in indices]
            sounds.update(zip(indices, self._generate_group(group, on_step), strict=True))
        return [sounds[index] for index in range(len(resolved))]

    def stream(
        self,
        request: GenerationRequest,
        on_step: Callable[[Step], None] | None = None,
        chunk_frames: int = STREAM_FRAMES,
    ) -> Iterator[Float[Tensor, "channel sample"]]:
        """The sound of one request, piece by piece as it is decoded; together they are what `generate` gives.

        A piece has `chunk_frames` latent frames, the last one what is left. The first comes after all steps: they are
        walked, and `on_step` is called, when it is asked for. Resolve the request first to know its seed.
        Raises as `denoising_steps` does, and `InvalidRequest` at once for less than one frame.
        """
        frames = plain_number(chunk_frames)
        if not isinstance(frames, int) or frames < 1:
            raise InvalidRequest(
                f"chunk_frames is {shown(chunk_frames)}; give a whole number, at least 1"
            )
        return self._stream(self.resolve(request), on_step, frames)

    def denoising_steps(
        self, requests: Sequence[GenerationRequest], steering: Steering = UNSTEERED
    ) -> Generator[Step]:
        """Every step of a batch whose requests may differ in prompts, conditions, seconds and seed only.

        Raises:
            InvalidRequest: the requests can't share a batch, or the model can't do what one of them asks for.
            NonFiniteError: the latents became NaN or infinite; the message names the step.
        """
        resolved = [self.resolve(request) for request in requests]
        if len(self.groups(resolved)) != 1:
            raise InvalidRequest(
                "requests of one batch may differ in prompt, conditions, seconds and seed only"
            )
        return in_inference_mode(self._denoise(resolved, steering))

    def denoise(
        self,
        requests: Sequence[GenerationRequest],
        steering: Steering = UNSTEERED,
        on_step: Callable[[Step], None] | None = None,
    ) -> Float[Tensor, "batch channel frame"]:
        """Return the latents at the end of `denoising_steps`.

        What `on_step` raises ends the work there and reaches the caller; the model can be used again at once.
        """
        latents = None
        with (
            stage("denoising", self.device),
            closing(self.denoising_steps(requests, steering)) as steps,
        ):
            for step in steps:
                latents = step.x
                if on_step is not None:
                    on_step(step)
        assert latents is not None  # a schedule has at least one step
        return latents.clone()  # outside inference mode: the caller may change them

    @torch.no_grad()
    def encode_prompt(self, text: str) -> PromptEmbedding:
        """Return a prompt as the model understands it, to be given in its place, mixed (`mix_prompts`) or changed.

        Raises `InvalidRequest` for anything but a prompt.
        """
        check_prompt("prompt", text)
        return self.conditioner.embed([text])[0]

    @torch.no_grad()
    def decode(self, latents: AnyLatents) -> Float[Tensor, "*batch audio_channel sample"]:
        """Return the waveform of latents, (channel, frame) or a batch, with the same axes; float32, decoded in tiles.

        Raises `InvalidRequest` for other axes, and for another number of channels than the model's latents have.
        """
        return self._decoded(latents, self.codec.decode)

    @torch.no_grad()
    def decode_circular(self, latents: AnyLatents) -> Float[Tensor, "*batch audio_channel sample"]:
        """Return the waveform of latents that are one turn of a loop, as `decode` otherwise."""
        return self._decoded(latents, self.codec.decode_circular)

    @torch.no_grad()
    def encode(
        self, waveform: AnyWaveform, noise: AnyLatents | None = None
    ) -> Float[Tensor, "*batch latent frame"]:
        """Return the latents of sounds at the model's sample rate; float32, encoded in tiles.

        A waveform is (sample,), (channel, sample) or (batch, channel, sample), a tensor or a numpy array, in floats
        with full scale ±1 or PCM in int16, int32 or uint8. Mono goes to every channel. Without a batch axis there, the
        latents have none. The mean of the posterior, or a sample of it where unit normal `noise` is given. The waveform
        is padded with silence to whole frames.

        Raises:
            InvalidRequest: the axes, the channels or the kind of numbers are others, or the noise does not fit.
            AudioError: samples are not finite, or on the scale of integers.
        """
        batch = waveforms_of(waveform, channels=self.config.audio.channels)
        missing = -batch.shape[-1] % self.config.audio.samples_per_frame
        with stage("encoding", self.device):
            posterior = self.codec.encode(torch.nn.functional.pad(batch, (0, missing)))
        latents = posterior.mean
        if noise is not None:
            latents = posterior.sample(self._fitting(noise, latents.shape, "the noise").float())
        return latents if batched(waveform) else latents[0]

    def _decoded(
        self, latents: AnyLatents, decode: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "*batch audio_channel sample"]:
        batch = latents_of(latents, self.config.audio.latent_channels)
        with stage("decoding", self.device):
            waveform = decode(batch).float()
        return waveform if batched(latents) else waveform[0]

    def _fitting(
        self, latents: AnyLatents, shape: tuple[int, ...], name: str
    ) -> Float[Tensor, "batch channel frame"]:
        """Return latents of exactly this shape on the model's device. Raise `InvalidRequest` for another."""
        found = latents_of(latents, self.config.audio.latent_channels, name)
        if found.shape != shape:
            raise InvalidRequest(
                f"{name} has shape {tuple(latents.shape)}; (batch, channel, frame) must be {tuple(shape)} here"
            )
        return found.to(self.device)

    def _generate_group(
        self, group: list[GenerationRequest], on_step: Callable[[Step], None] | None
    ) -> list[Audio]:
        sizes = [self.num_samples(item) for item in group]
        waveforms = self._waveforms(group, max(sizes), on_step).cpu()
        return [
            self.audio(waveforms[index, :, :size], self.provenance(item, index, len(group)))
            for index, (size, item) in enumerate(zip(sizes, group, strict=True))
        ]

    def _waveforms(
        self,
        group: list[GenerationRequest],
        num_samples: int,
        on_step: Callable[[Step], None] | None,
    ) -> Float[Tensor, "batch audio_channel sample"]:
        """Return sounds of at least so many samples; padded as the reference pads, also what it draws in decoding."""
        padded = self.padded_frames(group)
        if padded is None:
            latents = self.denoise(group, on_step=on_step)
            frames = self.frames_to_decode(num_samples, latents.shape[-1])
            return self.decode(latents[..., :frames])
        streams = self._reference_noise(group, padded)
        latents = self.denoise(group, Steering(streams=streams), on_step)
        with stage("decoding", self.device), torch.no_grad():
            return self.codec.decode_as_reference(latents, streams.draw).float()

    def _stream(
        self,
        request: GenerationRequest,
        on_step: Callable[[Step], None] | None,
        chunk_frames: int,
    ) -> Iterator[Float[Tensor, "channel sample"]]:
        latents = self.denoise([request], on_step=on_step)
        size = self.num_samples(request)
        chunks = self._chunks(latents, size, chunk_frames)
        rate, clamp = self.config.audio.sample_rate, self.clamps(request)
        yield from faded_chunks(chunks, request, size, rate, clamp=clamp)

    def _chunks(
        self, latents: Float[Tensor, "one channel frame"], size: int, chunk_frames: int
    ) -> Iterator[Float[Tensor, "channel sample"]]:
        """Yield the first `size` samples of a sound, each piece as it is decoded."""
        wanted = latents[..., : self.frames_to_decode(size, latents.shape[-1])]
        tiles = self.codec.pieces(wanted, chunk_frames)
        while size:
            with torch.inference_mode():  # left before the caller has the piece
                chunk = next(tiles)[0, :, :size].float().cpu().contiguous()
            size -= chunk.shape[-1]
            yield chunk

    def frames_to_decode(self, num_samples: int, num_frames: int) -> int:
        """Only the frames that the wanted samples depend on."""
        return self.codec.frames_needed(self.config.audio.num_frames(num_samples), num_frames)

    def provenance(
        self,
        request: GenerationRequest,
        batch_index: int = 0,
        batch_size: int = 1,
        edit: Edit | None = None,
        source: SourceFile | None = None,
    ) -> Provenance:
        """The origin of what this model makes of a resolved request."""
        return Provenance(
            generator=f"auralith {__version__}",
            model=self.name,
            model_hash=self.checkpoint.model_hash,
            device=self.device.type,
            dtype=self.number_format.name,
            batch_index=batch_index,
            batch_size=batch_size,
            settings=request,
            adapters=tuple(
                AdapterUse(used.adapter.name, used.adapter.file_hash, **vars(used.effect))
                for used in self.adapters
            ),
            edit=edit,
            source=source,
            compiled=self.is_compiled,
        )

    def audio(
        self,
        waveform: Float[Tensor, "channel sample"],
        provenance: Provenance,
        sample_rate: int | None = None,
        subtype: str | None = None,
    ) -> Audio:
        """Return a result with its fades, checked; raise `NonFiniteError`. The rate is the model's if None."""
        rate = sample_rate or self.config.audio.sample_rate
        clamp = self.clamps(provenance.settings) and not provenance.is_of_sound
        found = finished(waveform, rate, provenance, subtype, clamp=clamp)
        unknown = self.unknown_words(provenance.settings)
        if not unknown:
            return found
        return replace(found, warnings=(*found.warnings, f"it does not know: {', '.join(unknown)}"))

    def unknown_words(self, request: GenerationRequest) -> list[str]:
        """Return the words of a request's prompts that the model has not learned; none where that can't be told."""
        if self.checkpoint.text is None:
            return []
        given = (*(prompt for _, prompt in request.mixture), request.negative_prompt or "")
        texts = (prompt if isinstance(prompt, str) else prompt.text for prompt in given)
        return self.checkpoint.text.unknown_words(texts)

    def _denoise(self, group: list[GenerationRequest], steering: Steering) -> Generator[Step]:
        first, padded = group[0], self.padded_frames(group)
        num_frames = padded or self.num_frames(first)
        if padded is None and not steering.leads:
            room = self.config.sampling.room_frames
            num_frames = min(num_frames + room, self.config.window_frames)
        self._require_memory(len(group), num_frames)
        init_latents = steering.init_latents
        if init_latents is not None:
            shape = (len(group), self.config.audio.latent_channels, num_frames)
            init_latents = self._fitting(init_latents, shape, "init_latents")
        steps = repainted_steps(
            self.sampler(first),
            steering.constrain(self._predictor(group, num_frames, steering.shown, padded)),
            self.schedule(first),
            steering.streams or self._streams(group, num_frames),
            init_latents,
            steering.passes,
        )
        yield from finite_steps(steps)

    def _predictor(
        self,
        group: list[GenerationRequest],
        num_frames: int,
        shown: MaskedInput | None,
        padded: int | None,
    ) -> Predictor:
        """The guided network for a group. What stays the same over the steps is computed here, once."""
        guidance = self.guidance(group[0])
        with stage("text", self.device):
            context, global_embed = self._conditions(group, guidance)
        rows = global_embed.shape[0] // len(group)
        extra = None if shown is None else shown.channels(self.config.input_ids, rows)
        lengths = None if padded is None else [self.num_frames(item) for item in group]
        network = (self.dit, OBJECTIVES[self.config.objective], guidance, len(group))
        dit_at = self._dit_at if self.parts else None
        threshold = known(group[0].cache_threshold)
        return guided(
            *network, context, global_embed, num_frames, extra, lengths, dit_at, threshold
        )

    def _conditions(
        self, group: list[GenerationRequest], guidance: Guidance
    ) -> tuple[Tensor, Tensor]:
        """Return the context and the global vectors of a group, those of guidance behind them."""
        prompts = [self.conditioner.mix(item.mixture) for item in group]
        negatives = [encodable(item.negative_prompt or "") for item in group]
        conditioning = self.conditioner.both(
            prompts,
            negatives if group[0].negative_prompt else None,
            self.numbers(group),
            guided=guidance.scale != 1,
        )
        return conditioning.context.to(self.dtype), conditioning.global_embed.to(self.dtype)

    def _streams(self, group: list[GenerationRequest], num_frames: int) -> NoiseStream:
        if group[0].noise == "reference":
            return self._reference_noise(group, num_frames)
        seeds = [known(item.seed) for item in group]
        return ItemStreams(seeds, (self.config.audio.latent_channels, num_frames), self.device)

    def _reference_noise(self, group: list[GenerationRequest], num_frames: int) -> ReferenceNoise:
        shape = (len(group), self.config.audio.latent_channels, num_frames)
        return ReferenceNoise(known(group[0].seed), shape, self.device)

    def _require_memory(self, batch: int, num_frames: int) -> None:
        """Activations of a guided step: the feed-forward's hidden layer and its gate dominate."""
        element = torch.finfo(self.dtype).bits // 8
        needed = 2 * batch * (num_frames + 1) * 20 * self.config.dit.embed_dim * element
        remedy = "generate fewer or shorter sounds at once"
        require_memory(needed, self.device, f"a batch of {batch}", remedy)
