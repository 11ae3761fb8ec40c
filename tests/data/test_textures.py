import pickle

import numpy as np
import pytest

from jaxad.data.textures import (
    Textures,
    cells,
    clouds,
    fractal,
    leaves,
    nearest_seed,
    scene,
    stripes,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_same_seed_gives_the_same_bytes_and_another_one_others():
    one, twin, other = (Textures(10, 64, seed) for seed in (0, 0, 1))
    for index in range(10):
        assert one[index]["image"].tobytes() == twin[index]["image"].tobytes()
        assert one[index]["image"].tobytes() != other[index]["image"].tobytes()
    assert len({one[index]["image"].tobytes() for index in range(10)}) == 10


@pytest.mark.parametrize("size", [16, 33, 100])
def test_items_are_normal_pictures_of_any_size(size):
    source = Textures(12, size)
    assert len(source) == 12
    assert not source.has_regions
    for index, item in enumerate(source):
        assert item["image"].shape == (size, size, 3)
        assert item["image"].dtype == np.uint8
        assert not item["mask"].any()
        assert item["label"] == 0
        assert item["index"] == index
        assert source.records[index].defect == "good"
        assert source.regions(index) == []


def test_no_picture_is_flat_or_burnt_out():
    for item in Textures(40, 64):
        image = item["image"].astype(float)
        assert image.std() > 15
        assert np.mean((image == 0) | (image == 255)) < 0.25


def test_power_falls_with_frequency_as_in_photographs():
    power = np.zeros(128)
    for item in Textures(60, 128):
        grey = item["image"].mean(-1) * np.outer(np.hanning(128), np.hanning(128))
        spectrum = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
        y, x = np.meshgrid(*[np.abs(np.fft.fftfreq(128, 1 / 128))] * 2)
        radius = np.hypot(y, x).astype(int).ravel()
        power += np.bincount(radius, spectrum.ravel() / spectrum.sum(), 128)[:128]
    power /= 1 + 2 * np.pi * np.arange(128)  # mean over a circle
    frequency = np.arange(4, 50)
    slope = np.polyfit(np.log(frequency), np.log(power[4:50]), 1)[0]
    assert -3.5 < slope < -1.2  # natural images: about -2


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("stretch", [(1, 1), (1, 8)])
def test_fractal_noise_has_zero_mean_and_unit_deviation(slope, stretch):
    field = fractal(rng(), 100, slope, stretch=stretch)
    assert field.shape == (100, 100)
    assert field.dtype == np.float32
    assert abs(field.mean()) < 1e-4
    assert abs(field.std() - 1) < 1e-3


def test_stretched_noise_varies_more_slowly_along_its_fibres():
    field = fractal(rng(), 128, 0.5, stretch=(1, 16))
    assert np.abs(np.diff(field, axis=1)).mean() < 0.3 * np.abs(np.diff(field, axis=0)).mean()


def test_cells_are_the_voronoi_cells_of_their_seeds():
    first, second, number = nearest_seed(rng(), 96, 6)
    seeds = rng().random((2, 8, 8), np.float32).reshape(2, -1)
    seeds += np.stack(np.meshgrid(np.arange(-1, 7), np.arange(-1, 7), indexing="ij")).reshape(2, -1)
    line = np.linspace(0, 6, 96, endpoint=False)
    distance = np.hypot(seeds[0] - line[:, None, None], seeds[1] - line[None, :, None])
    exact = np.sort(distance, -1)
    # A seed two squares away is overlooked where the nearer squares' seeds are all further.
    assert np.mean(np.isclose(first, exact[..., 0], atol=1e-5)) > 0.98
    assert np.mean(np.isclose(second, exact[..., 1], atol=1e-5)) > 0.9
    assert np.mean(number == distance.argmin(-1)) > 0.98


@pytest.mark.parametrize("maker", [clouds, cells, stripes, leaves, scene])
def test_every_kind_of_texture_has_three_finite_planes(maker):
    planes = maker(rng(3), 48)
    assert planes.shape == (3, 48, 48)
    assert planes.dtype == np.float32
    assert np.isfinite(planes).all()
    assert planes.std() > 0.01


def test_a_source_survives_pickling():
    source = Textures(3, 32, seed=7)
    twin = pickle.loads(pickle.dumps(source))
    assert repr(twin) == repr(source) == "Textures(count=3, size=32, seed=7)"
    np.testing.assert_array_equal(twin[2]["image"], source[2]["image"])


def test_impossible_arguments_are_named():
    with pytest.raises(ValueError, match="size >= 16"):
        Textures(3, 8)
    with pytest.raises(ValueError, match="count >= 1"):
        Textures(0, 64)
    with pytest.raises(IndexError, match="picture 3 of Textures"):
        Textures(3, 32)[3]
