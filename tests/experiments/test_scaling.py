"""The cost model against arithmetic by hand; collectives read from a program written by hand."""

import json
import math
import os
import subprocess
import sys

import collectives
import cost_model
import pytest
from cost_model import Machine, Work
from scripts import EXPERIMENTS, script

from jaxad.detector import replace

COUNTS = [2**n for n in range(11)]
MACHINE = Machine()
WORK = Work(
    flops=1e12, traffic=1e9, fixed_traffic=1e8, collectives=3, reduced=1e9, reduced_per_picture=0,
    state=1e8, held=1e9, fixed_held=1e9,
)  # fmt: skip
PROGRAM = """
  %all-reduce.1 = f32[64]{0} all-reduce(%a), channel_id=1, to_apply=%add
  %all-reduce.2 = (f32[8,4]{1,0}, bf16[2]{0}, /*index=2*/pred[3]{0}) all-reduce(%a, %b, %c), x={}
  %get = f32[8,4]{1,0} get-tuple-element(%all-reduce.2), index=0
  %all-gather-start = (f32[2,5]{1,0}, f32[16,5]{1,0}) all-gather-start(%d), dimensions={0}
  %all-gather-done = f32[16,5]{1,0} all-gather-done(%all-gather-start)
  %go = (s32[7], s32[7], u32[], u32[]) collective-permute-start(%e), source_target_pairs={{0,1}}
  %part = f64[1]{0} reduce-scatter(%f), dimensions={0}
  ROOT %fused = f32[4]{0} fusion(%all-reduce.1, %part), kind=kLoop, calls=%all-reduce_fusion
"""


def test_one_device_has_nothing_to_exchange():
    assert cost_model.communication_seconds(WORK, 8, 1, MACHINE) == 0
    for per_device in (True, False):
        assert cost_model.efficiency(WORK, 8, 1, MACHINE, per_device=per_device) == 1


def test_the_slower_of_operations_and_traffic_counts():
    slow = replace(MACHINE, peak=1e12, achieved=0.5)
    assert cost_model.compute_seconds(WORK, 4, slow) == 8
    slow = replace(MACHINE, memory_bandwidth=1e9, traffic=0.5)
    assert math.isclose(cost_model.compute_seconds(WORK, 4, slow), 2 * 4.1)


def test_a_ring_within_a_node_and_a_tree_between_nodes():
    plain = replace(
        MACHINE, link=1.0, nvlink=1e9, network=1e8, start=1.0, hop=0.1, network_hop=10.0
    )
    assert math.isclose(cost_model.volume_seconds(1e9, 2, plain), 1)
    assert math.isclose(cost_model.volume_seconds(1e9, 8, plain), 2 * 7 / 8)
    # An eighth of the bytes, between four nodes.
    assert math.isclose(cost_model.volume_seconds(1e9, 32, plain), 2 * 7 / 8 + 2 * 3 / 4 * 10 / 8)
    assert math.isclose(cost_model.latency_seconds(4, plain), 1 + 2 * 3 * 0.1)
    assert math.isclose(cost_model.latency_seconds(32, plain), 1 + 2 * (7 * 0.1 + 2 * 10))


@pytest.mark.parametrize("per_device", [True, False])
def test_more_devices_are_never_more_efficient(per_device):
    pictures = 8 if per_device else 1024
    found = [
        cost_model.efficiency(WORK, pictures, n, MACHINE, per_device=per_device) for n in COUNTS
    ]
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0] == 1


def test_links_twice_as_fast_take_half_the_time():
    fast = replace(MACHINE, nvlink=2 * MACHINE.nvlink, network=2 * MACHINE.network)
    for devices in COUNTS[1:]:
        slow = cost_model.volume_seconds(1e9, devices, MACHINE)
        assert math.isclose(cost_model.volume_seconds(1e9, devices, fast), slow / 2)


def test_pictures_that_travel_cost_more_on_more_devices():
    of_pictures = WORK._replace(reduced_per_picture=1e6)
    small, large = (
        cost_model.communication_seconds(of_pictures, 8 * n, n, MACHINE)
        - cost_model.communication_seconds(WORK, 8 * n, n, MACHINE)
        for n in (8, 64)
    )
    assert large > 8 * small


def test_where_devices_stop_paying():
    slow = replace(MACHINE, network=1e6)
    stops = cost_model.stops_paying(WORK, 8, COUNTS, slow, per_device=True)
    assert stops == 16  # the first that needs the network
    assert cost_model.stops_paying(WORK, 8, [1], slow, per_device=True) is None


@pytest.mark.parametrize(
    ("members", "devices", "at_once", "rounds"), [(10, 1, 4, 3), (10, 2, 4, 2), (10, 3, 4, 1)]
)
def test_rounds_of_a_sweep(members, devices, at_once, rounds):
    assert cost_model.rounds_of(members, devices, at_once) == rounds


def test_a_sweep_takes_as_long_as_the_device_with_the_most_members():
    machine = replace(MACHINE, memory=10e9, usable=1.0)
    found = cost_model.sweep(WORK, 4, 100, 10, 3, machine)
    assert (found.at_once, found.rounds) == (2, 2)  # 5 GB each
    assert math.isclose(found.seconds, 4 * 100 * cost_model.compute_seconds(WORK, 4, machine))
    assert math.isclose(found.efficiency, 10 / 12)
    with pytest.raises(ValueError, match="does not fit"):
        cost_model.sweep(WORK, 4, 100, 10, 3, replace(machine, memory=4e9))


def test_collectives_of_a_program():
    found = collectives.collectives(PROGRAM)
    assert [one.kind for one in found] == [
        "all-reduce", "all-reduce", "all-gather", "collective-permute", "reduce-scatter"
    ]  # fmt: skip
    assert [one.size for one in found] == [256, 8 * 4 * 4 + 2 * 2 + 3, 16 * 5 * 4, 28, 8]
    assert found[1].arrays == ("f32[8,4]", "bf16[2]", "pred[3]")
    assert collectives.by_kind(found)["all-reduce"] == {"count": 2, "bytes": 256 + 135}


@pytest.mark.parametrize(
    ("array", "size"), [("f32[]", 4), ("s4[3]", 2), ("c64[2]", 16), ("f8e4m3fn[5,2]", 10)]
)
def test_bytes_of_an_array(array, size):
    assert collectives.size(array) == size


def test_arrays_of_pictures_are_those_that_grow_with_the_batch():
    few, many = (
        collectives.collectives(f"%x = (f32[3,3,8,8], f32[{n},5,5,3], f32[]) all-reduce(%a)")
        for n in (8, 16)
    )
    assert collectives.growing(few, many) == ["f32[16,5,5,3]"]
    assert collectives.growing(few, few) == []
    assert collectives.per_picture(many, 16) == 5 * 5 * 3 * 4
    assert collectives.per_picture(many, 3) == 3 * 8 * 8 * 4  # a kernel
    assert collectives.per_picture(many, 3, {(3, 3, 8, 8)}) == 0


def test_a_line_through_two_batches():
    line = script("scaling_study").line
    assert line([11, 21], 2) == (5, 1)
    assert line([10, 30], 1) == (20, 0)  # never less than nothing


@pytest.mark.slow
def test_a_measurement_stands_beside_its_prediction(tmp_path):
    out = tmp_path / "real.json"
    words = "--measure --sizes small --methods autoencoder --repeats 2 --peak 1e11 --out"
    found = subprocess.run(  # whose settings may be arguments of a program that is lowered
        [sys.executable, str(EXPERIMENTS / "bench_scaling.py"), *words.split(), str(out)],
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-5_000:]
    assert "predicted to take" in found.stdout
    stored = json.loads(out.read_text())
    assert stored["machine"]["peak"] == 1e11
    assert [(row["method"], row["devices"]) for row in stored["rows"]] == [
        ("autoencoder", 1), ("autoencoder", 2)
    ]  # fmt: skip
    assert all(row["measured"] > 0 < row["predicted"] for row in stored["rows"])
