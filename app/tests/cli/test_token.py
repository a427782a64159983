"""`dcu token`: over a link of one's own and through a collector."""

import pytest

from dcu.collect.meter_profile import TokenWay
from neighbourhood.tokens import token
from tests.cli.street import ACTED, ACTION, SEED

SEEN = len(TokenWay().seen)  # attributes that are read back


def made(number=3, credit=1_000):
    return token(SEED, 1, number, credit)


def grouped(digits):
    return [digits[at : at + 4] for at in range(0, 20, 4)]


def test_a_token_is_entered_in_groups_as_it_is_printed(dcu, street):
    here = street()
    done = dcu("token", *grouped(made()), *here.options())
    assert (done.code, done.out, here.meter.works.prepayment.credit) == (0, "taken: executed\n", 1_000), done
    done = dcu("token", made(), *here.options(), "--json")
    assert (done.code, done.json["accepted"], done.json["code"]) == (1, False, 6), done


def test_a_token_whose_answer_is_lost_is_read_back_and_not_sent_again(dcu, street):
    here = street()
    path = here.lossy(lambda path, first: first == ACTED and path.sent.count(ACTION) > 1)
    options = [f"127.0.0.1:{path.port}" if each == here.at("udp") else each for each in here.options("udp")]
    done = dcu("token", made(), *options, "--timeout", "0.5")
    assert (done.code, here.meter.works.prepayment.entered) == (0, 1), done
    assert path.sent.count(ACTION) == 2  # the proof of HLS, and the one token


def test_a_token_that_never_arrived_is_told_as_such(dcu, street):
    here = street()
    path = here.lossy(lambda path, first: first == ACTION and path.sent.count(ACTION) > 1)
    options = [f"127.0.0.1:{path.port}" if each == here.at("udp") else each for each in here.options("udp")]
    done = dcu("token", made(), *options, "--timeout", "0.5")
    assert (done.code, here.meter.works.prepayment.entered) == (9, 0), done
    assert "did not arrive" in done.err


def test_a_token_that_went_in_is_told_as_entered_though_the_line_ends_then(dcu, street):
    here = street()
    path = here.lossy(lambda path, first: path.sent.count(ACTION) > 1 and path.sent[::-1].index(ACTION) > SEEN)
    options = [f"127.0.0.1:{path.port}" if each == here.at("udp") else each for each in here.options("udp")]
    done = dcu("token", made(), *options, "--timeout", "0.5")
    assert (done.code, here.meter.works.prepayment.entered) == (9, 1), done
    assert "the token was entered; what the meter made of it is unknown" in done.err


@pytest.mark.parametrize(("text", "says"), [("12", "18 missing"), ("1234567890123456789x", "'x' stands at place 20")])
def test_a_mistyped_token_bothers_nobody(dcu, text, says):
    done = dcu("token", text, "--tcp", "127.0.0.1:9")
    assert done.code == 3
    assert says in done.err


def test_the_collector_enters_a_token(run, house):
    name = min(house.addresses)
    done = run("token", made(), "--meter", name, "--json")
    assert (done.code, done.json["accepted"]) == (0, True), done
