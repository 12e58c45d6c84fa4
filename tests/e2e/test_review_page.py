"""The review page in a browser: two people decide by keyboard, a third settles, and the next run heeds it."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from auralith.curation.outcomes import outcomes
from auralith.curation.review import Case, cases, open_items, suspects
from auralith.curation.run import curate
from auralith.curation.settings import CurationSettings
from auralith.curation.store import Store
from tests.curation.suspects import KNOWN_FROM, MARKUP, SUSPECT_FROM, curate_suspects
from tests.e2e.test_studio import (
    Visit,
    browser,
    needs_axe,
    needs_browser,
    needs_page,
    serious,
)
from tests.server.test_serve import Server, until

pytestmark = pytest.mark.slow

__all__ = ["browser"]  # a fixture
NOTED = """() => {
    window.started = [];
    const start = AudioBufferSourceNode.prototype.start;
    AudioBufferSourceNode.prototype.start = function (when, offset) {
        const sound = this.buffer.getChannelData(0).reduce((sum, sample) => sum + sample * sample, 0);
        window.started.push({ sound, offset, at: Math.max(when, this.context.currentTime) });
        return start.call(this, when, offset);
    };
}"""
"""Makes the page note what is played, and from where."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> CurationSettings:
    return curate_suspects(tmp_path_factory.mktemp("suspects"))


@pytest.fixture(scope="module")
def running(made: CurationSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("serving") / "data"
    server = Server(folder, "--grace", "0", "--review", str(made.folder))
    server.start()
    yield server
    server.end()


@pytest.fixture
def server(running: Server, made: CurationSettings) -> Server:
    """The server, whose review is without a decision."""
    for path in made.folder.glob("review.*"):
        path.unlink()
    open_items(made.folder, suspects(Store(made.folder)))
    return running


class Reviewer:
    """A person at the page, in a browser of their own."""

    def __init__(self, browser: Any, server: Server, name: str) -> None:
        self.visit = Visit(browser, str(server.client.base_url), "/review")
        self.page = self.visit.page
        self.page.get_by_label("Your name").fill(name)
        self.press("Enter")
        self.page.locator("#title").wait_for()

    def press(self, *keys: str) -> None:
        self.visit.press(*keys)

    def at(self, title: str) -> None:
        """Wait until the item of this title is shown."""
        self.page.locator("#title", has_text=title).wait_for()

    def says(self, text: str) -> None:
        self.page.get_by_role("status").filter(has_text=text).wait_for()

    def time(self) -> float:
        """Return the seconds of the playhead within the excerpts."""
        return float(self.page.get_by_role("slider").first.get_attribute("aria-valuenow"))

    def end(self) -> None:
        assert self.visit.complaints == []
        self.page.context.close()


def case_of(settings: CurationSettings, rec_id: str) -> Case:
    (found,) = [one for one in cases(settings.folder) if one.item.rec_id == rec_id]
    return found


def outcome_of(settings: CurationSettings, rec_id: str) -> str:
    rows = outcomes(Store(settings.folder), settings).to_pylist()
    return {row["rec_id"]: row["outcome"] for row in rows}[rec_id]


@needs_browser
@needs_page
def test_two_decide_by_keyboard_a_third_settles_and_the_run_goes_on(
    browser: Any, server: Server, made: CurationSettings
) -> None:
    ann, bob = (Reviewer(browser, server, name) for name in ("Ann", "Bob"))
    for one in (ann, bob):
        one.at(MARKUP[:20])
        one.press("x", "1")  # a commercial recording
        one.at("A field recording")
    ann.press("k", "3", "n")  # a different recording; then one is skipped
    bob.press("x", "Enter")  # for the reason that was given last
    bob.at("A Song Everyone Knows")
    bob.press("c")
    bob.page.keyboard.type("k is a letter here")
    bob.press("Escape", "?")
    bob.at("A short one")
    assert case_of(made, "fma:1").decisions[0].note == "k is a letter here"
    assert case_of(made, "folder:markup.wav").state == "removed"
    conflict = case_of(made, "folder:copy.wav")
    assert conflict.is_conflict
    assert [one.reason_code for one in conflict.decisions] == [
        "different_recording",
        "commercial_recording",
    ]
    cy = Reviewer(browser, server, "Cy")
    cy.page.get_by_role("button", name="Conflicts 1").click()
    cy.at("A field recording")
    cy.page.get_by_text("You settle it").wait_for()
    assert cy.page.get_by_role("button", name="Unsure").is_disabled()
    cy.press("k", "3")
    cy.says("nothing is left")
    assert case_of(made, "folder:copy.wav").state == "kept"
    cy.page.get_by_text("2 of 4 settled").wait_for()
    cy.page.get_by_role("row", name="identify 2 0.00").wait_for()  # of Cohen's kappa
    list(curate(made))
    assert outcome_of(made, "folder:copy.wav") == "accepted"
    assert outcome_of(made, "folder:markup.wav") == "removed"
    assert outcome_of(made, "fma:1") == "pending"
    for one in (ann, bob, cy):
        one.end()


@needs_browser
@needs_page
def test_a_and_b_are_heard_at_the_same_moment(browser: Any, server: Server) -> None:
    """Changing sides while it plays goes on at the same place of the common stretch."""
    ann = Reviewer(browser, server, "Ann")
    ann.page.get_by_label("Play the next item").uncheck()
    ann.page.locator("#title").click()  # keys are for the page again
    ann.press("n")
    ann.at("A field recording")
    assert ann.time() == pytest.approx(4.0, abs=0.3)  # where the common stretch begins
    suspect, other = ann.page.locator(".transport .time").inner_text().split("·")
    assert seconds(other) - seconds(suspect) == pytest.approx(KNOWN_FROM - SUSPECT_FROM, abs=0.11)
    ann.page.evaluate(NOTED)
    ann.press("ArrowRight", "ArrowRight", "b", "Space")
    until(lambda: len(ann.page.evaluate("window.started")) == 1)
    ann.page.get_by_role("button", name="Pause").wait_for()
    ann.press("a")
    until(lambda: len(ann.page.evaluate("window.started")) == 2)
    first, second = ann.page.evaluate("window.started")
    assert first["offset"] == pytest.approx(6.0, abs=0.3)
    assert second["sound"] != first["sound"]  # the other one
    passed = second["offset"] - first["offset"]
    assert 0 < passed == pytest.approx(second["at"] - first["at"], abs=0.1)
    ann.end()


def seconds(clock: str) -> float:
    minutes, _, rest = clock.strip().partition(":")
    return 60 * int(minutes) + float(rest)


@needs_browser
@needs_page
def test_a_slip_is_undone_and_a_page_that_was_closed_goes_on(
    browser: Any, server: Server, made: CurationSettings
) -> None:
    ann = Reviewer(browser, server, "Ann")
    ann.press("k", "5")
    ann.at("A field recording")
    ann.press("u")
    ann.page.get_by_text("You decided keep, false match").wait_for()
    ann.press("x", "6")
    ann.at("A field recording")
    (own,) = case_of(made, "folder:markup.wav").decisions
    assert (own.decision, own.reason_code, own.revision) == ("remove", "other", 1)
    ann.page.reload()  # the name is known
    ann.at("A field recording")
    ann.press("u")
    ann.page.get_by_text("You decided remove, other").wait_for()
    ann.press("n")
    ann.at("A field recording")
    ann.end()


@needs_browser
@needs_page
@needs_axe
def test_axe_finds_nothing_serious_in_a_review(browser: Any, server: Server) -> None:
    ann = Reviewer(browser, server, "Ann")
    assert serious(ann.page) == []
    ann.page.emulate_media(color_scheme="dark")
    ann.page.set_viewport_size({"width": 360, "height": 740})
    assert serious(ann.page) == []
    ann.page.context.close()


@needs_browser
@needs_page
def test_texts_of_strangers_are_text(browser: Any, server: Server) -> None:
    ann = Reviewer(browser, server, "<b>Ann</b>")
    ann.at(MARKUP[:20])
    for _ in range(3):
        ann.press("n")
    ann.at("A short one")
    ann.page.get_by_text("Nothing to compare it with").wait_for()
    ann.page.get_by_text("too_short").wait_for()
    assert ann.page.title() == "Auralith Review"
    assert ann.page.locator("main img, main script, b b, a[href^='javascript']").count() == 0
    ann.end()


@needs_browser
@needs_page
def test_a_server_that_is_killed_loses_no_decision(
    browser: Any, server: Server, made: CurationSettings
) -> None:
    """The page says that the server is gone, keeps what was chosen, and goes on with the next one."""
    ann = Reviewer(browser, server, "Ann")
    ann.press("x", "1")
    ann.at("A field recording")
    port = server.client.base_url.port
    server.end(signal.SIGKILL)
    ann.press("k", "1")
    ann.says("can't be reached")
    assert [len(one.decisions) for one in cases(made.folder)] == [1, 0, 0, 0]
    server.start(port or 0)
    ann.press("1")
    ann.at("A Song Everyone Knows")
    decisions = [[one.decision for one in case.decisions] for case in cases(made.folder)]
    assert decisions == [["remove"], ["keep"], [], []]
    ann.visit.complaints.clear()  # Chromium reports that nobody answered
    ann.end()
