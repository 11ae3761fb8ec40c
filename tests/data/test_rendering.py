import math

import numpy as np
import pytest

from jaxad.data.rendering.canvas import Canvas, View
from jaxad.data.rendering.outlines import (
    Place,
    arc,
    box,
    comb,
    disc,
    hexagon,
    polyline,
    ring,
    rosette,
    until,
)
from jaxad.data.rendering.shading import shade

STEP = 1 / 800
LINE = np.arange(-0.5, 0.5, STEP, dtype=np.float32) + np.float32(STEP / 2)
X, Y = np.meshgrid(LINE, LINE)
STILL = View(
    pose=Place(),
    scale=1.0,
    light=-2.0,
    gain=1.0,
    tint=(1.0, 1.0, 1.0),
    slope=(0.0, 0.0),
    grain=0.0,
    crop=(0.0, 0.0, 0.0),
    phase=0.0,
)

AREAS = {
    "box": (box(0.6, 0.3, 0.05), 0.6 * 0.3 - (4 - math.pi) * 0.05**2),
    "capsule": (box(0.6, 0.2, 0.1), 0.4 * 0.2 + math.pi * 0.1**2),
    "disc": (disc(0.3), math.pi * 0.3**2),
    "ring": (ring(0.3, 0.1), 2 * math.pi * 0.3 * 0.1),
    "hexagon": (hexagon(0.3), 1.5 * math.sqrt(3) * 0.3**2),
    "rosette": (rosette(0.3, (0.05, 5, 0.7)), math.pi * (0.3**2 + 0.05**2 / 2)),
    "comb": (comb(0.5, 0.2, 0.1, 0.4), 0.5 * 0.2 * 0.4),
    "straight arc": (arc(0.5, 0.1, 0.0), 0.5 * 0.1 + math.pi * 0.05**2),
    "stroke": (polyline([(-0.2, -0.1), (0.2, 0.2)], 0.06), 0.5 * 0.06 + math.pi * 0.03**2),
    "half disc": (until(disc(0.3), 0.0), math.pi * 0.3**2 / 2),
}


@pytest.mark.parametrize("name", AREAS)
def test_outlines_enclose_the_area_of_the_closed_form(name):
    outline, area = AREAS[name]
    assert np.sum(outline.distance(X, Y) < 0) * STEP**2 == pytest.approx(area, rel=0.01)


@pytest.mark.parametrize("name", AREAS)
def test_nothing_of_a_figure_is_out_of_its_reach(name):
    outline, _ = AREAS[name]
    inside = outline.distance(X, Y) < 0
    assert np.abs(X[inside]).max() <= outline.reach[0] + STEP
    assert np.abs(Y[inside]).max() <= outline.reach[1] + STEP


@pytest.mark.parametrize("name", ["box", "capsule", "disc", "ring", "straight arc", "stroke"])
def test_distances_are_those_to_the_nearest_edge(name):
    outline, _ = AREAS[name]
    distance = outline.distance(X, Y)
    inside = distance < 0
    edge = (inside[1:-1, 1:-1] != inside[:-2, 1:-1]) | (inside[1:-1, 1:-1] != inside[1:-1, :-2])
    edge = np.stack([X[1:-1, 1:-1][edge], Y[1:-1, 1:-1][edge]], 1)
    probes = np.random.default_rng(0).integers(0, len(LINE), (200, 2))
    for row, column in probes:
        nearest = np.hypot(*(edge - (X[row, column], Y[row, column])).T).min()
        assert abs(distance[row, column]) == pytest.approx(nearest, abs=2 * STEP)


def test_places_compose_as_complex_numbers_do():
    place = Place(0.1, -0.2, 0.5).at(0.3, 0.4, -1.2)
    expected = complex(0.1, -0.2) + np.exp(0.5j) * complex(0.3, 0.4)
    assert complex(place.x, place.y) == pytest.approx(expected)
    assert place.angle == pytest.approx(-0.7)


def test_paint_covers_the_figure_and_no_more_wherever_the_workpiece_lies():
    view = STILL._replace(pose=Place(0.03, -0.02, 0.3), scale=1.1)
    canvas = Canvas(200, view, record=True)
    canvas.paint(box(0.4, 0.1), Place(0.1, 0.05, 0.4), (1.0, 0.5, 0.0), level=0.02, rise=0.01)
    assert canvas.cover.sum() / 200**2 == pytest.approx(0.4 * 0.1 * 1.1**2, rel=0.01)
    np.testing.assert_allclose(canvas.albedo[0], canvas.cover)
    np.testing.assert_allclose(canvas.albedo[1], 0.5 * canvas.cover)
    assert canvas.height.max() == pytest.approx(0.03)
    assert canvas.height_at(Place(0.1, 0.05)) == pytest.approx(0.03)
    rows, columns = np.nonzero(canvas.cover > 0.5)
    middle = view.pose.at(1.1 * 0.1, 1.1 * 0.05)
    assert (columns.mean() + 0.5) / 200 - 0.5 == pytest.approx(middle.x, abs=0.005)
    assert (rows.mean() + 0.5) / 200 - 0.5 == pytest.approx(middle.y, abs=0.005)


def test_paint_out_of_the_picture_changes_nothing():
    canvas = Canvas(64, STILL, record=True)
    for place in (Place(0.9, 0.0), Place(-0.9, 0.0), Place(0.0, 0.9), Place(0.0, -0.9)):
        canvas.paint(disc(0.1), place, (1.0, 1.0, 1.0), rise=0.1, gloss=1.0)
    assert not canvas.cover.any()
    assert not canvas.albedo.any()
    assert not canvas.height.any()


def test_a_stencil_keeps_paint_and_relief_within():
    canvas = Canvas(64, STILL, record=True)
    canvas.stencil = np.broadcast_to(np.arange(64) < 32, (64, 64))
    canvas.paint(disc(0.3), Place(), (1.0, 1.0, 1.0), rise=-0.1)
    for field in (canvas.cover, canvas.albedo[0], canvas.height):
        assert field[:, :32].any()
        assert not field[:, 32:].any()


def test_a_copy_is_painted_on_alone():
    canvas = Canvas(64, STILL)
    twin = canvas.copy()
    twin.paint(disc(0.3), Place(), (1.0, 1.0, 1.0), rise=0.1, gloss=1.0)
    assert not canvas.albedo.any()
    assert not canvas.height.any()
    assert not canvas.gloss.any()


def test_a_flat_matt_surface_has_one_brightness():
    canvas = Canvas(100, STILL)
    canvas.albedo[:] = 0.5
    assert np.ptp(shade(canvas)) == 0


def test_the_side_towards_the_light_is_bright_and_the_other_one_in_shadow():
    canvas = Canvas(128, STILL._replace(light=math.pi))  # from the left
    canvas.albedo[:] = 0.5
    canvas.paint(disc(0.2), Place(), level=0.0, rise=0.05, bevel=0.15)
    row = shade(canvas)[64, :, 0].astype(int)
    ground, left, right = row[4], row[64 - 18], row[64 + 18]
    assert left > ground + 5
    assert right < ground - 5
    assert row[64 + 28] < ground - 3 < row[64 - 28]  # just beside it
