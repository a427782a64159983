"""The `neighbourhood` command: a simulated street, one meter of it for a foreign client, its truth, and the demo."""

import asyncio
import contextlib
import csv
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from dcu.cli import exits
from dcu.errors import ConfigError, DcuError
from neighbourhood import truth
from neighbourhood.identity import LARGEST, serial
from neighbourhood.kinds import Checked, address, fault, listener, moment, zone
from neighbourhood.line_options import line_options, wiring
from neighbourhood.reached import reached

if TYPE_CHECKING:
    from neighbourhood.fleet import Fleet
    from neighbourhood.g3.street import Scene
    from neighbourhood.wires import Wiring

T = TypeVar("T")


MOMENT = Checked("time", moment)
PROTECTIONS = ("service", "general", "identified", "wrapped", "one-pass", "static")
AUTHENTICATIONS = ("none", "low", "high", "md5", "sha1", "gmac", "sha256", "ecdsa")
FILE = click.Path(dir_okay=False, path_type=Path)
PORT = click.IntRange(0, 65_535)
COUNT = click.IntRange(1, LARGEST)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
SEED = click.option("--seed", type=int, default=1, show_default=True, help="Another seed, another street.")
ROGUES = click.option("--rogue", "rogues", type=COUNT, multiple=True, metavar="HOME",
                      help="Hang a device with a wrong pre-shared key at this home; may be given again.")  # fmt: skip


def clock_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--start", type=MOMENT, help="When it is in the street (default: now).", metavar="TIME"),
        click.option("--speed", type=click.FloatRange(0.0, 100_000), default=1.0, help="How fast time runs there."),
        click.option("--zone", type=Checked("zone", zone), default="UTC", help="The meters' time zone."),
        click.option("--deviation", type=click.Choice(["+", "-", "none"]), default="+", show_default=True,
                     help="Sign of the clock's deviation: + UTC = local + deviation (Blue Book), - the opposite."),
        click.option("--period", type=click.Choice(["15", "60"]), default="60", show_default=True,
                     help="Minutes of the load profile."),
        click.option("--compress", is_flag=True, help="Profiles use null-data."),
    ):  # fmt: skip
        function = option(function)
    return function


def _habits(options: dict[str, Any], **more: Any) -> Any:
    from neighbourhood.meter import Habits
    from neighbourhood.times import Zone

    zone = Zone(options["zone"], -1 if options["deviation"] == "-" else 1, options["deviation"] != "none")
    return Habits(zone=zone, period=int(options["period"]) * 60, compress=options["compress"], **more)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="grid-dcu-neighbourhood", prog_name="neighbourhood")
def cli() -> None:
    """A simulated street of DLMS/COSEM meters, whose every reading is known."""


@cli.command()
@click.option("--count", type=COUNT, default=48, show_default=True, help="How many meters.")
@SEED
@click.option("--listen", default="127.0.0.1", show_default=True, help="The address of every meter.", metavar="HOST")
@click.option("--base-port", type=PORT, default=0, help="The first meter's port, the next has the next; 0: any.")
@click.option("--addresses", type=Checked("address", address), metavar="127.x.y.z",
              help="The first meter's own address, the next has the next; port 4059 or --base-port.")  # fmt: skip
@click.option("--udp/--no-udp", help="Serve UDP, too, on the same ports.")
@click.option("--shipment", type=FILE, help="Write a shipment file: the meters with their wrapped keys.")
@click.option("--transport-key", type=FILE, help="What wraps them: a file of hexadecimal digits, made if missing.")
@click.option("--suite", type=click.IntRange(0, 2), default=0, help="The meters' security suite.")
@click.option("--logical", type=click.IntRange(1, 16), default=1, show_default=True,
              help="Logical devices that one meter has: as many of --count in a row share its address.")  # fmt: skip
@click.option("--profile", default="generic", show_default=True, help="The meter profile that the shipment names.")
@click.option("--fault", "faults", type=Checked("fault", fault), multiple=True, metavar="KIND[=VALUE]:METERS",
              help="nonsense, garbage, replays, wrong-key, silent, slow=S, drops=N; METERS: 3, 4-8, all.")  # fmt: skip
@click.option("--push", "listener", type=Checked("listener", listener), metavar="[udp://]HOST:PORT",
              help="Send ciphered alarms there.")  # fmt: skip
@click.option("--push-every", type=click.FloatRange(0), default=0.0, help="Seconds from alarm to alarm; 0: one each.")
@click.option("--status", type=FILE, help="Write what happened at the end, and on SIGUSR1, as JSON.")
@click.option("--duration", type=click.FloatRange(0, min_open=True), help="End after these seconds.")
@line_options
@clock_options
@JSON
def meters(as_json: bool, **options: Any) -> None:
    """Run a street of meters until it is interrupted."""
    from neighbourhood.fleet import DLMS_PORT, Addressing, Fleet
    from neighbourhood.running import Running, Shipping, described, street_time

    if (options["shipment"] is None) is not (options["transport_key"] is None):
        raise click.UsageError("--shipment and --transport-key go together")
    port = options["base_port"] or (DLMS_PORT if options["addresses"] else 0)
    if not options["addresses"] and port and port + options["count"] > 65_536:
        raise click.UsageError(f"--base-port {port} leaves no port for meter {65_536 - port + 1}")
    try:
        fleet = Fleet(
            options["count"],
            options["seed"],
            street_time(options["start"], options["speed"]),
            habits=_habits(options, suite=options["suite"]),
            addressing=Addressing(
                options["listen"],
                port,
                port if options["udp"] else None,
                options["addresses"],
                options["framing"] == "hdlc",
                wiring(options),
            ),
            faults=options["faults"],
            logical=options["logical"],
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    shipped = options["shipment"] and Shipping(options["shipment"], options["transport_key"], options["profile"])
    running = Running(
        fleet, shipped, options["status"], options["listener"], options["push_every"], options["duration"]
    )

    def ready(fleet: Fleet) -> None:
        told = described(fleet)
        if as_json:
            _say(json.dumps(told))
        else:
            _say(f"{len(fleet.meters)} meters: {told['first']['name']} on {told['first']['address']} … "
                 f"{told['last']['name']} on {told['last']['address']}; Ctrl-C ends")  # fmt: skip

    asyncio.run(running.run(ready))


@cli.command()
@click.option("--listen", default="127.0.0.1", show_default=True, help="Its address.", metavar="HOST")
@click.option("--tcp", type=PORT, help="Its TCP port (wrapper); 0: any.")
@click.option("--udp", type=PORT, help="Its UDP port (wrapper); 0: any.")
@click.option("--auth", type=click.Choice(AUTHENTICATIONS), default="gmac", show_default=True,
              help="How client 1 authenticates; gmac and ecdsa also cipher everything.")  # fmt: skip
@click.option("--ciphered", is_flag=True, help="Cipher everything, whatever --auth is.")
@click.option("--sn", "short", is_flag=True, help="Short-name referencing.")
@click.option("--general-blocks", is_flag=True, help="Offer general-block-transfer.")
@click.option("--pre-established", is_flag=True,
              help="Client 102 needs no handshake: the keys file's client_title, its keys.")  # fmt: skip
@click.option("--protection", type=click.Choice(PROTECTIONS), default="service", show_default=True,
              help="How client 1's services are ciphered: see security.framing of a meter profile.")  # fmt: skip
@click.option("--signed", is_flag=True, help="Each is signed, too.")
@click.option("--suite", type=click.IntRange(0, 2), default=0, help="The security suite of a file that is generated.")
@click.option("--keys", type=FILE, help="Keys file (TOML): password, system_title, guek, gak.")
@click.option("--generate", is_flag=True, help="Make that file.")
@click.option("--status", type=FILE, help="Write what happened at the end, and on SIGUSR1, as JSON.")
@click.option("--duration", type=click.FloatRange(0, min_open=True), help="End after these seconds.")
@SEED
@line_options
@clock_options
@JSON
def meter(as_json: bool, **options: Any) -> None:
    """Run one meter for a foreign client."""
    from neighbourhood.running import Running, generate_keys

    line = wiring(options)
    over = [name for name in ("tcp", "udp") if options[name] is not None]
    if not over and line is None:
        raise click.UsageError("--tcp PORT, --udp PORT, --pty LINK or --serial DEVICE is needed")
    if over and line is not None:
        raise click.UsageError(f"--{over[0]}: a meter is on a line (--pty, --serial), or at a port: one of them")
    if options["short"] and over == ["udp"] and options["framing"] == "wrapper":
        raise click.UsageError("--sn over UDP: a late answer would pass for another: --tcp PORT, or --framing hdlc")
    if options["auth"] != "none" and options["keys"] is None:
        raise click.UsageError(f"--auth {options['auth']} needs --keys FILE (--generate makes one)")
    if options["generate"]:
        if options["keys"] is None:
            raise click.UsageError("--generate needs --keys FILE: where to write")
        generate_keys(options["keys"], options["suite"])
    try:
        fleet = _one(options, line)
    except click.UsageError:
        if options["generate"]:
            options["keys"].unlink()  # the same command, put right, makes it
        raise

    def ready(fleet: "Fleet") -> None:
        _say(reached(fleet, options["auth"], options["keys"], as_json=as_json))

    asyncio.run(Running(fleet, status=options["status"], duration=options["duration"]).run(ready))


def _one(options: dict[str, Any], line: "Wiring | None") -> "Fleet":
    """A street of one meter, as the options of `meter` say. Raises UsageError, ConfigError."""
    from dcu.collect.associations import FRAMINGS
    from dcu.cosem.association import Authentication
    from neighbourhood.fleet import Addressing, Fleet
    from neighbourhood.running import bench_keys, street_time

    kind = Authentication[options["auth"].upper()]
    habits = _habits(
        options,
        authentication=kind,
        framing=FRAMINGS[options["protection"]],
        pre_established=_title(options["keys"]) if options["pre_established"] else b"",
        **{key: options[key] for key in ("ciphered", "short", "general_blocks", "signed")},
    )
    place = Addressing(
        options["listen"], options["tcp"], options["udp"], hdlc=options["framing"] == "hdlc", wiring=line
    )
    try:
        fleet = Fleet(
            1, options["seed"], street_time(options["start"], options["speed"]), habits=habits, addressing=place
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if options["keys"] is not None:
        fleet.meters[0].given = bench_keys(options["keys"])
    try:
        fleet.meters[0].associations()
    except ValueError as error:
        raise click.UsageError(f"{error}: see --keys, --suite and --ciphered") from None
    keys = fleet.meters[0].keys(1)
    if kind.secret and not keys.password:
        raise click.UsageError(f"{options['keys']} has no password, which --auth {options['auth']} needs")
    if kind is Authentication.ECDSA and not keys.signing:
        raise click.UsageError(f"{options['keys']} has no meter_signing_key, which --auth ecdsa needs")
    return fleet


def _title(keys: Path | None) -> bytes:
    from dcu.keys import keysfile

    title = keysfile.load(keys).client_title if keys else None
    if title is None:
        raise click.UsageError("--pre-established needs --keys FILE, with the client_title whom it is for")
    return title


@cli.command(name="truth")
@SEED
@click.option("--meter", "number", type=COUNT, help="One meter's number (default: all of --count).")
@click.option("--count", type=COUNT, default=48, show_default=True, help="How many meters.")
@click.option("--from", "first", type=MOMENT, required=True, help="First moment.", metavar="TIME")
@click.option("--to", "last", type=MOMENT, required=True, help="Last moment, included.", metavar="TIME")
@click.option("--period", type=click.Choice(["15", "60"]), default="60", show_default=True, help="Minutes.")
@JSON
def show_truth(seed: int, number: int | None, count: int, first: int, last: int, period: str, as_json: bool) -> None:
    """Print what the meters' load profiles hold: UTC seconds and integers, before any encoding."""
    columns = ("meter", "timestamp", "import_wh", "export_wh", "reactive_import_varh", "reactive_export_varh")
    lines = (
        (serial(seed, meter), row.timestamp, *row.registers)
        for meter in ([number] if number else range(1, count + 1))
        for row in truth.rows(seed, meter, first, last, int(period) * 60)
    )
    if as_json:
        for line in lines:
            click.echo(json.dumps(dict(zip(columns, line, strict=True))))
    else:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(lines)


@cli.command()
@click.argument("file", type=FILE)
@click.option("--version", "wanted", default="2.0.0", show_default=True, help="What the meter then says that it runs.")
@click.option("--size", type=click.IntRange(64, 4 << 20), default=65_536, show_default=True, help="Bytes.")
def firmware(file: Path, wanted: str, size: int) -> None:
    """Make a firmware image that these meters take: for `dcu image send`."""
    from neighbourhood import image

    try:
        file.write_bytes(image.firmware(wanted, size))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None


@cli.command()
@click.option("--meters", "count", type=COUNT, default=48, show_default=True, envvar="METERS", help="How many.")
@SEED
@click.option("--sockets", is_flag=True, help="Meters on loopback sockets in place of the G3-PLC street.")
@click.option("--concurrency", type=click.IntRange(1, 1_000), help="Meters at a time (default: 1; 32 over sockets).")
@click.option("--wired", is_flag=True, help="All meters on one serial line (a pseudo-terminal), HDLC.")
@click.option("--recording", type=FILE, help="Leave one html file that plays what happened on the line.")
@click.option("--capture", type=FILE, help="Leave a capture of the line for Wireshark and tshark (docs/g3.md).")
@click.option("--pty/--no-pty", default=False, help="Then ten meters in real time, the modem at a pseudo-terminal.")
@click.option("--cut/--no-cut", default=True, help="Open a main cable on the way.")
@ROGUES
@click.option("--canary", type=click.Choice(["unit", "hour"]), help="Bend the truth: the demo must then fail.")
@JSON
def demo(count: int, seed: int, concurrency: int | None, canary: str | None, as_json: bool, **options: Any) -> int:
    """Collect the last 24 h of a street with the collector, and compare every reading with the truth.

    The street hangs on a G3-PLC line, simulated byte for byte in virtual time: meters join, are read, a cable breaks,
    routes heal. Exit code 0 only when every reading is there and right.
    """
    bent = {"unit": (1, 0), "hour": (0, truth.HOUR)}.get(canary or "", (0, 0))
    if not (options["sockets"] or options["wired"]):
        from neighbourhood.g3 import show, stage
        from neighbourhood.g3.street import Scene

        _without_warnings()
        scene = _with_rogues(Scene(meters=count, seed=seed, concurrency=concurrency or 1), options["rogues"])
        played = show.Options(scene, options["cut"], options["recording"], *bent, options["capture"])
        return exits.OK if stage.demo(played, pty=options["pty"], as_json=as_json) else exits.FAILED
    if options["rogues"]:
        raise click.UsageError("--rogue is for the G3-PLC street, not for --sockets or --wired")
    from neighbourhood import demo as play

    settings = play.Settings(count, seed, concurrency or 32, *bent, wired=options["wired"])
    if as_json:
        outcome = asyncio.run(play.run(settings, lambda _expected, _collected: None))
        click.echo(json.dumps(outcome.plain(settings), indent=1))
    else:
        from neighbourhood import screen

        outcome = screen.demo(settings)
    return exits.OK if outcome.good else exits.FAILED


@cli.command()
@click.option("--meters", "count", type=COUNT, default=48, show_default=True, envvar="METERS", help="How many.")
@SEED
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Of the page, on loopback."
)
@click.option("--speed", type=click.FloatRange(0.01, 200), default=5.0, show_default=True, help="Times the wall clock.")
@ROGUES
def live(count: int, seed: int, port: int, speed: float, rogues: tuple[int, ...]) -> int:
    """Keep a G3-PLC street and its collector running until Ctrl-C, with the page to watch it and to break it."""
    from neighbourhood.g3 import live as street
    from neighbourhood.g3.street import Scene

    _without_warnings()

    def ready(url: str) -> None:
        click.echo(f"{count} homes: {url} (Ctrl-C ends it)")

    scene = _with_rogues(Scene(meters=count, seed=seed, every=900), rogues)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(street.serve(scene, port=port, factor=speed, ready=ready))
    return exits.OK


def _with_rogues(scene: "Scene", homes: Sequence[int]) -> "Scene":
    try:
        return scene.with_rogues(homes)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--rogue") from None


def _without_warnings() -> None:
    """On the screen: a street that wakes has a screenful of meters that have not joined yet, and the bar says so."""
    if logging.lastResort is not None:
        logging.lastResort.setLevel(logging.ERROR)


def _say(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()  # whoever started us waits for this line


def main() -> NoReturn:
    """Entry point of the `neighbourhood` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code; what went wrong is one line on stderr."""
    try:
        result = cli.main(list(arguments), prog_name="neighbourhood", standalone_mode=False)
        sys.stdout.flush()
    except DcuError as error:
        return _complain(str(error), exits.code_of(error))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _complain("interrupted", exits.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader, `head` for instance, has seen enough
        return exits.OK
    except Exception as error:  # a bug of ours: one line, not a traceback
        return _complain(f"internal error ({type(error).__name__}: {error}), please report it", exits.INTERNAL)
    return result if isinstance(result, int) else exits.OK


def _complain(message: str, code: int) -> int:
    click.secho(f"neighbourhood: {message}", err=True, fg="red")
    return code
