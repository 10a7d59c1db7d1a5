"""The example of a worker, as a process, asked by a client that is not ours."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys

import pytest

from broker import ROOT, Broker
from peer import Peer, unique

WORKER = ROOT / "examples" / "worker.py"
END_S = 10


@pytest.fixture(scope="module")
def broker():
    with Broker() as broker:
        yield broker


@pytest.fixture
def store(tmp_path):
    return tmp_path / "orders.db"


@pytest.fixture
def work(broker, store):
    """Starts workers on one store, and ends them."""
    host, port = broker.address("stomp")
    workers = []

    def start():
        command = [sys.executable, "-u", WORKER, "--host", host, "--port", str(port), "--store", store]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        workers.append(worker)
        says(worker, "working")
        return worker

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()
        worker.stdout.close()


@pytest.fixture
def person(broker):
    """Connects people, and lets them go."""
    peers = []

    def come(login):
        peer = Peer(broker.address("stomp"))
        peers.append(peer)
        peer.connect(login)
        return peer

    yield come
    for peer in peers:
        peer.drop()


def says(worker, text):
    """Waits for a line of the worker's; at its end it fails."""
    for line in worker.stdout:
        if text in line:
            return
    raise AssertionError(f"the worker ended and had not said {text!r}")


def place(peer, body, **headers):
    """Sends an order and wants an answer."""
    text = body if isinstance(body, str) else json.dumps(body)
    peer.send("/app/orders/place", text, reply_to="/temp-queue/orders", **headers)


def answer(peer):
    """The next answer to an order."""
    return json.loads(peer.strays.next().body)


def ordered(peer):
    """What the worker says that this user has ordered."""
    return json.loads(peer.subscribe("/app/orders/open").next().body)


@contextlib.contextmanager
def locked(store):
    """While this lasts no worker can write."""
    db = sqlite3.connect(store, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()


def test_an_order_is_placed_answered_and_told(work, person):
    work()
    alice, bob, kitchen = person("alice"), person("bob"), person("kitchen")
    told = kitchen.subscribe("/topic/kitchen")
    order = {"id": unique("order"), "item": "tea"}
    place(alice, order, correlation_id="c7")
    message = alice.strays.next()
    assert json.loads(message.body) == {"id": order["id"], "placed": True}
    assert message.headers["correlation-id"] == "c7"
    assert json.loads(told.next().body) == order
    assert ordered(alice) == [order]
    assert ordered(bob) == [], "to each his own"


def test_an_order_that_is_repeated_is_placed_once(work, person):
    work()
    alice, bob, kitchen = person("alice"), person("bob"), person("kitchen")
    told = kitchen.subscribe("/topic/kitchen")
    order = {"id": unique("order"), "item": "tea"}
    for _ in range(2):
        place(alice, order)
        assert answer(alice)["placed"]
    place(bob, order)
    assert "error" in answer(bob), "the id is taken"
    after = {"id": unique("order"), "item": "cake"}
    place(alice, after)
    assert [json.loads(body) for body in told.bodies(2)] == [order, after]


def test_what_cannot_be_done_now_is_done_later(work, person, store):
    worker = work()
    alice = person("alice")
    order = {"id": unique("order"), "item": "tea"}
    with locked(store):
        place(alice, order)
        says(worker, "later")
    assert answer(alice)["placed"]
    assert ordered(alice) == [order]


def test_what_a_worker_has_left_undone_is_done_by_another(work, person, store):
    first = work()
    alice, kitchen = person("alice"), person("kitchen")
    told = kitchen.subscribe("/topic/kitchen")
    orders = [{"id": unique("order"), "item": item} for item in ("tea", "cake")]
    with locked(store):
        for order in orders:
            place(alice, order)
        says(first, "later")
        first.send_signal(signal.SIGKILL)
        first.wait(END_S)
    work()
    assert sorted(answer(alice)["id"] for _ in orders) == sorted(order["id"] for order in orders)
    assert sorted(json.loads(body)["id"] for body in told.bodies(2)) == sorted(order["id"] for order in orders)
    assert told.empty()


@pytest.mark.parametrize("body", ["no JSON", "[]", '{"id": 1, "item": "tea"}', '{"id": "x"}'])
def test_what_is_no_order_is_a_dead_letter_and_its_sender_is_told(work, person, body):
    work()
    alice, operator = person("alice"), person("guest")
    dead = operator.subscribe("/queue/dlq.orders/place")
    place(alice, body)
    assert "error" in answer(alice)
    letter = dead.next()
    assert letter.body.decode() == body
    assert letter.headers["stompede-dead-letter-reason"] == "rejected"


def test_a_worker_outlives_an_asker_who_is_gone_and_a_broker_that_comes_back(work, person, broker, store):
    worker = work()
    alice = person("alice")
    with locked(store):
        place(alice, {"id": unique("order"), "item": "tea"})
        says(worker, "later")
        alice.leave()
    says(worker, "refused")
    broker.end()
    broker.start()
    says(worker, "working")
    alice = person("alice")
    order = {"id": unique("order"), "item": "cake"}
    place(alice, order)
    assert answer(alice)["placed"]


def test_a_worker_ends_when_it_is_told(work):
    worker = work()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(END_S) == 0
