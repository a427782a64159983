"""Keys and invocation counters of a link of the command's own: wrong ones, lost ones, and a meter that is ahead."""

import fcntl
import re

import pytest

from dcu.cosem.association import Authentication
from tests.cli.street import (
    ENERGY,
    NAME,
    counter_file,
)

# --- keys and counters


@pytest.mark.parametrize("carrier", ["tcp", "udp"])
@pytest.mark.parametrize("key", ["gak", "guek"])
def test_a_wrong_key_says_which_to_check(dcu, street, tmp_path, key, carrier):
    here = street()
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(re.sub(rf'^{key} = ".*"', f'{key} = "{"5a" * 16}"', here.keys.read_text(), flags=re.MULTILINE))
    wrong.chmod(0o600)
    done = dcu("read", *here.options(carrier), "--keys", wrong, "--timeout", 0.3, ENERGY)
    assert (done.code, done.out) == (7, "")
    assert re.match(r"dcu: authentication failed: .*check the GAK", done.err)


def test_a_wrong_password_is_an_authentication_that_failed(dcu, street, tmp_path):
    here = street(authentication=Authentication.LOW)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('password = "11111111"\n')
    wrong.chmod(0o600)
    done = dcu("read", *here.options(auth="low"), "--keys", wrong, ENERGY)
    assert done.code == 7
    assert done.err.startswith("dcu: authentication failed: ")


def test_keys_that_others_may_read_are_warned_of(dcu, street):
    here = street()
    here.keys.chmod(0o644)
    done = dcu("read", *here.options(), NAME)
    assert done.code == 0
    assert done.err == f"{here.keys}: other users of this machine can read these keys: chmod 600 {here.keys}\n"


def test_the_first_counter_lies_above_what_the_public_client_is_told(dcu, street, tmp_path):
    here = street()
    born = here.meter.heard.highest
    assert born > 0
    assert dcu("read", *here.options(), NAME).code == 0
    kept = int(counter_file(tmp_path).read_text())
    assert here.meter.heard.highest == kept - 1 > born
    assert here.fleet.status()["counter_reuse"] == 0


@pytest.fixture
def asked(monkeypatch):
    """How often the meter was asked for its counter."""
    from dcu.cli import direct

    calls: list[int] = []
    ask = direct.meter_counter

    async def counted(where):
        calls.append(await ask(where))
        return calls[-1]

    monkeypatch.setattr(direct, "meter_counter", counted)
    return calls


@pytest.mark.parametrize("carrier", ["tcp", "udp"])
def test_a_meter_whose_counter_is_ahead_of_ours_is_asked_once_more(dcu, street, asked, carrier):
    here = street()
    options = (*here.options(carrier), "--timeout", 0.5, NAME)
    assert dcu("read", *options).code == 0
    assert dcu("read", *options).code == 0
    assert len(asked) == 1  # what was kept is enough
    (title,) = here.meter.heard._floors
    here.meter.heard.accept(title, 9_000)  # as if another machine had used our title
    assert dcu("read", *options).code == 0
    assert asked[1:] == [9_000]
    assert dcu("read", *options).code == 0
    assert len(asked) == 2


def test_a_counter_far_ahead_is_not_believed(dcu, street, tmp_path):
    here = street()
    assert dcu("read", *here.options(), NAME).code == 0
    kept = counter_file(tmp_path).read_text()
    (title,) = here.meter.heard._floors
    here.meter.heard.accept(title, 0xFFFFFFF0)
    done = dcu("read", *here.options(), NAME)
    assert done.code == 7
    assert "the meter says that counter 4294967280 was used" in done.err
    assert done.err.endswith(f"not believed; if it is true, delete {counter_file(tmp_path)}\n")
    assert int(counter_file(tmp_path).read_text()) < int(kept) + 8


def test_a_meter_that_refuses_for_ever_is_asked_once_too(dcu, street, asked, tmp_path):
    here = street()
    assert dcu("read", *here.options(), NAME).code == 0
    here.meter.given = None  # now it has other keys
    here.meter._associations = None
    done = dcu("read", *here.options(), NAME)
    assert done.code == 7
    assert len(asked) == 2


def test_a_meter_that_tells_no_counter_is_not_ciphered_to(dcu, street, tmp_path):
    here = street()
    family = tmp_path / "odd.toml"
    family.write_text('name = "odd"\n[security]\ncounter = "0-0:43.1.77*255"\n')
    done = dcu("read", *here.options(), "--family", family, NAME)
    assert done.code == 6
    assert "gives the public client (SAP 16) no invocation counter (0-0:43.1.77*255)" in done.err
    assert here.meter.heard.accepted == 0


def test_a_counter_file_in_use_or_damaged_is_one_sentence(dcu, street, tmp_path):
    here = street()
    assert dcu("read", *here.options(), NAME).code == 0
    path = counter_file(tmp_path)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        done = dcu("read", *here.options(), NAME)
        assert done.code == 10
        assert done.err == f"dcu: {path} is locked: another dcu command talks to this meter, wait for it\n"
    path.write_text("zz")
    done = dcu("read", *here.options(), NAME)
    assert done.code == 10
    assert done.err == f"dcu: {path} is damaged: delete it, and the meter is asked for its counter instead\n"
    path.unlink()
    assert dcu("read", *here.options(), NAME).code == 0
