"""Pictures of a prediction on disk, and the page about many of them."""

import html.parser
import pathlib
import urllib.parse

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxad.decision.card import Judgement
from jaxad.decision.predictor import Finding
from jaxad.decision.scale import Scale
from jaxad.report import outputs, predictions

SCALE = Scale(1.0, 5.0)
KINDS = ("overlays", "masks", "maps")


def picture(shape=(30, 40), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def finding(map, labels=None):
    """A finding of this map; its regions, too, if they are told."""
    labels = np.zeros(map.shape, np.int32) if labels is None else labels
    return Finding(Judgement(0.0, None, None, None), [], map.astype(np.float32), labels)


def random_map(shape=(30, 40)):
    return np.random.default_rng(1).normal(3, 2, shape)


def test_an_array_holds_the_map_exactly(tmp_path):
    map = (random_map() * np.logspace(-30, 30, 40)).astype(np.float32)
    outputs.write(tmp_path, "a.png", picture(), finding(map), SCALE, ("maps",), "npy")
    found = np.load(tmp_path / "maps" / "a.png.npy")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, map)


def test_16_bits_go_from_the_scales_low_to_its_high(tmp_path):
    values = np.linspace(SCALE.low - 1, SCALE.high + 1, 601)  # 1, 3 and 5 are among them
    map = np.stack([values, values[::-1]])
    image = picture(map.shape)
    outputs.write(tmp_path, "a.png", image, finding(map), SCALE, ("maps",), "tiff")
    found = tifffile.imread(tmp_path / "maps" / "a.png.tiff")
    assert (found.dtype, found.shape) == (np.uint16, map.shape)
    row = found[0].astype(int)
    np.testing.assert_array_equal(row, found[1, ::-1])
    assert (np.diff(row) >= 0).all()
    assert set(row[values <= SCALE.low]) == {0}
    assert set(row[values >= SCALE.high]) == {65535}
    inside = (values > SCALE.low) & (values < SCALE.high)
    assert (np.diff(row[inside]) > 0).all()
    np.testing.assert_allclose(row[inside], (values[inside] - 1) / 4 * 65535, atol=0.6)
    with Image.open(tmp_path / "maps" / "a.png.tiff") as opened:  # other programs read it too
        np.testing.assert_array_equal(np.asarray(opened), found)


def test_masks_are_white_where_a_region_is_and_nowhere_else(tmp_path):
    labels = np.zeros((30, 40), np.int32)
    labels[2:5, 3:9], labels[20:28, 30:40], labels[12, 12] = 1, 2, 300
    one = finding(random_map(), labels)
    outputs.write(tmp_path, "a.png", picture(), one, SCALE, ("masks",))
    with Image.open(tmp_path / "masks" / "a.png.png") as mask:
        assert mask.mode == "L"
        np.testing.assert_array_equal(np.asarray(mask), np.where(labels, 255, 0))


def test_an_overlay_is_the_picture_in_grey_with_colours_where_the_map_is_high(tmp_path):
    image, map = picture(), np.full((30, 40), SCALE.low)
    map[:, 20:] = SCALE.high
    outputs.write(tmp_path, "a.png", image, finding(map), SCALE, ("overlays",))
    with Image.open(tmp_path / "overlays" / "a.png.png") as opened:
        assert opened.size == (40, 30)
        heat = np.asarray(opened)
    grey = np.asarray(Image.fromarray(image).convert("L"))
    np.testing.assert_array_equal(heat[:, :20], np.stack([grey[:, :20]] * 3, -1))
    assert (heat[:, 20:, 0] > heat[:, 20:, 2]).all()  # yellow


def test_regions_are_outlined_just_outside_of_them(tmp_path):
    labels = np.zeros((30, 40), np.int32)
    labels[8:22, 10:30] = 1
    flat = np.full((30, 40), SCALE.low)
    heats = []
    for name, one in (("plain", finding(flat)), ("outlined", finding(flat, labels))):
        outputs.write(tmp_path, name, picture(), one, SCALE, ("overlays",))
        with Image.open(tmp_path / "overlays" / f"{name}.png") as opened:
            heats.append(np.asarray(opened))
    changed = (heats[0] != heats[1]).any(-1)
    assert changed[7, 9:31].all()
    assert changed[22, 9:31].all()
    assert changed[7:23, 9].all()
    assert changed[7:23, 30].all()
    assert not changed[8:22, 10:30].any()  # what is in it stays to be looked at


def test_only_what_is_asked_for_is_written_under_the_pictures_name(tmp_path):
    for name in ("a.png", "deep/er/ü ö.tif", "a.b"):
        outputs.write(tmp_path, name, picture(), finding(random_map()), SCALE, KINDS)
    outputs.write(tmp_path, "only.png", picture(), finding(random_map()), SCALE, ("masks",))
    outputs.write(tmp_path, "none.png", picture(), finding(random_map()), SCALE, ())
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    names = ("a.png", "deep/er/ü ö.tif", "a.b")
    ends = {"overlays": "png", "masks": "png", "maps": "npy"}
    assert found == {
        *(f"{kind}/{name}.{end}" for kind, end in ends.items() for name in names),
        "masks/only.png.png",
    }  # so no .part either


def test_a_file_is_there_whole_or_as_it_was_before(tmp_path, monkeypatch):
    write = lambda map: outputs.write(
        tmp_path, "a.png", picture(), finding(map), SCALE, ("maps",), "npy"
    )
    write(random_map())
    write(random_map() + 1)
    file = tmp_path / "maps" / "a.png.npy"
    np.testing.assert_array_equal(np.load(file), (random_map() + 1).astype(np.float32))
    wrote = pathlib.Path.write_bytes

    def half(path, content):
        wrote(path, content[: len(content) // 2])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(pathlib.Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space left"):
        write(random_map() + 2)
    np.testing.assert_array_equal(np.load(file), (random_map() + 1).astype(np.float32))


class Page(html.parser.HTMLParser):
    """The cells of the page's table, its images, all its tags and its text."""

    def __init__(self, path):
        super().__init__()
        self.rows, self.sources, self.tags, self.said = [], [], [], ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "img":
            self.sources.append(dict(attributes)["src"])

    def handle_data(self, text):
        self.said += text
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += text.strip("\n") if not text.strip() else text

    @property
    def pictures(self):
        return [row[0] for row in self.rows[1:]]


def row(path, score=1.0, label="normal", **given):
    return {
        "path": path, "score": score, "percentile": 50.0, "p_value": 0.25, "label": label,
        "regions": [], **given,
    }  # fmt: skip


def page(folder, rows, title="a page", overlay=lambda path: None):
    return Page(predictions.write(folder, iter(rows), title, "plate: 3", overlay))


def test_the_highest_scores_come_first_and_no_more_than_can_be_looked_at(tmp_path):
    scores = np.random.default_rng(0).permutation(predictions.SHOWN + 50).tolist()
    labels = ["anomalous" if score > 199 else "normal" for score in scores]
    rows = [row(f"{x}.png", float(x), label) for x, label in zip(scores, labels, strict=True)]
    found = page(tmp_path, rows)
    expected = sorted(scores, reverse=True)[: predictions.SHOWN]
    assert found.pictures == [f"{score}.png" for score in expected]
    assert "200 normal, 50 anomalous. An alarm is a score above plate: 3" in found.said
    assert "The 200 highest of 250 scores, highest first" in found.said


def test_equal_scores_stay_in_their_order(tmp_path):
    names = [f"{i}.png" for i in range(predictions.SHOWN + 3)]
    assert page(tmp_path, [row(name) for name in names]).pictures == names[: predictions.SHOWN]


def test_a_row_tells_what_is_known_of_a_picture(tmp_path):
    regions = [{"box": [0, 0, 1, 1]}] * 3
    known = row("a.png", 1.23456789, "anomalous", percentile=99.5, p_value=0.005, regions=regions)
    unknown = row("b.png", -1e-9, None, percentile=None, p_value=None)
    found = page(tmp_path, [known, unknown])
    assert found.rows[1][:6] == ["a.png", "1.23457", "99.5", "0.005", "anomalous", "3"]
    assert found.rows[2][:6] == ["b.png", "-1e-09", "", "", "none", "0"]
    assert "1 anomalous, 1 without a label" in found.said
    assert "All pictures, highest first" in found.said


def test_pictures_that_cannot_be_used_are_counted_and_not_shown(tmp_path):
    bad = [{"path": f"bad{i}.png", "error": "cannot be read"} for i in range(3)]
    found = page(tmp_path, [bad[0], row("a.png"), *bad[1:], row("b.png", 2.0)])
    assert found.pictures == ["b.png", "a.png"]
    assert "3 cannot be used, 2 normal" in found.said
    assert "All pictures, highest first" in found.said


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ([{"path": "a.png", "error": "no"}], "1 cannot be used. An alarm"),
        pytest.param(
            [], "No pictures. An alarm",
        ),
    ],
)  # fmt: skip
def test_a_page_without_pictures_says_so(tmp_path, rows, counts):
    found = page(tmp_path, rows)
    assert found.pictures == []
    assert counts in found.said


def test_names_are_text_and_no_markup(tmp_path):
    plain = page(tmp_path, [row("a.png")] * 6)
    names = [
        '<script>alert("x")</script>.png', "<img onerror=x>.png", '"><b onclick="x">.png',
        "a&lt;b.png", "$title ${rows}.png", "zwei\nZeilen.png",
    ]  # fmt: skip
    found = page(tmp_path, [row(name) for name in names], "<i>$rows</i> & more")
    assert found.pictures == [*names[:-1], r"zwei\nZeilen.png"]
    assert found.tags == plain.tags
    assert "<i>$rows</i> & more" in found.said
    nameless = page(tmp_path, [row("\udcff.png")], overlay=lambda path: f"overlays/{path}.png")
    assert nameless.pictures == [r"\udcff.png"]  # no text in any encoding
    assert nameless.sources == ["overlays/%FF.png.png"]


def test_pictures_that_cannot_be_used_are_named_on_the_page(tmp_path):
    bad = [{"path": f"{i}.png", "error": f"{i}.png: <b>"} for i in range(predictions.SHOWN + 3)]
    found = page(tmp_path, [row("a.png"), *bad])
    assert "0.png: <b>" in found.said
    assert "and 3 more" in found.said
    assert found.tags.count("li") == predictions.SHOWN + 1
    assert "b" not in found.tags


def test_links_lead_to_the_files_whatever_these_are_called(tmp_path):
    names = ["a b.png", "100%.png", "x#1?.png", "deep/ü.png", '"><b>.png', "c&amp;d.png"]
    overlay = lambda path: None if path == "none.png" else f"overlays/{path}.png"
    found = page(tmp_path, [row(name) for name in [*names, "none.png"]], overlay=overlay)
    assert [urllib.parse.unquote(source) for source in found.sources] == [
        f"overlays/{name}.png" for name in names
    ]
    for source in found.sources:
        parts = urllib.parse.urlsplit(source)
        assert (parts.path, parts.query, parts.fragment) == (source, "", "")


def test_the_page_is_written_whole(tmp_path):
    page(tmp_path, [row("a.png")])
    assert page(tmp_path, [row("b.png")]).pictures == ["b.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
