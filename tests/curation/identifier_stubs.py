"""Stand-ins for what identification asks: programs that the tests write and AcoustID's server."""

import base64
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import soundfile

from tests.fingerprint.melodies import SAMPLE_RATE

ITEM_SAMPLES = 1_365

FPCALC = """
import base64, json, sys
import numpy as np, soundfile
x, rate = soundfile.read(sys.argv[-1])
assert rate == 11025 and x.ndim == 1
count = 1 + (len(x) - 4096) // 1365
frames = np.lib.stride_tricks.sliding_window_view(x, 4096)[::1365][:count]
power = np.abs(np.fft.rfft(frames * np.hanning(4096), axis=1)) ** 2
edges = np.geomspace(100, 1300, 34).astype(int)
bands = np.log(np.add.reduceat(power, edges, axis=1)[:, :33] + 1e-9)
slopes = np.diff(bands, axis=1)
bits = slopes[19:] > slopes[:-19]
items = (bits.astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(axis=1)
raw = [int(item) for item in items]
head = bytes([1]) + len(raw).to_bytes(3, "big")
text = base64.urlsafe_b64encode(head + items.astype(np.uint32).tobytes()).decode().rstrip("=")
print(json.dumps({"duration": len(x) / rate, "fingerprint": raw if "-raw" in sys.argv else text}))
sys.exit(3)  # as version 1.5.1 does
"""
"""Items as Chromaprint counts them, of another kind: signs of how the slopes of 33 bands change over 2.4 s."""


def write_program(path: Path, body: str) -> str:
    """A program in Python, as the path to start it by."""
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(0o755)
    return str(path)


def write_sound(path: Path, sound: np.ndarray) -> Path:
    soundfile.write(path, sound, SAMPLE_RATE, subtype="PCM_16")
    return path


class AcoustIdStub(BaseHTTPRequestHandler):
    """AcoustID as far as we know it: `tracks` by fingerprint; answers in `script` come first."""

    key: str
    tracks: dict[str, dict[str, Any]]
    script: list[tuple[int, bytes]]
    requests: list[tuple[str, dict[str, str]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.requests.append((self.path, form))
        if self.script:
            return self._send(*self.script.pop(0))
        if form["client"] != self.key:
            return self._refuse(4, "invalid API key")
        if not form["duration"].isdigit() or not _is_fingerprint(form["fingerprint"]):
            return self._refuse(3, "invalid fingerprint")
        track = self.tracks.get(form["fingerprint"])
        body = {"status": "ok", "results": [track] if track else []}
        self._send(200, json.dumps(body).encode())

    def _refuse(self, code: int, message: str) -> None:
        error = {"status": "error", "error": {"code": code, "message": message}}
        self._send(400, json.dumps(error).encode())

    def _send(self, status: int, body: bytes) -> None:
        if status == 0:  # hang up
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _is_fingerprint(text: str) -> bool:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[0] == 1


@contextmanager
def acoustid_server(key: str) -> Iterator[tuple[str, type[AcoustIdStub]]]:
    """The address of a stub and its handler."""
    answers = {"key": key, "tracks": {}, "script": [], "requests": []}
    handler = type("Stub", (AcoustIdStub,), answers)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v2/lookup", handler
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class FreeClock:
    """A clock whose sleep takes no time."""

    def __init__(self) -> None:
        self.time, self.slept = 1_700_000_000.0, 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.slept += seconds
