"""How close to the CPU's numbers is close enough, and what is said where it is not."""

import json

import gpu_reference
import pytest

# By how much a quantity may be off, relative to what `gpu_reference.differences` says: with float32
# products, with TensorFloat-32 (10 bits of mantissa), with bfloat16 (7). In the comments what
# rounding the operands of all products to 22, 10 and 7 bits did on a CPU, at most of all methods,
# by `gpu_reference.py --rounded`. The first column leaves room for other orders of summation, and
# is still below what TensorFloat-32 does; the others are two to four times what was seen.
ANY = float("inf")  # what is finite
TOLERANCES = {
    "terms 1": (1e-4, 2e-3, 2e-2),  # 3e-6, 4e-4, 6e-3
    "terms 2-3": (1e-3, 5e-2, 3e-1),  # 3e-5, 2e-2, 9e-2
    "step 1": (1e-9, 1e-9, 1e-9),  # counted
    "params 1": (1e-3, 4e-2, 6e-2),  # 1e-6, 1e-2, 2e-2
    "stats 1": (1e-4, 5e-4, 6e-3),  # 3e-7, 1e-4, 2e-3
    "opt 1": (1e-3, 3e-1, 5e-1),  # 5e-6, 9e-2, 2e-1
    "step 3": (1e-9, 1e-9, 1e-9),
    # Adam makes steps of full length of gradients that are nothing but rounding, such as those of a
    # bias that a batch norm takes away again; of the third step's gradient little is then the same.
    "params 3": (5e-3, 1e-1, 2e-1),  # 7e-4, 3e-2, 5e-2
    "stats 3": (5e-4, 2e-2, 4e-2),  # 2e-5, 4e-3, 1e-2
    "opt 3": (2e-2, ANY, ANY),  # 1e-3, 5e-1, 5e-1
    "map before": (1e-3, 2e-2, 8e-2),  # 8e-5, 4e-3, 2e-2
    "score before": (5e-4, 4e-3, 3e-2),  # 2e-6, 8e-4, 7e-3
    "map after": (5e-2, ANY, ANY),  # 1e-2, 1e-1, 5e-1: of a map that varies by 1e-3 of its mean
    "score after": (1e-3, 2e-1, 2e-1),  # 4e-5, 5e-2, 5e-2
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
