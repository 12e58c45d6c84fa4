"""HTML pages from Jinja2 templates, which lie as `*.html.j2` in the packages that use them.

Every value is escaped wherever it stands, and a name that a template does not get is an error. A carriage return is
written as a reference, since a plain one would be read as the end of a line.
"""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape


@cache
def template(package: str, name: str) -> Template:
    """Return the template `name` from the folder `templates` of a package."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def _escaped(value: object) -> object:
    if isinstance(value, str):
        return Markup(str(escape(value)).replace("\r", "&#13;"))
    return value
