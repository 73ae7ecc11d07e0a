"""Colours of grades: people with colour blindness can tell them apart.

Protanopia and deuteranopia are simulated in linear sRGB by the matrices of Machado, Oliveira and Fernandes (2009,
severity 1); the distance is that of CIELAB (1976, D65), of which about 2 can just be seen.
"""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt
import pytest

from layers.observed.air import VN_GRADES
from layers.observed.kind import Scale
from layers.observed.registry import KINDS
from layers.palette import parse_color

NEIGHBOURS, ANY = 17.0, 15.0
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array([
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ]),
    "deuteranopia": np.array([
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ]),
}  # fmt: skip
TO_XYZ = np.array([
    [0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041],
])  # fmt: skip
WHITE = TO_XYZ.sum(axis=1)
SCALES = [scale for kind in KINDS.values() for scale in kind.scales]


def lab(color: str, vision: str) -> npt.NDArray[np.float64]:
    srgb = np.array(parse_color(color)) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(VISION[vision] @ linear, 0, 1) / WHITE
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(a: str, b: str, vision: str) -> float:
    return float(np.linalg.norm(lab(a, vision) - lab(b, vision)))


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scale", {s.name: s for s in SCALES}.values(), ids=lambda s: s.name)
def test_the_grades_of_a_scale_can_be_told_apart(scale: Scale, vision: str) -> None:
    colors = [grade.color for grade in scale.grades]
    assert min(distance(a, b, vision) for a, b in pairwise(colors)) >= NEIGHBOURS
    assert min(distance(a, b, vision) for a, b in combinations(colors, 2)) >= ANY


def test_the_official_colours_of_the_index_cannot_all_be_told_apart() -> None:
    official = [grade.official_color or grade.color for grade in VN_GRADES]
    assert official[:3] == ["#00e400", "#ffff00", "#ff7e00"]
    assert min(distance(a, b, "deuteranopia") for a, b in combinations(official, 2)) < ANY


def test_the_distance_is_that_of_cielab() -> None:
    assert distance("#000000", "#ffffff", "normal") == pytest.approx(100, abs=0.01)
    assert lab("#ff0000", "normal") == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
