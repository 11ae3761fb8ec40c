"""Few vectors that leave none of many far from its nearest: minimax facility location, greedily.

Each choice is the vector farthest from those chosen before. Roth et al., CVPR 2022 (PatchCore,
arXiv:2106.08265), section 3.2, equation 5 and algorithm 1.

Distances to the chosen ones only ever shrink, so one computed a while ago is an upper bound. All
are computed now and then; in between the greedy rule runs among the farthest few alone, for as long
as the best of them is at least as far as any other vector can be. The choices are those of the
plain rule, which reads all vectors for each one and takes ten times as long.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxad.ops.neighbours import EXACT, Bank, nearest

ROUNDING = 32  # units of the squared length: what the distance of equal vectors may come out as
FAR = 2.0**62  # farther than any vector; its square is finite


class Coreset(NamedTuple):
    """What was chosen, in order of choice; zeros beyond `count`."""

    indexes: Int[Array, "S"]
    distances: Float[Array, "S"]  # of each choice to those before it; they never grow
    count: Int[Array, ""]  # fewer than S where all vectors were at distance 0 by then
    # The largest distance of a vector to the chosen ones or, if that is less, its `first`.
    radius: Float[Array, ""]


def greedy(
    vectors: Float[Array, "N D"],
    size: int,
    first: Float[Array, "N"],
    count: Int[Array, ""] | int | None = None,
    candidates: int = 2048,
) -> Coreset:
    """Chooses `size` vectors by the greedy rule; of several at the same distance the first.

    Args:
      vectors: finite numbers. Computed with in float32 at least, in which a distance below 0.002 of
        a vector's distance to the mean is rounding, and counts as 0.
      size: S, how many to choose at most.
      first: distances that count before anything is chosen, and as upper limits from then on:
        `from_row` or `mean_distances`.
      count: how many vectors there are; None for all. What lies beyond is ignored, even NaN.
      candidates: how many are looked at between two looks at all. It changes no choice.
    """
    n = len(vectors)
    there = jnp.arange(n) < (n if count is None else count)
    vectors = _centred(vectors, there)
    squares = jnp.square(vectors).sum(1)
    limits = jnp.where(there, jnp.square(first.astype(vectors.dtype)), 0)
    zero = jnp.zeros((), vectors.dtype)
    nothing = Coreset(jnp.zeros(size, jnp.int32), jnp.zeros(size, zero.dtype), jnp.int32(0), zero)

    def unfinished(carry):
        chosen, limits = carry
        return (chosen.count < size) & (limits.max() > 0)

    def chosen_and_refreshed(carry):
        before, limits = carry
        farthest = jnp.sort(jax.lax.top_k(limits, min(candidates, n))[1]).astype(jnp.int32)
        chosen, among = _among(farthest, vectors[farthest], limits[farthest], before)
        new = before.count + jnp.arange(len(farthest))
        rows = jnp.take(chosen.indexes, new, mode="clip")
        lengths = jnp.where(new < chosen.count, squares[rows], jnp.inf)
        centre = jnp.zeros(vectors.shape[1], vectors.dtype)
        bank = Bank(vectors[rows], lengths, centre, chosen.count - before.count)
        distances = _settled(nearest(bank, vectors), squares)
        return chosen, jnp.minimum(limits.at[farthest].set(among), distances)

    chosen, limits = jax.lax.while_loop(unfinished, chosen_and_refreshed, (nothing, limits))
    return chosen._replace(distances=jnp.sqrt(chosen.distances), radius=jnp.sqrt(limits.max()))


def from_row(row: Int[Array, ""] | int, n: int) -> Float[Array, "n"]:
    """`first` of `greedy` by which `row` is chosen first, and nothing else is changed."""
    return jnp.full(n, FAR).at[row].set(jnp.inf)


def mean_distances(vectors: Float[Array, "N D"], rows: Int[Array, "S"]) -> Float[Array, "N"]:
    """`first` of `greedy` in the authors' code: the mean distance to a few rows drawn at random.

    These rows are not chosen by it. As an upper limit the mean stays for good: a vector is never
    farther than that from what was chosen. Theirs are ten rows.
    """
    wide = jnp.promote_types(vectors.dtype, jnp.float32)

    def add(i, total):
        # By differences: those of a row to itself are 0.
        difference = vectors.astype(wide) - vectors[rows[i]].astype(wide)[None]
        return total + jnp.sqrt(jnp.square(difference).sum(1))

    return jax.lax.fori_loop(0, len(rows), add, jnp.zeros(len(vectors), wide)) / len(rows)


def projected(
    vectors: Float[Array, "N D"], width: int, key: Key[Array, ""]
) -> Float[Array, "N width"]:
    """Vectors projected at random, which keeps the order of distances but for some spread.

    Weights are uniform in +-1/sqrt(D), so that distances shrink by sqrt(width / (3 D)) or so. The
    authors' code chooses among vectors of width 128, and keeps the rows of the unprojected ones.
    """
    wide = jnp.promote_types(vectors.dtype, jnp.float32)
    bound = vectors.shape[1] ** -0.5
    weights = jax.random.uniform(key, (vectors.shape[1], width), wide, -bound, bound)
    return jnp.matmul(vectors.astype(wide), weights, precision=EXACT)


def _centred(vectors: Float[Array, "N D"], there: Bool[Array, "N"]) -> Float[Array, "N D"]:
    """Vectors less their mean, which makes rounding smaller; zeros where none is."""
    wide = vectors.astype(jnp.promote_types(vectors.dtype, jnp.float32))
    wide = jnp.where(there[:, None], wide, 0)
    mean = wide.sum(0) / jnp.maximum(there.sum(), 1)
    return jnp.where(there[:, None], wide - mean[None], 0)


def _settled(distances: Float[Array, "N"], squares: Float[Array, "N"]) -> Float[Array, "N"]:
    """Squared distances; 0 where rounding cannot tell vectors of these squared lengths apart."""
    return jnp.where(distances > ROUNDING * jnp.finfo(squares.dtype).eps * squares, distances, 0)


def _among(
    rows: Int[Array, "B"],
    vectors: Float[Array, "B D"],
    limits: Float[Array, "B"],
    chosen: Coreset,
) -> tuple[Coreset, Float[Array, "B"]]:
    """Further choices among a few candidates, until another vector might be farther.

    Args:
      rows: their indexes, ascending, so that the first of several is the plain rule's, too.
      vectors: the candidates.
      limits: squared distances to all that was chosen. They are the largest; of vectors at the
        smallest of them, the candidates are those that come first.
      chosen: what there was before.

    Returns:
      All choices, and squared distances of the candidates to them.
    """
    squares = jnp.square(vectors).sum(1)
    elsewhere = limits.min()  # no other vector is farther
    last = jnp.where(limits == elsewhere, rows, -1).max()  # those as far come after this one

    def certain(carry):
        chosen, distances, at = carry
        best = distances[at]
        wins = (best > elsewhere) | ((best == elsewhere) & (rows[at] <= last))
        return wins & (best > 0) & (chosen.count < len(chosen.indexes))

    def choose(carry):
        chosen, distances, at = carry
        products = jnp.matmul(vectors, vectors[at], precision=EXACT)
        new = _settled(squares + squares[at] - 2 * products, squares)
        chosen = chosen._replace(
            indexes=chosen.indexes.at[chosen.count].set(rows[at]),
            distances=chosen.distances.at[chosen.count].set(distances[at]),
            count=chosen.count + 1,
        )
        distances = jnp.minimum(distances, new).at[at].set(0)
        return chosen, distances, jnp.argmax(distances)

    start = chosen, limits, jnp.argmax(limits)
    return jax.lax.while_loop(certain, choose, start)[:2]
