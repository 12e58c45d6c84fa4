"""The step "metadata": search for FMA recordings in the catalogue; every match goes to people, whatever its tier.

A recording without an artist, or without a title and with an artist that is not listed, is "indeterminate" and goes to
people too. Recordings of other sources are skipped.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from auralith.curation.metadata.catalogue import Work, file_sha256, read_catalogue
from auralith.curation.metadata.tiers import Searcher, SearchResult, TierOptions
from auralith.curation.stage import Finding, Row
from auralith.extras import require
from auralith.numbers import check_integer

if TYPE_CHECKING:
    import pyarrow as pa

_RULES_VERSION = "1"
"""Changes whenever the same catalogue would give other matches."""


@dataclass(frozen=True)
class MetadataSettings:
    """Settings of the metadata search."""

    sources: tuple[str, ...] = ("fma",)
    """Sources whose recordings are searched for."""
    max_matches: int = 20
    """Number of matches kept as evidence for a recording, the strongest first; all are counted."""
    tiers: TierOptions = field(default_factory=TierOptions)

    def __post_init__(self) -> None:
        check_integer(self, "max_matches", 1)


@dataclass
class MetadataStage:
    """The search as a step; each process reads the catalogue once, at the first call."""

    settings: MetadataSettings
    catalogue: Path
    """CSV file in the Spotify-tracks schema."""
    name: str = field(default="metadata", init=False)
    provider: str = field(default="catalogue", init=False)
    provider_version: str = field(init=False)
    """Version of the rules and of the list (the beginning of its SHA-256), wherever the list lies."""
    inputs: tuple[str, ...] = field(
        default=("source", "title", "author", "album", "duration_s"), init=False
    )

    def __post_init__(self) -> None:
        """Raises `ResourceError` if the catalogue can't be opened."""
        self.provider_version = f"{_RULES_VERSION}-{file_sha256(self.catalogue)[:12]}"

    @property
    def schema(self) -> "pa.Schema":
        pa = require("pyarrow", "curate")
        return pa.schema(
            [
                ("tier", pa.string()),
                ("ref_id", pa.string()),
                ("num_matches", pa.int32()),
                ("matches", pa.list_(pa.struct(_match_fields()))),
            ]
        )

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        """Return a finding for each row. Raises as `read_catalogue` does, before the first one."""
        searcher = _searcher(self.catalogue, self.provider_version, self.settings.tiers)
        works = [_work(row) for row in rows]
        asked = [i for i, row in enumerate(rows) if row["source"] in self.settings.sources]
        answers = searcher.search([works[i] for i in asked], self.settings.max_matches)
        found = dict(zip(asked, answers, strict=True))
        return [
            self._finding(works[i], found[i]) if i in found else Finding("skipped", "pass")
            for i in range(len(rows))
        ]

    def _finding(self, work: Work, found: SearchResult) -> Finding:
        columns = {
            "num_matches": found.total,
            "matches": [{**asdict(match), "flags": list(match.flags)} for match in found.matches],
        }
        if not found.matches:
            if work.title and work.artist:
                return Finding("ok", "pass", columns=columns)
            return Finding("indeterminate", "flag", "metadata_incomplete", columns=columns)
        best = found.matches[0]
        columns |= {"tier": best.tier, "ref_id": best.ref_id}
        return Finding("ok", "flag", f"metadata_{best.tier.lower()}", best.score, columns)


@lru_cache(maxsize=2)
def _searcher(catalogue: Path, version: str, options: TierOptions) -> Searcher:
    """Return the catalogue of a version, kept from slice to slice."""
    return Searcher(read_catalogue(catalogue), options)


def _work(row: Row) -> Work:
    return Work(
        id=row.get("rec_id") or "",
        title=(row["title"] or "").strip(),
        artist=(row["author"] or "").strip(),
        album=(row["album"] or "").strip(),
        seconds=row["duration_s"],
    )


def _match_fields() -> "list[tuple[str, pa.DataType]]":
    pa = require("pyarrow", "curate")
    kinds = {
        **dict.fromkeys(("ref_id", "tier"), pa.string()),
        **dict.fromkeys(("artist_score", "title_score", "duration_delta_s"), pa.float64()),
        "flags": pa.list_(pa.string()),
        **dict.fromkeys(("ref_title", "ref_artist", "ref_album"), pa.string()),
    }
    return list(kinds.items())
