"""The pages, as HTML. Everything from outside is escaped and set apart for its direction of writing; no page needs
another site, and none needs a script but the search."""

from collections.abc import Mapping
from html import escape as escape_html

from auralith.curation.attribution.entries import USE, Entry, license_name
from auralith.curation.attribution.listing import Count, Listing
from auralith.curation.links import web_link


def escape(text: str) -> str:
    """Text for HTML. A carriage return is written as a reference, since a plain one would be read as a line's end."""
    return escape_html(text).replace("\r", "&#13;")


def listing_page(listing: Listing, number: int) -> str:
    """One page of a listing."""
    start = (number - 1) * listing.page_entries
    rows = "\n".join(
        _item(entry, place) for place, entry in enumerate(listing.entries(number), start)
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
    tables: Mapping[str, str],
) -> str:
    """The first page: what there is, the search, and the ways to every recording.

    `groups` are listings by source and license, `initials` links by the first letter of the author, `tables` what to
    say of each file that holds the same as a table.
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
<ul>{"".join(f"<li>{_a(table, table)}: {escape(about)}</li>" for table, about in tables.items())}</ul>
<p>{_contact(contact)}</p>
<script src="search.js"></script>
<script src="search/index.js"></script>"""
    return _document(f"Attribution: {name}", f"<h1>Attribution: {_text(name)}</h1>", body)


def _item(entry: Entry, place: int) -> str:
    """An entry: `verify` reads it back by its classes."""
    author = _linked(entry.author_url, entry.author, "author") if entry.author else "not stated"
    note = f' · <span class="note">{escape(entry.restriction)}</span>' if entry.restriction else ""
    return (
        f'<li id="e{place}" data-id="{escape(entry.rec_id)}" data-license="{escape(entry.license_spdx)}">'
        f"{_linked(entry.url, entry.shown_title, 'title')} by {author}"
        f' <span class="about"><span class="source">{escape(entry.source)}</span>'
        f" · {_linked(entry.license_link, entry.license_text, 'license')}{note}</span></li>"
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
    return f'<nav aria-label="Pages">{" ".join(ways)}</nav>' if ways else ""


def _counted(count: Count) -> str:
    recordings, hours = count.cells
    plural = "" if count.recordings == 1 else "s"
    return f"{recordings} recording{plural}{f', {hours} h' if count.seconds else ''}"


def _group_table(groups: Mapping[tuple[str, str], Listing], everything: Count) -> str:
    """Recordings and hours of each source and license, and of all: `verify` reads them back."""
    rows = [
        _count_row(source, spdx, _a(listing.name(1), license_name(spdx)), listing.count)
        for (source, spdx), listing in groups.items()
    ]
    rows.append(_count_row("all", "", "", everything))
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("source", "license", "recordings", "hours")
    )
    return (
        f'<table class="counts">\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody>\n</table>"
    )


def _count_row(source: str, spdx: str, license: str, count: Count) -> str:
    recordings, hours = count.cells
    return (
        f'<tr data-license="{escape(spdx)}"><td>{escape(source)}</td><td>{license}</td>'
        f"<td>{recordings}</td><td>{hours}</td></tr>"
    )


def _contact(contact: str) -> str:
    if not contact:
        return "To have a recording taken out, write to whoever publishes this page."
    if web_link(contact):
        return f"To have a recording taken out, see {_a(contact, contact)}."
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
