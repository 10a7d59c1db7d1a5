"""Restarts: each test has a broker of its own."""

import signal

import pytest

from broker import Broker
from peer import Peer, unique


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_a_client_reconnects_after_a_restart(how):
    with Broker() as broker:
        alice = Peer(broker.address("stomp"))
        try:
            alice.connect()
            broker.end(how)
            alice.disconnects.next()
            broker.start()
            alice.connect()
            topic = f"/topic/{unique('back')}"
            inbox = alice.subscribe(topic)
            alice.send(topic, b"back")
            assert inbox.next().body == b"back"
        finally:
            alice.drop()


def test_sigterm_says_why_and_ends_with_0():
    with Broker() as broker:
        alice = Peer(broker.address("stomp"))
        alice.connect()
        assert broker.end(signal.SIGTERM) == 0
        error = alice.ended()
        assert error["error-code"] == "shutting-down"
        assert error.get("retry-after") != "never"


def test_nothing_sent_just_before_disconnect_is_lost():
    with Broker() as broker:
        alice, bob = Peer(broker.address("stomp")), Peer(broker.address("stomp"))
        try:
            alice.connect()
            bob.connect("bob")
            topic = f"/topic/{unique('last')}"
            inbox = alice.subscribe(topic)
            for number in range(200):
                bob.publish(topic, str(number).encode())
            bob.leave()
            assert inbox.bodies(200) == [str(number).encode() for number in range(200)]
        finally:
            alice.drop()
