"""Heat maps, their scale, and the page of a run."""

import base64
import errno
import inspect
import re
import subprocess
import sys

import numpy as np
import pytest
from made_up import SCALE, card, data_of, evaluated, picture
from PIL import Image

from jaxad.data.images import image_size
from jaxad.data.source import Record
from jaxad.decision.card import Card, Normals
from jaxad.evaluation.results import Scored
from jaxad.progress import printable
from jaxad.report import heatmap, panels, sheets
from jaxad.report.alarms import alarms
from jaxad.report.heatmap import overlay
from jaxad.report.pages import Report, Style

CARD = card(any=0.55)


def grey_image(value: int, shape=(20, 30)) -> np.ndarray:
    return np.full((*shape, 3), value, np.uint8)


def lightness(colours: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colours in 0..255."""
    c = colours / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


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


def test_numbers_of_the_colour_bar_show_three_digits_of_their_span():
    assert panels.numbers((0.0099, 0.0569, 0.1038)) == ["0.0099", "0.0569", "0.1038"]
    assert panels.numbers((100.0, 150.4, 200.0)) == ["100", "150", "200"]
    assert panels.numbers((0.0, 5e-9, 1e-8)) == ["0.00e+00", "5.00e-09", "1.00e-08"]


def test_without_normals_nothing_is_an_alarm():
    pictures = [Scored(Record(str(i), "c", "crack"), float(i)) for i in range(3)]
    none = Card("abc", {"c": Normals(np.zeros(0), np.zeros(0), "none")}, SCALE, 0.0)
    assert alarms(pictures, none) == []
    assert alarms(pictures, card(c=0.0)) == [2, 1]


def test_the_page_has_every_picture_whatever_its_name(tmp_path):
    names = ["good/000", "good_000", "crack/孔 ü", "crack/../../x", "</script><b>", "z\udcff" * 60]
    records = tuple(
        Record(name, "<i>part", "good" if name.startswith("good") else "$x_{$ 裂</script>")
        for name in names
    )
    report = Report(tmp_path / "new" / "report", records, CARD)
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    page = report.finish(evaluated(records, scores, report), title="<Run> & co")
    assert page == tmp_path / "new" / "report" / "index.html"
    assert [p.name for p in page.parent.iterdir()] == ["index.html"]
    text = page.read_text(encoding="utf-8")
    assert "<title>&lt;Run&gt; &amp; co</title>" in text
    assert "&lt;i&gt;part" in text
    assert "<i>part" not in text
    found = data_of(page)["pictures"]
    assert found["name"] == [printable(name) for name in names]
    assert found["score"] == scores
    truth = [found["defects"][i] for i in found["defect"]]
    assert truth == ["good", "good"] + ["$x_{$ 裂</script>"] * 4


def test_each_picture_lies_on_the_sheets_where_the_page_says(tmp_path):
    records = [Record(str(i), "c", "crack" if i % 2 else "good") for i in range(40)]
    report = Report(tmp_path, records, CARD, Style("beside"))
    page = report.finish(evaluated(records, [i / 40 for i in range(40)], report))
    layers = data_of(page)["layers"]
    side, per = layers["side"], layers["across"] ** 2
    sheets = {}
    for index, record in enumerate(records):
        assert layers["size"][index] == [24, 32]
        assert (layers["at"]["truth"][index] >= 0) == bool(record.label)
        sheet, cell = divmod(layers["at"]["picture"][index], per)
        if sheet not in sheets:
            with Image.open(tmp_path / "sheets" / f"picture-{sheet:03d}.webp") as opened:
                sheets[sheet] = np.asarray(opened.convert("RGB"), float)
        top, left = cell // layers["across"] * side, cell % layers["across"] * side
        seen = sheets[sheet][top : top + 24, left : left + 32]
        apart = [np.abs(seen - picture(record, i)["image"]).mean() for i in range(40)]
        assert int(np.argmin(apart)) == index
    # The highest scores lie first: a page that is opened at its top wants few sheets.
    assert layers["at"]["picture"][::-1] == list(range(40))


def test_sheets_lie_inside_or_beside_with_the_same_content(tmp_path):
    records = [Record("a", "c", "good"), Record("b", "c", "crack")]
    found = {}
    for where in ("inside", "beside", "auto"):
        report = Report(tmp_path / where, records, CARD, Style(where))
        page = report.finish(evaluated(records, [0.1, 0.9], report))
        inside = re.findall(r'text/plain" id="(\w+-\d+)">([^<]*)<', page.read_text())
        found[where] = {name: base64.b64decode(text) for name, text in inside}
        for file in (tmp_path / where / "sheets").glob("*.webp"):
            sort, _, number = file.stem.partition("-")
            found[where][f"{sort}-{int(number)}"] = file.read_bytes()
    assert sorted(found["inside"]) == ["map-0", "picture-0", "truth-0"]
    assert found["inside"] == found["beside"] == found["auto"]
    assert not (tmp_path / "auto" / "sheets").exists()


def test_what_an_earlier_page_left_beside_itself_is_gone_and_nothing_else(tmp_path):
    records = [Record("a", "c", "good"), Record("b", "c", "crack")]
    for style in (Style("beside", full_size=True), Style("inside")):
        report = Report(tmp_path, records, CARD, style)
        report.finish(evaluated(records, [0.1, 0.9], report))
        if style.full_size:
            full = sorted(p.name for p in (tmp_path / "pictures").iterdir())
            assert full == [
                "00000_map.webp", "00000_picture.webp",
                "00001_map.webp", "00001_picture.webp", "00001_truth.webp",
            ]  # fmt: skip
            assert image_size(tmp_path / "pictures" / full[0]) == (24, 32)
            (tmp_path / "pictures" / "mine.png").write_text("kept")
    left = {p.name for p in tmp_path.rglob("*") if p.is_file()}
    assert left == {"mine.png", "index.html"}


def test_report_of_several_categories_without_some_curves(tmp_path):
    records = [Record(f"{c}/{d}", c, d) for c in ("_a", "b$") for d in ("good", "dent")]
    records = (*records, Record("c/good", "c", "good"))  # undefined: no anomalous picture
    report = Report(tmp_path, records, CARD)
    page = report.finish(evaluated(records, [0.1, 0.9, 0.2, 0.3, 0.1], report))
    data = data_of(page)
    assert [one["name"] for one in data["categories"]] == ["_a", "b$", "c"]
    assert {plot["title"]: sorted(plot["lines"]) for plot in data["curves"]} == {
        "ROC of pixels": ["_a", "b$"],
        "Per-region overlap (PRO)": ["_a", "b$"],
    }
    assert "are undefined: there are no anomalous test pictures" in page.read_text()


def test_report_of_normal_pictures_with_equal_scores(tmp_path):
    records = (Record("a", "c", "good"), Record("b", "c", "good"))
    report = Report(tmp_path, records, CARD)
    page = report.finish(evaluated(records, [0.5, 0.5], report))
    assert data_of(page)["curves"] == []
    assert "0 of 2" in page.read_text()  # false alarms


def test_nothing_is_loaded_from_elsewhere(tmp_path):
    records = (Record("a", "c", "good"), Record("b", "c", "crack"))
    report = Report(tmp_path, records, CARD)
    text = report.finish(evaluated(records, [0.1, 0.9], report)).read_text()
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', text) == []
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot write the report.*choose a folder.*file/report"):
        Report(tmp_path / "file" / "report", (), CARD)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, None])
def test_full_disk_names_the_folder(tmp_path, monkeypatch, number):
    records = (Record("a", "c", "good"),)
    report = Report(tmp_path / "report", records, CARD)

    def write(*args, **keywords):
        raise OSError(number, "it broke") if number else OSError("encoder error")

    monkeypatch.setattr(sheets.Spool, "add", write)
    with pytest.raises(OSError, match=r"broke|encoder error") as caught:
        report.visit(0, picture(records[0], 0), np.zeros((24, 32), np.float32), 0.1)
    assert str(tmp_path / "report") in str(caught.value)
    assert "free some space" in str(caught.value)
    assert isinstance(caught.value, PermissionError) == (number == errno.EACCES)


def test_importing_the_report_leaves_matplotlib_alone():
    code = "import sys, jaxad.report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
