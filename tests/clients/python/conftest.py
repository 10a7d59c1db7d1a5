"""Brokers and peers for the tests."""

import pytest

from broker import Broker
from kinds import KINDS, name_of
from peer import Peer


@pytest.fixture(scope="session")
def brokers():
    """One broker without TLS, one with; both with heart-beats that a test can wait for."""
    config = "[heart_beat]\nsend_ms = 1000\nreceive_ms = 1000\n"
    with Broker(config=config) as plain, Broker("--tls-self-signed", config=config) as tls:
        yield {"stomp": plain, "stomp_tls": tls}


@pytest.fixture(params=KINDS, ids=name_of)
def kind(request):
    """A listener and a version of STOMP."""
    return request.param


@pytest.fixture
def version(kind):
    return kind[1]


@pytest.fixture
def opened(brokers, kind):
    """Makes peers that are not connected yet, and closes them after the test."""
    peers = []

    def make(version=None, **options):
        listener = kind[0]
        peer = Peer(brokers[listener].address(listener), version or kind[1], tls=listener == "stomp_tls", **options)
        peers.append(peer)
        return peer

    yield make
    for peer in peers:
        peer.drop()


@pytest.fixture
def connected(opened):
    """Makes peers that are connected."""

    def make(login="alice", version=None, **options):
        peer = opened(version, **options)
        peer.session = peer.connect(login)
        return peer

    return make
