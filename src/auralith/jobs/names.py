"""Names in the JSON of a request: of fields, as other programs call them, and of formats. Clients need no more than this."""

from typing import Literal

Format = Literal["wav", "wav16", "wav24", "wav32f", "flac", "flac16", "flac24", "mp3", "ogg"]
FORMATS: dict[Format, tuple[str, str | None]] = {
    "wav": ("wav", None),
    "wav16": ("wav", "pcm16"),
    "wav24": ("wav", "pcm24"),
    "wav32f": ("wav", "float"),
    "flac": ("flac", None),
    "flac16": ("flac", "pcm16"),
    "flac24": ("flac", "pcm24"),
    "mp3": ("mp3", None),
    "ogg": ("ogg", None),
}
"""Suffix and sample format of each; wav and flac are of 16 bit, or of what keeps the samples of a source."""
KINDS = {"vary": "variation", "inpaint": "inpainting", "extend": "extension", "loop": "loop"}
"""Kind of the edit that each task makes, as tags have it."""
NAMES = {"seconds_total": "seconds", "cfg_scale": "guidance", "ranges": "regions"}
"""Fields whose name in JSON is another one."""
ALIASES = {
    "input": "prompt",
    "duration": "seconds",
    "audio_length": "seconds",
    "seconds_total": "seconds",
    "audio_start": "seconds_start",
    "cfg_scale": "guidance",
    "guidance_scale": "guidance",
    "num_inference_steps": "steps",
    "output_format": "format",
    "response_format": "format",
    "ranges": "regions",
}
"""Names of other programs, and ours in Python. Their init_noise_level is a noise level here, as in stable-audio-tools."""
SPANS = (
    ("mask_start", "mask_end"),
    ("inpaint_mask_start_seconds", "inpaint_mask_end_seconds"),
)
"""Pairs of names that say one region."""
