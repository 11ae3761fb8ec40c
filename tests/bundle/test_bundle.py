"""Bundles: what they say, what they hold, and what is said of damaged ones."""

import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from jaxad.bundle import warm
from jaxad.bundle.check import on_noise
from jaxad.bundle.write import Choice, written
from jaxad.data.preprocessing import write as write_preprocessing
from jaxad.data.reading import Reading
from jaxad.data.view import Preprocessing, View
from jaxad.decision import card as cards
from jaxad.decision.predictor import Predictor
from jaxad.detector import replace
from jaxad.export import manifest
from jaxad.training.restore import finished
from jaxad.weights.files import read_safetensors

HOW = {
    "beside": Choice(),
    "inside": Choice(weights="inside"),
    "resized": Choice(resize=True),
    "bfloat16": Choice(precision="bfloat16"),
    "float16": Choice(precision="float16", weights="inside"),
}


def export(folder, place, choice=HOW["beside"], checked=lambda part: {}):
    return written(finished(folder), folder, place, choice, checked)


def sums(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def run(carded, tmp_path_factory):
    """A finished run with its card."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    shutil.copytree(carded("autoencoder")[-1], folder)
    record = json.loads((folder / "run.json").read_text())
    record["about"] = {
        "category": "tiny", "data": "/home/somebody/pictures", "command": "jaxad train secret",
        "options": {}, "seed": 3, "weights": {"some_net": "CC0"}, "jaxad": "0.1.0",
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="module")
def bundles(run, tmp_path_factory):
    """name -> the bundle that is made so."""
    place = tmp_path_factory.mktemp("bundles")
    for name, choice in HOW.items():
        export(run, place / name, choice)
    return place


@pytest.fixture
def bundle(bundles, tmp_path):
    """A copy of a bundle, to be changed."""
    shutil.copytree(bundles / "beside", tmp_path / "bundle")
    return tmp_path / "bundle"


def pictures(count=5, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(40 + 7 * i, 64 - 5 * i) for i in range(count)]
    return [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]


@pytest.mark.parametrize("name", ["beside", "inside", "resized"])
def test_a_bundle_says_what_its_run_says(run, bundles, name):
    native, other = Predictor.load(run), Predictor.load(bundles / name)
    assert other.card.checksum() == native.card.checksum()
    for one, same in zip(native(pictures()), other(pictures()), strict=True):
        np.testing.assert_allclose(same.map, one.map, atol=1e-4 * np.ptp(one.map))
        assert same.judgement.label == one.judgement.label
        assert same.judgement.score == pytest.approx(one.judgement.score, rel=1e-4)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_precision_is_near_and_half_as_large(run, bundles, name):
    native, other = Predictor.load(run), Predictor.load(bundles / name)
    scores = [[x.judgement.score for x in p(pictures())] for p in (native, other)]
    assert scores[0] != scores[1]
    np.testing.assert_allclose(scores[1], scores[0], rtol=0.05)
    if name == "bfloat16":
        whole, half = (
            (bundles / x / "weights.safetensors").stat().st_size
            for x in HOW
            if x in ("beside", name)
        )
        assert half < 0.6 * whole


def test_exporting_changes_nothing_of_the_run(run, tmp_path):
    before = sums(run)
    export(run, tmp_path / "one")
    export(run, tmp_path / "two", Choice(weights="inside"))
    export(run, tmp_path / "again")
    assert sums(run) == before
    programs = [(tmp_path / x / "program.cpu.stablehlo").read_bytes() for x in ("one", "again")]
    assert programs[0] == programs[1]  # nor does the export before


def test_the_numbers_beside_a_program_are_those_of_the_model(run, bundles):
    state = finished(run).state
    leaves = {np.asarray(x).tobytes() for x in jax.tree.leaves((state.params, state.stats))}
    read = read_safetensors(bundles / "beside" / "weights.safetensors")
    assert leaves <= {x.tobytes() for x in read.values()}


def test_a_bundle_tells_what_its_user_has_to_know_and_no_more(bundles):
    folder = bundles / "beside"
    content = json.loads((folder / "bundle.json").read_text())
    assert content["input"]["shape"] == ["batch", 32, 32, 3]
    assert content["licences"]["weights"] == {"some_net": "CC0"}
    assert set(content["programs"]) == {"cpu", "cuda", "tpu"}
    said = (folder / "README.md").read_text()
    for step in content["preprocessing"]["tiny"]["steps"]:
        assert step in said
    assert "32 x 32" in said
    assert "CC0" in said
    for path in folder.rglob("*"):
        assert b"somebody" not in path.read_bytes(), path
        assert b"secret" not in path.read_bytes(), path
        assert b"autoencoder.py" not in path.read_bytes(), path  # nor where the code lay
    resized = json.loads((bundles / "resized" / "bundle.json").read_text())
    assert resized["input"]["shape"] == ["batch", "height", "width", 3]


def test_how_files_are_read_and_the_region_to_look_at_go_with_it(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    region = np.ones((50, 60), bool)
    region[:, :20] = False
    reading = replace(Reading(), bits=12, fit="pad", max_pixels=9999)
    write_preprocessing(folder, {"tiny": Preprocessing(reading, View("pad", region))})
    export(folder, tmp_path / "bundle")
    shutil.move(folder, tmp_path / "elsewhere")
    found = Predictor.load(tmp_path / "bundle").preprocessing
    assert (found.reading.bits, found.view.fit, found.reading.max_pixels) == (12, "pad", 9999)
    np.testing.assert_array_equal(found.view.region, region)
    said = (tmp_path / "bundle" / "README.md").read_text()
    for words in ("4095", "black square", "region/tiny.png"):
        assert words in said
    with pytest.raises(ValueError, match=r"--resize: the run looks at a region"):
        export(tmp_path / "elsewhere", tmp_path / "other", Choice(resize=True))


@pytest.mark.parametrize("name", [
    "weights.safetensors", "program.cpu.stablehlo", "program.accelerator.stablehlo", "card.json",
    "bundle.json", "run.json", "README.md", "example.py",
])  # fmt: skip
def test_a_changed_byte_names_its_file(bundle, name):
    path = bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path)) + " is damaged"):
        Predictor.load(bundle)


def test_a_missing_file_is_named(bundle):
    (bundle / "weights.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"weights\.safetensors, a file of the bundle"):
        Predictor.load(bundle)


def test_a_bundle_of_a_newer_format_asks_for_a_newer_jaxad(bundle):
    content = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps(content | {"format": 2, "new": "things"}))
    with pytest.raises(ValueError, match=r"is a bundle of format 2.*install a newer one"):
        Predictor.load(bundle)
    (bundle / "bundle.json").write_text(json.dumps({"format": 2, "contents": {}}))
    with pytest.raises(ValueError, match=r"is a bundle of format 2.*install a newer one"):
        Predictor.load(bundle)
    (bundle / "bundle.json").write_text(json.dumps(content | {"format": "2"}))
    with pytest.raises(ValueError, match=r"bundle\.json is damaged .*its format is '2'"):
        Predictor.load(bundle)


def test_a_card_of_another_model_is_refused(bundle, run, tmp_path):
    other = cards.read(run / "card.json")._replace(model="0123abcd")
    cards.write(tmp_path / "other.json", other)
    with pytest.raises(ValueError, match=r"other\.json is the card of another model"):
        Predictor.load(bundle, card=tmp_path / "other.json")
    with pytest.raises(ValueError, match=r"given as the card of .* is the card of another"):
        Predictor.load(bundle, card=other)
    content = manifest.read(bundle)
    cards.write(bundle / "card.json", other)
    manifest.write(bundle, content)
    with pytest.raises(ValueError, match=r"bundle.card\.json is the card of another model"):
        Predictor.load(bundle)


def test_what_cannot_be_compiled_leaves_no_cache_behind(bundle, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\n  line\nValueError: no device\n")
    monkeypatch.setattr(warm.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ValueError, match=r"there, but .*\(--cache\): ValueError: no device$"):
        warm.warmed(bundle, (1,), "cpu")
    assert not (bundle / "cache").exists()
    (bundle / "cache").mkdir()
    with pytest.raises(FileNotFoundError, match="no compiled programs lie beside the bundle"):
        warm.trusted(bundle)


def test_a_program_for_other_devices_says_for_which(run, tmp_path):
    export(run, tmp_path / "bundle", Choice(platforms=("cuda", "tpu")))
    with pytest.raises(ValueError, match=r"was made for cuda, tpu.* computes on cpu.*--platforms"):
        Predictor.load(tmp_path / "bundle")


@pytest.mark.parametrize(("platforms", "message"), [
    (("cpu", "abacus"), r"platform abacus .*cpu, cuda, tpu"),
    ((), "no platform"),
])  # fmt: skip
def test_unknown_platforms_are_named(run, tmp_path, platforms, message):
    with pytest.raises(ValueError, match=message):
        export(run, tmp_path / "bundle", Choice(platforms=platforms))
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_stays(run, tmp_path):
    (tmp_path / "bundle").mkdir()
    with pytest.raises(FileExistsError, match="is there already"):
        export(run, tmp_path / "bundle")


def test_an_export_that_breaks_off_leaves_nothing(run, tmp_path):
    def broken(part):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(run, tmp_path / "bundle", checked=broken)
    assert list(tmp_path.iterdir()) == []


def test_what_was_compared_stands_in_the_manifest(run, tmp_path):
    native, card = finished(run), cards.read(run / "card.json")
    look = lambda part: {"JAX": on_noise(native, part, card).as_dict()}
    export(run, tmp_path / "bundle", checked=look)
    found = manifest.read(tmp_path / "bundle")["checked"]["JAX"]
    assert found["pictures"] == 8
    assert found["map"] < 1e-4
    assert found["labels"] == 0


def test_a_difference_is_seen(run, bundles, tmp_path):
    """A bundle of other weights: what compares can fail."""
    native, card = finished(run), cards.read(run / "card.json")
    other = native._replace(
        state=native.state._replace(params=jax.tree.map(lambda x: 1.5 * x, native.state.params))
    )
    found = on_noise(other, bundles / "beside", card)
    assert found.map > 0.01


def test_a_bundle_is_not_trained(bundles):
    detector, cfg, *_ = finished(bundles / "beside")
    with pytest.raises(ValueError, match="a bundle is not trained"):
        detector.init(cfg, {}, jax.random.key(0))


def asked(folder, images, python=sys.executable):
    """What the example in a bundle says of squares, in a process of its own."""
    np.save(folder.parent / "pictures.npy", images)
    words = [str(python), str(folder / "example.py"), str(folder.parent / "pictures.npy")]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()


def test_the_example_says_what_predict_says(bundles, run):
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)
    found = Predictor.load(run)(list(images))
    for name in ("beside", "inside"):
        lines = asked(bundles / name, images)
        assert len(lines) == len(images)
        for line, one in zip(lines, found, strict=True):
            score, label = re.search(r"tiny: score (\S+), (\w+)", line).groups()
            assert float(score) == pytest.approx(one.judgement.score, rel=1e-4)
            assert label == one.judgement.label


def test_a_program_that_resizes_takes_pictures_as_they_are(bundles, run):
    predictor = Predictor.load(run)
    for picture in pictures(3):
        (line,) = asked(bundles / "resized", picture[None])
        score = float(re.search(r"score (\S+),", line)[1])  # of one level of 255 in some pixels
        assert score == pytest.approx(predictor(picture).judgement.score, rel=2e-2)


@pytest.mark.slow
def test_the_example_needs_jax_numpy_and_flatbuffers_alone(bundles, run, tmp_path):
    python = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    wanted = ["jax==" + jax.__version__, "numpy", "flatbuffers"]
    subprocess.run([str(python), "-m", "pip", "install", "-q", *wanted], check=True)
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)
    expected = [one.judgement.label for one in Predictor.load(run)(list(images))]
    lines = asked(bundles / "beside", images, python)
    assert [line.split(", ")[1] for line in lines] == expected
    lines = pathlib.Path(bundles / "beside" / "example.py").read_text().splitlines()
    assert len([x for x in lines if x.strip()]) <= 35
