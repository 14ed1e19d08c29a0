# SPDX-License-Identifier: Apache-2.0
"""What nested storage costs beside its plain form, and what packed copies win over both: counted on a virtual board, per layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.boards import load_board
from joulet.container.isa_plan import with_isa_plan
from joulet.container.layout import CODES, NO_INDEX
from joulet.container.needs import SHARED, isa_needs, wanted_copies
from joulet.container.plain import with_plain_weights, without_plans
from joulet.container.read import Container
from joulet.engine.seam import Array
from joulet.plan.copies import shared_copies
from joulet.plan.on_board import planned_for
from joulet.plan.work import op_name

LIMIT = 1.5  # of nested w8 to plain w8, per layer
_FORMS = (
    ("plain", "plain int8, reference kernels"),
    ("nested", "nested planes, no packed copies"),
    ("own", "a packed copy for each precision"),
    ("shared", "one packed copy for both"),
    ("planned", "as planned for the board's slot"),
)
_OPS = {code: name.lower() for name, code in CODES["OpCode"].items()}


def nested_rows(container: bytes, board: str, sample: tuple[Array, ...]) -> dict[str, Any]:
    """Count a container on a virtual board as it is planned, without packed copies, and with plain int8 weights.

    Where the board's kernels have packed copies that serve both precisions, also with those wherever there can be.

    Parameters
    ----------
    container : bytes
        With nested weights.
    board : str
        A virtual board.
    sample : tuple of ndarray
        One input.

    Returns
    -------
    dict
        ``forms``: cycles of the whole model at ``w8`` and ``w4`` in each form, ``ratios``, and ``layers`` with weights at 8 bits.

    Raises
    ------
    ContainerError
        If no precision has 8 bits throughout.
    """
    decoded = Container.from_bytes(container)
    forms = {
        "planned": planned_for(container, board),
        "nested": without_plans(container),
        "plain": with_plain_weights(container),
        **_packed_forms(container, load_board(board).isa),
    }
    counted = {form: _counted(content, board, sample) for form, content in forms.items()}
    w8 = _precision(decoded, 8)
    assert w8 is not None  # else there is no plain form
    w4 = _precision(decoded, 4)
    totals = {
        form: {"w8": int(cycles[w8].sum())} | ({} if w4 is None or form == "plain" else {"w4": int(cycles[w4].sum())})
        for form, cycles in counted.items()
    }
    layers: list[dict[str, Any]] = [
        {
            "op": op,
            "name": op_name(decoded, op),
            "code": _OPS[int(record["code"])],
            "macs": int(record["macs"]),
            **{f"{form}_cycles": int(cycles[w8, op]) for form, cycles in counted.items()},
            "nested_to_plain": float(counted["nested"][w8, op] / counted["plain"][w8, op]),
            **_shared_to_own(counted, w8, op),
        }
        for op, record in enumerate(decoded.ops)
        if int(record["weight"]) != NO_INDEX
    ]
    ratios = {
        "nested_to_plain": totals["nested"]["w8"] / totals["plain"]["w8"],
        "worst_layer_nested_to_plain": max(layer["nested_to_plain"] for layer in layers),
        "planned_to_nested": totals["planned"]["w8"] / totals["nested"]["w8"],
    }
    if "shared" in counted:
        ratios["worst_layer_shared_to_own"] = max(layer["shared_to_own"] for layer in layers)
    if w4 is not None:
        ratios |= {f"{form}_w4_to_w8": totals[form]["w4"] / totals[form]["w8"] for form in totals if form != "plain"}
    return {"limit_nested_to_plain": LIMIT, "forms": totals, "ratios": ratios, "layers": layers}


def _packed_forms(container: bytes, isa: str) -> dict[str, bytes]:
    """Return the container with packed copies for each precision, and with such as serve both wherever there can be; {} without."""
    decoded = Container.from_bytes(container)
    needs = isa_needs(decoded, CODES["Isa"][isa])
    shared = frozenset(shared_copies(decoded, isa, needs))
    if not shared:
        return {}
    others = frozenset(copy for copy in wanted_copies(decoded, needs) if (copy[0], SHARED) not in shared)
    return {
        "own": with_isa_plan(container, isa),
        "shared": with_isa_plan(container, isa, copies=shared | others),
    }


def _shared_to_own(counted: Mapping[str, npt.NDArray[np.uint32]], precision: int, op: int) -> dict[str, float]:
    if "shared" not in counted:
        return {}
    return {"shared_to_own": float(counted["shared"][precision, op] / counted["own"][precision, op])}


def _counted(container: bytes, board: str, sample: tuple[Array, ...]) -> npt.NDArray[np.uint32]:
    from joulet.live.measure import measured_costs

    return measured_costs(container, board, sample).cycles


def _precision(container: Container, bits: int) -> int | None:
    """Return the first precision with these bits in every layer, or in every one that is not kept at 8."""
    layers = container.layers.reshape(len(container.precisions), -1)
    for index, row in enumerate(layers):
        name = container.precision_names[index]
        if (row["bits"] == bits).all() or (bits == 4 and name == "w4"):
            return index
    return None


def nested_lines(rows: dict[str, Any]) -> list[str]:
    """Return the table."""
    forms, ratios = rows["forms"], rows["ratios"]
    lines = [f"  {'w8 form':<34} {'cycles':>14} {'of plain':>9} {'w4/w8':>7}"]
    for form, what in _FORMS:
        if form not in forms:
            continue
        share = forms[form]["w8"] / forms["plain"]["w8"]
        fewer = f"{ratios[f'{form}_w4_to_w8']:>7.2f}" if f"{form}_w4_to_w8" in ratios else f"{'-':>7}"
        lines.append(f"  {what:<34} {forms[form]['w8']:>14,} {share:>9.2f} {fewer}")
    worst, limit = ratios["worst_layer_nested_to_plain"], rows["limit_nested_to_plain"]
    lines.append(f"  nested w8 of plain, the worst layer: {worst:.2f} (aim: {limit} or less)")
    if "worst_layer_shared_to_own" in ratios:
        shared = ratios["worst_layer_shared_to_own"]
        lines.append(
            f"  w8 from a copy for both, of one from its own, the worst layer: {shared:.2f} (aim: {limit} or less)"
        )
    shown = [form for form, _ in _FORMS if form in forms]
    lines.append(
        f"  {'op':>4} {'':<8} {'MACs':>10} " + " ".join(f"{form:>12}" for form in shown) + f" {'nested/plain':>13}"
    )
    for layer in rows["layers"]:
        cycles = " ".join(f"{layer[f'{form}_cycles']:>12,}" for form in shown)
        lines.append(
            f"  {layer['op']:>4} {layer['code']:<8} {layer['macs']:>10,} {cycles} {layer['nested_to_plain']:>13.2f}"
        )
    return lines
