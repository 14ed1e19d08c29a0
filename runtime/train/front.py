# SPDX-License-Identifier: Apache-2.0
"""From a .tflite model and labelled data to a container whose weights were fine-tuned for all its operating points."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.boards import load_board
from joulet.compile import CompileResult, Progress, finished
from joulet.errors import DataError, UnsupportedModelError, UsageError
from joulet.exits.attach import Attached, as_classifier, attach_exits, own_answers
from joulet.exits.confidence import Stops
from joulet.exits.heads import margins
from joulet.exits.paths import calibrated_paths
from joulet.exits.ridge import folds
from joulet.importers.tflite import load_tflite
from joulet.ir import Graph, Precision
from joulet.passes.macs import macs
from joulet.passes.pipeline import exact_passes
from joulet.quant.bare import bare_quant_graph, check_integer, weighted_ops, with_exit
from joulet.quant.bias import corrected
from joulet.quant.calibration import Calibration, check_calibration, load_calibration
from joulet.quant.nested import MIX_BUDGET, all_four, search_mix, setting_of, storage_of
from joulet.quant.on_engine import execute_on_engine
from joulet.quant.probe import Array, Execute, full, probe
from joulet.quant.recover import recovered, with_biases
from joulet.train.checkpoint import Store
from joulet.train.fit import Epoch, Options, Samples, fit
from joulet.train.net import Net, torch_module

_LEAST_SHARE = 0.1  # of an exit in the loss, however rarely inferences stop there
_LEAST_SAMPLES = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """The container and its report, how every epoch went, and the share of each exit in the loss."""

    result: CompileResult
    epochs: tuple[Epoch, ...]
    shares: tuple[float, ...]


def train_model(
    source: Path | str | bytes,
    *,
    data: Path | str | Mapping[str, Array],
    exits: str | int = "off",
    options: Options | None = None,
    shares: Sequence[float] | None = None,
    mix_bytes: float = MIX_BUDGET,
    board: str | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    execute: Execute = execute_on_engine,
) -> Trained:
    """Fine-tune an int8 model for eight and four bits, and for all its exits, at once.

    Parameters
    ----------
    source
        An int8 .tflite file, or its bytes.
    data
        As for :func:`joulet.compile.compile_model`. One fifth (whole groups where there are any) is held out: it chooses
        the epoch and sets the confidence tables, so that confidences are not those of samples learned from.
    exits
        Early exits to attach before training: ``auto``, a number, or ``off``.
    options
        Epochs, batch, rate and so on.
    shares
        Share of inferences that stop at each exit, the last included, such as a policy's visit counts on traces; by
        default that of the stopping rule on the held-out samples.
    mix_bytes
        Weight bytes of ``mix`` as a share of those of ``w8``.
    board
        A board whose cost table is added.
    checkpoint
        File that holds the state between sittings; none is kept when None.
    resume
        Continue from that file.
    progress
        Called with (what, done, total).
    execute
        Runs probes; the C engine of this machine by default.

    Raises
    ------
    MissingDependencyError
        Without PyTorch.
    JouletError
        For a model, data, checkpoint or options that cannot be taken.
    """
    torch = torch_module()
    options = options or Options()
    _check_options(options, mix_bytes)
    chosen_board = load_board(board) if board is not None else None
    imported = load_tflite(Path(source) if isinstance(source, str) else source)
    arrays = load_calibration(Path(data)) if isinstance(data, (str, Path)) else data
    check_integer(imported)
    graph = with_exit(exact_passes(imported))
    calibration = check_calibration(imported, arrays)
    feeds = {new: calibration.feeds[old] for old, new in zip(imported.inputs, graph.inputs, strict=True)}
    if calibration.labels is not None:
        graph = as_classifier(graph)
    _check_classes(graph, calibration)
    truth = calibration.labels if calibration.labels is not None else own_answers(execute, graph, feeds)
    held = folds(truth, calibration.groups) == 0
    identity = _identity(imported, feeds, truth, exits, options, shares)
    store = Store(checkpoint, identity, resume=resume)
    learn, judge = _part(calibration, feeds, ~held), _part(calibration, feeds, held)

    labels = learn.labels if learn.labels is not None else truth[~held]
    # Features move while they are trained, so gates fitted before would not fit after.
    attached = attach_exits(
        execute, graph, learn.feeds, labels, groups=learn.groups, exits=exits, gates=False, progress=progress
    )
    start = recovered(execute, attached.graph, learn.feeds, progress=progress).graph
    w4 = corrected(execute, start, all_four(start), learn.feeds, reference=attached.graph, progress=progress)
    w8 = Precision(name="w8", bits=dict.fromkeys(weighted_ops(start), 8))
    net = Net(torch, start, {p.name: p.bits for p in (w8, w4)}, {p.name: p.bias for p in (w8, w4)})

    outcome = _Outcome(execute, judge.feeds, truth[held])
    taken = _shares(shares, outcome, attached.graph, w8)
    samples = Samples(
        inputs=tuple(learn.feeds[t] for t in graph.inputs),
        labels=learn.labels,
        teacher=_teacher(execute, attached.graph, learn.feeds, options.flip),
    )
    torch.manual_seed(options.seed)
    epochs = fit(net, samples, lambda: outcome.last(*exported(net)), taken, options, store, progress=progress)

    final, precisions = exported(net)
    mix = search_mix(execute, final, learn.feeds, budget=mix_bytes, progress=progress)
    fitted = (*precisions, corrected(execute, final, mix.precision, learn.feeds, progress=progress))
    bare = bare_quant_graph(final, tuple(p.name for p in fitted))
    storage = storage_of(final, fitted)
    # The heads are trained and the tables made on samples held out, so no version without a fold is needed.
    plain = Attached(
        graph=final,
        heads=(None,) * len(final.exits),
        labels=truth[held],
        fold=np.zeros(int(held.sum()), np.int64),
        notes=attached.notes,
    )
    paths, reports = calibrated_paths(execute, plain, fitted, storage, judge.feeds, progress=progress)
    notes = (*bare.notes, *plain.notes, _note(epochs, int((~held).sum())))
    quantised = replace(bare, precisions=fitted, storage=storage, paths=paths, notes=notes)
    result = finished(
        quantised, calibration=judge, macs_imported=sum(macs(imported)), reports=reports, board=chosen_board
    )
    return Trained(result=result, epochs=epochs, shares=taken)


def exported(net: Net) -> tuple[Graph, tuple[Precision, ...]]:
    """Return the integers a net stands for: a graph with its weights and 8-bit biases, and its precisions."""
    graph = net.graph
    tensors = list(graph.tensors)
    for index in net.weights:
        weights = graph.ops[index].inputs[1]
        tensors[weights] = replace(tensors[weights], data=net.integer_weights(index))
    graph = replace(graph, tensors=tuple(tensors))
    layers = tuple(net.weights)
    graph = with_biases(graph, {i: net.integer_bias("w8", i) for i in layers})
    precisions = [Precision(name="w8", bits=net.bits["w8"])]
    for name, bits in net.bits.items():
        if name != "w8":
            precisions.append(Precision(name=name, bits=bits, bias={i: net.integer_bias(name, i) for i in layers}))
    return graph, tuple(precisions)


class _Outcome:
    """What precisions answer on the held-out samples, by the engine."""

    def __init__(self, execute: Execute, feeds: dict[int, Array], truth: npt.NDArray[np.int64]) -> None:
        self.execute, self.feeds, self.truth = execute, feeds, truth

    def logits(self, graph: Graph, precision: Precision) -> list[Array]:
        """Return int8 logits ``(n, classes)`` of every exit."""
        wanted = tuple(dict.fromkeys(e.logits for e in graph.exits))
        found = probe(self.execute, graph, setting_of(graph, precision), self.feeds, wanted)
        return [found[e.logits].reshape(len(self.truth), -1) for e in graph.exits]

    def last(self, graph: Graph, precisions: Sequence[Precision]) -> dict[str, float]:
        """Return the accuracy of the last exit by precision."""
        return {p.name: float((self.logits(graph, p)[-1].argmax(axis=1) == self.truth).mean()) for p in precisions}


def _shares(given: Sequence[float] | None, outcome: _Outcome, graph: Graph, w8: Precision) -> tuple[float, ...]:
    """Return the share of each exit in the loss; they sum to 1."""
    count = len(graph.exits)
    if given is not None:
        values = np.asarray(given, np.float64)
        if len(values) != count or (values < 0).any() or values.sum() <= 0:
            raise UsageError(f"exit shares {tuple(given)}: give {count} numbers from 0, one an exit, the last included")
        return tuple(float(v) for v in values / values.sum())
    from joulet.exits.confidence import choose_stops, margin_bins
    from joulet.exits.cost import exit_macs

    seen = [margins(z) for z in outcome.logits(graph, w8)]
    bins = np.stack([margin_bins(margin) for margin, _ in seen])
    correct = np.stack([answer == outcome.truth for _, answer in seen]).astype(np.float64)
    costs = np.asarray(exit_macs(graph), np.float64) / max(1, exit_macs(graph, heads_on_the_way=False)[-1])
    stops = choose_stops(bins, correct, costs, float(correct[-1].mean()))
    visits = np.maximum(_visits(bins, stops), _LEAST_SHARE)
    return tuple(float(v) for v in visits / visits.sum())


def _visits(bins: npt.NDArray[np.int64], stops: Stops) -> npt.NDArray[np.float64]:
    """Return the share of samples that stop at each exit."""
    found = np.zeros(len(bins))
    going = np.ones(bins.shape[1], bool)
    for k in range(len(bins)):
        here = going & (bins[k] >= stops.bins[k]) if k < len(bins) - 1 else going
        found[k] = here.mean()
        going = going & ~here
    return found


def _teacher(execute: Execute, graph: Graph, feeds: dict[int, Array], flip: bool) -> npt.NDArray[np.float32]:
    """Return the imported model's last logits in real units, ``(sides, n, classes)``."""
    tensor = graph.exits[-1].logits
    quant = graph.tensors[tensor].quant
    assert quant is not None
    sides = [feeds]
    if flip:
        sides.append({t: np.ascontiguousarray(a[:, :, ::-1]) if a.ndim == 4 else a for t, a in feeds.items()})
    found = [probe(execute, graph, full(graph), side, (tensor,))[tensor] for side in sides]
    real = [(z.reshape(len(z), -1).astype(np.float32) - quant.zero_point) * quant.scale[0] for z in found]
    return np.stack(real).astype(np.float32)


def _part(calibration: Calibration, feeds: dict[int, Array], taken: npt.NDArray[np.bool_]) -> Calibration:
    return Calibration(
        feeds={t: a[taken] for t, a in feeds.items()},
        labels=None if calibration.labels is None else calibration.labels[taken],
        groups=None if calibration.groups is None else calibration.groups[taken],
        samples=int(taken.sum()),
    )


def _check_classes(graph: Graph, calibration: Calibration) -> None:
    classes = graph.exits[-1].n_classes
    if classes < 2:
        raise UnsupportedModelError(f"model {graph.name!r} has no classes; training here is for classifiers")
    if calibration.samples < max(_LEAST_SAMPLES, 2 * classes):
        least = max(_LEAST_SAMPLES, 2 * classes)
        raise DataError(f"training data: {calibration.samples} samples are too few; give {least}, better thousands")
    if calibration.labels is not None and int(calibration.labels.max()) >= classes:
        raise DataError(
            f"training data: labels reach {int(calibration.labels.max())}; the model has classes 0..{classes - 1}"
        )


def _check_options(options: Options, mix_bytes: float) -> None:
    if options.epochs < 1 or options.batch < 1:
        raise UsageError(f"epochs {options.epochs}, batch {options.batch}: give at least 1 of each")
    if not 0 < options.rate <= 10 or not 0 <= options.distil <= 1:
        raise UsageError(f"rate {options.rate}, distil {options.distil}: give a rate up to 10 and a share from 0 to 1")
    if not 0.5 < mix_bytes <= 1:
        raise UsageError(f"mix bytes {mix_bytes:.0%}: give a share of the bytes of w8 above 50 % and up to 100 %")


def _identity(
    imported: Graph,
    feeds: dict[int, Array],
    truth: npt.NDArray[np.int64],
    exits: str | int,
    options: Options,
    shares: Sequence[float] | None,
) -> str:
    """Return a hash of everything a checkpoint depends on."""
    digest = hashlib.sha256()
    for tensor in imported.tensors:
        if tensor.data is not None:
            digest.update(np.ascontiguousarray(tensor.data).tobytes())
    for array in (*feeds.values(), truth):
        digest.update(np.ascontiguousarray(array).tobytes())
    settings: dict[str, Any] = {"exits": str(exits), "shares": list(shares or ()), **asdict(options)}
    digest.update(json.dumps(settings, sort_keys=True).encode())
    return digest.hexdigest()


def _note(epochs: tuple[Epoch, ...], samples: int) -> str:
    best = max(epochs, key=lambda e: sum(e.held_out.values()))
    return (
        f"weights fine-tuned on {samples} samples, epoch {best.number} of {epochs[-1].number} taken; "
        "w8 is not the imported model"
    )
