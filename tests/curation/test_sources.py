"""Sources: every row becomes a recording, a repeat, or a rejected row with its reason; none is lost or counted twice."""

import csv
import io
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from auralith.curation.licenses import LicenseStage
from auralith.curation.sources import (
    FolderSource,
    IngestProgress,
    Source,
    data_pack,
    fma_tracks,
    ingest,
    ingest_steps,
    mapped_table,
    safe_path,
    stability_list,
)
from auralith.curation.sources.records import seconds, year
from auralith.curation.store import RECORDINGS, Store
from auralith.errors import InvalidRequest

AT = "2026-01-01T00:00:00Z"
PACK = (
    "filepath,id,created,username,title,description,tags,pack_name,bst_category,geotag,license,"
    "generative_ai_preference,type,duration,filesize,avg_rating,num_ratings,num_downloads,num_comments"
).split(",")
FMA_PAGE = "https://freemusicarchive.org/music/A_B/C/D/"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "curation")


def write(path: Path, header: Sequence[str], *rows: Sequence[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def pack_row(id: object, **changed: str) -> list[str]:
    cells = dict.fromkeys(PACK, "") | {
        "filepath": f"0/{id}.wav",
        "id": str(id),
        "created": "2020-02-03T04:05:06",
        "username": "ann",
        "title": f"sound {id}",
        "tags": "rain field-recording",
        "license": "Creative Commons 0",
        "generative_ai_preference": "no-additional-preferences",
        "bst_category": "ss-n",
        "duration": "1.5",
    }
    return list((cells | changed).values())


def recordings(store: Store) -> list[dict[str, Any]]:
    return store.read("recordings").to_pylist()


def rejected(store: Store) -> list[dict[str, Any]]:
    return store.read("rejected").to_pylist()


def reasons(store: Store) -> list[str]:
    return [row["reason_code"] for row in rejected(store)]


def counted(progress: IngestProgress) -> bool:
    return progress.read == progress.added + progress.repeated + sum(progress.rejected.values())


def take(source: Source, store: Store) -> IngestProgress:
    progress = ingest(store, source, AT)
    assert counted(progress)
    return progress


def test_a_data_pack_keeps_license_preference_author_and_tags(tmp_path: Path, store: Store) -> None:
    table = write(tmp_path / "metadata_0000.csv", PACK, pack_row(7, description="a, b\nc"))
    assert take(data_pack(table), store).added == 1
    (one,) = recordings(store)
    assert list(one) == RECORDINGS.names
    kept = {name: value for name, value in one.items() if value is not None}
    assert kept.pop("ingest_batch").startswith("freesound-pack-")
    assert kept == {
        "rec_id": "freesound:7",
        "source": "freesound",
        "source_id": "7",
        "path": "0/7.wav",
        "url": "https://freesound.org/people/ann/sounds/7/",
        "title": "sound 7",
        "author": "ann",
        "author_url": "https://freesound.org/people/ann/",
        "tags": ["rain", "field-recording"],
        "description": "a, b\nc",
        "created": "2020-02-03T04:05:06",
        "license_raw": "Creative Commons 0",
        "gen_ai_preference": "no-additional-preferences",
        "category_code": "ss-n",
        "duration_s": 1.5,
        "retrieved_at": AT,
    }


def test_a_folder_of_packs_is_read_file_by_file_in_order(tmp_path: Path, store: Store) -> None:
    for number in (1, 0):
        file = tmp_path / "pack/metadata/complete" / f"metadata_{number:04d}.csv"
        write(file, PACK, pack_row(number * 1000 + 5))
    take(data_pack(tmp_path / "pack"), store)
    assert [row["source_id"] for row in recordings(store)] == ["5", "1005"]


@pytest.mark.parametrize("form", ["array", "object", "lines"])
def test_a_pack_as_json_gives_the_same_recordings(tmp_path: Path, form: str) -> None:
    rows = [dict(zip(PACK, pack_row(id), strict=True)) for id in (1, 2)]
    text = {
        "array": json.dumps(rows, indent=1),
        "object": json.dumps({row.pop("id"): row for row in map(dict, rows)}),
        "lines": "\n".join(map(json.dumps, rows)),
    }[form]
    file = tmp_path / ("p.jsonl" if form == "lines" else "p.json")
    file.write_text(text)
    from_json, from_csv = Store(tmp_path / "a"), Store(tmp_path / "b")
    take(data_pack(file), from_json)
    take(data_pack(write(tmp_path / "p.csv", PACK, *map(pack_row, (1, 2)))), from_csv)
    columns = [name for name in RECORDINGS.names if name != "ingest_batch"]
    assert from_json.read("recordings", columns).equals(from_csv.read("recordings", columns))


def test_the_crawl_of_the_archive_has_license_urls(tmp_path: Path, store: Store) -> None:
    cells = {
        "track_id": "2",
        "album_title": "AWOL",
        "artist_name": "A",
        "artist_url": "https://freemusicarchive.org/music/A/",
        "license_title": "Attribution",
        "license_url": "http://creativecommons.org/licenses/by/3.0/us/",
        "tags": "['x', 'y z']",
        "track_date_created": "11/26/2008 01:48:12 AM",
        "track_date_recorded": "11/20/2007",
        "track_duration": "02:48",
        "track_genres": "[{'genre_id': '21', 'genre_title': 'Hip-Hop', 'genre_url': ''}]",
        "track_title": "Food",
        "track_url": FMA_PAGE,
    }
    table = write(tmp_path / "raw_tracks.csv", list(cells), list(cells.values()))
    take(fma_tracks(table), store)
    (one,) = recordings(store)
    assert (one["rec_id"], one["album"], one["genres"]) == ("fma:2", "AWOL", ["Hip-Hop"])
    assert (one["tags"], one["year"], one["duration_s"]) == (["x", "y z"], 2007, 168.0)
    assert one["created"] == "2008-11-26T01:48:12" and one["path"] is None
    (finding,) = LicenseStage().process([one], tmp_path)
    assert finding.columns["license_spdx"] == "CC-BY-3.0-US"


TRACKS = [
    ["", "album", "album", "artist", *["track"] * 7],
    [
        "",
        "title",
        "date_released",
        "name",
        "duration",
        "genre_top",
        "genres",
        "license",
        "tags",
        "title",
        "information",
    ],
    ["track_id", *[""] * 10],
]


def tracks_file(folder: Path, *rows: Sequence[object]) -> Path:
    return write(folder / "tracks.csv", TRACKS[0], *TRACKS[1:], *rows)


def test_tracks_csv_has_three_header_lines(tmp_path: Path, store: Store) -> None:
    row = [
        "2",
        "AWOL",
        "2009-01-05 00:00:00",
        "A",
        "168",
        "Hip-Hop",
        "[21, 5]",
        "Attribution",
        "[]",
        "Food",
        "",
    ]
    write(
        tmp_path / "genres.csv",
        ["genre_id", "#tracks", "parent", "title"],
        ["21", "1", "0", "Hip-Hop"],
    )
    take(fma_tracks(tracks_file(tmp_path, row).parent), store)
    (one,) = recordings(store)
    assert (one["title"], one["author"], one["album"]) == ("Food", "A", "AWOL")
    assert (one["genres"], one["license_raw"], one["duration_s"]) == (
        ["Hip-Hop"],
        "Attribution",
        168.0,
    )
    assert (one["year"], one["tags"]) == (2009, None)


@pytest.mark.parametrize(
    "literal",
    ["__import__('os').system('true')", "[1, 2", "'x'", "(" * 5000, "[" + "1," * 60_000 + "]"],
)
def test_a_list_that_is_no_plain_literal_is_never_evaluated(
    tmp_path: Path, store: Store, literal: str
) -> None:
    row = ["2", "", "", "A", "1", "", literal, "Attribution", "[]", "Food", ""]
    take(fma_tracks(tracks_file(tmp_path, row)), store)
    assert reasons(store) == ["bad_list"]


def test_the_path_of_a_track_follows_from_its_id_where_the_file_is(
    tmp_path: Path, store: Store
) -> None:
    (tmp_path / "sounds/001").mkdir(parents=True)
    (tmp_path / "sounds/001/001234.mp3").touch()
    rows = [[id, "t", "a", "cc0", f"{FMA_PAGE[:-2]}{id}/"] for id in (1234, 1235)]
    table = write(tmp_path / "a.csv", "id,title,author,license,url".split(","), *rows)
    take(stability_list(table, tmp_path / "sounds"), store)
    assert [row["path"] for row in recordings(store)] == ["001/001234.mp3", None]


def test_an_attribution_list_keeps_its_text_exactly(tmp_path: Path, store: Store) -> None:
    titles = [
        "Preludes, Book 2 - ",
        "=1+1",
        ">X",
        "\u200eabc\u3000",
        "e\u0301 \u00e9",
        "@",
        'a "b"',
    ]
    rows = [[i, title, "<1", "ccby", FMA_PAGE] for i, title in enumerate(titles, 4850)]
    sound = [5, "rain.wav", "ann", "sampling+", "https://freesound.org/people/ann/sounds/5/"]
    table = write(tmp_path / "a.csv", "id,title,author,license,url".split(","), *rows, sound)
    take(stability_list(table), store)
    found = recordings(store)
    assert [one["title"] for one in found[:-1]] == titles
    assert {one["author_url"] for one in found[:-1]} == {"https://freemusicarchive.org/music/A_B/"}
    assert found[-1]["rec_id"] == "freesound:5" and found[0]["rec_id"] == "fma:4850"
    assert found[-1]["author_url"] == "https://freesound.org/people/ann/"


def test_a_row_whose_site_is_unknown_is_rejected(tmp_path: Path, store: Store) -> None:
    header = "id,title,author,license,url".split(",")
    rows = [[1, "t", "a", "cc0", "https://example.com/"], ["", "t", "a", "cc0", ""]]
    take(stability_list(write(tmp_path / "a.csv", header, *rows)), store)
    assert reasons(store) == ["source_unknown", "no_id"]


def test_any_table_is_read_through_a_map_of_its_columns(tmp_path: Path, store: Store) -> None:
    table = write(
        tmp_path / "mine.csv",
        ["key", "name", "labels", "lic", "remix", "parents", "author", "len"],
        ["x/1", "Rain", "a b; c", "CC0", "true", "freesound:1;freesound:2", "ann", "2:03"],
    )
    names = {"source_id": "key", "title": "name", "tags": "labels", "license_raw": "lic"}
    columns = {**names, "is_remix": "remix", "duration_s": "len"}
    take(mapped_table(table, "mine", columns, separator=";"), store)
    (one,) = recordings(store)
    assert (one["rec_id"], one["title"], one["tags"]) == ("mine:x/1", "Rain", ["a b", "c"])
    assert (one["is_remix"], one["parents"]) == (True, ["freesound:1", "freesound:2"])
    assert (one["author"], one["duration_s"]) == ("ann", 123.0)


def test_a_map_to_a_column_that_isnt_there_stops_before_anything_is_written(
    tmp_path: Path, store: Store
) -> None:
    table = write(tmp_path / "t.csv", ["id", "title"], ["1", "a"])
    with pytest.raises(InvalidRequest, match="no column 'name'"):
        take(mapped_table(table, "mine", {"title": "name"}), store)
    with pytest.raises(InvalidRequest, match="'titel' is not a column of recordings"):
        mapped_table(table, "mine", {"titel": "title"})
    with pytest.raises(InvalidRequest, match="can't name a source"):
        mapped_table(table, "a:b", {})
    assert not recordings(store) and not rejected(store)


def test_a_folder_of_sounds_with_what_lies_beside_them(tmp_path: Path, store: Store) -> None:
    root = tmp_path / "sounds"
    (root / "b").mkdir(parents=True)
    for name in ("b/two.flac", "one.wav", "three.mp3", ".hidden.wav", "notes.md"):
        (root / name).touch()
    (root / "one.json").write_text(
        '{"title": "One", "artist": "ann", "license": "cc0", "tags": ["x"]}'
    )
    (root / "one.txt").write_text("a bell\n")
    (root / "three.json").write_text("{broken")
    progress = take(FolderSource(root), store)
    assert (progress.added, dict(progress.rejected)) == (2, {"sidecar_unreadable": 1})
    one, two = recordings(store)
    assert (two["rec_id"], two["path"]) == ("folder:b/two.flac", "b/two.flac")
    assert (one["title"], one["author"], one["license_raw"]) == ("One", "ann", "cc0")
    assert (one["description"], one["tags"], one["path"]) == ("a bell", ["x"], "one.wav")


def test_a_sidecar_cant_send_its_sound_elsewhere(tmp_path: Path, store: Store) -> None:
    root = tmp_path / "sounds"
    root.mkdir()
    (root / "one.wav").touch()
    (root / "one.json").write_text('{"path": "/etc/passwd"}')
    take(FolderSource(root), store)
    assert recordings(store)[0]["path"] == "one.wav"


def test_links_that_leave_the_folder_are_rejected_rows(tmp_path: Path, store: Store) -> None:
    outside, root = tmp_path / "outside", tmp_path / "sounds"
    outside.mkdir()
    root.mkdir()
    (outside / "secret.wav").touch()
    (root / "in.wav").touch()
    (root / "out.wav").symlink_to(outside / "secret.wav")
    (root / "folder").symlink_to(outside)
    (root / "again.wav").symlink_to(root / "in.wav")
    take(FolderSource(root), store)
    assert {row["path"] for row in recordings(store)} == {"in.wav", "again.wav"}
    assert [(r["file"], r["reason_code"]) for r in rejected(store)] == [
        ("folder", "path_outside_root"),
        ("out.wav", "path_outside_root"),
    ]


def test_a_file_name_that_isnt_utf8_is_a_rejected_row(tmp_path: Path, store: Store) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/x\xff.wav")).touch()
    except OSError:
        pytest.skip("this file system has only UTF-8 names")
    take(FolderSource(tmp_path), store)
    assert reasons(store) == ["bad_name"]


@pytest.mark.parametrize(
    "path",
    [
        "../x.wav",
        "a/../../x.wav",
        "/etc/passwd",
        "..",
        "C:\\x.wav",
        "a\\..\\x",
        "\\\\host\\x",
        "a\0b",
    ],
)
def test_a_path_that_leaves_the_root_is_refused(tmp_path: Path, store: Store, path: str) -> None:
    with pytest.raises(InvalidRequest, match="leaves"):
        safe_path(tmp_path, path)
    table = write(
        tmp_path / "m.csv", PACK, pack_row(1, filepath=path.replace("\0", "\x01")), pack_row(2)
    )
    take(data_pack(table), store)
    assert reasons(store) == ["path_outside_root"]
    assert [row["source_id"] for row in recordings(store)] == ["2"]


def test_a_path_through_a_link_is_refused_only_if_it_leaves(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (root / "loop").symlink_to("loop")
    (root / "inside").symlink_to("in")
    (root / "outside").symlink_to(tmp_path)
    (tmp_path / "rooted").mkdir()
    (root / "beside").symlink_to(tmp_path / "rooted")
    assert safe_path(root, "inside/a.wav") == root / "inside/a.wav"
    assert safe_path(root, "in/\u3000.wav") == root / "in/\u3000.wav"
    for path in ("outside/a.wav", "beside/a.wav", ""):
        with pytest.raises(InvalidRequest, match="leaves"):
            safe_path(root, path)


def test_a_row_without_an_id_is_rejected_with_all_it_says(tmp_path: Path, store: Store) -> None:
    table = write(tmp_path / "m.csv", PACK, pack_row(1), pack_row("", title="lost"), pack_row("x7"))
    progress = take(data_pack(table), store)
    assert (progress.added, dict(progress.rejected)) == (1, {"no_id": 1, "bad_id": 1})
    lost, other = rejected(store)
    assert (lost["file"], lost["line"], lost["rec_id"]) == ("m.csv", 3, None)
    assert json.loads(lost["raw"])["title"] == "lost" and other["reason_code"] == "bad_id"


def test_an_id_seen_twice_with_other_content_is_rejected_and_named(
    tmp_path: Path, store: Store
) -> None:
    rows = [pack_row(1), pack_row(2), pack_row(1, title="another"), pack_row(2), pack_row("01")]
    progress = take(data_pack(write(tmp_path / "m.csv", PACK, *rows)), store)
    assert (progress.added, progress.repeated) == (2, 1)  # 01 is the id 1, but in another file
    assert [r["rec_id"] for r in rejected(store)] == ["freesound:1", "freesound:1"]
    assert set(reasons(store)) == {"conflicting_id"}


def test_a_later_batch_is_compared_with_what_is_stored(tmp_path: Path, store: Store) -> None:
    take(data_pack(write(tmp_path / "a.csv", PACK, pack_row(1), pack_row(2))), store)
    later = write(
        tmp_path / "b.csv", PACK, pack_row(2), pack_row(3), pack_row(1, license="Attribution")
    )
    progress = take(data_pack(later), store)
    assert (progress.added, progress.repeated) == (1, 1)
    assert Counter(row["rec_id"] for row in recordings(store)) == Counter(
        f"freesound:{i}" for i in (1, 2, 3)
    )
    assert [(r["rec_id"], r["reason_code"]) for r in rejected(store)] == [
        ("freesound:1", "conflicting_id")
    ]


def test_damaged_rows_are_rejected_and_the_rest_goes_on(tmp_path: Path, store: Store) -> None:
    table = write(tmp_path / "m.csv", PACK, pack_row(1), pack_row(2)[:-1], [*pack_row(3), "more"])
    with table.open("ab") as file:
        file.write(",".join(pack_row(4, title="\xff")).encode("latin-1") + b"\n\n")
        file.write(",".join(pack_row(5, title="x" * 140_000)).encode() + b"\n")
        file.write(",".join(pack_row(6, title="nul \0")).encode() + b"\n")
    progress = take(data_pack(table), store)
    assert dict(progress.rejected) == {"row_shape": 2, "not_utf8": 1, "row_unreadable": 1}
    assert [row["source_id"] for row in recordings(store)] == ["1", "6"]


def test_json_values_of_the_wrong_kind_and_damaged_lines_are_rejected(
    tmp_path: Path, store: Store
) -> None:
    lines = [
        '{"id": 1}',
        '{"id": 2, "title": {"en": "x"}}',
        "{",
        "[]",
        '{"id": 3, "title": "\\ud800"}',
    ]
    lines += ['{"id": 4, "tags": "a b"}', "[" * 100_000]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    take(mapped_table(tmp_path / "t.jsonl", "mine", {}), store)
    assert [row["source_id"] for row in recordings(store)] == ["1", "4"]
    assert Counter(reasons(store)) == {"bad_value": 1, "row_unreadable": 3, "not_utf8": 1}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("t.csv", "", "no header"),
        ("t.csv", "id,id\n", "two columns 'id'"),
        ("t.csv", "name\n", "no column 'filepath'"),
        ("t.json", '[{"id": 1}', "cut short"),
        ("t.json", "hello", "neither a JSON array"),
        ("t.parquet", "no parquet", "not a whole Parquet"),
        ("t.xlsx", "", "is not a table"),
    ],
)
def test_a_table_that_is_none_is_one_line(
    tmp_path: Path, store: Store, name: str, text: str, says: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidRequest, match=says):
        take(data_pack(tmp_path / name), store)


def test_a_missing_table_is_one_line(tmp_path: Path, store: Store) -> None:
    for make in (data_pack, stability_list, fma_tracks):
        with pytest.raises(InvalidRequest, match="can't be read"):
            take(make(tmp_path / "none.csv"), store)
    for make in (data_pack, fma_tracks):
        with pytest.raises(InvalidRequest, match="holds n"):
            make(tmp_path)


def test_a_large_json_array_is_read_in_parts(tmp_path: Path, store: Store) -> None:
    rows = [{"id": i, "description": "x" * 50_000} for i in range(60)]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    assert take(mapped_table(tmp_path / "t.json", "mine", {}), store).added == 60


def test_parquet_is_a_table_too(tmp_path: Path, store: Store) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    table = pa.table({"id": ["1"], "tags": [["a", "b"]], "title": ["T"], "year": [1999]})
    parquet.write_table(table, tmp_path / "t.parquet")
    take(mapped_table(tmp_path / "t.parquet", "mine", {}), store)
    (one,) = recordings(store)
    assert (one["tags"], one["title"], one["year"]) == (["a", "b"], "T", 1999)


class Killed(Exception):
    """Stands for whatever ends a process."""


def many(tmp_path: Path) -> Path:
    rows = [pack_row(i) for i in range(40)]
    rows[13], rows[14], rows[26] = pack_row(""), pack_row(3, title="other"), pack_row(2)
    return write(tmp_path / "m.csv", PACK, *rows)


@pytest.mark.parametrize("survived", range(5))
def test_a_killed_ingest_continues_and_ends_as_if_nothing_had_happened(
    tmp_path: Path, survived: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = Store(tmp_path / "whole"), Store(tmp_path / "broken")

    def source() -> Source:
        made = data_pack(many(tmp_path))
        made.slice_rows = 10
        return made

    take(source(), whole)
    append, left = Store.append, [survived]

    def dying(self: Store, name: str, table: Any, slice_id: str) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1
        append(self, name, table, slice_id)

    with monkeypatch.context() as patched, suppress(Killed):
        patched.setattr(Store, "append", dying)
        take(source(), broken)
    assert left == [0]
    take(source(), broken)
    for name in ("recordings", "rejected"):
        assert broken.read(name).equals(whole.read(name))
    assert len(recordings(whole)) == 37 and len(rejected(whole)) == 2


def test_the_same_input_again_adds_nothing(tmp_path: Path, store: Store) -> None:
    table = write(tmp_path / "m.csv", PACK, pack_row(1), pack_row(""), pack_row(1, title="x"))
    first = take(data_pack(table), store)
    before = recordings(store), rejected(store)
    again = take(data_pack(table), store)
    assert (first.added, again.added, again.repeated) == (1, 0, 1)
    assert (recordings(store), rejected(store)) == before


def test_rows_are_written_in_slices_and_counted_after_each(tmp_path: Path, store: Store) -> None:
    source = data_pack(many(tmp_path))
    source.slice_rows = 10
    steps = list(ingest_steps(store, source, AT))
    assert [step.read for step in steps] == [10, 20, 30, 40]
    assert all(map(counted, steps)) and len(store.slices("recordings")) == 4
    assert max(t.num_rows for t in map(_read, store.slices("recordings"))) <= 10


def _read(path: Path) -> Any:
    import pyarrow.parquet as parquet

    return parquet.read_table(path)


def test_rows_are_asked_for_only_as_they_are_written(store: Store) -> None:
    class Endless:
        batch, name, slice_rows, start = "endless", "x", 5, 0
        given = 0

        def rows(self) -> Iterator[Any]:
            from auralith.curation.sources import SourceRow

            while True:
                self.given += 1
                record: Mapping[str, Any] = {"rec_id": f"x:{self.given}", "source": "x"}
                yield SourceRow("f", self.given, None, dict(record))

    source = Endless()
    steps = ingest_steps(store, source, AT)
    assert next(steps).read == 5 and source.given == 5


def test_an_empty_table_is_no_error(tmp_path: Path, store: Store) -> None:
    assert take(data_pack(write(tmp_path / "m.csv", PACK)), store) == IngestProgress(0, 0, 0, {})


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("1.5", 1.5),
        ("02:48", 168.0),
        ("1:00:01", 3601.0),
        (3, 3.0),
        ("", None),
        (None, None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1:x", None),
    ],
)
def test_durations(written: object, found: float | None) -> None:
    assert seconds(written) == found


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("2008-11-26", 2008),
        ("11/26/2008", 2008),
        (1999, 1999),
        ("", None),
        (None, None),
        ("0000", None),
        ("20081", 2008),
        ("unknown", None),
    ],
)
def test_years(written: object, found: int | None) -> None:
    assert year(written) == found


@pytest.mark.skipif("AURALITH_FMA_CSV" not in os.environ, reason="AURALITH_FMA_CSV names no file")
def test_the_published_list_of_the_archive(store: Store) -> None:
    source = Path(os.environ["AURALITH_FMA_CSV"])
    progress = take(stability_list(source), store)
    rows = recordings(store)
    pairs = Counter((row["author"], row["title"]) for row in rows)
    folded = Counter((row["author"].lower(), row["title"].lower()) for row in rows)
    by_license = {
        name: {r["author"] for r in rows if r["license_raw"] == name} for name in ("ccby", "cc0")
    }
    ids = [int(row["source_id"]) for row in rows]
    assert progress.added == 13_874 == len({row["url"] for row in rows}) and not progress.rejected
    assert Counter(row["license_raw"] for row in rows) == {"ccby": 8_967, "cc0": 4_907}
    assert len({row["author"] for row in rows}) == 662
    assert len(by_license["ccby"] & by_license["cc0"]) == 19
    assert ids == sorted(set(ids)) and (ids[0], ids[-1]) == (4_850, 217_288)
    repeats = [[n for n in found.values() if n > 1] for found in (pairs, folded)]
    assert [(len(r), sum(r) - len(r)) for r in repeats] == [(275, 418), (287, 434)]
    texts = [row[name] for name in ("title", "author") for row in rows]
    foreign = [[not row[name].isascii() for row in rows] for name in ("title", "author")]
    assert [sum(found) for found in foreign] == [1_012, 341] and sum(
        map(any, zip(*foreign, strict=True))
    ) == 1_202
    assert sum(not unicodedata.is_normalized("NFC", text) for text in texts) == 25
    titles = texts[: len(rows)]
    assert sum("  " in title for title in titles) == 30
    assert sum(title != title.rstrip() for title in titles) == 2
    assert _as_published(rows) == source.read_bytes()


def _as_published(rows: list[dict[str, Any]]) -> bytes:
    file = io.StringIO(newline="")
    columns = ("source_id", "title", "author", "license_raw", "url")
    csv.writer(file).writerows(
        [["id", "title", "author", "license", "url"], *([row[c] for c in columns] for row in rows)]
    )
    return file.getvalue().encode()
