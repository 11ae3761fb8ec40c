"""Tables of how many pictures can be opened, and of what each of them takes."""

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


def _cells(found: dict[str, float]) -> list[str]:
    return [f"{found['seconds']:.1f} s", f"{found['peak'] / 1e9:.2f} GB"]
