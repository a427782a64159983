"""`dcu device`: the device that the collector runs on: what state it is in, whether it is well, its software's update.

Run as root; the services dcu-provision, dcu-health, dcu-confirm and dcu-hawkbit are these commands.
"""

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcu.cli import exits, output
from dcu.cli.collector import ask, socket_option
from dcu.cli.terminal import line
from dcu.errors import ConfigError, DcuError, StoreError, UpdateError

if TYPE_CHECKING:
    from dcu.platform.health import Health
    from dcu.platform.machine import Machine
    from dcu.platform.partitions import Partition
    from dcu.platform.update import Updates

EVERY = 5.0  # seconds between two looks while waiting

wait_option = click.option(
    "--wait", type=click.FloatRange(0, 86400), default=0.0, metavar="SECONDS", help="Give it so long to become healthy."
)


def _machine() -> "Machine":
    from dcu.platform.machine import Machine

    return Machine()


@click.group()
def device() -> None:
    """Look after the device itself."""


@device.command()
@output.json_option
def status(as_json: bool) -> int:
    """Show which software runs from which bank, what became of the last update, and whether persist is whole.

    Exit code 1 when something there needs somebody.
    """
    shown = _status(_machine())
    if as_json:
        output.show_json(shown)
    else:
        _show_status(shown)
    return exits.OK if shown["ok"] else exits.FAILED


@device.command()
@click.option("--good-boot", is_flag=True, help="Tell U-Boot, once the collector answers, that this boot went well.")
@wait_option
@socket_option
@output.json_option
def health(good_boot: bool, wait: float, socket: Path, as_json: bool) -> int:
    """Check that collector, store, links and watchdog do their work.

    Exit code 1 when one does not, with the reason.
    """
    from dcu.platform.health import as_json as plain

    updates = _machine().updates() if good_boot else None
    seen = _examined(socket, wait, updates)
    if as_json:
        output.show_json(plain(seen))
    else:
        for check in seen.checks:
            mark = click.style("ok   ", fg="green") if check.ok else click.style("WRONG", fg="red")
            click.echo(f"{mark}  {check.name}: {line(check.reason)}")
    return exits.OK if seen.ok else exits.FAILED


@device.command()
@click.option("--or-roll-back", is_flag=True, help="Leave the bank at the next boot if it does not become healthy.")
@wait_option
@socket_option
def confirm(or_roll_back: bool, wait: float, socket: Path) -> None:
    """Confirm the running bank if it is on trial and healthy.

    Exit code 11 when it is not healthy.
    """
    from dcu.platform.update import Phase

    machine = _machine()
    updates = machine.updates()
    state = updates.status()
    if state.phase is not Phase.TRIAL:
        click.echo(f"nothing to confirm: {state.why}")
        return
    seen = _examined(socket, wait)
    if seen.ok:
        updates.confirm(report=machine.hawkbit.exists())
        click.echo(f"version {updates.version} in bank {updates.running} is confirmed")
        return
    reasons = "; ".join(seen.reasons)
    if not or_roll_back:
        raise UpdateError(f"not confirmed: {reasons}", "health")
    updates.roll_back(seen.why)
    raise UpdateError(f"bank {updates.running} gives way to bank {updates.running.other}: {reasons}", "health")


@device.command()
@click.argument("source", metavar="FILE|URL")
@click.option("--else", "others", multiple=True, metavar="FILE|URL", help="Take this where SOURCE cannot be had.")
@click.option("--ca", type=click.Path(exists=True, path_type=Path), help="Authorities of the server (PEM).")
@click.option("--allow-http", is_flag=True, help="Plain http, too: who listens sees the update, its signature holds.")
@click.option("--check", is_flag=True, help="Only look whether it would be installed.")
@click.option("--reboot", is_flag=True, help="Try it at once.")
@click.option("--verbose", is_flag=True, help="Show what SWUpdate says.")
def update(
    source: str, others: tuple[str, ...], ca: Path | None, allow_http: bool, check: bool, reboot: bool, verbose: bool
) -> None:
    """Install an update into the other bank; the next boot tries it.

    A file, or https://…; --else names the full update beside a delta. Refused are: unsigned, changed, for other
    hardware, older than what was confirmed here. Exit code 11 then.
    """
    from dcu.platform import install

    machine = _machine()
    trusted = install.trust(machine, ca, http=allow_http)
    tell = output.note if verbose else _quiet
    if check:
        target = install.install(machine, source, trusted, tell, check=True)
        click.echo(f"{source}: would be installed into bank {target}")
        return
    target = install.install_first(machine, (source, *others), trusted, tell, output.note)
    click.echo(f"installed into bank {target}; " + ("rebooting" if reboot else "the next boot tries it"))
    if reboot:
        os.execvp("systemctl", ["systemctl", "reboot"])  # noqa: S606, S607


@device.command("update-key")
@click.argument("file", type=click.Path(path_type=Path))
def update_key(file: Path) -> None:
    """Keep the AES key of encrypted updates: FILE is as `python -m ota keys` makes it.

    A key that was there before is replaced. Plain updates are taken all the same.
    """
    from dcu.platform import updatekey

    updatekey.keep(_machine(), file)
    click.echo("kept: encrypted updates are installed from now on")


@device.command()
@click.option("--again", is_flag=True, help="Make a lost identity anew: the meters must then be imported again.")
def provision(again: bool) -> None:
    """Make the identity of this device on its first boot; restore what is damaged on every other.

    Exit code 10 when both copies are lost, or persist cannot be mounted.
    """
    from dcu.platform.provision import Provisioning

    machine = _machine()
    done = Provisioning(machine).run(again=again)
    for note in done.notes:
        click.echo(line(note))
    machine.tell(done.restored)
    click.echo(f"this is {line(done.identity.serial)}, system title {done.identity.system_title}")
    if again:
        click.echo("restart the device (systemctl reboot), then import the shipments of its meters")


@device.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def configure(path: Path) -> None:
    """Take FILE as the collector's configuration, and start the collector anew with it.

    It is checked before, kept doubly, and outlives updates. One file serves many devices: `@SYSTEM_TITLE@` becomes the
    device's own. Exit code 3 when something in it is wrong; nothing is changed then.
    """
    from dcu.collect import settings
    from dcu.platform.provision import Provisioning

    provisioning = Provisioning(_machine())
    text = provisioning.filled(path.read_text(encoding="utf-8", errors="replace"))
    settings.parse(text, path)
    click.echo(f"{provisioning.configure(text)}: taken; starting the collector anew")
    os.execvp("systemctl", ["systemctl", "restart", "dcu-collector.service"])  # noqa: S606, S607


@device.command()
def follow() -> int:
    """Take updates from the hawkBit server that /etc/dcu/hawkbit.toml names, until stopped."""
    from dcu.platform import hawkbit, swuconfig, updatekey
    from dcu.platform.provision import Provisioning

    machine = _machine()
    server = hawkbit.load(machine.hawkbit)
    updates = machine.updates()
    target, oldest = updates.target()
    identity = Provisioning(machine).identity()
    if not server.id and not identity:
        raise ConfigError(f"{machine.hawkbit}: key id: this device has no serial number: give one")
    serial = identity.serial if identity else ""
    authorities = machine.servers if machine.servers.exists() else None
    state = updates.status()
    merged, heard = machine.run / hawkbit.MERGED, machine.run / hawkbit.HEARD
    if why := hawkbit.outcome(state):
        hawkbit.tell_why(server, serial, why, authorities, click.echo, heard)
    sections = hawkbit.sections(server, serial, hawkbit.facts(state), authorities)
    swuconfig.write(sections, merged, base=machine.swupdate)
    return hawkbit.follow(server, hawkbit.command(target, oldest, merged, updatekey.place(machine)), click.echo, heard)


def _examined(socket: Path, wait: float, updates: "Updates | None" = None) -> "Health":
    """Look until all is well or `wait` seconds have passed. updates: a confirmed bank that is told of a good boot."""
    from dcu.platform import health as check
    from dcu.platform.update import Phase

    machine = _machine()
    lost = _lost(machine)
    deadline = time.monotonic() + wait
    while True:
        seen = check.examine(lambda method: ask(socket, method), persist=lost, watchdogs=machine.watchdogs)
        well = bool(lost) or seen.of("collector").ok  # without an identity there is no collector, in no bank
        if updates and well and updates.status().phase is not Phase.TRIAL:
            _good_boot(updates)
            updates = None
        if lost:
            return seen
        if seen.ok or time.monotonic() >= deadline:
            return seen
        time.sleep(min(EVERY, max(0.0, deadline - time.monotonic())))


def _lost(machine: "Machine") -> str:
    """Why this device is none any more, "" where it is one."""
    from dcu.platform.provision import Provisioning

    provisioning = Provisioning(machine)
    return provisioning.trouble(provisioning.state())


def _good_boot(updates: "Updates") -> None:
    """The count of failed boots is U-Boot's; that persist cannot take the oldest version is told beside it."""
    try:
        updates.confirm()
    except StoreError as error:
        output.note(str(error))


def _disks(machine: "Machine") -> tuple["Partition | None", list[str]]:
    """What `data` is like, and what is wrong with it or with persist."""
    from dcu.platform import partitions

    troubles = []
    seen = {name: partitions.look(path) for name, path in machine.disks.items() if machine.mounted(path)}
    for name, partition in seen.items():
        if partition.trouble:
            troubles.append(f"{name}: {partition.trouble}")
    if "data" not in seen:
        troubles.append("data: not mounted: the collector does not run; restart the device, which repairs it")
    return seen.get("data"), troubles


def _status(machine: "Machine") -> dict[str, Any]:
    from dcu.platform.provision import Provisioning, State
    from dcu.platform.update import Phase

    provisioning = Provisioning(machine)
    persist, identity = provisioning.state(), provisioning.identity()
    data, troubles = _disks(machine)
    if lost := provisioning.trouble(persist):
        troubles.insert(0, lost)
    shown: dict[str, Any] = {
        "serial": identity.serial if identity else None,
        "system_title": identity.system_title if identity else None,
        "persist": str(persist),
        "data": asdict(data) if data else None,
        "data_recreated": machine.recreated.exists(),
        "restored": list(machine.told(machine.restored)),
        "troubles": troubles,
    }
    shown["server"] = server = _server(machine)
    try:
        state = machine.updates().status()
    except DcuError as error:
        return {**shown, "phase": "unknown", "why": str(error), "ok": False}
    environment = {**asdict(state.environment), "update_state": state.environment.update_state.name.lower()}
    return {
        **shown,
        "phase": str(state.phase),
        "why": state.why,
        "version": str(state.version),
        "slot": str(state.running),
        "oldest": str(state.index) if state.index else None,
        "rollback_reason": state.environment.rollback_reason or None,
        "environment": environment,
        "ok": persist in (State.WHOLE, State.NEW)
        and not shown["troubles"]
        and state.phase not in (Phase.ROLLED_BACK, Phase.FAILED)
        and not (server and server["contact"] == "refused"),
    }


def _server(machine: "Machine") -> dict[str, Any] | None:
    """The hawkBit server that is followed, and how it was met the last time."""
    from dcu.platform import hawkbit

    if not machine.hawkbit.exists():
        return None
    if heard := hawkbit.kept(machine.run / hawkbit.HEARD):
        return {**asdict(heard), "contact": str(heard.contact)}
    try:
        why, url = "not asked yet: systemctl status dcu-hawkbit", hawkbit.load(machine.hawkbit).url
    except DcuError as error:
        return {"url": None, "contact": "refused", "why": str(error), "at": None}
    return {"url": url, "contact": "silent", "why": why, "at": None}


def _show_status(shown: dict[str, Any]) -> None:
    identity = f"{shown['serial']}, system title {shown['system_title']}" if shown["serial"] else "none"
    rows = [("device", identity), ("persist", shown["persist"])]
    if data := shown["data"]:
        rows.append(("data", f"{data['free'] >> 20} of {data['size'] >> 20} MB free"))
    if shown["data_recreated"]:
        rows.append(("data", "made anew at this boot: readings are collected again"))
    rows += [("restored", text) for text in shown["restored"]]
    rows += [("TROUBLE", text) for text in shown["troubles"]]
    if "version" in shown:
        rows.append(("software", f"version {shown['version']}, bank {shown['slot']}"))
        if shown["oldest"]:
            rows.append(("oldest", f"version {shown['oldest']}: nothing older is installed"))
    rows.append(("update", f"{shown['phase']}: {shown['why']}"))
    if server := shown["server"]:
        rows.append(("server", f"{server['url'] or ''} {server['why'] or 'answers'}".strip()))
    for name, text in rows:
        click.echo(f"{name:<9} {line(str(text))}")


def _quiet(said: str) -> None:
    """SWUpdate's words are for those who ask; why it refused comes as an error."""
