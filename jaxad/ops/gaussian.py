"""Gaussians of feature vectors: moments that merge, covariances, Mahalanobis distances."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

TINY = 1e-12  # below it a distance has no gradient
EXACT = jax.lax.Precision.HIGHEST


class Moments(NamedTuple):
    """Of vectors at each of several places, all that their Gaussians need.

    Attributes:
      count: vectors at each place.
      mean: of them.
      scatter: sum of the outer products of their deviations from the mean.
    """

    count: Float[Array, ""]
    mean: Float[Array, "*P C"]
    scatter: Float[Array, "*P C C"]


def moments(x: Float[Array, "N *P C"]) -> Moments:
    """The moments of vectors along the first axis."""
    mean = x.mean(0)
    centred = x - mean[None]
    scatter = jnp.einsum("n...c,n...d->...cd", centred, centred, precision=EXACT)
    return Moments(jnp.float32(len(x)), mean, scatter)


def merged(one: Moments, other: Moments) -> Moments:
    """The moments of both sets together, in any order and by any split.

    Sums of squares would lose their digits in float32.

    Source: Chan, Golub & LeVeque, 1979, "Updating formulae and a pairwise algorithm for computing
    sample variances".
    """
    count = one.count + other.count
    apart = other.mean - one.mean
    between = jnp.einsum("...c,...d->...cd", apart, apart) * (one.count * other.count / count)
    mean = one.mean + apart * (other.count / count)
    return Moments(count, mean, one.scatter + other.scatter + between)


def regularised(found: Moments, epsilon: float | Float[Array, ""]) -> Float[Array, "*P C C"]:
    """The covariances, which divide by the count less 1, with `epsilon` added to the diagonals."""
    covariance = found.scatter / (found.count - 1)
    diagonal = jnp.eye(covariance.shape[-1])
    return covariance + epsilon * jnp.broadcast_to(diagonal, covariance.shape)


def ledoit_wolf(x: Float[Array, "N C"]) -> tuple[Float[Array, "C C"], Float[Array, ""]]:
    """Ledoit and Wolf's covariance of vectors, which divides by their number, and its shrinkage.

    The shrinkage, from 0 to 1, is the weight of the sphere of the same mean variance: large where
    vectors are few. It is 1 for vectors that are all alike, whose covariance is 0.

    Source: Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
    2004, section 3.1, as in scikit-learn.
    """
    count, channels = x.shape
    centred = x - x.mean(0, keepdims=True)
    sample = sample_covariance(x)
    sphere = (jnp.trace(sample) / channels) * jnp.eye(channels)
    distance = jnp.square(sample - sphere).sum() / channels
    fourth = jnp.square(jnp.square(centred).sum(1)).sum() / count
    spread = (fourth - jnp.square(sample).sum()) / (count * channels)
    positive = distance > 0
    shrinkage = jnp.minimum(spread, distance) / jnp.where(positive, distance, 1)
    shrinkage = jnp.where(positive, jnp.maximum(shrinkage, 0), 1.0)
    return shrunk(sample, shrinkage), shrinkage


def sample_covariance(x: Float[Array, "N C"]) -> Float[Array, "C C"]:
    """The covariance of vectors, which divides by their number."""
    centred = x - x.mean(0, keepdims=True)
    return jnp.matmul(centred.T, centred, precision=EXACT) / len(x)


def shrunk(
    covariance: Float[Array, "C C"], shrinkage: float | Float[Array, ""]
) -> Float[Array, "C C"]:
    """A covariance moved by so much towards the sphere of the same mean variance."""
    channels = len(covariance)
    sphere = (jnp.trace(covariance) / channels) * jnp.eye(channels)
    return (1 - shrinkage) * covariance + shrinkage * sphere


def mahalanobis(x: Float[Array, "*B C"], factor: Float[Array, "*P C C"]) -> Float[Array, "*B"]:
    """Distances sqrt(x' S^-1 x) of deviations from the mean, where S = `factor` `factor`'.

    Args:
      x: deviations.
      factor: lower Cholesky factors, whose axes before the last two are those of `x` before its
        last, or are fewer and stand for all of the others.
    """
    return length(whitened(x, factor))


def whitened(x: Float[Array, "*B C"], factor: Float[Array, "*P C C"]) -> Float[Array, "*B C"]:
    """The deviations in units of the Gaussian, `factor`^-1 x: their length is the distance."""
    places = factor.ndim - 2
    several = x.reshape(-1, *x.shape[x.ndim - 1 - places :])  # B, *P, C
    columns = jnp.moveaxis(several, 0, -1)  # *P, C, B
    solved = jax.lax.linalg.triangular_solve(factor, columns, left_side=True, lower=True)
    return jnp.moveaxis(solved, -1, 0).reshape(x.shape)


def length(x: Float[Array, "*B C"]) -> Float[Array, "*B"]:
    """The length of vectors, whose gradient is finite at 0."""
    return root(jnp.square(x).sum(-1))


def root(squares: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """The square root of squared distances, whose gradient is finite at 0."""
    return jnp.sqrt(jnp.maximum(squares, TINY**2))
