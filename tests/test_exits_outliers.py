# SPDX-License-Identifier: Apache-2.0
"""Synthetic outliers keep what their kind says they keep."""

from __future__ import annotations

import numpy as np
import pytest

from joulet.exits import outliers as made
from joulet.exits.outliers import CHANGES, outliers


@pytest.mark.parametrize("kind_of_number", [np.int8, np.float32])
@pytest.mark.parametrize("shape", [(12, 10, 3), (49, 10, 1), (40,), (1, 7), (1, 1, 5), (2, 3, 4, 2)])
def test_outliers_look_like_inputs_and_are_drawn_the_same_every_time(
    shape: tuple[int, ...], kind_of_number: type[np.number]
) -> None:
    x = np.random.default_rng(0).integers(-128, 128, (30, *shape)).astype(kind_of_number)
    first, kind = outliers({7: x}, 25)
    again, _ = outliers({7: x}, 25)
    assert first[7].shape == (25, *shape)
    assert first[7].dtype == kind_of_number
    np.testing.assert_array_equal(kind, np.arange(25) % (2 * len(CHANGES)))
    np.testing.assert_array_equal(first[7], again[7])


def test_each_kind_keeps_what_it_should() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(-100, 100, (16, 12, 3)).astype(np.int8)
    scattered, tiles, phases, coarse, stripes = (change(image, np.random.default_rng(2)) for change in CHANGES)
    for same_values in (scattered, tiles):
        assert not np.array_equal(same_values, image)
        np.testing.assert_array_equal(np.sort(same_values, axis=None), np.sort(image, axis=None))
    pixels = {tuple(p) for p in image.reshape(-1, 3).tolist()}
    assert {tuple(p) for p in tiles.reshape(-1, 3).tolist()} == pixels
    assert {tuple(p) for p in coarse.reshape(-1, 3).tolist()} <= pixels
    assert len(np.unique(coarse.reshape(-1, 3), axis=0)) <= (2 * made._TILES) ** 2
    spectra = [np.abs(np.fft.rfft2(x.astype(np.float64), axes=(0, 1))) for x in (image, phases)]
    np.testing.assert_allclose(spectra[0], spectra[1], atol=1e-6)
    assert (stripes == stripes[:1]).all() or (stripes == stripes[:, :1]).all()
