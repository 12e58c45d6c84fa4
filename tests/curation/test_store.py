"""The tables of a curation: whole files, in order, and nothing lost when something is damaged."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auralith.curation.store import EVIDENCE, RECORDINGS, EvidenceKey, Store, batches
from auralith.errors import ResourceError


def evidence(rec_ids: list[str], version: str = "1", params: str = "p") -> pa.Table:
    shared = {"stage": "toy", "provider": "tests", "provider_version": version, "status": "ok"}
    rows = [{"rec_id": id, "params_hash": params, "verdict": "pass", **shared} for id in rec_ids]
    return pa.Table.from_pylist(rows, EVIDENCE)


def test_a_table_that_was_never_written_is_empty_and_has_its_columns(tmp_path: Path) -> None:
    store = Store(tmp_path / "new")
    assert store.read("recordings").schema == RECORDINGS
    assert store.read("license").schema == EVIDENCE
    assert store.read("probe", ["rec_id", "sha256"]).column_names == ["rec_id", "sha256"]
    assert not (tmp_path / "new").exists()


def test_slices_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number, ids in ((1, ["c"]), (0, ["b", "a"]), (2, [])):
        store.append("toy", evidence(ids), f"{number:08d}")
    assert store.read("toy")["rec_id"].to_pylist() == ["b", "a", "c"]
    assert store.next_slice("toy") == 3


def test_rows_of_other_settings_or_versions_are_not_finished(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append("toy", evidence(["a"]), "00000000")
    store.append("toy", evidence(["b"], params="q"), "00000001")
    store.append("toy", evidence(["c"], version="2"), "00000002")
    assert store.finished("toy", EvidenceKey("tests", "1", "p")).to_pylist() == ["a"]
    assert store.finished("toy", EvidenceKey("others", "1", "p")).to_pylist() == []
    assert store.read("toy", ["rec_id"], EvidenceKey("tests", "2", "p")).column_names == ["rec_id"]


def test_a_later_slice_may_have_more_columns(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append("toy", evidence(["a"]), "00000000")
    store.append("toy", evidence(["b"]).append_column("words", pa.array([["x"]])), "00000001")
    assert store.read("toy", ["rec_id", "words"]).to_pylist() == [
        {"rec_id": "a", "words": None},
        {"rec_id": "b", "words": ["x"]},
    ]


def test_what_a_killed_writer_left_is_no_slice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append("toy", evidence(["a"]), "00000000")
    rest = tmp_path / "toy" / ".auralith-0badcafe.part"
    rest.write_bytes(b"PAR1 and no more")
    assert store.read("toy").num_rows == 1


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"not a table at all" * 9])
def test_a_damaged_slice_is_named(tmp_path: Path, damage: bytes) -> None:
    store = Store(tmp_path)
    store.append("toy", evidence(["a"]), "00000000")
    (tmp_path / "toy" / "00000000.parquet").write_bytes(damage)
    with pytest.raises(ResourceError, match=r"00000000\.parquet can't be read"):
        store.read("toy")


def test_a_text_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.append("toy", evidence(["wxyz"]), "00000000")
    path = tmp_path / "toy" / "00000000.parquet"
    pq.write_table(store.read("toy"), path, compression="none", use_dictionary=False)
    data = path.read_bytes()
    assert b"wxyz" in data
    path.write_bytes(data.replace(b"wxyz", b"wx\xca\xff"))
    with pytest.raises(ResourceError, match=r"00000000\.parquet can't be read .*; remove it"):
        store.read("toy")


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="can't be made"):
        Store(tmp_path / "file").append("toy", evidence(["a"]), "00000000")


def test_an_id_stored_twice_is_one_recording_the_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for batch, ids in (("batch-0", ["b:2", "a:1"]), ("batch-1", ["a:1", "c:3"])):
        rows = [{"rec_id": id, "title": f"{id} of {batch}"} for id in ids]
        store.append("recordings", pa.Table.from_pylist(rows, RECORDINGS), batch)
    titles = dict(zip(*store.recordings(["rec_id", "title"]).to_pydict().values(), strict=True))
    assert list(titles) == ["a:1", "b:2", "c:3"] and titles["a:1"] == "a:1 of batch-0"


def test_batches_are_parts_of_a_size_and_nothing_is_lost() -> None:
    parts = list(batches(evidence(list("abcde")), 2))
    assert [part.num_rows for part in parts] == [2, 2, 1]
    assert pa.concat_tables(parts)["rec_id"].to_pylist() == list("abcde")
