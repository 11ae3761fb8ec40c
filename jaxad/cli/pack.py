"""`jaxad pack DATA SHARDS`: a folder of pictures as a few large files that train as it does."""

import pathlib
from collections.abc import Mapping, Sequence

from jaxad.cli import found as findings
from jaxad.cli.data import check_names, given, inside, is_rendered, places
from jaxad.cli.errors import Usage
from jaxad.cli.options import asked, expected, leading
from jaxad.cli.run_options import DataOptions, folder_of
from jaxad.data import folder as plain
from jaxad.data import layouts, packing, shard_index
from jaxad.data.files import category_of, counted
from jaxad.data.image_folder import Listed
from jaxad.data.images import PLAIN
from jaxad.data.packing import Packed
from jaxad.data.reading import OnBadImage, Reading
from jaxad.data.source import Data, LeftOut, skipped
from jaxad.detector import config, replace, static
from jaxad.progress import printable

USAGE = "jaxad pack DATA SHARDS"
DESCRIPTION = """Puts the pictures and masks of DATA, byte for byte, into a few large files, which
are copied, and read over a network, faster than many small ones. SHARDS is a DATA then: training on
it reads the same pictures and masks under the same names, and holds out the same ones.

DATA: a folder of a category, or of several, as of `jaxad train`; or --normal and beside it.
SHARDS: the folder to make; it appears once all is written.

How pictures are read (--orientation, --bits and so on) matters only to the check before anything is
written; nothing of it is kept, so training takes the same options as with DATA."""


@config
class PackOptions:
    """What is packed, and how."""

    shard_size: int = static(256, 1)  # megabytes after which the next file begins
    on_bad_image: OnBadImage = static("error")  # "skip" leaves damaged files out, and lists them
    normal: str | None = static(None)  # folder of normal pictures, in place of DATA
    test: str | None = static(None)  # beside --normal: folder of anomalous ones, or of such folders
    test_normal: str | None = static(None)  # beside --normal: folder of normal ones to test on
    masks: str | None = static(None)  # beside --test: folder of their masks


def main(words: Sequence[str]) -> None:
    """The verb."""
    where, rest = leading(words)
    if not where and not rest:
        rest = ["--help"]
    options, reading = asked(rest, USAGE, DESCRIPTION, packing=PackOptions(), reading=Reading())
    names = ["SHARDS"] if options.normal is not None else ["DATA", "SHARDS"]
    *place, word = expected(where, *names)
    data = replace(
        DataOptions(), normal=options.normal, test=options.test, test_normal=options.test_normal,
        masks=options.masks,
    )  # fmt: skip
    target = folder_of(word)
    packing.check_free(target)
    several = listed(place[0] if place else None, data)
    roots = [pathlib.Path(one) for one in places(place[0])] if place else []
    _check_outside(target, [*roots, *(x for found in several.values() for x in found.folders)])
    opened = {
        name: layouts.opened(found, on_bad_image=options.on_bad_image, reading=reading)
        for name, found in several.items()
    }
    bad = [one for data_ in opened.values() for one in _bad(data_)]
    written = packing.pack(
        several, target, options.shard_size * 10**6, without=[one.path for one in bad]
    )
    print("\n".join([*_lines(written, target), *_left_out(opened)]))


def listed(place: str | None, options: DataOptions) -> dict[str, Listed]:
    """The files of each category, by its name, as they are to be packed.

    Args:
      place: DATA of the command; None where `options.normal` takes its place.
      options: of the command.

    Raises:
      ValueError: DATA is rendered, or is packed already, or its layout is not as it should be.
      FileNotFoundError: a folder does not exist, or holds no pictures where they belong.
    """
    if options.normal is not None:
        found = plain.listed(
            options.normal, test_normal=options.test_normal, test_anomalous=options.test,
            masks=options.masks,
        )  # fmt: skip
        return {found.category: found}
    several: list[pathlib.Path] = []
    for one in places(given(place, options)):
        if is_rendered(one):
            raise Usage(f"{one}: rendered pictures lie in no files, so there is nothing to pack")
        several += inside(one, lambda category: PLAIN)
    for path in several:
        if shard_index.is_packed(path):
            raise Usage(f"{path} is packed already: give it to `jaxad train` as DATA")
    check_names([category_of(path) for path in several])
    return {category_of(path): layouts.listed(path) for path in several}


def _check_outside(target: pathlib.Path, folders: Sequence[pathlib.Path]) -> None:
    """Raises Usage if the folder to make lies in one of those that are packed."""
    for folder in folders:
        if target.resolve().is_relative_to(folder.resolve()):
            raise Usage(f"{target} lies in {folder}, which is packed: give a folder outside")


def _bad(data: Data) -> list[LeftOut]:
    sources = [source for source in (data.train, data.heldout, data.test) if source is not None]
    return [one for source in sources for one in skipped(source)]


def _lines(written: Mapping[str, Packed], target: pathlib.Path) -> list[str]:
    """What was written of each category, and of all."""
    lines = [f"{printable(name)}: {_said(one)}" for name, one in written.items()]
    pictures = sum(sum(one.pictures.values()) for one in written.values())
    size, count = (
        sum(getattr(one, name) for one in written.values()) for name in Packed._fields[2:]
    )
    return [
        *lines,
        f"packed {counted(pictures, 'picture')} into {printable(str(target))}: {size / 1e6:.1f} MB "
        f"in {counted(count, 'shard')}",
    ]


def _said(one: Packed) -> str:
    pictures = one.pictures
    told = [f"{counted(pictures['train'], 'picture')} to learn from"]
    told += [f"{pictures['validation']} to hold out"] if pictures["validation"] else []
    told += [f"{pictures['test']} to test on"] if pictures["test"] else []
    told += [counted(one.masks, "mask")] if one.masks else []
    return f"{', '.join(told)}; {one.bytes / 1e6:.1f} MB in {counted(one.shards, 'shard')}"


def _left_out(opened: Mapping[str, Data]) -> list[str]:
    """What is not in the shards, and why."""
    lines = []
    for name, data in opened.items():
        bad = _bad(data)
        if bad:
            lines.append(f"{name}: left out {counted(len(bad), 'picture')} that cannot be read:")
            lines += [f"  {printable(one.reason)}" for one in bad]
        lines += findings.left(data.passed_over, f"{printable(name)}: not packed:")
    return lines
