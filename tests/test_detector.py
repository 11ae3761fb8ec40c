"""Configs: pytrees of scalars, changed by text."""

from typing import Literal

import jax
import pytest

from jaxad.detector import Scalar, config, override, static


@config
class Config:
    size: int = static(64)
    width: int | None = static(None)
    weights: tuple[str, ...] = static(("a",))
    mode: Literal["slow", "fast"] = static("slow")
    on: bool = static(True)
    lr: Scalar = 1e-4


def test_only_sweepable_fields_are_leaves():
    assert jax.tree.leaves(Config(lr=0.5)) == [0.5]


def test_another_scalar_keeps_the_tree_and_another_static_field_does_not():
    same, other = Config(lr=1.0), Config(size=32)
    assert jax.tree.structure(same) == jax.tree.structure(Config())
    assert jax.tree.structure(other) != jax.tree.structure(Config())


def test_override_reads_every_kind_of_field():
    settings = ["lr=3e-4", "size=128", "width=8", "weights=a,b", "mode=fast", "on=false"]
    assert override(Config(), settings) == Config(
        lr=3e-4, size=128, width=8, weights=("a", "b"), mode="fast", on=False
    )
    assert override(Config(width=3), "width=none").width is None


def test_a_whole_number_given_for_a_scalar_becomes_a_float():
    assert isinstance(override(Config(), "lr=1").lr, float)


def test_an_unknown_field_names_what_there_is_and_what_is_close():
    with pytest.raises(ValueError, match=r"no setting 'sise'; did you mean 'size'.*weights"):
        override(Config(), "sise=3")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("size=big", "a whole number"),
        ("size=1.5", "a whole number"),
        ("lr=fast", "a number"),
        ("on=perhaps", "true or false"),
        ("mode=medium", "slow, fast"),
        ("size", "name=value"),
    ],
)
def test_an_ill_typed_value_says_what_was_expected(setting, expected):
    with pytest.raises(ValueError, match=expected):
        override(Config(), setting)
