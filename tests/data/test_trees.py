"""Nothing vanishes: of any folder, every picture is used or named, or the folder is refused.

What must be counted is said here by plain rules, which know nothing of the library's code.
"""

import errno
import logging
import os
import pathlib
import re
import sys
import tempfile
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

sys.path.append(str(pathlib.Path(__file__).parent))
from trees import (
    BESIDE,
    MEANT_MASKS,
    MEANT_NORMAL,
    MEANT_OTHER,
    NFC,
    NFD,
    Bad,
    Form,
    Given,
    Link,
    Shot,
    Tree,
    categories,
    folders,
    pixels,
)

from jaxad.data import folder, layouts, mvtec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names that differ by case only")

SUFFIXES = {
    ".png", ".jpg", ".jfif", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".tga", ".avif", ".ppm",
    ".pgm", ".qoi",
}  # fmt: skip
MASK = re.compile(
    r"(masks?|labels?|gt|ground_?truth|seg|segmentation|annotations?)\d*", re.IGNORECASE
)
READ = ("train", "test")
MEANT_READ = [name for name, refused in BESIDE.items() if refused]
CLUTTER = {".DS_Store", "Thumbs.db"}
GONE = Bad("link", Shot(*[None] * 3))
HELDOUT = 0.3
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # the disk takes most of the time


class Entry(NamedTuple):
    """A file as it is found.

    Attributes:
      what: is in it.
      real: the file itself, without links.
      way: the folders that led there, without links.
    """

    what: Shot | Bad | bytes
    real: str
    way: tuple[str, ...]


class Use(NamedTuple):
    """What a picture is used as."""

    path: str
    defect: str
    key: str
    masks: tuple[str, ...] = ()


class Found:
    """All that a person sees who walks through a tree, links followed, but not in a circle."""

    def __init__(self, tree: Tree) -> None:
        inside: dict[str, set[str]] = {}
        for path in [*tree.files, *tree.links, *tree.places()]:
            inside.setdefault(os.path.dirname(path), set()).add(path)
        self.files: dict[str, Entry] = {}
        self.folders: dict[str, str] = {}

        def walk(place: str, real: str, above: tuple[str, ...]) -> None:
            for path in inside.get(real, ()):
                here = f"{place}/{os.path.basename(path)}".lstrip("/")
                if path in tree.files:
                    what = tree.files[path]
                    real = what.target if isinstance(what, Link) else path
                    what = tree.files.get(real, GONE) if isinstance(what, Link) else what
                    self.files[here] = Entry(what, real, above)
                    continue
                target = tree.links.get(path, path)
                if path in tree.links and any(lies_in(one, target) for one in above):
                    continue
                self.folders[here] = target
                walk(here, target, (*above, target))

        walk("", "", ())

    def below(self, place: str) -> list[str]:
        return sorted(path for path in self.files if path.startswith(place + "/"))

    def visible(self, place: str, deep: bool = True) -> list[str]:
        """Without hidden files, and what lies in hidden folders and in those of runs."""
        parts = {path: path[len(place) + 1 :].split("/") for path in self.below(place)}
        parts = {path: names for path, names in parts.items() if not self.is_of_a_run(path, place)}
        return [
            path for path, names in parts.items()
            if not any(name[0] == "." for name in names) and (deep or len(names) == 1)
        ]  # fmt: skip

    def files_not_hidden(self, place: str) -> set[str]:
        found = self.below(place)
        return {p for p in found if all(n[0] != "." for n in p[len(place) + 1 :].split("/"))}

    def is_of_a_run(self, path: str, place: str) -> bool:
        """Whether a file lies in the folder of a run that lies below a place."""
        names = path[len(place) + 1 :].split("/")[:-1]
        above = ["/".join([place, *names[: i + 1]]) for i in range(len(names))]
        return any(f"{folder}/run.json" in self.files for folder in above)

    def pictures(self, place: str, deep: bool = True) -> list[str]:
        return [path for path in self.visible(place, deep) if is_picture(path)]

    def gone(self, place: str, deep: bool = True) -> list[str]:
        """Links that led to folders, by their names."""
        found = [path for path in self.visible(place, deep) if self.files[path].what is GONE]
        return [path for path in found if not os.path.splitext(path)[1]]

    def subs(self, place: str) -> list[str]:
        found = [sub for sub in self.folders if os.path.dirname(sub) == place]
        return sorted(sub for sub in found if name_of(sub)[0] != ".")


def name_of(path: str) -> str:
    return os.path.basename(path)


def lies_in(path: str, place: str) -> bool:
    return path == place or path.startswith(place + "/")


def is_picture(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in SUFFIXES


def is_normal(place: str) -> bool:
    return name_of(place).lower() in ("good", "ok", "normal")


def is_called(name: str, names: list[str]) -> bool:
    return name.lower() in [one.lower() for one in names]


def key_of(path: str, place: str) -> str:
    return NFC(os.path.splitext(path[len(place) + 1 :])[0])


def picture_of(key: str, keys) -> str | None:
    """The picture of a mask: a name without one word, the last one that means masks.

    That word is the first or the last one, or lies between, or only a number comes after it.
    """
    place, slash, stem = key.rpartition("/")
    parts = re.split(r"([-_. ()\[\]])", re.sub("ground[_ -]truth", "groundtruth", stem, flags=re.I))
    wanted = []
    for i in reversed(range(0, len(parts), 2)):
        if MASK.fullmatch(parts[i]):
            before, after = "".join(parts[:i]), "".join(parts[i + 1 :])
            if not after:
                wanted.insert(0, before[:-1])
            bare, rest = before.rstrip("-_. ()[]"), after.strip("-_. ()[]")
            wanted += [f"{bare}{after[0]}{rest}"] if bare and rest else []
            wanted += [before[:-1], bare] if not rest or rest.isdigit() else []
            wanted += [] if bare else [rest]
    return next((key for key in (place + slash + one for one in wanted) if key in keys), None)


class Model:
    """What must become of a tree.

    Attributes:
      faults: each the paths of which one must be named.
      train, validation, test: the pictures.
      skipped: those that cannot be used.
    """

    def __init__(self, tree: Tree, roots: list[str]) -> None:
        self.found, self.roots = Found(tree), roots
        self.faults: list[set[str]] = []
        self.train: list[Use] = []
        self.validation: list[Use] = []
        self.test: list[Use] = []
        self.skipped: set[str] = set()
        self.apart: set[str] = set()  # that belong to another folder that is given

    def fault(self, *paths: str) -> None:
        self.faults.append(set(paths))

    def pictures(self, place: str, deep: bool = True) -> list[str]:
        if gone := self.found.gone(place, deep):
            self.fault(*gone)
        return self.found.pictures(place, deep)

    def subs(self, place: str) -> list[str]:
        if gone := self.found.gone(place, deep=False):
            self.fault(*gone)
        return self.found.subs(place)

    def no_loose(self, place: str) -> None:
        if loose := self.pictures(place, deep=False):
            self.fault(place, *loose)

    def has_pictures(self, place: str) -> bool:
        return bool(set(self.pictures(place)) - self.apart)

    def group(self, place: str, defect: str, deep: bool = True) -> list[Use]:
        """The pictures of one folder, with the masks that lie beside them."""
        keys: dict[str, list[str]] = {}
        for path in self.pictures(place, deep):
            if path in self.apart:
                continue
            keys.setdefault(key_of(path, place), []).append(path)
            parts = path[len(place) + 1 :].split("/")[:-1]
            for i, part in enumerate(parts):
                below = "/".join([place, *parts[: i + 1]])
                if is_called(part, MEANT_MASKS):
                    self.fault(below)
                elif defect == "good" and is_called(part, MEANT_OTHER):
                    self.fault(below, place)
                elif defect != "good" and is_normal(below):
                    self.fault(below)
        without = {key: picture_of(key, keys) for key in keys}
        masks = {key for key, of in without.items() if of is not None}
        masks = {key for key in masks if without[key] not in masks}
        uses = []
        for key in keys.keys() - masks:
            own = [path for mask in masks if without[mask] == key for path in keys[mask]]
            uses += [Use(path, defect, key, tuple(own)) for path in keys[key]]
        if masks and not all(use.masks for use in uses):
            self.fault(*(path for mask in masks for path in keys[mask]))
        return uses

    def paired(self, uses: list[Use], places: list[str], deep: bool = True) -> list[Use]:
        """The same with masks from other folders."""
        keys, of = {use.key for use in uses}, {}
        for place in places:
            for path in self.pictures(place, deep):
                key = key_of(path, place)
                of[path] = key if key in keys else picture_of(key, keys)
        for path, key in of.items():
            if key not in keys:
                self.fault(path)
        if twice := [mask for use in uses for mask in use.masks if of]:
            self.fault(*twice, *places)
        return [
            use._replace(masks=(*use.masks, *(path for path, key in of.items() if key == use.key)))
            for use in uses
        ]

    def normal(self, place: str, masks: str = "") -> list[Use]:
        """The pictures of the folders of normal ones in a folder."""
        uses = []
        for sub in self.subs(place):
            if is_normal(sub):
                group = self.group(sub, "good")
                uses += self.paired(group, [f"{masks}/{name_of(sub)}"]) if masks else group
            elif is_called(name_of(sub), MEANT_NORMAL) and self.has_pictures(sub):
                self.fault(sub)
        return uses

    def defects(self, place: str, masks: str = "") -> list[Use]:
        """Those of the other folders, each a type of defect."""
        subs: dict[str, list[str]] = {}
        for sub in self.subs(place):
            if sub == masks or is_normal(sub) or f"{sub}/run.json" in self.found.files:
                continue
            marked = [name_of(one) for one in self.subs(masks)] if masks else []
            called = is_called(name_of(sub), MEANT_MASKS) and name_of(sub) not in marked
            if called and self.has_pictures(sub):
                self.fault(sub)
            subs.setdefault(NFC(name_of(sub)), []).append(sub)
        masks_of: dict[str, list[str]] = {}
        for sub in self.subs(masks) if masks else []:
            if not is_normal(sub):
                masks_of.setdefault(NFC(name_of(sub)), []).append(sub)
        uses = []
        for name in subs.keys() | masks_of.keys():
            group = [use for sub in subs.get(name, []) for use in self.group(sub, name)]
            uses += self.paired(group, masks_of.get(name, []))
        return uses

    def used(self) -> list[Use]:
        return [*self.train, *self.validation, *self.test]

    def array(self, path: str) -> np.ndarray | None:
        what = self.found.files[path].what
        return pixels(what) if isinstance(what, Shot) else None

    def mask(self, use: Use) -> np.ndarray:
        arrays = [self.array(path).max(-1) for path in use.masks]
        return np.any(np.stack(arrays), 0)

    def reason(self, use: Use) -> set[str]:
        """The files for which a picture cannot be used: itself, or its masks."""
        what = {path: self.found.files[path].what for path in (use.path, *use.masks)}
        shots = {path: shot for path, shot in what.items() if isinstance(shot, Shot)}
        lossy = {path for path in use.masks if path in shots and shots[path].form.lossy}
        return (what.keys() - shots.keys()) | lossy

    def finish(self, on_bad_image: str) -> "Model":
        """Looks at names and into the files."""
        for uses in (self.train, self.validation, self.test):
            seen: dict[tuple[str, str], str] = {}
            for use in uses:
                other = seen.setdefault((use.defect, use.key), use.path)
                if other != use.path:
                    self.fault(use.path, other)
        learned = {self.found.files[use.path].real for use in [*self.train, *self.validation]}
        if both := [u.path for u in self.test if self.found.files[u.path].real in learned]:
            self.fault(*both)
        anomalous = [use for use in self.test if use.defect != "good"]
        missing = [use.path for use in anomalous if not use.masks]
        if missing and len(missing) < len(anomalous):
            self.fault(*missing)
        reasons = {use.path: reason for use in self.used() if (reason := self.reason(use))}
        if reasons and on_bad_image == "error":
            self.fault(*set.union(*reasons.values()))
        self.skipped = set(reasons)
        for use in self.used():
            if use.path in reasons or not use.masks:
                continue
            sizes = {path: self.array(path).shape[:2] for path in (use.path, *use.masks)}
            wrong = [path for path, size in sizes.items() if size != sizes[use.path]]
            if wrong:
                self.fault(*wrong)
            elif use.defect == "good" and self.mask(use).any():
                self.fault(*use.masks)
        for uses in (self.train, self.validation, self.test):
            if uses and all(use.path in reasons for use in uses):
                self.fault(*(use.path for use in uses))
        return self

    def passed_over(self) -> set[str]:
        """What is not used, but for what systems leave in folders."""
        known = {path for use in self.used() for path in (use.path, *use.masks)}
        pairs = [(path, root) for root in self.roots for path in self.found.below(root)]
        return {
            path for path, root in pairs
            if path not in known and name_of(path) not in CLUTTER
            and (
                is_picture(path) or self.found.is_of_a_run(path, root)
                or path in self.found.files_not_hidden(root)
            )
        }  # fmt: skip


def category(tree: Tree, on_bad_image: str) -> Model:
    """By the rules of MVTec AD's layout."""
    model = Model(tree, ["plate"])
    found = model.found
    for sub in model.subs("plate"):
        if is_called(name_of(sub), MEANT_READ) and name_of(sub) not in READ and model.pictures(sub):
            model.fault(sub)
    test = "plate/test_public" if "plate/test_public" in found.folders else "plate/test"
    places = [p for p in ("plate/ground_truth", f"{test}/ground_truth") if p in found.folders]
    masks = places[0] if places else ""
    for place in ("plate/train", "plate/validation", test, *places[:1]):
        model.no_loose(place)
    model.train = model.normal("plate/train")
    model.validation = model.normal("plate/validation")
    model.test = [*model.normal(test, masks), *model.defects(test, masks)]
    if not model.train:
        model.fault("plate/train/good")
    if test in found.folders and not model.test:
        model.fault(test)
    return model.finish(on_bad_image)


def plain_folders(tree: Tree, places, on_bad_image: str) -> Model:
    """By the rules for folders of any names."""
    model = Model(tree, [place for place in places if place])
    found = model.found
    real = {place: found.folders[place] for place in model.roots}
    if len(set(real.values())) < len(model.roots):
        model.fault(*model.roots)
        return model

    def group(place: str, defect: str = "good") -> list[Use]:
        apart_from(place)
        if not (uses := model.group(place, defect)):
            model.fault(place)
        inside = {use.key.rpartition("/")[0] for use in uses}
        good = {part for part in inside if any(map(is_normal, part.split("/")))}
        if good and good != inside:
            model.fault(place)
        return uses

    def apart_from(place: str) -> None:
        others = [one for one in real.values() if not lies_in(real[place], one)]
        model.apart = {
            path for path, entry in found.files.items()
            if any(lies_in(one, other) for one in entry.way for other in others)
        }  # fmt: skip

    train, normal, test, masks = places
    model.train = group(train)
    model.test = group(normal) if normal else []
    if test:
        apart_from(test)
        some = model.normal(test, masks or "")
        loose = model.group(test, "anomalous", deep=False)
        loose = model.paired(loose, [masks], deep=False) if masks else loose
        loose += model.defects(test, masks or "")
        model.test += some + loose
        if not loose:
            model.fault(test)
        if masks and not any(use.masks for use in loose):
            model.fault(masks)
    return model.finish(on_bad_image)


class Heard(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += record.getMessage() + "\n"


def check(tree: Tree, model: Model, base: str, load) -> str:
    """Loads a tree and compares with what must become of it, which is given back in words."""
    tree.write(base)
    heard, data, refusal = Heard(), None, ""
    logger = logging.getLogger("jaxad")
    logger.addHandler(heard)
    try:
        data = load()
    except (ValueError, FileNotFoundError) as error:
        refusal = str(error)
    finally:
        logger.removeHandler(heard)
    if data is None:
        assert model.faults, f"refused, but nothing is wrong: {refusal}"
        paths = set().union(*model.faults)
        assert any(says(refusal, f"{base}/{path}") for path in paths), (refusal, paths)
        return "refused"
    assert not model.faults, f"not refused: {model.faults}"
    same(data, model, base)
    empty = [
        use for use in model.test
        if use.defect != "good" and use.path not in model.skipped and use.masks
        and not model.mask(use).any()
    ]  # fmt: skip
    for use in empty:
        assert any(says(heard.text, f"{base}/{path}") for path in use.masks), f"{use} marks nothing"
    return "used in part" if model.skipped else "used"


def says(text: str, path: str) -> bool:
    """Whether a path is named, spelled as it was given or plainly."""
    text = re.sub(r"[^/\n]+/\.\./", "", text)
    return re.search(re.escape(path) + r"(?=$|[\s:,;'\"])", text) is not None


def same(data, model: Model, base: str) -> None:
    """Compares a loaded data set with the model."""

    def short(path) -> str:
        return os.path.relpath(os.path.abspath(path), base)

    def left(uses: list[Use]) -> list[Use]:
        return [use for use in uses if use.path not in model.skipped]

    train, validation, test = map(left, (model.train, model.validation, model.test))
    held = max(1, round(HELDOUT * len(train))) if len(train) > 1 else 0
    assert len(data.train) == len(train) - (0 if model.validation else held)
    assert (data.test is None) == (not model.test)
    normal = (data.train, data.heldout), [*train, *validation]
    for parts, uses in [normal, ((data.test,) if data.test else (), test)]:
        known = {use.path: use for use in uses}
        files = [file for source in parts for file in source.files]
        assert Counter(short(file.path) for file in files) == Counter(use.path for use in uses)
        for source in parts:
            for i, (record, file) in enumerate(zip(source.records, source.files, strict=True)):
                use = known[short(file.path)]
                assert (record.defect, record.name) == (use.defect, f"{use.defect}/{use.key}")
                item = source[i]
                shot = model.found.files[use.path].what
                wanted = pixels(shot)
                assert item["image"].shape == wanted.shape
                assert shot.form.lossy or np.array_equal(item["image"], wanted), use
                assert item["label"] == record.label == (use.defect != "good")
                if use.defect != "good":
                    assert {short(path) for path in file.masks} == set(use.masks)
                marks = use.masks and use.defect != "good"
                mask = model.mask(use) if marks else np.zeros(wanted.shape[:2])
                assert np.array_equal(item["mask"], mask), use
    if data.test:
        assert data.test.has_masks == all(use.masks for use in test if use.defect != "good")
    skipped = [one for source in (data.train, data.heldout, data.test) if source
               for one in source.skipped]  # fmt: skip
    assert {short(one.path) for one in skipped} == model.skipped
    for use in model.used():
        if use.path in model.skipped:
            reason = next(one.reason for one in skipped if short(one.path) == use.path)
            assert any(says(reason, f"{base}/{path}") for path in model.reason(use)), reason
    passed = [short(one.path) for one in data.passed_over]
    assert len(passed) == len(set(passed))
    assert set(passed) == model.passed_over()


def runs(count: int):
    return settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def fuzz(strategy, one, count: int) -> None:
    """Calls `one` with so many trees, a choice for bad files, and a folder to write into."""

    @runs(count)
    @given(strategy, st.sampled_from(["error", "skip"]))
    def each(tree, on_bad_image):
        with tempfile.TemporaryDirectory(dir=MEMORY) as base:
            event(one(tree, on_bad_image, os.path.realpath(base)))

    each()


def load_category(tree: Tree, on_bad_image: str, base: str) -> str:
    module = (mvtec, layouts)[len(tree.files) % 2]

    def load():
        return module.load(f"{base}/plate", heldout=HELDOUT, on_bad_image=on_bad_image)

    return check(tree, category(tree, on_bad_image), base, load)


def load_folders(drawn, on_bad_image: str, base: str) -> str:
    tree, places = drawn
    given = [place and f"{base}/plate/../{place}" for place in places]
    keys = ("train", "test_normal", "test_anomalous", "masks")

    def load():
        return folder.load(
            **dict(zip(keys, given, strict=True)), heldout=HELDOUT, on_bad_image=on_bad_image
        )

    return check(tree, plain_folders(tree, places, on_bad_image), base, load)


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("strategy", "one"), [(categories(), load_category), (folders(), load_folders)]
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as for a person
def test_every_picture_is_used_or_named(strategy, one, count):
    fuzz(strategy, one, count)


def photographs(*paths: str) -> dict[str, Shot]:
    return {f"plate/{path}": Shot(Form(), (4, 5), i) for i, path in enumerate(paths)}


def masks(*paths: str) -> dict[str, Shot]:
    form = Form(mode="L")
    return {f"plate/{path}": Shot(form, (4, 5), i, "box") for i, path in enumerate(paths)}


TWO = photographs("train/good/0.png", "train/good/1.png")
CATEGORIES = {  # what the random ones hold too, but rarely
    "a link to what it lies in is no type of defect": Tree(
        TWO | photographs("test/crack/0.png"), {"plate/test/up": "plate"}
    ),
    "two links that lead to one another are a circle too": Tree(
        TWO | photographs("test/crack/0.png", "more/0.png"),
        {"plate/test/crack/there": "plate/more", "plate/more/back": "plate/test/crack"},
    ),
    "folders have names in two forms of Unicode": Tree(
        TWO
        | photographs(f"test/{NFC('Öl')}/0.png", f"test/{NFD('Öl')}/1.png")
        | masks(f"ground_truth/{NFD('Öl')}/0_mask.png", f"ground_truth/{NFC('Öl')}/1_mask.png")
    ),
    "a mask has no mask": Tree(
        TWO
        | photographs("test/crack/0.png")
        | masks("test/crack/0_gt.png", "test/crack/0_gt_mask.png")
    ),
    "brackets are a picture's own, not its mask's": Tree(
        TWO
        | photographs("test/crack/x (1).png", "test/crack/a_mask.png")
        | masks("ground_truth/crack/x (1)_mask2.png", "ground_truth/crack/a_mask_mask2.png")
    ),
    "defects lie among normal pictures": Tree(TWO | photographs("train/good/bad/0.png")),
    "it rains": Tree(TWO | photographs("train/good/rain/2.png")),
    "validation pictures are loose": Tree(TWO | photographs("validation/0.png")),
    "a run lies among types of defect": Tree(
        TWO | photographs("test/crack/0.png", "test/run/0.png") | {"plate/test/run/run.json": b"{}"}
    ),
    "a link to a type of defect is broken": Tree(
        TWO | photographs("test/crack/0.png") | {"plate/test/glue": Link("gone")}
    ),
    "a link to training pictures is broken": Tree(TWO | {"plate/train/good/more": Link("gone")}),
    "a defect is called nearly as if there were none": Tree(
        TWO | photographs("test/notch_defect/0.png", "test/nozzle damage/0.png")
    ),
    "masks lie among pictures, further down": Tree(
        TWO | photographs("test/crack/a/0.png") | masks("test/crack/a/masks/0.png")
    ),
}
FOLDERS = {
    "train in test_anomalous, which has the name of normal ones": (
        Tree(photographs("a/good/0.png", "a/good/1.png", "a/crack/0.png")),
        Given("plate/a/good", None, "plate/a"),
    ),
    "train deeper in test_anomalous": (
        Tree(photographs("a/crack/good/0.png", "a/crack/good/1.png", "a/crack/0.png")),
        Given("plate/a/crack/good", None, "plate/a"),
    ),
    "test_normal in test_anomalous": (
        Tree(photographs("t/0.png", "t/1.png", "a/good/0.png", "a/crack/0.png")),
        Given("plate/t", "plate/a/good", "plate/a"),
    ),
    "masks in test_anomalous, among pictures": (
        Tree(photographs("t/0.png", "t/1.png", "a/x/0.png") | masks("a/x/m/x/0.png")),
        Given("plate/t", None, "plate/a", "plate/a/x/m"),
    ),
    "all of test_normal is train": (
        Tree(photographs("n/t/0.png", "n/t/1.png")),
        Given("plate/n/t", "plate/n"),
    ),
    "a link out of train": (
        Tree(
            photographs("a/good/0.png", "a/crack/0.png")
            | {"elsewhere/1.png": TWO["plate/train/good/1.png"]},
            {"plate/a/good/more": "elsewhere"},
        ),
        Given("plate/a/good", None, "plate/a"),
    ),
    "a link into train": (
        Tree(photographs("t/0.png", "t/1.png", "a/crack/0.png"), {"plate/a/more": "plate/t"}),
        Given("plate/t", None, "plate/a"),
    ),
    "one folder twice, by a link": (
        Tree(photographs("t/0.png", "t/1.png"), {"plate/a": "plate/t"}),
        Given("plate/t", None, "plate/a"),
    ),
}


@pytest.mark.parametrize("name", CATEGORIES)
def test_a_category_is_read_as_it_is_meant_where(name, tmp_path):
    load_category(CATEGORIES[name], "error", os.path.realpath(tmp_path))


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_are_read_as_they_are_meant_with(name, tmp_path):
    load_folders(FOLDERS[name], "error", os.path.realpath(tmp_path))


def test_a_folder_that_may_not_be_read_is_named_or_an_error(tmp_path, monkeypatch):
    Tree(TWO | photographs("secret/0.png", "train/good/secret/0.png")).write(str(tmp_path))
    scan = os.scandir

    def guarded(place):
        if closed in str(place):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return scan(place)

    closed = "plate/secret"
    monkeypatch.setattr(os, "scandir", guarded)
    left = mvtec.load(tmp_path / "plate").passed_over
    assert [(one.path.name, one.reason) for one in left] == [
        ("secret", "cannot be read: Permission denied")
    ]
    closed = "good/secret"
    with pytest.raises(PermissionError, match="good/secret"):
        mvtec.load(tmp_path / "plate")
