"""A sound continued past the model's window, or led up to, window by window.

Each window continues from the latents that are there, held as in inpainting, and is told where it lies in the result.
What it makes is what the next one continues from, so the new sound is decoded in one piece and has a single seam, in
the file's end (or beginning). The prompt changes between windows. A model that isn't told where a window lies gives it
an ending like that of a whole recording: such windows are made longer than what is kept of them.
"""

import math
from dataclasses import replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.editing.clip import Clip, require_channels
from auralith.editing.leveling import gains_db, leveled, without_silence
from auralith.editing.splice import place, splice
from auralith.editing.timeline import (
    OnStep,
    Span,
    Timeline,
    encode_span,
    fade_samples,
    window_seed,
    without_seconds,
)
from auralith.edits import Extension
from auralith.errors import Field, InvalidRequest
from auralith.pipeline import Audio, Auralith
from auralith.request import GenerationRequest

OVERLAP_SHARE = 3
"""A window continues from this part of its length."""
CHANGE_SHARE = 16
"""From less of it where the prompt changes: what was there before outweighs the new prompt."""
SPARE_SHARE = 8
"""This part of a window is made to be thrown away, where the model knows no start."""


def extend(
    model: Auralith,
    request: GenerationRequest,
    clip: Clip,
    extension: Extension,
    on_step: OnStep = None,
) -> Audio:
    """The clip with new sound after (or before) it, at its own rate and channels.

    Silence at the end that is continued is cut off first. Up to there its samples are its own but for the seam, which
    turns into the new sound.

    Raises `InvalidRequest` if the result is no longer than the clip, the clip is shorter than two frames, or the
    overlap fills the window; `AudioError` for a clip with more channels than the model.
    """
    settings = without_seconds(model, request, "an extension has its own length")
    extension.require_longer(clip.num_samples, clip.sample_rate)
    plan = _Plan(model, without_silence(clip, extension.direction), extension)
    timeline = Timeline(model, plan.limits[1], extension.seconds_total, plan.origin)
    in_mirrored = plan.mirror_frames - plan.lead
    span = (plan.known[0] + in_mirrored, plan.known[1] + in_mirrored)
    timeline.set(plan.known[0], encode_span(model, plan.mirrored, span))
    for index, (window, new, second) in enumerate(plan.windows()):
        seed = window_seed(settings.seed or 0, index)
        piece = replace(_settings_at(second, settings, extension), seed=seed)
        timeline.fill(window, piece, extension.passes, on_step, keep=new)
    origin = model.provenance(settings, edit=extension, source=clip.source)
    return model.audio(plan.joined(timeline), origin, clip.sample_rate, clip.subtype)


def _settings_at(
    second: float, settings: GenerationRequest, extension: Extension
) -> GenerationRequest:
    """Return the settings with the prompt of this second, without what was mixed into the one before."""
    texts = [text for start, text in extension.prompts if start <= second]
    return replace(settings, prompt=texts[-1], mix=()) if texts else settings


class _Plan:
    """Layout of an extension, in frames of a grid on which the file begins at frame `lead`."""

    def __init__(self, model: Auralith, clip: Clip, extension: Extension) -> None:
        require_channels(clip, model.config.audio)
        self.model, self.clip, self.extension = model, clip, extension
        self.audio = model.config.audio
        self.is_after = extension.direction == "after"
        self.total_samples = round(extension.seconds_total * clip.sample_rate)
        self.added_samples = self.total_samples - clip.num_samples
        waveform = clip.at(self.audio)
        rate = self.audio.samples_per_frame
        file_frames = waveform.shape[-1] // rate
        if file_frames < 2:
            raise InvalidRequest(
                f"the sound is {clip.seconds:.3f} s long; an extension needs at least "
                f"{self.audio.seconds(2 * rate):.3f} s to continue from"
            )
        added = math.ceil(self.added_samples * self.audio.sample_rate / clip.sample_rate)
        self.lead = 0 if self.is_after else self.audio.num_frames(added)
        self.origin = 0 if self.is_after else added - self.lead * rate
        self.num_frames = self.lead + file_frames
        if self.is_after:
            self.num_frames = self.audio.num_frames(waveform.shape[-1] + added)
        self._lay_out(file_frames)
        self._mirror(waveform)

    def _lay_out(self, file_frames: int) -> None:
        """Lay out what is known of the file, what is new, and what is decoded."""
        wanted = fade_samples(self.model, self.extension.crossfade, self.clip.sample_rate)
        self.fade = min(wanted, self.clip.num_samples)
        fade_seconds = self.fade / self.clip.sample_rate
        margin = self.audio.num_frames(self.audio.num_samples(fade_seconds)) + 1
        knows_start = "seconds_start" in self.model.conditioner.number_ids
        self.window = self.model.config.window_frames
        self.spare = 0 if knows_start else self.window // SPARE_SHARE
        self.overlap, self.overlap_of_change = self._overlap_frames()
        kept = min(file_frames, max(self.overlap, margin + self.model.autoencoder.decoder_halo))
        margin = min(margin, file_frames)
        if self.is_after:
            self.known, self.new = (file_frames - kept, file_frames), (file_frames, self.num_frames)
            self.limits = (self.known[0], self.num_frames + self.spare)
            self.decoded = (file_frames - margin, self.num_frames)
        else:
            self.known, self.new = (self.lead, self.lead + kept), (0, self.lead)
            self.limits = (0, self.known[1])
            self.decoded = (0, self.lead + margin)

    def _overlap_frames(self) -> tuple[int, int]:
        """Return the overlap of a window, and of one where the prompt changes."""
        if self.extension.overlap is None:
            return self.window // OVERLAP_SHARE, self.window // CHANGE_SHARE
        frames = self.audio.num_frames(self.audio.num_samples(self.extension.overlap))
        most = self.window - self.spare - 1
        if frames > most:
            longest = self.audio.seconds(most * self.audio.samples_per_frame)
            raise InvalidRequest(
                Field("overlap"),
                f" is {self.extension.overlap:g} s; it must be at most {longest:.2f} s, "
                "so that a window has room for something new",
            )
        return frames, frames

    def _mirror(self, waveform: Float[Tensor, "channel sample"]) -> None:
        """The file continued by its mirror image at both ends: the encoder should not see it break off."""
        rate = self.audio.samples_per_frame
        self.mirror_frames = min(self.model.autoencoder.decoder_halo, waveform.shape[-1] // rate)
        reflected = waveform.flip(-1)
        size = self.mirror_frames * rate
        self.mirrored = torch.cat((reflected[:, -size:], waveform, reflected[:, :size]), dim=-1)

    def windows(self) -> list[tuple[Span, Span, float]]:
        """In the order to generate them: the window, what is new in it, and the second in the middle of that."""
        rate = self.audio.samples_per_frame
        found = []
        for first, last in pairwise(self._edges()):
            lowest, highest = self.limits
            if self.is_after and first > self.new[0]:
                lowest = max(lowest, first - self.overlap_of_change)
            if not self.is_after and last < self.new[1]:
                highest = min(highest, last + self.overlap_of_change)
            for start, stop in self._pieces(first, last):
                second = self.audio.seconds(self.origin + (start + stop) * rate // 2)
                if self.is_after:
                    window = (max(start - self.overlap, lowest), min(stop + self.spare, highest))
                else:
                    window = (max(start - self.spare, lowest), min(stop + self.overlap, highest))
                found.append((window, (start, stop), second))
        return found if self.is_after else found[::-1]

    def _edges(self) -> list[int]:
        """Return where the new sound begins, the frames in it where the prompt changes, and where it ends."""
        first, last = self.new
        changes = {
            round((self.audio.num_samples(second) - self.origin) / self.audio.samples_per_frame)
            for second, _ in self.extension.prompts
        }
        return [first, *sorted(edge for edge in changes if first < edge < last), last]

    def _pieces(self, first: int, last: int) -> list[Span]:
        """Equal parts, each small enough for a window with the overlap."""
        count = math.ceil((last - first) / (self.window - self.overlap - self.spare))
        cuts = [first + (last - first) * index // count for index in range(count + 1)]
        return list(pairwise(cuts))

    def joined(self, timeline: Timeline) -> Float[Tensor, "channel sample"]:
        """The file and the new sound, with their seam."""
        clip, before = self.clip, 0 if self.is_after else self.added_samples
        kept = torch.zeros(clip.waveform.shape[0], self.total_samples)
        made = torch.zeros_like(kept)
        place(kept, clip.waveform, before)
        first = (self.decoded[0] - self.lead) * self.audio.samples_per_frame
        piece, start = clip.like(timeline.decode(self.decoded), self.audio, first)
        place(made, piece, before + start)
        new = (clip.num_samples, self.total_samples) if self.is_after else (0, before)
        if self.extension.hold_level:
            made = self._leveled(made, new)
        return splice(kept, made, [new], self.fade)

    def _leveled(
        self, made: Float[Tensor, "channel sample"], new: Span
    ) -> Float[Tensor, "channel sample"]:
        """Return the new sound at the file's loudness, unless its prompt changes, which may change its level too."""
        if self.extension.prompts:
            return made
        scale = self.clip.sample_rate / self.audio.sample_rate
        first, last = new

        def sample(frame: int) -> int:
            start = self.origin + frame * self.audio.samples_per_frame
            return min(max(round(start * scale), first), last)

        windows = [(sample(start), sample(stop)) for _, (start, stop), _ in self.windows()]
        gains = gains_db(self.clip, made, windows, self.extension.direction)
        seam = new[0] if self.is_after else new[1]
        return leveled(made, windows, gains, self.clip.sample_rate, seam)
