# SPDX-License-Identifier: Apache-2.0
"""The options of ``joulet run`` that fit an exit's head again, and what is said of it afterwards."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from joulet.boards import Board
from joulet.engine.host import HostEngine
from joulet.engine.learner import Judged, Learner, LearningAnswers, judge
from joulet.engine.refit import HeadRefit, RefitRule, parse_rule
from joulet.engine.seam import Array
from joulet.errors import UsageError
from joulet.records import LoadFigures, RunRecord
from joulet.session import Learning
from joulet.simulate.learning import plenty_v, price_of
from joulet.units import parse_quantity


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("learning")
    group.add_argument("--refit", metavar="EXIT", help="fit this exit's head again, while energy is in surplus (none)")
    group.add_argument(
        "--refit-from",
        choices=("labels", "last"),
        default="labels",
        help="who teaches: the input's labels, each after its answer; or the last exit where it is sure, which confirms its "
        "own mistakes (labels)",
    )
    group.add_argument(
        "--refit-rule", default="", metavar="R", help="forgetting=0.998,prior=0.1,target=96 or some of them; see README"
    )
    group.add_argument(
        "--refit-surplus",
        metavar="V",
        help="store from which on it is fitted: a voltage, or price: where the policy's table says that the energy buys "
        "nothing else, on a virtual board (four fifths of the store)",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitOptions:
    """What the options ask for, checked: ``surplus_v`` is None for the price."""

    exit: int
    rule: RefitRule
    labelled: bool
    surplus_v: float | None
    cycles: float
    keep_every: int


def options_of(
    args: argparse.Namespace, engine: HostEngine, board: Board, labels: npt.NDArray[np.int64] | None
) -> RefitOptions | None:
    """Return what is asked for, None for nothing.

    Raises
    ------
    UsageError
        When that cannot be done.
    """
    if args.refit is None:
        return None
    rule = parse_rule(args.refit_rule)
    refit = HeadRefit(engine, args.refit, rule)
    refit.close()
    if args.refit_from == "labels" and labels is None:
        raise UsageError(
            "--refit learns from labels, and the input has none; add labels to it, or give --refit-from last"
        )
    if labels is not None and args.refit_from == "labels" and labels.max(initial=0) >= refit.n_classes:
        raise UsageError(f"--refit: labels must be 0..{refit.n_classes - 1}; the input has {labels.max()}")
    cycles, keep_every = price_of(refit, board)
    return RefitOptions(
        exit=refit.exit,
        rule=rule,
        labelled=args.refit_from == "labels",
        surplus_v=_surplus_v(args, board.load),
        cycles=cycles,
        keep_every=keep_every,
    )


def _surplus_v(args: argparse.Namespace, load: LoadFigures) -> float | None:
    if args.refit_surplus == "price":
        if not args.engine.startswith("virtual:") or not args.policy.startswith("shadow"):
            raise UsageError("--refit-surplus price goes with --engine virtual:BOARD and the policy shadow")
        return None
    if args.refit_surplus is not None:
        return parse_quantity(args.refit_surplus, "V", what="--refit-surplus")
    return plenty_v(load)


def learning_of(
    options: RefitOptions,
    engine: HostEngine,
    inputs: Sequence[Array],
    labels: npt.NDArray[np.int64] | None,
    prefixes: tuple[tuple[int, ...], ...],
) -> tuple[Learning, LearningAnswers]:
    """Return what learns in a run on this machine, and the answers of the engine while it does."""
    assert options.surplus_v is not None
    refit = HeadRefit(engine, options.exit, options.rule)
    taught = labels.tolist() if labels is not None and options.labelled else None
    learner = Learner(refit, labels=taught, keep_every=options.keep_every)
    learning = Learning(learner=learner, surplus_v=options.surplus_v, cycles=options.cycles)
    return learning, LearningAnswers(refit, inputs, labels, prefixes)


def with_judgement(
    record: RunRecord, container: bytes, options: RefitOptions, inputs: Sequence[Array], n_learned: int | None
) -> RunRecord:
    """Return a record with what came of it: how many labels, what they took, and how the exit did beside the shipped one."""
    n = len(inputs[0])
    events = [
        (event.sample, event.path, event.predicted, event.label)
        for event in record.events
        if event.index < n and event.exit == options.exit
        and event.path is not None and event.predicted is not None and event.label is not None
    ]  # fmt: skip
    judged = judge(container, options.exit, inputs, events)
    found: dict[str, float | int | str | None] = {
        "refit_exit": record.exit_names[options.exit],
        "refit_forgetting": options.rule.forgetting,
        "refit_prior": options.rule.prior,
        "refit_j": record.ledger.spent_pj["refit"] * 1e-12,
        "refit_judged": judged.n,
        "refit_right": judged.right,
        "refit_right_as_shipped": judged.shipped,
    }
    if n_learned is not None:
        found["refit_learned"] = n_learned
    return replace(record, settings={**record.settings, **found})


def line_of(record: RunRecord) -> str | None:
    """Return a line on what was learned, None where nothing was to be."""
    s = record.settings
    if "refit_exit" not in s:
        return None
    judged = Judged(
        n=int(s["refit_judged"] or 0), right=int(s["refit_right"] or 0), shipped=int(s["refit_right_as_shipped"] or 0)
    )
    learned = s.get("refit_learned", s.get("refit_kept_updates"))
    share = (
        f"right {100 * judged.right / judged.n:.1f} %, as shipped {100 * judged.shipped / judged.n:.1f} %"
        if judged.n
        else "none"
    )
    return (
        f"refit      exit {s['refit_exit']}: {learned} labels, {1e3 * float(s['refit_j'] or 0.0):.3g} mJ; "
        f"answered there on samples not seen before: {judged.n}, {share}"
    )
