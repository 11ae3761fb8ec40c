"""A method's smallest settings that still learn: one row for each, for the contract."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Tiny(NamedTuple):
    """One row.

    Attributes:
      cfg: weight decay is off, so that a parameter that moved has had a gradient.
      pretrained: key -> random trees for `cfg.weights`.
      untouched: {leaf path: why it has no gradient}.
    """

    cfg: Any
    pretrained: Callable
    untouched: dict[str, str] = {}


def tiny_efficientad() -> Tiny:
    from jaxad.methods import efficientad
    from jaxad.nets.pdn import PDN

    cfg = efficientad.Config(
        size=64, channels=8, width=8, autoencoder_width=4, autoencoder_kernel=2,
        steps=60, batch_size=2, weights=("tiny",), lr=3e-3, weight_decay=0.0, p_hard=0.9,
    )  # fmt: skip

    def pretrained(key):
        images = jnp.zeros((1, 33, 33, 3))
        params = PDN(channels=cfg.channels, width=cfg.width).init(key, images)
        # Random features with a deviation near 1, as a distilled teacher's.
        return {"tiny": jax.tree.map(lambda x: x * 2.0, params)}

    return Tiny(cfg, pretrained)


def tiny_pdn(key):
    """A random PDN of few channels, with a deviation of its features near 1."""
    from jaxad.nets.pdn import PDN

    params = PDN(channels=8, width=8).init(key, jnp.zeros((1, 33, 33, 3)))
    return {"tiny": jax.tree.map(lambda x: x * 2.0, params)}


def tiny_uniad() -> Tiny:
    from jaxad.methods import uniad

    cfg = uniad.Config(
        size=64, batch_size=2, steps=120, weights=("tiny",), extractor="pdn_small",
        layers=("pool2", "conv4"), grid=8,
        hidden=32, heads=2, ffn=32, encoder_layers=1, decoder_layers=1, mask_size=3, pool=8,
        jitter=2.0, lr=1e-2, weight_decay=0.0,
    )  # fmt: skip
    return Tiny(cfg, tiny_pdn)


def tiny_feature_reconstruction() -> Tiny:
    from jaxad.methods import feature_reconstruction

    cfg = feature_reconstruction.Config(
        size=64, batch_size=2, steps=120, weights=("tiny",), extractor="pdn_small",
        layers=("pool2", "conv4"), grid=8,
        network="mlp", hidden=8, depth=1, heads=2, pool=8, lr=2e-2, weight_decay=0.0,
    )  # fmt: skip
    return Tiny(cfg, tiny_pdn)


def tiny_stfpm() -> Tiny:
    from jaxad.methods import stfpm

    cfg = stfpm.Config(
        size=64, batch_size=2, steps=120, weights=("tiny",), extractor="pdn_small",
        lr=0.1, weight_decay=0.0,
    )  # fmt: skip
    return Tiny(cfg, tiny_pdn)


def tiny_reverse_distillation() -> Tiny:
    from jaxad.methods import reverse_distillation

    cfg = reverse_distillation.Config(
        size=64, batch_size=2, steps=60, weights=("tiny",), extractor="pdn_small", blur=1.0,
        layers=("pool1", "pool2"),
    )  # fmt: skip
    return Tiny(cfg, tiny_pdn)


def tiny_uninformed_students() -> Tiny:
    from jaxad.methods import uninformed_students
    from jaxad.nets.patch_network import PatchNetwork

    cfg = uninformed_students.Config(
        size=64, batch_size=2, steps=60, weights=("tiny",), students=2, dense=False, lr=3e-3,
        weight_decay=0.0,
    )  # fmt: skip

    def pretrained(key):
        params = PatchNetwork(33, 8, 8).init(key, jnp.zeros((1, 33, 33, 3)))
        return {"tiny": jax.tree.map(lambda x: x * 2.0, params)}

    return Tiny(cfg, pretrained)


def tiny_mkd() -> Tiny:
    from jaxad.methods import mkd

    cfg = mkd.Config(
        size=64, batch_size=2, steps=80, weights=("tiny",), extractor="pdn_small",
        layers=("pool1", "pool2", "conv3"),
        narrow=8, blur=2.0, lr=1e-2,
    )  # fmt: skip
    return Tiny(cfg, tiny_pdn)


def tiny_diffusionad() -> Tiny:
    from jaxad.methods import diffusionad

    cfg = diffusionad.Config(
        size=32, batch_size=2, steps=45, width=8, multipliers=(1, 1), blocks=1, attention=(),
        heads=2, groups=4, segmentation_width=4, segmentation_multipliers=(1, 2), top=10, tries=1,
        objects=False, lr=5e-3, segmentation_lr=1e-2, segmentation_schedule="constant", gamma=0.0,
        # Far below the defaults: gradients, compared to an absolute tolerance, are smaller.
        noise_weight=0.1, focal_weight=0.05, smooth_l1_weight=0.01,
    )  # fmt: skip
    return Tiny(cfg, lambda key: {})


def tiny_autoencoder() -> Tiny:
    from jaxad.methods import autoencoder

    cfg = autoencoder.Config(
        size=32, batch_size=2, steps=60, widths=(8, 8, 8), smoothing=1.0, lr=5e-3
    )
    return Tiny(cfg, lambda key: {})


def tiny_memae() -> Tiny:
    from jaxad.methods import memae

    cfg = memae.Config(
        size=32, batch_size=2, steps=60, widths=(8, 8, 8), items=10, smoothing=1.0,
        shrinkage=0.02, lr=5e-3,
    )  # fmt: skip
    return Tiny(cfg, lambda key: {})


def tiny_daad() -> Tiny:
    from jaxad.methods import daad

    cfg = daad.Config(
        size=32, batch_size=2, steps=60, widths=(8, 8, 8), rates=(4, 0, 4), items=(10, 0, 10),
        key_channels=4, discriminator_widths=(8, 8), smoothing=1.0, shrinkage=0.0, lr=5e-3,
        # A tenth of the defaults: gradients, compared to an absolute tolerance, are smaller.
        reconstruction_weight=5.0, adversarial_weight=0.1, alignment_weight=0.1,
    )  # fmt: skip
    return Tiny(cfg, lambda key: {})


def tiny_patchcore() -> Tiny:
    from jaxad.methods import patchcore

    cfg = patchcore.Config(
        size=64, batch_size=2, weights=("tiny",), extractor="pdn_small", layers=("pool2", "conv4"),
        capacity=60, blur=1.0,
    )  # fmt: skip
    return Tiny(cfg, tiny_pdn)


def tiny_padim() -> Tiny:
    from jaxad.methods import padim

    cfg = padim.Config(
        size=64, batch_size=2, weights=("tiny",), extractor="pdn_small", layers=("pool2", "conv4"),
        channels=6, blur=1.0,
    )  # fmt: skip
    return Tiny(cfg, tiny_pdn)


def tiny_spade() -> Tiny:
    from jaxad.methods import spade

    cfg = spade.Config(
        size=64, batch_size=2, weights=("tiny",), extractor="pdn_small", layers=("pool2", "conv4"),
        pooled="conv4", capacity=8, neighbours=2.0, blur=1.0,
    )  # fmt: skip
    return Tiny(cfg, tiny_pdn)


def tiny_mahalanobis() -> Tiny:
    from jaxad.methods import mahalanobis

    cfg = mahalanobis.Config(
        size=64, batch_size=2, weights=("tiny",), extractor="pdn_small", layers=("pool2", "conv4"),
        blur=1.0,
    )  # fmt: skip
    return Tiny(cfg, tiny_pdn)


TINY = {
    "efficientad": tiny_efficientad,
    "uniad": tiny_uniad,
    "feature_reconstruction": tiny_feature_reconstruction,
    "diffusionad": tiny_diffusionad,
    "autoencoder": tiny_autoencoder,
    "memae": tiny_memae,
    "daad": tiny_daad,
    "uninformed_students": tiny_uninformed_students,
    "stfpm": tiny_stfpm,
    "reverse_distillation": tiny_reverse_distillation,
    "mkd": tiny_mkd,
    "patchcore": tiny_patchcore,
    "padim": tiny_padim,
    "spade": tiny_spade,
    "mahalanobis": tiny_mahalanobis,
}
