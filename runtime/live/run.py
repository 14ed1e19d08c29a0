# SPDX-License-Identifier: Apache-2.0
"""Run a session on a virtual board: the firmware decides from policy tables in its flash, power fails where the store runs
empty, and what the board wrote down becomes the record of the run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.boards import Board
from joulet.emulator.board import VirtualBoard
from joulet.emulator.cycle_model import PROVENANCE as CYCLES
from joulet.emulator.power import HarvestedSupply
from joulet.energy.capacitor import Capacitor
from joulet.energy.seam import Converter, Harvester, Storage
from joulet.energy.supply import Supply
from joulet.engine.learner import SURE_Q15
from joulet.engine.refit import RefitRule
from joulet.engine.seam import Array
from joulet.errors import UsageError
from joulet.events import summarise
from joulet.firmware.build import build_firmware
from joulet.firmware.slots import ASK_POLICY, policy_slot, refit_record, samples_slot, session_slot
from joulet.link import wire
from joulet.live.events import read_events
from joulet.live.journal import read_journal
from joulet.policies.fixed import Fixed
from joulet.policies.shadow import Shadow
from joulet.records import CostTable, LoadFigures, RunRecord
from joulet.session import SessionSettings, paths_of, policy_context, timing

_US = 1e6
_NOT_MODELLED = ("redone", "memory", "nvm", "radio", "sensing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival:
    """What of an inference survives a power cut.

    Attributes
    ----------
    strategy
        ``NONE``, ``IN_NVM``, ``JIT_COPY`` or ``RESTART_FROM_EXIT``; DESIGN.md says what each does. ``PLANNED``: what the
        container plans for the board, and nothing where it plans nothing; the other fields do not count then.
    commit_cycles
        Of computing between two commits of progress; 0 for whole ops.
    warn_mv
        ``JIT_COPY``: voltage of the store below which progress is copied. ``IN_NVM``: voltage from which on it is not kept
        for the time being, 0 for always [mV].
    """

    strategy: str = "NONE"
    commit_cycles: int = 0
    warn_mv: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """An exit's head that the board fits again.

    Attributes
    ----------
    exit, rule
        Which, and how.
    surplus_v
        Voltage of the store from which on it does so; None for when the policy's table says that the energy is worth nothing
        else [V].
    labelled
        The samples' labels teach; else the last exit does, from a confidence of ``sure_q15`` on.
    cycles
        Of one fit, by the board's figures.
    keep_every
        Fits between two heads that are kept.
    """

    exit: int
    rule: RefitRule
    surplus_v: float | None
    labelled: bool
    cycles: int
    sure_q15: int = SURE_Q15
    keep_every: int = 8

    def record(self) -> bytes:
        """Return what follows the session's plan."""
        flags = wire.CODES["RefitFlag"]
        return refit_record(
            exit=self.exit,
            flags=flags["LABELLED" if self.labelled else "DISTIL"],
            sure_q15=self.sure_q15,
            forgetting=self.rule.forgetting,
            prior=self.rule.prior,
            target=self.rule.target,
            surplus_mv=0 if self.surplus_v is None else round(self.surplus_v * 1e3),
            cycles=self.cycles,
            keep_every=self.keep_every,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What runs: a container, samples ``(n, …)`` an input, labels ``(n,)`` or None, and what it costs on the board."""

    container: bytes
    model: str
    model_hash: bytes
    inputs: Sequence[Array]
    labels: npt.NDArray[np.integer] | None
    costs: CostTable


def run_on_board(
    job: Job,
    board: Board,
    *,
    harvester: Harvester,
    converter: Converter,
    storage: Storage,
    policy: Shadow | Fixed,
    settings: SessionSettings,
    survival: Survival | None = None,
    refit: Refit | None = None,
    provenance: Mapping[str, str] | None = None,
    progress: Callable[[float], None] | None = None,
) -> RunRecord:
    """Run the firmware's autonomous loop on a virtual board under a harvester.

    Parameters
    ----------
    job : Job
        Model, samples and costs.
    board : Board
        A virtual board.
    harvester, converter, storage
        The energy path; ``storage``, a capacitor, is advanced in place.
    policy : Shadow or Fixed
        A policy that a board can follow: one with integer tables, or one operating point. It is reset first.
    settings : SessionSettings
        Periodic events; a queue of one.
    survival : Survival, optional
        What of an inference survives a power cut; nothing without.
    refit : Refit, optional
        An exit's head that is fitted again.

    Raises
    ------
    UsageError
        If the board cannot do what is asked.
    """
    times_s, duration_s, deadline_s = timing(settings, harvester)
    _check(settings, storage)
    assert isinstance(storage, Capacitor)
    supply = Supply(harvester, converter, storage, board.load, duration_s)
    context = policy_context(supply, job.costs, duration_s / len(times_s), deadline_s, settings.queue)
    policy.reset(context)
    survival = survival or Survival()
    order = _order(settings, len(job.inputs[0]))
    session = _session(
        b"" if refit is None else refit.record(),
        settings,
        supply,
        storage,
        survival,
        times=(duration_s, deadline_s),
        fixed=policy.point(context) if isinstance(policy, Fixed) else (ASK_POLICY, 0),
    )
    virtual = _flashed(job, board, policy, _samples(job, order, refit), refit=refit is not None)
    commissioned = virtual.core.instructions, virtual.core.cycles
    _load(virtual, "session", session)
    virtual.power = power = HarvestedSupply(supply, duration_s)
    _run(virtual, power, progress)
    epoch = int(np.frombuffer(session, wire.dtype("SlotHeader"), 1)[0]["crc32"])
    records = read_journal(virtual.kept(), epoch, flash=virtual.keeps_in_flash)
    events = read_events(
        records, times_s, order, job.labels, job.costs, supply, deadline_s, survives=survival.strategy != "NONE"
    )
    sources = {
        **dict(provenance or {}),
        "cycles": CYCLES,
        "decision_cycles": f"all that the core does besides inference: boot, checks, decisions, commits; {CYCLES}",
    }
    return RunRecord(
        model=job.model,
        model_hash=job.model_hash.hex(),
        board=board.name,
        policy=policy.name,
        duration_s=duration_s,
        exit_names=job.costs.exit_names,
        paths=paths_of(job.costs, board.load),
        summary=summarise(
            events,
            n_exits=len(job.costs.exit_names),
            labelled=job.labels is not None,
            duration_s=duration_s,
            supply=supply,
            decisions=sum(event.decisions for event in events),
        ),
        ledger=supply.ledger.close(storage.energy_j, provenance=supply.provenance(sources), not_modelled=_NOT_MODELLED),
        events=tuple(event.record() for event in events),
        timeline=tuple(supply.timeline),
        settings={
            "loop": "on the board",
            "survive": survival.strategy.lower(),
            "commit_cycles": survival.commit_cycles,
            "warn_mv": survival.warn_mv,
            "period_s": settings.period_s,
            "deadline_s": deadline_s,
            "queue": settings.queue,
            "shuffle_seed": settings.shuffle_seed,
            "full_energy_j": storage.full_energy_j,
            "off_v": board.load.off_v,
            "on_v": board.load.on_v,
            **_counted(virtual, *commissioned),
            **({} if refit is None else _refit_settings(virtual)),
        },
        provenance={**sources, "harvest": harvester.provenance, "converter": converter.provenance},
    )


def _session(
    refit: bytes,
    settings: SessionSettings,
    supply: Supply,
    storage: Capacitor,
    survival: Survival,
    *,
    times: tuple[float, float],
    fixed: tuple[int, int],
) -> bytes:
    """Return the session's slot; ``times`` are its end and the deadline of an event [s], ``fixed`` a path and an exit."""
    load = supply.load
    duration_s, deadline_s = times
    return session_slot(
        refit,
        autostart=1,
        period_us=round(settings.period_s * _US),
        deadline_us=round(deadline_s * _US),
        end_us=round(duration_s * _US),
        capacity_nf=round(storage.capacitance_f * 1e9),
        off_mv=round(supply.off_v * 1e3),
        full_mv=round(load.max_v * 1e3),
        on_mv=round(load.on_v * 1e3),
        sleep_nw=round(load.sleep_w * 1e9),
        energy_fj_per_cycle=load.energy_pj_per_cycle * 1000,
        dearness_q16=math.ceil(supply.dearness * 65536),
        strategy=wire.CODES["Strategy"][survival.strategy],
        commit_cycles=survival.commit_cycles,
        warn_mv=survival.warn_mv,
        cap_kcycles=_cap_kcycles(settings.cap_j, load),
        fixed_path=fixed[0],
        fixed_exit=fixed[1],
    )


def _flashed(job: Job, board: Board, policy: Shadow | Fixed, samples: bytes, *, refit: bool) -> VirtualBoard:
    """Return the board as after flashing: started once beside a host, it has checked all sums and remembers that."""
    virtual = VirtualBoard(board.name, firmware=build_firmware(board.name, refit=refit))
    _load(virtual, "model", job.container)
    if isinstance(policy, Shadow):
        assert policy.table is not None
        _load(virtual, "policy", policy_slot(policy.table.to_bytes(), job.model_hash))
    _load(virtual, "samples", samples)
    virtual.power_on()
    virtual.run()
    virtual.cut()
    return virtual


def _counted(virtual: VirtualBoard, instructions: int, cycles: int) -> dict[str, float | int | str | None]:
    """Return what the board counted since it had run ``instructions`` in ``cycles``."""
    return {
        "boots": virtual.resets - 1,
        "instructions": virtual.core.instructions - instructions,
        "cycles": virtual.core.cycles - cycles,
        "flash_programs": virtual.counts.programs,
        "flash_erases": virtual.counts.erases,
        "nvm_line_writes": int(virtual.fram.writes.sum()),
        "nvm_most_writes_of_a_line": int(virtual.fram.writes.max()),
        "firmware_build": virtual.firmware.build_id.hex(),
    }


def _samples(job: Job, order: npt.NDArray[np.int64], refit: Refit | None) -> bytes:
    labels = None
    if refit is not None and refit.labelled:
        if job.labels is None:
            raise UsageError("the samples have no labels to learn from; let the last exit teach")
        labels = job.labels[order]
    return samples_slot([np.ascontiguousarray(x[order]) for x in job.inputs], labels)


def _refit_settings(virtual: VirtualBoard) -> dict[str, float | int | str | None]:
    """Return what the board says of the head that it has fitted, from its memory: the newer of two whole states."""
    head, found = wire.dtype("RefitHead"), np.zeros(0, wire.dtype("RefitHead"))
    kept = virtual.kept()
    for at in range(0, len(kept) - head.itemsize, 8):
        if kept[at : at + 4] == wire.REFIT_MAGIC.to_bytes(4, "little"):
            found = np.append(found, np.frombuffer(kept, head, 1, at))
    newest = int(found["updates"][found["sequence"].argmax()]) if len(found) else 0
    return {"refit_kept_updates": newest}


def _cap_kcycles(cap_j: float, load: LoadFigures) -> int:
    if math.isinf(cap_j):
        return 0
    cycles = cap_j / (load.energy_pj_per_cycle * 1e-12)
    if cycles < 1000.0:
        raise UsageError(f"cap is {cap_j:g} J, less than a thousand cycles of the board")
    return int(cycles / 1000.0)


def _load(virtual: VirtualBoard, slot: str, content: bytes) -> None:
    region = virtual.facts.slots[slot]
    if len(content) > region.size:
        raise UsageError(f"the {slot} has {len(content):,} bytes, its slot on {virtual.facts.name} {region.size:,}")
    virtual.load(region.address, content)


def _check(settings: SessionSettings, storage: Storage) -> None:
    if settings.times_s or settings.queue != 1:
        raise UsageError("the board's own loop takes periodic events and a queue of one")
    if not isinstance(storage, Capacitor):
        raise UsageError("the board reads its store by voltage: give --capacitor, not --battery")
    if settings.sensing_j:
        raise UsageError("the board's samples lie in its flash: sensing costs nothing there; leave out --sensing")
    if settings.period_s * _US < 1.0:
        raise UsageError(f"period is {settings.period_s} s; the board's clock counts microseconds")


def _order(settings: SessionSettings, n: int) -> npt.NDArray[np.int64]:
    seed = settings.shuffle_seed
    return np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)


def _run(virtual: VirtualBoard, power: HarvestedSupply, progress: Callable[[float], None] | None) -> None:
    tell_s = 0.0
    supply = power.supply
    supply.mark("power_good" if supply.powered else "sample")
    while power.recover():
        virtual.power_on()
        state = "pause"
        while state == "pause":
            state = virtual.run(pause_s=power.end_s / 100.0)
            if progress is not None and power.now_s >= tell_s:
                progress(min(1.0, power.now_s / power.end_s))
                tell_s = power.now_s + power.end_s / 100.0
        if state == "end":
            break
    power.finish()
    if progress is not None:
        progress(1.0)
