"""Numbers for Prometheus. None of them has a prompt, a name or an id in it."""

from auralith.extras import LazyModule
from auralith.jobs.records import Job
from auralith.server.service import Service

prometheus = LazyModule("prometheus_client", "serve")
SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800)


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
        self._audio = prometheus.Counter(
            "auralith_audio_seconds", "Seconds of sound that were made", registry=registry
        )
        self._waits = prometheus.Histogram(
            "auralith_queue_wait_seconds", "Waiting", buckets=SECONDS, registry=registry
        )
        self._times = prometheus.Histogram(
            "auralith_generation_seconds", "Making", buckets=SECONDS, registry=registry
        )
        for status in ("queued", "running"):
            gauge = prometheus.Gauge(
                f"auralith_{status}", f"Jobs that are {status}", registry=registry
            )
            gauge.set_function(lambda status=status: service.store.count(status))
        service.store.listeners.append(self._on_change)

    def reject(self, reason: str) -> None:
        """Count a request that was refused."""
        self._rejected.labels(reason).inc()

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
