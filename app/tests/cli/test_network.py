"""`dcu network` as a user and as a machine see it."""

import json

import pytest

from dcu.cli import main, network

NODE = {
    "eui64": "", "meter": None, "standing": "joined", "address": 1, "parent": None, "path": [], "hops": 1, "cost": 4,
    "quality": 90, "modulation": "DQPSK", "last_heard": 1763640000, "since": 1763640000,
}  # fmt: skip
STREET = {
    "name": "street", "kind": "g3", "up": True, "root": "0004A3FFFE000001", "pan": 0x781D, "statistics": {"starts": 1},
    "nodes": [
        {**NODE, "eui64": "A", "meter": "M1"},
        {**NODE, "eui64": "B", "meter": "M2", "address": 2, "parent": "A", "hops": 2, "quality": None,
         "modulation": ""},
        {**NODE, "eui64": "C", "standing": "expected", "address": None, "hops": None, "quality": None, "modulation": "",
         "last_heard": 0},
        {**NODE, "eui64": "D", "meter": "M4", "standing": "silent", "address": 4, "parent": "B", "hops": 3,
         "quality": None, "modulation": ""},
    ],
}  # fmt: skip


@pytest.fixture
def asked(monkeypatch):
    calls = []
    answers = {"network": [STREET], "network.rekey": {"meters": 3}, "network.kick": {}, "network.path": [NODE]}

    def ask(socket, method, **params):
        calls.append((method, params))
        return json.loads(json.dumps(answers[method]))

    monkeypatch.setattr(network, "ask", ask)
    return calls


def test_a_network_is_a_tree_from_the_concentrator(asked, capsys):
    assert main.run(["network"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "street  g3, PAN 781D, up  0004A3FFFE000001"
    assert lines[1] == "├── M1  0001, 1 hop, DQPSK, LQI 90"
    assert lines[2] == "│   └── M2  0002, 2 hops"
    assert lines[3].startswith("│       └── M4  0004, 3 hops  silent, last heard 2025-11-20")
    assert lines[4] == "└── not in the network"
    assert lines[5] == "    └── C  expected"
    assert err == "4 meters: 2 joined, 1 expected, 1 silent\n"


def test_machines_get_all_of_it(asked, capsys):
    assert main.run(["network", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["nodes"][0]["last_heard"].startswith("2025-11-20")
    assert found["nodes"][2]["last_heard"] is None


def test_statistics_path_kick_and_rekey_call_what_they_say(asked, capsys):
    assert main.run(["network", "--statistics"]) == 0
    assert "starts" in capsys.readouterr().out
    assert main.run(["network", "path", "M1"]) == 0
    assert main.run(["network", "kick", "M1"]) == 0
    assert main.run(["network", "rekey", "street"]) == 0
    assert "3 meters have the new group key" in capsys.readouterr().out
    assert asked[1:] == [
        ("network.path", {"meter": "M1", "network": None}),
        ("network.kick", {"meter": "M1", "network": None}),
        ("network.rekey", {"network": "street"}),
    ]
