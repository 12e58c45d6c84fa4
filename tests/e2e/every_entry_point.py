"""Run every entry point on a stranger's files in this process, and record connections: python every_entry_point.py FOLDER

An audit hook sees and refuses each connection, name look-up and subprocess, whoever makes it; the last line printed is
JSON: what was refused, and what each command returned.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

EVENTS = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec")
seen: list[str] = []


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in EVENTS and not str(arguments[0]).endswith("lscpu"):  # torch counts the cores
        seen.append(f"{event} {arguments!r:.200}")
        raise OSError(f"{event} is refused here")


def commands() -> list[list[str]]:
    """Every verb on every model, sound, table and adapter in the folder."""
    quick = ["--steps", "1", "--seconds", "0.1", "--window", "fit"]
    models = [
        "diffusers",
        "single",
        "sharded",
        "mapped",
        "evil.ckpt",
        "evil.pt",
        "evil.bin",
        "no_t5",
    ]
    odd = str(next(Path("http:").rglob("x.m4a")))
    found = [["info", "tags.wav"], ["info", odd]]
    for number, model in enumerate(models):
        new = f"out/{number}"
        found += [
            ["inspect", model],
            ["convert", model, f"{new}/converted", "--to", "single-file"],
            ["generate", "rain", "--model", model, *quick, "-o", f"{new}.wav"],
        ]
    for adapter in ("peft", "evil.safetensors", "evil.ckpt"):
        found += [
            ["adapter", "list", adapter],
            ["adapter", "inspect", adapter],
            ["adapter", "merge", "embedded", adapter, "-o", "out/merged"],
            ["generate", "rain", *quick, "--adapter", adapter, "-o", "out/adapted.wav"],
        ]
    keyed = ["--column", "source_id=path"]
    table = ["table.csv", "--model", "single"]
    return [
        *found,
        ["generate", "--from", "tags.wav", "-o", "out/again.wav"],
        ["generate", "--from", "edited.wav", "--yes", "-o", "out/again.wav"],
        ["generate", "--from", "edited.wav", "-o", "out/again.wav"],
        ["vary", odd, "rain", "--model", "single"],
        ["batch", "prompts.csv", "-o", "out/set", "--model", "single", *quick],
        ["encode", *table, "-o", "out/latents"],
        ["encode", ".", "-o", "out/folder", "--model", "single"],
        ["finetune", *table, "-o", "out/tuned", "--steps", "1", "--demo-every", "0", "--no-checks"],
        ["finetune", "good.csv", "-o", "out/tuned", "--settings", "evil.toml"],
        ["plan", "single"],
        ["memorization", "-o", "out/copies", "--audio", ".", "--training", "table.csv"],
        ["attribute", "tags.wav", "--training", ".", "--work", "out/nearest"],
        ["train", "evil.toml"],
        ["curate", "ingest", "out/c", "table.csv", "--from", "table", "--root", ".", *keyed],
        ["curate", "probe", "out/c", "--root", ".", "--workers", "1"],
        ["curate", "tag", "out/c", "--root", ".", "--weights", "evil.pt"],
        ["curate", "run", "recipe.toml"],
    ]


def compat() -> None:
    from auralith.compat.diffusers import AutoencoderOobleck, StableAudioPipeline
    from auralith.compat.stable_audio_tools import (
        create_model_from_config,
        get_pretrained_model,
        load_ckpt_state_dict,
    )
    from auralith.errors import AuralithError

    def attempt(name: str, call: Any, *arguments: Any) -> None:
        try:
            call(*arguments)
        except (AuralithError, ValueError, TypeError, KeyError, OSError) as error:
            results[name] = repr(error)[:200]
        else:
            results[name] = 0

    attempt("pipeline", StableAudioPipeline.from_pretrained, "diffusers")
    attempt("vae", AutoencoderOobleck.from_pretrained, "diffusers")
    attempt("pretrained", get_pretrained_model, "single")
    for name in ("evil.ckpt", "evil.pt", "evil.bin"):
        attempt(f"state {name}", load_ckpt_state_dict, name)
    config = json.loads(Path("no_t5/model_config.json").read_text())
    attempt("config", create_model_from_config, config)


results: dict[str, object] = {}


def control() -> int:
    """How many of three forbidden things the hook notices."""
    before = len(seen)
    for attempt in (
        lambda: socket.socket().connect(("127.0.0.1", 9)),
        lambda: socket.getaddrinfo("a.example", 80),
        lambda: subprocess.run(["true"]),
    ):
        with contextlib.suppress(OSError):
            attempt()
    noticed = seen[before:]
    del seen[before:]
    return len({line.split()[0] for line in noticed})


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    sys.addaudithook(refuse)
    noticed = control()
    from auralith.cli.main import run

    for command in commands():
        results[" ".join(command)] = run(command)
    compat()
    print("\n" + json.dumps({"noticed": noticed, "seen": seen, "results": results}))
