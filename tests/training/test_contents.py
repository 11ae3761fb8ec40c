"""Files that a run learned from, looked at when it goes on."""

import json
import os
import shutil

import jax
import numpy as np
import pytest
from PIL import Image
from scripts import category

import jaxad
from jaxad.data import multiclass, mvtec, prepared
from jaxad.methods import autoencoder
from jaxad.training import contents

CFG = autoencoder.Config(size=32, batch_size=2, steps=2, widths=(4, 8))


def trained(data, folder, steps=2):
    cfg = autoencoder.Config(size=32, batch_size=2, steps=steps, widths=(4, 8))
    return jaxad.run(autoencoder.DETECTOR, cfg, {}, data, jax.random.key(0), folder)


@pytest.fixture
def folder(tmp_path):
    return category(tmp_path / "squares")


def replaced(path):
    """Another picture of the same size in bytes."""
    before = path.stat().st_size
    pixels = np.array(Image.open(path))
    pixels[:2] ^= 1
    Image.fromarray(pixels).save(path)
    with open(path, "ab") as file:
        file.write(bytes(max(0, before - path.stat().st_size)))


@pytest.mark.parametrize("steps", [2, 4])
def test_a_run_does_not_go_on_with_replaced_pictures(folder, tmp_path, steps):
    trained(mvtec.load(folder), tmp_path / "run")
    replaced(folder / "train" / "good" / "1.png")
    with pytest.raises(ValueError, match=r"1 picture; (.|\n)*good/1\.png"):
        trained(mvtec.load(folder), tmp_path / "run", steps)


def test_a_run_goes_on_with_a_copy_of_its_pictures(folder, tmp_path):
    trained(mvtec.load(folder), tmp_path / "run")
    shutil.move(folder, tmp_path / "elsewhere" / "squares")
    for path in (tmp_path / "elsewhere" / "squares" / "train" / "good").iterdir():
        os.utime(path, (1, 1))
    data = mvtec.load(tmp_path / "elsewhere" / "squares")
    assert trained(data, tmp_path / "run", 4).step == 4
    replaced(tmp_path / "elsewhere" / "squares" / "train" / "good" / "0.png")
    with pytest.raises(ValueError, match="replaced by others of the same names"):
        trained(mvtec.load(tmp_path / "elsewhere" / "squares"), tmp_path / "run", 6)


@pytest.mark.parametrize("whole", [True, False])
def test_what_this_process_has_not_read_is_noted_at_the_end(folder, tmp_path, whole):
    """Workers that read pictures keep their checksums to themselves."""
    try:
        with contents.kept(tmp_path, [mvtec.load(folder)]):
            if not whole:
                raise RuntimeError
    except RuntimeError:
        pass
    for path in folder.rglob("*.png"):
        os.utime(path, (1, 1))
    if whole:
        contents.check(tmp_path, [mvtec.load(folder)])
    else:
        with pytest.raises(ValueError, match="changed or copied, and it had not noted"):
            contents.check(tmp_path, [mvtec.load(folder)])
    replaced(folder / "train" / "good" / "1.png")
    with pytest.raises(ValueError, match=r"replaced by others|had not noted"):
        contents.check(tmp_path, [mvtec.load(folder)])


def test_a_set_of_many_bytes_is_not_read_for_that(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "READ", 0)
    with contents.kept(tmp_path, [mvtec.load(folder)]):
        pass
    rows = json.loads((tmp_path / contents.FILE).read_text()).values()
    assert {checksum for _, _, checksum in rows} == {None}
    contents.check(tmp_path, [mvtec.load(folder)])


def test_a_renamed_folder_is_said_to_be_one(folder, tmp_path):
    trained(mvtec.load(folder), tmp_path / "run")
    data = mvtec.load(folder.rename(tmp_path / "circles"))
    with pytest.raises(
        ValueError, match="category is called 'squares' there, 'circles' now, or its folder"
    ) as refused:
        trained(data, tmp_path / "run")
    assert "ImageFolder" not in str(refused.value)


def test_a_picture_that_is_replaced_meanwhile_is_refused(folder):
    train = mvtec.load(folder).train
    train[0]
    replaced(train.files[0].path)
    with pytest.raises(ValueError, match="it was replaced meanwhile"):
        train[0]


def test_other_files_of_streams_and_of_several_categories_are_looked_at_too(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "b")
    data = multiclass.pooled({"a": mvtec.load(folder), "b": mvtec.load(tmp_path / "b")})
    data = data.with_streams(aux=mvtec.load(folder).train)
    with contents.kept(tmp_path, [data]):
        data.train[0]
    contents.check(tmp_path, [data])
    replaced(tmp_path / "b" / "train" / "good" / "2.png")
    other = multiclass.pooled({"a": mvtec.load(folder), "b": mvtec.load(tmp_path / "b")})
    with pytest.raises(ValueError, match=r"b/train/good/2\.png"):
        contents.check(tmp_path, [other])
    replaced(folder / "test" / "good" / "0.png")
    replaced(data.streams["aux"].files[0].path)
    stream = mvtec.load(folder).train  # the one before was not read
    with pytest.raises(ValueError, match="had not noted yet what is in them, since"):
        contents.check(tmp_path, [data._replace(streams={"aux": stream})])


def test_arrays_of_a_file_are_told_apart(tmp_path):
    def written(seed):
        rng = np.random.default_rng(seed)
        arrays = {
            "x_train": rng.integers(0, 255, (6, 8, 8, 3), np.uint8), "y_train": np.arange(6) % 2,
            "x_test": rng.integers(0, 255, (4, 8, 8, 3), np.uint8), "y_test": np.arange(4) % 2,
        }  # fmt: skip
        np.savez(tmp_path / "set.npz", classes=np.array(["a", "b"]), **arrays)
        return prepared.one_class(prepared.load(tmp_path / "set.npz"), "a")

    with contents.kept(tmp_path, [written(0)]):
        pass
    contents.check(tmp_path, [written(0)])
    with pytest.raises(ValueError, match=r"set\.npz"):
        contents.check(tmp_path, [written(1)])


def test_a_damaged_record_of_pictures_is_named(folder, tmp_path):
    (tmp_path / contents.FILE).write_text("{")
    with pytest.raises(ValueError, match=r"pictures\.json is damaged"):
        contents.check(tmp_path, [mvtec.load(folder)])


@pytest.mark.parametrize("select", ["last", "heldout"])
def test_one_picture_is_enough_unless_held_out_ones_are_needed(tmp_path, select):
    data = mvtec.load(category(tmp_path / "squares", normal=1))
    assert len(data.heldout) == 0
    if select == "last":
        assert trained(data, tmp_path / "run").step == 2
        return
    with pytest.raises(ValueError, match="held-out normal pictures: 1 to learn from"):
        jaxad.fit(autoencoder.DETECTOR, CFG, {}, data, jax.random.key(0), select=select)


def test_a_method_that_is_calibrated_refuses_to_go_without_held_out_pictures(tmp_path):
    data = mvtec.load(category(tmp_path / "squares", normal=1))
    calibrated = autoencoder.DETECTOR._replace(calibrate=lambda cfg, pretrained, state, x: state)
    with pytest.raises(ValueError, match="calibrated on held-out normal pictures"):
        jaxad.fit(calibrated, CFG, {}, data, jax.random.key(0))
