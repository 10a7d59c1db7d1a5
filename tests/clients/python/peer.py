"""A stomp.py connection as the tests use it: everything is awaited, with a deadline."""

import itertools
import os
import queue

import stomp

DEADLINE_S = 8
CONNECTIONS = {"1.0": stomp.Connection10, "1.1": stomp.Connection11, "1.2": stomp.Connection12}
_serial = itertools.count(1)


def unique(prefix):
    """A name that no other test uses."""
    return f"{prefix}-{os.getpid()}-{next(_serial)}"


class Inbox:
    """A queue of what arrives; taking waits, and fails when nothing comes."""

    def __init__(self, what):
        self.what = what
        self.items = queue.Queue()

    def next(self):
        """The oldest that nobody took yet."""
        try:
            return self.items.get(timeout=DEADLINE_S)
        except queue.Empty:
            raise TimeoutError(f"waited {DEADLINE_S} s for {self.what}") from None

    def bodies(self, count):
        """The bodies of the next `count`."""
        return [self.next().body for _ in range(count)]

    def empty(self):
        """Whether everything that arrived was taken."""
        return self.items.empty()


class Peer(stomp.ConnectionListener):
    """One connection; bodies are bytes."""

    def __init__(self, address, version="1.2", tls=False, **options):
        self.version = version
        self.tls = tls
        self.inboxes = {}
        self.strays = Inbox("a MESSAGE of no subscription")
        self.connected = Inbox("CONNECTED")
        self.errors = Inbox("ERROR")
        self.receipts = Inbox("RECEIPT")
        self.disconnects = Inbox("the end of the connection")
        self.heartbeats = Inbox("a heart-beat")
        self.connection = CONNECTIONS[version]([address], auto_decode=False, reconnect_attempts_max=1, **options)
        if tls:
            self.connection.set_ssl(for_hosts=[address], verify=False)
        self.connection.set_listener("peer", self)

    def connect(self, login="alice", passcode="guest", **headers):
        """Connects and gives the headers of CONNECTED."""
        self.connection.connect(login, passcode, wait=False, headers=headers)
        return self.connected.next().headers

    def subscribe(self, destination, ack="auto", **headers):
        """Subscribes and waits for the RECEIPT."""
        identifier = headers.pop("id", None) or unique("sub")
        inbox = self.inboxes[identifier] = Inbox(f"a MESSAGE of {destination}")
        inbox.id = identifier
        self.settled(lambda receipt: self.connection.subscribe(destination, id=identifier, ack=ack, receipt=receipt, headers=headers))
        return inbox

    def send(self, destination, body=b"", **headers):
        """Sends and waits for the RECEIPT."""
        self.settled(lambda receipt: self.publish(destination, body, receipt=receipt, **headers))

    def publish(self, destination, body=b"", **headers):
        """Sends and waits for nothing."""
        self.connection.send(destination, body, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def settled(self, act):
        """Does what asks for the receipt it is given, and waits for that one."""
        receipt = unique("receipt")
        act(receipt)
        assert self.receipts.next().headers["receipt-id"] == receipt

    def ack(self, message, **options):
        """Settles a message, by what its version names it."""
        self.settled(lambda receipt: self.connection.ack(*self._named(message), receipt=receipt, **options))

    def nack(self, message, **options):
        """Refuses a message."""
        self.settled(lambda receipt: self.connection.nack(*self._named(message), receipt=receipt, **options))

    def drop(self):
        """Breaks the connection as a failing network does."""
        self.connection.transport.disconnect_socket()

    def leave(self):
        """DISCONNECT, its RECEIPT, and the end."""
        receipt = unique("bye")
        self.connection.disconnect(receipt=receipt)
        assert self.receipts.next().headers["receipt-id"] == receipt

    def ended(self):
        """The headers of the ERROR, after which the connection is closed."""
        error = self.errors.next()
        # stomp.py over TLS takes the end of the stream for a pause; a test without it looks at the close there.
        if not self.tls:
            self.disconnects.next()
        return error.headers

    def _named(self, message):
        if self.version == "1.2":
            return (message.headers["ack"],)
        if self.version == "1.1":
            return message.headers["message-id"], message.headers["subscription"]
        return (message.headers["message-id"],)

    def on_connected(self, frame):
        self.connected.items.put(frame)

    def on_message(self, frame):
        self.inboxes.get(frame.headers.get("subscription"), self.strays).items.put(frame)

    def on_receipt(self, frame):
        self.receipts.items.put(frame)

    def on_error(self, frame):
        self.errors.items.put(frame)

    def on_disconnected(self):
        self.disconnects.items.put(None)

    def on_heartbeat(self):
        self.heartbeats.items.put(None)
