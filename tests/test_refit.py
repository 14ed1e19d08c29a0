# SPDX-License-Identifier: Apache-2.0
"""Recursive least squares in C against closed forms, and the integers that come of it against the engine's own head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tiny import tiny_inputs

from joulet._core import ffi, lib
from joulet.engine.host import HostEngine
from joulet.engine.refit import HeadRefit, RefitRule
from joulet.errors import UsageError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
TINY = Path(__file__).parent / "golden" / "containers" / "v1" / "tiny.jlt"
EPS = 2.0**-24


class Rls:
    """csrc/core/rls.c on arrays."""

    def __init__(self, n: int, rows: int, *, prior: float, forgetting: float) -> None:
        self.covariance = np.zeros(n * (n + 1) // 2, np.float32)
        self.weights, self.gain = np.zeros((rows, n), np.float32), np.zeros(n, np.float32)
        self.c = ffi.new("jlt_rls_t *", {"prior": prior, "forgetting": forgetting, "n": n, "rows": rows})
        for name in ("covariance", "weights", "gain"):
            setattr(self.c, name, ffi.cast("float *", getattr(self, name).ctypes.data))
        lib.jlt_rls_begin(self.c)

    def update(self, x: F32, right: int, target: float) -> None:
        lib.jlt_rls_update(self.c, ffi.cast("const float *", x.ctypes.data), right, target)

    def full(self) -> F64:
        """Return U D U'."""
        n = len(self.gain)
        u, d = np.eye(n), np.zeros(n)
        for j in range(n):
            at = j * (j + 1) // 2
            u[:j, j], d[j] = self.covariance[at : at + j], self.covariance[at + j]
        return np.asarray((u * d) @ u.T)


def stream(n: int, count: int, seed: int, condition: float) -> tuple[F32, npt.NDArray[np.int64]]:
    """Return features ``(count, n)`` with a given spread of variances, mixed, and classes that depend on them."""
    rng = np.random.default_rng(seed)
    mix = np.linalg.qr(rng.normal(size=(n, n)))[0]
    x = (rng.normal(size=(count, n)) * np.geomspace(1.0, condition**-0.5, n)) @ mix
    return x.astype(np.float32), (x @ rng.normal(size=(n, 3))).argmax(axis=1)


@pytest.mark.parametrize(("condition", "seed"), [(1.0, 0), (1e4, 1), (1e8, 2)])
def test_after_all_samples_it_is_the_closed_form_ridge_solution(condition: float, seed: int) -> None:
    n, count, prior, target = 24, 400, 10.0, 100.0
    x, labels = stream(n, count, seed, condition)
    rls = Rls(n, 3, prior=prior, forgetting=1.0)
    start = np.random.default_rng(9).normal(size=(3, n)).astype(np.float32)
    rls.weights[:] = start
    for row, label in zip(x, labels, strict=True):
        rls.update(row, int(label), target)
    wide = x.astype(np.float64)
    information = wide.T @ wide + np.eye(n) / prior
    y = target * (labels[:, None] == np.arange(3))
    expected = np.linalg.solve(information, wide.T @ y + start.T / prior).T
    # Every update is exact for features and factors changed by O(n eps) (Bierman, V.3), so after N of them what is
    # solved has an information matrix changed by no more than O(N n eps) of itself, and the weights by its root
    # condition number times that. N n = 9,600; errors of either sign leave the root of N.
    spread = np.sqrt(np.linalg.cond(information))
    bound = np.sqrt(count) * n * EPS * spread * np.abs(expected).max()
    assert np.abs(rls.weights - expected).max() <= bound
    inverse = np.linalg.inv(information)
    assert np.abs(rls.full() - inverse).max() <= np.sqrt(count) * n * EPS * spread * np.abs(inverse).max()


def test_forgetting_weighs_samples_by_their_age() -> None:
    n, count, forgetting = 6, 300, 0.97
    x, labels = stream(n, count, 3, 10.0)
    labels[count // 2 :] = (labels[count // 2 :] + 1) % 3  # what was right is wrong now
    rls = Rls(n, 3, prior=1e3, forgetting=forgetting)
    for row, label in zip(x, labels, strict=True):
        rls.update(row, int(label), 1.0)
    age = forgetting ** np.arange(count - 1, -1, -1.0)
    wide = x.astype(np.float64)
    # the prior is forgotten as well: 0.97^300 of it is left
    information = (wide.T * age) @ wide + np.eye(n) * forgetting**count / 1e3
    expected = np.linalg.solve(information, (wide.T * age) @ (labels[:, None] == np.arange(3))).T
    np.testing.assert_allclose(rls.weights, expected, atol=2e-4)
    right = (wide[-50:] @ rls.weights.T.astype(np.float64)).argmax(axis=1) == labels[-50:]
    assert right.mean() > 0.8


def test_what_no_sample_excites_does_not_blow_up() -> None:
    n = 16
    rls = Rls(n, 2, prior=1.0, forgetting=0.9)
    rng = np.random.default_rng(4)
    x = np.zeros(n, np.float32)
    for k in range(30_000):
        x[:3] = rng.uniform(-2.0, 2.0, 3) if k % 7 else 2.0
        rls.update(x, int(rng.integers(2)), 255.0)
    assert np.isfinite(rls.weights).all()
    diagonal = rls.covariance[[j * (j + 1) // 2 + j for j in range(n)]]
    assert (diagonal > 0.0).all()
    assert (diagonal <= 1.0).all()
    values = np.linalg.eigvalsh(rls.full())
    assert values.min() > 0.0
    assert values.max() <= n


def test_the_plain_form_loses_its_sign_where_this_does_not() -> None:
    """Why the factors: P − K x'P in float32 goes indefinite on the same samples."""
    n = 24
    x, labels = stream(n, 400, 2, 1e4)
    x *= np.float32(30.0)  # as some hundred pooled features with one mean would be
    rls = Rls(n, 3, prior=1e3, forgetting=0.99)
    plain, one = np.eye(n, dtype=np.float32) * np.float32(1e3), np.float32(0.99)
    for row, label in zip(x, labels, strict=True):
        rls.update(row, int(label), 1.0)
        px = plain @ row
        plain = ((plain - np.outer(px / (one + row @ px), px)) / one).astype(np.float32)
    assert np.linalg.eigvalsh(plain.astype(np.float64)).min() < 0.0
    assert np.linalg.eigvalsh(rls.full()).min() > 0.0


@pytest.fixture
def engine() -> HostEngine:
    return HostEngine(TINY)


RULE = RefitRule(target=96.0)


def answers(engine: HostEngine, path: int = 0) -> npt.NDArray[np.int8]:
    out = []
    for x in tiny_inputs():
        engine.start([x[None]], path)
        engine.run_to_exit(0)
        out.append(engine.answer().reshape(-1))
    return np.asarray(out)


def test_before_any_label_it_is_the_containers_head(engine: HostEngine) -> None:
    before = answers(engine)
    refit = HeadRefit(engine, "early", RULE)
    assert (refit.n_features, refit.n_classes, refit.updates) == (4, 3, 0)
    weights = refit.head()[0]
    assert (
        np.abs(answers(engine).astype(int) - before).max() <= 1
    )  # scales of our own choice, to 1/127 of the largest weight
    assert (np.abs(weights).max(axis=1) == 127).all()
    refit.close()
    np.testing.assert_array_equal(answers(engine), before)


def test_the_engine_runs_the_integers_that_are_told(engine: HostEngine) -> None:
    """Logits from weights, bias, multipliers and shifts by NumPy, in whole numbers; and the last exit stays as it was."""
    last = engine.infer([tiny_inputs()]).outputs[0]
    refit = HeadRefit(engine, 0, RULE)
    container = engine.container
    op = next(op for op in container.ops if int(op["output"]) == int(container.exits[0]["logits"]))
    zero_points = [int(container.tensors[int(t)]["zero_point"]) for t in (op["inputs"][0], op["output"])]
    rng = np.random.default_rng(0)
    for x in tiny_inputs(40):
        weights, bias, multipliers, shifts = (part.astype(object) for part in refit.head())
        engine.start([x[None]], int(rng.integers(len(engine.path_names))))
        margin = engine.run_to_exit(0)
        features = np.frombuffer(ffi.buffer(refit._refit.head.features, 4), np.int8).astype(object)
        sums = weights @ (features - zero_points[0]) + bias
        high = [(int(s) * int(m) + (1 << 30)) >> 31 for s, m in zip(sums, multipliers, strict=True)]
        logits = [
            max(-128, min(127, ((h + (1 << -s >> 1) - (h < 0 and s < 0)) >> -s) + zero_points[1]))
            for h, s in zip(high, shifts, strict=True)
        ]
        first, second = sorted(logits)[-1:-3:-1]
        assert refit.last == (int(np.argmax(logits)), first - second)
        assert margin.confidence_q15 == refit.confidence_q15()[(first - second) >> 3]
        assert int(np.argmax(engine.answer())) == int(np.argmax(logits))
        refit.learn(int(rng.integers(3)))
    np.testing.assert_array_equal(engine.infer([tiny_inputs()]).outputs[0], last)


def test_the_same_labels_give_the_same_bytes_and_a_state_can_be_taken_up(engine: HostEngine) -> None:
    def learn(refit: HeadRefit, labels: range) -> bytes:
        for k in labels:
            engine.start([tiny_inputs(64)[k][None]], 0)
            engine.run_to_exit(0)
            refit.learn(k * 7 % 3)
        return refit.state() + b"".join(part.tobytes() for part in refit.head())

    whole = learn(HeadRefit(engine, 0, RULE), range(64))
    first = HeadRefit(engine, 0, RULE)
    learn(first, range(30))
    second = HeadRefit(engine, 0, RULE)
    assert second.restore(first.state(), 30)
    assert learn(second, range(30, 64)) == whole
    assert second.updates == 64
    second.reset()
    assert second.updates == 0
    assert second.state() == HeadRefit(engine, 0, RULE).state()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0, 1e30])
def test_a_state_that_learning_cannot_leave_is_no_state(engine: HostEngine, value: float) -> None:
    refit = HeadRefit(engine, 0, RULE)
    factory = refit.state()
    for at in range(len(factory) // 4):
        state = np.frombuffer(factory, np.float32).copy()
        state[at] = value
        kept = refit.restore(state.tobytes(), 5)
        if kept:
            assert value == -1.0  # a number like any other, but for a variance
        else:
            assert (refit.updates, refit.state()) == (0, factory)
    with pytest.raises(UsageError, match="bytes"):
        refit.restore(factory[:-4], 1)


def test_random_labels_and_hostile_inputs_leave_a_sound_head(engine: HostEngine) -> None:
    refit = HeadRefit(engine, 0, RefitRule(forgetting=0.9, prior=1e3, target=255.0))
    rng = np.random.default_rng(6)
    for k in range(3000):
        x = rng.choice(np.array([-128, 127], np.int8), (1, 4, 4, 2)) if k % 2 else np.full((1, 4, 4, 2), 127, np.int8)
        engine.start([x], 0)
        engine.run_to_exit(0)
        refit.learn(int(rng.integers(3)))
        _, bias, multipliers, shifts = refit.head()
        assert (np.abs(bias.astype(np.int64)) <= 2**30).all()
        assert (multipliers >= 2**30).all()
        assert ((shifts >= -31) & (shifts <= 0)).all()
    assert refit.updates == 3000


def test_labels_exits_and_rules_are_checked(engine: HostEngine) -> None:
    with pytest.raises(UsageError, match="imported"):
        HeadRefit(engine, "final", RULE)
    with pytest.raises(UsageError, match="the model has"):
        HeadRefit(engine, "nowhere", RULE)
    with pytest.raises(UsageError, match="target"):
        HeadRefit(engine, "early")  # its biases add up to nothing
    for bad in ({"forgetting": 0.5}, {"forgetting": float("nan")}, {"prior": 0.0}, {"target": 4.0}):
        with pytest.raises(UsageError, match="refit"):
            RefitRule(**bad)
    refit = HeadRefit(engine, 0, RULE)
    with pytest.raises(UsageError, match="nothing to learn"):
        refit.learn(0)
    answers(engine)
    with pytest.raises(UsageError, match="classes"):
        refit.learn(3)
    with pytest.raises(UsageError, match="classes"):
        refit.learn(-1)
    refit.learn(0)
    with pytest.raises(UsageError, match="nothing to learn"):
        refit.learn(0)


def test_memory_is_fixed_and_said_beforehand(engine: HostEngine) -> None:
    refit = HeadRefit(engine, 0, RULE)
    n, classes = 5, 3
    assert refit.memory_bytes == 4 * (n * (n + 1) // 2 + classes * n + 64 + 2 * n + 3 * classes) + 12 + 4
    assert lib.jlt_refit_bytes(512, 12) < 600_000
    assert [lib.jlt_refit_bytes(*shape) for shape in ((0, 3), (513, 3), (8, 1), (8, 65))] == [0] * 4
    rule = ffi.new("jlt_refit_rule_t *", {"forgetting": 0.99, "prior": 1.0, "target": 96.0})
    out, memory = ffi.new("jlt_refit_t *"), ffi.new("uint8_t[]", refit.memory_bytes)
    assert lib.jlt_refit_open(out, engine.checked, 0, rule, memory, refit.memory_bytes) == 0
    assert lib.jlt_refit_open(out, engine.checked, 0, rule, memory, refit.memory_bytes - 1) == -1
    assert lib.jlt_refit_open(out, engine.checked, 7, rule, memory, refit.memory_bytes) == -1
