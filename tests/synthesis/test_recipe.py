"""Synthetic anomalies against stored references, Pillow and plain loops."""

import colorsys
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from weights_b import inputs

from jaxad.synthesis import augmenters, perlin, recipe

damage = functools.partial(jax.jit, static_argnames=("objects", "tries"))(recipe.damage)


def close(stored, name, value):
    assert stored.error(name, np.asarray(value)) < stored.tolerance(name), name


@pytest.mark.parametrize(
    "case", ["64x64_4x2", "64x64_1x1", "64x64_32x8", "64x32_8x16", "256x256_2x32"]
)
def test_diffusionad_perlin_noise_equals_the_reference(golden, case):
    stored = golden("diffusionad_perlin")
    shape, cells = (tuple(map(int, part.split("x"))) for part in case.split("_"))
    turns = jnp.asarray(inputs(stored.info)[f"u_{case}"])
    noise = perlin.noise(turns, jnp.array(cells), shape)
    close(stored, f"noise_{case}", noise)
    assert int((noise > perlin.THRESHOLD).sum()) == stored.info["scalars"][f"count_{case}"]["value"]


@pytest.mark.slow
def test_diffusionad_perlin_coverage_is_that_of_the_reference(golden):
    stored, draws, block = golden("diffusionad_perlin"), 150, 10

    @jax.jit
    def covered(keys, cells):
        noise = jax.vmap(perlin.random_noise, (0, None, None))(keys, cells, (256, 256))
        return (noise > perlin.THRESHOLD).mean((1, 2))

    keys = jax.random.split(jax.random.key(0), (6, 6, draws))
    found = np.zeros((6, 6, draws))
    for i, j, k in np.ndindex(6, 6, draws // block):
        part = slice(k * block, (k + 1) * block)
        found[i, j, part] = covered(keys[i, j, part], jnp.array([2**i, 2**j]))
    close(stored, "coverage", found.mean(-1))
    close(stored, "empty", (found == 0).mean(-1))


def test_diffusionad_synthesis_equals_the_reference(golden):
    stored = golden("diffusionad_synthesis")
    drawn = {name: jnp.asarray(x) for name, x in inputs(stored.info).items()}
    image, source = (jnp.floor(256 * drawn[name]) / 255 for name in ("image", "source"))
    noise = perlin.noise(drawn["u_corner"], jnp.array([2, 4]), (64, 64))
    backwards = jnp.arange(8)[::-1]
    columns = jnp.concatenate([backwards[1::2], backwards[::2]])
    rows = jnp.concatenate([backwards[::2][::-1], backwards[1::2][::-1]])
    whole, soft = drawn["foreground"], drawn["foreground"] * drawn["softness"]
    cases = {
        "texture": (whole, source, 0.5),
        "object_source": (soft, source, 0.25),
        "object_self": (soft, recipe.strips(image, columns, rows), 1.0),
    }
    for name, (foreground, appearance, draw) in cases.items():
        mask = recipe.restricted(noise, foreground)
        close(stored, f"mask_{name}", mask[..., None])
        damaged = recipe.pasted(image, appearance, mask, 0.2 + 0.6 * draw)
        close(stored, f"image_{name}", damaged)


def test_diffusionad_synthesis_failures_are_clean_images(golden, key):
    stored = golden("diffusionad_synthesis")
    drawn = {name: jnp.asarray(x) for name, x in inputs(stored.info).items()}
    image, source = (jnp.floor(256 * drawn[name]) / 255 for name in ("image", "source"))
    whole, empty = drawn["foreground"], jnp.zeros((64, 64))
    none = damage(key, image, source, whole, objects=True, probability=0.0, tries=2)
    close(stored, "image_none", none.image)
    empty = damage(key, image, source, empty, objects=True, probability=1.0, tries=2)
    close(stored, "image_no_foreground", empty.image)
    assert none.label == empty.label == none.mask.sum() == empty.mask.sum() == 0


@pytest.fixture(scope="module")
def made():
    """What damages 32 pictures, and their keys, pictures, textures and foregrounds."""
    image, texture = jax.random.uniform(jax.random.key(1), (2, 32, 64, 64, 3))
    foreground = jnp.zeros((32, 64, 64)).at[:, 16:, 8:].set(0.5)
    keys = jax.random.split(jax.random.key(2), 32)
    each = functools.partial(recipe.damage, objects=True, tries=6)
    return jax.jit(jax.vmap(each)), (keys, image, texture, foreground)


@pytest.fixture(scope="module")
def batch(made):
    """Pictures of 64 pixels, their foreground, and what became of them."""
    damage_all, (keys, image, texture, foreground) = made
    return image, foreground, damage_all(keys, image, texture, foreground)


def test_damage_is_in_the_foreground_and_nowhere_else(batch):
    image, foreground, damaged = batch
    assert ((damaged.mask == 0) | (damaged.mask == foreground)).all()
    changed = jnp.abs(damaged.image - image).max(-1) > 1e-6
    assert not (changed & (damaged.mask == 0)).any()
    assert changed[damaged.mask > 0].mean() > 0.95
    assert ((damaged.image >= 0) & (damaged.image <= 1)).all()


def test_labels_say_whether_there_is_damage_and_half_the_images_have_some(batch):
    _, _, damaged = batch
    np.testing.assert_array_equal(damaged.label, (damaged.mask > 0).any((1, 2)))
    assert 8 <= damaged.label.sum() <= 24


def test_an_image_s_damage_depends_on_its_key_alone(made, batch):
    damage_all, drawn = made
    others = [jnp.roll(x, 1, 0).at[5].set(x[5]) for x in drawn]
    again, (_, _, damaged) = damage_all(*others), batch
    np.testing.assert_array_equal(again.image[5], damaged.image[5])
    assert (again.image[6] != damaged.image[6]).any()


def provenance(objects):
    """Damage of a black image by a white texture, not changed any further: of either, and beta."""
    black, white = jnp.zeros((32, 32, 3)), jnp.ones((32, 32, 3))
    keys = jax.random.split(jax.random.key(4), 80)
    each = functools.partial(recipe.damage, objects=objects, probability=1.0, tries=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "augmented", lambda key, picture: picture)
        damage_all = jax.jit(jax.vmap(each, (0, None, None, None)))
        damaged = damage_all(keys, black, white, jnp.ones((32, 32)))
    assert damaged.label.mean() > 0.9
    return np.asarray(damaged.image.max((1, 2, 3))[damaged.label > 0])


def test_of_textures_all_damage_is_made_of_the_other_picture_and_of_objects_half():
    shown = provenance(objects=False)  # 1 - beta
    assert ((shown > 0.2 - 1e-6) & (shown < 0.8 + 1e-6)).all()
    assert shown.min() < 0.3
    assert shown.max() > 0.7
    half = provenance(objects=True)
    assert 0.3 < (half == 0).mean() < 0.7
    assert ((half == 0) | (half > 0.2 - 1e-6)).all()


def test_strips_move_whole_and_none_is_lost(key):
    image = jax.random.uniform(key, (16, 32, 3))
    moved = recipe.strips(image, *recipe.strip_orders(key))
    order = lambda x: np.sort(np.asarray(x).ravel())
    np.testing.assert_array_equal(order(moved), order(image))
    columns, rows = recipe.strip_orders(key)
    assert sorted(columns) == sorted(rows) == list(range(8))
    assert {int(c) % 2 for c in columns[:4]} == {0}


def picture(seed=0):
    """A picture of whole values from 0 to 255, not all of them used."""
    rng = np.random.default_rng(seed)
    smooth = np.linspace(20, 200, 48)[:, None, None] + rng.normal(0, 15, (48, 40, 3))
    return np.uint8(np.clip(smooth * [1, 0.8, 0.6], 0, 255))


def counts(x):
    return np.stack([np.bincount(x[..., c].ravel(), minlength=256) for c in range(3)], -1)


def looked_up(table, x):
    return np.stack([np.asarray(table)[:, c][x[..., c]] for c in range(3)], -1)


LEVELS = np.broadcast_to(np.arange(256.0, dtype=np.float32)[:, None], (256, 3))


def test_the_histogram_counts_each_value():
    x = picture()
    found = jax.jit(augmenters.histogram)(jnp.asarray(x, jnp.int32))
    np.testing.assert_array_equal(found, counts(x))


def test_equalize_equals_pillow():
    x = picture()
    table = augmenters.equalize(jnp.asarray(LEVELS), jnp.asarray(counts(x), jnp.float32))
    np.testing.assert_array_equal(looked_up(table, x), ImageOps.equalize(Image.fromarray(x)))


def test_autocontrast_equals_pillow(key):
    x = picture()
    for draw in jax.random.split(key, 4):
        cut = int(jax.random.randint(draw, (), 0, 21))
        table = augmenters.autocontrast(
            draw, jnp.asarray(LEVELS), jnp.asarray(counts(x), jnp.float32)
        )
        expected = np.asarray(ImageOps.autocontrast(Image.fromarray(x), cut), int)
        # Pillow rounds twice before it cuts off the fraction.
        assert np.abs(looked_up(table, x) - expected).max() <= 1


def test_sharpness_equals_pillow(key):
    x = picture()
    for draw in jax.random.split(key, 3):
        factor = float(jax.random.uniform(draw, maxval=2.0))
        found = augmenters.sharpness(draw, jnp.asarray(x, jnp.float32))
        expected = ImageEnhance.Sharpness(Image.fromarray(x)).enhance(factor)
        assert np.abs(np.asarray(found) - np.asarray(expected, float)).max() < 2.5


def test_posterize_keeps_the_highest_bits(key):
    tables = jax.vmap(augmenters.posterize, (0, None))(
        jax.random.split(key, 40), jnp.asarray(LEVELS)
    )
    kept = {len(np.unique(table)) for table in np.asarray(tables)}
    assert kept == {2**bits for bits in range(1, 9)}
    assert (tables <= LEVELS[None]).all()


def test_hue_and_saturation_are_turned_and_shifted_as_by_their_definition(key):
    x = np.random.default_rng(0).uniform(0, 255, (6, 5, 3)).astype(np.float32)
    x[0, 0] = 100  # a grey one becomes coloured where saturation is added
    for draw in jax.random.split(key, 4):
        hue, saturation = jax.random.uniform(draw, (2,), minval=-50 / 255, maxval=50 / 255)
        found = augmenters.hue_and_saturation(draw, jnp.asarray(x))
        for y, row in np.ndindex(6, 5):
            h, s, v = colorsys.rgb_to_hsv(*(x[y, row] / 255))
            s = min(max(s + float(saturation), 0), 1)
            want = np.multiply(colorsys.hsv_to_rgb((h + float(hue)) % 1, s, v), 255)
            np.testing.assert_allclose(found[y, row], want, atol=0.02)


def test_tables_act_one_after_another():
    x = picture()[:48:2, ::2].repeat(2, 0).repeat(2, 1)  # what is counted is a quarter of it
    for seed in range(4):
        on = np.random.default_rng(seed).random(6) < 0.6
        keys = list(jax.random.split(jax.random.key(seed), 6))
        want = Image.fromarray(x)
        if on[0]:
            powers = np.asarray(jax.random.uniform(keys[0], (3,), minval=0.5, maxval=2.0))
            want = Image.fromarray(np.uint8(np.round(255 * (np.asarray(want) / 255) ** powers)))
        if on[1]:
            on_key, threshold_key = jax.random.split(keys[1])
            if jax.random.bernoulli(on_key):
                want = ImageOps.solarize(want, int(jax.random.randint(threshold_key, (), 32, 129)))
        if on[2]:
            want = ImageOps.posterize(want, int(jax.random.randint(keys[2], (), 1, 9)))
        if on[3]:
            want = ImageOps.invert(want)
        if on[4]:
            want = ImageOps.autocontrast(want, int(jax.random.randint(keys[4], (), 0, 21)))
        found = augmenters._by_tables(keys, jnp.asarray(on & (np.arange(6) < 5)), jnp.int32(x))
        off = np.abs(np.asarray(found) - np.asarray(want, float))
        assert off.max() <= 1, (seed, on)
        assert (off > 0.01).mean() < 0.1


def test_brightness_scales_and_shifts_luma_alone(key):
    x = jnp.asarray(50 + 0.5 * picture(), jnp.float32)  # nothing is cut off
    luma = lambda rgb: np.asarray(rgb) @ [0.299, 0.587, 0.114]
    for draw in jax.random.split(key, 4):
        factor_key, shift_key = jax.random.split(draw)
        factor = jax.random.uniform(factor_key, minval=0.8, maxval=1.2)
        shift = jax.random.uniform(shift_key, minval=-30.0, maxval=30.0)
        found = augmenters.brightness(draw, x)
        np.testing.assert_allclose(luma(found), luma(x) * factor + shift, atol=0.1)
        differences = lambda rgb: np.diff(np.asarray(rgb), axis=-1)
        np.testing.assert_allclose(differences(found), differences(x), atol=1e-3)


def test_three_augmenters_act_and_all_are_chosen_alike_often(key):
    on = jax.vmap(augmenters.chosen)(jax.random.split(key, 400))
    assert (on.sum(1) == 3).all()
    assert ((on.mean(0) > 0.2) & (on.mean(0) < 0.4)).all()


def test_a_quarter_turn_is_exact_and_an_eighth_loses_the_corners(key):
    x = jax.random.uniform(key, (33, 33, 3)) + 0.1
    quarter = augmenters.rotated(x, jnp.float32(90))
    np.testing.assert_allclose(quarter, np.rot90(x, -1), atol=1e-4)
    np.testing.assert_array_equal(augmenters.rotated(x, jnp.float32(0)), x)
    eighth = augmenters.rotated(x, jnp.float32(45))
    assert (eighth[0, 0] == 0).all()
    assert (eighth[16, 16] == x[16, 16]).all()


def test_augmented_pictures_differ_and_stay_in_range(key):
    x = jnp.asarray(picture() / 255, jnp.float32)
    keys = jax.random.split(key, 60)
    found = jax.jit(jax.vmap(augmenters.augmented, (0, None)))(keys, x)
    assert ((found >= 0) & (found <= 1)).all()
    unlike = jnp.abs(found - x[None]).mean((1, 2, 3))
    assert (unlike > 0.005).mean() > 0.9
    assert len(np.unique(np.asarray(unlike).round(6))) == 60


def test_a_random_part_is_neither_nothing_nor_everything(key):
    parts = jax.vmap(perlin.random_part, (0, None))(jax.random.split(key, 40), (64, 64))
    share = parts.mean((1, 2))
    assert ((share > 0.02) & (share < 0.98)).all()
    assert 0.4 < share.mean() < 0.6
