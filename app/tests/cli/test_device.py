"""`dcu device` on a machine made of files: fakes of U-Boot's tools and of SWUpdate, and a collector that is asked."""

import json
import os
import stat

import pytest
from device.webserver import Authority, WebServer

from dcu.cli import device, main
from dcu.errors import LinkError
from dcu.platform import partitions, swupdate
from dcu.platform.bootenv import Environment, FwEnv, Slot, UpdateState
from dcu.platform.machine import Machine
from dcu.platform.provision import MARK

WELL = {
    "status": {"uptime": 99, "meters": {"ok": 2}, "jobs": {"done": 5}, "subsystems": [{"name": "loop", "alive": True}]},
    "store.check": {"ok": True, "findings": []},
}
TRIAL = Environment(Slot.B, upgrade_available=True, bootcount=1, update_state=UpdateState.INSTALLED)


class Board:
    """A device in a folder. answers: what the collector says."""

    def __init__(self, folder):
        self.folder = folder
        self.answers = dict(WELL)
        self.away = set()
        for name in ("env", "persist/dcu", "run", "watchdogs/watchdog0", "data"):
            (folder / name).mkdir(parents=True)
        (folder / "watchdogs/watchdog0/state").write_text("active\n")
        (folder / "swupdate.cfg").write_text("globals: {};\n")
        (folder / "persist" / MARK).write_text("new")
        (folder / "template").write_text('system_title = "@SYSTEM_TITLE@"\nkeys = {}\nstore = {}\nmedium = []\n')
        (folder / "os-release").write_text("IMAGE_VERSION=1.1\n")
        printenv = self.script("fw_printenv", f'for n; do echo "$n=$(cat {folder}/env/$n 2>/dev/null)"; done')
        setenv = f'while IFS="=" read -r n v; do echo "$v" > {folder}/env/$n; done < "$2"'
        self.machine = Machine(
            bootenv=FwEnv(printenv=printenv, setenv=self.script("fw_setenv", setenv)),
            cmdline=folder / "cmdline",
            os_release=folder / "os-release",
            persist=folder / "persist",
            credentials=folder / "run",
            watchdogs=folder / "watchdogs",
            serial=folder / "serial",
            template=folder / "template",
            hawkbit=folder / "hawkbit.toml",
            recreated=folder / "recreated",
            restored=folder / "restored",
            data=folder / "data",
            mounted=lambda path: path.name not in self.away,
            scratch=folder / "scratch",
            servers=folder / "servers.pem",
            swupdate=folder / "swupdate.cfg",
            run=folder / "run",
        )

    def script(self, name, text):
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(stat.S_IRWXU)
        return str(path)

    def runs(self, slot, environment):
        (self.folder / "cmdline").write_text(f"quiet dcu.slot={slot}\n")
        self.machine.bootenv.write(environment.variables())

    def ask(self, socket, method, **params):
        answer = self.answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def board(tmp_path, monkeypatch):
    made = Board(tmp_path)
    made.runs("b", Environment(Slot.B))
    monkeypatch.setattr(device, "_machine", lambda: made.machine)
    monkeypatch.setattr(device, "ask", made.ask)
    monkeypatch.setattr(swupdate, "PROGRAM", str(tmp_path / "swupdate"))
    monkeypatch.setattr(swupdate, "CONTROL", tmp_path / "control")
    return made


@pytest.fixture
def dcu(capfd):
    def run(*arguments):
        code = main.run(["device", *arguments])
        shown = capfd.readouterr()
        return code, shown.out, shown.err

    return run


# --- status


def test_status_says_what_runs_and_that_all_is_well(board, dcu):
    assert dcu("provision")[0] == 0
    code, out, _ = dcu("status")
    assert code == 0
    assert "software  version 1.1, bank b" in out
    assert "update    confirmed: bank b is confirmed" in out
    assert "persist   whole" in out


def test_status_shows_why_an_update_was_rolled_back(board, dcu):
    dcu("provision")
    gone = Environment(Slot.B, update_state=UpdateState.FAILED, rollback_reason="health:store")
    board.runs("b", gone)
    code, out, _ = dcu("status", "--json")
    shown = json.loads(out)
    assert code == 1
    assert (shown["phase"], shown["rollback_reason"]) == ("rolled back", "health:store")
    assert shown["why"] == "bank a gave way: health:store"


def test_status_says_that_persist_is_lost_and_that_data_was_made_anew(board, dcu):
    dcu("provision")
    for path in board.machine.persist.rglob("identity"):
        path.write_bytes(b"noise")
    board.machine.recreated.write_text("data\n")
    code, out, _ = dcu("status")
    assert code == 1
    assert "persist   lost" in out
    assert "data      made anew at this boot" in out
    assert dcu("provision")[0] == 10
    assert dcu("provision", "--again")[0] == 0
    assert dcu("status")[0] == 0


def test_status_where_there_is_no_device_says_so_and_goes_on(board, dcu):
    (board.folder / "cmdline").write_text("quiet\n")
    code, out, _ = dcu("status")
    assert code == 1
    assert "unknown: the kernel's command line does not say dcu.slot" in out


def test_status_tells_of_a_persist_that_cannot_be_mounted(board, dcu):
    dcu("provision")
    board.away.add("persist")
    code, out, _ = dcu("status")
    assert code == 1
    assert "persist   not mounted" in out
    assert "nothing is made anew by itself" in out


def test_status_tells_of_a_full_disk_and_of_one_that_takes_no_writes(board, dcu, monkeypatch):
    dcu("provision")
    look = partitions.look

    def full(path):
        return partitions.Partition(256 << 20, 40 << 10, False) if path.name == "data" else look(path)

    monkeypatch.setattr(partitions, "look", full)
    code, out, _ = dcu("status")
    assert code == 1
    assert "TROUBLE   data: the disk is full, 40 kB of 256 MB are left" in out
    monkeypatch.setattr(partitions, "look", lambda path: partitions.Partition(1 << 30, 1 << 29, path.name == "persist"))
    code, out, _ = dcu("status")
    assert code == 1
    assert "TROUBLE   persist: takes no writes any more" in out
    assert "512 of 1024 MB free" in out


def test_status_says_full_as_long_as_the_store_lives_on_its_reserve(board, dcu):
    dcu("provision")
    ballast = board.machine.data / "store/ballast"
    ballast.parent.mkdir()
    ballast.write_bytes(bytes(8192))
    assert dcu("status")[0] == 0
    os.truncate(ballast, 0)
    code, out, _ = dcu("status")
    assert code == 1
    assert "of the store's reserve are left: make room" in out


def test_status_shows_what_was_restored_at_this_boot(board, dcu):
    dcu("provision")
    (board.machine.persist / "device.twin/identity").write_bytes(b"noise")
    dcu("provision")
    code, out, _ = dcu("status")
    assert code == 0
    assert "restored  identity: a copy on persist was damaged, restored from its twin" in out


# --- health


def test_health_lists_every_check_and_fails_with_the_reason(board, dcu):
    assert dcu("health")[0] == 0
    board.answers["store.check"] = {"ok": False, "findings": [{"file": "x.db", "text": "torn", "serious": True}]}
    code, out, _ = dcu("health")
    assert code == 1
    assert "WRONG  store: x.db: torn" in out
    code, out, _ = dcu("health", "--json")
    assert json.loads(out)["why"] == "health:store"


def test_a_good_boot_is_told_to_u_boot_as_soon_as_the_collector_answers(board, dcu):
    """In a street without power the links are ill, and that is no reason to change the bank."""
    board.runs("b", Environment(Slot.B, boot_failures=3))
    board.answers["status"] = {**WELL["status"], "meters": {"unreachable": 2}}
    assert dcu("health", "--good-boot")[0] == 1
    assert board.machine.bootenv.read().boot_failures == 0


@pytest.mark.parametrize("how", ["lost", "not mounted"])
def test_a_boot_without_an_identity_is_no_bad_boot_of_this_bank(board, dcu, how):
    """The other bank has none either: to change banks again and again would help nobody."""
    board.runs("b", Environment(Slot.B, boot_failures=3))
    board.answers["status"] = LinkError("no collector")
    if how == "lost":
        (board.machine.persist / MARK).unlink()
    else:
        board.away.add("persist")
    code, out, _ = dcu("health", "--good-boot", "--wait", "300")
    assert code == 1
    assert "WRONG  persist: " in out
    assert board.machine.bootenv.read().boot_failures == 0


def test_a_bad_boot_is_not(board, dcu):
    board.runs("b", Environment(Slot.B, boot_failures=3))
    board.answers["status"] = LinkError("no collector")
    assert dcu("health", "--good-boot")[0] == 1
    assert board.machine.bootenv.read().boot_failures == 3


def test_a_trial_is_not_confirmed_by_a_health_check(board, dcu):
    board.runs("b", TRIAL)
    assert dcu("health", "--good-boot")[0] == 0
    assert board.machine.bootenv.read() == TRIAL


# --- confirm


def test_a_healthy_trial_is_confirmed_and_raises_the_oldest_version(board, dcu):
    board.runs("b", TRIAL)
    code, out, _ = dcu("confirm")
    assert (code, out) == (0, "version 1.1 in bank b is confirmed\n")
    assert board.machine.bootenv.read() == Environment(Slot.B)
    assert str(board.machine.updates().status().index) == "1.1"
    assert "nothing to confirm" in dcu("confirm")[1]


def test_with_a_server_the_outcome_waits_to_be_reported(board, dcu):
    board.machine.hawkbit.write_text("")
    board.runs("b", TRIAL)
    assert dcu("confirm")[0] == 0
    assert board.machine.bootenv.read().update_state is UpdateState.TESTING


def test_an_unhealthy_trial_is_left_alone_by_hand_and_rolled_back_by_the_service(board, dcu):
    board.runs("b", TRIAL)
    board.answers["store.check"] = {"ok": False}
    code, _, err = dcu("confirm")
    assert code == 11
    assert "not confirmed: store: damaged" in err
    assert board.machine.bootenv.read() == TRIAL
    code, _, err = dcu("confirm", "--or-roll-back")
    assert code == 11
    assert "bank b gives way to bank a: store: damaged" in err
    after = board.machine.bootenv.read()
    assert (after.slot, after.rollback_reason, after.upgrade_available) == (Slot.A, "health:store", False)


def test_it_waits_for_a_collector_that_takes_its_time(board, dcu, monkeypatch):
    board.runs("b", TRIAL)
    board.answers["status"] = LinkError("not yet")

    def sleep(seconds):
        board.answers["status"] = WELL["status"]

    monkeypatch.setattr(device.time, "sleep", sleep)
    assert dcu("confirm", "--or-roll-back", "--wait", "60")[0] == 0


# --- update


@pytest.fixture
def swu(board):
    path = board.folder / "new.swu"
    path.write_bytes(b"")
    return str(path)


def test_a_configuration_is_checked_kept_doubly_and_the_collector_started_anew(board, dcu, monkeypatch):
    ran = []
    monkeypatch.setattr(device.os, "execvp", lambda name, words: ran.append(words))
    dcu("provision")
    path = board.folder / "mine.toml"
    good = (
        'system_title = "@SYSTEM_TITLE@"\n[keys]\nfile = "/keys"\n[store]\ndirectory = "/store"\n'
        '[[medium]]\nname = "lan"\naddresses = ["tcp://*"]\n[headend]\naddresses = [{}]\n'
    )
    kept = [board.machine.persist / "dcu/collector.toml", *board.machine.twice("collector.toml").paths]
    before = [each.read_bytes() for each in kept]
    for wrong, said in (('"utility.example"', "headend.addresses: HOST:PORT"), ("[", "not TOML")):
        path.write_text(good.format(wrong))
        code, _, err = dcu("configure", str(path))
        assert code == 3
        assert said in err
        assert [each.read_bytes() for each in kept] == before
    assert ran == []
    path.write_text(good.format('"utility.example:4059"'))
    code, out, _ = dcu("configure", str(path))
    assert (code, out) == (0, f"{kept[0]}: taken; starting the collector anew\n")
    assert ran == [["systemctl", "restart", "dcu-collector.service"]]
    text = kept[0].read_text()
    assert "@" not in text
    assert '"utility.example:4059"' in text
    assert kept[0].stat().st_mode & 0o777 == 0o640
    kept[0].write_bytes(b"noise")
    dcu("provision")
    assert kept[0].read_text() == text


def test_a_device_without_an_identity_takes_no_configuration(board, dcu):
    path = board.folder / "mine.toml"
    path.write_text("")
    code, _, err = dcu("configure", str(path))
    assert code == 10
    assert "no identity" in err


def test_an_update_goes_into_the_other_bank(board, dcu, swu):
    arguments = board.folder / "arguments"
    switch = f'echo "$@" > {arguments}; cd {board.folder}/env; echo a > slot; echo 1 > upgrade_available'
    board.script("swupdate", switch)
    code, out, _ = dcu("update", swu)
    assert (code, out) == (0, "installed into bank a; the next boot tries it\n")
    assert f"-e stable,a -N 1.1 -i {swu}" in arguments.read_text()
    code, _, err = dcu("update", swu)
    assert code == 11
    assert "reboot" in err


def test_with_a_key_the_file_is_tried_in_full_before_the_other_bank_is_written(board, dcu, swu):
    key = board.folder / "key"
    key.write_text(f"{'ab' * 32} {'00' * 16}\n")
    assert dcu("update-key", str(key))[0] == 0
    arguments = board.folder / "arguments"
    switch = f'echo "$@" >> {arguments}; cd {board.folder}/env; case "$*" in *" -c "*) exit;; esac; '
    board.script("swupdate", switch + "echo a > slot; echo 1 > upgrade_available")
    assert dcu("update", swu)[0] == 0
    first, second = arguments.read_text().splitlines()
    assert f"-K {board.folder}/run/update.aes -c -i {swu}" in first
    assert f"-K {board.folder}/run/update.aes -i {swu}" in second


def test_under_the_wrong_key_the_other_bank_is_not_written(board, dcu, swu):
    key = board.folder / "key"
    key.write_text(f"{'ab' * 32} {'00' * 16}\n")
    dcu("update-key", str(key))
    board.script("swupdate", f'echo >> {board.folder}/starts; echo "Installation in progress"; exit 1')
    code, _, err = dcu("update", swu)
    assert code == 11
    assert "encrypted under another key" in err
    assert (board.folder / "starts").read_text() == "\n"


def test_only_a_look_changes_nothing(board, dcu, swu):
    board.script("swupdate", 'case "$*" in *" -c "*) exit 0;; esac; exit 1')
    code, out, _ = dcu("update", "--check", swu)
    assert code == 0
    assert "would be installed into bank a" in out


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("ERROR : Signature verification failed", "signature does not hold"),
        ("ERROR : SW not compatible with hardware", "other hardware"),
        ("ERROR : No downgrading allowed: new version 0.9 < installed 1.1", "version 0.9 is older than 1.1"),
        ("ERROR : HASH mismatch : a <--> b", "damaged"),
    ],
)
def test_a_refusal_is_one_line_with_the_reason(board, dcu, swu, said, reason):
    board.script("swupdate", f"echo '[ERROR] : SWUPDATE failed [0] {said}'; exit 1")
    code, _, err = dcu("update", swu)
    assert code == 11
    assert reason in err
    assert err.count("\n") == 1


def test_no_update_during_a_trial(board, dcu, swu):
    board.runs("b", TRIAL)
    code, _, err = dcu("update", swu)
    assert code == 11
    assert "bank b is on trial" in err


def test_success_that_switched_nothing_is_not_believed(board, dcu, swu):
    board.script("swupdate", "exit 0")
    code, _, err = dcu("update", swu)
    assert code == 11
    assert "and yet" in err


@pytest.fixture
def web(board):
    """A server that the device trusts, by the utility's own authority."""
    authority = Authority(board.folder / "utility")
    (board.folder / "servers.pem").write_bytes(authority.pem.read_bytes())
    with WebServer(authority) as running:
        running.site.files["/new.swu"] = b"an update" * 50_000
        yield running


SWITCH = "cat > {0}/got; cd {0}/env; echo a > slot; echo 1 > upgrade_available"


def test_an_update_comes_from_a_server(board, dcu, web):
    board.script("swupdate", f'echo "$@" > {board.folder}/arguments; ' + SWITCH.format(board.folder))
    code, out, _ = dcu("update", web.url("/new.swu"))
    assert (code, out) == (0, "installed into bank a; the next boot tries it\n")
    assert (board.folder / "got").read_bytes() == web.site.files["/new.swu"]
    assert (board.folder / "arguments").read_text().endswith("-e stable,a -N 1.1 -i /dev/stdin\n")
    assert f'cafile = "{board.folder}/servers.pem"' in (board.folder / "run/update.cfg").read_text()


def test_a_server_that_nobody_vouches_for_is_asked_nothing(board, dcu, web, tmp_path_factory):
    other = Authority(tmp_path_factory.mktemp("other"))
    board.script("swupdate", f"touch {board.folder}/started; exit 1")
    code, _, err = dcu("update", "--ca", str(other.pem), web.url("/new.swu"))
    assert code == 11
    assert "certificate is not trusted" in err
    assert err.count("\n") == 1
    assert not (board.folder / "started").exists()


def test_where_a_delta_fails_the_full_update_is_taken(board, dcu, web, swu):
    failed = "echo '[ERROR] : SWUPDATE failed [0] ERROR delta_handler.c : Delta Update fails : aborting'; exit 1"
    board.script("swupdate", f'case "$*" in *{swu}) {failed};; esac; ' + SWITCH.format(board.folder))
    code, out, err = dcu("update", swu, "--else", web.url("/new.swu"))
    assert code == 0
    assert "installed into bank a" in out
    assert "install the full update" in err
    assert f"now {web.url('/new.swu')}" in err


def test_what_is_refused_for_good_is_not_tried_from_elsewhere(board, dcu, swu):
    said = "ERROR : Signature verification failed"
    board.script("swupdate", f"echo x >> {board.folder}/started; echo '[ERROR] : SWUPDATE failed [0] {said}'; exit 1")
    assert dcu("update", swu, "--else", swu)[0] == 11
    assert (board.folder / "started").read_text() == "x\n"


def test_only_https_and_files_that_are_there(board, dcu):
    assert "no such file" in dcu("update", "/nowhere.swu")[2]
    assert "https" in dcu("update", "http://x/y.swu")[2]


def test_verbose_shows_what_swupdate_says(board, dcu, swu):
    board.script("swupdate", "echo '[INFO ] : SWUPDATE running :  [main] : hello'; exit 1")
    assert "hello" in dcu("update", "--verbose", swu)[2]


# --- the server that is followed

TOML = 'url = "{}"\ntarget_token = "t0ken"\n'


def test_a_server_is_followed_and_the_status_says_how_it_is_met(board, dcu):
    dcu("provision")
    url = "https://updates.example"
    (board.folder / "hawkbit.toml").write_text(TOML.format(url))
    code, out, _ = dcu("status")
    assert code == 0
    assert f"server    {url} not asked yet: systemctl status dcu-hawkbit" in out
    denied = "[ERROR] : SWUPDATE failed [0] ERROR channel_curl.c : Channel operation returned HTTP error code 401."
    board.script("swupdate", f"echo '{denied}'")
    code, out, _ = dcu("follow")
    assert code == 0
    assert f"{url}: refuses the token" in out
    assert 'targettoken = "t0ken"' in (board.folder / "run/hawkbit.cfg").read_text()
    code, out, _ = dcu("status")
    assert code == 1
    assert f"server    {url} refuses the token: compare hawkbit.toml" in out
    assert json.loads(dcu("status", "--json")[1])["server"]["contact"] == "refused"


def test_a_mistake_in_its_file_is_shown_by_the_status(board, dcu):
    dcu("provision")
    (board.folder / "hawkbit.toml").write_text('url = "http://x"\n')
    code, out, _ = dcu("status")
    assert code == 1
    assert "key url: https" in out
    assert dcu("follow")[0] != 0


def test_it_is_known_by_its_serial_number_or_not_at_all(board, dcu):
    (board.folder / "hawkbit.toml").write_text(TOML.format("https://x"))
    assert "key id" in dcu("follow")[2]
