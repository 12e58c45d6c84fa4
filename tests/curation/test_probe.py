"""The probe: every column against its definition, and what bad files get."""

import hashlib
import os
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from auralith.cli.curate.probe import register
from auralith.cli.fields import name_options
from auralith.curation.probe import (
    ClipMeter,
    Probe,
    ProbeSettings,
    SilenceMeter,
    SpectrumMeter,
    probe_schema,
)
from auralith.curation.stage import Finding, Stage
from auralith.curation.store import RECORDINGS, Store
from auralith.errors import InvalidRequest
from auralith.sound.reading import read
from auralith.sound.stream import is_lossless, open_sound

RATE = 44_100
DEFAULTS = ProbeSettings()


def noise(
    seconds: float = 1.0, channels: int = 2, rate: int = RATE, level: float = 0.1
) -> np.ndarray:
    generator = np.random.default_rng(7)
    return (level * generator.standard_normal((round(seconds * rate), channels))).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str | None = None) -> Path:
    chosen = subtype or ("FLOAT" if path.suffix == ".wav" else None)
    soundfile.write(path, samples, rate, subtype=chosen)
    return path


def probed(path: Path, settings: ProbeSettings = DEFAULTS) -> Finding:
    (finding,) = Probe(settings).process([{"rec_id": "a:1", "path": path.name}], path.parent)
    return finding


def columns(path: Path, samples: np.ndarray, rate: int = RATE) -> dict[str, Any]:
    return dict(probed(write(path, samples, rate)).columns)


def test_it_is_a_stage() -> None:
    assert isinstance(Probe(), Stage)


def test_a_good_file_passes_with_every_column(tmp_path: Path) -> None:
    finding = probed(write(tmp_path / "a.wav", noise()))
    assert (finding.status, finding.verdict, finding.reason_code) == ("ok", "pass", None)
    assert set(finding.columns) == set(probe_schema().names)
    table = pa.Table.from_pylist([dict(finding.columns)], probe_schema())
    assert table.to_pylist()[0]["num_samples"] == RATE


def test_hashes_are_of_the_bytes_and_of_the_samples(tmp_path: Path) -> None:
    samples = noise()
    found = columns(tmp_path / "a.wav", samples)
    assert found["sha256"] == hashlib.sha256((tmp_path / "a.wav").read_bytes()).hexdigest()
    expected = hashlib.sha256(b"44100,2\n" + samples.astype("<f4").tobytes()).hexdigest()
    assert found["pcm_sha256"] == expected


def test_the_same_samples_in_other_files_have_the_same_pcm_hash(tmp_path: Path) -> None:
    whole = np.rint(noise() * 2**15).astype(np.int16)
    files = [write(tmp_path / f"a.{suffix}", whole, subtype="PCM_16") for suffix in ("wav", "flac")]
    hashes = {probed(path).columns["pcm_sha256"] for path in files}
    assert len(hashes) == 1
    assert columns(tmp_path / "b.flac", whole, 48_000)["pcm_sha256"] not in hashes
    assert columns(tmp_path / "c.flac", whole.reshape(-1, 1))["pcm_sha256"] not in hashes


@pytest.mark.parametrize(
    ("name", "codec", "bits"),
    [
        ("a.wav", "float", 32),
        ("a.flac", "flac", 16),
        ("a.aiff", "pcm_16", 16),
        ("a.ogg", "vorbis", None),
        ("a.mp3", "mpeg_layer_iii", None),
    ],
)
def test_what_the_file_is_comes_from_the_decoder(
    tmp_path: Path, name: str, codec: str, bits: int | None
) -> None:
    found = columns(tmp_path / name, noise(0.7))
    assert (found["codec"], found["bits"]) == (codec, bits)
    assert (found["sample_rate_hz"], found["channels"]) == (RATE, 2)
    assert found["duration_s"] == pytest.approx(0.7, abs=0.06)
    assert found["decoder"].startswith("libsndfile")
    assert is_lossless(codec) == (bits is not None)


def test_pyav_reads_what_libsndfile_does_not(tmp_path: Path) -> None:
    path = m4a(tmp_path / "a.m4a", seconds=3.0)
    found = probed(path)
    assert found.verdict == "pass"
    assert found.columns["codec"] == "aac"
    assert found.columns["bits"] is None
    assert found.columns["decoder"].startswith("PyAV")
    assert found.columns["duration_s"] == pytest.approx(3.0, abs=0.05)
    assert found.columns["note"] is None


def test_pyav_is_streamed_and_equals_the_whole(tmp_path: Path) -> None:
    path = m4a(tmp_path / "a.m4a", seconds=4.0)
    with open_sound(path) as stream:
        blocks = list(stream.blocks())
    assert len(blocks) > 1
    whole, rate = read(path)
    assert rate == stream.format.sample_rate
    np.testing.assert_array_equal(np.concatenate(blocks), whole.numpy().T)


def m4a(path: Path, seconds: float) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="stereo")
        samples = np.ascontiguousarray(noise(seconds).T)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return path


def test_levels(tmp_path: Path) -> None:
    samples = np.full((RATE, 2), 0.25, np.float32)
    samples[:, 1] = -0.1
    samples[100, 0] = -0.5
    found = columns(tmp_path / "a.wav", samples)
    assert found["peak_dbfs"] == pytest.approx(-6.0206, abs=1e-3)


def test_loudness_of_a_calibrated_sine(tmp_path: Path) -> None:
    wave = 10 ** (-23 / 20) * np.sin(2 * np.pi * 997 * np.arange(2 * 48_000) / 48_000)
    found = columns(tmp_path / "a.wav", np.stack([wave, wave], 1).astype(np.float32), 48_000)
    assert found["integrated_lufs"] == pytest.approx(-23.0, abs=0.05)


def test_silent_frames_are_counted(tmp_path: Path) -> None:
    samples = np.concatenate([noise(0.25), noise(0.75, level=1e-4)])
    assert columns(tmp_path / "a.wav", samples)["silence_ratio"] == 0.75


def test_a_silent_file_is_quarantined(tmp_path: Path) -> None:
    finding = probed(write(tmp_path / "a.wav", noise(level=1e-4)))
    assert (finding.status, finding.verdict, finding.reason_code) == ("ok", "quarantine", "silent")
    assert finding.columns["peak_dbfs"] is not None
    digital = probed(write(tmp_path / "b.wav", np.zeros((RATE, 2), np.float32)))
    assert digital.reason_code == "silent"
    assert digital.columns["peak_dbfs"] is digital.columns["bandwidth_hz"] is None


def test_only_runs_of_three_are_clipping(tmp_path: Path) -> None:
    samples = np.zeros((RATE, 2), np.float32)
    samples[10:12] = 1.0  # two: a peak
    samples[20:23, 0] = -1.0  # three in one channel
    samples[65_530:, 1] = 0.0
    samples[40_000, :] = 1.0
    assert columns(tmp_path / "a.wav", samples)["clip_ratio"] == 3 / (2 * RATE)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 100])
def test_runs_go_on_over_blocks(block: int) -> None:
    samples = np.zeros((100, 1), np.float32)
    for start, length in ((0, 3), (10, 2), (20, 5), (40, 1), (97, 3)):
        samples[start : start + length] = 1.0
    meter = ClipMeter(1)
    for start in range(0, 100, block):
        meter.add(samples[start : start + block])
    assert meter.ratio == 0.11


def lowpassed(hz: float, seconds: float = 2.0) -> np.ndarray:
    spectrum = np.fft.rfft(noise(seconds, 1)[:, 0])
    spectrum[int(hz * seconds) :] = 0
    return np.fft.irfft(spectrum)[:, None].astype(np.float32)


def test_bandwidth_is_where_the_spectrum_ends(tmp_path: Path) -> None:
    found = columns(tmp_path / "a.wav", lowpassed(11_000))
    assert found["bandwidth_hz"] == pytest.approx(11_000, abs=150)
    assert not found["full_band"]
    assert found["high_frequency_db"] < -70


def test_a_flat_spectrum_has_the_whole_band(tmp_path: Path) -> None:
    found = columns(tmp_path / "a.wav", noise(3.0))
    assert found["bandwidth_hz"] == RATE / 2
    assert found["high_frequency_db"] == pytest.approx(10 * np.log10(4 / 22.05), abs=0.2)
    assert found["full_band"]


def test_full_band_needs_the_rate_too(tmp_path: Path) -> None:
    found = columns(tmp_path / "a.wav", noise(rate=40_000), 40_000)
    assert found["high_frequency_db"] > -70
    assert not found["full_band"]
    low = columns(tmp_path / "b.wav", noise(rate=16_000), 16_000)
    assert low["high_frequency_db"] is None
    assert not low["full_band"]


@pytest.mark.parametrize("size", [1, 100, 5_000])
def test_meters_do_not_depend_on_the_cut_into_blocks(size: int) -> None:
    samples = np.concatenate([noise(0.2, rate=8_000), noise(0.11, rate=8_000, level=1e-4)])
    meters = (SilenceMeter(8_000, 2, -60.0), SpectrumMeter(8_000, 2))
    whole = (SilenceMeter(8_000, 2, -60.0), SpectrumMeter(8_000, 2))
    for meter, other in zip(meters, whole, strict=True):
        other.add(samples)
        for start in range(0, len(samples), size):
            meter.add(samples[start : start + size])
    assert meters[0].ratio == whole[0].ratio
    np.testing.assert_allclose(meters[1].power, whole[1].power, rtol=1e-5)


def test_a_very_short_file_is_measured(tmp_path: Path) -> None:
    found = columns(tmp_path / "a.wav", noise(10 / RATE))
    assert found["num_samples"] == 10
    assert found["integrated_lufs"] is None
    assert found["silence_ratio"] == 0.0
    assert found["bandwidth_hz"] is not None


def test_the_command_makes_evidence_once(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", noise())
    (tmp_path / "b.wav").touch()
    rows = [{"rec_id": f"x:{n}", "source": "x", "path": f"{n}.wav"} for n in ("a", "b")]
    store = Store(tmp_path / "curation")
    store.append("recordings", pa.Table.from_pylist(rows, RECORDINGS), "00000000")
    app = typer.Typer()
    register(app)
    name_options(app)
    arguments = ["probe", str(store.folder), "--root", str(tmp_path), "--workers", "1"]
    for _ in range(2):
        found = CliRunner().invoke(app, arguments)
        assert found.exit_code == 0, found.output
        assert "1  pass" in found.output
        assert "1  quarantine: empty_file" in found.output
        assert "warning: x:b can't be used: empty_file\n" in found.stderr
    table = store.read("probe", ["rec_id", "integrated_lufs", "status"])
    assert sorted(table["rec_id"].to_pylist()) == ["x:a", "x:b"]


# what bad input gets


def reason(finding: Finding) -> str | None:
    assert (finding.status, finding.verdict) == ("error", "quarantine")
    return finding.reason_code


def test_bad_files_are_rows_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("It was a dark and stormy night.\n" * 50)
    (tmp_path / "text.mp3").write_text("It was a dark and stormy night.\n" * 50)
    write(tmp_path / "headless.wav", noise(0.0))
    spoiled = noise()
    spoiled[30_000, 1] = np.nan
    write(tmp_path / "nan.wav", spoiled)
    write(tmp_path / "good.wav", noise())
    names = ("empty.wav", "text.wav", "text.mp3", "headless.wav", "nan.wav", "gone.wav", "good.wav")
    rows = [{"rec_id": f"a:{name}", "path": name} for name in names]
    found = [finding.reason_code for finding in Probe().process(rows, tmp_path)]
    expected = ["empty_file", "not_audio", "not_audio", "no_samples", "nan_samples", "missing_file"]
    assert found == [*expected, None]


def test_infinity_counts_as_nan(tmp_path: Path) -> None:
    spoiled = noise()
    spoiled[0, 0] = np.inf
    assert reason(probed(write(tmp_path / "a.wav", spoiled))) == "nan_samples"


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.flac", "a.mp3"])
def test_a_file_without_its_end_is_truncated(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, noise(3.0), subtype="PCM_16" if name == "a.wav" else None)
    os.truncate(path, path.stat().st_size * 2 // 3)
    finding = probed(path)
    assert reason(finding) == "truncated"
    assert finding.columns["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_wav_from_a_pipe_is_not_truncated(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(), subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert probed(path).verdict == "pass"


def test_a_header_that_disagrees_is_noted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(4.0), subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[40:44] = (len(data) // 4).to_bytes(4, "little")
    path.write_bytes(data)
    found = probed(path)
    assert found.verdict == "pass"
    assert found.columns["note"] == "duration_mismatch"
    assert found.columns["duration_s"] == pytest.approx(4.0)
    assert found.columns["header_duration_s"] == pytest.approx(1.0, abs=0.1)


def test_an_ogg_that_was_never_closed_states_no_length(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ogg", noise(3.0))
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"OggS")])
    found = probed(path)
    assert found.verdict == "pass"
    assert found.columns["header_duration_s"] is None
    assert 1.5 < found.columns["duration_s"] < 3.0


@pytest.mark.parametrize("share", [0.4, 0.67, 0.9, 0.99])
def test_an_ogg_that_breaks_off_is_cut(tmp_path: Path, share: float) -> None:
    path = write(tmp_path / "a.ogg", noise(3.0))
    os.truncate(path, int(path.stat().st_size * share))
    assert (probed(path).verdict, probed(path).reason_code) == ("quarantine", "truncated")


@pytest.mark.parametrize("scale", [2.0**15, 1e29])
def test_an_impossible_level_is_quarantined(tmp_path: Path, scale: float) -> None:
    finding = probed(write(tmp_path / "a.wav", noise() * np.float32(scale)))
    assert (finding.verdict, finding.reason_code) == ("quarantine", "impossible_level")
    assert finding.columns["peak_dbfs"] > 40


@pytest.mark.parametrize("relative", ["../a.wav", "/etc/hostname", "sub/../../a.wav", "link.wav"])
def test_paths_stay_below_the_root(tmp_path: Path, relative: str) -> None:
    write(tmp_path / "a.wav", noise())
    root = tmp_path / "root"
    root.mkdir()
    (root / "sub").mkdir()
    (root / "link.wav").symlink_to(tmp_path / "a.wav")
    (finding,) = Probe().process([{"rec_id": "a:1", "path": relative}], root)
    assert reason(finding) == "unsafe_path"
    assert not finding.columns


def test_a_recording_without_a_path_is_skipped(tmp_path: Path) -> None:
    (finding,) = Probe().process([{"rec_id": "a:1", "path": None}], tmp_path)
    assert (finding.status, finding.verdict) == ("skipped", "quarantine")
    assert finding.reason_code == "no_path"


def test_a_name_too_long_for_the_system_is_missing(tmp_path: Path) -> None:
    (finding,) = Probe().process([{"rec_id": "a:1", "path": "x" * 5_000}], tmp_path)
    assert reason(finding) == "missing_file"


def test_a_folder_is_missing_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").mkdir()
    assert reason(probed(tmp_path / "a.wav")) == "missing_file"


@pytest.mark.parametrize("rate", [10, 999, 2_000_000_000])
def test_an_absurd_rate_takes_no_memory(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "a.wav", noise(0.1, 1), subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(data)
    assert reason(probed(path)) == "unusual_rate"


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    pytest.importorskip("av")
    segment = m4a(tmp_path / "segment.m4a", 1.0)
    lines = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m3u8").write_text(lines.format(segment.name))
    assert reason(probed(tmp_path / "list.m3u8")) == "not_audio"
    shutil.copy(tmp_path / "list.m3u8", tmp_path / "list.m4a")
    assert reason(probed(tmp_path / "list.m4a")) == "not_audio"


def sparse(path: Path, hours: float, rate: int = 1_000) -> Path:
    """A WAV file of zero bytes, which are −1 in 8 bits, and a silent second at its end. The zeros take no disk."""
    size = int(hours * 3_600 * rate)
    write(path, np.zeros((1, 1), np.float32), rate, "PCM_U8")
    data = bytearray(path.read_bytes()[:44])
    data[4:8], data[40:44] = (36 + size).to_bytes(4, "little"), size.to_bytes(4, "little")
    with path.open("wb") as file:
        file.write(data)
        file.truncate(44 + size)
        file.seek(44 + size - rate)
        file.write(b"\x80" * rate)
    return path


def test_ten_hours_are_streamed_in_bounded_memory(tmp_path: Path) -> None:
    path = sparse(tmp_path / "long.wav", 10.0)
    tracemalloc.start()
    finding = probed(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert finding.columns["duration_s"] == 36_000
    assert finding.columns["silence_ratio"] == pytest.approx(1 / 36_000, abs=1e-9)
    assert peak < 32e6


def test_more_than_the_limit_is_too_long_and_not_decoded(tmp_path: Path) -> None:
    path = sparse(tmp_path / "long.wav", 24.1)
    assert reason(probed(path, ProbeSettings())) == "too_long"
    short = write(tmp_path / "short.wav", noise(2.0))
    assert reason(probed(short, ProbeSettings(max_hours=1 / 3_600))) == "too_long"


def test_limits_must_make_sense() -> None:
    with pytest.raises(InvalidRequest, match="max_hours"):
        ProbeSettings(max_hours=0.0)
