"""A tiny model, made once."""

import pathlib
import sys

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).parent)]


@pytest.fixture(scope="session")
def model(carded):
    """A tiny autoencoder, compiled for batches of one and two."""
    from jaxad.serve import models

    *_, folder = carded("autoencoder")
    return models.load("tiny", folder, (1, 2))


@pytest.fixture(scope="session")
def run(carded):
    """Its folder."""
    return carded("autoencoder")[-1]


@pytest.fixture(scope="module")
def service(model):
    from asked import service_of

    found = service_of(model)
    yield found
    found.close()


@pytest.fixture(scope="module")
def client(service):
    from asked import client_of

    return client_of(service)
