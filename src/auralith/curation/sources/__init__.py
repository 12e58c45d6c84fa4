"""Sources of recordings: metadata in, rows of the table `recordings` out.

records    a row as a recording; paths that stay below the root; the interface of a source
tables     any table with a map of its columns, attribution lists of Stability AI, and folders of sounds with sidecars
fma        the Free Music Archive's metadata
freesound  data packs, and the API
debian     the sounds of a Debian package, by its copyright file
intake     sources opened as settings name them; rows into the store, counted: new, repeated, or rejected with a reason
"""

from auralith.curation.sources.debian import DebianSource
from auralith.curation.sources.fma import fma_tracks
from auralith.curation.sources.freesound import (
    FreesoundClient,
    FreesoundSearch,
    FreesoundSounds,
    data_pack,
)
from auralith.curation.sources.intake import (
    REJECTED,
    Column,
    IngestProgress,
    SourceSettings,
    ingest,
    ingest_steps,
    require_recordings,
)
from auralith.curation.sources.records import Source, SourceRow, safe_path
from auralith.curation.sources.tables import FolderSource, MappedTable, mapped_table, stability_list

__all__ = [
    "REJECTED",
    "Column",
    "DebianSource",
    "FolderSource",
    "FreesoundClient",
    "FreesoundSearch",
    "FreesoundSounds",
    "IngestProgress",
    "MappedTable",
    "Source",
    "SourceRow",
    "SourceSettings",
    "data_pack",
    "fma_tracks",
    "ingest",
    "ingest_steps",
    "mapped_table",
    "require_recordings",
    "safe_path",
    "stability_list",
]
