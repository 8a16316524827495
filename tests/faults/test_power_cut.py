"""A power cut loses exactly what the README's table says for each ``--durability``, and nothing is ever half there.

A real server's writes are recorded; then its disk is made again as a power cut at some moment may have left it (see
``disk``), and the real program looks what is there: the state after some number of the writes, never less than was
promised to be on the disk, and never more than had been sent.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from faults.disk import FATES, Disk, Record, read_trace
from faults.injector import WRITE
from faults.ledger import Client, Ledger
from faults.servers import Inspector, faulty, inspecting, needs_injector, seeds
from faults.work import mixed
from figures import record

pytestmark = needs_injector
CUTS = 50


def promised(ledger: Ledger, durability: str, at: int) -> int:
    """How many writes must be there after a cut at this point of the trace, by the README's table."""
    told = [n for n, write in enumerate(ledger.writes, 1) if write.told_at is not None and write.told_at <= at]
    if durability == "full":
        return max(told, default=0)
    if durability == "balanced":
        return max((n for n in told if not ledger.writes[n - 1].is_append), default=0)
    return 0


def sent(ledger: Ledger, at: int) -> int:
    return sum(write.sent_at <= at for write in ledger.writes)


def recorded_work(workspace: Path, control: Path, durability: str, seed: int) -> tuple[Ledger, list[Record]]:
    """Run a server until all its work is done and it has ended; what it was sent and what it wrote."""
    ledger = Ledger()
    with faulty(workspace, control, "--durability", durability, "--feed-max-bytes", "1000000") as server:
        client = Client(server.wire, ledger, server.mark)
        for batch in mixed(random.Random(seed)):
            client.burst(batch)
        server.wire.close()
        records = read_trace(server.trace)
    begun = sum(record.kind == WRITE and record.name.endswith("-wal") and record.number == 0 for record in records)
    assert begun > 1, "the -wal was checkpointed on the way, and begun anew"
    return ledger, records


def cut_points(ledger: Ledger, records: list[Record], chance: random.Random) -> list[int]:
    """Right after an acknowledgement was read, and anywhere."""
    told = [write.told_at for write in ledger.writes if write.told_at is not None]
    return sorted(chance.sample(told, CUTS // 2) + [chance.choice(records).end for _ in range(CUTS // 2)])


def check_cuts(ledger: Ledger, records: list[Record], durability: str, seed: int, inspector: Inspector) -> int:
    """Cut the power at many points; gives the most acknowledged writes that were lost at one of them."""
    chance = random.Random(seed)
    disk, done, most_lost = Disk(), 0, 0
    for at in cut_points(ledger, records, chance):
        while done < len(records) and records[done].end <= at:
            disk.do([records[done]])
            done += 1
        fate = chance.choice(FATES)
        found = inspector.look(disk.power_cut(fate, chance))
        told = sum(write.told_at is not None and write.told_at <= at for write in ledger.writes)
        kept = ledger.find(found, promised(ledger, durability, at), sent(ledger, at))
        most_lost = max(most_lost, told - kept)
    return most_lost


@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("durability", ["balanced", "full", "normal"])
def test_a_power_cut_loses_what_the_table_says_and_no_more(
    workspace: Path, tmp_path: Path, durability: str, seed: int
) -> None:
    ledger, records = recorded_work(workspace, tmp_path / "control", durability, seed)
    with inspecting() as inspector:
        most_lost = check_cuts(ledger, records, durability, seed, inspector)
        replayed = inspector.replayed
    record(
        f"power cut, {durability}",
        cuts=CUTS,
        writes=len(ledger.writes),
        promised_and_lost=0,
        acknowledged_and_lost_at_most=most_lost,
        feeds_replayed=replayed,
    )
