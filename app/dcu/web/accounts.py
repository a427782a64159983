"""Who may look and who may act: users with scrypt passwords in a TOML file, sessions in memory.

A viewer looks; an operator may give commands, too, on a device that is commissioned. A password is checked one at a
time, in a thread, so that a flood of guesses costs neither memory nor the event loop, and whoever guessed wrong waits
longer each time. A session ends when it is idle, at the latest after half a day, and with the process.

Source: RFC 7914 (scrypt); OWASP Password Storage and Session Management cheat sheets.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from dcu import config
from dcu.durable import place
from dcu.errors import ConfigError, JobError

COST, BLOCK, PARALLEL = 1 << 14, 8, 1  # 16 MiB and some 50 ms a guess
SHORTEST, LONGEST = 10, 256  # characters of a password
NAME = re.compile(r"[A-Za-z0-9._-]{1,32}", re.ASCII)
IDLE, WHOLE = 1800.0, 43200.0  # seconds
SESSIONS = 64
GUESSERS = 1024  # addresses whose wrong guesses are remembered
WAITERS = 8  # log-ins that wait for their turn
SLOWEST = 300.0  # seconds


class Role(StrEnum):
    VIEWER = "viewer"
    OPERATOR = "operator"


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """password: as `hashed` writes it."""

    name: str
    role: Role
    password: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    user: tuple[User, ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    user: str
    role: Role
    began: float
    seen: float


class Throttled(JobError):
    """Too many guesses."""


def load(path: Path) -> dict[str, User]:
    """Users by name; none where the file is not there yet. Raises ConfigError."""
    if not path.exists():
        return {}
    users = config.load(path, _File).user
    for user in users:
        if not NAME.fullmatch(user.name):
            raise ConfigError(f"{path}: user {user.name!r}: letters, digits, '.', '_', '-', at most 32")
        _parts(user.password, f"{path}: user {user.name}")
    if len({user.name for user in users}) != len(users):
        raise ConfigError(f"{path}: names that differ")
    return {user.name: user for user in users}


def put(path: Path, name: str, role: Role, password: str) -> None:
    """Add a user, or give it another role and password. Raises ConfigError."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"{name!r}: a name has letters, digits, '.', '_', '-', at most 32")
    if not SHORTEST <= len(password) <= LONGEST:
        raise ConfigError(f"a password has {SHORTEST} to {LONGEST} characters")
    users = load(path)
    users[name] = User(name=name, role=role, password=hashed(password))
    _write(path, users)


def remove(path: Path, name: str) -> None:
    """Raises ConfigError: there is no such user."""
    users = load(path)
    if users.pop(name, None) is None:
        raise ConfigError(f"{path}: no user {name!r}: there are {', '.join(users) or 'none'}")
    _write(path, users)


def hashed(password: str) -> str:
    salt = secrets.token_bytes(16)
    return "$".join(("scrypt", str(COST), _text(salt), _text(_derived(password, salt, COST))))


def fits(password: str, stored: str) -> bool:
    """Whether it is the password; takes as long for a wrong one."""
    cost, salt, wanted = _parts(stored, "password")
    return hmac.compare_digest(_derived(password, salt, cost), wanted)


class Accounts:
    """Log-ins and sessions. The file is read at each log-in: a user who was removed cannot come back."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._path = path
        self._now = now
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()  # by the token's hash, the longest idle first
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()  # by address: how often, wait until
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._nobody = hashed(secrets.token_urlsafe())  # what a name that there is not is checked against

    async def log_in(self, name: str, password: str, address: str) -> str | None:
        """A new session's token, or None: the name or the password is wrong. Raises Throttled, ConfigError."""
        times, until = self._wrong.get(address, (0, 0.0))
        if (wait := until - self._now()) > 0:
            raise Throttled(f"too many wrong passwords from here: try again in {wait:.0f} s")
        if self._waiting >= WAITERS:
            raise Throttled("too many log-ins at once: try again")
        self._waiting += 1
        try:
            async with self._turn:
                user = load(self._path).get(name)
                stored = user.password if user else self._nobody
                good = await asyncio.to_thread(fits, password[: LONGEST + 1], stored)
        finally:
            self._waiting -= 1
        if not user or not good:
            self._remember(address, times + 1)
            return None
        self._wrong.pop(address, None)
        token = secrets.token_urlsafe(32)
        now = self._now()
        self._sessions[_key(token)] = Session(name, user.role, now, now)
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return token

    def session(self, token: str) -> Session | None:
        """The session of a token, which this keeps alive."""
        key, now = _key(token), self._now()
        found = self._sessions.pop(key, None)
        if found is None or now - found.seen > IDLE or now - found.began > WHOLE:
            return None
        self._sessions[key] = found = Session(found.user, found.role, found.began, now)
        return found

    def stands(self, token: str) -> bool:
        """Whether the session goes on: looking on neither keeps it alive nor ends it before its time."""
        found = self._sessions.get(_key(token))
        return found is not None and self._now() - found.began <= WHOLE

    def log_out(self, token: str) -> None:
        self._sessions.pop(_key(token), None)

    def _remember(self, address: str, times: int) -> None:
        wait = min(SLOWEST, 0.0 if times < 4 else 2.0 ** (times - 3))
        self._wrong.pop(address, None)
        self._wrong[address] = times, self._now() + wait
        while len(self._wrong) > GUESSERS:
            self._wrong.popitem(last=False)


def _derived(password: str, salt: bytes, cost: int) -> bytes:
    memory = 128 * BLOCK * (cost + PARALLEL + 2)
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"), salt=salt, n=cost, r=BLOCK, p=PARALLEL, maxmem=memory, dklen=32
    )


def _parts(stored: str, where: str) -> tuple[int, bytes, bytes]:
    try:
        kind, cost, salt, wanted = stored.split("$")
        number, raw, key = int(cost), _bytes(salt), _bytes(wanted)
        if kind == "scrypt" and COST <= number <= 1 << 18 and number & (number - 1) == 0 and raw and len(key) == 32:
            return number, raw, key
    except (ValueError, binascii.Error):
        pass
    raise ConfigError(f"{where}: no password that `dcu gateway user` wrote: set it anew")


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _write(path: Path, users: dict[str, User]) -> None:
    """Whole or not at all, for its owner and group only. Names and hashes need no escape in TOML."""
    tables = [f'[[user]]\nname = "{u.name}"\nrole = "{u.role}"\npassword = "{u.password}"\n' for u in users.values()]
    try:
        place(path, ("# Written by `dcu gateway user`.\n" + "\n".join(tables)).encode("ascii"), 0o640)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from None
