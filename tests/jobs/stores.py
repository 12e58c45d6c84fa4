"""What tests of the store share: a clock that is set by hand, and the steps of a job."""

from auralith.jobs.records import Job
from auralith.jobs.store import JobStore


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def add(store: JobStore, prompt: str = "rain", cost: float = 1.0, **options: object) -> Job:
    """Return a job that was accepted."""
    return store.accept({"prompt": prompt}, cost, **options)[0]  # type: ignore[arg-type]


def claimed(store: JobStore) -> Job:
    """Return the next job, claimed."""
    job = store.claim()
    assert job is not None
    return job


def make_output(store: JobStore, job: Job, content: bytes = b"sound", index: int = 0) -> str:
    """Return the id of a sound that a claimed job made."""
    name = f"{job.id}-{index}.wav"
    (store.sounds / name).write_bytes(content)
    assert store.add_output(job, name, {"seconds": 1.0})
    return f"{job.id}-{index}"


def made(store: JobStore, prompt: str = "rain", **options: object) -> str:
    """Return the id of the sound of a job that is done."""
    job = add(store, prompt, **options)  # type: ignore[arg-type]
    running = claimed(store)
    assert running.id == job.id
    output = make_output(store, running)
    assert store.finish(running, "succeeded")
    return output
