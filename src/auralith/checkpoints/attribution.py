"""The file beside a model's weights that names everybody whose sounds it learned from."""

from pathlib import Path

from auralith.files import whole_file

ATTRIBUTION = "ATTRIBUTION"


def attribution_of(folder: Path) -> str | None:
    """Return the path of the attribution beside a model's weights; None if there is none."""
    path = folder / ATTRIBUTION
    return str(path) if path.is_file() else None


def carry_attribution(source: Path, target: Path) -> None:
    """Copy the attribution of one folder into another, whose weights were made of what lies there, if there is one.

    Raises:
        ResourceError: it can't be written.
    """
    path = attribution_of(source)
    if path is not None:
        with whole_file(target / ATTRIBUTION) as file:
            file.write(Path(path).read_bytes())
