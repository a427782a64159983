"""`dcu image`: an image over a link of one's own, and through a collector; what is shown, and what outlives a break."""

import time

import pytest

from dcu.cli import carried
from dcu.collect.retry import Backoff
from neighbourhood import image as meters
from neighbourhood.image import firmware
from tests.cli.house import until

FILE = "gdm-2.0.0.bin"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(meters, "VERIFYING", 1)
    monkeypatch.setattr(meters, "ACTIVATING", 1)
    monkeypatch.setattr("dcu.collect.jobs.image.LOOK_EVERY", (0.2,))
    monkeypatch.setattr(carried, "AGAIN", Backoff(attempts=8, first=0.1, factor=1.0))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / FILE
    path.write_bytes(firmware("2.0.0", 20_000))
    return path


def test_an_image_is_sent_verified_and_activated_over_a_link_of_our_own(dcu, street, file):
    here = street()
    image = here.meter.works.image
    done = dcu("image", "send", file, *here.options(), "--json")
    assert (done.code, done.json[0]["phase"], image.version) == (0, "verified", "1.0.0"), done
    shown = dcu("image", "status", *here.options())
    assert "verification successful; 25 of 25 blocks\n" in shown.out
    assert "would activate gdm-2.0.0, 20000 B" in shown.out
    done = dcu("image", "activate", *here.options())
    assert (done.code, image.version) == (0, "2.0.0"), done
    shown = dcu("image", "status", *here.options()).out.splitlines()
    assert (shown[0], shown[1][:28]) == ("activation successful; 25 of 25 blocks", "its image gdm-2.0.0, 20000 B")
    assert (image.initiated, image.repeated) == (1, 0)


def test_a_transfer_that_broke_is_gone_on_with_by_the_same_command(dcu, street, file):
    here = street(faults=())
    image = here.meter.works.image
    take, left = type(image).take, [10]

    def breaking(self, number, block):
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("the line is cut")  # answered with other-reason: the command ends
        return take(self, number, block)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(image), "take", breaking)
        done = dcu("image", "send", file, *here.options())
        assert done.code == 6
    assert image.blocks == 10
    shown = dcu("image", "status", *here.options())
    assert shown.out == "initiated; 10 of 25 blocks, first block that is missing: 10\n"
    shown = dcu("image", "status", *here.options(), "--json").json
    assert (shown["first_missing"], shown["blocks"], shown["count"]) == (10, 10, 25)
    done = dcu("image", "send", file, *here.options(), "--activate")
    assert (done.code, image.version) == (0, "2.0.0"), done
    assert (image.initiated, image.repeated, image.blocks) == (1, 0, 25)


def test_an_image_to_an_address_where_nobody_is_ends_at_once(dcu, file, monkeypatch):
    monkeypatch.setattr(carried, "AGAIN", Backoff(attempts=8, first=3600.0, longest=3600.0))
    assert dcu("image", "send", file, "--tcp", "127.0.0.1:9").code == 5


def test_another_image_than_was_sent_is_not_activated_and_both_are_named(dcu, street, file):
    here = street()
    done = dcu("image", "send", file, *here.options(), "--activate", "--signature", "00ff")
    assert (done.code, here.meter.works.image.version) == (9, "1.0.0"), done
    assert "the meter would activate gdm-2.0.0, 20000 B, signature 8661" in done.err
    assert "where gdm-2.0.0, 20000 B, signature 00ff was sent: not activated" in done.err


def test_a_lossy_line_costs_what_was_lost_and_nothing_else(dcu, street, file):
    here = street()
    image = here.meter.works.image
    blocks = [0]

    def loses(path, first):
        blocks[0] += first == 0xCB
        return first == 0xCB and blocks[0] in (8, 15, 30)

    path = here.lossy(loses)
    options = [f"127.0.0.1:{path.port}" if each == here.at("udp") else each for each in here.options("udp")]
    done = dcu("image", "send", file, *options, "--timeout", "0.3")
    assert done.code == 0, done
    assert bytes(image.image) == file.read_bytes()
    assert (image.initiated, image.repeated, image.blocks) == (1, 0, 25)


def test_a_damaged_image_says_so_and_a_sound_one_begins_anew(dcu, street, file, tmp_path):
    here = street()
    damaged = tmp_path / "bad.bin"
    damaged.write_bytes(file.read_bytes()[:-1] + b"\0")
    done = dcu("image", "send", damaged, "--identifier", "gdm-2.0.0", *here.options(), "--activate")
    assert done.code == 9
    assert "verification failed" in done.err
    assert dcu("image", "activate", *here.options()).code == 9
    done = dcu("image", "send", file, *here.options(), "--activate")
    assert (done.code, here.meter.works.image.version) == (0, "2.0.0"), done


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["send", "nothing.bin", "--tcp", "127.0.0.1:9"], 3, "cannot be read"),
        (["send", FILE, "--activate", "--at", "2030-01-01", "--tcp", "127.0.0.1:9"], 2, "one of them"),
        (["send", FILE, "--signature", "xyz", "--tcp", "127.0.0.1:9"], 3, "not hexadecimal"),
        (["cancel"], 2, "--meter"),
        (["activate", "--tcp", "127.0.0.1:9"], 9, "no image was sent to this meter from here"),
    ],
)
def test_mistakes_are_told_before_anybody_is_asked(dcu, file, monkeypatch, arguments, code, says):
    monkeypatch.chdir(file.parent)
    done = dcu("image", *arguments)
    assert done.code == code, done
    assert says in done.err


def test_the_collector_sends_to_several_meters_and_goes_on_by_itself(run, house, file):
    one, two = sorted(house.addresses)[:2]
    done = run("image", "send", file, "--meter", f"{one},{two}", "--no-wait", "--json")
    assert (done.code, {view["meter"] for view in done.json}) == (0, {one, two}), done
    until(lambda: all(view["phase"] == "verified" for view in run("image", "status", "--json").json), 60)
    shown = run("image", "status")
    assert "verified" in shown.out
    assert "100%" in shown.out
    later = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() + 86_400))
    done = run("image", "activate", "--meter", one, "--at", later)
    assert done.code == 0, done
    assert f"scheduled {later.replace('T', ' ')}" in done.out
    assert run("image", "cancel", "--meter", one).code == 9
    done = run("image", "activate", "--meter", two)
    assert (done.code, "active" in done.out) == (0, True), done


def test_a_collector_that_was_killed_half_way_goes_on_when_it_is_started_again(house, run, tmp_path):
    """A process, its SIGKILL, its next life: the in-memory test (tests/collect/test_image.py) counts every block."""
    name = max(name for name, place in house.addresses.items() if place and name != max(house.addresses))
    path = tmp_path / "gdm-4.0.0.bin"
    path.write_bytes(firmware("4.0.0", 400_000))
    assert run("image", "send", path, "--meter", name, "--activate", "--no-wait").code == 0

    def share():
        return run("image", "status", "--meter", name, "--json").json[0]["share"]

    until(lambda: share() > 0.1)
    assert house.collector
    house.collector.kill()
    house.collector.wait(20)
    house.socket.unlink()
    house.start()
    until(lambda: share() > 0.1)
    until(lambda: run("image", "status", "--meter", name, "--json").json[0]["phase"] == "active", 60)
    assert "4.0.0" in run("read", "--meter", name, "1,1-0:0.2.0*255,2").out
