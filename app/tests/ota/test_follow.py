"""A real SWUpdate follows a hawkBit server as the device has it do: tokens, certificates, an update and its end."""
# ruff: noqa: F811  (fixtures are used by their names)

import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
from device.hawkbit import serve

from dcu.platform import hawkbit
from dcu.platform.bootenv import Slot
from dcu.platform.hawkbit import Contact, Server
from dcu.platform.version import Version

from . import test_swupdate
from .test_swupdate import authority, banks, device, environment, good, root  # noqa: F401

pytestmark = [test_swupdate.pytestmark, pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def operator(authority, tmp_path_factory):
    with serve(authority, tmp_path_factory.mktemp("hawkbit")) as server:
        # SWUpdate polls while it downloads, too: under emulation it gets nowhere with less
        server.configure(authentication__targettoken__enabled=True, pollingTime="00:00:30")
        yield server


@pytest.fixture
def target(operator, request):
    name = f"DCU-{request.node.name.partition('[')[0][-20:]}-{id(request)}"
    operator.target(name, "t0ken")
    return name


@contextmanager
def following(device, url, target, tmp_path, *, token="t0ken", authorities="servers.pem"):
    """SWUpdate follows the server; yields what it told and how the server was met."""
    server = Server(url=url, target_token=token)
    device.configure(*hawkbit.sections(server, target, {"version": "1.0"}, device.inside / authorities))
    pid = device.outside / "pid"
    command = hawkbit.command(Slot.B, Version.parse("1.0"), device.inside / "swupdate.cfg")
    command = tuple("true" if word == hawkbit.AFTERWARDS else word for word in command)
    shell = f'echo $$ > {device.inside}/pid; export TMPDIR={device.inside}/tmp; exec "$@"'
    keys = ("-k", f"{device.inside}/ca.crt", "-H", "grid-dcu:1.0")
    command = (*device.prefix, "sh", "-c", shell, "sh", command[0], *keys, *command[1:])
    told = []
    heard = tmp_path / "server.json"
    runner = threading.Thread(target=hawkbit.follow, args=(server, command, told.append, heard))
    runner.start()
    try:
        yield told, lambda: hawkbit.kept(heard)
    except AssertionError:
        print(*told, sep="\n")
        raise
    finally:
        os.kill(int(pid.read_text()), signal.SIGTERM)
        runner.join(20)
        assert not runner.is_alive()


def until(condition, timeout=150):
    end = time.monotonic() + timeout
    while not (seen := condition()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return seen


def test_an_update_is_installed_and_its_action_waits_for_the_trial(device, banks, good, operator, target, tmp_path):
    number = operator.assign(target, operator.release("1.2.0", good))
    with following(device, operator.url(), target, tmp_path) as (_, heard):
        until(lambda: any("All Chunks Installed" in text for text in operator.messages(target, number)))
        assert heard().contact is Contact.HEARD
    assert operator.action(target, number) == "pending"
    assert operator.attributes(target) == {"version": "1.0"}
    assert environment(device, "slot", "upgrade_available", "ustate") == {
        "slot": "b",
        "upgrade_available": "1",
        "ustate": "1",
    }
    # The bank was confirmed: SWUpdate is started anew and reports
    saved = "upgrade_available=0\nustate=2\n"
    subprocess.run([*device.prefix, "fw_setenv", "-s", "/dev/stdin"], input=saved, text=True, check=True)
    with following(device, operator.url(), target, tmp_path):
        assert operator.ended(target, number, 150) == "finished"
        until(lambda: environment(device, "ustate") == {"ustate": "0"})


def test_a_refused_update_ends_in_an_error_with_the_reason(device, banks, good, operator, target, tmp_path):
    bad = device.forge.repacked(good, "bad", test_swupdate.TAMPERED["a changed description"])
    number = operator.assign(target, operator.release("1.2.1", bad))
    with following(device, operator.url(), target, tmp_path):
        assert operator.ended(target, number, 150) == "error"
    assert any("ignature" in text for text in operator.messages(target, number)), operator.messages(target, number)
    assert environment(device, "slot", "upgrade_available") == {"slot": "a", "upgrade_available": "0"}


@pytest.mark.parametrize(
    ("token", "authorities", "why"),
    [("wrong", "servers.pem", "refuses the token"), ("t0ken", "ca.crt", "certificate is not")],
)
def test_a_server_that_refuses_is_said(device, banks, operator, target, tmp_path, token, authorities, why):
    with following(device, operator.url(), target, tmp_path, token=token, authorities=authorities) as (told, heard):
        seen = until(heard)
    assert seen.contact is Contact.REFUSED
    assert why in seen.why
    assert any(why in text for text in told)


def test_a_server_that_is_away_is_asked_again(device, banks, operator, target, tmp_path):
    with following(device, "https://127.0.0.1:1", target, tmp_path) as (_, heard):
        assert until(heard).contact is Contact.SILENT
