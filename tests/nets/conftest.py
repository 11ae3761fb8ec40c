"""Plain numpy in torch's layout, for comparison with the networks."""

import numpy as np
import pytest


def convolve(x, weight, bias=None, stride=1, before=0, after=0, groups=1):
    """torch's Conv2d: (C, H, W) -> (D, h, w), with zeros `before` and `after` rows and columns."""
    out, inside, height, width = weight.shape
    x = np.pad(x, ((0, 0), (before, after), (before, after)))
    rows = (x.shape[1] - height) // stride + 1
    columns = (x.shape[2] - width) // stride + 1
    x = x.reshape(groups, inside, *x.shape[1:])
    weight = weight.reshape(groups, out // groups, inside, height, width)
    y = np.zeros((groups, out // groups, rows, columns))
    for i, j in np.ndindex(height, width):
        part = x[:, :, i : i + (rows - 1) * stride + 1 : stride]
        part = part[..., j : j + (columns - 1) * stride + 1 : stride]
        y += np.einsum("gdc,gchw->gdhw", weight[..., i, j], part)
    y = y.reshape(out, rows, columns)
    return y if bias is None else y + bias[:, None, None]


@pytest.fixture(scope="session")
def plain_conv():
    return convolve
