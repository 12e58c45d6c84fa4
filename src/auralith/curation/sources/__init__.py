"""Sources: what there is, as rows of `recordings`.

freesound_pack · freesound_api · fma · stability · folder · column_map    one source each
records · paths    a row as a recording; paths that stay below the root
freesound_client · rate_limit    HTTP within the published limits
intake    rows into the store, counted: new, repeated, or rejected with a reason
"""

from auralith.curation.sources.column_map import mapped_table
from auralith.curation.sources.fma import fma_tracks
from auralith.curation.sources.folder import FolderSource
from auralith.curation.sources.freesound_api import FreesoundSearch, FreesoundSounds
from auralith.curation.sources.freesound_client import FreesoundClient
from auralith.curation.sources.freesound_pack import data_pack
from auralith.curation.sources.intake import (
    IngestProgress,
    ingest,
    ingest_steps,
    require_recordings,
)
from auralith.curation.sources.paths import safe_path
from auralith.curation.sources.source import Source, SourceRow
from auralith.curation.sources.stability import stability_list
from auralith.curation.sources.stored import REJECTED

__all__ = [
    "REJECTED",
    "FolderSource",
    "FreesoundClient",
    "FreesoundSearch",
    "FreesoundSounds",
    "IngestProgress",
    "Source",
    "SourceRow",
    "data_pack",
    "fma_tracks",
    "ingest",
    "ingest_steps",
    "mapped_table",
    "require_recordings",
    "safe_path",
    "stability_list",
]
