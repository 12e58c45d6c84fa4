"""The studio page in a browser: by keyboard alone, by dragging, after a reload, and with markup where text belongs."""

import hashlib
import io
import json
import os
import re
import signal
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from auralith.server.page import FOLDER, MODULES, has_page
from auralith.sound.reading import read
from tests.server.test_serve import Server, needs_proc, until

CHROMIUM = Path("/usr/bin/chromium")
ROOT = Path(__file__).parents[2]
MARKUP = "<img src=x onerror=\"document.title='hit'\"><script>document.title='hit'</script>"
needs_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")
needs_page = pytest.mark.skipif(not has_page(), reason="the page is not built: make studio")
AXE = FOLDER / "node_modules" / "axe-core" / "axe.min.js"
needs_axe = pytest.mark.skipif(not AXE.exists(), reason="axe-core is not there: make studio")


@contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    """Let processes stand still."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


class Visit:
    """A page of a browser, and what it said and asked for besides."""

    def __init__(self, browser: Any, url: str, path: str = "/") -> None:
        context = browser.new_context(accept_downloads=True, reduced_motion="reduce")
        self.page, self.complaints = context.new_page(), []
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._check(request.url, url))
        self.page.goto(f"{url.rstrip('/')}{path}")

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


def serious(page: Any) -> list[str]:
    """Return what axe-core finds that keeps people out, with where it is."""
    page.evaluate(AXE.read_text("utf-8"))
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{one['id']}: {one['help']} {[node['target'] for node in one['nodes']]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # a worker's start and its libraries may take longer than a page is waited for
    server = Server(tmp_path_factory.mktemp("studio") / "data", "--grace", "0", "--preload")
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
    visit.page.get_by_label("Prompt", exact=True).wait_for()
    yield visit
    assert visit.complaints == []
    visit.page.context.close()


def make(visit: Visit, prompt: str, seconds: str = "0.4", n: str = "1") -> None:
    page = visit.page
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_label("Seconds", exact=True).fill(seconds)
    page.get_by_label("Variations", exact=True).fill(n)
    if not page.get_by_label("Steps", exact=True).is_visible():
        page.get_by_text("Advanced").click()
    page.get_by_label("Steps", exact=True).fill("2")
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
    made = last(server)["outputs"][1]
    for form in ("as made", "flac"):
        with page.expect_download() as download:
            visit.press("Enter")
        suffix = "wav" if form == "as made" else form
        assert download.value.suggested_filename == f"auralith-{made['id']}.{suffix}"
        download.value.save_as(tmp_path / f"sound.{suffix}")
        assert read(tmp_path / f"sound.{suffix}")[0].shape[1] == made["num_samples"]
        visit.press("Shift+Tab", *"flac", "Tab")  # chooses it by typing its name


def drag(visit: Visit, start: float, end: float) -> None:
    """Drag over the wave, between shares of its width."""
    wave, mouse = visit.page.get_by_role("slider", name="Playhead"), visit.page.mouse
    wave.scroll_into_view_if_needed()
    box = wave.bounding_box()
    assert box is not None
    mouse.move(box["x"] + box["width"] * start, box["y"] + 50)
    mouse.down()
    mouse.move(box["x"] + box["width"] * end, box["y"] + 50, steps=4)
    mouse.up()


def selection(visit: Visit) -> list[float]:
    """Return the seconds that the fields show."""
    fields = (visit.page.get_by_label(name, exact=True) for name in ("From", "To"))
    return [float(field.input_value()) for field in fields]


def samples(server: Server, sound: str, tmp_path: Path) -> np.ndarray:
    """Return the samples of a sound of the server."""
    path = tmp_path / f"{sound}.wav"
    path.write_bytes(server.client.get(f"/v1/audio/{sound}").content)
    return read(path)[0].numpy()


@needs_browser
@needs_page
def test_a_dragged_region_is_made_anew_and_the_rest_is_kept(
    visit: Visit, server: Server, tmp_path: Path
) -> None:
    page = visit.page
    make(visit, "a bell")
    source = last(server)
    sound = source["outputs"][0]
    drag(visit, 0.25, 0.5)
    start, end = selection(visit)
    assert np.allclose([start, end], [sound["seconds"] / 4, sound["seconds"] / 2], atol=0.01)
    page.get_by_text("How edits are made").click()
    page.locator("#inpaint-crossfade").fill("0.02")
    page.get_by_role("button", name="Repaint").click()
    page.get_by_role("status").filter(has_text="succeeded").wait_for()
    made = last(server)
    request = made["request"]
    assert (request["task"], request["source"]) == ("inpaint", sound["id"])
    assert np.allclose(request["regions"], [[start, end]], atol=1e-3)
    old = samples(server, sound["id"], tmp_path)
    new = samples(server, made["outputs"][0]["id"], tmp_path)
    differs = np.flatnonzero((old != new).any(axis=0)) / sound["sample_rate"]
    assert start - 0.021 <= differs.min() <= start and end <= differs.max() <= end + 0.021
    kept = page.locator(".kept")
    kept.filter(has_text="sample for sample").wait_for()
    spans = re.findall(r"([\d.]+)–([\d.]+) s", kept.inner_text())
    edges = [0, differs.min(), differs.max(), sound["seconds"]]
    assert np.allclose([float(one) for span in spans for one in span], edges, atol=0.01)
    page.get_by_role("heading", name="Hear").click()
    visit.press("Control+z")
    page.get_by_role("status").filter(has_text="back to").wait_for()
    assert page.locator(".versions [aria-current]").inner_text().startswith("made")
    visit.press("Control+Shift+z")
    page.get_by_role("status").filter(has_text="on to repainted").wait_for()


@needs_browser
@needs_page
def test_selections_lie_at_bars_and_trims_are_of_the_very_samples(
    visit: Visit, server: Server, tmp_path: Path
) -> None:
    page = visit.page
    make(visit, "a ticking clock", "0.6")
    sound = last(server)["outputs"][0]
    rate = sound["sample_rate"]
    page.get_by_label("Snap to").select_option("bar")
    page.get_by_label("at BPM").fill("1700")
    visit.press("Tab")
    drag(visit, 0.3, 0.6)  # nearest to the second and to the fourth bar of 0.1412 s
    first, end = (round(60 * 4 / 1700 * bar * rate) for bar in (1, 3))
    assert np.allclose(selection(visit), [first / rate, end / rate], atol=5e-4)
    page.get_by_role("button", name="Trim").click()
    page.get_by_role("status").filter(has_text="trimmed to").wait_for()
    page.locator(".kept").filter(has_text="The same samples").wait_for()
    page.get_by_role("button", name="Vary", exact=True).click()
    page.get_by_role("status").filter(has_text="succeeded").wait_for()
    request = last(server)["request"]
    cut = samples(server, request["source"], tmp_path)
    assert np.array_equal(cut, samples(server, sound["id"], tmp_path)[:, first:end])
    versions = page.locator(".versions button").all_inner_texts()
    assert [re.split(r"\W", text)[0] for text in versions] == ["made", "trimmed", "varied"]


@needs_browser
@needs_page
def test_loops_and_changes_of_sound_miss_no_sample(visit: Visit) -> None:
    found = visit.page.evaluate(RENDERED)
    looped, changed = (np.array(found[name]) for name in ("looped", "changed"))
    fade = found["fade"]  # samples in which a sound begins that doesn't begin with its own start
    period = np.arange(2_000, 6_000, dtype=np.float32) / 8_000
    assert np.array_equal(looped[fade:], np.resize(period, len(looped))[fade:])
    at = found["at"]  # from there on it is the second sound, the first one upside down
    assert 0 < found["late"] < 0.05
    assert np.array_equal(changed[:at], looped[:at])
    assert np.array_equal(changed[at + fade :], -looped[at + fade :])


RENDERED = """async () => {
    // Web Audio that computes instead of playing, as fast as it can
    const { Player } = await import('/studio/player.js');
    const rate = 8000;
    const ramp = (sign) => {
        const buffer = new AudioBuffer({ length: rate, sampleRate: rate });
        buffer.copyToChannel(Float32Array.from({ length: rate }, (_, i) => (sign * i) / rate), 0);
        return buffer;
    };
    const real = window.AudioContext;
    const render = async (change) => {
        const context = new OfflineAudioContext(1, 2 * rate, rate);
        window.AudioContext = function () { return context; };
        context.resume = async () => {};
        const player = new Player();
        player.load(ramp(1));
        player.setLoop(true, [0.25, 0.75]);
        player.play();
        let at = null;
        if (change) {
            context.suspend(0.8).then(() => {
                at = context.currentTime;
                player.load(ramp(-1));
                OfflineAudioContext.prototype.resume.call(context);
            });
        }
        const samples = (await context.startRendering()).getChannelData(0);
        player.pause();
        return [Array.from(samples), at];
    };
    const [looped] = await render(false);
    const [changed, suspended] = await render(true);
    window.AudioContext = real;
    const at = changed.findIndex((sample, i) => sample !== looped[i]);
    return { looped, changed, at, late: at / rate - suspended, fade: 0.004 * rate + 2 };
}"""


@needs_browser
@needs_page
def test_what_plays_goes_on_when_another_sound_is_made(visit: Visit, server: Server) -> None:
    page = visit.page
    make(visit, "a wind", "0.6")
    visit.press("Tab")  # out of the field
    page.get_by_role("button", name="Loop", exact=True).click()
    page.get_by_role("button", name="Play").click()
    page.get_by_label("Prompt", exact=True).fill("a storm")
    visit.press("Control+Enter", "Control+Enter")
    page.get_by_role("button", name="Show it").wait_for()
    assert page.get_by_role("button", name="Stop").is_visible()
    assert page.locator(".hear .prompt").inner_text() == "a wind"
    page.get_by_role("button", name="Show it").click()
    page.locator(".hear .prompt").filter(has_text="a storm").wait_for()


@needs_browser
@needs_page
@needs_proc
def test_a_sound_is_heard_while_it_is_made(visit: Visit, server: Server) -> None:
    page = visit.page
    page.get_by_label("Prompt", exact=True).fill("a slow tide")
    page.get_by_label("Seconds", exact=True).fill("0.4")
    page.get_by_label("Variations", exact=True).fill("1")
    page.get_by_text("Advanced").click()
    page.get_by_label("Steps", exact=True).fill("2000")
    visit.press("Control+Enter")
    until(lambda: last(server)["request"]["prompt"] == "a slow tide")
    with server.client.stream("GET", f"/v1/jobs/{last(server)['id']}/events") as events:
        assert "event: preview" in events.iter_lines()
    with stopped(server.workers()):  # a busy browser must be in time
        page.get_by_role("button", name="Hear it so far").click()
        shown = page.locator(".hear .prompt")
        shown.filter(has_text="a slow tide so far").wait_for()
    page.get_by_role("status").filter(has_text="succeeded").wait_for(timeout=60_000)
    shown.get_by_text("so far").wait_for(state="hidden")  # the sound is in the preview's place
    page.get_by_role("link", name="Download").wait_for()


@needs_browser
@needs_page
def test_every_setting_of_a_request_can_be_made(visit: Visit, server: Server) -> None:
    page = visit.page
    model = server.client.get("/v1/models").json()["models"][0]
    page.get_by_text("Advanced").click()
    page.get_by_label("Prompt", exact=True).fill("a gong")
    for name, schema in model["settings"].items():
        names_nothing = schema.get("properties") == {}  # conditions of a model without any
        assert page.locator(f"#{name}").count() == (0 if names_nothing else 1), name
    for name, text in SETTINGS.items():
        field = page.locator(f"#{name}")
        is_choice = field.evaluate("one => one.tagName") == "SELECT"
        (field.select_option if is_choice else field.fill)(text)
    page.get_by_label("Variations", exact=True).fill("1")
    visit.press("Control+Enter")
    visit.done()
    request = last(server)["request"]
    assert {name: request[name] for name in WANTED} == WANTED
    page.get_by_role("listitem").filter(has_text="a gong").get_by_text("Copy settings").click()
    shown = {name: page.locator(f"#{name}").input_value() for name in SETTINGS}
    assert shown == SETTINGS


SETTINGS = {
    "seconds": "0.3",
    "steps": "3",
    "cfg_interval": "0.1, 0.9",
    "sampler": "k-heun",
    "window": "fit",
    "rho": "3",
    "schedule": "karras",
    "mix": "0.25: a bell: high\n0.1: rain",
}
WANTED = {
    "seconds": 0.3,
    "steps": 3,
    "cfg_interval": [0.1, 0.9],
    "sampler": "k-heun",
    "window": "fit",
    "rho": 3.0,
    "schedule": "karras",
    "mix": [[0.25, "a bell: high"], [0.1, "rain"]],
}


@needs_browser
@needs_page
def test_what_a_run_takes_is_said_before_it(visit: Visit, server: Server) -> None:
    page = visit.page
    make(visit, "a drum", "0.3")
    page.get_by_role("button", name="Surprise me").click()
    estimate = page.locator(".estimate").filter(has_text="takes about")
    estimate.wait_for()
    drawn = page.get_by_label("Prompt", exact=True).input_value()
    known = (FOLDER.parent / "prompts.txt").read_text("utf-8").splitlines()
    assert drawn in known
    for seconds in ("-1", "nonsense", "1e9"):  # nothing is asked for that would be refused
        page.get_by_label("Seconds", exact=True).fill(seconds)
        estimate.wait_for(state="hidden")
    page.get_by_label("Seconds", exact=True).fill("0.4")
    estimate.wait_for()


@needs_browser
@needs_page
def test_nothing_is_cut_off_on_a_phone(visit: Visit, server: Server) -> None:
    make(visit, "a very" + "long" * 50 + "word", "0.3", "2")
    visit.page.set_viewport_size({"width": 360, "height": 740})
    visit.page.get_by_label("Snap to").select_option("bar")
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 360


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
    assert page.locator("img:not([src='studio/icon.svg']), body script").count() == 0
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
    assert visit.page.get_by_label("Prompt", exact=True).input_value() == "a long one"
    visit.page.get_by_label("Steps", exact=True).evaluate(
        "one => one.closest('details').open = true"
    )
    visit.page.get_by_label("Steps", exact=True).fill("0")
    visit.press("Control+Enter")
    assert "steps is 0" in visit.page.get_by_role("alert").inner_text()
    visit.complaints.clear()  # Chromium reports the answer 422


def test_the_wheel_has_the_modules_that_are_served() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    artifacts = project["tool"]["hatch"]["build"]["artifacts"]
    folder = FOLDER.relative_to(ROOT).as_posix()
    packages = {"/".join(name.split("/")[:2]) for name in MODULES}
    notes = {f"{name}/{note}" for name in packages for note in ("LICENSE", "package.json")}
    assert {f"{folder}/{name}" for name in {*MODULES, *notes}} == set(artifacts)
    locked = json.loads((FOLDER / "package-lock.json").read_text())["packages"]
    names = {name for name in locked if name}
    assert packages == {name for name in names if not locked[name].get("dev")}
    assert all(locked[name]["integrity"].startswith("sha512-") for name in names)
