"""What is counted, in the form that Prometheus reads, in a registry of its own."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

from jaxad.serve.batching import Batch

TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SQUARES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters and histograms of one service; labels have few values, whatever is sent."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "jaxad_requests", "Requests that were answered", ["path", "status"], registry=registry
        )
        self.whole = Histogram(
            "jaxad_request_seconds", "From a request's head until its answer was sent", ["path"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.rejected = Counter(
            "jaxad_rejected", "Requests and connections that were refused", ["reason"],
            registry=registry,
        )  # fmt: skip
        self.pictures = Counter(
            "jaxad_pictures", "Pictures by what became of them", ["model", "outcome"],
            registry=registry,
        )  # fmt: skip
        self._waits = Histogram(
            "jaxad_queue_seconds", "From a decoded picture until its batch began", ["model"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self._compute = Histogram(
            "jaxad_compute_seconds", "Of one batch", ["model", "size"], buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._squares = Histogram(
            "jaxad_batch_squares", "Squares that were computed together, without filling",
            ["model"], buckets=SQUARES, registry=registry,
        )  # fmt: skip
        self._failed = Counter(
            "jaxad_batches_failed", "Batches whose program raised", ["model"], registry=registry
        )
        self._waiting = Gauge(
            "jaxad_queue_pictures", "Pictures that wait to be computed", ["model"],
            registry=registry,
        )  # fmt: skip
        self.active = Gauge(
            "jaxad_requests_active", "Requests for pictures in work", registry=registry
        )
        self.ready = Gauge("jaxad_ready", "1 where /readyz says yes", registry=registry)

    def watch(self, model: str, depth: Callable[[], float]) -> None:
        """Lets the length of a model's queue be asked."""
        self._waiting.labels(model).set_function(depth)

    def computed(self, batch: Batch) -> None:
        """Counts a batch."""
        for seconds in batch.waits:
            self._waits.labels(batch.model).observe(seconds)
        self._compute.labels(batch.model, str(batch.size)).observe(batch.seconds)
        self._squares.labels(batch.model).observe(batch.squares)
        if batch.failed:
            self._failed.labels(batch.model).inc()

    def text(self) -> bytes:
        """All of them as Prometheus reads them."""
        return generate_latest(self._registry)
