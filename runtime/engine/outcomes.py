# SPDX-License-Identifier: Apache-2.0
"""What an engine says about every sample at every exit of every path: computed once, kept in a file."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from joulet.engine.seam import Array, SteppedEngine
from joulet.errors import DataError
from joulet.records import SampleOutcomes

_FORMAT = "joulet outcomes 1"
Prefixes = tuple[tuple[int, ...], ...]


def nodes_of(prefixes: Prefixes) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, ...], ...]]:
    """Return (nodes, node_of) of :class:`joulet.records.SampleOutcomes` for paths with these prefixes."""
    n_exits = len(prefixes[0])
    index: dict[tuple[int, ...], int] = {}
    nodes: list[tuple[int, int]] = []
    for exit in range(n_exits):
        for path, prefix in enumerate(prefixes):
            if prefix[: exit + 1] not in index:
                index[prefix[: exit + 1]] = len(nodes)
                nodes.append((path, exit))
    node_of = tuple(tuple(index[prefix[: exit + 1]] for exit in range(n_exits)) for prefix in prefixes)
    return tuple(nodes), node_of


def compute_outcomes(
    engine: SteppedEngine,
    inputs: Sequence[Array],
    labels: npt.NDArray[np.integer],
    prefixes: Prefixes,
    progress: Callable[[float], None] | None = None,
) -> SampleOutcomes:
    """Run every sample along every path.

    Parameters
    ----------
    engine : SteppedEngine
        What computes.
    inputs : sequence of arrays
        One ``(n, …)`` an input of the model.
    labels : array (n,)
        True classes.
    prefixes : tuple
        :attr:`joulet.records.CostTable.prefixes` of the model.
    progress : callable, optional
        Told the fraction done, 0..1.
    """
    n = len(labels)
    nodes, node_of = nodes_of(prefixes)
    confidence = np.zeros((len(nodes), n), np.uint16)
    correct = np.zeros((len(nodes), n), bool)
    # a path is run only as far as it is the first to reach a node
    deepest = [max((exit for p, exit in nodes if p == path), default=-1) for path in range(len(prefixes))]
    for sample in range(n):
        arrays = [x[sample] for x in inputs]
        for path, last in enumerate(deepest):
            if last < 0:
                continue
            engine.start(arrays, path)
            for exit in range(last + 1):
                event = engine.run_to_exit(exit)
                node = node_of[path][exit]
                if nodes[node] == (path, exit):
                    answer = np.asarray(engine.answer()).reshape(-1)
                    confidence[node, sample] = event.confidence_q15
                    correct[node, sample] = int(np.argmax(answer)) == int(labels[sample])
        if progress is not None and sample % max(1, n // 100) == 0:
            progress(sample / n)
    if progress is not None:
        progress(1.0)
    return SampleOutcomes(nodes=nodes, node_of=node_of, confidence_q15=confidence, correct=correct)


def cached_outcomes(
    engine: SteppedEngine,
    inputs: Sequence[Array],
    labels: npt.NDArray[np.integer],
    prefixes: Prefixes,
    cache: Path | None,
    progress: Callable[[float], None] | None = None,
) -> SampleOutcomes:
    """Return :func:`compute_outcomes`, from a file in ``cache`` when model and data are the same as before."""
    if cache is None:
        return compute_outcomes(engine, inputs, labels, prefixes, progress)
    digest = hashlib.sha256(f"{_FORMAT} {engine.model_hash} {prefixes}".encode())
    for array in (*inputs, np.asarray(labels, np.int64)):
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    path = cache / f"outcomes-{digest.hexdigest()[:32]}.npz"
    nodes, node_of = nodes_of(prefixes)
    found = _read(path, (len(nodes), len(labels)))
    if found is not None:
        return SampleOutcomes(nodes=nodes, node_of=node_of, confidence_q15=found[0], correct=found[1])
    outcomes = compute_outcomes(engine, inputs, labels, prefixes, progress)
    _write(path, outcomes)
    return outcomes


def _read(path: Path, shape: tuple[int, int]) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]] | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            confidence, correct = archive["confidence_q15"], archive["correct"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # absent or damaged: computed again and replaced
    fits = confidence.shape == correct.shape == shape and confidence.dtype == np.uint16 and correct.dtype == np.bool_
    return (confidence, correct) if fits else None


def _write(path: Path, outcomes: SampleOutcomes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    except OSError as error:
        raise DataError(
            f"cache '{path.parent}' cannot be written ({error.strerror}); name another with --cache"
        ) from error
    with os.fdopen(handle, "wb") as file:
        np.savez_compressed(file, confidence_q15=outcomes.confidence_q15, correct=outcomes.correct)
    Path(name).replace(path)
