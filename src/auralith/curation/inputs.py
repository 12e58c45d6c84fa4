"""The sources that settings name, opened; and the folder that each source's sounds lie in."""

import os
from collections.abc import Mapping
from pathlib import Path

from auralith.curation import sources
from auralith.curation.settings import CurationSettings, SourceSettings
from auralith.curation.sources import Source
from auralith.curation.store import Store
from auralith.errors import InvalidRequest

KEY_VARIABLE = "AURALITH_FREESOUND_KEY"


def open_source(settings: SourceSettings, store: Store) -> Source:
    """A source, ready to be ingested.

    Raises:
        InvalidRequest: its files can't be read, or there is no key for Freesound's API.
    """
    if settings.kind == "freesound":
        return _freesound(settings, store)
    path, root = settings.path, settings.sounds
    assert path is not None
    if settings.kind == "folder":
        return sources.FolderSource(path, source_names(settings)[0])
    if settings.kind == "table":
        columns = {one.ours: one.theirs for one in settings.columns}
        name = source_names(settings)[0]
        return sources.mapped_table(path, name, columns, separator=settings.separator, root=root)
    lists = {
        "pack": sources.data_pack,
        "fma": sources.fma_tracks,
        "attribution": sources.stability_list,
    }
    return lists[settings.kind](path, root)


def _freesound(settings: SourceSettings, store: Store) -> Source:
    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise InvalidRequest(f"{KEY_VARIABLE} is not set; put your Freesound API key there")
    client = sources.FreesoundClient(key, store.folder / "freesound_api", level=settings.level)
    if settings.path is None:
        return sources.FreesoundSearch(client, store, settings.query, settings.filter)
    try:
        ids = settings.path.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"{settings.path} can't be read ({error}); write one id a line"
        ) from error
    return sources.FreesoundSounds(client, store, ids)


def source_names(settings: SourceSettings) -> tuple[str, ...]:
    """The sources, as in ids, that a source may bring."""
    written = settings.name or (settings.path.stem if settings.path else "")
    names = {
        "pack": ("freesound",),
        "freesound": ("freesound",),
        "fma": ("fma",),
        "attribution": ("freesound", "fma"),
        "table": (written,),
        "folder": (settings.name or "folder",),
    }
    return names[settings.kind]


def sound_roots(settings: CurationSettings) -> Mapping[str, Path]:
    """The folder of each source's sounds; without one the curation's folder, where none are.

    Raises:
        InvalidRequest: one source is given two folders.
    """
    roots: dict[str, Path] = {}
    for one in settings.sources:
        folder = one.path if one.kind == "folder" else one.sounds
        for name in source_names(one) if folder else ():
            if roots.setdefault(name, Path(folder or "")) != folder:
                raise InvalidRequest(
                    f"the sounds of '{name}' lie in two folders, {roots[name]} and {folder}; give"
                    " one that holds both"
                )
    return roots
