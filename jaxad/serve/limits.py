"""What may be asked of the service, and how much of it at once; a comment is a line of its help."""

from jaxad.detector import config, static

MOST_PIXELS = 40_000_000  # of a picture, where neither the run nor the options say less


@config
class Limits:
    """How much is taken, of a request and of all together."""

    max_bytes: int = static(32 * 2**20, 1)  # of a request; more are refused before they are read
    max_pixels: int | None = static(None, 4)  # of a picture; none: as the run, 40 million at most
    max_pictures: int = static(16, 1)  # of a request
    queue: int = static(256, 1)  # pictures that wait or are computed; of more: 503, Retry-After
    connections: int = static(512, 1)  # that are open at a time
    held_bytes: int = static(2**28, 1)  # of all requests that are arriving or in work
    held_pixels: int = static(2**27, 4)  # of all pictures that are decoded at a time
    answer_bytes: int = static(2**29, 1)  # of the maps in all answers that are being made
    batch_sizes: tuple[int, ...] = static((1, 2, 4, 8), 1, fewest=1)  # tried at the start
    wait: float = static(2.0, 0)  # milliseconds that a picture waits for others to fill a batch
    timeout: float = static(30.0, above=0)  # seconds until the answer, from when all has arrived
    body_timeout: float = static(15.0, above=0)  # seconds in which a request's body has to arrive
    head_timeout: float = static(10.0, above=0)  # seconds in which its head has to arrive
    keep_alive: float = static(5.0, above=0)  # seconds that a connection may stay without a request
    grace: float = static(20.0, above=0)  # seconds for requests in work when the service is ended
