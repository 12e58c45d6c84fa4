"""The command that a missing library is answered with is the one that works for the installation."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from auralith import extras

FROM_INDEX = "pip install 'auralith[train]'"
FROM_CLONE = "pip install '.[train]'"
MISSING = """
import sys
sys.path.insert(0, sys.argv[1])
from auralith.errors import MissingExtra
from auralith.extras import require
try:
    require("no_such_library.part", "train")
except MissingExtra as error:
    print(error)
"""


def printed(packages: Path, working: Path) -> str:
    """The line for a missing library, of the package in a folder of packages, in a process that sees no other."""
    command = [sys.executable, "-I", "-S", "-c", MISSING, str(packages)]
    done = subprocess.run(command, cwd=working, capture_output=True, text=True, check=True)
    start = "this needs no_such_library.part, of the extra auralith[train]; "
    assert done.stdout.startswith(start) and done.stdout.count("\n") == 1
    return done.stdout.removeprefix(start).rstrip("\n")


def installed(place: Path, url: str | None) -> Path:
    """A folder of packages as an installer leaves it: `url` is where the package came from, None an index (PEP 610)."""
    packages = place / "site-packages"
    package, about = packages / "auralith", packages / "auralith-1.0.dist-info"
    package.mkdir(parents=True)
    about.mkdir()
    (package / "__init__.py").touch()
    for name in ("extras", "errors", "escaping"):
        shutil.copy(Path(extras.__file__).with_name(f"{name}.py"), package)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: auralith\nVersion: 1.0\n")
    if url is not None:
        (about / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": {}}))
    return packages


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "a clone of é%20"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    return folder


def test_a_wheel_from_an_index_is_asked_for_by_name(tmp_path: Path, clone: Path) -> None:
    packages = installed(tmp_path, None)
    assert printed(packages, tmp_path) == FROM_INDEX
    assert printed(packages, clone) == FROM_INDEX  # that folder has nothing to do with it


@pytest.mark.parametrize("editable", [False, True])
def test_a_package_from_a_clone_is_asked_for_by_its_folder(
    tmp_path: Path, clone: Path, editable: bool
) -> None:
    if editable:
        installed(clone, None)
        packages = (clone / "site-packages").rename(clone / "src")
    else:
        packages = installed(tmp_path, clone.as_uri())
    assert printed(packages, clone) == FROM_CLONE
    assert printed(packages, tmp_path) == f"{FROM_CLONE} in {clone}"


@pytest.mark.parametrize(
    "url",
    [
        "file:///gone/since",
        "https://files.example/auralith-1.0-py3-none-any.whl",
        "https://git.example/auralith.git",
    ],
)
def test_what_came_from_elsewhere_is_asked_for_by_name(tmp_path: Path, url: str) -> None:
    assert printed(installed(tmp_path, url), tmp_path) == FROM_INDEX


def test_a_wheel_in_a_file_is_asked_for_by_name(tmp_path: Path, clone: Path) -> None:
    wheel = clone / "auralith-1.0-py3-none-any.whl"
    wheel.touch()
    assert printed(installed(tmp_path, wheel.as_uri()), tmp_path) == FROM_INDEX


def test_every_extra_that_is_named_exists() -> None:
    root = Path(__file__).parents[1]
    known = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = re.compile(r"""(?:require\(\s*"[\w.]+",\s*|how_to_install\()["'](\w+)["']""")
    sources = [path.read_text() for path in (root / "src").rglob("*.py")]
    users = [text for text in sources if "from auralith.extras import" in text]
    named = {name for text in users for name in asked.findall(text)}
    assert {"train", "av", "curate"} <= named <= set(known)
