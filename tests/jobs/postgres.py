"""A real PostgreSQL for tests: one cluster on a socket in a temporary folder, a schema for each test.

Nothing is written through to the disk: tests kill servers of ours, not this one's machine.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

USER = "postgres"
GUARDED = "guarded"
"""A user who needs a password."""


def find_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, the newest ones; None without them."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[-3].zfill(4)
    )
    if found:
        return found[-1].parent
    other = shutil.which("initdb")
    return Path(other).resolve().parent if other else None


class Cluster:
    """A cluster that runs, or can be stopped and started again."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self.folder = programs, folder
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, program: str, *options: str) -> list[str]:
        """Return a command as a user that PostgreSQL works for: it refuses root."""
        before = ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups"]
        return [*(before if os.getuid() == 0 else []), str(self._programs / program), *options]

    def create(self) -> None:
        """Make the files of the cluster."""
        if os.getuid() == 0:
            shutil.chown(self.folder, USER)
        options = ["--no-sync", "--username", USER, "--encoding", "UTF8", "--locale", "C"]
        subprocess.run(
            self.command("initdb", *options, "--auth", "trust", str(self.folder / "data")),
            check=True,
            capture_output=True,
            cwd=self.folder,
        )
        rules = f"local all {GUARDED} scram-sha-256\nlocal all all trust\n"
        (self.folder / "data" / "pg_hba.conf").write_text(rules)

    def start(self) -> None:
        """Start, and wait until connections are taken."""
        settings = {
            "fsync": "off",
            "full_page_writes": "off",
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "max_connections": "40",
            "shared_buffers": "16MB",
            "autovacuum": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command("postgres", "-D", str(self.folder / "data"), *options),
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        end = time.monotonic() + 60
        ready = self.command("pg_isready", "-h", str(self.folder))
        while subprocess.run(ready, capture_output=True, cwd=self.folder).returncode:
            assert time.monotonic() < end and self._process.poll() is None, self.log()
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop at once, cutting off whoever is connected."""
        if self._process is not None:
            self._process.send_signal(2)
            self._process.wait(30)
            self._process = None

    def log(self) -> str:
        """Return what it has said."""
        return (self.folder / "log").read_text(errors="replace")

    def url(self, schema: str = "", database: str = "postgres", user: str = USER) -> str:
        """Return the URL of a database, with the schema in which tables are made."""
        place = f"postgresql://{user}@/{database}?host={quote(str(self.folder), safe='')}"
        return f"{place}&options=-csearch_path%3D{schema}" if schema else place

    def run(self, statement: str, database: str = "postgres") -> None:
        """Run a statement as the cluster's owner."""
        import psycopg

        with psycopg.connect(self.url(database=database), autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Give a cluster that runs until the block ends."""
    programs = find_programs()
    assert programs is not None
    # in /tmp itself: the path of a socket has 107 bytes at most
    folder = Path(tempfile.mkdtemp(prefix="auralith-pg-", dir="/tmp"))
    made = Cluster(programs, folder)
    try:
        made.create()
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
