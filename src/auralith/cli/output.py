"""Paths of results: names made from the prompt, numbered names, and nothing overwritten that wasn't named."""

from dataclasses import dataclass
from itertools import count
from pathlib import Path

from auralith.files import slug

DEFAULT_FORMAT = "wav"


@dataclass(frozen=True)
class Output:
    """Values of `-o`, `--format` and `--subtype`."""

    path: Path | None
    format: str | None
    subtype: str | None
    prompt: str

    def check(self) -> Path:
        """Raise what writing would raise (format, folder, permission), before anything is generated.

        Returns a path like those of the results.
        """
        from auralith.errors import InvalidRequest
        from auralith.sound.formats import check_format, check_output

        if self.format is not None:
            check_format(self.format)
        named = self._named
        if named and self.format and named.suffix.lower() not in ("", f".{self.format}"):
            raise InvalidRequest(f"{named} is not a .{self.format} file; change -o or --format")
        path = self._with_suffix(named or self._folder / slug(self.prompt))
        check_output(path, self.subtype)
        return path

    def paths(self, seeds: list[int]) -> list[Path]:
        """A file for each seed: as named (numbered if several), or new ones after prompt and seed."""
        named = self._named
        if named is None:
            stems = [self._folder / f"{slug(self.prompt)}-{seed}" for seed in seeds]
            return [_unused(self._with_suffix(stem)) for stem in stems]
        whole = self._with_suffix(named)
        if len(seeds) == 1:
            return [whole]
        return [whole.with_stem(f"{whole.stem}-{number + 1}") for number in range(len(seeds))]

    @property
    def _named(self) -> Path | None:
        return None if self.path is None or self.path.is_dir() else self.path

    @property
    def _folder(self) -> Path:
        return Path() if self.path is None else self.path

    def _with_suffix(self, path: Path) -> Path:
        if self._named is not None and path.suffix:
            return path
        return path.with_name(f"{path.name}.{self.format or DEFAULT_FORMAT}")


def _unused(path: Path) -> Path:
    """The path, or the first of path-2, path-3 … that doesn't exist."""
    if not path.exists():
        return path
    numbered = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return next(candidate for candidate in numbered if not candidate.exists())
