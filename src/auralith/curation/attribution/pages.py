"""The pages, as HTML. Everything from outside is escaped and set apart for its direction of writing; no page needs
another site, and none needs a script but the search."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from auralith.curation.attribution.entries import (
    USE,
    Entry,
    license_link,
    license_name,
    restriction,
)

Count = tuple[int, float]
"""Recordings, and seconds of them."""


@dataclass(frozen=True)
class Listing:
    """Entries in pages: all of them, or those of one source and license."""

    title: str
    slug: str
    """What its pages' names begin with."""
    entries: Sequence[Entry]
    page_entries: int

    @property
    def num_pages(self) -> int:
        return max(1, -(-len(self.entries) // self.page_entries))

    def name(self, page: int) -> str:
        """The file of a page; the first is number 1."""
        return f"{self.slug}-{page}.html"

    def page(self, number: int) -> Sequence[Entry]:
        start = (number - 1) * self.page_entries
        return self.entries[start : start + self.page_entries]

    @property
    def count(self) -> Count:
        return len(self.entries), math.fsum(entry.seconds for entry in self.entries)


def listing_page(listing: Listing, number: int) -> str:
    """One page of a listing."""
    start = (number - 1) * listing.page_entries
    rows = "\n".join(
        _item(entry, start + place) for place, entry in enumerate(listing.page(number))
    )
    title = f"{listing.title}, page {number} of {listing.num_pages}"
    body = f"""<p class="use">{_counted(listing.count)} in this list. {escape(USE)}</p>
{_turn(listing, number)}
<ol class="entries" start="{start + 1}">
{rows}
</ol>
{_turn(listing, number)}"""
    return _document(title, f'<a href="index.html">Attribution</a><h1>{escape(title)}</h1>', body)


def start_page(
    name: str,
    contact: str,
    everything: Listing,
    groups: Mapping[tuple[str, str], Listing],
    initials: Mapping[str, str],
    tables: Iterable[str],
) -> str:
    """The first page: what there is, the search, and the ways to every recording.

    `groups` are listings by source and license, `initials` links by the first letter of the author.
    """
    body = f"""<p class="use">{_counted(everything.count)}. {escape(USE)}</p>
<form role="search" hidden>
<label for="query">Search titles, authors and ids</label>
<input id="query" type="search" autocomplete="off" spellcheck="false">
</form>
<p id="said" role="status"></p>
<ol id="found" class="entries"></ol>
<noscript><p>The search needs JavaScript; the lists below do not.</p></noscript>
<h2>By source and license</h2>
{_group_table(groups, everything.count)}
<h2>By author</h2>
<p class="links">{" ".join(_a(link, letter) for letter, link in initials.items())}</p>
<h2>All recordings</h2>
<p class="links">{" ".join(_a(everything.name(n), str(n)) for n in range(1, everything.num_pages + 1))}</p>
<h2>As tables</h2>
<ul class="links">{"".join(f"<li>{_a(table, table)}</li>" for table in tables)}</ul>
<p>{_contact(contact)}</p>
<script src="search.js"></script>
<script src="search/index.js"></script>"""
    return _document(f"Attribution: {name}", f"<h1>Attribution: {_text(name)}</h1>", body)


def _item(entry: Entry, place: int) -> str:
    """An entry: `verify` reads it back by its classes."""
    license, link = license_name(entry.license_spdx), license_link(entry)
    author = _linked(entry.author_url, entry.author, "author") if entry.author else "not stated"
    note = restriction(entry.license_spdx)
    return (
        f'<li id="e{place}" data-id="{escape(entry.rec_id)}" data-license="{escape(entry.license_spdx)}">'
        f"{_linked(entry.url, entry.shown_title, 'title')} by {author}"
        f' <span class="about">{escape(entry.source)} · {_linked(link, license, "license")}'
        f"{' · ' + escape(note) if note else ''}</span></li>"
    )


def _linked(link: str | None, text: str, kind: str) -> str:
    if link is None:
        return f'<span class="{kind}">{_text(text)}</span>'
    return f'<a class="{kind}" href="{escape(link)}">{_text(text)}</a>'


def _text(text: str) -> str:
    """Text from outside: escaped, and its direction of writing kept from what is around it."""
    return f"<bdi>{escape(text)}</bdi>"


def _a(link: str, text: str) -> str:
    return f'<a href="{escape(link)}">{escape(text)}</a>'


def _turn(listing: Listing, number: int) -> str:
    """Links to the pages beside."""
    ways = []
    if number > 1:
        ways.append(f'<a rel="prev" href="{listing.name(number - 1)}">← page {number - 1}</a>')
    if number < listing.num_pages:
        ways.append(f'<a rel="next" href="{listing.name(number + 1)}">page {number + 1} →</a>')
    return f"<nav>{' '.join(ways)}</nav>" if ways else ""


def _counted(count: Count) -> str:
    recordings, seconds = count
    hours = f", {seconds / 3_600:,.1f} h" if seconds else ""
    return f"{recordings:,} recording{'' if recordings == 1 else 's'}{hours}"


def _group_table(groups: Mapping[tuple[str, str], Listing], everything: Count) -> str:
    rows = [
        (escape(source), _a(listing.name(1), license_name(spdx)), listing.count)
        for (source, spdx), listing in groups.items()
    ]
    rows.append(("all", "", everything))
    cells = "\n".join(
        f"<tr><td>{source}</td><td>{license}</td><td>{count[0]:,}</td><td>{_hours(count)}</td></tr>"
        for source, license, count in rows
    )
    head = "<tr><th>source</th><th>license</th><th>recordings</th><th>hours</th></tr>"
    return f"<table>\n<thead>{head}</thead>\n<tbody>\n{cells}\n</tbody>\n</table>"


def _hours(count: Count) -> str:
    """A dash where no source says how long its recordings are."""
    return f"{count[1] / 3_600:,.1f}" if count[1] else "–"


def _contact(contact: str) -> str:
    if not contact:
        return "To have a recording taken out, write to whoever publishes this page."
    return f"To have a recording taken out, write to {_text(contact)}."


def _document(title: str, header: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
<header>{header}</header>
<main>
{body}
</main>
</body>
</html>
"""
