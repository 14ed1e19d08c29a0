# SPDX-License-Identifier: Apache-2.0
"""Inputs that belong to no class, made of calibration inputs alone: what an exit should not be sure of.

Each kind keeps something of the samples and destroys the rest: the values (scattered), small neighbourhoods (tiles), the
spectrum (phases), or one coarse structure in place of all fine ones (coarse, stripes); each with its channels and with
one mean channel in all of them; each with its contrast stretched by some factor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from joulet.quant.probe import Array, spread_samples

_TILES = 4  # an extent is cut into so many
_Rng = np.random.Generator


def outliers(feeds: Mapping[int, Array], most: int, seed: int = 0) -> tuple[dict[int, Array], npt.NDArray[np.int64]]:
    """Return synthetic outliers and their kinds.

    Parameters
    ----------
    feeds
        Calibration inputs ``(n, *shape[1:])`` by tensor index, integers or float.
    most
        Samples that outliers are made of; each gives one outlier of one kind, in turns.
    seed
        Of all that is drawn.

    Returns
    -------
    tuple
        Inputs by tensor index, and the kind of each ``(n,)``, a number from 0.
    """
    rng = np.random.default_rng(seed)
    made, kind = {}, np.zeros(0, np.int64)
    for tensor, values in spread_samples(feeds, most).items():
        kind = np.arange(len(values)) % (2 * len(CHANGES))
        made[tensor] = np.stack([_made(k, x, rng) for k, x in zip(kind.tolist(), values, strict=True)])
    return made, kind


def _made(kind: int, sample: Array, rng: _Rng) -> Array:
    """Return one changed sample; what has no two axes of space is taken as one row of positions with one channel."""
    image = sample if sample.ndim == 3 else sample.reshape(1, -1, 1)
    made = CHANGES[kind % len(CHANGES)](image, rng).astype(np.float64)
    if kind >= len(CHANGES):
        made = np.broadcast_to(made.mean(axis=2, keepdims=True), made.shape)
    made = _louder(made, rng)
    if np.issubdtype(sample.dtype, np.integer):  # a float input is clipped where the network quantises it
        info = np.iinfo(sample.dtype)
        made = np.clip(np.rint(made), info.min, info.max)
    return made.astype(sample.dtype).reshape(sample.shape)


def _louder(image: npt.NDArray[np.float64], rng: _Rng) -> npt.NDArray[np.float64]:
    """Stretch contrast by a factor of 1/2 to 4."""
    centre = image.mean()
    return np.asarray(centre + (image - centre) * 2.0 ** rng.uniform(-1.0, 2.0))


def _scattered(image: Array, rng: _Rng) -> Array:
    return rng.permutation(image.reshape(-1)).reshape(image.shape)


def _bounds(extent: int) -> list[int]:
    return [int(edge) for edge in np.linspace(0, extent, min(_TILES, extent) + 1)]


def _tiles(image: Array, rng: _Rng) -> Array:
    """Exchange rows of tiles and columns of tiles, each tile row in its own order."""
    rows = [image[a:b] for a, b in pairwise(_bounds(image.shape[0]))]
    edges = _bounds(image.shape[1])
    mixed = []
    for index in rng.permutation(len(rows)):
        parts = [rows[index][:, a:b] for a, b in pairwise(edges)]
        mixed.append(np.concatenate([parts[k] for k in rng.permutation(len(parts))], axis=1))
    return np.concatenate(mixed, axis=0)


def _phases(image: Array, rng: _Rng) -> Array:
    """Keep the spectrum, draw the phases: those of noise, the same for all channels."""
    noise = np.fft.rfft2(rng.standard_normal(image.shape[:2]))
    turn = noise / np.maximum(np.abs(noise), 1e-12)
    turn[0, 0] = 1.0
    spectrum = np.fft.rfft2(image.astype(np.float64), axes=(0, 1)) * turn[:, :, None]
    return np.asarray(np.fft.irfft2(spectrum, s=image.shape[:2], axes=(0, 1)))


def _coarse(image: Array, rng: _Rng) -> Array:
    """Fill large areas with one position's values each."""
    rows, columns = (np.minimum(np.arange(extent) * 2 * _TILES // extent, extent - 1) for extent in image.shape[:2])
    flat = image.reshape(-1, image.shape[2])
    seeds = flat[rng.integers(0, len(flat), (rows.max() + 1, columns.max() + 1))]
    return np.asarray(seeds[rows][:, columns])


def _stripes(image: Array, rng: _Rng) -> Array:
    """Repeat one row, or one column, over the whole extent."""
    axis = int(rng.integers(0, 2)) if min(image.shape[:2]) > 1 else int(image.shape[1] > 1)
    line = np.take(image, [int(rng.integers(0, image.shape[axis]))], axis=axis)
    return np.broadcast_to(line, image.shape)


CHANGES: tuple[Callable[[Array, _Rng], Array], ...] = (_scattered, _tiles, _phases, _coarse, _stripes)
