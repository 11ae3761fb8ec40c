"""Tables of how many pictures can be opened or shown, and of what each of them takes."""

from tables_read import Rows, stored


def large_sets() -> Rows:
    """Listing, first step and shards by the number of pictures."""
    head = ["pictures", "opened", "memory at most", "first step", "memory at most"]
    rows = [[*head, "packed", "shards opened", "memory at most"]]
    for one in stored("large_sets")["rows"]:
        pairs = [_cells(one[name]) for name in ("listing", "first_step", "shards")]
        listing, first, shards = pairs
        packed = f"{one['seconds_to_pack']:.0f} s"
        rows.append([f"{one['pictures']:,}", *listing, *first, packed, *shards])
    return rows


def memory_of_a_picture() -> Rows:
    """Bytes that one more picture takes, between two numbers of them."""
    rows = [["pictures", "bytes a picture: files", "... shards"]]
    for one in stored("large_sets")["slopes"]:
        taken = one["bytes_per_picture"]
        cells = [f"{taken[name]:,.0f}" for name in ("listing", "shards")]
        rows.append([f"{one['from']:,} to {one['to']:,}", *cells])
    return rows


def reports() -> Rows:
    """What pages of two sizes take."""
    rows = [["pictures", "of", "in all", "the page", "written", "opened"]]
    for count in (200, 10_000):
        one = stored(f"report_{count}")
        written = one["visit"] * count + one["finish"]
        rows.append(
            [
                f"{count:,}", f"{one['side']} px", f"{one['bytes'] / 1e6:.1f} MB",
                f"{one['page'] / 1e6:.1f} MB", f"{written:.0f} s", f"{one['opened']:.2f} s",
            ]
        )  # fmt: skip
    return rows


def _cells(found: dict[str, float]) -> list[str]:
    return [f"{found['seconds']:.1f} s", f"{found['peak'] / 1e9:.2f} GB"]
