"""What a page tells of a run beside its results."""

import json

from jaxad.data import workpieces
from jaxad.methods import autoencoder
from jaxad.report.facts import facts


class Spoiled(workpieces.Workpieces):
    """Pictures of which the first cannot be read any more."""

    def __getitem__(self, index):
        if index == 0:
            raise ValueError("0.png is damaged")
        return super().__getitem__(index)


def some(**given):
    data = workpieces.load("plate", size=64, train=3, heldout=1, test=(2, 1))
    return data._replace(**given)


def test_pictures_are_counted_by_their_use_and_shown(tmp_path):
    found = facts(autoencoder.DETECTOR, autoencoder.Config(), tmp_path, some())
    counts = {one.title: one.count for one in found.samples}
    assert (counts["to learn from"], counts["held out"], counts["to test on: good"]) == (3, 1, 2)
    assert counts["to test on: crack"] == 1
    assert all(one.strip for one in found.samples)
    others = facts(autoencoder.DETECTOR, autoencoder.Config(), tmp_path, some(), own=False)
    assert {one.title.partition(":")[0] for one in others.samples} == {"to test on"}


def test_a_picture_that_cannot_be_read_is_told_and_costs_its_place_alone(tmp_path, caplog):
    data = some(train=Spoiled("plate", "train", good=3, size=64))
    found = facts(autoencoder.DETECTOR, autoencoder.Config(), tmp_path, data)
    assert "0.png is damaged" in caplog.text
    assert found.samples[0].count == 3
    alone = some(train=Spoiled("plate", "train", good=1, size=64))
    assert (
        facts(autoencoder.DETECTOR, autoencoder.Config(), tmp_path, alone).samples[0].strip is None
    )


def test_settings_that_differ_from_the_default_are_known(tmp_path):
    cfg = autoencoder.Config(size=64, lr=1e-3, widths=(4, 8))
    found = {one.name: one for one in facts(autoencoder.DETECTOR, cfg, tmp_path, None).settings}
    assert {name for name, one in found.items() if one.changed} == {"size", "lr", "widths"}
    assert (found["widths"].value, found["lr"].value) == ("4, 8", "0.001")
    assert found["size"].static
    assert not found["lr"].static


def test_what_the_record_tells_is_on_the_page_and_what_it_does_not_is_not(tmp_path):
    about = {"command": "jaxad train x", "seed": 3, "weights": {"w": "Apache-2.0"}}
    (tmp_path / "run.json").write_text(json.dumps({"method": "x", "about": about}))
    found = facts(autoencoder.DETECTOR, autoencoder.Config(), tmp_path, None)
    assert found.command == "jaxad train x"
    rows = dict(found.about)
    assert (rows["seed"], rows["licence of the weights w"]) == ("3", "Apache-2.0")
    assert "data" not in rows
    assert (found.finished, found.history, found.samples) == (False, None, [])
