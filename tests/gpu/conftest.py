"""How close to the CPU's numbers is close enough, and what is said where it is not."""

import json

import gpu_reference
import pytest

# By how much a quantity may be off, relative to what `gpu_reference.differences` says: with float32
# products, with TensorFloat-32 (10 bits of mantissa), with bfloat16 (7). In the comments what
# rounding the operands of all products to 22, 10 and 7 bits did on a CPU, at most of all methods,
# by `gpu_reference.py --rounded`. The first column leaves room for other orders of summation, and
# of each method some quantity shows TensorFloat-32 where float32 was asked for. The others allow
# two to four times what was seen.
TOLERANCES = {
    "terms 1": (1e-4, 2e-3, 2e-2),  # 3e-6, 4e-4, 6e-3
    "terms 2-3": (1e-4, 1e-2, 3e-2),  # 3e-6, 2e-3, 8e-3
    # Of gradients that are nothing but rounding, such as those of a bias that a batch norm takes
    # away again, Adam makes steps as long as of others.
    "params 1": (5e-3, 4e-1, 8e-1),  # 6e-5, 2e-1, 5e-1
    "params 3": (1e-2, 4e-1, 8e-1),  # 5e-4, 2e-1, 4e-1
    "opt 1": (1e-3, 2e-1, 4e-1),  # 5e-6, 9e-2, 2e-1
    "opt 3": (4e-3, 4e-1, 5e-1),  # 2e-4, 2e-1, 2e-1
    "stats 1": (1e-4, 5e-4, 5e-3),  # 3e-7, 1e-4, 2e-3
    "stats 3": (1e-4, 1e-3, 5e-3),  # 5e-7, 3e-4, 2e-3
    "map before": (1e-3, 2e-2, 8e-2),  # 8e-5, 4e-3, 2e-2
    "map after": (1e-3, 4e-2, 8e-2),  # 5e-5, 1e-2, 3e-2
    "score before": (1e-4, 3e-3, 2e-2),  # 2e-6, 8e-4, 7e-3
    "score after": (1e-4, 8e-3, 8e-2),  # 5e-6, 3e-3, 3e-2
    "step 1": (1e-9, 1e-9, 1e-9),  # a count
    "step 3": (1e-9, 1e-9, 1e-9),
}
PRECISIONS = ("highest", "tensorfloat32", "bfloat16")


@pytest.fixture(scope="session")
def stored():
    """What the CPU computed, by method."""
    return json.loads(gpu_reference.STORED.read_text(encoding="utf-8"))["numbers"]


@pytest.fixture(scope="session")
def too_far():
    """(differences, precision) -> a line for each quantity that is farther off than it may be."""

    def lines(differences, precision):
        column = PRECISIONS.index(precision)
        return [
            f"{quantity} is off by {off:.1e}, allowed are {TOLERANCES[quantity][column]:.0e}: {at}"
            for quantity, (off, at) in differences.items()
            if not off < TOLERANCES[quantity][column]
        ]

    return lines
