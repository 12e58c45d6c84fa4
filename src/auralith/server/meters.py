"""Numbers for Prometheus. None of them has a prompt, a name or an id in it."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from auralith.extras import LazyModule
from auralith.jobs.records import Job, Json
from auralith.server.service import Service

prometheus = LazyModule("prometheus_client", "serve")
SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800)
ANSWER_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30)
FACTORS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 50)


class Meters:
    """Counters of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._registry = registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        self._jobs = prometheus.Counter(
            "auralith_jobs", "Jobs that ended", ["status", "task"], registry=registry
        )
        self._rejected = prometheus.Counter(
            "auralith_rejected", "Requests that were refused", ["reason"], registry=registry
        )
        self._answers = prometheus.Histogram(
            "auralith_answer_seconds",
            "From the head of a request to that of its answer",
            ["status"],
            buckets=ANSWER_SECONDS,
            registry=registry,
        )
        self._audio = prometheus.Counter(
            "auralith_audio_seconds", "Seconds of sound that were made", registry=registry
        )
        self._waits = prometheus.Histogram(
            "auralith_queue_wait_seconds", "Waiting", buckets=SECONDS, registry=registry
        )
        self._times = prometheus.Histogram(
            "auralith_job_seconds", "Making all of a job", buckets=SECONDS, registry=registry
        )
        self._stages = prometheus.Histogram(
            "auralith_generation_seconds",
            "Stages of making a sound",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._factors = prometheus.Histogram(
            "auralith_real_time_factor",
            "Seconds of making a second of sound",
            buckets=FACTORS,
            registry=registry,
        )
        self._memory = prometheus.Gauge(
            "auralith_worker_peak_memory_bytes",
            "Most memory of a worker: of its GPU, or else of its process",
            ["device"],
            registry=registry,
        )
        registry.register(_LoadedModels(service))
        for status in ("queued", "running"):
            gauge = prometheus.Gauge(
                f"auralith_{status}", f"Jobs that are {status}", registry=registry
            )
            gauge.set_function(lambda status=status: service.store.count(status))
        service.store.listeners.append(self._on_change)

    def reject(self, reason: str) -> None:
        """Count a request that was refused."""
        self._rejected.labels(reason).inc()

    def answer(self, status: int, seconds: float) -> None:
        """Note how long a request waited for its answer to begin."""
        self._answers.labels(status).observe(seconds)

    def page(self) -> bytes:
        """Return the text that Prometheus reads."""
        return prometheus.generate_latest(self._registry)

    def _on_change(self, kind: str, job: Job) -> None:
        if kind != "end":
            return
        self._jobs.labels(job.status, job.request["task"]).inc()
        if job.started is not None and job.finished is not None:
            self._waits.observe(job.started - job.created)
            self._times.observe(job.finished - job.started)
        for one in self._service.store.outputs(job.id):
            self._audio.inc(one.facts["seconds"])
            if work := one.facts.get("work"):  # older versions did not note it
                self._observe(work)

    def _observe(self, work: Json) -> None:
        for stage, seconds in work["seconds"].items():
            self._stages.labels(stage).observe(seconds)
        self._factors.observe(work["real_time_factor"])
        if work["peak_memory_bytes"] is not None:
            self._memory.labels(work["device"]).set(work["peak_memory_bytes"])


class _LoadedModels:
    """Collector of the models that are in memory at the time it is asked."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Any]:
        """Yield the bytes of the weights by model and device, those with adapters together."""
        gauge = prometheus.metrics_core.GaugeMetricFamily(
            "auralith_model_loaded", "Bytes of the weights in memory", labels=["model", "device"]
        )
        sizes = Counter[tuple[str, str]]()
        for one in self._service.loaded_models():
            sizes[one["id"], one["device"]] += one["bytes"]
        for labels, size in sizes.items():
            gauge.add_metric(labels, size)
        yield gauge
