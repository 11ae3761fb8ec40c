"""Shards give the very pictures, masks and splits of the folder that they were made of."""

import concurrent.futures
import json
import multiprocessing
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxad.data import (
    checks,
    folder,
    images,
    inspection,
    layouts,
    loco,
    packing,
    pipeline,
    shard_index,
    shards,
)
from jaxad.data.reading import Reading
from jaxad.data.source import Data, Stamp, stamps
from jaxad.detector import replace
from jaxad.methods import autoencoder


def mvtec_like(place, picture, mask):
    for name, count in (("train/good", 9), ("test/good", 2), ("test/crack/left", 2)):
        for i in range(count):
            picture(place / name / f"{i:03}.png")
    for i in range(2):
        mask(place / "ground_truth" / "crack" / "left" / f"{i:03}_mask.png")
    (place / "readme.txt").write_text("of no use")
    return place


def with_its_own_validation(place, picture, mask):
    mvtec_like(place, picture, mask)
    for i in range(3):
        picture(place / "validation" / "ok" / f"{i}.jpg")
    return place


def with_regions(place, picture, mask):
    for name, count in (("train/good", 4), ("validation/good", 2), ("test/good", 1)):
        for i in range(count):
            picture(place / name / f"{i}.png")
    for name, value in (("structural", 255), ("logical", 254)):
        picture(place / "test" / f"{name}_anomalies" / "0.png")
        for i, box in enumerate([(2, 6, 3, 9), (7, 9, 1, 12)]):
            truth = place / "ground_truth" / f"{name}_anomalies" / "0"
            mask(truth / f"{i}.png", value=value, box=box)
    row = {"defect_name": "some", "saturation_threshold": 20, "relative_saturation": False}
    half = {"defect_name": "half", "saturation_threshold": 0.5, "relative_saturation": True}
    config = [{**row, "pixel_value": 255}, {**half, "pixel_value": 254}]
    (place / loco.CONFIG).write_text(json.dumps(config))
    return place


def with_a_table(place, picture, mask):
    rows = ["object,split,label,image,mask"]
    for i in range(8):
        name = f"part/Data/Images/Normal/{i}.JPG"
        picture(place.parent / name)
        rows.append(f"part,{'train' if i < 6 else 'test'},normal,{name},")
    picture(place / "Data" / "Images" / "Anomaly" / "0.JPG")
    mask(place / "Data" / "Masks" / "Anomaly" / "0.png", value=3)
    rows.append("part,test,anomaly,part/Data/Images/Anomaly/0.JPG,part/Data/Masks/Anomaly/0.png")
    (place.parent / "split_csv").mkdir()
    (place.parent / "split_csv" / "1cls.csv").write_text("\n".join(rows) + "\n")
    return place


def with_ellipses(place, picture, mask):
    for part in ("Train", "Test"):
        for i in range(6):
            picture(place / part / f"{i:04}.PNG")
        mask(place / part / "Label" / "0002_label.PNG")
    return place


LAYOUTS = [mvtec_like, with_its_own_validation, with_regions, with_a_table, with_ellipses]


@pytest.fixture
def packed(tmp_path, picture, mask):
    """A category, and the folder of it in shards of one or a few records."""
    place = mvtec_like(tmp_path / "files" / "part", picture, mask)
    packing.pack({"part": layouts.listed(place)}, tmp_path / "shards", shard_size=2000)
    return place, tmp_path / "shards" / "part"


def everything(data: Data):
    """All that a data set gives, without the places of its files."""
    found = {"preprocessing": data.preprocessing}
    for split in ("train", "heldout", "test"):
        source = getattr(data, split)
        if source is None:
            continue
        found[split] = (repr(source), source.records, source.has_masks, source.has_regions)
        for i in range(len(source)):
            item = source[i]
            found[split, i] = {
                k: x.tolist() if hasattr(x, "tolist") else x for k, x in item.items()
            }
            if source.has_regions:
                found[split, i, "regions"] = [(x.mask.tolist(), x[1]) for x in source.regions(i)]
        told = {name: (stamp.size, stamp.modified) for name, stamp in stamps(source).items()}
        found[split, "stamps"] = told
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shards_of_every_layout_give_what_its_folder_gives(tmp_path, picture, mask, layout):
    place = layout(tmp_path / "files" / "part", picture, mask)
    packing.pack({"part": layouts.listed(place)}, tmp_path / "shards", shard_size=3000)
    for seed, heldout in ((0, 0.1), (3, 0.4)):
        files, same = (
            layouts.load(one, seed=seed, heldout=heldout)
            for one in (place, tmp_path / "shards" / "part")
        )
        assert everything(same) == everything(files)
        assert same.passed_over == ()


def test_shards_of_plain_folders_give_what_the_folders_give(tmp_path, picture, mask):
    for name in ("fine", "new", "bad/scratch", "bad/good/more"):
        for i in range(3):
            picture(tmp_path / name / f"{i}.png")
    for i in range(3):
        mask(tmp_path / "truth" / "scratch" / f"{i}.png")
    given = {
        "test_normal": tmp_path / "new", "test_anomalous": tmp_path / "bad",
        "masks": tmp_path / "truth",
    }  # fmt: skip
    packing.pack({"fine": folder.listed(tmp_path / "fine", **given)}, tmp_path / "shards")
    files = folder.load(tmp_path / "fine", **given)
    assert everything(layouts.load(tmp_path / "shards" / "fine")) == everything(files)


def test_files_are_kept_byte_for_byte(packed):
    place, folder_ = packed
    for path in sorted(place.rglob("*.png")):
        assert shards.content(folder_ / path.relative_to(place)) == path.read_bytes()
    assert shards.content(folder_ / "test" / "good" / "none.png") is None
    assert shards.content(place / "train" / "good" / "000.png") is None  # on disk
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        images.read_image(folder_ / "test" / "good" / "none.png")


def test_the_same_reading_is_settled_from_shards(tmp_path):
    place = tmp_path / "deep"
    for i in range(4):
        (place / "train" / "good").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 4096, (10, 14)).astype(np.uint16)
        Image.fromarray(pixels).save(place / "train" / "good" / f"{i}.png")
    region = np.zeros((10, 14), np.uint8)
    region[2:8, 3:9] = 255
    Image.fromarray(region).save(tmp_path / "region.png")
    packing.pack({"deep": layouts.listed(place)}, tmp_path / "shards")
    reading = replace(Reading(), bits="auto", fit="pad", region=str(tmp_path / "region.png"))
    files, same = (
        layouts.load(one, reading=reading) for one in (place, tmp_path / "shards" / "deep")
    )
    assert same.preprocessing["deep"].reading == files.preprocessing["deep"].reading
    assert same.preprocessing["deep"].reading.bits == 12
    for i in range(3):
        assert np.array_equal(same.train[i]["image"], files.train[i]["image"])
        assert np.array_equal(same.train[i]["view"].region, region > 0)


@pytest.mark.parametrize("workers", [0, 1])
def test_training_from_either_gives_the_same_batches(packed, workers):
    cfg = replace(autoencoder.Config(), size=16, batch_size=4, steps=3)
    several = []
    for one in packed:
        data = layouts.load(one)
        batches = iter(pipeline.train_batches(autoencoder.DETECTOR, cfg, data, 0, workers))
        several.append([next(batches) for _ in range(5)])
        batches.close()
    for files, same in zip(*several, strict=True):
        assert files.keys() == same.keys()
        assert all(np.array_equal(files[name], same[name]) for name in files)


def _picture(source, index):
    return source[index]["image"]


def test_a_source_of_shards_reads_in_another_process(packed):
    source = layouts.load(packed[1]).train
    assert repr(pickle.loads(pickle.dumps(source))) == repr(source)
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
        found = pool.submit(_picture, pickle.loads(pickle.dumps(source)), 2).result()
    assert np.array_equal(found, source[2]["image"])


def test_shards_are_read_by_relative_paths_too(packed, monkeypatch):
    expected = everything(layouts.load(packed[0]))
    for here in (packed[1], packed[1].parent):
        monkeypatch.chdir(here)
        data = layouts.load(packed[1].relative_to(here))
        assert everything(data) == expected
        assert not any(file.path.is_absolute() for file in data.train.files)
    assert shards.content("part//train/./good/000.png") is not None


def test_threads_read_one_shard_at_once(packed):
    test = layouts.load(packed[1]).train
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: test[i % len(test)]["image"], range(200)))
    assert all(np.array_equal(x, found[i % len(test)]) for i, x in enumerate(found))


def test_a_stamp_is_that_of_the_file_with_its_checksum(packed):
    place, folder_ = packed
    name = "train/good/003.png"
    stamp = shards.stamp(folder_ / name)
    assert stamp[:3] == (folder_ / name, *Stamp.of(place / name)[1:3])
    assert stamp.checksum is not None
    with pytest.raises(FileNotFoundError):
        shards.stamp(folder_ / "train" / "none.png")


def test_shards_end_at_their_size(packed):
    index = shard_index.index(packed[1])
    assert len(index.shards) > 3
    assert sum(one.records for one in index.shards) == 15  # 13 pictures, two masks
    sizes = {entry.size for row in shard_index.rows(packed[1], index) for entry in row.files}
    assert max(one.records for one in index.shards) * min(sizes) <= 2000


def test_bad_pictures_can_be_left_out(tmp_path, picture, mask):
    place = mvtec_like(tmp_path / "part", picture, mask)
    bad = place / "train" / "good" / "004.png"
    bad.write_bytes(bad.read_bytes()[:100])
    packing.pack({"part": layouts.listed(place)}, tmp_path / "shards", without=[bad])
    files = layouts.load(place, on_bad_image="skip")
    same = layouts.load(tmp_path / "shards" / "part")
    del (a := everything(files))["preprocessing"], (b := everything(same))["preprocessing"]
    assert b == a


def test_damage_is_found_by_a_look_at_all_files(packed):
    change(packed[1])
    whole = replace(Reading(), check_files=True)
    with pytest.raises(ValueError, match=r"1 of 9 pictures cannot be used[^$]*00000.array_record"):
        checks.checked(packing.listed(packed[1]).train, reading=whole)


def change(place, name="train/good/000.png"):
    """Changes one byte in the middle of a picture."""
    content = shards.content(place / name)
    shard = place / "00000.array_record"
    whole = bytearray(shard.read_bytes())
    whole[whole.index(content) + len(content) // 2] ^= 1
    shard.write_bytes(whole)


def test_a_changed_byte_is_told_with_shard_and_picture(packed):
    change(packed[1])
    shards._reader.cache_clear()
    told = r"00000.array_record: record 0, train/good/000.png, is not what was packed"
    with pytest.raises(ValueError, match=told):
        images.read_image(packed[1] / "train" / "good" / "000.png")
    data = layouts.load(packed[1], on_bad_image="skip")  # what can be read is used
    assert len(data.train) + len(data.heldout) == 8


def test_a_missing_shard_is_named_with_what_was_expected(packed):
    (packed[1] / "00001.array_record").unlink()
    with pytest.raises(FileNotFoundError, match=r"00001.array_record is missing, with \d+ records"):
        layouts.load(packed[1])


def test_a_truncated_shard_is_named_with_what_was_expected(packed):
    shard = packed[1] / "00001.array_record"
    size = shard.stat().st_size
    shard.write_bytes(shard.read_bytes()[:1000])
    told = f"00001.array_record has 1000 bytes instead of {size}, with "
    with pytest.raises(ValueError, match=told):
        layouts.load(packed[1])


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        ("shards.json", lambda text: text[:40], "shards.json is damaged"),
        ("shards.json", lambda text: "[]", "shards.json is damaged"),
        ("shards.json", lambda text: text.replace('"records"', '"r"'), "shards.json is damaged"),
        ("shards.json", lambda text: text.replace('"format": 1', '"format": 2'), "a later one"),
        ("listing.jsonl", lambda text: text[:-9], "listing.jsonl has .* bytes instead of"),
        ("listing.jsonl", lambda text: text.replace("]]]", "]]}"), "listing.jsonl is damaged"),
        ("listing.jsonl", lambda text: text.replace("good", "fine"), "its checksum is not that"),
    ],
)
def test_a_damaged_or_later_index_is_refused(packed, name, damage, told):
    path = packed[1] / name
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=told):
        layouts.load(packed[1])


def test_a_later_format_need_not_have_what_this_one_has(packed):
    (packed[1] / "shards.json").write_text('{"format": 7, "something": "new"}')
    with pytest.raises(ValueError, match="is of format 7, and this version of jaxad reads up to 1"):
        layouts.load(packed[1])


def test_a_folder_of_packed_categories_is_one_of_categories(packed):
    root = packed[1].parent
    shutil.copytree(packed[1], root / "other")
    assert layouts.categories(root) == [root / "other", packed[1]]
    assert layouts.categories(packed[1]) == []
    assert {record.category for record in layouts.load(root / "other").train.records} == {"other"}
    with pytest.raises(ValueError, match="packed categories other, part: give the folder of one"):
        layouts.load(root)


def test_pictures_in_shards_are_looked_at_as_files_are(packed):
    place, folder_ = packed
    files, same = (inspection.looks(one, small=False) for one in packed)
    assert [one._replace(path=folder_ / one.path.relative_to(place)) for one in files] == same
    assert len(inspection.looks(folder_.parent)) == 15


def test_a_folder_that_is_there_is_not_written_over(packed, tmp_path):
    with pytest.raises(FileExistsError, match="is there already"):
        packing.pack({"part": layouts.listed(packed[0])}, tmp_path / "shards")


def test_nothing_is_left_of_a_failure(tmp_path, picture, mask):
    place = mvtec_like(tmp_path / "part", picture, mask)
    found = layouts.listed(place)
    (place / "test" / "good" / "001.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"good/001.png"):
        packing.pack({"part": found}, tmp_path / "out" / "shards", shard_size=2000)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_full_disk_is_told_with_the_folder_and_leaves_nothing(packed, tmp_path, monkeypatch):
    class Full:
        def __init__(self, *given):
            pass

        def write(self, record):
            raise RuntimeError("write() failed: No space left on device; writing somewhere")

    monkeypatch.setattr(packing, "_writer", Full)
    with pytest.raises(OSError, match=r"cannot write the shards of .*full \(write\(\) failed: No"):
        packing.pack({"part": layouts.listed(packed[0])}, tmp_path / "full")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "shards"]
