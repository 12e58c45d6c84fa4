"""Links: names and ids are percent-encoded, and what isn't a valid URL is found."""

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auralith.curation.http import is_valid_link, page_link, web_link
from auralith.curation.sources.freesound import author_link, sound_url

SITE = "https://freesound.org"


@pytest.mark.parametrize(
    ("author", "encoded"),
    [
        ("DJ Example", "DJ%20Example"),
        ("a#b", "a%23b"),
        ("a/b?c", "a%2Fb%3Fc"),
        ("100%", "100%25"),
        ("Żółw", "%C5%BB%C3%B3%C5%82w"),
        ('<"&">', "%3C%22%26%22%3E"),
        ("plain-name_1.x", "plain-name_1.x"),
    ],
)
def test_a_user_name_is_encoded_in_both_links(author: str, encoded: str) -> None:
    assert sound_url(author, "7") == f"{SITE}/people/{encoded}/sounds/7/"
    assert author_link(author) == f"{SITE}/people/{encoded}/"


@pytest.mark.parametrize("author", [".", "..", "", None])
def test_a_name_that_no_path_can_hold_gives_the_address_that_leads_there(
    author: str | None,
) -> None:
    assert sound_url(author, "7") == f"{SITE}/s/7/"
    assert author_link(author) is None


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text("0123456789", min_size=1)
)
def test_a_link_is_valid_and_says_the_name(name: str, id: str) -> None:
    link = page_link(SITE, "people", name, id)
    if name in (".", ".."):
        assert link is None
        return
    assert link is not None and link.isascii() and is_valid_link(link)
    people, written, number, end = urlsplit(link).path.split("/")[1:]
    assert (people, unquote(written), number, end) == ("people", name, id, "")


@pytest.mark.parametrize(
    "link",
    [
        *(
            "https://example.org",
            "http://example.org:8080/a?b=c&d#e",
            "https://[::1]/",
            "HTTPS://Example.org/",
        ),
        *("https://exämple.org/ü", "https://127.0.0.1/", "https://example.org/a(b)'c!*,;=@~"),
    ],
)
def test_valid_links_are_valid(link: str) -> None:
    assert is_valid_link(link) and web_link(link) == link


@pytest.mark.parametrize(
    "link",
    [
        *(
            "https://example.org/a b",
            "https://example.org/a\nb",
            'https://example.org/"',
            "https://example.org/<a>",
        ),
        *(
            "https://example.org/100%",
            "https://example.org/%zz",
            "https://example.org/a#b#c",
            "https://",
        ),
        *(
            "https:///a",
            "https://exa mple.org/",
            "https://example.org:99999/",
            "https://example.org:x/",
            "https://[::1/",
        ),
        *(
            "javascript:alert(1)",
            "ftp://example.org/",
            "example.org",
            "",
            "https://example.org/a\\b",
            "https://a..b/",
        ),
        *(
            "https://example.org/[a]",
            "https://example.org/a|b",
            "https://-a.org/",
            "https://example.org/\u00a0",
        ),
    ],
)
def test_others_are_not(link: str) -> None:
    assert not is_valid_link(link)
