"""A user of one's own: no state of whoever runs the tests, no collector of this machine."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dcu.cli import main, worker
from tests.cli.done import Done
from tests.cli.house import House, inhabited
from tests.cli.street import DAY, HOUR, Street


@pytest.fixture
def dcu(monkeypatch, tmp_path, capfd) -> Callable[..., Done]:
    """Run `dcu` in this process, as the user whose state is `tmp_path`/state. Nothing ever shows a traceback."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("DCU_SOCKET", str(tmp_path / "no-collector.sock"))
    monkeypatch.delenv("DCU_DEBUG", raising=False)

    def run(*arguments: object) -> Done:
        capfd.readouterr()
        code = main.run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        assert "internal error" not in err, err
        return Done(code, out, err)

    return run


@pytest.fixture
def street(tmp_path) -> Iterator[Callable[..., Street]]:
    """Makes streets, and ends them."""
    made: list[Street] = []

    def make(**options: Any) -> Street:
        folder = tmp_path / f"street-{len(made)}"
        folder.mkdir()
        made.append(Street(folder, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[House]:
    """A collector that has read three meters; the third answers nonsense."""
    yield from inhabited(tmp_path_factory.mktemp("house"))


@pytest.fixture
def run(house, dcu, monkeypatch) -> Callable[..., Done]:
    """Run `dcu` in this process, the house's collector being this machine's."""
    monkeypatch.setenv("DCU_SOCKET", str(house.socket))
    return dcu


@pytest.fixture
def day() -> tuple[int, int]:
    """The last whole day that the meters' clocks have passed, whatever they are off."""
    last = int(time.time() - 120) // HOUR * HOUR
    return last - DAY + HOUR, last


@pytest.fixture
def decode(capfd, tmp_path, monkeypatch):
    """Run `dcu decode` on a file or on text: exit code, what was printed, what was complained of.

    The gurux worker has the time that a busy machine needs.
    """
    monkeypatch.setattr(worker, "START_TIMEOUT", 100.0)
    monkeypatch.setitem(worker.Worker.__init__.__kwdefaults__, "timeout", 100.0)

    def run(source: Path | str, *options: object) -> tuple[int, str, str]:
        if isinstance(source, str):
            path = tmp_path / "capture.log"
            path.write_text(source)
            source = path
        code = main.run(["decode", *map(str, options), str(source)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def decode_json(decode):
    def run(source: Path | str, *options: object) -> list[dict]:
        code, out, err = decode(source, "--json", *options)
        assert (code, err) == (0, "")
        return json.loads(out)

    return run
