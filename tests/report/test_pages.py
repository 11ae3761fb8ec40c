"""Heat maps, their scale, and the page of a run."""

import errno
import html.parser
import inspect
import re
import subprocess
import sys
import urllib.parse

import numpy as np
import pytest
from PIL import Image

from jaxad.data.images import image_size
from jaxad.data.source import Item, Record
from jaxad.decision.card import Card, Normals
from jaxad.decision.scale import Scale
from jaxad.evaluation.category import category, group
from jaxad.evaluation.pixels import Pixels
from jaxad.evaluation.results import Evaluation, Scored, mean
from jaxad.report import heatmap, panels
from jaxad.report.heatmap import overlay
from jaxad.report.pages import Report, alarms, cases, groups

SCALE = Scale(0.0, 1.0)


def card(**limits):
    """A card with a limit for each category: the only score of its normal picture."""
    normals = {name: Normals(np.array([x]), np.array([x]), "painted") for name, x in limits.items()}
    return Card("abc", normals, SCALE, 0.0)


CARD = card(any=0.55)


def grey_image(value: int, shape=(20, 30)) -> np.ndarray:
    return np.full((*shape, 3), value, np.uint8)


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colours in 0..255."""
    c = colours / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


def picture(record: Record, index: int, shape=(24, 32)) -> Item:
    mask = np.zeros(shape, np.uint8)
    if record.label:
        mask[5:12, 8:20] = 1
    image = np.random.default_rng(index).integers(0, 256, (*shape, 3), np.uint8)
    return {"image": image, "mask": mask, "label": record.label, "index": index}


def evaluated(records, scores, report=None) -> Evaluation:
    """An evaluation of made-up maps; `report` visits every picture."""
    rng, found = np.random.default_rng(0), {}
    for name in sorted({record.category for record in records}):
        members = [i for i, record in enumerate(records) if record.category == name]
        pixels = Pixels()
        for i in members:
            item = picture(records[i], i)
            map = (0.1 * rng.random(item["mask"].shape) + item["mask"]).astype(np.float32)
            pixels.add(map, item["mask"], group=group(records[i]))
            if report is not None:
                report.visit(i, item, map, float(scores[i]))
        found[name] = category([records[i] for i in members], np.array(scores)[members], pixels)
    pictures = tuple(Scored(*pair) for pair in zip(records, scores, strict=True))
    return Evaluation(mean([x.metrics for x in found.values()]), found, pictures)


class Links(html.parser.HTMLParser):
    """The paths that a page refers to."""

    def __init__(self, text):
        super().__init__()
        self.paths = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.paths += [urllib.parse.unquote(v) for k, v in attributes if k in ("src", "href")]


def test_colours_rise_steadily_in_lightness():
    light = lightness(heatmap.table())
    steps = np.diff(light)
    assert light[0] < 1
    assert light[-1] > 97
    assert steps.min() > 0
    assert steps.max() < 2 * light[-1] / 255


def test_equal_values_get_equal_colours_in_every_picture():
    calm = np.full((20, 30), 0.1, np.float32)
    wild = calm.copy()
    wild[0, 0] = 50.0
    a, b = (overlay(grey_image(90), map, SCALE) for map in (calm, wild))
    np.testing.assert_array_equal(a[1:], b[1:])


def test_values_at_or_below_the_scale_leave_the_picture_in_grey():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    seen = overlay(image, np.full((20, 30), -5.0), SCALE)
    expected = np.rint(image @ np.array([0.299, 0.587, 0.114]))
    assert np.abs(seen - expected[..., None]).max() <= 1


def test_overlay_mixes_grey_and_colour_by_position():
    map = np.array([[0.0, 0.25, 0.5, 1.0, 7.0]])
    seen = overlay(grey_image(100, (1, 5)), map, SCALE)
    for column, position in enumerate((0.0, 0.25, 0.5, 1.0, 1.0)):
        opacity = heatmap.OPACITY * position
        colour = heatmap.table()[round(255 * position)]
        np.testing.assert_allclose(
            seen[0, column], (1 - opacity) * 100 + opacity * colour, atol=1.5
        )


def test_outline_lies_around_the_mask_and_leaves_its_inside():
    rng = np.random.default_rng(0)
    mask = np.zeros((20, 30), np.uint8)
    mask[6:12, 9:18] = rng.random((6, 9)) < 0.7
    line = np.zeros(mask.shape, bool)  # a slow loop: not in the mask, but a neighbour is
    for y, x in np.ndindex(mask.shape):
        near = mask[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        line[y, x] = not mask[y, x] and near.any()
    map = rng.random(mask.shape)
    plain, outlined = (overlay(grey_image(90), map, SCALE, m) for m in (None, mask))
    assert (outlined[line] == heatmap.OUTLINE).all()
    np.testing.assert_array_equal(outlined[mask > 0], plain[mask > 0])
    changed = (plain != outlined).any(-1)
    assert (outlined[changed & ~line] == 0).all()


@pytest.mark.parametrize("what", ["map", "mask"])
def test_overlay_of_another_size_is_an_error(what):
    sizes = {"map": (20, 30), "mask": (20, 30), what: (10, 30)}
    map, mask = np.zeros(sizes["map"]), np.zeros(sizes["mask"], np.uint8)
    unchecked = inspect.unwrap(overlay)  # without the run-time check of shapes, as for users
    with pytest.raises(ValueError, match=f"{what} of size"):
        unchecked(grey_image(90), map, SCALE, mask)


def test_overlay_of_nan_is_an_error():
    with pytest.raises(ValueError, match="NaN"):
        overlay(grey_image(90), np.full((20, 30), np.nan), SCALE)


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 2), (64, 64), (700, 900)])
def test_panel_shows_picture_and_overlay_at_their_own_size(shape):
    rng = np.random.default_rng(0)
    image, heat = (rng.integers(0, 256, (*shape, 3), np.uint8) for _ in range(2))
    panel = panels.panel(image, heat, SCALE, "a caption " * 40)
    layout = panels.Layout(*shape)
    np.testing.assert_array_equal(np.asarray(panel.crop(layout.image)), image)
    np.testing.assert_array_equal(np.asarray(panel.crop(layout.overlay)), heat)
    assert layout.canvas == panel.size


def test_long_words_lose_their_middle():
    font = panels.font(12)
    text = panels.shortened("abcdefghijklmnopqrstuvwxyz", 80, font)
    assert font.getlength(text) <= 80
    assert re.fullmatch("abc.*….*xyz", text)
    assert panels.shortened("short", 80, font) == "short"


def test_numbers_of_the_colour_bar_show_three_digits_of_their_span():
    assert panels.numbers((0.0099, 0.0569, 0.1038)) == ["0.0099", "0.0569", "0.1038"]
    assert panels.numbers((100.0, 150.4, 200.0)) == ["100", "150", "200"]
    assert panels.numbers((0.0, 5e-9, 1e-8)) == ["0.00e+00", "5.00e-09", "1.00e-08"]


def test_cases_are_sorted_out_by_the_limit_of_the_card():
    good, bad = Record("g", "c", "good"), Record("b", "c", "crack")
    scores = [0.1, 0.2, 0.5, 0.65, 0.15, 0.6, 0.7, 0.9]
    records = [good] * 4 + [bad] * 4
    pictures = [Scored(*x) for x in zip(records, scores, strict=True)]
    found = cases(pictures, CARD, 2, among=range(8))
    assert found == {  # three found, one missed, one false alarm
        "Most confident hits": [7, 6],
        "Weakest hits": [5, 6],
        "Missed anomalies": [4],
        "False alarms": [3],
        "Hardest normals without alarm": [2, 1],
    }


def test_cases_have_a_limit_for_each_category():
    pictures = [
        Scored(Record("a", "low", "good"), 1.0),
        Scored(Record("b", "low", "crack"), 2.0),
        Scored(Record("a", "high", "good"), 100.0),
        Scored(Record("b", "high", "crack"), 200.0),
    ]
    found = cases(pictures, card(low=1.0, high=100.0), 5, among=range(4))
    assert sorted(found["Most confident hits"]) == [1, 3]
    assert not found["Missed anomalies"]
    assert not found["False alarms"]


@pytest.mark.parametrize("defect", ["good", "crack"])
def test_one_class_alone_still_has_cases(defect):
    pictures = [Scored(Record(str(i), "c", defect), float(i)) for i in range(4)]
    found = cases(pictures, card(c=1.0), 5, among=[0, 2, 3])
    above, below = {
        "good": ("False alarms", "Hardest normals without alarm"),
        "crack": ("Most confident hits", "Missed anomalies"),
    }[defect]
    assert found[above] == [3, 2]
    assert found[below] == [0]


def test_without_normals_nothing_is_an_alarm():
    pictures = [Scored(Record(str(i), "c", "crack"), float(i)) for i in range(3)]
    none = Card("abc", {"c": Normals(np.zeros(0), np.zeros(0), "none")}, SCALE, 0.0)
    assert alarms(pictures, none) == []
    assert cases(pictures, none, 5, among=range(3))["Missed anomalies"] == [0, 1, 2]
    assert alarms(pictures, card(c=0.0)) == [2, 1]


def test_histogram_has_a_row_for_each_defect_or_for_each_kind_where_there_are_many():
    few = [Scored(Record("a", "c", d), i) for i, d in enumerate(("hole", "good", "crack", "hole"))]
    few = [Scored(record, float(score)) for record, score in few]
    found = groups(few)
    assert list(found) == ["good", "crack", "hole"]
    assert found["hole"].tolist() == [0.0, 3.0]
    many = [
        Scored(Record(str(i), "c", f"type{i}", "logical" if i % 2 else ""), 0.0) for i in range(30)
    ]
    assert {name: len(x) for name, x in groups(many).items()} == {"anomalous": 15, "logical": 15}


def test_report_has_every_picture_and_its_links_resolve(tmp_path):
    names = ["good/000", "good_000", "crack/孔 ü", "crack/../../x", "a?b\nc%20", "z\udcff" * 60]
    records = tuple(
        Record(name, "part", "good" if name.startswith("good") else "$x_{$ 裂") for name in names
    )
    report = Report(tmp_path / "new" / "report", records, CARD)
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    page = report.finish(evaluated(records, scores, report), title="<Run> & co")

    folder = tmp_path / "new" / "report"
    assert page == folder / "index.html"
    assert [p.name for p in tmp_path.iterdir()] == ["new"]
    text = page.read_text(encoding="utf-8")
    assert "&lt;Run&gt; &amp; co" in text
    assert "image AUROC" in text
    assert "crack/孔 ü" in text
    paths = Links(text).paths
    sizes = {path: image_size(folder / path) for path in paths}
    figures = {"grid.png", "histogram.png", "image_roc.png", "pixel_roc.png", "pro.png"}
    assert figures < set(paths)
    pictures = [path for path in paths if path.startswith("pictures/")]
    assert len(set(pictures)) == len(records)
    assert [int(path.split("/")[1][:5]) for path in pictures] == [5, 4, 3, 2, 1, 0]
    assert {sizes[path] for path in pictures} == {panels.Layout(24, 32).canvas[::-1]}


def test_report_of_several_categories_without_some_curves(tmp_path):
    records = [Record(f"{c}/{d}", c, d) for c in ("_a", "b$") for d in ("good", "dent")]
    records = (*records, Record("c/good", "c", "good"))  # undefined: no anomalous picture
    report = Report(tmp_path, records, CARD)
    page = report.finish(evaluated(records, [0.1, 0.9, 0.2, 0.3, 0.1], report))
    assert (page.parent / "pro.png").exists()


def test_report_of_normal_pictures_only_has_no_curves(tmp_path):
    records = (Record("a", "c", "good"), Record("b", "c", "good"))
    report = Report(tmp_path, records, CARD)
    page = report.finish(evaluated(records, [0.5, 0.5], report))
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["grid.png", "histogram.png"]
    assert "image_roc" not in page.read_text()


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot write the report.*choose a folder.*file/report"):
        Report(tmp_path / "file" / "report", (), CARD)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, None])
def test_full_disk_names_the_folder(tmp_path, monkeypatch, number):
    records = (Record("a", "c", "good"),)
    report = Report(tmp_path / "report", records, CARD)

    def save(*args, **keywords):
        raise OSError(number, "it broke") if number else OSError("encoder error")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(OSError, match=r"broke|encoder error") as caught:
        report.visit(0, picture(records[0], 0), np.zeros((24, 32), np.float32), 0.1)
    assert str(tmp_path / "report") in str(caught.value)
    assert "free some space" in str(caught.value)
    assert isinstance(caught.value, PermissionError) == (number == errno.EACCES)


def test_importing_the_report_leaves_matplotlib_alone():
    code = "import sys, jaxad.report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.data
def test_real_pictures_of_another_size_than_the_square_are_shown_whole(shared, tmp_path):
    from jaxad.data import mvtec

    test = mvtec.load(shared / "data" / "cookies").test
    index = next(i for i, record in enumerate(test.records) if record.label)
    item = test[index]
    report = Report(tmp_path, test.records, CARD)
    report.visit(index, item, item["mask"].astype(np.float32), 1.0)
    (path,) = (tmp_path / "pictures").iterdir()
    layout = panels.Layout(*item["mask"].shape)
    with Image.open(path) as panel:
        np.testing.assert_array_equal(np.asarray(panel.crop(layout.image)), item["image"])
