"""Pictures in other places, formats and depths than expected: used, refused or warned of."""

import logging
import os
import shutil
import unicodedata
from collections import Counter

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxad.data import folder, layouts, loco, mvtec, walk
from jaxad.data.reading import Reading


def counts(data):
    tested = Counter(record.defect for record in data.test.records)
    return len(data.train) + len(data.heldout), tested["good"], tested["crack"]


def test_the_pictures_are_those_that_were_drawn(cracked):
    data = mvtec.load(cracked)
    assert counts(data) == (6, 3, 3)
    assert not data.passed_over


def test_broken_links_are_bad_files(cracked, caplog):
    for i in range(3):
        path = cracked / "train" / "good" / f"{i:03}.png"
        path.unlink()
        path.symlink_to(cracked / "moved" / path.name)
    with pytest.raises(ValueError, match=r"3 of 12 pictures(.|\n)*000\.png: a link to .*moved"):
        mvtec.load(cracked)
    data = mvtec.load(cracked, on_bad_image="skip")
    assert counts(data) == (3, 3, 3)
    assert len(data.train.skipped) == 3


@pytest.mark.parametrize("suffix", [".jfif", ".gif", ".avif", ".JPE", ".jp2", ".qoi", ".tga"])
def test_what_pillow_reads_is_used(cracked, suffix):
    for path in sorted((cracked / "test" / "crack").iterdir()):
        Image.open(path).save(path.with_suffix(suffix.lower()))
        path.unlink()
        path.with_suffix(suffix.lower()).rename(path.with_suffix(suffix))
    assert counts(mvtec.load(cracked)) == (6, 3, 3)


def test_files_that_are_no_pictures_are_named(cracked):
    for name in ("notes.txt", "test/crack/004.heic", "train/good/model.npy", "train/Thumbs.db"):
        (cracked / name).write_bytes(b"x")
    left = mvtec.load(cracked).passed_over
    assert {one.path.name for one in left} == {"notes.txt", "004.heic", "model.npy"}
    assert {one.reason for one in left} == {"no picture, by its name"}


def test_pictures_in_folders_below_are_used_with_their_masks(cracked):
    for place in ("test/crack", "ground_truth/crack", "train/good", "test/good"):
        (cracked / place / "line 2" / "Tuesday").mkdir(parents=True)
        for path in sorted((cracked / place).glob("00[12]*")):
            path.rename(cracked / place / "line 2" / "Tuesday" / path.name)
    data = mvtec.load(cracked)
    assert counts(data) == (6, 3, 3)
    names = {record.name for record in data.test.records}
    assert {"crack/000", "crack/line 2/Tuesday/001", "good/line 2/Tuesday/002"} <= names
    assert all(data.test[i]["mask"].sum() == 14 * 14 * data.test[i]["label"] for i in range(6))


@pytest.mark.parametrize("place", ["test", "train"])
def test_loose_pictures_are_refused_and_told_where_they_belong(cracked, place):
    shutil.copy(cracked / "test" / "crack" / "000.png", cracked / place / "new.png")
    with pytest.raises(ValueError, match=rf"{place} itself, 1 of them.*new\.png.*{place}/good"):
        mvtec.load(cracked)


def test_other_folders_with_pictures_are_named(cracked):
    for place in ("train/bad", "test_private", "unsorted/today"):
        (cracked / place).mkdir(parents=True)
        shutil.copy(cracked / "test" / "crack" / "000.png", cracked / place / "0.png")
    left = mvtec.load(cracked).passed_over
    assert {one.path.parent.name for one in left} == {"bad", "test_private", "today"}
    assert {one.reason for one in left} == {"in no folder that is read"}


@pytest.mark.parametrize(
    ("old", "new", "meant"),
    [
        ("train", "Train", "train"),
        ("ground_truth", "GroundTruth", "ground_truth"),
        ("ground_truth", "masks", "ground_truth"),
        ("test", "testing", "test"),
        ("test/good", "test/non_defective", "good"),
        ("test/good", "test/Good_1", "good"),
        ("train/good", "train/defect-free", "good"),
    ],
)
def test_a_folder_that_is_nearly_called_as_one_that_is_read_is_refused(cracked, old, new, meant):
    (cracked / old).rename(cracked / new)
    with pytest.raises(ValueError, match=rf"{os.path.basename(new)}(.|\n)*{meant}"):
        mvtec.load(cracked)


def test_a_second_folder_of_nearly_the_same_name_is_refused(cracked):
    shutil.copytree(cracked / "train", cracked / "Train")
    with pytest.raises(ValueError, match=r"Train: .*'train'"):
        mvtec.load(cracked)


def test_a_category_beside_others_that_is_laid_out_nearly_as_they_is_refused(cracked):
    shutil.copytree(cracked, cracked.parent / "other")
    (cracked.parent / "other" / "train").rename(cracked.parent / "other" / "Training")
    taken = layouts.categories(cracked.parent)
    assert taken == [cracked]
    with pytest.raises(ValueError, match=r"other/Training.*'train'"):
        layouts.beside(cracked.parent, taken)


def test_a_category_with_another_one_inside_is_itself_learned_from(cracked):
    shutil.copytree(cracked, cracked.parent / "copy")
    shutil.move(cracked.parent / "copy", cracked / "backup")
    assert layouts.categories(cracked) == []
    assert layouts.categories(cracked.parent) == [cracked]
    data = layouts.load(cracked)
    assert counts(data) == (6, 3, 3)
    assert {one.path.relative_to(cracked).parts[0] for one in data.passed_over} == {"backup"}


def test_pictures_beside_categories_are_named(cracked):
    shutil.copy(cracked / "test" / "crack" / "000.png", cracked.parent / "a.png")
    (cracked.parent / "new").mkdir()
    shutil.copy(cracked / "test" / "crack" / "000.png", cracked.parent / "new" / "b.png")
    left = layouts.beside(cracked.parent, layouts.categories(cracked.parent))
    assert [one.path.name for one in left] == ["a.png", "b.png"]


def test_names_in_two_forms_of_unicode_are_the_same(cracked):
    composed, apart = (unicodedata.normalize(form, "Gerät") for form in ("NFC", "NFD"))
    assert composed != apart
    (cracked / "test" / "crack" / "000.png").rename(cracked / "test" / "crack" / f"{apart}.png")
    masks = cracked / "ground_truth" / "crack"
    (masks / "000_mask.png").rename(masks / f"{composed}_mask.png")
    data = mvtec.load(cracked)
    place = [record.name for record in data.test.records].index(f"crack/{composed}")
    assert data.test[place]["mask"].sum() == 14 * 14
    shutil.copy(
        cracked / "test" / "crack" / f"{apart}.png", cracked / "test" / "crack" / f"{composed}.png"
    )
    with pytest.raises(ValueError, match="two pictures of one name"):
        mvtec.load(cracked)


def test_links_to_folders_are_followed_but_not_in_a_circle(cracked, tmp_path):
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    (photographs / "good").symlink_to(cracked / "test" / "good", target_is_directory=True)
    (photographs / "again").symlink_to(photographs, target_is_directory=True)
    assert len(folder.photographs(photographs)) == 3
    (cracked / "train" / "good" / "up").symlink_to(cracked, target_is_directory=True)
    assert counts(mvtec.load(cracked)) == (6, 3, 3)


def test_what_a_run_wrote_among_the_pictures_is_not_learned_from_but_named(cracked):
    run = cracked / "train" / "good" / "runs" / "first"
    (run / "report" / "pictures").mkdir(parents=True)
    (run / "run.json").write_text("{}")
    shutil.copy(cracked / "test" / "crack" / "000.png", run / "report" / "pictures" / "0.png")
    for data in (mvtec.load(cracked), folder.load(cracked / "train" / "good")):
        assert len(data.train) + len(data.heldout) == 6
        assert {one.reason for one in data.passed_over} == {"in the folder of a run or its results"}
        assert {one.path.name for one in data.passed_over} == {"run.json", "0.png"}


def test_a_loco_category_is_known_by_its_configuration(cracked):
    (cracked / loco.CONFIG).write_text("[]")
    with pytest.raises(ValueError, match=r"structural_anomalies(.|\n)*crack"):
        layouts.load(cracked)


@pytest.mark.parametrize("name", ["train", "bad", "ground truth", "defects"])
def test_a_folder_of_normal_pictures_with_others_below_is_refused(cracked, name):
    normal = cracked / "train" / "good"
    shutil.copytree(cracked / "test" / "crack", normal / name)
    with pytest.raises(ValueError, match=name):
        folder.load(normal)
    data = folder.load(normal, test_anomalous=normal / name)
    assert counts(data)[0] == 6
    assert len(data.test) == 3


def test_pictures_below_a_plain_folder_are_used(cracked):
    normal = cracked / "train" / "good"
    (normal / "monday").mkdir()
    (normal / "000.png").rename(normal / "monday" / "000.png")
    data = folder.load(normal)
    assert len(data.train) + len(data.heldout) == 6


@pytest.mark.parametrize("kind", ["tif", "gif", "webp", "png"])
def test_files_of_several_pictures_are_refused(cracked, kind):
    path = cracked / "train" / "good" / f"many.{kind}"
    frames = [Image.fromarray(np.full((8, 8, 3), 60 * i, np.uint8)) for i in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=rf"many\.{kind}.*3 pages or frames"):
        mvtec.load(cracked)


def test_smaller_versions_in_a_tiff_are_no_other_pictures(cracked):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = cracked / "train" / "good" / "pyramid.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, photometric="rgb")
        file.write(pixels[::2, ::2], photometric="rgb", subfiletype=1)
    assert counts(mvtec.load(cracked)) == (7, 3, 3)


def test_a_picture_of_more_pixels_than_allowed_is_refused_or_used(cracked):
    with pytest.raises(ValueError, match=r"12 of 12(.|\n)*64 x 64 pixels are more than max_pixels"):
        mvtec.load(cracked, reading=Reading(max_pixels=1000))
    large = Image.new("L", (16000, 12000))
    large.save(cracked / "train" / "good" / "large.png", compress_level=1)
    with pytest.raises(ValueError, match=r"large\.png.* more than max_pixels="):
        mvtec.load(cracked)
    assert counts(mvtec.load(cracked, reading=Reading(max_pixels=200_000_000))) == (7, 3, 3)


def test_training_pictures_of_one_colour_are_named(cracked, caplog):
    Image.new("RGB", (64, 64), (7, 7, 7)).save(cracked / "train" / "good" / "flat.png")
    with caplog.at_level(logging.WARNING):
        for seed in range(3):
            mvtec.load(cracked, seed=seed)
    assert "1 of 7 training pictures" in caplog.text
    assert "flat.png" in caplog.text


def deepened(root, bits, colour):
    """The same pictures with so many significant bits in files of 16."""
    for path in walk.list_images(root, recursive=True):
        if "ground_truth" in path.parts:
            continue
        pixels = np.array(Image.open(path)).astype(np.uint16)
        deep = (pixels.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint16)
        path.unlink()
        if colour:
            tifffile.imwrite(path.with_suffix(".tif"), deep, photometric="rgb")
        else:
            Image.fromarray(deep[..., 0]).save(path)


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("colour", [False, True])
def test_few_significant_bits_are_warned_about_and_used_in_full(cracked, bits, colour, caplog):
    eight = [mvtec.load(cracked).test[i]["image"] for i in range(6)]
    deepened(cracked, bits, colour)
    with caplog.at_level(logging.WARNING):
        dark = mvtec.load(cracked)
    assert f"--bits {bits}" in caplog.text
    assert len(np.unique(dark.test[0]["image"])) < 10
    for chosen in (bits, "auto"):
        data = mvtec.load(cracked, reading=Reading(bits=chosen))
        assert data.preprocessing["part"].reading.bits == bits
        for i in range(6):
            image = data.test[i]["image"].astype(int)
            wanted = eight[i] if colour else np.repeat(eight[i][..., :1], 3, -1)
            assert np.abs(image - wanted).max() <= 1
    with pytest.raises(ValueError, match=r"12 of 12(.|\n)*highest of bits=9"):
        mvtec.load(cracked, reading=Reading(bits=9))


def test_transparency_does_not_count_as_significant_bits(cracked, caplog):
    for path in sorted((cracked / "train" / "good").iterdir()):
        pixels = np.array(Image.open(path)).astype(np.uint16) * 16
        alpha = np.full((64, 64, 1), 65535, np.uint16)
        path.unlink()
        deep = np.concatenate([pixels, alpha], -1)
        tifffile.imwrite(path.with_suffix(".tif"), deep, photometric="rgb", extrasamples=[2])
    data = mvtec.load(cracked, reading=Reading(bits="auto"))
    assert data.preprocessing["part"].reading.bits == 12


def test_bits_of_8_bit_pictures_need_no_decision(cracked, caplog):
    data = mvtec.load(cracked, reading=Reading(bits="auto"))
    assert data.preprocessing["part"].reading.bits is None
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        mvtec.load(cracked, reading=Reading(bits=12))
    assert not caplog.messages


def test_of_many_files_an_even_sample_is_looked_at(cracked, monkeypatch, caplog):
    monkeypatch.setattr("jaxad.data.checks.HEADERS", 5)
    with caplog.at_level(logging.INFO):
        data = mvtec.load(cracked)
    assert "looked at 5 of 12 files, spread evenly" in caplog.text
    assert counts(data) == (6, 3, 3)


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_a_copy_that_was_broken_off_is_refused_though_it_has_its_size(cracked, kind):
    path = cracked / "train" / "good" / f"broken{kind}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    with pytest.raises(ValueError, match=rf"broken\{kind}.*its end is missing"):
        mvtec.load(cracked)
    if kind == ".jpg":  # a marker may have more of its first byte before it
        content = content[:2] + b"\xff\xff" + content[2:]
    path.write_bytes(content + bytes(500))  # some cameras add something
    assert counts(mvtec.load(cracked)) == (7, 3, 3)


def test_a_folder_of_normal_pictures_within_a_type_of_defect_is_refused(cracked):
    shutil.move(cracked / "test" / "good", cracked / "test" / "crack" / "good")
    with pytest.raises(ValueError, match=r"inside of one that counts as a type(.|\n)*crack/good"):
        mvtec.load(cracked)
    with pytest.raises(ValueError, match="'crack/good' and other pictures beside it"):
        folder.load(cracked / "test")


def test_a_file_is_not_learned_from_and_tested_on(cracked):
    (cracked / "test" / "good" / "link.png").symlink_to(cracked / "train" / "good" / "000.png")
    with pytest.raises(ValueError, match=r"to learn from and to test on at once:\n.*link\.png"):
        mvtec.load(cracked)


def test_bits_of_the_training_pictures_must_do_for_the_others(cracked, caplog):
    deepened(cracked, 10, colour=False)
    path = cracked / "test" / "crack" / "000.png"
    Image.fromarray(np.array(Image.open(path)) + np.uint16(3000)).save(path)
    with pytest.raises(ValueError, match=r"crack/000\.png.*1023 is the highest of bits=10"):
        mvtec.load(cracked, reading=Reading(bits="auto"))
    data = mvtec.load(cracked, on_bad_image="skip", reading=Reading(bits="auto"))
    assert counts(data) == (6, 3, 2)
    assert [one.path.name for one in data.test.skipped] == ["000.png"]


def test_a_hot_pixel_does_not_hide_that_few_bits_are_used(cracked, caplog):
    deepened(cracked, 12, colour=False)
    path = cracked / "train" / "good" / "000.png"
    pixels = np.array(Image.open(path))
    pixels[3, 3] = 65535
    Image.fromarray(pixels).save(path)
    with caplog.at_level(logging.WARNING):
        mvtec.load(cracked)
    assert "--bits 12" in caplog.text


def test_a_name_that_is_no_text_is_refused(cracked):
    os.rename(
        cracked / "train" / "good" / "000.png",
        os.fsencode(cracked / "train" / "good") + b"/caf\xe9.png",
    )
    with pytest.raises(ValueError, match=r"caf\\udce9\.png.*no UTF-8; rename it"):
        mvtec.load(cracked)
