"""The result of a generation: the sound with its fades, its origin, and warnings of what is wrong with it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from auralith.content_credentials import ContentSigner
from auralith.errors import NonFiniteError
from auralith.provenance import Provenance
from auralith.request import GenerationRequest
from auralith.sound.arrays import waveform_of
from auralith.sound.formats import nearest_subtype
from auralith.sound.levels import (
    CLICK_FADE_SECONDS,
    fade_gain,
    fade_seconds,
    is_silent,
    looks_like_white_noise,
    peak_db,
    peak_normalize,
)
from auralith.sound.picture import spectrogram_png
from auralith.sound.writing import write

_ASKS_FOR_NOISE = re.compile(r"noise|static|hiss", re.IGNORECASE)


@dataclass(frozen=True)
class Audio:
    """A generated sound, and all that is needed to make it again."""

    waveform: Float[Tensor, "channel sample"]
    """Waveform as the model gave it: not normalized, possibly beyond ±1."""
    sample_rate: int
    provenance: Provenance
    warnings: tuple[str, ...] = ()
    subtype: str | None = None
    """The sample format that keeps the samples it has from a file; None if nothing is from a file."""

    def __post_init__(self) -> None:
        """Take what a program made of the waveform (`dataclasses.replace`), of numpy too."""
        object.__setattr__(self, "waveform", waveform_of(self.waveform))

    @property
    def request(self) -> GenerationRequest:
        """The request with every default filled in, the seed included."""
        return self.provenance.settings

    def save(
        self, path: str | Path, subtype: str | None = None, signer: ContentSigner | None = None
    ) -> None:
        """Write a sound file, its format by its suffix, with the provenance in its tags, and in a signed manifest.

        The peak is brought to full scale, as on the model card; silence stays silent, and what was made from another
        sound keeps its level. Without a `subtype` it is 16 bit, or what keeps samples that come from a file or are
        beyond full scale. Without a `signer` the file gets no manifest.
        """
        wanted = "float" if self._exceeds_full_scale else self.subtype
        if subtype is None and wanted is not None:
            subtype = nearest_subtype(path, wanted)
        tags = self.provenance.to_tags()
        finish = None
        if signer is not None:
            finish = partial(signer.sign, path=path, provenance=self.provenance)
        write(path, self.leveled(), self.sample_rate, subtype=subtype, tags=tags, finish=finish)

    def leveled(self) -> Float[Tensor, "channel sample"]:
        """The waveform as it is saved."""
        if self.provenance.keeps_level:
            return self.waveform
        return peak_normalize(self.waveform)

    def picture(self) -> bytes:
        """Return waveform and spectrogram of the sound as a PNG."""
        return spectrogram_png(self.leveled(), self.sample_rate)

    @property
    def _exceeds_full_scale(self) -> bool:
        return self.provenance.keeps_level and peak_db(self.waveform) > 0


def finished(
    waveform: Float[Tensor, "channel sample"],
    sample_rate: int,
    provenance: Provenance,
    subtype: str | None = None,
    *,
    clamp: bool = False,
) -> Audio:
    """Return a model's waveform as a result: faded as its request asks, with warnings of what is wrong with it.

    `clamp` cuts off what is beyond full scale, and a warning tells the peak. Raise `NonFiniteError` for NaN and infinity.
    """
    _require_finite(waveform, provenance.settings)
    warnings: list[str] = []
    if clamp and (peak := peak_db(waveform)) > 0:
        waveform = waveform.clamp(-1, 1)
        warnings.append(f"its peak was {peak:+.1f} dB: samples beyond full scale were cut off")
    waveform = _faded(waveform, sample_rate, provenance)
    warnings += _health_warnings(waveform, provenance.settings)
    peak = peak_db(waveform)
    if provenance.keeps_level and peak > 0 and subtype != "float":
        warnings.append(f"its peak is {peak:+.1f} dB: a .wav gets float samples, others clip")
    return Audio(waveform.contiguous(), sample_rate, provenance, tuple(warnings), subtype)


def faded_chunks(
    chunks: Iterator[Float[Tensor, "channel sample"]],
    request: GenerationRequest,
    num_samples: int,
    sample_rate: int,
    *,
    clamp: bool = False,
) -> Iterator[Float[Tensor, "channel sample"]]:
    """Yield the pieces of a sound of so many samples with the fades of the whole; raise `NonFiniteError`.

    `clamp` cuts off what is beyond full scale.
    """
    if clamp:
        chunks = (chunk.clamp(-1, 1) for chunk in chunks)
    done, fade_in = 0, 0
    for chunk in chunks:
        ready = [chunk]
        left = num_samples - done - chunk.shape[-1]
        if 0 < left < CLICK_FADE_SECONDS * sample_rate:  # the fade may begin before the last piece
            ready, left = [chunk, next(chunks)], 0
        for piece in ready:
            _require_finite(piece, request)
        if not done:
            fade_in = _fade_samples(request, request.fade_in, chunk[:, 0], True, sample_rate)
        last = ready[-1][:, -1]
        fade_out = _fade_samples(request, request.fade_out, last, not left, sample_rate)
        for piece in ready:
            stop = done + piece.shape[-1]
            yield piece * fade_gain(done, stop, num_samples, fade_in, fade_out)
            done = stop


def _require_finite(waveform: Float[Tensor, "channel sample"], request: GenerationRequest) -> None:
    if not waveform.isfinite().all():
        raise NonFiniteError(
            f"decoding gave NaN or infinite audio (seed {request.seed}); try --dtype float32"
        )


def _health_warnings(
    waveform: Float[Tensor, "channel sample"], request: GenerationRequest
) -> Iterator[str]:
    prompt = " ".join((request.text, *(text for _, text in request.mix)))
    if is_silent(waveform):
        yield f"the audio is silent (peak {peak_db(waveform):.0f} dB); try another prompt or seed"
    elif not _ASKS_FOR_NOISE.search(prompt) and looks_like_white_noise(waveform):
        yield "the audio looks like white noise; check the sampler, its sigma range and the steps"


def _faded(
    waveform: Float[Tensor, "channel sample"], sample_rate: int, provenance: Provenance
) -> Float[Tensor, "channel sample"]:
    """Return the waveform with the fades of its request; itself where it has none."""
    size, request = waveform.shape[-1], provenance.settings
    cut = (True, True) if provenance.edit is None else provenance.edit.cut_ends
    fade_in = _fade_samples(request, request.fade_in, waveform[:, 0], cut[0], sample_rate)
    fade_out = _fade_samples(request, request.fade_out, waveform[:, -1], cut[1], sample_rate)
    if not fade_in and not fade_out:
        return waveform
    return waveform * fade_gain(0, size, size, fade_in, fade_out)


def _fade_samples(
    request: GenerationRequest,
    asked: float | None,
    outermost: Float[Tensor, " channel"],
    is_cut: bool,
    sample_rate: int,
) -> int:
    """Return the length of the fade at an end. The reference's samples stay as they are unless a fade is asked for."""
    by_default = is_cut and request.noise == "item"
    return round(fade_seconds(asked, outermost, by_default) * sample_rate)
