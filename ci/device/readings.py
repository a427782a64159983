"""What a device holds of its street, row by row, and whether that is what happened.

A row counts as acknowledged when the collector names it after a `flush`: then it has said that the row is on the flash,
and nothing that happens later may lose it. The truth is the simulated street's own, which knows nothing of the product.
"""

import json
from collections.abc import Mapping

from device.qemu import Device

HOURS = 24
REGISTERS = ("1-0:1.8.0*255", "1-0:2.8.0*255", "1-0:3.8.0*255", "1-0:4.8.0*255")  # in the truth's order
ASK = b"""
import json, time
from dcu.cli.collector import ask
from dcu.control.messages import DEFAULT_SOCKET as socket
ask(socket, "flush")
now = int(time.time())
span = {"from": now - 30 * 86400, "to": now + 86400}  # no edge that moves over a row while the test runs
names = [meter["name"] for meter in ask(socket, "meters")]
print(json.dumps({name: ask(socket, "profile", meter=name, **span) for name in names}))
"""

Row = tuple[str, int]  # the meter's name, what its clock showed: UTC seconds
Readings = Mapping[Row, tuple[int, ...]]  # the four registers, Wh and varh


def acknowledged(dut: Device) -> Readings:
    """Return every row that the running collector says it has on the flash."""
    dut.put("/run/readings.py", ASK)
    answers = json.loads(dut.shell("/usr/lib/dcu/venv/bin/python3 /run/readings.py", 120))
    return {(name, row[0]): values for name, answer in answers.items() for row, values in _rows(answer)}


def amiss(before: Readings, after: Readings, meters: int, *, seed: int = 1) -> list[str]:
    """Return what is wrong, a line each: rows that were acknowledged and are gone or changed, or are not the truth."""
    from neighbourhood import truth
    from neighbourhood.identity import serial

    numbers = {serial(seed, number): number for number in range(1, meters + 1)}
    found = [f"{name}: {HOURS} rows are wanted" for name in numbers if _of(before, name) < HOURS]
    found += [f"{row}: lost" for row in before if row not in after]
    for row, values in (*before.items(), *after.items()):
        name, timestamp = row
        expected = tuple(truth.captured(seed, numbers[name], timestamp).registers) if name in numbers else None
        if values != expected:
            found.append(f"{row}: {values}, truth {expected}")
    return found


def _rows(answer: Mapping[str, object]) -> list[tuple[list[int], tuple[int, ...]]]:
    columns, rows = answer["columns"], answer["rows"]
    assert isinstance(columns, list)
    assert isinstance(rows, list)
    names = [column["attribute"] for column in columns]
    places = [2 + next(at for at, name in enumerate(names) if register in name) for register in REGISTERS]
    return [(row, tuple(row[place] for place in places)) for row in rows]


def _of(readings: Readings, name: str) -> int:
    return sum(1 for row in readings if row[0] == name)
