"""Values that the paper prints (arXiv 2407.14358v2, tables 1, 2, 5 and 6), to stand beside one's own.

They were measured by another program. `evaluate` prints them as a guide, never as a result, and only where the list of
prompts is the same one.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class PaperRow:
    """A printed row: FD_openl3, KL_passt and CLAP score; None where the table has no such value."""

    model: str
    fd: float | None
    kl: float | None
    clap: float | None

    def value(self, metric: str) -> float | None:
        """Return what the row says of a metric by its name here."""
        if metric.startswith("fd-openl3"):
            return self.fd
        return {"kl-passt": self.kl, "clap-fused": self.clap}.get(metric)


PAPER_ROWS: Mapping[str, tuple[PaperRow, ...]] = {
    "audiocaps": (
        PaperRow("AudioLDM2-48kHz", 101.11, 2.04, 0.37),
        PaperRow("AudioLDM2-large", 170.31, 1.57, 0.41),
        PaperRow("AudioGen-medium", 186.53, 1.42, 0.45),
        PaperRow("Stable Audio 1.0", 103.66, 2.89, 0.24),
        PaperRow("Stable Audio 2.0 (190 s)", 116.14, 2.67, 0.24),
        PaperRow("Stable Audio 2.0 (285 s)", 110.62, 2.70, 0.23),
        PaperRow("Stable Audio Open", 78.24, 2.14, 0.29),
    ),
    "audiocaps:no-speech": (PaperRow("Stable Audio Open", None, None, 0.31),),
    "audiocaps:no-connectors": (PaperRow("Stable Audio Open", None, None, 0.32),),
    "audiocaps:neither": (PaperRow("Stable Audio Open", None, None, 0.34),),
    "songdescriber:no-singing": (
        PaperRow("MusicGen-large-stereo", 190.47, 0.52, 0.31),
        PaperRow("Stable Audio 1.0", 142.50, 0.40, 0.38),
        PaperRow("Stable Audio 2.0 (190 s)", 71.25, 0.37, 0.42),
        PaperRow("Stable Audio 2.0 (285 s)", 81.05, 0.39, 0.42),
        PaperRow("Stable Audio Open", 96.51, 0.55, 0.41),
    ),
    "songdescriber": (
        PaperRow("MusicGen-large-stereo", 193.98, 0.54, 0.30),
        PaperRow("Stable Audio 1.0", 139.41, 0.36, 0.40),
        PaperRow("Stable Audio 2.0 (190 s)", 72.17, 0.35, 0.44),
        PaperRow("Stable Audio 2.0 (285 s)", 80.44, 0.36, 0.43),
        PaperRow("Stable Audio Open", 99.70, 0.62, 0.43),
    ),
}
PAPER_COUNTS: Mapping[str, int] = {
    "audiocaps": 4_875,
    "audiocaps:no-speech": 2_765,
    "audiocaps:no-connectors": 711,
    "audiocaps:neither": 587,
    "songdescriber": 1_106,
    "songdescriber:no-singing": 586,
}
"""Prompts of the lists that the rows are for."""


def paper_rows(name: str, num_prompts: int) -> tuple[PaperRow, ...]:
    """Return the rows for a list of prompts, if it is the whole list."""
    return PAPER_ROWS.get(name, ()) if PAPER_COUNTS.get(name) == num_prompts else ()
