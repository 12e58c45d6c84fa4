"""Tagging with a tagger that hears what the test wrote: windows, counts, rules, verdicts; and AST behind the protocol."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import typer
from jaxtyping import Float
from typer.testing import CliRunner, Result

from auralith.cli.curate.tagging import register
from auralith.cli.fields import name_options
from auralith.curation.stage import Finding, Stage
from auralith.curation.store import RECORDINGS, Store
from auralith.curation.tagging.meter import (
    THRESHOLDS,
    MusicMeter,
    Tagger,
    TaggerFacts,
    windows,
)
from auralith.curation.tagging.stage import Tagging, TaggingSettings, pinned, tag_schema
from auralith.curation.tagging.taggers import PIN_NAME, AstTagger
from auralith.errors import CheckpointError, InvalidRequest, ResourceError
from auralith.sound.stream import open_sound

RATE, HOP = 32_000, 320
FACTS = TaggerFacts("stub", RATE, 10 * RATE, HOP)
MUSIC, SPEECH, GUITAR = 137, 0, 140
DEFAULTS = TaggingSettings()


class Stub:
    """A frame's probability of Music is its first sample, of a guitar the second, of speech the third."""

    facts = FACTS

    def weights_sha256(self) -> str:
        return "5" * 64

    def framewise(self, waveform: Float[np.ndarray, "sample"]) -> Float[np.ndarray, "frame label"]:
        assert waveform.shape == (FACTS.window_samples,)
        probabilities = np.zeros((1_000, 527), np.float32)
        for place, label in enumerate((MUSIC, GUITAR, SPEECH)):
            probabilities[:, label] = np.abs(waveform[place::HOP])
        return probabilities


def sound(frames: list[tuple[int, float]], place: int = 0, rest: int = 0) -> np.ndarray:
    """Stretches of (number of frames, probability), and samples of a last frame that is cut short."""
    levels = np.repeat([level for _, level in frames], [count for count, _ in frames])
    samples = np.zeros((len(levels) + 1, HOP), np.float32)
    samples[:-1, place] = levels
    return samples.reshape(-1)[: len(levels) * HOP + rest]


def tagged(tmp_path: Path, samples: np.ndarray, settings: TaggingSettings = DEFAULTS) -> Finding:
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    stage = Tagging(settings, tagger=Stub())
    (finding,) = stage.process([{"rec_id": "a:1", "path": "a.wav"}], tmp_path)
    return finding


def seconds_at(finding: Finding, tau: float) -> float:
    return finding.columns["music_seconds"][THRESHOLDS.index(tau)]


def test_it_is_a_stage_and_the_stub_a_tagger() -> None:
    assert isinstance(Stub(), Tagger)
    assert isinstance(Tagging(tagger=Stub()), Stage)


# windows and rows


@pytest.mark.parametrize(
    ("seconds", "count", "rows"),
    [
        (0.1, 1, 10),
        (9.99, 1, 999),
        (10, 1, 1_000),
        (10.01, 2, 1_001),
        (30, 3, 3_000),
        (47, 5, 4_700),
    ],
)
@pytest.mark.parametrize("rate", [32_000, 44_100])
def test_windows_and_rows_of_lengths(
    tmp_path: Path, seconds: float, count: int, rows: int, rate: int
) -> None:
    samples = np.full(round(seconds * rate), 0.5, np.float32)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    with open_sound(tmp_path / "a.wav") as stream:
        found = list(windows(stream, RATE, FACTS.window_samples, "mean"))
    assert len(found) == count
    assert all(window.channels.shape == (1, FACTS.window_samples) for window in found)
    assert sum(-(-window.num_samples // HOP) for window in found) == rows
    stage = Tagging(tagger=Stub())
    (finding,) = stage.process([{"rec_id": "a:1", "path": "a.wav"}], tmp_path)
    assert finding.columns["seconds"] == rows / 100


def test_a_frame_that_is_cut_short_counts_and_padding_does_not(tmp_path: Path) -> None:
    finding = tagged(tmp_path, sound([(5, 0.9)], rest=1))
    assert finding.columns["seconds"] == 0.06
    assert seconds_at(finding, 0.15) == 0.05


def test_padding_never_counts(tmp_path: Path) -> None:
    class Hallucinating(Stub):
        def framewise(
            self, waveform: Float[np.ndarray, "sample"]
        ) -> Float[np.ndarray, "frame label"]:
            return np.full((1_000, 527), 0.99, np.float32)

    soundfile.write(tmp_path / "a.wav", np.zeros(RATE * 12), RATE)
    (finding,) = Tagging(tagger=Hallucinating()).process(
        [{"rec_id": "a:1", "path": "a.wav"}], tmp_path
    )
    assert seconds_at(finding, 0.95) == 12.0
    assert finding.verdict == "pass"


def test_windows_join_to_the_resampled_whole(tmp_path: Path) -> None:
    import soxr

    samples = 0.1 * np.random.default_rng(0).standard_normal(44_100 * 11).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, 44_100, subtype="FLOAT")
    with open_sound(tmp_path / "a.wav") as stream:
        parts = [w.channels[0, : w.num_samples] for w in windows(stream, RATE, 10 * RATE, "mean")]
    expected = soxr.resample(samples, 44_100, RATE)
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-6)


# music seconds


@pytest.mark.parametrize(("frames", "flagged"), [(2_999, False), (3_000, True), (3_001, True)])
def test_music_is_flagged_from_30_seconds(tmp_path: Path, frames: int, flagged: bool) -> None:
    finding = tagged(tmp_path, sound([(1_500, 0.8), (777, 0.0), (frames - 1_500, 0.2), (100, 0.1)]))
    assert finding.status == "ok"
    assert (finding.verdict, finding.reason_code) == (
        ("flag", "music") if flagged else ("pass", None)
    )
    assert finding.score == seconds_at(finding, 0.15) == frames / 100


@pytest.mark.parametrize("tau", THRESHOLDS)
def test_a_probability_equal_to_the_threshold_is_active(tmp_path: Path, tau: float) -> None:
    below = float(np.nextafter(np.float32(tau), np.float32(0)))
    finding = tagged(tmp_path, sound([(7, tau), (4, below)]), TaggingSettings(threshold=tau))
    assert seconds_at(finding, tau) == finding.score == 0.07


def test_the_grid_is_kept_for_every_threshold(tmp_path: Path) -> None:
    levels = np.random.default_rng(2).random(1_234).astype(np.float32)
    finding = tagged(tmp_path, sound([(1, float(level)) for level in levels]))
    expected = [int((levels >= np.float32(tau)).sum()) / 100 for tau in THRESHOLDS]
    assert finding.columns["music_seconds"] == expected
    assert len(THRESHOLDS) == 19
    assert finding.columns["clipwise_max"] == levels.max()


def test_q3000_is_the_3000th_largest_frame(tmp_path: Path) -> None:
    levels = np.random.default_rng(2).permutation(np.linspace(0, 1, 3_400, dtype=np.float32))
    finding = tagged(tmp_path, sound([(1, float(level)) for level in levels]))
    assert finding.columns["q3000"] == np.sort(levels)[::-1][2_999]
    short = tagged(tmp_path, sound([(2_999, 0.9)]))
    assert short.columns["q3000"] is None


def test_other_classes_do_not_count(tmp_path: Path) -> None:
    finding = tagged(tmp_path, sound([(3_100, 0.9)], place=2))
    assert finding.verdict == "pass"
    assert seconds_at(finding, 0.05) == 0
    assert finding.columns["top_classes"] == []


def test_classes_are_united_and_the_longest_are_named(tmp_path: Path) -> None:
    music = np.concatenate([sound([(2_000, 0.5)]), sound([(1_500, 0.3)], place=1)])
    finding = tagged(tmp_path, music)
    assert finding.reason_code == "music"
    assert finding.score == 35.0
    assert finding.columns["top_classes"] == [
        {"index": MUSIC, "seconds": 20.0},
        {"index": GUITAR, "seconds": 15.0},
    ]
    only = tagged(tmp_path, music, TaggingSettings(class_set="music_only"))
    assert (only.score, only.verdict) == (20.0, "pass")


def test_rules(tmp_path: Path) -> None:
    samples = np.concatenate(
        [sound([(2_000, 0.5)]), sound([(1_500, 0.3)], place=1), sound([(50, 0.0), (400, 0.2)])]
    )

    def score(rule: Any) -> float | None:
        return tagged(tmp_path, samples, TaggingSettings(rule=rule)).score

    assert score("cumulative") == 39.0
    assert score("per_class") == 24.0
    assert score("longest_run") == 35.0
    assert score("clipwise") == 40.0


def test_the_longest_run_goes_on_over_windows(tmp_path: Path) -> None:
    finding = tagged(tmp_path, sound([(900, 0.0), (250, 0.5), (3, 0.0), (249, 0.5)]))
    assert finding.columns["longest_run_s"] == 2.5


@pytest.mark.parametrize(("stereo", "found"), [("mean", 0.0), ("max", 1.0)])
def test_antiphase_music_vanishes_in_the_mean(tmp_path: Path, stereo: Any, found: float) -> None:
    left = sound([(100, 0.5)])
    finding = tagged(tmp_path, np.stack([left, -left], 1), TaggingSettings(stereo=stereo))
    assert finding.score == found


def test_stereo_is_the_mean_or_the_louder_voice(tmp_path: Path) -> None:
    pair = np.stack([sound([(100, 0.2)]), sound([(100, 0.0)])], 1)
    assert tagged(tmp_path, pair).columns["clipwise_max"] == pytest.approx(0.1)
    louder = tagged(tmp_path, pair, TaggingSettings(stereo="max"))
    assert louder.columns["clipwise_max"] == pytest.approx(0.2)


def test_short_music_is_flagged_only_on_request(tmp_path: Path) -> None:
    on = TaggingSettings(flag_short=True)
    assert tagged(tmp_path, sound([(400, 0.5), (100, 0.0)])).verdict == "pass"
    assert tagged(tmp_path, sound([(400, 0.5), (100, 0.0)]), on).reason_code == "music_short"
    assert tagged(tmp_path, sound([(399, 0.5), (101, 0.0)]), on).verdict == "pass"
    assert tagged(tmp_path, sound([(299, 0.5)]), on).verdict == "pass"
    assert tagged(tmp_path, sound([(3_000, 0.5)]), on).reason_code == "music"


def test_thresholds_and_seconds_are_settings(tmp_path: Path) -> None:
    samples = sound([(500, 0.4)])
    assert tagged(tmp_path, samples, TaggingSettings(min_seconds=5.0)).reason_code == "music"
    strict = TaggingSettings(min_seconds=5.0, threshold=0.41)
    assert tagged(tmp_path, samples, strict).verdict == "pass"
    for wrong in ({"threshold": 0.0}, {"threshold": 1.0}, {"min_seconds": 0.0}):
        with pytest.raises(InvalidRequest):
            replace(TaggingSettings(), **wrong)


def test_the_columns_are_those_of_the_schema(tmp_path: Path) -> None:
    finding = tagged(tmp_path, sound([(500, 0.4)]))
    assert list(finding.columns) == tag_schema().names
    (row,) = pa.Table.from_pylist([dict(finding.columns)], tag_schema()).to_pylist()
    assert (row["tagger"], row["weights_sha256"], row["class_set"]) == ("stub", "5" * 64, "subtree")


def test_a_long_file_keeps_four_bytes_a_frame() -> None:
    meter = MusicMeter(FACTS, FACTS.classes("subtree"), 0.15, 30.0)
    probabilities = np.zeros((1_000, 527), np.float32)
    for _ in range(40):
        meter.add(probabilities)
    assert sum(part.nbytes for part in meter._m) == 40 * 1_000 * 4


# what bad input gets


def test_bad_files_are_rows_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound\n" * 99)
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 1)), RATE)
    spoiled = np.zeros(RATE, np.float32)
    spoiled[5] = np.nan
    soundfile.write(tmp_path / "nan.wav", spoiled, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "good.wav", np.zeros(RATE), RATE)
    names = ["empty.wav", "text.wav", "none.wav", "nan.wav", "gone.wav", "../x.wav", None]
    rows = [{"rec_id": str(i), "path": name} for i, name in enumerate([*names, "good.wav"])]
    found = Tagging(tagger=Stub()).process(rows, tmp_path)
    assert [finding.reason_code for finding in found] == [
        *("empty_file", "not_audio", "no_samples", "nan_samples", "missing_file"),
        *("unsafe_path", "no_path", None),
    ]
    assert {finding.verdict for finding in found[:-1]} == {"quarantine"}
    assert found[-1].verdict == "pass"


@pytest.mark.parametrize("wrong", [np.nan, 1.5, -0.1])
def test_an_answer_that_is_no_probability_never_passes(tmp_path: Path, wrong: float) -> None:
    class Broken(Stub):
        def framewise(
            self, waveform: Float[np.ndarray, "sample"]
        ) -> Float[np.ndarray, "frame label"]:
            probabilities = super().framewise(waveform)
            probabilities[17, SPEECH] = wrong
            return probabilities

    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    (finding,) = Tagging(tagger=Broken()).process([{"rec_id": "a:1", "path": "a.wav"}], tmp_path)
    assert (finding.status, finding.reason_code) == ("error", "not_a_probability")


def test_missing_weights_are_said_before_any_file_is_heard(tmp_path: Path) -> None:
    stage = Tagging(weights=tmp_path / "gone.pth")
    with pytest.raises(CheckpointError, match="3987831"):
        stage.process([{"rec_id": "a:1", "path": "a.wav"}], tmp_path)


def test_settings_are_pinned_to_the_weights_at_hand(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"some weights")
    digest = hashlib.sha256(b"some weights").hexdigest()
    allowed = pinned(TaggingSettings(allow_unknown_weights=True), path)
    assert allowed == pinned(TaggingSettings(weights_sha256=digest), path)
    assert allowed.weights_sha256 == digest
    with pytest.raises(CheckpointError, match="--allow-unknown-weights"):
        pinned(TaggingSettings(), path)
    with pytest.raises(CheckpointError, match="fetch the file again"):
        pinned(TaggingSettings(weights_sha256="0" * 64), path)
    with pytest.raises(CheckpointError, match="3987831"):
        pinned(TaggingSettings(), None)


def test_the_first_unknown_file_that_is_trusted_is_the_only_one(tmp_path: Path) -> None:
    first, second = tmp_path / "first.pth", tmp_path / "second.pth"
    first.write_bytes(b"some weights")
    second.write_bytes(b"other weights")
    one, other = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (first, second))
    allowing, plain = TaggingSettings(allow_unknown_weights=True), TaggingSettings()
    with pytest.raises(CheckpointError, match="--allow-unknown-weights"):
        pinned(plain, first, tmp_path)
    assert pinned(allowing, first, tmp_path).weights_sha256 == one
    assert pinned(plain, first, tmp_path).weights_sha256 == one  # no flag is needed again
    for settings in (plain, allowing):
        with pytest.raises(CheckpointError, match="trusts") as caught:
            pinned(settings, second, tmp_path)
        said = str(caught.value)
        assert one in said and other in said and PIN_NAME in said and "\n" not in said
    assert pinned(TaggingSettings(weights_sha256=other), second, tmp_path).weights_sha256 == other
    (tmp_path / PIN_NAME).unlink()  # the way to trust another
    assert pinned(allowing, second, tmp_path).weights_sha256 == other
    with pytest.raises(CheckpointError, match="trusts"):
        pinned(allowing, first, tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"panns": "x"}', b"\xff"])
def test_a_damaged_pin_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"some weights")
    (tmp_path / PIN_NAME).write_bytes(content)
    with pytest.raises(ResourceError, match="remove it to pin again"):
        pinned(TaggingSettings(allow_unknown_weights=True), path, tmp_path)


# classes


def test_class_sets() -> None:
    subtree = FACTS.classes("subtree")
    assert len(subtree) == 150
    assert subtree == (28, 30, 31, 92, *range(137, 283))
    assert FACTS.classes("music_only") == (137,)
    singing = set(FACTS.classes("subtree+singing"))
    assert singing - set(subtree) == {27, 29, 32, 33, 34, 35, 36, 37}
    assert set(subtree) - set(FACTS.classes("subtree-bells")) == set(range(200, 208))


# AST


@pytest.fixture(scope="module")
def ast_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ast(tmp_path_factory.mktemp("ast"), 527)


def write_ast(folder: Path, num_labels: int) -> Path:
    import torch
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    config = ASTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        patch_size=16,
        frequency_stride=64,
        time_stride=64,
    )
    config.num_labels = num_labels
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ASTForAudioClassification(config).save_pretrained(folder)
    ASTFeatureExtractor().save_pretrained(folder)
    return folder


def test_ast_says_one_row_for_a_window(ast_folder: Path) -> None:
    tagger = AstTagger(ast_folder, device="cpu")
    assert isinstance(tagger, Tagger)
    noise = 0.1 * np.random.default_rng(0).standard_normal(163_840).astype(np.float32)
    found = tagger.framewise(noise)
    assert found.shape == (1, 527)
    assert ((found > 0) & (found < 1)).all()
    assert not np.array_equal(found, tagger.framewise(noise * 0.01))


def test_ast_counts_windows_of_10_24_seconds(ast_folder: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(16_000 * 31, 0.1), 16_000)
    settings = TaggingSettings(tagger="ast", threshold=0.01)
    stage = Tagging(settings, ast_folder, "cpu")
    (finding,) = stage.process([{"rec_id": "a:1", "path": "a.wav"}], tmp_path)
    assert finding.columns["seconds"] == pytest.approx(4 * 10.24)
    assert finding.score == pytest.approx(4 * 10.24)
    assert finding.reason_code == "music"
    assert finding.columns["tagger"] == "ast"


def test_ast_of_other_classes_or_none_is_refused(tmp_path: Path) -> None:
    noise = np.zeros(163_840, np.float32)
    with pytest.raises(CheckpointError, match="10 classes"):
        AstTagger(write_ast(tmp_path / "ten", 10), device="cpu").framewise(noise)
    with pytest.raises(CheckpointError, match="MIT/ast"):
        AstTagger(tmp_path, device="cpu").framewise(noise)
    with pytest.raises(CheckpointError, match="SHA-256"):
        AstTagger(tmp_path / "ten", sha256="0" * 64, device="cpu").framewise(noise)


# the command


def curation(folder: Path) -> Store:
    rows = [{"rec_id": f"x:{n}", "source": "x", "path": f"{n}.wav"} for n in ("a", "gone")]
    store = Store(folder / "curation")
    store.append("recordings", pa.Table.from_pylist(rows, RECORDINGS), "00000000")
    soundfile.write(folder / "a.wav", np.full(16_000 * 31, 0.1), 16_000)
    return store


def invoke(*arguments: object) -> Result:
    app = typer.Typer()
    register(app)
    name_options(app)
    return CliRunner().invoke(app, ["tag", *map(str, arguments)])


def test_the_command_tags_and_pins_the_weights(ast_folder: Path, tmp_path: Path) -> None:
    store = curation(tmp_path)
    settings = ("--set", "tagger=ast", "--set", "threshold=0.01")
    found = invoke(store.folder, "--root", tmp_path, "--weights", ast_folder, *settings)
    assert found.exit_code == 0, found.output
    assert "1  flag: music" in found.output
    assert "1  quarantine: missing_file" in found.output
    tags = store.read("tag", ["weights_sha256"])["weights_sha256"].unique().to_pylist()
    weights = (ast_folder / "model.safetensors").read_bytes()
    assert tags == [hashlib.sha256(weights).hexdigest()]


def test_the_command_writes_nothing_without_weights(tmp_path: Path) -> None:
    store = curation(tmp_path)
    found = invoke(store.folder, "--root", tmp_path)
    assert isinstance(found.exception, CheckpointError)
    assert not store.slices("tag")
    unknown = invoke(store.folder, "--root", tmp_path, "--set", "class_set=everything")
    assert isinstance(unknown.exception, InvalidRequest)
