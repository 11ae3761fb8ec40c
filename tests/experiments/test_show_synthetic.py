"""The sheet of synthetic anomalies: what it refuses, and what is on it."""

import shlex

import numpy as np
import pytest
from PIL import Image
from scripts import category, script

from jaxad.data.outline import OUTLINE


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--aux ''", "the folder of --aux is empty"),
        ("--foreground-masks ''", "the folder of --foreground is empty"),
        ("--foreground part --foreground-masks nowhere", "no use for foreground pictures"),
        ("--size 100", "size=100 does not fit the strides"),
        ("--guidance nan", "guidance=nan"),
        ("--t-boundary 1000", "t_boundary=1000"),
        ("--texture dtd", "Unrecognized options: --texture"),
    ],
)
def test_wrong_settings_are_named(tmp_path, words, message):
    data = category(tmp_path / "square")
    with pytest.raises(ValueError, match=message):
        script("show_synthetic").main([str(data), str(tmp_path / "out.png"), *shlex.split(words)])


def test_a_folder_and_a_file_are_needed(tmp_path):
    with pytest.raises(ValueError, match=r"expected FOLDER OUT\.png before the options, found 'x'"):
        script("show_synthetic").main(["x", "--size", "64"])
    for name in ("one", "two"):
        category(tmp_path / "several" / name)
    words = [str(tmp_path / "several"), str(tmp_path / "out.png"), "--foreground", "part"]
    with pytest.raises(ValueError, match="expected one category, not one, two"):
        script("show_synthetic").main([*words, "--size", "64"])


@pytest.mark.slow
def test_the_sheet_shows_pictures_damaged_and_before(tmp_path):
    data, out = category(tmp_path / "square"), tmp_path / "deep" / "out.png"
    script("show_synthetic").main([str(data), str(out), "--size", "64"])
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet).reshape(4, 2, 64, 8 * 64, 3)
    outlined = (pixels == OUTLINE).all(-1).sum((0, 2, 3))
    assert outlined[0] > 100
    assert outlined[1] == 0
    assert len(list((tmp_path / "deep" / "foreground" / "masks").rglob("*.png"))) == 4
