"""A service in this process, pictures for it, and whoever asks it."""

import asyncio
import io

import httpx
import numpy as np
from PIL import Image

from jaxad.serve.app import application
from jaxad.serve.auth import Gate
from jaxad.serve.limits import Limits
from jaxad.serve.service import Service

PNG = {"Content-Type": "image/png"}
FEW = Limits(batch_sizes=(1, 2), body_timeout=1.0, timeout=30.0)


def picture(seed=0, shape=(70, 90)):
    """A picture of noise."""
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def file_of(image, kind="PNG", **options) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        file, kind, **options
    )
    return file.getvalue()


def huge(width=60_000, height=60_000) -> bytes:
    """A PNG of a few bytes whose header promises billions of pixels."""
    import struct
    import zlib

    def chunk(name, content):
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def service_of(*models, limits=FEW) -> Service:
    found = Service([model.name for model in models], limits)
    for model in models:
        found.add(model)
    return found


class Client:
    """Asks an application, without a socket; each request in an event loop of its own."""

    def __init__(self, app):
        self.app = app

    def get(self, path, **given):
        return self.request("GET", path, **given)

    def post(self, path, **given):
        return self.request("POST", path, **given)

    def request(self, method, path, **given):
        async def once():
            async with self.opened() as client:
                return await client.request(method, path, **given)

        return asyncio.run(once())

    def opened(self):
        """A client for requests at the same time."""
        transport = httpx.ASGITransport(self.app, client=("192.0.2.1", 1234))
        return httpx.AsyncClient(transport=transport, base_url="http://service", timeout=60)


def client_of(service, token=None, hosts=()) -> Client:
    return Client(application(service, Gate(token, hosts)))
