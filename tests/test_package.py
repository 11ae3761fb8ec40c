"""Importing the package is light and changes nothing."""

import subprocess
import sys

import pytest

import jaxad

LIGHT = """
import sys, jax
before = dict(jax.config.values)
import jaxad
assert dict(jax.config.values) == before, "import changed jax's configuration"
heavy = {"grain", "orbax", "matplotlib", "tensorflow_datasets", "tensorflow", "torch"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_import_is_light_silent_and_changes_no_configuration():
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:jaxad", "-c", LIGHT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("name", jaxad.__all__)
def test_every_public_name_is_there(name):
    assert getattr(jaxad, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        jaxad.nothing  # noqa: B018
