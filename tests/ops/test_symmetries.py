"""The eight views of a square picture against numpy, and places in them."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxad.ops import symmetries

IMAGE = np.arange(25.0, dtype=np.float32).reshape(1, 5, 5, 1)


@pytest.mark.parametrize("view", range(8))
def test_views_are_turned_then_mirrored_and_places_lead_back(view):
    seen = np.asarray(symmetries.seen(jnp.asarray(IMAGE), view))[0, ..., 0]
    turned = np.rot90(IMAGE[0, ..., 0], view // 2)
    np.testing.assert_array_equal(seen, turned[:, ::-1] if view % 2 else turned)
    rows, columns = (jnp.asarray(x.ravel()) for x in np.indices((5, 5)))
    back = symmetries.place(rows, columns, jnp.full(25, view), 5)
    np.testing.assert_array_equal(IMAGE[0, ..., 0][tuple(np.asarray(back))], seen.ravel())


def test_sets_of_views_hold_no_view_twice_and_begin_with_the_picture_itself():
    for views in symmetries.VIEWS.values():
        seen = [np.asarray(symmetries.seen(jnp.asarray(IMAGE), v)).tobytes() for v in views]
        assert len(set(seen)) == len(views)
        assert views[0] == 0


def test_flips_are_mirror_images_along_rows_columns_and_both():
    found = [symmetries.seen(jnp.asarray(IMAGE), v)[0, ..., 0] for v in symmetries.VIEWS["flips"]]
    x = IMAGE[0, ..., 0]
    for one, other in zip(found, (x, x[:, ::-1], x[::-1, ::-1], x[::-1]), strict=True):
        np.testing.assert_array_equal(one, other)
