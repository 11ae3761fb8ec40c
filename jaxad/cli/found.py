"""What was found in the folders of a command, as lines for a person: always printed."""

from collections import Counter
from collections.abc import Mapping, Sequence

from jaxad.data.files import counted
from jaxad.data.source import Data, LeftOut, Source, skipped
from jaxad.progress import printable

NAMED = 5  # files of one reason that are named


def said(several: Mapping[str, Data]) -> str:
    """The pictures of each category by use and type of defect, and what is not used."""
    return "\n".join(line for name, data in several.items() for line in _lines(name, data))


def left(files: Sequence[LeftOut], what: str) -> list[str]:
    """Lines about files that are not used, those of one reason together.

    Args:
      files: that are not used.
      what: is done with them: "passed over".
    """
    reasons: dict[str, list[LeftOut]] = {}
    for one in files:
        reasons.setdefault(one.reason, []).append(one)
    lines = []
    for reason, some in reasons.items():
        shown = ", ".join(printable(str(one.path)) for one in some[:NAMED])
        more = f" and {len(some) - NAMED} more" if len(some) > NAMED else ""
        lines.append(f"  {what} {counted(len(some), 'file')}, {reason}: {shown}{more}")
    return lines


def _lines(name: str, data: Data) -> list[str]:
    learned = (
        f"{name}: {counted(len(data.train), 'picture')} to learn from, {len(data.heldout)} held out"
    )
    tested = "; no test pictures" if data.test is None else f"; to test on: {_tested(data.test)}"
    lines = [learned + tested]
    sources = [source for source in (data.train, data.heldout, data.test) if source is not None]
    bad = [one for source in sources for one in skipped(source)]
    if bad:
        lines.append(f"  left out {counted(len(bad), 'picture')} that cannot be read:")
        lines += [f"    {printable(one.reason)}" for one in bad]
    return lines + left(data.passed_over, "passed over")


def defects(test: Source) -> dict[str, int]:
    """The numbers of test pictures by type of defect, in the order of their names."""
    return dict(sorted(Counter(record.defect for record in test.records).items()))


def _tested(test: Source) -> str:
    counts = ", ".join(f"{count} {defect}" for defect, count in defects(test).items())
    anomalous = sum(record.label for record in test.records)
    if not anomalous:
        return counts
    masks = f"masks of all {anomalous} anomalous ones" if test.has_masks else "no masks"
    return f"{counts} ({masks})"
