"""The pages as those find them who don't see them, whose server dies, or who come when it is full."""

import hashlib
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.test_studio import (
    Visit,
    browser,
    make,
    needs_axe,
    needs_browser,
    needs_page,
    serious,
)
from tests.server.test_serve import Server, until

__all__ = ["browser"]  # a fixture
pytestmark = [needs_browser, needs_page, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # always at the same port, as the page of a restarted server is
    options = ("--grace", "0", "--port", port, "--queue", "1", "--retries", "10", "--preload")
    server = Server(tmp_path_factory.mktemp("troubles") / "data", *options)
    server.start()
    yield server
    server.end()


def arrive(browser: Any, server: Server) -> Visit:
    visit = Visit(browser, str(server.client.base_url))
    visit.page.get_by_label("Prompt", exact=True).wait_for()
    return visit


@needs_axe
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Any, server: Server, scheme: Any) -> None:
    visit = arrive(browser, server)
    visit.page.emulate_media(color_scheme=scheme)
    assert serious(visit.page) == []
    make(visit, f"a bell in the {scheme}")
    assert serious(visit.page) == []
    visit.page.set_viewport_size({"width": 360, "height": 740})
    assert serious(visit.page) == []
    visit.page.context.close()  # its complaints are of what axe-core puts into the page


def test_a_page_outlives_its_server(browser: Any, server: Server) -> None:
    body = {"prompt": "a long rain", "seconds": 0.4, "window": "fit", "steps": 900, "seed": 5}
    job = server.post(body)["id"]
    visit = arrive(browser, server)
    entry = visit.page.get_by_role("listitem").filter(has_text="a long rain")
    entry.get_by_role("progressbar").wait_for()
    until(lambda: (server.job(job)["progress"] or {}).get("step", 0) > 10)
    server.end(signal.SIGKILL)
    server.start()
    entry.get_by_role("progressbar").wait_for(state="hidden", timeout=60_000)
    entry.locator("button.open:enabled").wait_for()
    entry.locator("button.open").click()
    visit.page.get_by_role("button", name="Play").wait_for()
    assert server.job(job)["status"] == "succeeded"
    again = server.post(body)["id"]
    until(lambda: server.job(again)["status"] == "succeeded")
    assert digest(server, job) == digest(server, again)
    others = [text for text in visit.complaints if "Failed to load resource" not in text]
    assert others == []
    visit.page.context.close()


def digest(server: Server, job: str) -> str:
    [output] = server.job(job)["outputs"]
    sound = server.client.get(output["url"]).content
    assert hashlib.sha256(sound).hexdigest() == output["sha256"]
    return output["sha256"]


def test_who_comes_when_the_queue_is_full_is_told_when_to_come_again(
    browser: Any, server: Server
) -> None:
    visit = arrive(browser, server)
    page = visit.page
    long = {"prompt": "fills the queue", "seconds": 0.4, "window": "fit", "steps": 1_000}
    jobs = [server.post(long)["id"]]
    until(lambda: server.job(jobs[0])["status"] == "running")
    jobs.append(server.post(long | {"seed": 2})["id"])
    page.get_by_label("Prompt", exact=True).fill("one too many")
    page.get_by_label("Seconds", exact=True).fill("0.4")
    visit.press("Control+Enter")
    page.get_by_role("alert").filter(has_text="wait").wait_for()
    assert page.get_by_text("There may be room in").is_visible()
    page.get_by_role("button", name="Send when there is room").click()
    for job in jobs:
        server.client.delete(f"/v1/jobs/{job}")
    entry = page.get_by_role("listitem").filter(has_text="one too many")
    entry.first.wait_for(timeout=60_000)
    time.sleep(0.1)
    complaints = [text for text in visit.complaints if "429" not in text]
    assert complaints == []
    page.context.close()
