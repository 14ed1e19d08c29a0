# SPDX-License-Identifier: Apache-2.0
"""A head that is fitted again in a simulation is the session's: the same labels at the same moments, the same bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from simulate_worlds import assert_twins

from joulet.boards import load_board
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.seam import Harvester
from joulet.energy.supply import Supply
from joulet.energy.synthetic import ConstantHarvester, MarkovHarvester
from joulet.engine.host import HostEngine
from joulet.engine.learner import SURE_Q15, Learner, LearningAnswers
from joulet.engine.outcomes import compute_outcomes
from joulet.engine.refit import HeadRefit, RefitRule
from joulet.errors import UsageError
from joulet.plan.cost import board_costs, cost_table
from joulet.policies import make_policy
from joulet.policies.seam import Policy, PolicyContext
from joulet.policies.shadow import Shadow
from joulet.records import Action, Decision, Observation, RunRecord
from joulet.session import Learning, SessionSettings, policy_context
from joulet.session import run as run_session
from joulet.simulate.learning import LearningPlan, SimulatedLearning, price_of
from joulet.simulate.loop import Events, Governors, Model, Trajectory, overrun_s, run
from joulet.simulate.world import lay_out
from joulet.tools.main import main

BOARD = load_board("virtual_m4")
EXIT, N, KEEP_EVERY, CYCLES = 1, 40, 8, 60_000.0
RULE = RefitRule(forgetting=0.99, prior=1.0)
LABELS = np.arange(N) % 2


@pytest.fixture(scope="module")
def model() -> bytes:
    return (resources.files("joulet.zoo") / "models" / "ecg.jlt").read_bytes()


@pytest.fixture(scope="module")
def x(model: bytes) -> npt.NDArray[np.int8]:
    shape = HostEngine(model).inputs[0].shape[1:]
    return np.random.default_rng(1).integers(-60, 60, (N, *shape)).astype(np.int8)


class Walker:
    """Goes exit by exit, on one path or another, and stops where it is told to be sure."""

    name = "walker"

    def __init__(self, sure_q15: int = 24_000) -> None:
        self._sure_q15 = sure_q15

    def reset(self, context: PolicyContext) -> None:
        """Forget."""
        self._asked = 0

    def decide(self, observation: Observation) -> Decision:
        """Start, or stop by what the confidence says."""
        self._asked += 1
        if observation.exit is None:
            return Decision(action=Action.START, path=self._asked % 2, exit=0)
        sure = (observation.confidence_q15 or 0) > self._sure_q15
        return Decision(action=Action.STOP if sure else Action.CONTINUE)


@dataclass(frozen=True, kw_only=True)
class World:
    """What both loops run in."""

    harvester: Harvester
    capacitor_f: float
    full: bool
    duration_s: float = 60.0
    surplus_v: float = 2.0
    delay_s: float = 0.0
    taught_from_q15: int | None = None  # by the last exit; None: by labels

    def storage(self) -> Capacitor:
        load = BOARD.load
        return Capacitor(self.capacitor_f, max_v=load.max_v, initial_v=load.max_v if self.full else load.on_v)

    def session(self, model: bytes, x: npt.NDArray[np.int8], policy: Policy) -> tuple[RunRecord, Learner]:
        engine = HostEngine(model)
        costs = cost_table(engine.container, board_costs(engine.container, BOARD))
        refit = HeadRefit(engine, EXIT, RULE)
        if self.taught_from_q15 is None:
            learner = Learner(refit, labels=LABELS.tolist(), keep_every=KEEP_EVERY)
        else:
            learner = Learner(refit, labels=None, sure_q15=self.taught_from_q15, keep_every=KEEP_EVERY)
        record = run_session(
            LearningAnswers(refit, [x], LABELS, costs.prefixes),
            costs,
            BOARD.load,
            harvester=self.harvester,
            converter=ConstantConverter(0.8),
            storage=self.storage(),
            policy=policy,
            settings=SessionSettings(period_s=1.0, duration_s=self.duration_s),
            learning=Learning(learner=learner, surplus_v=self.surplus_v, cycles=CYCLES, delay_s=self.delay_s),
        )
        return record, learner

    def simulate(
        self,
        model: bytes,
        x: npt.NDArray[np.int8],
        policy: Policy | Shadow,
        *,
        surplus_v: float | None = None,
        exit: int = EXIT,
    ) -> tuple[Trajectory, SimulatedLearning]:
        engine = HostEngine(model)
        costs = cost_table(engine.container, board_costs(engine.container, BOARD))
        outcomes = compute_outcomes(engine, [x], LABELS, costs.prefixes)
        plan = LearningPlan(
            exit=exit,
            rule=RULE,
            surplus_v=self.surplus_v if surplus_v is None else surplus_v,
            delay_s=self.delay_s,
            labelled=self.taught_from_q15 is None,
            sure_q15=self.taught_from_q15 or 0,
        )
        learning = SimulatedLearning(engine, [x], LABELS, outcomes, plan, cycles=CYCLES, keep_every=KEEP_EVERY)
        event_s = np.arange(self.duration_s)
        load, storage = BOARD.load, self.storage()
        supply = lay_out(
            self.harvester, ConstantConverter(0.8), storage, load, duration_s=self.duration_s,
            sensing_j=load.sensing_j, overrun_s=overrun_s(costs, load, len(event_s)),
        )  # fmt: skip
        world = Supply(self.harvester, ConstantConverter(0.8), self.storage(), load, self.duration_s)
        context = policy_context(world, costs, 1.0, 1.0, 1)
        policy.reset(context)
        decides: Policy | Governors = policy
        if isinstance(policy, Shadow):
            assert policy.table is not None
            decides = Governors("shadow", (policy.table.to_bytes(),))
        trajectory = run(
            supply, Model(costs, outcomes), Events(event_s=event_s, deadline_s=1.0, sensing_j=load.sensing_j), decides,
            context, load, samples=(np.arange(len(event_s)) % N).astype(np.uint32), learning=learning,
        )  # fmt: skip
        return trajectory, learning


def markov(mean_w: float, seed: int) -> MarkovHarvester:
    return MarkovHarvester(
        [0.0, 2.0 * mean_w], [[0.9, 0.1], [0.1, 0.9]], step_s=0.5, duration_s=60.0, seed=seed, loop=True
    )


RICH = World(harvester=ConstantHarvester(20e-3), capacitor_f=10e-3, full=True)
POOR = World(harvester=markov(250e-6, 1), capacitor_f=300e-6, full=False, surplus_v=1.9)
FILLING = World(harvester=ConstantHarvester(3e-3), capacitor_f=10e-3, full=False, surplus_v=3.0)


@pytest.mark.parametrize("policy", ["fixed:w8@exit1", "fixed:w4@exit1", "fixed:w8@final", "walker", "linear"])
@pytest.mark.parametrize(
    "world",
    [
        RICH,
        POOR,
        FILLING,
        World(harvester=markov(400e-6, 5), capacitor_f=300e-6, full=False, surplus_v=2.2, delay_s=0.3),
    ],
    ids=["rich", "poor", "filling", "delayed"],
)
def test_both_loops_learn_the_same(model: bytes, x: npt.NDArray[np.int8], world: World, policy: str) -> None:
    def make() -> Policy:
        return Walker() if policy == "walker" else make_policy(policy)

    record, learner = world.session(model, x, make())
    c, learning = world.simulate(model, x, make())
    assert_twins(record, c)
    assert c.learning is not None
    assert learner.learned == c.learning.learned
    assert learner.refit.state() == learning.refit.state()
    answered = [e for e in record.events if e.exit is not None]
    assert [e.confidence_q15 for e in answered] == c.confidence_q15[c.exit >= 0].tolist()
    if world is RICH and policy.endswith("exit1"):
        assert c.learning.learned == 60
        assert c.learning.judged == N
        assert c.learning.energy_j == pytest.approx(60 * CYCLES * BOARD.load.energy_pj_per_cycle * 1e-12, rel=0.01)
    if world is POOR and policy == "fixed:w8@exit1":
        assert c.brownouts > 0
        assert c.learning.learned > 8


@pytest.mark.parametrize("world", [RICH, POOR], ids=["rich", "poor"])
def test_both_loops_are_taught_the_same_by_the_last_exit(model: bytes, x: npt.NDArray[np.int8], world: World) -> None:
    learned = []
    for least_q15 in (0, SURE_Q15, 32_768):
        taught = replace(world, taught_from_q15=least_q15)
        # goes through the exit that learns, to the last one where energy lasts
        record, learner = taught.session(model, x, Walker(sure_q15=32_768))
        c, learning = taught.simulate(model, x, Walker(sure_q15=32_768))
        assert_twins(record, c)
        assert c.learning is not None
        assert learner.learned == c.learning.learned
        assert learner.refit.state() == learning.refit.state()
        learned.append(learner.learned)
    assert learned[0] > learned[1] > learned[2] == 0
    assert learned[0] == 60 or world is POOR


def test_the_last_exit_teaches_nothing_where_it_is_not_asked(model: bytes, x: npt.NDArray[np.int8]) -> None:
    c, _ = replace(RICH, taught_from_q15=0).simulate(model, x, make_policy("fixed:w8@exit1"))
    assert c.learning is not None
    assert c.learning.learned == 0


def test_a_label_that_comes_after_the_next_inference_began_is_of_no_use(model: bytes, x: npt.NDArray[np.int8]) -> None:
    late = World(harvester=ConstantHarvester(20e-3), capacitor_f=10e-3, full=True, delay_s=1.5)
    c, _ = late.simulate(model, x, make_policy("fixed:w8@exit1"))
    assert c.learning is not None
    # all but the last answer's, which is heard after the run
    assert (c.learning.learned, c.learning.late) == (0, 59)
    assert late.session(model, x, make_policy("fixed:w8@exit1"))[1].learned == 0


def test_by_price_it_learns_where_energy_buys_nothing_else(model: bytes, x: npt.NDArray[np.int8]) -> None:
    rich, _ = RICH.simulate(model, x, Shadow(), surplus_v=0.0, exit=2)
    assert rich.learning is not None
    assert rich.learning.learned == int((rich.exit == 2).sum()) == 60
    # there are labels, and each joule could buy another answer
    poor = World(harvester=ConstantHarvester(200e-6), capacitor_f=500e-6, full=False)
    none, _ = poor.simulate(model, x, Shadow(), surplus_v=0.0, exit=0)
    assert int((none.exit == 0).sum()) > 15
    assert none.ledger.spent_pj["refit"] == 0
    by_level, _ = poor.simulate(model, x, Shadow(), exit=0)
    assert by_level.ledger.spent_pj["refit"] > 0
    with pytest.raises(UsageError, match="has no price of energy"):
        RICH.simulate(model, x, make_policy("fixed:w8@exit1"), surplus_v=0.0)


def test_each_run_begins_with_the_shipped_head(model: bytes, x: npt.NDArray[np.int8]) -> None:
    first, _ = RICH.simulate(model, x, make_policy("fixed:w8@exit1"))
    again, _ = RICH.simulate(model, x, make_policy("fixed:w8@exit1"))
    assert first.learning == again.learning
    np.testing.assert_array_equal(first.value, again.value)


def test_labels_and_exits_are_checked(model: bytes, x: npt.NDArray[np.int8]) -> None:
    engine = HostEngine(model)
    costs = cost_table(engine.container, board_costs(engine.container, BOARD))
    outcomes = compute_outcomes(engine, [x], LABELS, costs.prefixes)

    def learning(exit: str, labels: npt.NDArray[np.int64]) -> SimulatedLearning:
        plan = LearningPlan(exit=exit, rule=RULE, surplus_v=2.0)
        return SimulatedLearning(engine, [x], labels, outcomes, plan, cycles=CYCLES, keep_every=0)

    with pytest.raises(UsageError, match="imported"):
        learning("final", LABELS)
    with pytest.raises(UsageError, match=r"labels must be 0\.\.1"):
        learning("exit1", LABELS + 1)
    with pytest.raises(UsageError, match=r"lacks \[refit\]"):
        price_of(HeadRefit(engine, EXIT, RULE), replace(BOARD, refit=None))


def test_the_command_says_what_was_learned(
    model: bytes, x: npt.NDArray[np.int8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.jlt").write_bytes(model)
    np.savez(tmp_path / "in.npz", input_0=x, labels=LABELS)

    def simulate(*more: str) -> list[str]:
        files = ["simulate", str(tmp_path / "m.jlt"), "--data", str(tmp_path / "in.npz"), "--cache", str(tmp_path)]
        world = ["--trace", "constant:20mW", "--arrivals", "periodic:1s", "--duration", "60s", "--capacitor", "10mF"]
        return [*files, *world, "--policy", "fixed:w8@exit1", "--no-oracle", "--board", "virtual_m4", *more]

    assert main(simulate("--refit", "exit1", "--refit-rule", "prior=1,forgetting=0.99", "--json")) == 0
    found = json.loads(capsys.readouterr().out)[0]
    assert found["learning"]["exit"] == "exit1"
    assert found["learning"]["learned"] > 0
    assert found["learning"]["judged"] == N
    assert found["energy_nj"]["refit"] == pytest.approx(1e9 * found["learning"]["energy_j"])
    assert main(simulate("--refit", "exit1", "--label-delay", "100ms")) == 0
    assert "refit exit1:" in capsys.readouterr().out
    assert main(simulate("--refit", "exit1", "--refit-from", "last", "--json")) == 0
    assert json.loads(capsys.readouterr().out)[0]["learning"]["learned"] == 0  # the policy never asks the last exit
    assert main(simulate("--json")) == 0
    assert json.loads(capsys.readouterr().out)[0]["learning"] is None
    for more, said in (
        (("--refit", "final"), "imported"),
        (("--refit", "exit9"), "the model has"),
        (("--refit", "exit1", "--refit-surplus", "price"), "no price of energy"),
        (("--refit", "exit1", "--refit-surplus", "3kg"), "refit surplus"),
        (("--refit", "exit1", "--refit-rule", "speed=3"), "forgetting=NUMBER"),
        (("--refit", "exit1", "--refit-from", "last", "--label-delay", "1s"), "at once"),
    ):
        assert main(simulate(*more)) == 2
        assert said in capsys.readouterr().err
