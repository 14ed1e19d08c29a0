# SPDX-License-Identifier: Apache-2.0
"""Which exits get a gate, and how strict a one: by synthetic outliers, at what the exits together may lose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from joulet.exits.confidence import WISHED_SAVING
from joulet.exits.gate import Gate, Seen, fit_gates, is_too_sure, strictest, sure_shares
from joulet.exits.outliers import outliers
from joulet.exits.ridge import F64, I64
from joulet.exits.scored import Imported, Scored
from joulet.ir import Graph
from joulet.quant.bias import corrected
from joulet.quant.nested import all_four, setting_of
from joulet.quant.probe import Array, Execute, full, probe

MOST_OUTLIERS = 2000
_MAY_LOSE = 0.001  # accuracy where exits stop
_MAY_COST = 0.01  # of the MACs
_MAY_COST_OF_MUCH = 0.001  # where the exits save what is wished for: next to nothing of it is given away


def with_gates(
    execute: Execute,
    pooled: Graph,
    feeds: Mapping[int, Array],
    parts: Sequence[Scored],
    features: Mapping[int, Array],
    fold: I64,
    imported: Imported,
) -> list[Scored]:
    """Return the heads, with gates where they are surer of outliers than the imported head and a gate costs little.

    Parameters
    ----------
    execute
        Runs a graph.
    pooled
        The graph with the features of every head.
    feeds
        Calibration inputs by tensor.
    parts
        The heads, in order of depth.
    features
        Of the calibration samples, ``(n, f)`` int8 by tensor.
    fold
        Of each sample, ``(n,)``.
    imported
        The imported head on these samples.
    """
    strange, kind = outliers(feeds, MOST_OUTLIERS)
    last = pooled.exits[-1].logits
    far = _flat(probe(execute, pooled, full(pooled), strange, [*(p.candidate.features for p in parts), last]))
    limit = sure_shares(imported.bins, imported.correct, far[last], kind)
    wary = [k for k, p in enumerate(parts) if is_too_sure(_shares(p, far[p.candidate.features], kind), limit)]
    made = list(parts)
    if not wary:
        return made
    four = setting_of(pooled, corrected(execute, pooled, all_four(pooled), feeds))
    wanted = tuple(dict.fromkeys(parts[k].candidate.features for k in wary))
    own_four, far_four = (_flat(probe(execute, pooled, four, each, wanted)) for each in (feeds, strange))
    first = imported.stops(made)
    may_cost = _MAY_COST_OF_MUCH if first.mean_macs <= 1 - WISHED_SAVING else _MAY_COST
    for k in wary:
        t = parts[k].candidate.features

        def is_cheap(gate: Gate, k: int = k, t: int = t) -> bool:
            then = imported.stops([*made[:k], made[k].behind(gate, features[t], fold), *made[k + 1 :]])
            return then.mean_macs <= first.mean_macs + may_cost and then.accuracy >= first.accuracy - _MAY_LOSE

        seen = {"w8": Seen(own=features[t], outliers=far[t]), "w4": Seen(own=own_four[t], outliers=far_four[t])}
        gate = strictest(fit_gates(seen, fold, parts[k].candidate.quant), is_cheap)
        if gate is not None:
            made[k] = made[k].behind(gate, features[t], fold)
    return made


def _shares(part: Scored, outlying: Array, kind: I64) -> F64:
    return sure_shares(part.bins, part.correct, part.head.answer(outlying), kind)


def _flat(values: Mapping[int, Array]) -> dict[int, Array]:
    return {t: a.reshape(len(a), -1) for t, a in values.items()}
