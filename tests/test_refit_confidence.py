# SPDX-License-Identifier: Apache-2.0
"""What a head that learns says of its own answers: counts of labels that were predicted first, and the container's table."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tiny import tiny_inputs

from joulet._core import ffi, lib
from joulet.compile import compile_model
from joulet.engine.host import HostEngine
from joulet.engine.refit import HeadRefit, RefitRule
from joulet.importers.tflite import load_tflite
from joulet.zoo.datasets import load_split

F64 = npt.NDArray[np.float64]
TINY = Path(__file__).parent / "golden" / "containers" / "v1" / "tiny.jlt"
RULE = RefitRule(forgetting=0.99, prior=1.0, target=96.0)
PRIOR = 4.0  # labels that a bin of the table weighs as much as
BINS = 32


@pytest.fixture
def engine() -> HostEngine:
    return HostEngine(TINY)


class Counts:
    """csrc/core/prequential.c on arrays."""

    def __init__(self) -> None:
        self.seen, self.right = np.zeros(BINS, np.float32), np.zeros(BINS, np.float32)
        self.c = ffi.new("jlt_prequential_t *")
        for name in ("seen", "right"):
            setattr(self.c, name, ffi.cast("float *", getattr(self, name).ctypes.data))
        lib.jlt_prequential_begin(self.c)

    def add(self, margin: int, right: bool, forgetting: float = 1.0) -> None:
        lib.jlt_prequential_add(self.c, margin, right, forgetting)

    def table(self, prior: npt.NDArray[np.uint16]) -> F64:
        told = ffi.cast("const uint16_t *", prior.ctypes.data)
        return np.array([lib.jlt_prequential_confidence(self.c, told, 8 * b) for b in range(BINS)], np.float64)


def blended(prior: npt.NDArray[np.uint16], seen: F64, right: F64) -> F64:
    """Isotonic regression by its closed form: at a bin, the largest over starts of the smallest over ends of means."""
    hits, labels = PRIOR * prior.astype(np.float64) + 32767.0 * right, PRIOR + seen
    means = np.full((BINS, BINS), np.inf)
    for i in range(BINS):
        for j in range(i, BINS):
            means[i, j] = hits[i : j + 1].sum() / labels[i : j + 1].sum()
    return np.array([max(means[i, b:].min() for i in range(b + 1)) for b in range(BINS)])


def shipped(rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    return np.sort(rng.integers(3000, 32768, BINS)).astype(np.uint16)


@pytest.mark.parametrize("seed", range(20))
def test_the_table_is_the_isotonic_mean_of_prior_and_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts, prior = Counts(), shipped(rng)
    forgetting = float(rng.choice([0.9, 0.99, 0.998, 1.0]))
    for _ in range(int(rng.integers(1, 400))):
        margin = int(rng.integers(256))
        counts.add(margin, bool(rng.random() < rng.random() * margin / 255.0), forgetting)
    table = counts.table(prior)
    expected = blended(prior, counts.seen.astype(np.float64), counts.right.astype(np.float64))
    # rounding to a step, and 64 sums of float32
    assert np.abs(table - expected).max() <= 0.5 + 32767.0 * 64 * 2.0**-24
    assert (np.diff(table) >= 0).all()


def test_counts_forget_as_the_head_does_and_stop_where_nothing_is_forgotten() -> None:
    counts = Counts()
    for k in range(1000):
        counts.add(40, k % 2 == 0, 0.9)
    assert counts.seen[5] == pytest.approx(10.0, rel=1e-4)
    # the last answer was wrong, the one before right: 0.9 + 0.9^3 + … of what 1 + 0.9 + … is
    assert counts.right[5] / counts.seen[5] == pytest.approx(0.9 / 1.9, rel=1e-4)
    counts.seen[0], counts.right[0] = 2.0**24, 2.0**24
    counts.add(0, True)
    assert counts.seen[0] == 2.0**24
    assert lib.jlt_prequential_is_sound(counts.c)
    assert counts.table(np.zeros(BINS, np.uint16))[0] <= 32767


def test_each_table_of_the_container_has_its_own_blend() -> None:
    rng = np.random.default_rng(3)
    counts = Counts()
    for _ in range(100):
        counts.add(int(rng.integers(256)), bool(rng.random() < 0.5))
    one, other = shipped(rng), shipped(rng)
    first, second = counts.table(one), counts.table(other)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(counts.table(one), first)


def test_before_a_label_it_is_the_containers_table_and_after_a_reset_again(engine: HostEngine) -> None:
    before = engine.infer([tiny_inputs(40)], path=0, depth=0).confidence_q15
    refit = HeadRefit(engine, 0, RULE)
    table = engine.container.confidence[int(engine.container.paths[0]["confidence"][0])]
    np.testing.assert_array_equal(refit.confidence_q15(), table)
    # the head of the container in the integers of the refit: margins a step apart at most, and bins as near
    assert np.abs(engine.infer([tiny_inputs(40)], path=0, depth=0).confidence_q15.astype(int) - before).max() <= 1400
    teach(engine, refit, 30)
    assert not np.array_equal(refit.confidence_q15(), table)
    refit.reset()
    np.testing.assert_array_equal(refit.confidence_q15(), table)
    refit.close()
    np.testing.assert_array_equal(engine.infer([tiny_inputs(40)], path=0, depth=0).confidence_q15, before)


def teach(engine: HostEngine, refit: HeadRefit, n: int) -> tuple[F64, F64]:
    """Teach random labels; return (seen, right) counted here, each label before it is learned."""
    rng = np.random.default_rng(7)
    seen, right = np.zeros(BINS), np.zeros(BINS)
    for x in tiny_inputs(n):
        engine.start([x[None]], 0)
        event = engine.run_to_exit(0)
        predicted, margin = refit.last
        assert predicted == int(np.argmax(engine.answer()))
        assert event.confidence_q15 == refit.confidence_q15()[margin >> 3]
        label = int(rng.integers(3))
        refit.learn(label)
        seen, right = seen * RULE.forgetting, right * RULE.forgetting
        seen[margin >> 3] += 1.0
        right[margin >> 3] += predicted == label
    return seen, right


def test_labels_are_counted_before_they_are_learned(engine: HostEngine) -> None:
    refit = HeadRefit(engine, 0, RULE)
    seen, right = teach(engine, refit, 60)
    state = np.frombuffer(refit.state(), np.float32)[-2 * BINS :].astype(np.float64)
    np.testing.assert_allclose(state, np.concatenate([seen, right]), rtol=1e-5)
    table = engine.container.confidence[int(engine.container.paths[0]["confidence"][0])]
    assert np.abs(refit.confidence_q15() - blended(table, seen, right)).max() <= 1.0


def test_the_counts_are_part_of_the_state_and_hostile_ones_are_refused(engine: HostEngine) -> None:
    refit = HeadRefit(engine, 0, RULE)
    factory = refit.state()
    teach(engine, refit, 40)
    state, told = refit.state(), refit.confidence_q15()
    refit.reset()
    assert refit.restore(state, 40)
    np.testing.assert_array_equal(refit.confidence_q15(), told)
    for at, value in ((-1, np.nan), (-1, 1e9), (-BINS - 1, np.inf), (-1, -1.0), (-BINS - 1, -0.5)):
        bad = np.frombuffer(state, np.float32).copy()
        bad[at] = value
        assert not refit.restore(bad.tobytes(), 40)
        assert (refit.updates, refit.state()) == (0, factory)


def test_paths_in_float_keep_the_containers_table() -> None:
    rng = np.random.default_rng(2)
    model = Path(__file__).parent / "models" / "residual_int8.tflite"
    shape = load_tflite(model).tensors[0].shape[1:]
    x, y = rng.integers(-128, 128, (90, *shape)).astype(np.int8), rng.integers(0, 3, 90)
    container = compile_model(model, data={"input_0": x, "labels": y}, exits=1, precisions=("w8", "f32")).container
    engine = HostEngine(container)
    before = [engine.infer([x[:20]], path=path, depth=0).confidence_q15 for path in ("w8", "f32")]
    refit = HeadRefit(engine, 0, RULE)
    for k in range(60):
        engine.start([x[k][None]], 0)
        engine.run_to_exit(0)
        refit.learn(int(y[k]))
    after = [engine.infer([x[:20]], path=path, depth=0).confidence_q15 for path in ("w8", "f32")]
    assert not np.array_equal(after[0], before[0])
    np.testing.assert_array_equal(after[1], before[1])


def test_a_table_that_has_become_wrong_is_put_right() -> None:
    """A head that the table thinks 97 % right and that is right six times in ten, at whatever margin."""
    rng = np.random.default_rng(11)
    counts, prior = Counts(), np.full(BINS, 31784, np.uint16)
    for _ in range(400):
        counts.add(int(rng.integers(64, 160)), bool(rng.random() < 0.6), 0.998)
    asked = counts.table(prior)[8:20] / 32767.0
    assert np.abs(asked - 0.6).mean() < 0.1
    assert (counts.table(prior)[20:] / 32767.0 > 0.9).all()  # where nothing was seen, the prior stands


def test_a_patient_is_learned_and_so_is_how_sure_to_be(shared_data: Path) -> None:
    """The study's own figures: adapting helps, and the table that labels told is nearer than the shipped one."""
    sys.path.insert(0, str(Path(__file__).parent / "studies"))
    from refit_patients import detector, follow

    test, engine = load_split("mitbih", shared_data / "ecg_mitbih", "test"), detector()
    assert test.groups is not None
    mine = test.groups == 116
    found = follow(engine, 0, test.x[mine], test.y[mine])
    assert found["learned_percent"] >= found["shipped_percent"]
    assert found["error_told"] < 3.0
    assert found["error_told"] <= found["error_by_shipped_table"]
