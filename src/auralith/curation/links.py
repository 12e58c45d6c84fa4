"""Links: built from names and ids by percent-encoding, and checked before they are published."""

import re
from urllib.parse import quote, urlsplit

_WEB = re.compile(r"https?://\S", re.IGNORECASE)
_HOST = re.compile(
    r"(?:[^\W_](?:[\w-]*[^\W_])?\.)*[^\W_](?:[\w-]*[^\W_])?\.?|[0-9a-f:.]*:[0-9a-f:.]*",
    re.IGNORECASE,
)
_NO_URL_SIGN = re.compile(
    r"[\x00-\x20\x7f-\xa0\"<>\\^`{|}\u2028\u2029\ud800-\udfff]|%(?![0-9a-fA-F]{2})"
)
_BRACKET = re.compile(r"[\[\]]")


def page_link(site: str, *parts: str) -> str | None:
    """Return the address of a page below `site`, its parts percent-encoded, with a slash at the end.

    None if a part is empty, "." or "..", which no encoding keeps from being read as the page above.
    """
    if any(part in ("", ".", "..") for part in parts):
        return None
    return "/".join([site, *(quote(part, safe="", errors="replace") for part in parts), ""])


def web_link(text: str | None) -> str | None:
    """Return a link unchanged if it leads to the web; None for scripts and files."""
    return text if text and _WEB.match(text) else None


def is_valid_link(link: str) -> bool:
    """Return whether a link is a valid URL of the web: a host, and only characters that a URL may have.

    Letters beyond ASCII may (WHATWG URL Standard, section 4.3); spaces, quotes, a second "#" and "%" without two
    hexadecimal digits may not.
    """
    if not _WEB.match(link) or _NO_URL_SIGN.search(link) or link.count("#") > 1:
        return False
    try:
        parts = urlsplit(link)
        is_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    has_brackets = _BRACKET.search(parts.path + parts.query + parts.fragment)
    return is_port and not has_brackets and _HOST.fullmatch(parts.hostname or "") is not None
