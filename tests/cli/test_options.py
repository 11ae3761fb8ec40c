"""Settings as options: one syntax, on every method and wrapper."""

import dataclasses
import inspect

import pytest

from jaxad.cli import run_options, sweep
from jaxad.cli.options import asked, field, given, leading, option
from jaxad.detector import override, settings, values
from jaxad.methods import DETECTORS
from jaxad.training import detector as named
from jaxad.wrappers import WRAPPERS

WRAPPED = [f"{wrapper}({name})" for wrapper in WRAPPERS for name in DETECTORS]


@pytest.mark.parametrize("name", [*DETECTORS, *WRAPPED, "tiled(tiled(stfpm))"])
def test_a_number_is_read_by_every_method_and_wrapper(name):
    detector = named(name)
    if "lr" not in settings(detector.Config()):  # a method without steps
        (cfg,) = asked(["--blur", "2.5"], "", settings=detector.Config())
        assert cfg.blur == 2.5
        assert values(cfg) == values(override(detector.Config(), "blur=2.5"))
        return
    prefix = "--inside.inside.lr" if name.startswith("tiled(tiled") else "--lr"
    (cfg,) = asked([prefix, "3e-4"], "", settings=detector.Config())
    assert cfg.lr == 3e-4
    assert isinstance(cfg.lr, float)
    assert values(cfg) == values(override(detector.Config(), "lr=3e-4"))


@pytest.mark.parametrize("name", DETECTORS)
def test_every_setting_can_be_given_its_own_value(name):
    cfg = DETECTORS[name].Config()
    words = []
    for setting, value in values(cfg).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += [option(setting), text]
    assert asked(words, "", settings=cfg) == (cfg,)


@pytest.mark.parametrize("name", DETECTORS)
def test_no_setting_has_the_name_of_an_option(name):
    options = (run_options.RunOptions(), run_options.DataOptions(), sweep.SweepOptions())
    for cfg in options:
        assert not settings(cfg).keys() & settings(DETECTORS[name].Config()).keys()
    run, data, _ = options
    assert not settings(run).keys() & settings(data).keys()


@pytest.mark.parametrize(
    "cls", [run_options.RunOptions, run_options.DataOptions, sweep.SweepOptions]
)
def test_every_option_is_described_in_the_help(cls):
    source = inspect.getsource(cls)
    for one in dataclasses.fields(cls):
        (line,) = [x for x in source.splitlines() if x.strip().startswith(f"{one.name}:")]
        assert "# " in line, one.name


def test_forms_of_an_option_mean_the_same():
    stfpm = DETECTORS["stfpm"].Config()
    for words in (["--batch-size", "8"], ["--batch_size", "8"], ["--batch-size=8"]):
        assert asked(words, "", settings=stfpm)[0].batch_size == 8
        assert given(words, "batch_size")
    assert field("--batch-size=8") == "batch_size"
    assert field("-1") is None
    assert field("value") is None


def test_values_are_tuples_with_commas_and_none_and_both_booleans():
    cfg = DETECTORS["uniad"].Config()
    words = [
        "--layers",
        "pool2,conv4",
        "--layer-wise-query",
        "no",
        "--masked",
        "true,0,yes",
        "--clip",
        "inf",
    ]
    (cfg,) = asked(words, "", settings=cfg)
    assert cfg.layers == ("pool2", "conv4")
    assert cfg.layer_wise_query is False
    assert cfg.masked == (True, False, True)
    assert cfg.clip == float("inf")
    small = DETECTORS["efficientad"].Config(width=8)
    assert asked(["--width", "none"], "", settings=small)[0].width is None
    assert asked(["--width", "NONE"], "", settings=small)[0].width is None


def test_negative_numbers_are_values_not_options():
    with pytest.raises(ValueError, match=r"lr=-3e-05|lr=-3e-5|lr=-0.00003"):
        asked(["--lr", "-3e-5"], "", settings=DETECTORS["stfpm"].Config())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--masked", "true"], "3 values separated by commas"),
        (["--layer-wise-query", "maybe"], "expected true or false, not 'maybe'"),
        (["--positions", "cosine"], "learned"),
        (["--size", "1.5"], "--size"),
        (["--size", "none"], "--size"),
        (["size=3"], "write it as --size 3"),
        (["--lr", "3e-4", "7"], "7"),
    ],
)
def test_a_value_of_another_type_is_named_with_what_was_expected(words, message):
    with pytest.raises(ValueError, match=message) as error:
        asked(words, "", settings=DETECTORS["uniad"].Config())
    assert "\n" not in str(error.value)
    assert "─" not in str(error.value)


def test_words_before_the_first_option_are_places():
    assert leading(["a", "b", "--lr", "3", "c"]) == (["a", "b"], ["--lr", "3", "c"])
    assert leading(["-h"]) == ([], ["-h"])
    assert leading([]) == ([], [])


def test_a_word_with_an_equals_sign_may_be_a_value():
    run = run_options.DataOptions()
    assert asked(["--aux", "some=where"], "", data=run)[0].aux == "some=where"


def test_what_is_yes_or_no_may_stand_alone():
    some = {"run": run_options.RunOptions(), "data": run_options.DataOptions()}
    run, data = asked(["--curve", "--unified", "--seed", "3"], "jaxad", **some)
    assert (run.curve, data.unified, run.seed) == (True, True, 3)
    for words in (["--curve", "false"], ["--curve=false"], []):
        run, _ = asked(words, "jaxad", **some)
        assert run.curve is False
