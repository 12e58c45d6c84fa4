"""The studio page in a browser: by keyboard alone, by dragging, after a reload, and with markup where text belongs."""

import hashlib
import io
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from auralith.server.page import FOLDER, MODULES, has_page
from auralith.sound.reading import read
from tests.server.test_serve import Server, until

CHROMIUM = Path("/usr/bin/chromium")
ROOT = Path(__file__).parents[2]
MARKUP = "<img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>"
needs_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")
needs_page = pytest.mark.skipif(not has_page(), reason="the page is not built: make studio")


class Visit:
    """A page of a browser, and what it said and asked for besides."""

    def __init__(self, browser: Any, url: str) -> None:
        context = browser.new_context(accept_downloads=True, reduced_motion="reduce")
        self.page, self.complaints = context.new_page(), []
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._check(request.url, url))
        self.page.goto(url)

    def _check(self, asked: str, url: str) -> None:
        if not asked.startswith((url, "blob:", "data:")):
            self.complaints.append(asked)

    def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        for key in keys:
            self.page.keyboard.press(key)

    def tab_to(self, name: str) -> None:
        """Press the tabulator until a control of this name has the focus."""
        for _ in range(80):
            if self.page.evaluate(FOCUSED).startswith(name):
                return
            self.press("Tab")
        raise AssertionError(f"no control {name}")

    def done(self, job: str = "succeeded") -> None:
        """Wait until the last job has ended so."""
        self.page.get_by_role("status").filter(has_text=job).wait_for()
        self.page.get_by_role("button", name="Play").wait_for()


FOCUSED = """() => {
    const one = document.activeElement;
    return one.ariaLabel ?? (one.labels?.[0] ?? one).textContent.trim();
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("studio") / "data", "--grace", "0")
    server.start()
    yield server
    server.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any, server: Server) -> Iterator[Visit]:
    visit = Visit(browser, str(server.client.base_url))
    visit.page.get_by_label("Prompt").wait_for()
    yield visit
    assert visit.complaints == []
    visit.page.context.close()


def make(visit: Visit, prompt: str, seconds: str = "0.4", n: str = "1") -> None:
    page = visit.page
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_label("Seconds", exact=True).fill(seconds)
    page.get_by_label("Variations", exact=True).fill(n)
    if not page.get_by_label("Steps").is_visible():
        page.get_by_text("Advanced").click()
    page.get_by_label("Steps").fill("2")
    visit.press("Control+Enter")
    visit.done()


def last(server: Server) -> dict[str, Any]:
    return server.client.get("/v1/jobs?limit=1").json()["jobs"][0]


@needs_browser
@needs_page
def test_from_the_empty_page_to_a_file_by_keyboard(
    visit: Visit, server: Server, tmp_path: Path
) -> None:
    page = visit.page
    page.keyboard.type("a drum")  # the prompt has the focus
    visit.tab_to("Bars")
    page.keyboard.type("1")
    visit.tab_to("BPM")
    page.keyboard.type("700")
    visit.tab_to("Variations")
    visit.press("Control+a")
    page.keyboard.type("2")
    visit.tab_to("Seed")
    page.keyboard.type("9007199254740993")
    visit.tab_to("Advanced")
    visit.press("Enter")
    visit.tab_to("Steps")
    page.keyboard.type("2")
    visit.press("Control+Enter")
    page.get_by_role("button", name="2 seed 9007199254740994").wait_for()
    visit.done()
    request = last(server)["request"]
    assert (request["seconds"], request["seed"], request["steps"], request["n"]) == (
        60 * 4 / 700,
        9007199254740993,
        2,
        2,
    )
    page.get_by_role("slider", name="Playhead").wait_for()
    visit.tab_to("Playhead")
    visit.press("ArrowRight", "ArrowRight", "2")
    time = page.locator(".time")
    time.filter(has_text="0.20 / 0.34 s").wait_for()  # the place stays
    visit.press("1", "l", "Space")
    page.get_by_role("button", name="Stop").wait_for()
    visit.press("2")
    second = page.get_by_role("button", name="2 seed")
    assert second.get_attribute("aria-pressed") == "true"
    visit.press("Space")
    page.get_by_role("button", name="Play").wait_for()
    visit.tab_to("Download")
    with page.expect_download() as download:
        visit.press("Enter")
    download.value.save_as(tmp_path / "sound.wav")
    made = last(server)["outputs"][1]
    assert download.value.suggested_filename == f"auralith-{made['id']}.wav"
    assert read(tmp_path / "sound.wav")[0].shape[1] == made["num_samples"]


@needs_browser
@needs_page
def test_a_dragged_region_is_made_anew(visit: Visit, server: Server) -> None:
    page = visit.page
    make(visit, "a bell")
    source = last(server)
    wave = page.get_by_role("slider", name="Playhead")
    wave.scroll_into_view_if_needed()
    box = wave.bounding_box()
    seconds = source["outputs"][0]["seconds"]
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 50, steps=4)
    page.mouse.up()
    start, end = (
        float(page.get_by_label(name, exact=True).input_value()) for name in ("From", "To")
    )
    assert np.allclose([start, end], [seconds / 4, seconds / 2], atol=seconds / 100)
    page.get_by_role("button", name="Repaint").click()
    page.get_by_role("status").filter(has_text="succeeded").wait_for()
    request = last(server)["request"]
    assert (request["task"], request["source"]) == ("inpaint", source["outputs"][0]["id"])
    assert np.allclose(request["regions"], [[start, end]], atol=1e-3)


@needs_browser
@needs_page
def test_a_file_that_says_its_origin_is_made_again(visit: Visit, server: Server) -> None:
    job = server.post({"prompt": "a gong", "seconds": 0.3, "steps": 2, "seed": "9007199254740993"})
    until(lambda: server.job(job["id"])["status"] == "succeeded")
    sound = server.client.get(server.job(job["id"])["outputs"][0]["url"]).content
    file = {"name": "gong.wav", "mimeType": "audio/wav", "buffer": sound}
    visit.page.get_by_label("Open a sound").set_input_files(file)
    visit.page.get_by_role("button", name="Make it again").click()
    visit.page.get_by_role("status").filter(has_text="the same file, byte for byte").wait_for()
    assert last(server)["outputs"][0]["sha256"] == hashlib.sha256(sound).hexdigest()


@needs_browser
@needs_page
def test_markup_is_text(visit: Visit, server: Server, tmp_path: Path) -> None:
    page = visit.page
    make(visit, MARKUP)
    file = io.BytesIO()
    soundfile.write(file, np.zeros((8_000, 1), np.float32), 8_000, format="WAV")
    upload = {
        "name": MARKUP.replace("/", "-") + ".wav",
        "mimeType": "audio/wav",
        "buffer": file.getvalue(),
    }
    page.get_by_label("Open a sound").set_input_files(upload)
    page.get_by_role("status").filter(has_text="is there").wait_for()
    assert page.get_by_text(MARKUP).count() >= 1
    assert page.locator("img, body script").count() == 0
    assert page.title() == "Auralith Studio"


@needs_browser
@needs_page
def test_a_reload_finds_the_running_job_and_the_settings(visit: Visit, server: Server) -> None:
    body = {"prompt": "a long one", "seconds": 0.4, "window": "fit", "steps": 800, "seed": "77"}
    job = server.post(body)
    visit.page.reload()
    entry = visit.page.get_by_role("listitem").filter(has_text="a long one")
    entry.get_by_role("progressbar").wait_for()
    entry.locator("button.open:enabled").wait_for()
    entry.get_by_role("progressbar").wait_for(state="hidden")
    assert server.job(job["id"])["status"] == "succeeded"
    entry.get_by_role("button", name="Copy settings").click()
    assert visit.page.get_by_label("Seed", exact=True).input_value() == "77"
    assert visit.page.get_by_label("Prompt").input_value() == "a long one"
    visit.page.get_by_label("Steps").evaluate("one => one.closest('details').open = true")
    visit.page.get_by_label("Steps").fill("0")
    visit.press("Control+Enter")
    assert "steps is 0" in visit.page.get_by_role("alert").inner_text()
    visit.complaints.clear()  # Chromium reports the answer 422


def test_the_wheel_has_the_modules_that_are_served() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    artifacts = project["tool"]["hatch"]["build"]["artifacts"]
    folder = FOLDER.relative_to(ROOT).as_posix()
    assert {f"{folder}/{name}" for name in MODULES} == {one for one in artifacts if "*" not in one}
    locked = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
    names = {name for name in locked if name}
    assert names == {"/".join(name.split("/")[:2]) for name in MODULES}
    assert all(locked[name]["integrity"].startswith("sha512-") for name in names)
