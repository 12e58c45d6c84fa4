"""What the studio page computes of samples: where selections snap to, and what is wrong with an upload."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from auralith.server.app import make_app
from auralith.server.service import Service
from auralith.sound.levels import looks_like_white_noise
from tests.e2e.test_studio import Visit, browser, drag, needs_browser, needs_page, selection
from tests.serving import RULES, listening, settings

__all__ = ["browser"]  # a fixture
pytestmark = [needs_browser, needs_page]
RATE = 16_000


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that makes nothing."""
    service = Service(settings(tmp_path_factory.mktemp("samples") / "data"))
    with listening(make_app(service, RULES)) as url:
        yield url
        service.bell.close()
    service.store.close()


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Visit]:
    visit = Visit(browser, url)
    visit.page.get_by_label("Prompt", exact=True).wait_for()
    yield visit
    assert visit.complaints == []
    visit.page.context.close()


def take(visit: Visit, samples: np.ndarray, name: str) -> None:
    """Upload samples, (channel, sample)."""
    file = io.BytesIO()
    soundfile.write(file, samples.T, RATE, subtype="FLOAT", format="WAV")
    upload = {"name": name, "mimeType": "audio/wav", "buffer": file.getvalue()}
    visit.page.get_by_label("Open a sound").set_input_files(upload)
    visit.page.get_by_role("status").filter(has_text=f"{name} is there").wait_for()


def test_selections_lie_at_zero_crossings(visit: Visit) -> None:
    """The nearest sample at which both channels together begin to rise above zero; where none is near, any sample."""
    time = np.arange(RATE) / RATE
    swell = np.sin(2 * np.pi * 97 * time) + 0.4 * np.sin(2 * np.pi * 331 * time + 1)
    stereo = np.stack([swell, 0.5 * swell + 0.2 * np.cos(2 * np.pi * 55 * time)]) / 2
    stereo[:, : RATE // 4] = 0.25  # which crosses nothing
    take(visit, stereo.astype(np.float32), "swell.wav")
    total = stereo.astype(np.float32).sum(0)
    rising = np.flatnonzero((total[:-1] <= 0) & (total[1:] >= 0)) + 1
    snap = visit.page.get_by_label("Snap to")
    for stretch in ((0.5, 0.8), (0.41, 0.63), (0.05, 0.15)):
        snap.select_option("off")
        drag(visit, *stretch)
        free = selection(visit)
        snap.select_option("zero")  # takes what is selected to the nearest ones
        for place, near in zip(selection(visit), free, strict=True):  # in whole ms
            away = np.abs(rising / RATE - near).min()
            assert abs(place - near) <= (away if away < 0.03 else 0.0) + 1.1e-3
            assert np.abs(rising / RATE - place).min() <= 0.6e-3 or away >= 0.03


def test_an_upload_that_is_noise_is_called_so_as_the_server_would(visit: Visit) -> None:
    draw = np.random.default_rng(0)
    white = draw.normal(0, 0.1, (2, RATE * 2)).astype(np.float32)
    tone = np.sin(np.arange(RATE * 2) / 9).astype(np.float32)
    burst = white * (np.arange(RATE * 2) < RATE // 5)
    smooth = np.stack([np.convolve(one, np.ones(8) / 8, "same") for one in white])
    sounds = {
        "white": white,
        "quiet": white * 1e-2,
        "mono": white[:1],
        "short": white[:, :RATE],
        "tone": np.stack([tone, tone]) / 2,
        "toned": white + np.stack([tone, tone]) / 4,
        "burst": burst,
        "smooth": smooth.astype(np.float32),
    }
    warning = visit.page.get_by_text("looks like white noise")
    found = {}
    for name, samples in sounds.items():
        take(visit, samples, f"{name}.wav")
        visit.page.get_by_role("button", name="Play").wait_for()
        found[name] = warning.count() == 1
    wanted = {n: looks_like_white_noise(torch.from_numpy(s)) for n, s in sounds.items()}
    assert found == wanted and set(found.values()) == {True, False}
