"""How many steps an epoch is: the one rule."""


def steps_of(epochs: int | float, pictures: int, batch_size: int) -> int:
    """The steps in which every picture is seen `epochs` times, rounded up.

    Batches are always full and run on over the ends of epochs, so the last pictures of the last
    batch may be seen once more.

    Args:
      epochs: more than 0; may be a fraction.
      pictures: in the training set.
      batch_size: pictures in a step.

    Raises:
      ValueError: epochs is not above 0, or a count is below 1.

    >>> steps_of(200, pictures=28, batch_size=8)
    700
    """
    if not epochs > 0 or pictures < 1 or batch_size < 1:
        raise ValueError(
            f"epochs={epochs} of {pictures} pictures in batches of {batch_size}: expected more "
            "than 0 epochs, and 1 or more of the others"
        )
    return -int(-epochs * pictures // batch_size)
