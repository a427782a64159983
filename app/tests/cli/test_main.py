"""The command's frame: exit codes, one line for every error, nothing imported before it is needed."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from dcu import errors
from dcu.cli import exits, main, output
from dcu.credentials import Secret
from dcu.model import Obis


def _branches(kind: type[errors.DcuError]) -> list[type[errors.DcuError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in _branches(child))]


@pytest.fixture
def failing(monkeypatch):
    """A command `dcu fail` that raises what it is given."""

    def install(error: BaseException) -> None:
        def callback() -> None:
            raise error

        command = click.Command("fail", callback=callback)
        monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: command)

    return install


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 3),
        (errors.KeysError("x"), 4),
        (errors.LinkTimeout("x"), 5),
        (errors.AccessDenied("x", 3), 6),
        (errors.TagMismatch("x"), 7),
        (errors.DecodeError("x"), 8),
        (errors.JobExpired("x"), 9),
        (errors.StoreError("x"), 10),
        (errors.UpdateError("x"), 11),
        (errors.WorkerError("x"), 12),
        (errors.DcuError("x"), 1),
    ],
)
def test_a_branch_of_the_tree_has_its_own_exit_code(error, code):
    assert exits.code_of(error) == code


def test_every_branch_right_below_the_root_has_a_number_of_its_own():
    below = [kind for kind in errors.DcuError.__subclasses__() if kind.__module__ == errors.__name__]
    assert len({row.code for row in exits.TABLE}) == len(exits.TABLE)
    assert {row.branch for row in exits.TABLE} >= set(below)


def test_the_documented_table_is_this_table():
    page = Path(__file__).parents[3].joinpath("docs", "exit-codes.md").read_text()
    assert [f"| {row.code} | {row.meaning} |" for row in exits.TABLE] == re.findall(
        r"^\| \d+ \|.*$", page, re.MULTILINE
    )


def test_an_error_is_one_line_on_stderr(failing, capfd):
    failing(errors.TagMismatch("authentication failed: check the GAK and the system title"))
    assert main.run(["fail"]) == 7
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "dcu: authentication failed: check the GAK and the system title\n"


def test_a_bug_is_reported_without_a_traceback_and_kept_in_a_private_log(failing, capfd, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    failing(ZeroDivisionError("boom"))
    assert main.run(["fail"]) == exits.INTERNAL
    err = capfd.readouterr().err
    log = tmp_path / "dcu" / "internal-error.log"
    assert err == f"dcu: internal error (ZeroDivisionError), please report it; details in {log}\n"
    assert "boom" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_debugging_shows_the_traceback(failing, capfd, monkeypatch):
    monkeypatch.setenv("DCU_DEBUG", "1")
    failing(ZeroDivisionError("boom"))
    assert main.run(["fail"]) == exits.INTERNAL
    assert "Traceback" in capfd.readouterr().err


def test_an_interrupt_is_not_an_internal_error(failing):
    failing(KeyboardInterrupt())
    assert main.run(["fail"]) == exits.INTERRUPTED


def test_a_wrong_command_line_is_a_usage_error(capfd):
    assert main.run(["no-such-command"]) == exits.USAGE
    assert "no-such-command" in capfd.readouterr().err


def test_a_command_that_is_not_built_says_so(monkeypatch, capfd):
    monkeypatch.setitem(main.COMMANDS, "later", ("dcu.cli.not_there_yet:later", "Not there."))
    assert main.run(["later"]) == 3
    assert "`dcu later` is not part of this build" in capfd.readouterr().err


def test_help_lists_the_commands_and_the_exit_codes_without_importing_any(capfd):
    program = (
        "import sys; from dcu.cli.main import run; code = run(['--help']);"
        "heavy = ('rich', 'asyncio', 'cryptography', 'dcu.c');"
        "print(sorted(m for m in sys.modules if m.startswith(heavy)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    for name in main.COMMANDS:
        assert f"\n  {name} " in done.stdout
    for row in exits.TABLE:
        assert row.meaning in done.stdout
    assert done.stderr.strip() == "['dcu.cli', 'dcu.cli.exits', 'dcu.cli.main', 'dcu.cli.terminal']"


def test_json_writes_the_field_s_types_as_people_write_them():
    value = {"code": Obis.parse("1-0:1.8.0"), "raw": b"\x01\xff", "at": datetime(2024, 1, 2, tzinfo=UTC), "rows": (1,)}
    assert json.loads(output.to_json(value)) == {
        "code": "1-0:1.8.0*255",
        "raw": "01ff",
        "at": "2024-01-02T00:00:00Z",
        "rows": [1],
    }


def test_what_a_terminal_would_obey_is_not_printed(failing, capfd):
    hostile = "\x1b[2J\x9b2J\x07\nmeter"
    failing(errors.MeterError(hostile))
    main.run(["fail"])
    output.show_table(["meter"], [[hostile]])
    output.show_json({"meter": hostile})
    out, err = capfd.readouterr()
    assert err == "dcu: \ufffd[2J\ufffd2J\ufffd meter\n"
    assert not {"\x1b", "\x9b", "\x07"} & set(out)
    assert json.loads(out.splitlines()[-1]) == {"meter": hostile}


def test_a_secret_is_not_printed():
    with pytest.raises(TypeError):
        output.to_json({"key": Secret(b"0123456789abcdef")})


def test_a_table_shows_every_cell(capfd):
    output.show_table(["meter", "Wh"], [["DCU-1", 5], ["DCU-2", None]], title="Meters")
    shown = capfd.readouterr().out
    assert "DCU-1" in shown
    assert "–" in shown


def test_the_page_of_the_command_shows_every_command_and_only_options_that_there_are():
    page = Path(__file__).parents[3].joinpath("docs", "cli.md").read_text()
    heads = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert set(re.findall(r"`dcu (\w+)", " ".join(heads))) == set(main.COMMANDS)
    context = click.Context(main.cli)
    known = {option for name in main.COMMANDS for option in _options(main.cli.get_command(context, name))}
    assert set(re.findall(r"(?<![\w-])--[a-z0-9]+(?:-[a-z0-9]+)*", page)) - {"--help"} <= known


def _options(command: click.Command | None) -> set[str]:
    assert command
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return own.union(*(_options(each) for each in inner))
