"""Users, passwords and sessions."""

import asyncio
import os
import stat

import pytest

from dcu.errors import ConfigError
from dcu.web import accounts
from dcu.web.accounts import IDLE, SESSIONS, WHOLE, Accounts, Role, Throttled

GOOD = "correct horse battery"


class Time:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users.toml"
    accounts.put(path, "anna", Role.OPERATOR, GOOD)
    return path


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def known(users, time):
    return Accounts(users, time)


async def test_the_right_password_opens_a_session_with_its_role(known):
    token = await known.log_in("anna", GOOD, "192.0.2.1")
    session = known.session(token)
    assert (session.user, session.role) == ("anna", Role.OPERATOR)


@pytest.mark.parametrize(("name", "password"), [("anna", GOOD + "x"), ("anna", ""), ("berta", GOOD), ("", "")])
async def test_another_name_or_password_does_not(known, name, password):
    assert await known.log_in(name, password, "192.0.2.1") is None


async def test_a_password_is_not_cut_where_it_is_too_long(users, known):
    accounts.put(users, "anna", Role.VIEWER, "x" * 256)
    assert await known.log_in("anna", "x" * 256, "192.0.2.1")
    assert await known.log_in("anna", "x" * 257, "192.0.2.2") is None


async def test_who_guesses_waits_longer_each_time_and_others_do_not(known, time):
    for _ in range(4):
        await known.log_in("anna", "wrong wrong wrong", "192.0.2.1")
    with pytest.raises(Throttled, match="try again in 2 s"):
        await known.log_in("anna", GOOD, "192.0.2.1")
    assert await known.log_in("anna", GOOD, "192.0.2.2")
    time.now += 2.1
    await known.log_in("anna", "wrong wrong wrong", "192.0.2.1")
    with pytest.raises(Throttled, match="in 4 s"):
        await known.log_in("anna", GOOD, "192.0.2.1")


async def test_a_flood_of_log_ins_is_turned_away_without_a_hash_each(known):
    outcomes = await asyncio.gather(
        *(known.log_in("anna", "wrong wrong wrong", f"192.0.2.{n}") for n in range(30)), return_exceptions=True
    )
    assert sum(isinstance(outcome, Throttled) for outcome in outcomes) == 30 - accounts.WAITERS


async def test_a_session_ends_when_idle_and_after_half_a_day_whatever_it_does(known, time):
    token = await known.log_in("anna", GOOD, "192.0.2.1")
    time.now += IDLE + 1
    assert known.session(token) is None
    token = await known.log_in("anna", GOOD, "192.0.2.1")
    while time.now < IDLE + 1 + WHOLE:
        assert known.session(token)
        time.now += IDLE - 1
    time.now += IDLE - 1
    assert known.session(token) is None


async def test_looking_on_does_not_keep_a_session_alive(known, time):
    token = await known.log_in("anna", GOOD, "192.0.2.1")
    time.now += IDLE - 1
    assert known.stands(token)
    time.now += 2
    assert known.session(token) is None
    assert not known.stands(token)


async def test_logging_out_ends_it(known):
    token = await known.log_in("anna", GOOD, "192.0.2.1")
    known.log_out(token)
    assert known.session(token) is None
    assert known.session("no token at all") is None


async def test_sessions_are_bounded_and_the_longest_idle_goes(known):
    tokens = [await known.log_in("anna", GOOD, "192.0.2.1")]
    stored = accounts.fits
    accounts.fits = lambda password, stored: True
    try:
        tokens += [await known.log_in("anna", GOOD, "192.0.2.1") for _ in range(SESSIONS)]
    finally:
        accounts.fits = stored
    assert known.session(tokens[0]) is None
    assert known.session(tokens[1])


async def test_a_user_who_was_removed_cannot_log_in(users, known):
    accounts.remove(users, "anna")
    assert await known.log_in("anna", GOOD, "192.0.2.1") is None
    with pytest.raises(ConfigError, match="no user 'anna'"):
        accounts.remove(users, "anna")


def test_the_file_holds_no_password_and_is_nobody_elses(users):
    assert GOOD not in users.read_text()
    assert stat.S_IMODE(os.stat(users).st_mode) & 0o007 == 0


@pytest.mark.parametrize(
    ("name", "password", "told"),
    [
        ("a b", GOOD, "a name has"),
        ('a"', GOOD, "a name has"),
        ("", GOOD, "a name has"),
        ("anna", "short", "10 to 256"),
        ("anna", "x" * 257, "10 to 256"),
    ],
)
def test_what_cannot_be_a_user_is_refused(tmp_path, name, password, told):
    with pytest.raises(ConfigError, match=told):
        accounts.put(tmp_path / "users.toml", name, Role.VIEWER, password)


@pytest.mark.parametrize(
    "stored", ["", "plain", "scrypt$1$AA==$AA==", "scrypt$16384$!$!", "scrypt$99999999999$AA==$AA==", "scrypt$16384$$"]
)
def test_a_damaged_file_is_said(tmp_path, stored):
    path = tmp_path / "users.toml"
    path.write_text(f'[[user]]\nname = "anna"\nrole = "viewer"\npassword = "{stored}"\n')
    with pytest.raises(ConfigError, match="set it anew"):
        accounts.load(path)
