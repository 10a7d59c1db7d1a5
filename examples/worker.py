#!/usr/bin/env python3
"""A backend of the application behind the broker: it takes orders from browsers, answers them, and tells the kitchen.

    pip install stomp.py
    python3 examples/worker.py --port 61613 --login guest --passcode guest --store orders.db

A browser SENDs {"id", "item"} to /app/orders/place, with `reply-to:/temp-queue/orders` if it wants an answer, and SUBSCRIBEs
/app/orders/open for what it has ordered, which is answered once. The kitchen subscribes /topic/kitchen.

Each order goes to one worker, however many run. It is acknowledged when everything about it is done: a worker that dies before has
done it partly, and another one gets it again. So everything here may be done twice and then has happened once: the store knows
orders by their ids, and the broker publishes once what has the same `idempotency-key`.
"""

import argparse
import json
import signal
import sqlite3
import threading

import stomp

PLACE = "/app/orders/place"
OPEN = "/app/orders/open"
AT_ONCE = 10
RETRY_MS = 500
AGAIN_S = 1


class Store:
    """Orders in a file that all workers share."""

    def __init__(self, path):
        self.db = sqlite3.connect(path, timeout=0.2, check_same_thread=False)
        self.db.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, user TEXT, item TEXT)")

    def place(self, order, user):
        """Whether the order is this user's; one that is there already stays as it is."""
        with self.db:
            row = (order["id"], user, order["item"])
            self.db.execute("INSERT INTO orders VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)
        owner = self.db.execute("SELECT user FROM orders WHERE id = ?", (order["id"],)).fetchone()
        return owner == (user,)

    def of(self, user):
        """The items of a user."""
        rows = self.db.execute("SELECT id, item FROM orders WHERE user = ? ORDER BY rowid", (user,))
        return [{"id": id, "item": item} for id, item in rows]


class Worker(stomp.ConnectionListener):
    """Handles what is sent to /app/orders/..."""

    def __init__(self, arguments, store):
        self.store = store
        self.login = (arguments.login, arguments.passcode)
        self.lost = threading.Event()
        self.connection = stomp.Connection12([(arguments.host, arguments.port)], heartbeats=(10_000, 10_000))
        self.connection.set_listener("worker", self)

    def run(self, stop):
        """Works, and comes back when the connection breaks, until `stop` is set."""
        while not stop.is_set():
            self.lost.clear()
            try:
                self.connection.connect(*self.login, wait=True)
            except stomp.exception.ConnectFailedException as problem:
                print(f"no connection: {problem}", flush=True)
            else:
                self.begin()
                while not (self.lost.wait(0.1) or stop.is_set()):
                    pass
            stop.wait(0 if stop.is_set() else AGAIN_S)
        if self.connection.is_connected():
            self.connection.disconnect()

    def begin(self):
        # Somebody who has asked may be gone when the answer comes: told here, that does not end the session.
        self.connection.subscribe("/user/queue/errors", id="errors")
        limit = {"prefetch-count": str(AT_ONCE)}
        self.connection.subscribe(PLACE, id="place", ack="client-individual", headers=limit)
        self.connection.subscribe(OPEN, id="open", ack="client-individual", headers=limit)
        print("working", flush=True)

    def on_disconnected(self):
        self.lost.set()

    def on_message(self, frame):
        handlers = {"place": self.place, "open": self.open}
        handler = handlers.get(frame.headers["subscription"])
        if handler is None:
            print(f"refused: {frame.body}", flush=True)
            return
        ack = frame.headers["ack"]
        try:
            handler(frame)
        except (ValueError, KeyError, TypeError) as problem:
            # It will not become better: to /queue/dlq.orders/place, for somebody to look at.
            print(f"a dead letter: {problem!r}", flush=True)
            self.answer(frame, {"error": "an order is {id, item}"})
            self.connection.nack(ack, requeue="false")
        except sqlite3.OperationalError as problem:
            print(f"later: {problem}", flush=True)
            self.connection.nack(ack, **{"redelivery-delay": str(RETRY_MS)})
        else:
            self.connection.ack(ack)

    def place(self, frame):
        order = json.loads(frame.body)
        if not (isinstance(order["id"], str) and isinstance(order["item"], str)):
            raise TypeError("id and item are texts")
        # The broker says who it is; whatever the browser says of itself in the body is of no account.
        if not self.store.place(order, frame.headers["user-name"]):
            return self.answer(frame, {"error": "this id belongs to an order of somebody else"})
        told = {"id": order["id"], "item": order["item"]}
        self.send("/topic/kitchen", told, {"idempotency-key": f"order {order['id']}"})
        self.answer(frame, {"id": order["id"], "placed": True})

    def open(self, frame):
        self.answer(frame, self.store.of(frame.headers["user-name"]))

    def answer(self, frame, content):
        """To whoever has asked, if he wants to know."""
        if "reply-to" in frame.headers:
            known = {name: frame.headers[name] for name in ("correlation-id",) if name in frame.headers}
            self.send(frame.headers["reply-to"], content, known)

    def send(self, destination, content, headers):
        self.connection.send(destination, json.dumps(content), content_type="application/json", headers=headers)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=61613)
    parser.add_argument("--login", default="guest", help="an account with the role service")
    parser.add_argument("--passcode", default="guest")
    parser.add_argument("--store", default="orders.db", help="a file, shared by all workers")
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    Worker(arguments, Store(arguments.store)).run(stop)


if __name__ == "__main__":
    main()
