# SPDX-License-Identifier: Apache-2.0
"""Closed-form heads against the equations they claim to solve."""

from __future__ import annotations

import numpy as np
import pytest

from joulet.exits.heads import logits_quant, margins, quantise
from joulet.exits.ridge import fit, folds, temperature
from joulet.ir import Quant


def blobs(n: int = 240, classes: int = 4, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    labels = np.arange(n) % classes
    centres = rng.normal(0, 2, (classes, width))
    return centres[labels] + rng.normal(0, 1, (n, width)), labels


def test_a_head_solves_the_ridge_equations() -> None:
    x, labels = blobs()
    head = fit(x, labels, 4, penalty=0.03)
    unit = x.std(axis=0).max()
    centred = (x - x.mean(axis=0)) / unit
    target = np.eye(4)[labels] - np.eye(4)[labels].mean(axis=0)
    solution = np.linalg.solve(centred.T @ centred + 0.03 * len(x) * np.eye(6), centred.T @ target)
    np.testing.assert_allclose(head.weights, solution.T / unit, atol=1e-10)
    assert (head.scores(x).argmax(axis=1) == labels).mean() > 0.75  # four overlapping classes


def test_more_features_than_samples_give_the_same_equations() -> None:
    rng = np.random.default_rng(3)
    x, labels = rng.normal(0, 1, (20, 50)), np.arange(20) % 4
    head = fit(x, labels, 4, penalty=0.1)
    unit = x.std(axis=0).max()
    centred = (x - x.mean(axis=0)) / unit
    target = np.eye(4)[labels] - 0.25
    solution = np.linalg.solve(centred.T @ centred + 2.0 * np.eye(50), centred.T @ target)
    np.testing.assert_allclose(head.weights, solution.T / unit, atol=1e-10)


def test_the_chosen_penalty_is_the_best_by_leaving_one_out() -> None:
    x, labels = blobs(n=40)
    chosen = fit(x, labels, 4).penalty

    def left_out(penalty: float) -> float:
        error = 0.0
        for i in range(len(x)):
            rest = np.arange(len(x)) != i
            # The penalty is a share of the samples and of the unit of all of them; both barely move.
            part = fit(x[rest], labels[rest], 4, penalty * len(x) / (len(x) - 1))
            error += float(((part.scores(x[i : i + 1])[0] - np.eye(4)[labels[i]]) ** 2).sum())
        return error

    assert left_out(chosen) <= 1.02 * min(left_out(p) for p in np.geomspace(1e-5, 10, 13))


def test_folds_keep_neighbours_together() -> None:
    labels = np.repeat([0, 1, 2], 20)
    fold = folds(labels)
    for label in range(3):
        part = fold[labels == label]
        assert (np.diff(part) >= 0).all()
        assert np.bincount(part).tolist() == [4] * 5


def test_temperature_is_found() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 0.3, (4000, 5))
    z = np.exp(7.0 * scores)
    draws = (rng.random(4000)[:, None] > np.cumsum(z / z.sum(axis=1, keepdims=True), axis=1)).sum(axis=1)
    assert temperature(scores, np.minimum(draws, 4)) == pytest.approx(7.0, rel=0.15)


def test_an_integer_head_answers_as_the_real_one() -> None:
    x, labels = blobs()
    source = Quant(scale=(0.05,), zero_point=-9)
    q = np.clip(np.rint(x / 0.05) - 9, -128, 127).astype(np.int8)
    real = (q.astype(np.float64) + 9) * 0.05
    head = fit(real, labels, 4)
    grid = logits_quant(head.scores(real) * 8.0)
    answer = quantise(head, 8.0, source, grid).answer(q)
    wanted = head.scores(real) * 8.0 / grid.scale[0] + grid.zero_point
    assert np.abs(answer - np.clip(wanted, -128, 127)).max() < 3.0
    assert (answer.argmax(axis=1) == wanted.argmax(axis=1)).mean() > 0.98


def test_margins_take_the_first_of_equal_classes() -> None:
    margin, answer = margins(np.array([[5, 9, 9], [-128, 127, 0]], np.int8))
    assert margin.tolist() == [0, 127]
    assert answer.tolist() == [1, 1]


def test_folds_keep_groups_whole_and_even() -> None:
    groups = np.repeat(np.arange(12), [40, 30, 20, 10, 10, 10, 10, 10, 10, 10, 20, 20])
    fold = folds(np.zeros(len(groups), np.int64), np.random.default_rng(0).permutation(12)[groups])
    assert all(len(set(fold[groups == group])) == 1 for group in range(12))
    assert np.bincount(fold, minlength=5).tolist() == [40, 40, 40, 40, 40]
