"""What the studio page remembers: history, stars and sets of prompts; adapters, models and where a sound comes from."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.e2e.test_studio import (
    MARKUP,
    Visit,
    browser,
    last,
    make,
    needs_browser,
    needs_page,
)
from tests.server.test_serve import Server, until

pytestmark = pytest.mark.slow

__all__ = ["browser"]
PLACE = "id,audio,title,author,license,url"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with adapters, training sounds, and room for two jobs that wait."""
    folder = tmp_path_factory.mktemp("remembered")
    (folder / "adapters").mkdir()
    (folder / "adapters" / "warm.safetensors").touch()
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 22_050, 2)).astype(np.float32)
    for name, sound in zip("ab", noise, strict=True):
        soundfile.write(folder / f"{name}.wav", sound, 44_100)
    table = f"{PLACE}\na,a.wav,Rain,{MARKUP.replace(',', ' ')},CC-BY-4.0,https://example.org/a\n"
    (folder / "training.csv").write_text(
        table.replace('"', "'") + "b,b.wav,Hail,Ada,CC0-1.0,javascript:alert(1)\n"
    )
    options = ("--adapters", "adapters", "--training", "training.csv", "--training-work", "work")
    places = [one if one.startswith("--") else str(folder / one) for one in options]
    server = Server(folder / "data", "--grace", "0", "--queue", "2", "--preload", *places)
    server.start()
    yield server
    server.end()


@pytest.fixture
def visit(browser: Any, server: Server) -> Iterator[Visit]:
    visit = Visit(browser, str(server.client.base_url))
    visit.page.get_by_label("Prompt", exact=True).wait_for()
    yield visit
    # Chromium notes the answers of a full queue, and of a row that is refused
    assert [one for one in visit.complaints if "429" not in one and "422" not in one] == []
    assert visit.page.title() == "Auralith Studio"
    visit.page.context.close()


def entries(visit: Visit) -> Any:
    return visit.page.get_by_role("region", name="History").get_by_role("listitem")


@needs_browser
@needs_page
def test_the_history_is_searched_starred_and_walked_back(visit: Visit, server: Server) -> None:
    page = visit.page
    make(visit, "a small bell")
    make(visit, f"thunder {MARKUP}")
    page.get_by_role("button", name="Vary", exact=True).click()
    page.get_by_role("status").filter(has_text="succeeded").first.wait_for()
    assert last(server)["request"]["task"] == "vary"
    page.get_by_role("searchbox").fill("BELL small")
    page.get_by_role("status").filter(has_text="1 found").wait_for()
    assert entries(visit).count() == 1
    entries(visit).get_by_role("button", name="Star").click()
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="Only starred").click()
    page.get_by_role("status").filter(has_text="1 found").wait_for()
    page.reload()  # stars are the server's
    page.get_by_role("button", name="Only starred").click()
    entries(visit).filter(has_text="a small bell").wait_for()
    assert entries(visit).count() == 1
    page.get_by_role("button", name="Only starred").click()
    entries(visit).get_by_role("button", name="Its source").click()
    page.locator(".versions [aria-current]").filter(has_text="made").wait_for()
    entries(visit).filter(has_text="a small bell").get_by_role("button", name="Delete").click()
    entries(visit).filter(has_text="a small bell").wait_for(state="detached")
    assert server.client.get("/v1/jobs?starred=true").json()["jobs"] == []


@needs_browser
@needs_page
def test_the_history_reads_on_when_its_end_is_near(visit: Visit, server: Server) -> None:
    for i in range(24):
        job = server.post({"prompt": f"tick {i}", "seconds": 0.1, "steps": 1, "window": "fit"})
        until(lambda job=job: server.job(job["id"])["status"] == "succeeded")
    visit.page.reload()
    visit.page.get_by_role("searchbox").fill("tick")
    entries(visit).filter(has_text="tick 23").wait_for()
    visit.page.locator(".pages").evaluate("one => one.scrollTo(0, one.scrollHeight)")
    entries(visit).filter(has_text="tick 0").wait_for()
    assert entries(visit).count() == 24


@needs_browser
@needs_page
def test_a_set_waits_for_room_and_is_there_again(visit: Visit, server: Server) -> None:
    page = visit.page
    label = "doors <b>1</b>"
    doors = [f"door {i},{40 if i == 0 else 2},0.2" for i in range(5)]
    lines = ["prompt,steps,seconds", '"a door, slammed",2,0.2', *doors, "none,0,0.2"]
    page.locator("#set-text").fill("\n".join(lines))
    page.get_by_label("Name", exact=True).fill(label)
    page.get_by_label("Sounds each").fill("2")
    page.get_by_role("button", name="Make the set").click()
    page.reload()  # what was not sent yet waits in the browser
    page.get_by_role("button", name=label).first.click()
    page.get_by_text("7 of 7 prompts done, 12 sounds, 0 starred").wait_for()
    page.get_by_text("steps is 0").wait_for()
    found = server.client.get("/v1/jobs", params={"search": label, "limit": 200}).json()["jobs"]
    assert sorted(one["request"]["prompt"] for one in found) == [
        "a door, slammed",
        *(f"door {i}" for i in range(5)),
    ]
    page.get_by_role("button", name="Play 1, a door, slammed").focus()
    visit.press("ArrowDown", "ArrowRight", "s", "Enter")
    page.get_by_role("button", name="Play 2, starred, door 0").wait_for()
    page.get_by_text("12 sounds, 1 starred").wait_for()
    page.locator(".hear .prompt").filter(has_text="door 0").wait_for()
    page.get_by_role("button", name="Close the set").click()
    page.get_by_role("button", name=label).first.click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download starred (1)").click()
    assert download.value.suggested_filename == "002-2-door-0.wav"
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == 360


TABLES = """async () => {
    const { readTable } = await import('/studio/table.js');
    const settings = { steps: { type: 'integer' } };
    return ['one, two\\n\\n three ', '\\ufeffPrompt;steps\\n"a;""b""\\nc";4\\n', 'prompt\\tn\\nx\\t3', 'prompt,colour\\na,b', 'prompt,n\\n,2', '\\n']
        .map((text) => { try { return readTable(text, settings); } catch (error) { return error.message; } });
}"""


@needs_browser
@needs_page
def test_tables_are_read_as_people_paste_them(visit: Visit) -> None:
    lines, quoted, tabs, *wrong = visit.page.evaluate(TABLES)
    assert lines == [{"prompt": "one, two"}, {"prompt": "three"}]
    assert quoted == [{"prompt": 'a;"b"\nc', "steps": 4}]
    assert tabs == [{"prompt": "x", "n": 3}]
    named = ("column colour", "row 1 has no prompt", "no prompt")
    assert all(name in text for name, text in zip(named, wrong, strict=True)), wrong


@needs_browser
@needs_page
def test_adapters_models_and_provenance_have_panels(visit: Visit, server: Server) -> None:
    page = visit.page
    make(visit, "a gong")
    sound = last(server)["outputs"][0]["id"]
    page.get_by_text("Provenance", exact=True).click()
    page.get_by_text(f"auralith generate --from auralith-{sound}.wav").wait_for()
    page.get_by_role("button", name="Find the nearest training sounds").click()
    nearest = page.locator(".nearest li")
    nearest.first.wait_for()
    assert nearest.count() == 2 and nearest.get_by_role("link").count() == 1
    link = nearest.filter(has_text="Rain").get_by_role("link")
    assert link.get_attribute("href") == "https://example.org/a"
    assert "noopener" in (link.get_attribute("rel") or "")
    page.get_by_role("tab", name="Adapters").click()
    page.get_by_role("switch", name="warm").check()
    strength = page.get_by_label("Strength as a number")
    strength.fill("-0,5")
    visit.press("Tab")
    assert page.get_by_role("slider", name="Strength", exact=True).input_value() == "-0.5"
    visit.press("Control+Enter")
    until(lambda: last(server)["request"].get("adapters"))
    assert last(server)["request"]["adapters"] == [{"id": "warm", "strength": -0.5}]
    page.get_by_role("tab", name="Adapters").focus()
    visit.press("ArrowRight")
    page.get_by_text("Card and license").click()
    page.get_by_text("No card and no license").wait_for()
    assert page.get_by_text("in memory on cpu").is_visible()
