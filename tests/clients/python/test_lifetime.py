"""Restarts: each test has a broker of its own."""

import signal
import socket
import ssl

import pytest

from broker import Broker
from peer import DEADLINE_S, Peer, unique


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


def test_over_tls_an_error_is_followed_by_the_close():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with Broker("--tls-self-signed") as broker:
        with socket.create_connection(broker.address("stomp_tls"), timeout=DEADLINE_S) as plain:
            with context.wrap_socket(plain) as stream:
                stream.sendall(b"JUMP\n\n\0")
                received = b"".join(iter(lambda: stream.recv(4096), b""))
    assert received.startswith(b"ERROR\n")
    assert received.rstrip(b"\n").endswith(b"\0")


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
