"""`make bench`: every measurement of ours beside the peers', from one run; exit code 1 where a promise is missed."""

import platform
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import collection, driver, flash, hourly, link, multidrop, night, power_line, profile, resident, session
from bench.report import Row, show, write

GURUX, U9N = "gurux-dlms", "dlms-cosem (u9n)"
STREETS = range(1, 6)  # seeds of streets of 48 homes
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def profiles() -> list[Row]:
    rows = []
    for timing in profile.timings():
        for name, peer, ratio, target in (
            (GURUX, timing.gurux, timing.gurux_ratio, 25.0),
            (U9N, timing.u9n, timing.u9n_ratio, 5.0),
        ):
            if peer is not None:
                ours = f"{timing.ours:,.0f} µs"
                rows.append(Row(timing.name, ours, f"{name} {peer:,.0f} µs", ratio, target))
    return rows


def sessions() -> list[Row]:
    mine, *peers = session.session()
    targets = {"gurux-dlms": 15.0, "dlms-cosem (u9n)": 1.5}
    signed = [
        Row(f"session with HLS 7 (ECDSA), suite {number}, client CPU", f"{least:,.0f} µs")
        for number, least in session.signed().items()
    ]
    return signed + [
        Row(
            "secured session, client CPU",
            f"{mine['µs']:,.0f} µs",
            f"{peer['client']} {peer['µs']:,.0f} µs",
            peer["times ours"],
            next((target for name, target in targets.items() if name.split()[0] in peer["client"]), None),
        )
        for peer in peers
        if peer["µs"] is not None
    ]


def framing() -> list[Row]:
    least = {GURUX: 50.0, U9N: 20.0}
    targets = {(f"HDLC {what}", peer): least[peer] for what in ("parse", "build") for peer in least}
    return [
        Row(
            timing.name,
            f"{timing.ours:.1f} µs",
            f"{name} {took:,.0f} µs",
            timing.ratio(name),
            targets.get((timing.name.partition(",")[0], name)),
        )
        for timing in link.timings()
        for name, took in timing.peers.items()
    ]


def lines() -> list[Row]:
    rows = [
        Row(
            f"24 hourly values over HDLC, {found.information} B a frame, window {found.window}: bytes",
            f"{found.size} B",
            f"floor {found.floor} B",
            found.ratio,
            1.05,
            most=True,
        )
        for found in hourly.measure()
    ]
    found = multidrop.measure()
    for what, key in (("whole sessions", "sessions"), ("associations kept", "kept")):
        timed = found[key]
        rows.append(
            Row(
                f"{found['meters']} meters on one 9600-baud line, 24 rows of each, {what}: time, against the least",
                f"{timed['seconds']:.1f} s",
                f"least {timed['least']:.1f} s",
                timed["ratio"],
                1.05,
                most=True,
            )
        )
    return rows


def street() -> list[Row]:
    found = collection.measure()
    what = f"{found['meters']:,} meters × 24 h, TCP, secured"
    return [
        Row(f"{what}: sessions a second", f"{found['seconds']:.1f} s", "", found["sessions_per_second"], unit=" /s"),
        Row(f"{what}: collector's peak memory", "", "", found["collector_rss"] / 1e6, 64, most=True, unit=" MB"),
        Row(f"{what}: street's peak memory", "", "", found["street_rss"] / 1e6, 100, most=True, unit=" MB"),
    ]


def air() -> list[Row]:
    rows = []
    for found in power_line.compared():
        peer = "" if found.ns3 is None else f"ns-3 lr-wpan {found.ns3:,.0f} /s"
        ratio = None if found.ns3 is None else found.ours / found.ns3
        what = f"power line, {found.nodes} devices, acknowledged frames a second of processor time"
        rows.append(Row(what, f"{found.ours:,.0f} /s", peer, ratio, {48: 2.0, 500: 10.0}[found.nodes]))
    busy = power_line.street()
    what = f"power line, a street of {busy['homes']:,.0f} homes at work: data frames"
    rows.append(Row(what, "", "", busy["frames"], 5_000, unit=" /s"))
    rows.append(Row(f"{what}, of simulated time", "", "", busy["faster"], unit="× real time"))
    return rows


def nights() -> list[Row]:
    few = [night.measure(48, seed=seed) for seed in STREETS]
    many = night.measure(1000)
    rows = []
    for meters, found, wall in ((48, few, 5.0), (1000, [many], 120.0)):
        rows_read = max(each["readings"] for each in found)
        what = f"a night of {meters:,} meters over G3-PLC, joined and routed, {rows_read:,} rows of 4 registers"
        streets = f"{len(found)} streets" if len(found) > 1 else ""
        cpu = f"{max(each['cpu'] for each in found):.2f} s of processor"
        rows.append(
            Row(f"{what}: wall clock", cpu, streets, max(each["wall"] for each in found), wall, most=True, unit=" s")
        )
        rows += _by_floor(what, found, 1.3)
    rows.append(
        Row(
            f"{what}: frames a second of processor time",
            f"{many['frames']:,}",
            "",
            many["frames_per_second"],
            5_000,
            unit=" /s",
        )
    )
    first = f"{many['first']:,.0f} s"
    rows.append(Row(f"{what}: the first collection, with associations", first, "", many["first_wall"], unit=" s"))
    grown = (many["rss"] - many["rss_before"]) / 1e6
    rows.append(Row(f"{what}: memory since the street stood", f"{many['rss'] / 1e6:.0f} MB", "", grown, unit=" MB"))
    for start, how in (
        (night.Start.ASKED, "asked for their clocks before"),
        (night.Start.SILENT, "after hours of silence"),
    ):
        found = [night.measure(48, seed=seed, start=start) for seed in STREETS]
        rows += _by_floor(f"a night of 48 meters over G3-PLC, {how}", found, None)
    each = sum(one["cpu"] for one in few) / sum(one["datagrams"] for one in few) * 1e6
    rows.append(
        Row("G3-PLC: processor a datagram, driver, modem, line, collector and meter together", f"{each:,.0f} µs")
    )
    rows.append(Row("G3-PLC: processor a datagram, the driver alone", f"{driver.measure() * 1e6:,.0f} µs"))
    alone = resident.measure()
    rows.append(
        Row(
            f"{alone.meters:,} meters over G3-PLC, all associations open: collector's peak memory",
            f"{alone.before / 1e6:.1f} MB before",
            "",
            alone.most / 1e6,
            64,
            most=True,
            unit=" MB",
        )
    )
    return rows + alarms()


def _by_floor(what: str, found: list[dict[str, Any]], most: float | None) -> list[Row]:
    """Simulated collecting time by the floor: of all nights together, and of the worst."""
    seconds, floor = sum(one["seconds"] for one in found), sum(one["floor"] for one in found)
    rows = [
        Row(f"{what}: collecting by floor", f"{seconds:,.0f} s", f"{floor:,.0f} s", seconds / floor, most, most=True)
    ]
    if len(found) > 1:
        worst = max(found, key=lambda one: float(one["ratio"]))
        took = f"{worst['seconds']:,.0f} s", f"{worst['floor']:,.0f} s"
        rows.append(Row(f"{what}: collecting by floor, the worst street", *took, worst["ratio"], most, most=True))
    return rows


def alarms() -> list[Row]:
    """Each alarm by what its street allows: one exchange in flight, its hops and half a second."""
    found = [night.measure(48, seed=seed, alarms=True) for seed in STREETS]
    shares = sorted(took / one["alarm_limit"] for one in found for took in one["alarms"])
    seconds = sorted(took for one in found for took in one["alarms"])
    at = int(0.99 * len(shares))
    limits = f"limit {min(one['alarm_limit'] for one in found):.1f} to {max(one['alarm_limit'] for one in found):.1f} s"
    what = f"G3-PLC: {len(shares)} alarms during nights of 48 meters"
    return [
        Row(f"{what}, median", "", limits, seconds[len(seconds) // 2], unit=" s"),
        Row(f"{what}, p99 by the limit", f"{seconds[at]:.1f} s", limits, shares[at], 1.0, most=True),
    ]


def wear() -> list[Row]:
    found = flash.measure()
    if "skipped" in found:
        Console(stderr=True).print(f"flash wear is not measured: {found['skipped']}", style="yellow")
        return []
    ours, naive = found["bytes_a_reading"], found["bytes_a_reading_naive"]
    late = found["bytes_a_reading_with_stragglers"]
    what = "flash bytes a reading, 1,000 meters, hourly, 30 d kept"
    return [
        Row(what, f"{ours} B", "", float(ours), 100, most=True, unit=" B"),
        Row(f"{what}, against a commit a reading", f"{ours} B", f"{naive:,} B", float(found["ratio"]), 400),
        Row(f"{what}, one meter in ten late", f"{late} B", "", float(late), unit=" B"),
        Row("flash bytes an alarm (committed at once)", f"{found['bytes_an_alarm']:,} B"),
    ]


def main() -> int:
    rows: list[Row] = []
    console = Console(stderr=True)
    for name, measure in (
        ("profiles", profiles),
        ("sessions", sessions),
        ("framing", framing),
        ("serial lines", lines),
        ("1,000 meters", street),
        ("power line", air),
        ("nights over G3-PLC", nights),
        ("flash wear", wear),
    ):
        with console.status(f"measuring {name}"):
            rows += measure()
    show(rows)
    write(rows, PAGE, f"{platform.machine()}, Python {platform.python_version()}")
    return 1 if any(row.holds is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
