# SPDX-License-Identifier: Apache-2.0
"""A head fitted again during a run: only in surplus, paid for in the ledger, and the same in the firmware's own loop."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from thumb import need_tools

import joulet.live.run as live
from joulet.boards import load_board
from joulet.container.read import Container
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.synthetic import ConstantHarvester, MarkovHarvester
from joulet.engine.host import HostEngine
from joulet.engine.learner import Learner, LearningAnswers, judge
from joulet.engine.refit import HeadRefit, RefitRule, parse_rule
from joulet.errors import UsageError
from joulet.link import wire
from joulet.live.measure import measured_costs
from joulet.live.run import Job, Refit, run_on_board
from joulet.plan.cost import board_costs, cost_table
from joulet.policies import make_policy
from joulet.policies.shadow import Shadow
from joulet.records import RunRecord
from joulet.session import Learning, SessionSettings
from joulet.session import run as run_session
from joulet.tools.main import main

BOARD = load_board("virtual_m4")
EXIT, N = 1, 40
RULE = RefitRule(forgetting=0.99, prior=1.0)
CYCLES = 60_000


@pytest.fixture(scope="module")
def model() -> bytes:
    return (resources.files("joulet.zoo") / "models" / "ecg.jlt").read_bytes()


@pytest.fixture(scope="module")
def x(model: bytes) -> np.ndarray:
    shape = HostEngine(model).inputs[0].shape[1:]
    return np.random.default_rng(1).integers(-60, 60, (N, *shape)).astype(np.int8)


LABELS = np.arange(N) % 2


def energy(mean_w: float = 20e-3, capacitor_f: float = 10e-3, *, full: bool = True, steady: bool = True) -> dict:
    load = BOARD.load
    markov = ([0.0, 2.0 * mean_w], [[0.9, 0.1], [0.1, 0.9]])
    return {
        "harvester": ConstantHarvester(mean_w)
        if steady
        else MarkovHarvester(*markov, step_s=0.5, duration_s=60.0, seed=1, loop=True),
        "converter": ConstantConverter(0.8),
        "storage": Capacitor(capacitor_f, max_v=load.max_v, initial_v=load.max_v if full else load.on_v),
    }


def on_host(
    model: bytes, x: np.ndarray, *, surplus_v: float = 2.0, duration_s: float = 40.0, labelled: bool = True,
    exit: int = EXIT, **path: object,
) -> tuple[RunRecord, Learner]:  # fmt: skip
    engine = HostEngine(model)
    costs = cost_table(engine.container, board_costs(engine.container, BOARD))
    refit = HeadRefit(engine, EXIT, RULE)
    learner = Learner(refit, labels=LABELS.tolist() if labelled else None, sure_q15=0)
    record = run_session(
        LearningAnswers(refit, [x], LABELS, costs.prefixes),
        costs,
        BOARD.load,
        policy=make_policy(f"fixed:w8@{engine.exit_names[exit]}"),
        settings=SessionSettings(period_s=1.0, duration_s=duration_s),
        learning=Learning(learner=learner, surplus_v=surplus_v, cycles=CYCLES),
        **(path or energy()),  # type: ignore[arg-type]
    )
    return record, learner


def replayed(model: bytes, x: np.ndarray, n: int) -> HeadRefit:
    """Return a head that has learned the first samples, one after the other."""
    engine = HostEngine(model)
    refit = HeadRefit(engine, EXIT, RULE)
    for k in range(n):
        engine.start([x[k % N]], 0)
        engine.run_to_exit(EXIT)
        refit.learn(int(LABELS[k % N]))
    return refit


def test_every_answer_teaches_while_there_is_plenty_and_the_ledger_pays(model: bytes, x: np.ndarray) -> None:
    record, learner = on_host(model, x)
    assert learner.learned == 40
    assert learner.refit.state() == replayed(model, x, 40).state()
    per_label_j = CYCLES * BOARD.load.energy_pj_per_cycle * 1e-12 / 0.8  # what the store gives for it
    spent_j = record.ledger.spent_pj["refit"] * 1e-12
    assert spent_j == pytest.approx(40 * per_label_j * 0.8, rel=0.01)
    assert record.ledger.closes
    assert record.summary.served == 40


def test_nothing_is_learned_below_the_level(model: bytes, x: np.ndarray) -> None:
    record, learner = on_host(model, x, surplus_v=3.7)
    assert (learner.learned, record.ledger.spent_pj["refit"]) == (0, 0)
    # a store that fills during the run: from some event on
    record, learner = on_host(model, x, surplus_v=3.0, **energy(3e-3, 10e-3, full=False))
    assert 0 < learner.learned < 40
    assert record.ledger.closes


def test_a_brown_out_takes_what_was_not_kept(model: bytes, x: np.ndarray) -> None:
    record, learner = on_host(
        model, x, surplus_v=1.9, duration_s=60.0, **energy(250e-6, 300e-6, full=False, steady=False)
    )
    assert record.summary.brownouts > 0
    assert learner.learned > 8
    state, updates = learner._kept
    assert updates % learner.keep_every == 0
    assert updates < learner.learned
    learner.lost()
    assert (learner.refit.state(), learner.refit.updates) == (state, updates)


def test_without_labels_the_last_exit_teaches_where_it_was_reached(model: bytes, x: np.ndarray) -> None:
    _, none = on_host(model, x, labelled=False)
    assert none.learned == 0  # stopped at the exit itself
    with pytest.raises(UsageError, match="labels must be"):
        Learner(none.refit, labels=[0, 2])


def test_judged_before_it_was_learned(model: bytes, x: np.ndarray) -> None:
    record, _ = on_host(model, x)
    events = [(e.sample, e.path, e.predicted, e.label) for e in record.events]
    judged = judge(model, EXIT, [x], events)  # type: ignore[arg-type]
    twin, right = replayed(model, x, 0), 0
    shipped = HostEngine(model).infer([x], path=0, depth=EXIT).outputs[0].reshape(N, -1).argmax(axis=1)
    for k in range(N):
        twin.engine.start([x[k]], 0)
        twin.engine.run_to_exit(EXIT)
        right += int(np.argmax(twin.engine.answer()) == LABELS[k])
        twin.learn(int(LABELS[k]))
    assert (judged.n, judged.right, judged.shipped) == (N, right, int((shipped == LABELS).sum()))


def board_run(model: bytes, x: np.ndarray, refit: Refit, policy: str = "fixed:w8@exit1", **more: object) -> RunRecord:
    container = Container.from_bytes(model)
    job = Job(
        container=model,
        model="ecg",
        model_hash=container.model_hash,
        inputs=[x],
        labels=LABELS,
        costs=cost_table(container, measured_costs(model, BOARD.name, (x[0],))),
    )
    made = make_policy(policy)
    assert isinstance(made, (live.Fixed, Shadow))
    settings = SessionSettings(period_s=1.0, duration_s=40.0)
    return run_on_board(job, BOARD, policy=made, settings=settings, refit=refit, **(more or energy()))  # type: ignore[arg-type]


PLAN = Refit(exit=EXIT, rule=RULE, surplus_v=2.0, labelled=True, cycles=CYCLES, keep_every=4)


def kept_state(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Catch the memory that a run leaves."""
    seen: dict[str, bytes] = {}
    original = live._refit_settings

    def catch(virtual: live.VirtualBoard) -> dict:
        seen["kept"] = virtual.kept()
        return original(virtual)

    monkeypatch.setattr(live, "_refit_settings", catch)
    return seen


def test_the_firmwares_loop_learns_what_the_host_does(
    model: bytes, x: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_tools()
    seen = kept_state(monkeypatch)
    record = board_run(model, x, PLAN)
    assert record.settings["refit_kept_updates"] == 40
    assert replayed(model, x, 40).state() in seen["kept"]
    assert record.ledger.closes
    spent_j, nothing = record.ledger.spent_pj["refit"] * 1e-12, board_run(model, x, replace(PLAN, surplus_v=3.7))
    # the table's figure, and what every fourth state takes on top
    assert BOARD.refit is not None
    expected_j = 40 * BOARD.refit.cycles(32, 2, keep_every=4) * BOARD.load.energy_pj_per_cycle * 1e-12
    assert spent_j == pytest.approx(expected_j, rel=0.08)
    assert (nothing.settings["refit_kept_updates"], nothing.ledger.spent_pj["refit"]) == (0, 0)


def test_by_price_it_learns_only_where_the_table_asks_least(model: bytes, x: np.ndarray) -> None:
    need_tools()
    plan = replace(PLAN, surplus_v=None)
    full = board_run(model, x, plan, "shadow")
    assert full.summary.exits_taken[EXIT] == full.settings["refit_kept_updates"] == 40
    # all events end at the first exit, there are labels for all, and each joule could buy another answer
    poor = board_run(model, x, replace(plan, exit=0), "shadow", **energy(200e-6, 500e-6, full=False))
    assert poor.summary.exits_taken[0] == 40
    assert poor.ledger.spent_pj["refit"] == 0
    by_level = board_run(model, x, replace(PLAN, exit=0), "shadow", **energy(200e-6, 500e-6, full=False))
    assert by_level.ledger.spent_pj["refit"] > 0
    assert all(record.ledger.closes for record in (full, poor, by_level))


def test_a_board_that_dies_again_and_again_keeps_whole_heads(
    model: bytes, x: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_tools()
    seen = kept_state(monkeypatch)
    record = board_run(model, x, replace(PLAN, surplus_v=1.9), **energy(250e-6, 300e-6, full=False, steady=False))
    assert record.summary.brownouts > 0
    head = wire.dtype("RefitHead")
    n_bytes = len(replayed(model, x, 0).state())
    states = []
    at = seen["kept"].find(wire.REFIT_MAGIC.to_bytes(4, "little"))
    while at >= 0:
        found = np.frombuffer(seen["kept"], head, 1, at)[0]
        states.append((int(found["sequence"]), int(found["updates"]), seen["kept"][at + head.itemsize :][:n_bytes]))
        at = seen["kept"].find(wire.REFIT_MAGIC.to_bytes(4, "little"), at + 4)
    assert states
    sequence, updates, state = max(states)
    assert updates == 4 * sequence  # none was lost that was kept
    assert np.isfinite(np.frombuffer(state, np.float32)).all()


def test_the_command_says_what_was_learned(
    model: bytes, x: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.jlt").write_bytes(model)
    np.savez(tmp_path / "in.npz", input_0=x, labels=LABELS)
    np.savez(tmp_path / "plain.npz", input_0=x)

    def run(*more: str, samples: str = "in.npz") -> list[str]:
        files = ["run", str(tmp_path / "m.jlt"), "--input", str(tmp_path / samples), "--out", str(tmp_path / "r")]
        world = ["--trace", "constant:20mW", "--period", "1s", "--duration", "40s", "--capacitor", "10mF"]
        return [*files, *world, "--board", "virtual_m4", *more]

    fixed = ("--policy", "fixed:w8@exit1")
    assert main(run(*fixed, "--refit", "exit1", "--refit-rule", "prior=1,forgetting=0.99", "--json")) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["refit"]["exit"] == "exit1"
    assert result["refit"]["learned"] > 0
    assert result["refit"]["judged"] == 40
    assert result["refit"]["j"] == pytest.approx(result["energy_j"]["refit"])
    assert main(run(*fixed, "--refit", "exit1")) == 0
    assert "refit      exit exit1:" in capsys.readouterr().out
    assert main(run(*fixed, "--json")) == 0
    assert json.loads(capsys.readouterr().out)["refit"] is None
    for more, said in (
        (("--refit", "final"), "imported"),
        (("--refit", "nothing"), "the model has"),
        (("--refit", "exit1", "--refit-surplus", "price"), "virtual"),
        (("--refit", "exit1", "--refit-rule", "speed=3"), "forgetting=NUMBER"),
        (("--refit", "exit1", "--refit-rule", "prior=-1"), "prior"),
        (("--refit", "exit1", "--board", "qemu_mps3_an547", "--refit-surplus", "3kg"), "refit-surplus"),
    ):
        assert main(run(*fixed, *more)) == 2
        assert said in capsys.readouterr().err
    assert main(run(*fixed, "--refit", "exit1", samples="plain.npz")) == 2
    assert "labels" in capsys.readouterr().err


def test_rules_are_read_whole_or_not_at_all() -> None:
    assert parse_rule("") == RefitRule()
    assert parse_rule("prior=0.5,target=100") == RefitRule(prior=0.5, target=100.0)
    for bad in ("prior", "prior=x", "prior=nan", "a=1"):
        with pytest.raises(UsageError, match="refit rule"):
            parse_rule(bad)
