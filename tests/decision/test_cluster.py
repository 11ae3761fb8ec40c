"""Many machines: the rows of one, each once, also when workers end."""

import functools
import os
import signal
import sys
import threading
import types

import numpy as np
import pytest
from PIL import Image
from scripts import script

from jaxad.decision import bulk, cluster, parquet, workers

# Ray Data warns of its own settings, and leaves files and sockets to the collector.
quiet = [
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def fake(connected=True, init=lambda *words, **options: None, **resources):
    """What `cluster` asks of Ray, without Ray: a machine with some devices."""
    return types.SimpleNamespace(
        is_initialized=lambda: connected,
        init=init,
        shutdown=lambda: None,
        cluster_resources=lambda: resources,
        available_resources=lambda: resources,
        nodes=lambda: [{"Alive": True}],
    )


def test_a_missing_ray_is_told_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ModuleNotFoundError, match=r"pip install 'jaxad\[ray\]'"),
        cluster.connected(),
    ):
        pass


@pytest.mark.parametrize(
    ("resources", "asked", "team"),
    [
        ({"CPU": 4.0}, {}, (4, "cpu")),
        ({"CPU": 4.0}, {"workers": 3}, (3, "cpu")),
        ({"CPU": 4.0, "GPU": 2.0}, {}, (2, "gpu")),
        ({"CPU": 4.0, "GPU": 2.0}, {"device": "cpu"}, (4, "cpu")),
    ],
)
def test_there_is_a_worker_for_each_device(resources, asked, team, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", fake(**resources))
    with cluster.connected(**asked) as found:
        assert found == team


@pytest.mark.parametrize(
    ("resources", "asked", "message"),
    [
        ({"CPU": 4.0}, {"workers": 5}, "5 workers .* a processor core, and the cluster has 4 on 1"),
        ({"CPU": 4.0}, {"device": "gpu"}, "wants a GPU, and the cluster has none"),
        ({"CPU": 4.0, "GPU": 2.0}, {"workers": 3}, "wants a GPU, and the cluster has 2"),
    ],
)
def test_more_workers_than_devices_are_refused(resources, asked, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", fake(**resources))
    with pytest.raises(ValueError, match=message), cluster.connected(**asked):
        pass


def test_a_cluster_that_does_not_answer_or_cannot_be_is_told(monkeypatch):
    asleep = threading.Event()
    monkeypatch.setattr(cluster, "PATIENCE", 0.1)
    monkeypatch.setitem(sys.modules, "ray", fake(False, lambda *words, **options: asleep.wait()))
    with (
        pytest.raises(ConnectionError, match="no cluster has answered within"),
        cluster.connected("10.0.0.9:6379"),
    ):
        pass
    asleep.set()
    with pytest.raises(ValueError, match="expected HOST:PORT"), cluster.connected("ray://head:1"):
        pass

    def refuse(*words, **options):
        raise RuntimeError("Version mismatch")

    monkeypatch.setitem(sys.modules, "ray", fake(False, refuse))
    with pytest.raises(ConnectionError, match="Version mismatch"), cluster.connected("auto"):
        pass


def test_a_table_has_the_fields_of_the_rows(tmp_path):
    table = pytest.importorskip("pyarrow.parquet")
    region = {"box": [1, 2, 3, 4], "area": 4, "peak": 2.0, "mean": 1.5, "centroid": [1.5, 2.5]}
    good = {
        "path": "/a\udc80.png", "bytes": 9, "modified": "2026-05-04T07:31:22.118000+00:00",
        "score": 1.25, "percentile": None, "p_value": None, "label": None, "width": 60,
        "height": 40, "regions": [region], "seconds": 0.5,
    }  # fmt: skip
    bad = {"path": "/b.png", "bytes": None, "modified": None, "error": "/b.png: no such file"}
    rows = [good, bad]
    file = parquet.write(tmp_path / "rows.parquet", rows)
    first, second = table.read_table(file).to_pylist()
    assert first.pop("modified").isoformat(timespec="microseconds") == good["modified"]
    del good["modified"]
    assert first == {**good, "path": "/a\\udc80.png", "error": None}
    assert {name: x for name, x in second.items() if x is not None} == {
        "path": "/b.png", "error": bad["error"],
    }  # fmt: skip
    assert [x.name for x in tmp_path.iterdir()] == ["rows.parquet"]


@pytest.fixture(scope="module")
def team():
    pytest.importorskip("ray", reason="jaxad[ray] is not installed")
    with cluster.connected("local", 2) as found:
        yield found


@pytest.fixture(scope="module")
def run(carded):
    return carded("autoencoder")[-1]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Files of pictures, of odd names, and of none."""
    folder = tmp_path_factory.mktemp("pictures")
    names = [f"{i:02d}.png" for i in range(48)] + ["ü ö.png", os.fsdecode(b"no text \xff.png")]
    for i, name in enumerate(names):
        pixels = np.random.default_rng(i).integers(0, 256, (30 + i, 60, 3), np.uint8)
        Image.fromarray(pixels).save(folder / name, format="PNG")
    (folder / names[5]).write_bytes(b"nothing")
    return [folder / name for name in names] + [folder / "gone.png"]


def plain(rows):
    """By path, each once, without the seconds that they took."""
    rows = list(rows)
    found = {row["path"]: {k: v for k, v in row.items() if k != "seconds"} for row in rows}
    assert len(found) == len(rows)
    return found


def assert_alike(found, right):
    """Equal but for the last digits, which on some processors a place in a batch decides."""
    assert found.keys() == right.keys()
    for path, row in right.items():
        assert numbers(found[path]) == pytest.approx(numbers(row), rel=1e-5), path
        assert words(found[path]) == words(row)


def numbers(value):
    """All numbers in a row, in their order."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for one in value for number in numbers(one)]
    return [value] if isinstance(value, int | float) else []


def words(row):
    """What is no number in a row, nor has any inside."""
    return {name: x for name, x in row.items() if x is None or isinstance(x, str)}


def counts_from(first):
    """`workers.Starts` as when some workers have ended already: to start one takes seconds."""

    class Starts:  # sent whole, as workers cannot import this file
        def __init__(self):
            self.counts = {}

        def begin(self, number):
            self.counts[number] = self.counts.get(number, first) + 1
            return self.counts[number]

    return Starts


@pytest.mark.slow
class TestWorkers:
    pytestmark = quiet

    def test_rows_are_those_of_one_machine_also_when_a_worker_is_killed(self, run, paths, team):
        load = functools.partial(workers.load, run)
        right = plain(bulk.rows(load(), paths))
        assert_alike(plain(workers.rows(team, load, paths)), right)
        found = workers.rows(team, load, paths, at_once=4)
        first = next(found)
        os.kill(script("predict_on_ray").workers(os.getpid())[0], signal.SIGKILL)
        assert_alike(plain([first, *found]), right)
        assert sum("error" in row for row in right.values()) == 2

    def test_what_is_raised_in_a_worker_is_raised_here(self, run, paths, team, tmp_path):
        load = functools.partial(workers.load, run)
        with pytest.raises(ValueError, match=r"05\.png: not a picture"):
            list(workers.rows(team, load, paths[:-1], "error"))
        load = functools.partial(workers.load, tmp_path / "no")
        with pytest.raises(FileNotFoundError, match="there is no run folder"):
            list(workers.rows(team, load, paths[:2]))
        assert list(workers.rows(team, load, [])) == []

    def test_pictures_that_take_worker_after_worker_down_end_it(self, paths, team, monkeypatch):
        monkeypatch.setattr(workers, "Starts", counts_from(workers.STARTS - 2))
        with pytest.raises(RuntimeError, match=r"5 workers ended, one after the other, at 1 pic"):
            list(workers.rows(team, functools.partial(os._exit, 1), paths[:1]))
