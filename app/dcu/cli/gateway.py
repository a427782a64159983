"""`dcu gateway`: the page's server, and who may log in to it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dcu.cli import output
from dcu.cli.collector import FILE

F = TypeVar("F", bound=Callable[..., Any])
USERS = "/persist/dcu-web/users.toml"


@click.group()
def gateway() -> None:
    """Run the page's server, and say who may log in."""


@gateway.command()
@click.option(
    "--config", "path", type=FILE, metavar="FILE", required=True, help="What it serves (TOML): docs/gateway.toml."
)
def run(path: Path) -> None:
    """Serve the page until SIGTERM or Ctrl-C."""
    import asyncio

    from dcu import gateway

    asyncio.run(gateway.run(path))


def users_option(function: F) -> F:
    return click.option(
        "--users", type=FILE, default=USERS, show_default=True, metavar="FILE", help="The file of users."
    )(function)


@gateway.command()
@click.argument("name")
@users_option
@click.option("--operator", is_flag=True, help="May give commands, too, once the device is commissioned.")
@click.option("--remove", is_flag=True, help="Take this user away.")
def user(name: str, users: Path, operator: bool, remove: bool) -> None:
    """Add the user NAME, or give it a new password; the password is asked for (or read from standard input)."""
    from dcu.web import accounts

    if remove:
        accounts.remove(users, name)
        click.echo(f"{name} cannot log in any more; sessions that are open end at the latest after 12 hours")
        return
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    role = accounts.Role.OPERATOR if operator else accounts.Role.VIEWER
    accounts.put(users, name, role, password)
    click.echo(f"{name} may log in as {role}")


@gateway.command("users")
@users_option
@output.json_option
def list_users(users: Path, as_json: bool) -> None:
    """List who may log in."""
    from dcu.web import accounts

    known = accounts.load(users).values()
    if as_json:
        output.show_json([{"name": user.name, "role": str(user.role)} for user in known])
    elif known:
        output.show_table(("name", "role"), [(user.name, str(user.role)) for user in known])
    else:
        click.echo("nobody can log in: `dcu gateway user NAME`")
