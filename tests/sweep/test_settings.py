"""Settings of a sweep: what is combined, drawn, grouped, refused."""

import jax
import numpy as np
import pytest

from jaxad import sweep
from jaxad.methods import efficientad

CFG = efficientad.Config()


def test_a_grid_has_every_combination_and_its_last_field_varies_fastest():
    configs = sweep.grid(CFG, lr=[1e-4, 1e-3], p_hard=[0.9, 0.99, 0.999])
    assert [(c.lr, c.p_hard) for c in configs[:4]] == [
        (1e-4, 0.9), (1e-4, 0.99), (1e-4, 0.999), (1e-3, 0.9),
    ]  # fmt: skip
    assert len(configs) == 6
    assert all(c.steps == CFG.steps for c in configs)


def test_a_grid_over_nothing_is_the_one_setting():
    assert sweep.grid(CFG) == (CFG,)


def test_a_zip_takes_the_fields_side_by_side():
    configs = sweep.zip(CFG, q_a=[0.5, 0.9], q_b=[0.8, 0.95])
    assert [(c.q_a, c.q_b) for c in configs] == [(0.5, 0.8), (0.9, 0.95)]


def test_a_zip_of_unequal_lists_is_refused():
    with pytest.raises(ValueError, match=r"as many values.*'lr': 2, 'p_hard': 1"):
        sweep.zip(CFG, lr=[1e-4, 1e-3], p_hard=[0.9])


def test_random_settings_lie_in_their_ranges_and_follow_the_seed():
    ranges = {"lr": sweep.LogUniform(1e-5, 1e-2), "p_hard": sweep.Uniform(0.9, 1.0)}
    configs = sweep.random(CFG, 200, 0, **ranges, channels=[8, 16])
    lr = np.log10([c.lr for c in configs])
    assert -5 <= lr.min() < -4.9
    assert -2.1 < lr.max() <= -2
    assert abs(np.median(lr) + 3.5) < 0.4  # even in the logarithm
    assert {c.channels for c in configs} == {8, 16}
    assert all(0.9 <= c.p_hard <= 1 for c in configs)
    assert configs == sweep.random(CFG, 200, 0, **ranges, channels=[8, 16])
    assert configs != sweep.random(CFG, 200, 1, **ranges, channels=[8, 16])


def test_another_field_leaves_the_draws_of_the_first_as_they_were():
    alone = sweep.random(CFG, 5, 0, lr=sweep.LogUniform(1e-5, 1e-2))
    both = sweep.random(CFG, 5, 0, p_hard=sweep.Uniform(0.9, 1), lr=sweep.LogUniform(1e-5, 1e-2))
    assert [c.lr for c in alone] == [c.lr for c in both]


def test_rows_are_the_fields_that_differ():
    configs = sweep.grid(CFG, lr=[1e-4, 1e-3], penalty=[True])
    assert sweep.rows(configs) == ({"lr": 1e-4}, {"lr": 1e-3})
    assert sweep.rows(configs[:1]) == ({},)


def test_values_of_a_sweepable_field_become_floats():
    (cfg,) = sweep.grid(CFG, p_hard=[0])
    assert type(cfg.p_hard) is float  # an int would compile another program


def test_static_fields_make_groups():
    configs = sweep.grid(CFG, lr=[1e-4, 1e-3], penalty=[True, False])
    assert sweep.groups(configs) == ((0, 2), (1, 3))


def test_stacked_settings_are_arrays_that_vmap_takes():
    stacked = sweep.stack(sweep.grid(CFG, lr=[1e-4, 1e-3], p_hard=[0.9, 0.99]))
    assert stacked.channels == CFG.channels
    np.testing.assert_allclose(
        jax.vmap(lambda cfg: cfg.lr * cfg.p_hard)(stacked), [9e-5, 9.9e-5, 9e-4, 9.9e-4], rtol=1e-6
    )


def test_static_settings_that_differ_cannot_be_stacked_and_the_message_says_which():
    with pytest.raises(ValueError, match=r"channels, penalty cannot be stacked.*sweep\.groups"):
        sweep.stack(sweep.grid(CFG, channels=[8, 16], penalty=[True, False]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sweep.grid(CFG, learning_rate=[1e-4]), "no setting 'learning_rate'"),
        (lambda: sweep.grid(CFG, lr=[]), "lr: there are no values"),
        (lambda: sweep.grid(CFG, lr=1e-4), "lr=0.0001: expected a list"),
        (lambda: sweep.grid(CFG, map_norm="none"), "map_norm='none': expected a list"),
        (lambda: sweep.grid(CFG, channels=[0.5]), "channels=0.5: expected a whole number"),
        (lambda: sweep.grid(CFG, penalty=[2]), "penalty=2: expected true or false"),
        (lambda: sweep.grid(CFG, map_norm=["log"]), "map_norm=log: expected one of"),
        (lambda: sweep.random(CFG, 0, 0, lr=[1e-4]), "count=0"),
        (lambda: sweep.random(CFG, 2, 0, lr=sweep.LogUniform(0, 1)), "expected low < high, and 0"),
        (lambda: sweep.random(CFG, 2, 0, lr=sweep.Uniform(1, 1)), "expected low < high"),
        (lambda: sweep.groups(()), "a sweep of no settings"),
    ],
)
def test_settings_that_make_no_sweep_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
