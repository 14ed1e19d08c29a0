# SPDX-License-Identifier: Apache-2.0
"""Closed-form classifier heads: W = (XᵀX + λI)⁻¹XᵀY with λ from leave-one-out, and their out-of-fold answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_LAMBDAS = np.geomspace(1e-5, 10.0, 25)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ridge:
    """A linear head: scores = features @ weights.T + bias; weights ``(classes, features)``, bias ``(classes,)``."""

    weights: F64
    bias: F64
    penalty: float

    def scores(self, features: F64) -> F64:
        """Return ``(n, classes)`` scores, about 1 for the class and 0 elsewhere."""
        return np.asarray(features @ self.weights.T + self.bias)


def fit(features: F64, labels: I64, n_classes: int, penalty: float | None = None) -> Ridge:
    """Fit a ridge head on centred features.

    Parameters
    ----------
    features
        ``(n, f)`` real values.
    labels
        ``(n,)`` classes.
    n_classes
        Number of classes.
    penalty
        λ as a share of the number of samples; chosen by leave-one-out when None.
    """
    n = len(features)
    centre = features.mean(axis=0)
    # One scale for all features: a scale for each would blow up the weights of those that hardly vary, and what int8
    # weights lose then costs more than the fit gains.
    unit = max(float(features.std(axis=0).max(initial=0.0)), 1e-12)
    x = (features - centre) / unit
    y = np.zeros((n, n_classes))
    y[np.arange(n), labels] = 1.0
    mean = y.mean(axis=0)
    target = y - mean
    # Of XᵀX and XXᵀ, which have the same eigenvalues, the smaller one is decomposed: X = U √values Vᵀ.
    wide = x.shape[1] > n
    values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    values = np.maximum(values, 0.0)
    rotated = vectors * np.sqrt(values) if wide else x @ vectors
    if penalty is None:
        penalty = _leave_one_out(rotated, target, values, n)
    shrink = 1.0 / (values + penalty * n)
    if wide:
        weights = ((vectors * shrink) @ (vectors.T @ target)).T @ x / unit
    else:
        weights = (vectors @ (shrink[:, None] * (rotated.T @ target))).T / unit
    return Ridge(weights=weights, bias=mean - weights @ centre, penalty=penalty)


def _leave_one_out(rotated: F64, target: F64, values: F64, n: int) -> float:
    """Return the λ/n with the smallest exact leave-one-out squared error."""
    projected = rotated.T @ target
    best, best_error = float(_LAMBDAS[0]), np.inf
    squared = rotated * rotated
    for share in _LAMBDAS:
        shrink = 1.0 / (values + share * n)
        leverage = squared @ shrink + 1.0 / n
        residual = target - rotated @ (projected * shrink[:, None])
        error = float(np.mean((residual / np.maximum(1.0 - leverage, 1e-3)[:, None]) ** 2))
        if error < best_error:
            best, best_error = float(share), error
    return best


def folds(labels: I64, groups: I64 | None = None, n_folds: int = 5) -> I64:
    """Return the fold of each sample, ``(n,)``.

    Samples of one group (a speaker, a session) share a fold; the largest groups are dealt out first, each to the
    smallest fold. Without groups every class is cut into contiguous runs, so that recordings of one speaker or session,
    which mostly lie next to each other in a file, fall into the same fold.
    """
    fold = np.zeros(len(labels), np.int64)
    if groups is not None:
        names, member, counts = np.unique(groups, return_inverse=True, return_counts=True)
        sizes = np.zeros(n_folds, np.int64)
        place = np.zeros(len(names), np.int64)
        for group in np.argsort(-counts, kind="stable"):
            place[group] = int(np.argmin(sizes))
            sizes[place[group]] += counts[group]
        fold[:] = place[member]
        return fold
    for label in np.unique(labels):
        index = np.flatnonzero(labels == label)
        fold[index] = np.arange(len(index)) * n_folds // max(len(index), 1)
    return fold


def temperature(scores: F64, labels: I64) -> float:
    """Return the factor on the scores that minimises the log loss of their softmax (scores should be out of fold)."""
    best, best_loss = 1.0, np.inf
    for factor in np.geomspace(0.5, 64.0, 43):
        z = scores * factor
        z = z - z.max(axis=1, keepdims=True)
        loss = float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]))
        if loss < best_loss:
            best, best_loss = float(factor), loss
    return best
