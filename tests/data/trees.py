"""Random folders of pictures as people have them: a category, and folders of any names.

Paths are strings below a place that is chosen when a tree is written; the data lie in `plate`.
"""

import functools
import io
import os
import unicodedata
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from PIL import Image

NFC, NFD = (functools.partial(unicodedata.normalize, form) for form in ("NFC", "NFD"))


class Form(NamedTuple):
    """How a picture is written; `alpha` masks are white, and transparent where normal."""

    suffix: str = ".png"
    format: str = "PNG"
    mode: str = "RGB"
    turn: int = 1
    lossy: bool = False
    options: tuple = ()


class Shot(NamedTuple):
    """A picture; `marks` is what a mask marks, None of a photograph."""

    form: Form
    size: tuple[int, int]  # as stored
    number: int  # decides its pixels
    marks: str | None = None


class Bad(NamedTuple):
    """A file of a picture's name that cannot be used."""

    kind: str
    shot: Shot


class Link(NamedTuple):
    """A link to a file, which may not be there."""

    target: str


TEXT = b"not a picture"
LOSSLESS = (("lossless", True), ("exact", True))
PHOTOGRAPHS = [
    *[Form()] * 6,
    Form(".jpg", "JPEG", lossy=True),
    Form(".JPG", "JPEG", "L", lossy=True),
    Form(".jfif", "JPEG", lossy=True),
    Form(".png", "JPEG", lossy=True),  # as some programs save it
    *(Form(".PNG", "PNG", mode) for mode in ("L", "LA", "RGBA", "P", "1", "I;16")),
    *(Form(".bmp", "BMP", mode) for mode in ("RGB", "L", "P", "1")),
    *(Form(".tif", "TIFF", mode) for mode in ("RGB", "L", "RGBA", "P", "1", "I;16")),
    Form(".TIFF", "TIFF", options=(("compression", "tiff_lzw"),)),
    *(Form(".gif", "GIF", mode) for mode in ("L", "P")),
    *(Form(".webp", "WEBP", mode, options=LOSSLESS) for mode in ("RGB", "RGBA")),
    Form(".WebP", "WEBP", lossy=True),
    *(Form(".tga", "TGA", mode) for mode in ("RGB", "L", "RGBA", "P")),
    Form(".avif", "AVIF", lossy=True),
    *(Form(".ppm", "PPM", mode) for mode in ("RGB", "L", "1", "I;16")),
    Form(".qoi", "QOI"),
    *(Form(".png", "PNG", mode, turn) for turn in (2, 3, 6) for mode in ("RGB", "L")),
    *(Form(".jpg", "JPEG", "RGB", turn, lossy=True) for turn in (3, 5, 6, 8)),
    *(Form(".tif", "TIFF", mode, turn) for turn in range(2, 9) for mode in ("RGB", "I;16")),
    *(Form(".webp", "WEBP", "RGB", turn, options=LOSSLESS) for turn in (4, 7, 8)),
]
MASKS = [
    *[Form(mode="L")] * 6,
    *(Form(mode=mode) for mode in ("RGB", "1", "P", "I;16", "alpha")),
    *(Form(".bmp", "BMP", mode) for mode in ("L", "1", "P")),
    *(Form(".tif", "TIFF", mode) for mode in ("L", "1", "I;16")),
    *(Form(".gif", "GIF", mode) for mode in ("L", "P")),
    *(Form(".webp", "WEBP", mode, options=LOSSLESS) for mode in ("RGB", "alpha")),
    Form(".TGA", "TGA", "L"),
    Form(".pgm", "PPM", "L"),
]
LOSSY_MASKS = [
    Form(".jpg", "JPEG", "L", lossy=True),
    Form(".png", "JPEG", "L", lossy=True),
    Form(".webp", "WEBP", lossy=True),
    Form(".tif", "TIFF", lossy=True, options=(("compression", "jpeg"),)),
]
MARKS = ["box"] * 4 + ["dot", "none", "inverted", "full"]
SIZES = [(4, 5), (8, 6), (5, 5)]
BAD = ["empty", "text", "cut", "frames", "thin", "float", "link"]

TURNED = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: np.swapaxes(x, 0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(np.swapaxes(x, 0, 1), 2),
    8: lambda x: np.rot90(x, 1),
}


@functools.cache
def stored(shot: Shot) -> tuple[Image.Image, np.ndarray]:
    """A picture as it is stored, and the RGB that it stands for."""
    rng = np.random.default_rng((shot.number, len(shot.marks or "")))
    mode, size = shot.form.mode, shot.size
    if shot.marks is None:
        grey = rng.integers(0, 256, size, np.uint8)
        colours = rng.integers(0, 256, (*size, 3), np.uint8)
        palette = rng.integers(0, 256, (4, 3), np.uint8)
    else:
        grey = marked(shot.marks, size, rng)
        colours = grey[..., None] * np.uint8([1, 0, 1])
        palette = np.uint8([(0, 0, 0), (200, 0, 0), (0, 1, 0), (9, 9, 9)])
    few = rng.integers(0, 4, size, np.uint8) if shot.marks is None else np.uint8(grey > 0)
    shown = np.where(rng.random(size) < 0.7, np.uint8(255), np.uint8(0))
    seen = shown[..., None] > 0
    match mode:
        case "L":
            return Image.fromarray(grey), rgb(grey)
        case "1":
            return Image.fromarray(grey > 0), rgb(np.uint8(grey > 0) * np.uint8(255))
        case "I;16":
            return Image.fromarray(grey.astype(np.uint16) * 257), rgb(grey)
        case "P":
            image = Image.fromarray(few)
            image.putpalette(palette.tobytes())
            return image, palette[few]
        case "LA":
            return Image.fromarray(np.stack([grey, shown], -1)), rgb(grey) * seen
        case "RGBA":
            return Image.fromarray(np.concatenate([colours, shown[..., None]], -1)), colours * seen
        case "alpha":
            white = np.full((*size, 4), 255, np.uint8)
            white[..., 3] = grey
            return Image.fromarray(white), rgb(grey)
    return Image.fromarray(colours), colours


def marked(marks: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The grey levels of a mask."""
    box = np.zeros(size, bool)
    top, left = rng.integers(0, np.array(size) - 1)
    box[top : top + 2, left : left + 2] = True
    grey = {
        "box": np.where(box, 255, 0),
        "dot": np.where(np.arange(box.size).reshape(size) == top, 1, 0),
        "none": np.zeros(size),
        "inverted": np.where(box, 0, 255),
        "full": np.full(size, 255),
    }
    return grey[marks].astype(np.uint8)


def rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, -1)


@functools.cache
def pixels(shot: Shot) -> np.ndarray:
    """The RGB that a picture shows, upright; only the shape is known where its form is lossy."""
    return TURNED[shot.form.turn](stored(shot)[1])


@functools.cache
def content(what: Shot | Bad | bytes) -> bytes:
    """What is in a file."""
    if isinstance(what, bytes):
        return what
    if isinstance(what, Shot):
        form = what.form
        exif = Image.Exif()
        exif[0x0112] = form.turn
        turned = {"exif": exif} if form.turn > 1 else {}
        return saved(stored(what)[0], form.format, **turned, **dict(form.options))
    match what.kind:
        case "empty":
            return b""
        case "text":
            return TEXT
        case "cut":
            whole = content(what.shot)
            return whole[: len(whole) // 2]
        case "frames":
            frames = [Image.new("L", (5, 5), 60 * i) for i in range(3)]
            return saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
        case "thin":
            return saved(Image.new("RGB", (7, 1), "red"), "PNG")
    return saved(Image.new("F", (5, 4)), "TIFF")


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@dataclass
class Tree:
    """Files, links to folders, and folders that are there even if nothing is in them."""

    files: dict[str, Shot | Bad | Link | bytes] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)

    def free(self, path: str) -> bool:
        """Whether something can be put there."""
        parts = path.split("/")
        above = ["/".join(parts[:i]) for i in range(1, len(parts))]
        taken = self.files.keys() | self.links.keys()
        return not (taken & {*above, path}) and path not in self.places()

    def places(self) -> list[str]:
        """All folders, but no links to them."""
        deepest = {*self.folders, *(os.path.dirname(path) for path in [*self.files, *self.links])}
        parts = [place.split("/") for place in deepest]
        return sorted({"/".join(p[:i]) for p in parts for i in range(1, len(p) + 1)})

    def write(self, base: str) -> None:
        for place in self.places():
            os.makedirs(os.path.join(base, place), exist_ok=True)
        for path, what in self.files.items():
            full = os.path.join(base, path)
            if isinstance(what, Link):
                os.symlink(os.path.join(base, what.target), full)
                continue
            with open(full, "wb") as file:
                file.write(content(what))
        for path, target in self.links.items():
            there = os.path.relpath(os.path.join(base, target), os.path.dirname(f"{base}/{path}"))
            os.symlink(there, os.path.join(base, path), target_is_directory=True)


LETTERS = list(" ,.;[](){}#%&'+=@~$!éßñÜ日a\u0301o\u0308Zz09-_")
STEMS = [
    "000", "001", "IMG 4711", "a,b", "[x] (1)", "v1.2", NFC("Gerät"), NFD("Gerät"), "日本", "ÄÖ",
    "paper_label", "gt", "mask", "000.png", "-", "a_mask", "part seg", "x.GT",
]  # fmt: skip
BELOW = ["", "", "", "", "a", "rain", "day 1", NFD("Ü"), "v.png", "a/b", "x_unmasked"]
ENDINGS = ["_mask", "_mask", "", "-GT", "_ground_truth", ".label", " masks", "_Seg", "-annotation"]
DEFECTS = [
    "crack", "glue", "tiefer Kratzer", "hole, [big]", NFC("Öl"), "日本", "bad", "notch_defect",
    "nozzle damage",
]  # fmt: skip
NORMAL = ["good", "good", "good", "ok", "Normal", "GOOD"]
MEANT_NORMAL = ["non_defective", "Good_2", "defect-free", "OK parts", "passed", "no flaw"]
MEANT_MASKS = [
    "masks", "GroundTruth", "Labels", "Ground truth", "defect_masks", "ground_truth", "x_mask",
]  # fmt: skip
MEANT_ANOMALOUS = ["bad", "defects", "NG", "anomalies", "not good"]  # where normal ones belong
# What lies beside train and test, and whether it is called nearly as what is read is called.
BESIDE = {
    "notes": False, "raw": False, "old pictures": False, "test_private": False, ".trash": False,
    "Train": True, "training": True, "Test": True, "tests": True, "val": True, "Masks": True,
    "GroundTruth": True, "labels": True, "trian": False, "rain": True,
}  # fmt: skip
# The same below a folder of normal pictures.
MEANT_OTHER = [*MEANT_ANOMALOUS, "test", "Train", "Training", "tests", "val", "Ground truth"]
NO_PICTURES = ["readme.txt", "Thumbs.db", ".DS_Store", "x.npy", "y.svg", "LICENSE", "0.png.bak"]


class Maker:
    """Puts things into a tree, by choices of Hypothesis."""

    def __init__(self, draw) -> None:
        self.draw, self.tree, self.number = draw, Tree(), 0

    def pick(self, options):
        return self.draw(st.sampled_from(options))

    def some(self, low: int, high: int) -> range:
        return range(self.draw(st.integers(low, high)))

    def rarely(self) -> bool:
        return self.pick([False] * 11 + [True])

    def put(self, path: str, what) -> str | None:
        """Gives the path back if it was free."""
        if not self.tree.free(path):
            return None
        self.tree.files[path] = what
        return path

    def stem(self) -> str:
        if self.rarely():
            return self.draw(st.text(LETTERS, min_size=1, max_size=5))
        return self.pick(STEMS)

    def photograph(self, folder: str, deep: bool = True) -> str | None:
        """A picture with a name that no other one in the folder has, but rarely."""
        self.number += 1
        shot = Shot(self.pick(PHOTOGRAPHS), self.pick(SIZES), self.number)
        below, stem = self.pick(BELOW) if deep else "", self.stem()
        path = os.path.join(folder, below, stem)
        if any(NFC(os.path.splitext(other)[0]) == NFC(path) for other in self.tree.files):
            path += f" {self.number}"
        return self.put(path + shot.form.suffix, shot)

    def photographs(self, folder: str, low: int, high: int) -> list[str]:
        found = [self.photograph(folder) for _ in self.some(low, high)]
        return [path for path in found if path]

    def mask(self, of: str, folder: str, place: str, ending: str, marks=None, forms=MASKS) -> None:
        """Puts a mask into a place that stands for a folder."""
        self.number += 1
        shape = pixels(self.tree.files[of]).shape[:2]
        shot = Shot(self.pick(forms), shape, self.number, marks or self.pick(MARKS))
        stem = os.path.splitext(of)[0][len(folder) :]
        self.put(place + stem + ending + shot.form.suffix, shot)

    def shots(self, among: str = "plate", marks: bool | None = None) -> list[str]:
        """The pictures below a folder; only masks, or only others."""
        return [
            path for path, what in self.tree.files.items()
            if path.startswith(among + "/") and isinstance(what, Shot)
            and marks in (None, what.marks is not None)
        ]  # fmt: skip

    def change(self, changes: list, most: int) -> None:
        for _ in self.some(0, most):
            self.pick(changes)(self)


# What may be there, as it should or not.


def no_picture(make: Maker) -> None:
    make.put(f"{make.pick(make.tree.places())}/{make.pick(NO_PICTURES)}", TEXT)


def hidden(make: Maker) -> None:
    path = make.pick([".hidden.png", "._000.png", ".cache/0.png", ".cache/a/0.jpg"])
    make.put(f"{make.pick(make.tree.places())}/{path}", Shot(Form(), (4, 5), 0))


def beside(make: Maker) -> None:
    make.photographs(f"plate/{make.pick(sorted(BESIDE))}", 1, 2)


def loose(make: Maker) -> None:
    places = [place for place in make.tree.places() if place.count("/") == 1]
    make.photograph(make.pick(places), deep=False)


def anywhere(make: Maker) -> None:
    make.photograph(make.pick(make.tree.places()))


def empty_folder(make: Maker) -> None:
    name = make.pick(["new", "masks", "good", "Train", "test"])
    place = f"{make.pick(make.tree.places())}/{name}"
    if make.tree.free(place):
        make.tree.folders.add(place)


def linked_folder(make: Maker) -> None:
    """A link to pictures elsewhere."""
    make.photographs("elsewhere", 1, 2)
    link = f"{make.pick(make.tree.places())}/{make.pick(['more', 'link', 'good'])}"
    if make.tree.free(link):
        make.tree.links[link] = "elsewhere"


def inner_link(make: Maker) -> None:
    """A link to a folder of the data, perhaps one that it lies in."""
    places = make.tree.places()
    link = f"{make.pick(places)}/{make.pick(['again', 'up'])}"
    if make.tree.free(link):
        make.tree.links[link] = make.pick(places)


def links_in_a_circle(make: Maker) -> None:
    places = make.tree.places()
    one, other = make.pick(places), make.pick(places)
    links = {f"{one}/there": other, f"{other}/back": one}
    if all(map(make.tree.free, links)):
        make.tree.links |= links


def run(make: Maker) -> None:
    """What this library wrote, and a picture in it."""
    place = f"{make.pick(make.tree.places())}/{make.pick(['run', 'results'])}"
    if make.put(f"{place}/run.json", b"{}"):
        make.photograph(make.pick([place, f"{place}/report"]))


def gone_folder(make: Maker) -> None:
    """A link to a folder that is not there any more."""
    make.put(f"{make.pick(make.tree.places())}/{make.pick(['line 2', 'more'])}", Link("gone"))


def linked_file(make: Maker) -> None:
    if paths := make.shots():
        path = make.pick(paths)
        target = f"files/{make.number}"
        make.tree.files |= {target: make.tree.files[path], path: Link(target)}


def spoiled(make: Maker) -> None:
    if paths := make.shots():
        path, kind = make.pick(paths), make.pick(BAD)
        bad = Bad(kind, make.tree.files[path])
        make.tree.files[path] = Link("files/gone.png") if kind == "link" else bad


def twin(make: Maker) -> None:
    """Another file of nearly the same name."""
    if paths := make.shots():
        stem, suffix = os.path.splitext(path := make.pick(paths))
        folder, name = os.path.split(stem)
        endings = [".bmp", suffix.swapcase(), "_mask.png", "_2_mask.png", "-gt_mask.png"]
        others = [f"{folder}/mask_{name}.png", f"{stem} (mask).png", f"{stem}_mask_2.png"]
        others += [NFD(stem) + suffix, *(stem + ending for ending in endings)]
        make.put(make.pick(others), make.tree.files[path])


def removed(make: Maker) -> None:
    """A mask or another picture is gone."""
    paths = make.shots(marks=True) or make.shots()
    if len(paths) > 1:
        del make.tree.files[make.pick(paths)]


def remade(make: Maker) -> None:
    """A mask of another size, or in a format that is not for masks."""
    if paths := make.shots(marks=True):
        path = make.pick(paths)
        shot = make.tree.files[path]
        forms = make.pick([LOSSY_MASKS, MASKS])
        make.tree.files[path] = shot._replace(form=make.pick(forms), size=make.pick(SIZES))


def second_mask(make: Maker) -> None:
    if paths := make.shots(marks=True):
        path = make.pick(paths)
        stem, suffix = os.path.splitext(path)
        shot = make.tree.files[path]._replace(marks="box", number=make.number)
        bare = stem.removesuffix("_mask")
        others = [stem + "2", bare + "_gt", bare + " (mask)", bare + "_mask_2"]
        make.put(make.pick(others) + suffix, shot)


def renamed_folder(make: Maker) -> None:
    """A folder gets another name, perhaps one that means something."""
    places = [place for place in make.tree.places() if place.count("/") > 1]
    if not places:
        return
    old = make.pick(places)
    name = make.pick([*MEANT_NORMAL, *MEANT_MASKS, *MEANT_OTHER, "ok", NFD(os.path.basename(old))])
    new = f"{os.path.dirname(old)}/{name}"
    if make.tree.free(new) and not make.tree.links:
        files = make.tree.files.items()
        make.tree.files = {
            new + path[len(old) :] if path.startswith(old + "/") else path: what
            for path, what in files
        }


CHANGES = [
    no_picture, hidden, beside, loose, anywhere, empty_folder, linked_folder, inner_link,
    links_in_a_circle, run, gone_folder, linked_file, *[spoiled] * 5, twin, twin, removed, remade,
    second_mask, renamed_folder, renamed_folder,
]  # fmt: skip
HARMLESS = [no_picture, hidden, linked_file, empty_folder]


def anomalous(make: Maker, folder: str, masks: str | None, ending: str, names: list[str]) -> None:
    """Folders of types of defect, with masks in those of the same names, or beside if None."""
    for name in names:
        sub = f"{folder}/{name}" if name else folder
        form = make.pick([NFC, NFC, NFD])
        of = f"{masks}/{form(name)}" if name else masks
        for path in make.photographs(sub, 1, 3):
            if masks != "":
                make.mask(path, sub, of if masks else sub, ending or "_mask" * (masks is None))


@st.composite
def categories(draw) -> Tree:
    """A category as MVTec AD lays it out: `plate`."""
    make = Maker(draw)
    make.photographs(f"plate/train/{make.pick(NORMAL)}", 1, 4)
    if make.pick([False] * 3 + [True]):
        make.photographs(f"plate/validation/{make.pick(NORMAL)}", 1, 2)
    if test := make.pick(["plate/test", "plate/test", "plate/test_public", ""]):
        good = f"{test}/{make.pick(NORMAL)}"
        normal = make.photographs(good, 0, 2)
        masks = make.pick(["plate/ground_truth", f"{test}/ground_truth", None, ""])
        names = draw(st.lists(st.sampled_from(DEFECTS), max_size=3, unique=True))
        ending = make.pick(ENDINGS)
        anomalous(make, test, masks, ending, names)
        if masks and normal and make.rarely():
            marks = make.pick(["none", "none", "box"])
            make.mask(make.pick(normal), good, f"{masks}/{os.path.basename(good)}", ending, marks)
    make.change(HARMLESS, 2)
    make.change(CHANGES, 3)
    return make.tree


class Given(NamedTuple):
    """The folders that are given to `folder.load`."""

    train: str
    test_normal: str | None = None
    test_anomalous: str | None = None
    masks: str | None = None


GIVEN = [
    Given("t"),
    Given("t", "n"),
    Given("t", None, "a"),
    Given("t", None, "a", "m"),
    Given("t", "n", "a", "m"),
    Given("t", "t/n", "t/a", "t/m"),
    Given("a/good", None, "a", "m"),
    Given("a/Good parts", "a/ok", "a", "m"),
    Given("a/crack/good", "a/x/fine", "a", "a/masks"),
    Given("t", "a/good", "a", "a/masks"),
    Given("t", "a/x/fine", "a"),
    Given("n/t", "n", "a", "n/m"),
    Given("t", "t/bad", "a", "a/glue/m"),
    Given("a/bad", "a/crack", "a"),
]
TWICE = [  # one folder for two uses
    Given("t", "t"),
    Given("t", None, "t"),
    Given("t", "a", "a"),
    Given("t", None, "a", "a"),
    Given("t", None, "a", "t"),
]


@st.composite
def folders(draw) -> tuple[Tree, Given]:
    """Folders of any names below `plate`."""
    make = Maker(draw)
    given = Given(*(place and f"plate/{place}" for place in make.pick([*GIVEN * 3, *TWICE])))
    make.tree.folders |= {place for place in given if place}
    train, normal, test, masks = given
    make.photographs(train, 0 if make.rarely() else 1, 4)
    if normal:
        make.photographs(normal, 0 if make.rarely() else 1, 2)
    if test:
        good = make.photographs(f"{test}/{make.pick(NORMAL)}", 0, 1)
        names = draw(st.lists(st.sampled_from(["", *DEFECTS]), min_size=1, max_size=3, unique=True))
        ending = make.pick(ENDINGS)
        anomalous(make, test, masks or make.pick([None, ""]), ending, names)
        if masks and good and make.rarely():
            make.mask(good[0], test, masks, ending, make.pick(["none", "none", "box"]))
    make.change(HARMLESS, 2)
    make.change(CHANGES, 3)
    links = {}
    for place in make.draw(st.lists(st.sampled_from([p for p in given if p]), max_size=1)):
        links[place] = "plate/as a link"
    make.tree.links |= {link: place for place, link in links.items() if make.tree.free(link)}
    return make.tree, Given(*(links.get(place, place) for place in given))
