"""docs/conformance.md, made of what tests prove: which association, protection and service works with which peer.

A test says what it proves with a mark; row and link may be computed from its parameters (None: no claim):

    @pytest.mark.conforms("Association", "HLS 6 SHA-256", peer="gurux-dlms client", link="wrapper")
    @pytest.mark.conforms("Association", lambda context: NAMES[context], peer="ours")
    @pytest.mark.conforms("Association", "HLS 7 ECDSA", peer="gurux-dlms client", defect="its curve arithmetic fails")

`pytest --conformance FILE` runs them and writes the page: a cell names the links over which all tests of that row and
peer passed, or what the peer cannot do. A row whose test failed or was skipped says so. `make conformance` does it.
With --conformance-again (AGAIN=1) only what has not passed is tried once more; the rest stands as it was (build/).
"""

import inspect
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

MARK = "conforms"
SECTIONS = ("Association", "Protection", "Referencing", "Services", "Service", "Object", "Link")
PEERS = (
    "ours",
    "published vector",
    "gurux-dlms client",
    "gurux-dlms notifier",
    "gurux-dlms server",
    "Gurux Java server",
    "Gurux Java client",
    "jDLMS server",
    "jDLMS client",
)
SERVICES = (  # columns of the section Services, whose rows are associations: our client against our server
    "GET",
    "GET in blocks",
    "GET with list",
    "SET",
    "SET in blocks",
    "SET with list",
    "ACTION",
    "ACTION in blocks",
    "ACTION with list",
    "ACCESS",
    "unconfirmed SET",
    "event-notification, information-report",
    "general-block-transfer",
)
EVERY_LINK = {"HDLC", "HDLC over TCP", "HDLC over UDP", "wrapper over TCP", "wrapper over UDP"}
KEPT = Path(__file__).parents[1] / "build" / "conformance.json"  # outcomes by test
ALONE = "ours"  # our client against our server: worth something only beside another column
HEAD = """# Conformance

Made by `make conformance` from what tests proved in that run; not written by hand. `ours` is our client against our
server; the other columns are stacks and vectors that share no code with ours (gurux-dlms 1.0.203, Python; Gurux Java
and jDLMS: `make interop`). A cell names the links of the tests that passed; `✗` says what the peer cannot do, seen in a
test; an empty cell was not tried. Services has a row for each association, ours on both sides, and a column for each
service; by short names GET, SET and ACTION are read and write, have neither ACCESS nor general blocks, and go over the
wrapper over UDP only where both sides authenticate: else nothing tells a late answer from the one that is due. "Every
link" is HDLC on a serial line, over TCP and over UDP, and the wrapper over TCP and over UDP.
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one test says that it proves."""

    section: str
    row: str
    peer: str
    link: str = "APDU"
    defect: str = ""


def claims(item: pytest.Item) -> Iterator[Claim]:
    """Raises ValueError for a section or a peer that the page does not know."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    for mark in item.iter_markers(MARK):
        section, row, more = *(_computed(each, params) for each in mark.args), dict(mark.kwargs)
        more["link"] = _computed(more.get("link", "APDU"), params)
        if row is None or more["link"] is None:
            continue
        claim = Claim(section, row, **more)
        if claim.section not in SECTIONS or claim.peer not in _columns(claim.section):
            raise ValueError(f"{item.nodeid}: section is one of {SECTIONS}, peer one of {PEERS}, not {claim}")
        yield claim


def _computed(given: object, params: dict[str, object]) -> object:
    return given(*(params[name] for name in inspect.signature(given).parameters)) if callable(given) else given


class Page:
    """A pytest plugin: gathers the claims of what ran, and writes the page at the end."""

    def __init__(self, path: Path, *, again: bool) -> None:
        self._path = path
        self._before: dict[str, str] = json.loads(KEPT.read_text()) if again and KEPT.exists() else {}
        self._claims: dict[str, list[Claim]] = {}
        self._outcomes: dict[str, str] = {}

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        self._claims = {item.nodeid: found for item in items if (found := list(claims(item)))}
        passed = {node for node, outcome in self._before.items() if outcome == "passed"}
        items[:] = [item for item in items if item.nodeid in self._claims.keys() - passed]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self._outcomes[report.nodeid] = report.outcome

    def pytest_sessionfinish(self) -> None:
        outcomes = self._before | self._outcomes
        if self._outcomes:
            KEPT.parent.mkdir(exist_ok=True)
            KEPT.write_text(json.dumps(outcomes, indent=1))
        told = ((claim, outcomes.get(node, "skipped")) for node, found in self._claims.items() for claim in found)
        self._path.write_text(written(told), encoding="utf-8")


def written(told: Iterable[tuple[Claim, str]]) -> str:
    """The page, for claims and the outcomes of their tests."""
    cells: dict[tuple[str, str], dict[str, list[tuple[Claim, str]]]] = defaultdict(lambda: defaultdict(list))
    for claim, outcome in told:
        cells[claim.section, claim.row][claim.peer].append((claim, outcome))
    lines = [HEAD]
    for section in SECTIONS:
        rows = sorted(row for place, row in cells if place == section)
        if not rows:
            continue
        peers = [peer for peer in _columns(section) if any(peer in cells[section, row] for row in rows)]
        lines += [f"## {section}", "", f"| | {' | '.join(peers)} |", f"|---|{'---|' * len(peers)}"]
        lines += [
            f"| {row} | {' | '.join(_cell(cells[section, row].get(peer, [])) for peer in peers)} |" for row in rows
        ]
        lines.append("")
    alone = sorted(
        f"{row} ({section})" for (section, row), by in cells.items() if section != "Services" and _only_ours(by)
    )
    lines += ["## Confirmed by our own two sides only", "", *(f"- {each}" for each in alone or ["nothing"]), ""]
    return "\n".join(lines)


def _columns(section: str) -> tuple[str, ...]:
    return SERVICES if section == "Services" else PEERS


def _only_ours(by: dict[str, list[tuple[Claim, str]]]) -> bool:
    """Whether our two sides do it, and nobody else said so. What only a foreign stack cannot do is no claim of ours."""
    did = {peer for peer, found in by.items() for claim, outcome in found if outcome == "passed" and not claim.defect}
    tried = {claim.peer for claim, _ in by.get(ALONE, ()) if not claim.defect}
    return bool(tried) and did <= {ALONE}


def _cell(found: list[tuple[Claim, str]]) -> str:
    if bad := sorted({outcome for _, outcome in found if outcome != "passed"}):
        return ", ".join(bad)
    links = sorted({claim.link for claim, _ in found if not claim.defect})
    if set(links) >= EVERY_LINK:
        links = ["every link"]
    defects = sorted({claim.defect for claim, _ in found if claim.defect})
    return "; ".join([", ".join(links)] * bool(links) + [f"✗ {defect}" for defect in defects])


def register(config: pytest.Config) -> None:
    """What conftest calls."""
    config.addinivalue_line("markers", f"{MARK}(section, row, peer, link, defect): see tests/conformance.py")
    path = config.getoption("--conformance")
    if path:
        config.pluginmanager.register(Page(Path(path), again=config.getoption("--conformance-again")))
