"""The pages, as HTML. Text from outside is escaped and isolated for its direction of writing; no page needs another
site, and only the search needs a script."""

from collections.abc import Mapping

from auralith.curation.links import web_link
from auralith.curation.publish.attribution.entries import USE, license_name
from auralith.curation.publish.attribution.listing import Listing
from auralith.pages import template

_PACKAGE = "auralith.curation.publish.attribution"


def listing_page(listing: Listing, number: int) -> str:
    """Return one page of a listing; the first is number 1."""
    return template(_PACKAGE, "list.html.j2").render(
        title=f"{listing.title}, page {number} of {listing.num_pages}",
        listing=listing,
        number=number,
        start=(number - 1) * listing.page_entries,
        use=USE,
    )


def start_page(
    name: str,
    contact: str,
    everything: Listing,
    groups: Mapping[tuple[str, str], Listing],
    initials: Mapping[str, str],
    tables: Mapping[str, str],
) -> str:
    """Return the first page: the counts, the search and the links to every recording.

    `groups` are listings by source and license, `initials` links by the first letter of the author, `tables` a line
    about each file that holds the same as a table.
    """
    return template(_PACKAGE, "index.html.j2").render(
        title=f"Attribution: {name}",
        name=name,
        contact=contact,
        everything=everything,
        groups=groups,
        initials=initials,
        tables=tables,
        use=USE,
        license_name=license_name,
        web_link=web_link,
    )
