# SPDX-License-Identifier: Apache-2.0
"""A contract check that authors of policies can run on their own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from joulet.errors import PolicyError
from joulet.policies.seam import Policy, PolicyContext, fault
from joulet.records import Decision, Observation

_SHARES = (0.0, 0.02, 0.1, 0.35, 0.5, 0.75, 1.0)
_CONFIDENCES_Q15 = (0, 8192, 16384, 24576, 32767)


def check_policy(policy: Policy, context: PolicyContext) -> int:
    """Ask a policy many questions and check its answers.

    It must answer every observation with a legal :class:`Decision`, the same one when asked the same questions again
    after a ``reset``, and must not be changed by a second ``reset``.

    Returns
    -------
    int
        Number of observations asked.

    Raises
    ------
    PolicyError
        On the first breach; the message names the policy, the observation and what is wrong.
    """
    observations = tuple(_questions(context))
    rounds: list[list[Decision]] = []
    for _ in range(2):
        policy.reset(context)
        rounds.append([_answer(policy, observation, context) for observation in observations])
    for observation, first, second in zip(observations, *rounds, strict=True):
        if first != second:
            raise PolicyError(
                f"policy '{policy.name}' is not deterministic: {first} then {second} after reset, for {observation}"
            )
    return len(observations)


def _answer(policy: Policy, observation: Observation, context: PolicyContext) -> Decision:
    decision = policy.decide(observation)
    if not isinstance(decision, Decision):
        raise PolicyError(f"policy '{policy.name}' answered {type(decision).__name__}; return a Decision")
    wrong = fault(observation, decision, context)
    if wrong is not None:
        raise PolicyError(f"policy '{policy.name}' {wrong}; observation {observation}")
    return decision


def _questions(context: PolicyContext) -> Iterator[Observation]:
    places: list[tuple[int | None, int | None]] = [(None, None)]
    places += list(product(range(context.n_paths), range(context.n_exits)))
    for share, harvest_w, late in product(_SHARES, (-1e-6, 0.0, 1e-3), (False, True)):
        # energy and voltage belong together: E is quadratic in V between brown-out and full
        voltage_v = (context.off_v**2 + share * (context.max_v**2 - context.off_v**2)) ** 0.5
        for path, exit in places:
            for confidence_q15 in _CONFIDENCES_Q15 if exit is not None else (None,):
                yield Observation(
                    time_s=3600.0,
                    slot=2,
                    store_voltage_v=voltage_v,
                    usable_energy_j=share * context.full_j,
                    full_energy_j=context.full_j,
                    harvest_power_w=harvest_w,
                    backlog=1,
                    deadline_left_s=-0.1 if late else context.deadline_s,
                    path=path,
                    exit=exit,
                    confidence_q15=confidence_q15,
                )
