"""The metadata search: catalogue, blocks, tiers, stage (facts 8)."""

import csv
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import pyarrow as pa
import pytest
from rapidfuzz import fuzz

from auralith.curation.metadata import (
    MetadataSettings,
    MetadataStage,
    Searcher,
    SearchResult,
    TierOptions,
    Work,
    read_catalogue,
)
from auralith.curation.metadata.catalogue import collect, consonants
from auralith.curation.stage import Stage, params_hash
from auralith.errors import AuralithError, InvalidRequest, ResourceError
from benchmarks.metadata_catalogue import generate_catalogue

HEADER = ["", "track_id", "artists", "album_name", "track_name", "popularity", "duration_ms"]
KNOWN = [
    Work("a1", "Silver Lining on Fire", "Norvik Band", "First Light", 201.0),
    Work("a2", "Love", "Norvik Band", "First Light", 180.0),
    Work("a3", "Zygomorphic", "Ulla Thorn;Per Osk", "Garden", 150.0),
    Work("a4", "@", "Signs", "Marks", 90.0),
    Work("a5", "Кукушка", "Виктор Ивлев", "Лес", 300.0),
]


def best(title: str, artist: str, album: str = "", works: Sequence[Work] = KNOWN) -> str | None:
    [found] = Searcher(collect(works)).search([Work("q", title, artist, album)])
    return f"{found.matches[0].tier} {found.matches[0].ref_id}" if found.matches else None


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


# Tiers


def test_a_artist_and_title_equal() -> None:
    assert best("SILVER LINING (on fire)", "The Norvik Band") == "A a1"
    assert best("love", "norvik band") == "A a2"


def test_b_both_nearly_equal() -> None:
    assert best("Silver Linning on Fire", "Norvik Bande") == "B a1"


def test_c_artist_equal_title_not() -> None:
    assert (best("Something Else", "Norvik Band") or "").startswith("C ")


def test_d_telling_title_nearly_equal_and_similar_artist() -> None:
    assert best("Silver Lining on Fire", "Norvik") == "D a1"


def test_e_album_and_artist_equal() -> None:
    assert (best("Something Else", "Norvik Band", "first light") or "").startswith("E ")


def test_an_empty_album_equals_no_album() -> None:
    works = [Work("x", "One", "Ann", ""), Work("y", "Two", "Ann", "")]
    assert (best("Three", "Ann", "", works) or "").startswith("C ")


@pytest.mark.parametrize(
    "title", ["Love", "@", "", "Silver Lining on Fire", "Zygomorphic", "Кукушка"]
)
@pytest.mark.parametrize("artist", ["Quite Another", "", "-", "@"])
def test_nothing_matches_on_title_alone(title: str, artist: str) -> None:
    assert best(title, artist) is None


def test_a_short_or_frequent_title_needs_more_than_a_similar_artist() -> None:
    many = [Work(f"m{i}", "Audio Track", f"Artist {i} Of Many") for i in range(200)]
    assert best("Audio Track", "Many", "", many) is None


def test_a_short_title_of_a_rare_word_is_telling() -> None:
    works = [Work(f"n{i}", f"Word{i} Tune", f"Person {i}") for i in range(300)]
    for cut, expected in ((5.7, ["n7"]), (5.8, [])):  # log(300 titles / 1) = 5.704
        searcher = Searcher(collect(works), TierOptions(idf_cut=cut))
        [found] = searcher.search([Work("q", "Word7 Tune", "7 Person Number")])
        assert [one.ref_id for one in found.matches if one.tier == "D"] == expected


def test_two_empty_keys_are_not_equal() -> None:
    works = [Work("x", "-", "=", "")]
    assert best("@", "+", "", works) is None
    assert best("-", "=", "", works) == "A x"


def test_each_of_several_artists_counts_and_all_together() -> None:
    for artist in ("Ulla Thorn", "Per Osk", "Ulla Thorn & Per Osk", "Ulla Thorn and Per Osk"):
        assert best("Zygomorphic", artist) == "A a3"


def test_words_of_an_artist_may_come_in_another_order() -> None:
    assert best("Zygomorphic", "Thorn, Ulla") == "A a3"


def test_another_script_is_found_by_its_latin_letters() -> None:
    assert best("Kukushka", "Viktor Ivlev") == "A a5"


def test_the_strongest_match_comes_first_and_all_are_there() -> None:
    searcher, query = Searcher(collect(KNOWN)), Work("q", "Love", "Norvik Band", "First Light")
    [found] = searcher.search([query])
    assert [(one.tier, one.ref_id) for one in found.matches] == [("A", "a2"), ("E", "a1")]
    [found] = searcher.search([query], limit=1)
    assert ([one.ref_id for one in found.matches], found.total) == (["a2"], 2)


def test_evidence_has_the_duration_difference_and_what_was_moved_aside() -> None:
    query = Work("q", "Love (Live).mp3", "Norvik Band", "", 182.5)
    [match, _] = Searcher(collect(KNOWN)).search([query])[0].matches
    assert match.duration_delta_s == -2.5
    assert match.flags == ("same_duration", "query_live", "query_suffix")
    [match, _] = Searcher(collect(KNOWN)).search([replace(query, seconds=183.0)])[0].matches
    assert "same_duration" not in match.flags
    [match, _] = Searcher(collect(KNOWN)).search([replace(query, seconds=None)])[0].matches
    assert match.duration_delta_s is None


def test_blocks_miss_nothing_that_the_rules_find_by_the_full_cross_with_an_equal_artist() -> None:
    catalogue = generate_catalogue(100, seed=5)
    works = catalogue.works
    pairs = Searcher(catalogue).pairs(works)
    found = {(int(q), int(r)) for q, r in zip(pairs.query, pairs.reference, strict=True)}
    for (i, one), (j, two) in product(enumerate(works), repeat=2):
        if one.artist.casefold() == two.artist.casefold():
            assert (i, j) in found


def test_scores_are_rapidfuzz_ratios() -> None:
    searcher = Searcher(collect([Work("x", "Abcdefghij", "Klmnopqrst")]))
    pairs = searcher.pairs([Work("q", "Abcdefghxx", "Klmnopqrst")])
    assert pairs.title_score.tolist() == [fuzz.ratio("abcdefghij", "abcdefghxx")]
    assert pairs.artist_score.tolist() == [100.0]


def test_the_consonant_block_is_the_first_eight() -> None:
    assert consonants("norvik band of brothers") == "nrvkbndf"
    assert consonants("aeiou") == ""


def test_searching_for_nothing_finds_nothing() -> None:
    searcher = Searcher(collect(KNOWN))
    assert searcher.search([]) == []
    assert searcher.search([Work("q", "", "")]) == [SearchResult([], 0)]


def test_large_blocks_are_searched_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auralith.curation.metadata.catalogue._MAX_PAIRS", 7)
    works = [Work(f"w{i}", f"Title {i}", "One Artist") for i in range(40)]
    for query, found in enumerate(Searcher(collect(works)).search(works)):
        assert found.matches[0].ref_id == f"w{query}"
        assert found.total == len(found.matches) == 40


# Catalogue


def test_a_catalogue_is_reduced_to_distinct_tracks(tmp_path: Path) -> None:
    row = ["t1", "Ann;Bo", "Album", "Song", 50, 183_000]
    path = write_csv(tmp_path / "list.csv", [[0, *row], [1, *row], [2, "t2", *row[1:]]])
    catalogue = read_catalogue(path)
    assert [work.id for work in catalogue.works] == ["t1", "t2"]
    assert (catalogue.num_rows, catalogue.duplicates, catalogue.bad) == (3, 1, {})
    assert catalogue.works[0] == Work("t1", "Song", "Ann;Bo", "Album", 183.0)


def test_an_id_with_two_titles_keeps_both_and_says_so(tmp_path: Path) -> None:
    rows = [[0, "t1", "Ann", "Album", "Song", 1, 1], [1, "t1", "Bo", "Other", "Tune", 1, 1]]
    catalogue = read_catalogue(write_csv(tmp_path / "list.csv", rows))
    assert len(catalogue.works) == 2
    assert catalogue.conflicting_ids == 1
    assert "1 ids with differing entries" in catalogue.summary()


def test_bad_rows_are_left_out_with_one_clear_reason(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        [0, "t1", "Ann", "Album", "Song, with comma\nand line", 1, "no number"],
        [1, "", "Ann", "Album", "Song", 1, 1],
        [2, "t2", "", "", "", 1, 1],
        [3, "t3", "too few"],
        [4, "t4", "Bo", "Album", "", 1, -5],
    ]
    catalogue = read_catalogue(write_csv(tmp_path / "list.csv", rows))
    assert [work.id for work in catalogue.works] == ["t1", "t4"]
    assert [work.seconds for work in catalogue.works] == [None, None]
    assert catalogue.num_rows == 5
    assert sum(catalogue.bad.values()) == 3
    assert "no track_id" in catalogue.bad
    assert "\n" not in catalogue.summary()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no column"),
        (b"track_id,artists\n1,2\n", "no column album_name, track_name"),
        (b"\xff\xfe\x00bad", "UTF-8"),
        (b"track_id,artists,album_name,track_name\n", "no row"),
        (b"track_id,artists,album_name,track_name\nx,,,\n", "no row"),
        (b"track_id,artists,album_name,track_name\nx,\xff\xff,,\n", "UTF-8"),
    ],
)
def test_what_is_no_catalogue_is_refused_in_one_line(
    tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidRequest, match=says) as error:
        read_catalogue(path)
    assert "\n" not in str(error.value).strip()


def test_a_missing_catalogue_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"none\.csv"):
        read_catalogue(tmp_path / "none.csv")
    with pytest.raises(ResourceError, match="can't be read"):
        read_catalogue(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(b"\xef\xbb\xbftrack_id,artists,album_name,track_name\nx,Ann,B,C\n")
    assert read_catalogue(path).works == (Work("x", "C", "Ann", "B"),)


# Stage


def row(
    rec_id: str, title: str | None, author: str | None, source: str = "fma"
) -> dict[str, object]:
    return {
        "rec_id": rec_id,
        "source": source,
        "title": title,
        "author": author,
        "album": None,
        "duration_s": 181.0,
    }


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    rows = [
        [i, work.id, work.artist, work.album, work.title, 1, round((work.seconds or 0) * 1000)]
        for i, work in enumerate(KNOWN)
    ]
    return write_csv(tmp_path / "list.csv", rows)


def test_every_tier_is_flagged_for_its_reason_and_nothing_is_refused(catalogue: Path) -> None:
    stage = MetadataStage(MetadataSettings(), catalogue)
    assert isinstance(stage, Stage)
    rows = [
        row("fma:1", "Love", "Norvik Band"),
        row("fma:2", "Something Else", "Norvik Band"),
        row("fma:3", "Untold", "Nobody"),
        row("freesound:4", "Love", "Norvik Band", source="freesound"),
        row("fma:5", "Love", None),
        row("fma:6", None, "Nobody"),
    ]
    found = stage.process(rows, Path())
    assert [(one.status, one.verdict, one.reason_code) for one in found] == [
        ("ok", "flag", "metadata_a"),
        ("ok", "flag", "metadata_c"),
        ("ok", "pass", None),
        ("skipped", "pass", None),
        ("indeterminate", "flag", "metadata_incomplete"),
        ("indeterminate", "flag", "metadata_incomplete"),
    ]


def test_matches_are_evidence(catalogue: Path) -> None:
    stage = MetadataStage(MetadataSettings(max_matches=1), catalogue)
    [finding] = stage.process([row("fma:1", "Love", "Norvik Band")], Path())
    table = pa.Table.from_pylist(
        [{"rec_id": "fma:1", **finding.columns}],
        pa.schema([("rec_id", pa.string()), *stage.schema]),
    )
    assert table["num_matches"].to_pylist() == [2]
    [[match]] = table["matches"].to_pylist()
    assert {name: match[name] for name in ("ref_id", "tier", "duration_delta_s")} == {
        "ref_id": "a2",
        "tier": "A",
        "duration_delta_s": -1.0,
    }
    assert match["artist_score"] == match["title_score"] == finding.score == 100.0
    assert match["flags"] == ["same_duration"]


def test_another_content_of_the_catalogue_is_another_version(
    catalogue: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.csv"
    moved.write_bytes(catalogue.read_bytes())
    before, same = (MetadataStage(MetadataSettings(), path) for path in (catalogue, moved))
    assert before.provider_version == same.provider_version
    moved.write_bytes(catalogue.read_bytes() + b"9,new,Zed,Z,Zed Song,1,1000\n")
    os.utime(moved, ns=(1, 1))
    after = MetadataStage(MetadataSettings(), moved)
    assert after.provider_version != before.provider_version
    [found] = after.process([row("fma:1", "Zed Song", "Zed")], Path())
    assert found.reason_code == "metadata_a"


def test_other_thresholds_are_other_settings() -> None:
    assert params_hash(MetadataSettings()) != params_hash(
        MetadataSettings(tiers=TierOptions(near=80.0))
    )
    with pytest.raises(InvalidRequest, match="max_matches"):
        MetadataSettings(max_matches=0)


def test_a_stage_without_its_catalogue_stops_before_it_writes(tmp_path: Path) -> None:
    with pytest.raises(AuralithError, match=r"none\.csv"):
        MetadataStage(MetadataSettings(), tmp_path / "none.csv")


def test_the_findings_do_not_depend_on_how_rows_are_cut(catalogue: Path) -> None:
    rows = [row(f"fma:{i}", work.title, work.artist) for i, work in enumerate(KNOWN * 3)]
    stage = MetadataStage(MetadataSettings(), catalogue)
    whole = stage.process(rows, Path())
    assert whole == [found for one in rows for found in stage.process([one], Path())]


def test_markup_and_odd_signs_are_text(catalogue: Path) -> None:
    stage = MetadataStage(MetadataSettings(), catalogue)
    odd = [
        "<1",
        "<script>alert(1)</script>",
        "\u200e\u202e",
        "a" * 5_000,
        "\x1b[31m",
        "=cmd()",
        "[" * 500,
    ]
    for finding in stage.process(
        [row(f"fma:{i}", text, text) for i, text in enumerate(odd)], Path()
    ):
        assert finding.verdict in ("pass", "flag")
