"""The sources that settings name, opened; and the folder that each source's sounds lie in."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from auralith.curation import sources as kinds
from auralith.curation.settings import SourceSettings
from auralith.curation.sources import Source
from auralith.curation.store import Store
from auralith.errors import InvalidRequest
from auralith.files import make_folder, whole_file
from auralith.foreign import SHAPE_ERRORS, parse_json

ROOTS = "roots.json"
"""Where steps that were done one by one have found sounds, for the manifest."""
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
        return kinds.FolderSource(path, source_names(settings)[0])
    if settings.kind == "table":
        columns = {one.ours: one.theirs for one in settings.columns}
        name = source_names(settings)[0]
        return kinds.mapped_table(path, name, columns, separator=settings.separator, root=root)
    lists = {
        "pack": kinds.data_pack,
        "fma": kinds.fma_tracks,
        "attribution": kinds.stability_list,
    }
    return lists[settings.kind](path, root)


def _freesound(settings: SourceSettings, store: Store) -> Source:
    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise InvalidRequest(f"{KEY_VARIABLE} is not set; put your Freesound API key there")
    client = kinds.FreesoundClient(key, store.folder / "freesound_api", level=settings.level)
    if settings.path is None:
        return kinds.FreesoundSearch(client, store, settings.query, settings.filter)
    try:
        ids = settings.path.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"{settings.path} can't be read ({error}); write one id a line"
        ) from error
    return kinds.FreesoundSounds(client, store, ids)


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


def sound_roots(sources: Iterable[SourceSettings]) -> Mapping[str, Path]:
    """The folder of each source's sounds; without one the curation's folder, where none are.

    Raises:
        InvalidRequest: one source is given two folders.
    """
    roots: dict[str, Path] = {}
    for one in sources:
        folder = one.path if one.kind == "folder" else one.sounds
        for name in source_names(one) if folder else ():
            if roots.setdefault(name, Path(folder or "")) != folder:
                raise InvalidRequest(
                    f"the sounds of '{name}' lie in two folders, {roots[name]} and {folder}; give"
                    " one that holds both"
                )
    return roots


def remember_roots(folder: Path, roots: Mapping[str, Path]) -> None:
    """Keep in the curation's folder where the sounds of each source were looked for, the latest folder first.

    Raises:
        ResourceError: it can't be written.
    """
    known = remembered_roots(folder)
    for name, root in roots.items():
        start = os.path.relpath(os.path.realpath(root), os.path.realpath(folder))
        known[name] = [start, *(one for one in known.get(name, []) if one != start)]
    make_folder(folder)
    with whole_file(folder / ROOTS) as file:
        file.write(json.dumps(known, indent=1).encode() + b"\n")


def remembered_roots(folder: Path) -> dict[str, list[str]]:
    """The folders of each source's sounds, from the curation's folder; raises `InvalidRequest` if they are damaged."""
    try:
        found = parse_json((folder / ROOTS).read_bytes())
        return {str(name): [str(one) for one in roots] for name, roots in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, *SHAPE_ERRORS) as error:
        raise InvalidRequest(f"{folder / ROOTS} is damaged; remove it and give --recipe") from error


def root_of(folder: Path, source: str, path: str) -> Path | None:
    """The remembered folder below which a sound of this source is there; the curation's own if it is there."""
    roots = [folder / root for root in remembered_roots(folder).get(source, [])]
    return next((root for root in [*roots, folder] if os.path.isfile(root / path)), None)
