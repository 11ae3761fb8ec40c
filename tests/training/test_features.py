"""Frozen features: kept once, found again, never mistaken for others."""

import errno
import io
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxad import compile, sweep, training
from jaxad.data.pictures import image_set
from jaxad.detector import override
from jaxad.training import features, fitting, memory


@pytest.fixture(scope="module")
def job(tiny):
    detector, cfg, pretrained, data, _ = tiny("feature_reconstruction")
    return detector, override(cfg, "steps=4"), pretrained, data


@pytest.fixture(scope="module")
def images(job):
    return image_set(job[3].train, job[1].size)


def folders(place):
    return [path for path in place.iterdir() if path.is_dir()]


def rows(kept, count):
    return np.stack([np.asarray(kept[i]) for i in range(count)])


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_they_are_the_embedding_of_each_image_in_half_precision(job, images, tmp_path, place):
    detector, cfg, pretrained, _ = job
    cache = "memory" if place == "memory" else tmp_path
    kept = features.frozen_features(detector, cfg, pretrained, images, cache)
    expected = jax.jit(detector.embed)(cfg, pretrained, compile.unit(jnp.asarray(images)))
    assert rows(kept, len(images)).dtype == np.float16
    np.testing.assert_allclose(rows(kept, len(images)), expected, rtol=2e-3, atol=1e-3)


def test_features_that_do_not_fit_into_memory_are_refused_with_a_way_out(job, images, monkeypatch):
    detector, cfg, pretrained, _ = job
    monkeypatch.setattr(memory, "machine", lambda: 1e4)
    with pytest.raises(MemoryError, match=r"more than half of this.*cache=FOLDER.*cache=none"):
        features.frozen_features(detector, cfg, pretrained, images, "memory")


def test_without_a_cache_there_are_none(job, images):
    assert features.frozen_features(*job[:3], images, None) is None


def test_a_second_run_reads_them_back(job, images, tmp_path, monkeypatch):
    first = features.frozen_features(*job[:3], images, tmp_path)

    def never(*arguments, **keywords):
        raise AssertionError("computed again")

    monkeypatch.setattr(features.compile, "slices", never)
    other_rate = override(job[1], "lr=0.5")
    second = features.frozen_features(job[0], other_rate, job[2], images, tmp_path)
    np.testing.assert_array_equal(rows(first, 6), rows(second, 6))
    assert len(folders(tmp_path)) == 1


@pytest.mark.parametrize("what", ["images", "weights", "size"])
def test_other_pictures_weights_or_settings_have_features_of_their_own(job, images, tmp_path, what):
    detector, cfg, pretrained, data = job
    features.frozen_features(detector, cfg, pretrained, images, tmp_path)
    if what == "images":
        images = np.where(images == images[0, 0, 0, 0], 255, images).astype(np.uint8)
    elif what == "weights":
        pretrained = jax.tree.map(lambda x: x * 1.01, pretrained)
    else:
        cfg = override(cfg, "size=72")
        images = image_set(data.train, 72)
    features.frozen_features(detector, cfg, pretrained, images, tmp_path)
    assert len(folders(tmp_path)) == 2


@pytest.mark.parametrize("damage", ["truncate", "key", "missing"])
def test_damaged_features_are_computed_anew(job, images, tmp_path, caplog, damage):
    kept = features.frozen_features(*job[:3], images, tmp_path)
    expected = rows(kept, 6)
    (folder,) = folders(tmp_path)
    if damage == "truncate":
        path = folder / "0.npy"
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "key":
        (folder / "key.json").write_text("{}")
    else:
        (folder / "0.npy").unlink()
    again = features.frozen_features(*job[:3], images, tmp_path)
    assert "computing them anew" in caplog.text
    np.testing.assert_array_equal(rows(again, 6), expected)


def test_a_full_disk_is_an_error_that_says_what_to_do_and_leaves_nothing(
    job, images, tmp_path, monkeypatch
):
    usage = features.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(features.shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(OSError, match=r"cannot keep features.*cache='memory'"):
        features.frozen_features(*job[:3], images, tmp_path)
    assert folders(tmp_path) == []


def test_a_disk_that_fills_up_halfway_is_an_error_too_and_leaves_nothing(
    job, images, tmp_path, monkeypatch
):
    written = []

    class Full(io.FileIO):
        def write(self, data):
            written.append(len(data))
            if len(written) > 1:  # the header
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    with monkeypatch.context() as patch:
        patch.setattr(features.pathlib.Path, "open", lambda path, mode: Full(path, "w"))
        with pytest.raises(OSError, match=r"cannot keep features.*No space left.*cache='memory'"):
            features.frozen_features(*job[:3], images, tmp_path)
    assert folders(tmp_path) == []


def test_features_that_are_not_finite_are_refused(job, images):
    detector, cfg, pretrained, _ = job
    broken = jax.tree.map(lambda x: x * jnp.nan, pretrained)
    with pytest.raises(FloatingPointError, match="not finite"):
        features.frozen_features(detector, cfg, broken, images, "memory")


def test_features_beyond_half_precision_are_refused(job, images):
    detector, cfg, pretrained, _ = job
    large = jax.tree.map(lambda x: x * 100, pretrained)
    with pytest.raises(FloatingPointError, match="train without a cache"):
        features.frozen_features(detector, cfg, large, images, "memory")


def test_batches_carry_the_features_of_their_pictures(job, images):
    detector, cfg, pretrained, data = job
    kept = features.frozen_features(detector, cfg, pretrained, images, "memory")
    iterator = iter(fitting.train_batches(detector, cfg, data, jax.random.key(0), 0, kept))
    batch = next(iterator)
    iterator.close()
    np.testing.assert_array_equal(batch["features"], kept[batch["index"]])


def test_training_on_kept_features_is_close_to_training_without(job, tmp_path):
    key = jax.random.key(0)
    without = training.fit(*job, key)
    kept = training.fit(*job, key, cache="memory")
    disk = training.fit(*job, key, cache=tmp_path / "cache")
    for a, b, c in zip(*map(jax.tree.leaves, (without, kept, disk)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0.05, atol=2e-3)
        np.testing.assert_array_equal(b, c)


def test_a_run_with_a_cache_is_another_run(job, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        training.run(*job, jax.random.key(0), tmp_path / "run", cache=tmp_path / "cache")
    assert "writing frozen features" in caplog.text
    with pytest.raises(ValueError, match="cached_features is True there, False now"):
        training.run(*job, jax.random.key(0), tmp_path / "run")


def test_a_sweep_on_kept_features_is_runs_on_kept_features(job):
    detector, cfg, pretrained, data = job
    configs, key = sweep.grid(cfg, lr=[1e-3, 3e-3]), jax.random.key(0)
    members = sweep.fit(detector, configs, pretrained, data, key[None], cache="memory")
    alone = training.fit(detector, configs[1], pretrained, data, key, cache="memory")
    for a, b in zip(
        jax.tree.leaves(members.state(configs, 1, 0)),
        jax.tree.leaves(alone._replace(opt=())),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_a_detector_without_frozen_features_has_nothing_to_keep(job, images, tmp_path):
    from jaxad.detector import no_features

    detector = job[0]._replace(embed=no_features)
    assert features.frozen_features(detector, *job[1:3], images, tmp_path) is None
    assert folders(tmp_path) == []


def test_features_that_another_process_finished_meanwhile_are_used(job, images, tmp_path):
    """It may be reading them: they are not deleted to be replaced by equal ones."""
    first = features.frozen_features(*job[:3], images, tmp_path)
    (folder,) = folders(tmp_path)
    before = (folder / "0.npy").stat().st_ino
    real, seen = features._complete, []

    def only_later(*arguments):  # as if the other process had finished after the first look
        seen.append(arguments)
        return len(seen) > 1 and real(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "_complete", only_later)
        second = features.frozen_features(*job[:3], images, tmp_path)
    assert (folder / "0.npy").stat().st_ino == before
    assert folders(tmp_path) == [folder]
    np.testing.assert_array_equal(rows(first, 6), rows(second, 6))


def test_features_in_memory_are_not_copied_into_worker_processes(job, images):
    """What a worker is sent does not grow with them."""
    detector, cfg, pretrained, data = job
    kept = features.frozen_features(detector, cfg, pretrained, images, "memory")
    large = jax.tree.map(lambda x: np.repeat(x, 20, 0), kept)
    sizes = [
        len(grain_pickle(fitting.train_batches(detector, cfg, data, jax.random.key(0), 2, rows)))
        for rows in (kept, large)
    ]
    assert sizes[0] == sizes[1]


def grain_pickle(batches):
    """What of a pipeline goes to its workers: all below the step that joins features."""
    import cloudpickle

    (read_by_workers,) = batches.parents
    return cloudpickle.dumps(read_by_workers)


def test_pictures_count_beside_features_in_memory(job, images, monkeypatch):
    detector, cfg, pretrained, _ = job
    monkeypatch.setattr(memory, "machine", lambda: 1e6)
    features.frozen_features(detector, cfg, pretrained, images, "memory")
    with pytest.raises(MemoryError, match=r"and pictures in memory would take"):
        features.frozen_features(detector, cfg, pretrained, images, "memory", beside=500_000)
