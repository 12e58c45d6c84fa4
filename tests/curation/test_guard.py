"""Recordings of evaluation sets, by id or by sound, are kept out with the name of the set."""

from pathlib import Path

import pyarrow as pa
import pytest

from auralith.curation.guard import (
    EvalSet,
    GuardSettings,
    GuardStage,
    overlaps_of,
    read_overlaps,
)
from auralith.curation.stage import Finding, Stage
from auralith.curation.store import Store
from auralith.errors import InvalidRequest


def guard(stage: GuardStage, *ids: str) -> list[Finding]:
    rows = [{"rec_id": id, "source": id.split(":")[0], "source_id": id.split(":")[1]} for id in ids]
    return stage.process(rows, Path("."))


def blocklist(folder: Path, name: str, text: str) -> EvalSet:
    (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return EvalSet(name, folder / f"{name}.csv")


def test_an_id_of_a_published_set_is_refused_with_the_set(tmp_path: Path) -> None:
    clotho = blocklist(tmp_path, "clotho", "file_name,sound_id\na.wav,123\nb.wav,Not found\n")
    found = guard(GuardStage(GuardSettings((clotho,))), "freesound:123", "freesound:124", "fma:123")
    assert [one.reason_code for one in found] == ["eval_overlap:clotho", None, None]
    assert found[0].columns == {"eval_sets": ["clotho"], "overlap_by": "id"}
    assert found[1].verdict == "pass"


@pytest.mark.parametrize(
    ("name", "header", "source"),
    [
        ("fsd50k", "fname,labels,mids,split", "freesound"),
        ("esc50", "filename,fold,target,category,esc10,src_file,take", "freesound"),
        ("urbansound8k", "slice_file_name,fsID,start", "freesound"),
        ("song_describer", "caption_id,track_id,caption", "jamendo"),
    ],
)
def test_the_tables_of_the_sets_are_read_as_published(
    tmp_path: Path, name: str, header: str, source: str
) -> None:
    cells = ",".join(
        "77" if c in ("fname", "src_file", "fsID", "track_id") else "x" for c in header.split(",")
    )
    stage = GuardStage(GuardSettings((blocklist(tmp_path, name, f"{header}\n{cells}\n"),)))
    assert guard(stage, f"{source}:77")[0].reason_code == f"eval_overlap:{name}"


def test_youtube_ids_are_compared_as_they_are(tmp_path: Path) -> None:
    audiocaps = blocklist(tmp_path, "audiocaps", "audiocap_id,youtube_id\n1,-0aBc_9\n")
    found = guard(GuardStage(GuardSettings((audiocaps,))), "youtube:-0aBc_9", "youtube:-0abc_9")
    assert [one.verdict for one in found] == ["refuse", "pass"]


def test_an_own_set_names_its_source_and_column(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("track\n7\n")
    mine = EvalSet("mine", tmp_path / "mine.csv", "fma", "track")
    assert guard(GuardStage(GuardSettings((mine,))), "fma:7")[0].reason_code == "eval_overlap:mine"


def test_a_match_with_evaluation_audio_is_an_overlap() -> None:
    matches = [
        ("freesound:2", "song_describer:9"),
        ("freesound:1", "catalogue:4"),
        ("freesound:2", "audiocaps:x"),
        ("freesound:3", "audiocaps"),
    ]
    overlaps = overlaps_of(matches, ["audiocaps", "song_describer"])
    assert overlaps == {"freesound:2": ["audiocaps", "song_describer"]}
    found = guard(GuardStage(GuardSettings(), overlaps), "freesound:1", "freesound:2")
    assert [one.reason_code for one in found] == [None, "eval_overlap:audiocaps"]
    assert found[1].columns["overlap_by"] == "fingerprint"


def test_overlaps_are_read_from_the_identification_evidence(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert read_overlaps(store, ["clotho"]) == {}
    rows = [
        {"rec_id": "a:1", "best_ref": "catalogue:1", "matches": [{"ref": "clotho:5", "p": 1e-20}]},
        {"rec_id": "a:2", "best_ref": "clotho:6", "matches": None},
        {"rec_id": "a:3", "best_ref": None, "matches": []},
    ]
    store.append("identify", pa.Table.from_pylist(rows), "00000000")
    assert read_overlaps(store, ["clotho"]) == {"a:1": ["clotho"], "a:2": ["clotho"]}
    assert read_overlaps(store, []) == {}


def test_a_longer_list_and_new_overlaps_check_everything_again(tmp_path: Path) -> None:
    one = GuardStage(GuardSettings((blocklist(tmp_path, "fsd50k", "fname\n1\n"),)))
    same = GuardStage(GuardSettings((blocklist(tmp_path, "fsd50k", "fname\n1\n1\n"),)))
    more = GuardStage(GuardSettings((blocklist(tmp_path, "fsd50k", "fname\n1\n2\n"),)))
    heard = GuardStage(more.settings, {"freesound:9": ["audiocaps"]})
    assert one.provider_version == same.provider_version
    assert len({s.provider_version for s in (one, more, heard)}) == 3


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("clotho", "", "no column 'sound_id'"),
        ("clotho", "id\n1\n", "no column 'sound_id'"),
        ("clotho", "sound_id\nNot found\n", "no freesound id"),
        ("unheard_of", "id\n1\n", "no source"),
    ],
)
def test_a_list_that_blocks_nothing_is_refused(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says):
        GuardStage(GuardSettings((blocklist(tmp_path, name, text),)))


def test_a_missing_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="can't be read"):
        GuardStage(GuardSettings((EvalSet("clotho", tmp_path / "none.csv"),)))


def test_titles_in_another_encoding_dont_hide_the_ids(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes("file_name,sound_id\ncaf\xe9.wav,5\n".encode("latin-1"))
    stage = GuardStage(GuardSettings((EvalSet("clotho", tmp_path / "c.csv"),)))
    assert guard(stage, "freesound:5")[0].verdict == "refuse"


def test_it_is_a_stage_whose_columns_are_its_schema() -> None:
    stage = GuardStage(GuardSettings())
    assert isinstance(stage, Stage)
    assert stage.schema.names == list(guard(stage, "a:1")[0].columns)
