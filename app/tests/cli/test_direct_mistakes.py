"""What goes wrong costs one line and shows no traceback: sick meters, wrong command lines, wrong keys files, Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from dcu.cosem.association import Authentication
from neighbourhood.meter import CONCENTRATOR
from tests.cli.street import (
    ENERGY,
    LOAD,
    NAME,
    fault,
)

# --- meters that are not well


@pytest.mark.parametrize("carrier", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("nonsense:1", {6}),
        ("garbage:1", {5, 6, 7}),  # over UDP anybody could have sent it: silence; else the meter answered nonsense
        ("replays:1", {5, 6, 7}),
        ("silent:1", {5}),
        ("drops=2:1", {5}),
        ("wrong-key:1", {7}),
        ("slow=9:1", {5}),
    ],
)
@pytest.mark.parametrize("command", [("read", "3,1-0:1.8.0*255,2"), ("objects",), ("disconnect",)])
def test_a_meter_that_is_not_well_costs_one_line(dcu, street, kind, codes, carrier, command):
    here = street(**fault(kind))
    if kind == "wrong-key:1":
        here.meter.given = None
    if kind == "drops=2:1" and carrier == "udp":
        codes = {0, 5}  # nobody hangs up on a datagram
    name, *objects = command
    if name == "disconnect":
        codes = codes | {9}  # the command went out, and what it did cannot be read back
    if name == "objects" and kind == "replays:1":
        codes = codes | {0}  # nothing was asked twice
    done = dcu(name, *here.options(carrier), "--timeout", 0.3, *objects)
    assert done.code in codes
    assert len(done.err.splitlines()) <= 1


def test_nonsense_is_said_to_be_the_meter_s(dcu, street):
    here = street(**fault("nonsense:1"))
    assert "the object list does not decode" in dcu("objects", *here.options()).err
    assert "no value of any type" in dcu("read", *here.options(), "1,0-0:96.1.0*255,2").err
    assert "does not decode" in dcu("read", *here.options(), f"7,{LOAD},2", "--last", 1).err
    assert "does not decode" in dcu("clock", *here.options()).err


def test_a_port_that_speaks_something_else_is_named_so(dcu):
    def answer(server: socket.socket) -> None:
        peer, _ = server.accept()
        with peer:
            peer.recv(1000)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=[server])
        thread.start()
        done = dcu("read", "--tcp", f"127.0.0.1:{server.getsockname()[1]}", "--timeout", 2, NAME)
        thread.join()
    assert done.code == 5
    assert "check that this port speaks the DLMS wrapper" in done.err


def test_an_answer_that_is_still_coming_in_is_told_from_silence(dcu):
    def answer(server: socket.socket) -> None:
        peer, _ = server.accept()
        with peer:
            peer.recv(1000)
            peer.sendall(bytes.fromhex("0001000100100200"))  # the head of an APDU of 512 bytes
            while peer.recv(1000):
                pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=[server])
        thread.start()
        done = dcu("read", "--tcp", f"127.0.0.1:{server.getsockname()[1]}", "--timeout", 0.3, NAME)
        thread.join()
    assert done.code == 5
    assert "no answer in 0.3 s, but 8 bytes of what may become one: is the line slow? --timeout says" in done.err


# --- command lines that are wrong


def test_a_refused_port_is_said_with_its_address(dcu):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = dcu("read", "--tcp", f"127.0.0.1:{port}", NAME)
    assert (done.code, done.err) == (
        5,
        f"dcu: 127.0.0.1:{port} refuses the connection: nothing listens there, check the port\n",
    )
    done = dcu("read", "--udp", f"127.0.0.1:{port}", "--timeout", 0.3, NAME)
    assert done.code == 5
    assert str(port) in done.err


HERE = ("--tcp", "127.0.0.1:9")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("read", *HERE), 2, "Missing argument 'OBJECT...'"),
        (("read", *HERE, "bogus"), 3, "'bogus' is no OBIS code: write 1-0:1.8.0*255 or 1.0.1.8.0.255"),
        (("read", *HERE, "1-0:1.8.999"), 3, "is no OBIS code"),
        (("read", *HERE, "3,1-0:1.8.0"), 3, "is no attribute: write CLASS,OBIS,ATTRIBUTE"),
        (("read", *HERE, "99999,1-0:1.8.0,2"), 3, "a class is 0..65535"),
        (("read", NAME), 2, "say which meter: one of --tcp HOST:PORT, --udp HOST:PORT, --serial DEV, --meter NAME"),
        (("read", *HERE, "--udp", "127.0.0.1:9", NAME), 2, "say which meter"),
        (("read", *HERE, "--meter", "X", NAME), 2, "say which meter"),
        (("clock", "--meter", "X", "--client", "1", "--keys", "k"), 2, "--client, --keys: a meter of the collector"),
        (("read", "--tcp", "nowhere", NAME), 3, "'nowhere' is no address: write HOST:PORT"),
        (("read", "--tcp", "h:0", NAME), 3, "is no address"),
        (("read", "--tcp", "h:99999", NAME), 3, "is no address"),
        (("read", "--udp", "::1:4059", NAME), 3, "[2001:db8::7]:4059"),
        (("read", *HERE, "--last", "0", LOAD), 2, "0 is not in the range"),
        (("read", *HERE, "--last", "3", "--from", "2025-01-01", LOAD), 2, "--last stands alone"),
        (("read", *HERE, "--to", "2025-01-01", LOAD), 2, "--to needs --from"),
        (("read", *HERE, "--from", "2025-01-02", "--to", "2025-01-01", LOAD), 2, "is after --to"),
        (("read", *HERE, "--from", "yesterday", LOAD), 3, "'yesterday' is no time: write 2026-11-19"),
        (("read", *HERE, "--auth", "gmac", NAME), 3, "authentication gmac needs --keys FILE"),
        (("read", *HERE, "--auth", "low", NAME), 3, "authentication low needs --keys FILE"),
        (("read", *HERE, "--auth", "md4", NAME), 2, "'md4' is not one of 'none', 'low', 'high', 'md5', 'sha1'"),
        (("read", *HERE, "--dedicated", NAME), 3, "--dedicated is for --auth gmac"),
        (("read", *HERE, "--protection", "static", NAME), 3, "--protection is for --auth gmac"),
        (("read", *HERE, "--general-signing", NAME), 3, "--general-signing is for --auth gmac"),
        (("clock", "--meter", "X", "--general-signing"), 2, "--general-signing: a meter of the collector"),
        (("read", *HERE, "--family", "nobody's", NAME), 3, 'no meter profile "nobody\'s"; there are: generic'),
        (("read", *HERE, "--family", "not-there.toml", NAME), 3, "not-there.toml: cannot be read"),
        (("read", *HERE, "--client", "0", NAME), 2, "0 is not in the range"),
        (("read", *HERE, "--timeout", "0", NAME), 2, "not in the range"),
        (("read", *HERE, "--timeout", "nan", NAME), 2, "'nan' is no number"),
        (("read", "--meter", "", NAME), 5, "no collector listens on "),
        (("read", "--tcp", "", NAME), 3, "'' is no address"),
        (("read", *HERE, "--family", "", NAME), 3, "no meter profile ''"),
        (("read", *HERE, "--from", "0001-01-01T00:00+14:00", LOAD), 3, "a meter's rows lie between 1970 and 2200"),
        (("read", *HERE, "--from", "9999-12-31T23:00-14:00", LOAD), 3, "a meter's rows lie between 1970 and 2200"),
        (("objects", *HERE, "surplus"), 2, "unexpected extra argument"),
        (("clock", *HERE, "--keys", "k.toml", "--auth", "gmac"), 3, "k.toml: cannot be read: No such file"),
        (("disconnect",), 2, "say which meter"),
        (("read", "--meter", "X", NAME), 5, "no collector listens on "),
    ],
)
def test_a_wrong_command_line_says_what_is_allowed(dcu, arguments, code, says):
    done = dcu(*arguments)
    assert (done.code, done.out) == (code, "")
    assert says in done.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("guek = ", "not TOML"),
        ('guek = "00"', "key guek: allowed are 32 hexadecimal digits"),
        ('gauk = "00"', "unknown field `gauk`"),
        ("", "key system_title is missing: the meter's, 16 hexadecimal digits"),
        ('system_title = "47444d0000000001"', "key guek is missing: the global unicast encryption key, hexadecimal"),
        (f'system_title = "47444d0000000001"\nguek = "{"00" * 16}"', "key gak is missing"),
        (
            'system_title = "47444d0000000001"\nclient_title = "47444d0000000001"\n'
            f'guek = "{"00" * 16}"\ngak = "{"00" * 16}"',
            "client and meter have the same system title: nonces would be used twice",
        ),
        ("suite = 7", "key suite: allowed: 0, 1, 2"),
        ('suite = 1\nsigning_key = "00"', "key signing_key: allowed are 64 hexadecimal digits"),
    ],
)
def test_a_mistake_in_the_keys_file_names_file_and_key_and_shows_no_secret(dcu, tmp_path, text, says):
    path = tmp_path / "keys.toml"
    path.write_text(text)
    path.chmod(0o600)
    done = dcu("read", *HERE, "--auth", "gmac", "--keys", path, NAME)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith(f"dcu: {path}: ")
    assert says in done.err
    assert "00000000" not in done.err


def test_options_that_select_rows_want_a_profile(dcu, street):
    done = dcu("read", *street().options(), ENERGY, "--last", 3)
    assert (done.code, done.out) == (2, "")
    assert "none of these objects is one" in done.err


@pytest.mark.parametrize("command", ["read", "objects", "clock", "disconnect", "reconnect"])
def test_help_names_every_default(dcu, command):
    done = dcu(command, "--help")
    assert done.code == 0
    told = " ".join(done.out.split())
    assert "[default: the family's, else 16: public]" in told
    assert "[default: the family's, else none]" in told
    assert "[default: 10; 300]" in told


# --- Ctrl-C


def test_ctrl_c_ends_at_once_with_one_line(street, tmp_path):
    here = street(**fault("silent:1"))
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "DCU_SOCKET": str(tmp_path / "none")}
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's background ignores it
    program = f"{heard}; from dcu.cli.main import main; main()"
    command = [sys.executable, "-c", program, "read", "--tcp", here.at(), NAME]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not here.fleet.counts.connections:
            time.sleep(0.02)
        time.sleep(0.1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (130, "\ndcu: interrupted\n")  # a line of its own, below the terminal's ^C
    assert time.monotonic() - began < 2


def test_the_client_speaks_as_client_one_of_the_street(street):
    assert street().meter.associations()[CONCENTRATOR].authentication is Authentication.GMAC
