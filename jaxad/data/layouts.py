"""Opens a data folder by what lies in it."""

from collections.abc import Collection, Sequence
from pathlib import Path

from jaxad.data import dagm, images, loco, mvtec, names, packing, shard_index, visa, walk
from jaxad.data.image_folder import Listed, open_data
from jaxad.data.reading import OnBadImage, Reading
from jaxad.data.source import Data, LeftOut


def load(
    folder: str | Path,
    *,
    seed: int = 0,
    heldout: float = 0.1,
    on_bad_image: OnBadImage = "error",
    reading: Reading = images.PLAIN,
) -> Data:
    """MVTec LOCO, VisA, DAGM, or MVTec AD and what is laid out like it; or one of these in shards.

    Args:
      folder: of one category.
      seed: of the held-out split, where the data set has none of its own.
      heldout: share of the training pictures that is held out then.
      on_bad_image: see `mvtec.load`.
      reading: how files become pictures.

    Raises:
      FileNotFoundError: no such folder, or none of these layouts.
      ValueError: see the layouts' own `load`.
    """
    return opened(
        listed(folder), seed=seed, heldout=heldout, on_bad_image=on_bad_image, reading=reading
    )


def listed(folder: str | Path) -> Listed:
    """The files of a category in any layout, not looked at yet; errors as of `load`."""
    path = Path(folder)
    if shard_index.is_packed(path):
        return packing.listed(path)
    if inside := shard_index.categories(path):
        raise ValueError(
            f"{folder}: holds the packed categories {', '.join(inside)}: give the folder of one"
        )
    if (path / loco.CONFIG).exists() or (path / "test" / "logical_anomalies").is_dir():
        return loco.listed(path)
    if any((place / "split_csv").is_dir() for place in (path, path.absolute().parent)):
        return visa.listed(path)
    if dagm.is_category(path):
        return dagm.listed(path)
    return mvtec.listed(path)


def opened(
    found: Listed,
    *,
    seed: int = 0,
    heldout: float = 0.1,
    on_bad_image: OnBadImage = "error",
    reading: Reading = images.PLAIN,
) -> Data:
    """The data set of listed files; arguments and errors as of `load`."""
    how = {
        "seed": seed, "heldout": heldout, "on_bad_image": on_bad_image, "reading": reading,
    }  # fmt: skip
    return open_data(found, **how) if found.saturations is None else loco.opened(found, **how)


def beside(root: str | Path, taken: Sequence[Path], used: Collection[Path] = ()) -> list[LeftOut]:
    """What lies in a folder of categories beside them, and is not used.

    Args:
      root: the folder.
      taken: the folders of the categories.
      used: files that are used for something.

    Raises:
      ValueError: a folder beside them seems to be a category, but for the names of its folders.
    """
    root = Path(root)
    known = {path.absolute() for path in used}
    loose = [path for path in walk.list_images(root) if path.absolute() not in known]
    left = [LeftOut(path, "beside the categories") for path in loose]
    for sub in walk.subfolders(root):
        if sub in taken or sub.name == "split_csv":
            continue
        names.check_places(sub, mvtec.PLACES)
        left += walk.unused([sub], used)
    return left


def categories(root: str | Path) -> list[Path]:
    """The folders of categories in a folder that holds them, of any of these layouts.

    None of them if the folder is a category itself, whatever else it holds.

    Raises:
      ValueError: one has no normal pictures to learn from.
    """
    root = Path(root)
    if shard_index.is_packed(root):
        return []
    if packed := shard_index.categories(root):
        return [root / name for name in packed]
    if dagm.is_category(root) or mvtec.is_category(root):
        return []
    if (root / "split_csv").is_dir():
        return [root / name for name in visa.categories(root)]
    return [root / name for name in dagm.categories(root) or mvtec.categories(root)]
