"""A user of one's own: no state of whoever runs the tests, no collector of this machine."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from dcu.cli import main
from tests.cli.street import Street


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


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
