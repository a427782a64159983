"""`dcu network`: the collector's field networks: who is in them, how he is reached, what can be done about it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dcu.cli import output
from dcu.cli.collector import FILE, ask, at, socket_option, written
from dcu.cli.terminal import line, printable
from dcu.errors import ConfigError

if TYPE_CHECKING:
    from rich.tree import Tree

F = TypeVar("F", bound=Callable[..., Any])
_TIMES = ("last_heard", "since")
_MARKS = {"joined": "green", "silent": "red", "joining": "yellow", "left": "yellow", "expected": "dim"}


@click.group(invoke_without_command=True)
@click.option("--name", metavar="NETWORK", help="Only this one.")
@click.option("--statistics", is_flag=True, help="Show what the driver counted, too.")
@socket_option
@output.json_option
@click.pass_context
def network(context: click.Context, name: str | None, statistics: bool, socket: Path, as_json: bool) -> None:
    """Show the field networks as trees; find a path; send a meter away; change the group key."""
    context.obj = socket
    if context.invoked_subcommand is not None:
        return
    found = ask(socket, "network", network=name)
    for each in found:
        each["nodes"] = [_timed(node) for node in each["nodes"]]
    if as_json:
        output.show_json(found)
    elif not found:
        click.echo("no field network: a [[medium]] with a modem makes one (docs/collector.toml)")
    for each in found if not as_json else ():
        _show(each)
        if statistics:
            output.show_table(("counted", "times"), each["statistics"].items())


def _socket_too(function: F) -> F:
    return click.option("--socket", type=FILE, metavar="FILE", help="As of `dcu network`.")(function)


def _meter_options(function: F) -> F:
    function = click.option("--name", metavar="NETWORK", help="Then METER is an EUI-64.")(function)
    return click.argument("meter")(_socket_too(output.json_option(click.pass_obj(function))))  # type: ignore[return-value]


@network.command()
@_meter_options
def path(default: Path, socket: Path | None, meter: str, name: str | None, as_json: bool) -> None:
    """Have the network find out now which way it takes to METER."""
    hops = [_timed(hop) for hop in ask(socket or default, "network.path", meter=meter, network=name)]
    if as_json:
        output.show_json(hops)
        return
    rows = [(index, hop["meter"] or hop["eui64"], hop["eui64"], f"{hop['address']:04X}") for index, hop in
            enumerate(hops, 1) if hop["address"] is not None]  # fmt: skip
    output.show_table(("hop", "meter", "EUI-64", "short"), rows)


@network.command()
@_meter_options
def kick(default: Path, socket: Path | None, meter: str, name: str | None, as_json: bool) -> None:
    """Send METER away from its network; it may come back while it is registered."""
    result = ask(socket or default, "network.kick", meter=meter, network=name)
    output.show_json(result) if as_json else click.echo(f"{meter} is sent away")


@network.command()
@click.argument("name", metavar="NETWORK")
@_socket_too
@output.json_option
@click.pass_obj
def rekey(default: Path, socket: Path | None, name: str, as_json: bool) -> None:
    """Give NETWORK a new group key; every meter that can be heard gets it first.

    It takes minutes. Interrupted, or where a meter did not answer, the collector goes on with it by itself.
    """
    result = ask(socket or default, "network.rekey", network=name)
    if as_json:
        output.show_json(result)
    else:
        click.echo(f"network {name}: {result['meters']} meters have the new group key; the old one is gone")


@network.command("import")
@click.argument("name", metavar="NETWORK")
@click.argument("file", type=FILE, metavar="FILE")
@click.option(
    "--transport-key",
    type=FILE,
    metavar="FILE",
    required=True,
    help="A file with the key that utility and DCU share for this, in hexadecimal digits.",
)
@_socket_too
@output.json_option
@click.pass_obj
def import_(default: Path, socket: Path | None, name: str, file: Path, transport_key: Path, as_json: bool) -> None:
    """Take in NETWORK's pre-shared key from FILE (docs/g3.md); the network starts once it is there."""
    from dcu.keys import network_file, shipment

    key = shipment.load_transport_key(transport_key)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from None
    network_file.parse_network_file(text, str(file))  # here, where a mistake can name the file
    result = ask(socket or default, "network.import", network=name, file=text, transport_key=key.reveal().hex())
    output.show_json(result) if as_json else click.echo(f"network {name}: pre-shared key imported")


def _timed(node: dict[str, Any]) -> dict[str, Any]:
    return {key: at(value) if key in _TIMES else value for key, value in node.items()}


# --- the tree


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    state = "up" if found["up"] else "down"
    root = Tree(Text(f"{found['name']}  {found['kind']}, PAN {found['pan']:04X}, {state}  {found['root']}", "bold"))
    members = {node["eui64"]: node for node in found["nodes"] if node["standing"] in ("joined", "silent")}
    branches: dict[str, Tree] = {}
    for node in sorted(members.values(), key=lambda each: (each["hops"] or 99, each["meter"] or each["eui64"])):
        _branch(node, members, branches, root)
    others = [node for node in found["nodes"] if node["eui64"] not in members]
    if others:
        away = root.add(Text("not in the network", "dim"))
        for node in sorted(others, key=lambda each: each["meter"] or each["eui64"]):
            away.add(_label(node))
    console = Console(markup=False, highlight=False)
    with console.capture() as printed:
        console.print(root)
    click.echo("\n".join(row.rstrip() for row in printed.get().splitlines()))
    counts = Counter(node["standing"] for node in found["nodes"])
    click.echo(
        line(f"{len(found['nodes'])} meters: " + ", ".join(f"{n} {what}" for what, n in counts.items())), err=True
    )


def _branch(
    node: dict[str, Any], members: dict[str, dict[str, Any]], branches: dict[str, "Tree"], root: "Tree", depth: int = 0
) -> "Tree":
    """The node's own branch, hung under that of its parent; a parent comes first, however deep."""
    if (known := branches.get(node["eui64"])) is not None:
        return known
    parent = members.get(node["parent"] or "")
    above = root if parent is None or depth > len(members) else _branch(parent, members, branches, root, depth + 1)
    if (known := branches.get(node["eui64"])) is None:
        known = branches[node["eui64"]] = above.add(_label(node))
    return known


def _label(node: dict[str, Any]) -> Any:
    from rich.text import Text

    label = Text(printable(node["meter"] or node["eui64"]))
    facts = []
    if node["address"] is not None:
        facts.append(f"{node['address']:04X}")
    if node["hops"] is not None:
        facts.append(f"{node['hops']} hop{'s' if node['hops'] != 1 else ''}")
    if node["modulation"]:
        facts.append(node["modulation"])
    if node["quality"] is not None:
        facts.append(f"LQI {node['quality']}")
    label.append("  " + ", ".join(facts) if facts else "", "dim")
    if node["standing"] != "joined":
        label.append(f"  {node['standing']}", _MARKS[node["standing"]])
        if node["last_heard"]:
            label.append(f", last heard {written(node['last_heard'])}", "dim")
    return label
