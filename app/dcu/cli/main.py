"""The `dcu` command: its frame. Subcommands stand in modules of their own and are imported when they are called.

This is the one place where an error becomes a line on stderr and an exit code (dcu.cli.exits); nothing below prints.
"""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from dcu.cli import exits
from dcu.cli.terminal import line
from dcu.errors import ConfigError, DcuError

COMMANDS: dict[str, tuple[str, str]] = {
    "read": ("dcu.cli.read:read", "Read attributes and profiles of a meter."),
    "objects": ("dcu.cli.objects:objects", "List what a meter holds."),
    "clock": ("dcu.cli.clock:clock", "Show or set a meter's clock."),
    "write": ("dcu.cli.write:write", "Write an attribute of a meter."),
    "action": ("dcu.cli.write:action", "Call a method of a meter's object."),
    "disconnect": ("dcu.cli.relay:disconnect", "Open a meter's supply relay."),
    "reconnect": ("dcu.cli.relay:reconnect", "Close a meter's supply relay."),
    "token": ("dcu.cli.token:token", "Enter a prepayment token."),
    "security": ("dcu.cli.security:security", "See to a meter's policy, keys and certificates."),
    "image": ("dcu.cli.image:image", "Bring a firmware image into meters."),
    "decode": ("dcu.cli.decode:decode", "Show what is inside captured frames."),
    "sniff": ("dcu.cli.sniff:sniff", "Show live what passes on a serial line."),
    "readout": ("dcu.cli.readout:readout", "Have a meter read out what it shows, without DLMS."),
    "run": ("dcu.cli.run:run", "Run the collector."),
    "gateway": ("dcu.cli.gateway:gateway", "Run the page's server, and say who may log in."),
    "meters": ("dcu.cli.meters:meters", "List, import and release meters."),
    "keys": ("dcu.cli.keys:keys", "Begin a damaged key file anew."),
    "headend": ("dcu.cli.headend:headend", "Import the head-end's keys."),
    "profile": ("dcu.cli.profile:profile", "Show what was collected from a meter."),
    "network": ("dcu.cli.network:network", "Show field networks; paths, group keys."),
    "store": ("dcu.cli.store:store", "Check the store."),
    "device": ("dcu.cli.device:device", "The device itself: state, health, update."),
}


class LazyGroup(click.Group):
    """Commands by name, imported on use: `dcu --help` and each command start without the weight of the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module_name, _, attribute = COMMANDS[cmd_name][0].partition(":")
        try:
            command = getattr(importlib.import_module(module_name), attribute)
        except ModuleNotFoundError as error:
            if error.name != module_name:  # the command is there and lacks something itself
                raise
            raise ConfigError(f"`dcu {cmd_name}` is not part of this build ({module_name} is missing)") from None
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        for row in exits.epilog().splitlines():  # a table: click would wrap it as prose
            formatter.write(f"{row}\n")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="grid-dcu", prog_name="dcu")
def cli() -> None:
    """Reads DLMS/COSEM meters, keeps what it read, hands it on.

    An object is written 1-0:1.8.0*255 (or 1.0.1.8.0.255), an attribute CLASS,OBIS,ATTRIBUTE. Secrets come from a keys
    file, never from the command line. DCU_DEBUG=1 shows tracebacks.
    """


def main() -> NoReturn:
    """Entry point of the `dcu` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code; what went wrong is one line on stderr."""
    try:
        result = cli.main(list(arguments), prog_name="dcu", standalone_mode=False)
        sys.stdout.flush()
    except DcuError as error:
        if _debugging():
            traceback.print_exc()
        _complain(str(error))
        return exits.code_of(error)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted")
        return exits.INTERRUPTED
    except BrokenPipeError:  # the reader, `head` for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that the interpreter's last flush does not complain
        return exits.OK
    except Exception as error:  # a bug of ours: an operator sees one line, not a traceback
        return _internal(error)
    return result if isinstance(result, int) else exits.OK


def _complain(message: str) -> None:
    click.secho(line(f"dcu: {message}"), err=True, fg="red")


def _internal(error: Exception) -> int:
    if _debugging():
        traceback.print_exc()
        hint = ""
    elif log := _log(traceback.format_exc()):
        hint = f"; details in {log}"
    else:
        hint = "; DCU_DEBUG=1 shows the details"
    _complain(f"internal error ({type(error).__name__}), please report it{hint}")
    return exits.INTERNAL


def _log(text: str) -> Path | None:
    """Keep the last internal error where the user, and nobody else, can read it."""
    state = os.environ.get("XDG_STATE_HOME")
    try:
        folder = (Path(state) if state else Path.home() / ".local" / "state") / "dcu"
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "internal-error.log"
        log.unlink(missing_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except (OSError, RuntimeError):  # read-only state, no home
        return None
    return log


def _debugging() -> bool:
    return os.environ.get("DCU_DEBUG") == "1"
