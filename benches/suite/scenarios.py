"""What `make bench` runs: who is measured, by which scenario, and what the target is."""

from dataclasses import dataclass

from table import Line


@dataclass
class Work:
    """Contestants take turns at one piece of work; each turn gives figures for its lines."""

    name: str
    # Contestant: (server, flags), and the scenario where it is not the work's.
    turns: dict
    lines: list
    # The scenario, when it is not called like the work.
    scenario: str = ""
    # How many rounds, when not as many as asked for.
    rounds: int = 0

    def figures(self):
        """The names of the figures that matter here."""
        return [line.figure for line in self.lines]


JSON_BODY = ["--body", '{"type":"TEXT","content":"{stamp}{pad}"}']
# In as many rounds again all read.
SLOW_ROUNDS = 5
CHAT = ["-n", "10000", "--rooms", "1000"]


def calibrate(house):
    """SENDs a second that take half of what the floor can do, by scenario."""
    most = [house.load("floor", "fanout", ["--seconds", "1.5"]) for _ in range(3)]
    # A delivery of these costs the floor nearly the same at any rate; half a core is half its power. With fewer
    # connections it would cost less: more of them would be at hand in the caches.
    chat = house.load("floor", "chat", [*CHAT, "--rate", "4000", "--seconds", "2", *JSON_BODY])
    users = house.load("floor", "users", ["--rate", "10000", "--seconds", "1"])
    return {
        "fanout": max(figures["deliveries_per_second"] for figures in most) / 1_000 / 2,
        "chat": 0.5e6 / chat["cpu_s_per_million"] / 10,
        "users": 0.5e6 / users["cpu_s_per_million"],
    }


def rates(house, only):
    """As measured, where there is a house to measure in and works that need them are asked for."""
    needed = {"half", "most", "chat", "users", "workers"}
    is_needed = house and (not only or needed & set(only))
    return calibrate(house) if is_needed else {"fanout": 0.0, "chat": 0.0, "users": 0.0}


def works(rates):
    """What is held against the floor; `rates` are SENDs a second at which the floor is at half its power, by scenario."""
    cpu, us, ms = "cpu_s_per_million", "µs CPU", "ms"

    def against_floor(title, limit, figure=cpu, unit=us):
        return Line(title, figure, unit, "broker", "floor", limit)

    both = {"floor": ("floor", []), "broker": ("broker", [])}

    def at(rate, *flags):
        return {name: (server, ["--rate", f"{rate:.0f}", *flags]) for name, (server, _) in both.items()}

    half = f"{rates['fanout']:.0f}"
    chat, enriched = at(rates["chat"], *CHAT), ["--rate", f"{rates['chat']:.0f}", *CHAT, *JSON_BODY]
    chat["floor"] = ("floor", enriched)
    chat["enriched"] = ("broker", [*enriched, "--send-to", "/app/chat/{room}/send"])
    two = ["--rate", half]
    yield Work(
        "fanout",
        both,
        [
            against_floor("1 room x 1,000, at max: a delivery", 1.25),
            Line("the same: deliveries", "deliveries_per_second", "per s", "broker", "floor"),
        ],
    )
    most = 2 * rates["fanout"]
    yield Work(
        "most",
        at(most),
        [against_floor(f"both at the floor's max, {most:.0f} SENDs/s: a delivery", 1.25)],
        "fanout",
    )
    yield Work(
        "half",
        at(rates["fanout"]),
        [
            against_floor(f"1 room x 1,000, {rates['fanout']:.0f} SENDs/s: a delivery", 1.25),
            against_floor("the same: p99 from due to received", 1.5, "latency_p99_ms", ms),
        ],
        "fanout",
    )
    yield Work(
        "chat",
        chat,
        [
            against_floor(f"1,000 rooms x 10, {rates['chat']:.0f} SENDs/s: a delivery", 1.25),
            Line("the same, enriched JSON", cpu, us, "enriched", "floor", 1.5),
            against_floor("1,000 rooms x 10: p99", 1.5, "latency_p99_ms", ms),
        ],
    )
    yield Work(
        "users",
        at(rates["users"]),
        [
            against_floor(f"1,000 user queues, {rates['users']:.0f} SENDs/s: a delivery", 1.25),
            against_floor("the same: p99", 1.5, "latency_p99_ms", ms),
        ],
    )
    yield Work("last", both, [against_floor("SEND until the last of 10,000 has it, p50", 1.15, "last_p50_ms", ms)])
    yield Work(
        "workers",
        {
            "floor": ("floor", two),
            "floor-2": ("floor-2", two),
            "broker": ("broker", two),
            "broker-2": ("broker-2", two),
        },
        [
            Line("two workers: a delivery", cpu, us, "broker-2", "broker", 1.25, names=("two", "one worker")),
            Line("the floor's two threads", cpu, us, "floor-2", "floor", names=("two threads", "one")),
        ],
        "fanout",
    )
    yield Work(
        "connect",
        {
            "floor": ("floor", ["-n", "9000"]),
            "broker": ("broker", ["-n", "9000"]),
            "rs256": ("broker-rs256", ["-n", "2000"]),
            "es256": ("broker-es256", ["-n", "4000"]),
        },
        [
            Line("connect, token (HS256), subscribe", "cpu_us_per_connect", us, "broker", "floor", 60, False),
            Line("the same: connects", "connects_per_second", "per s", "broker", "floor"),
            Line("connect with RS256", "cpu_us_per_connect", us, "rs256"),
            Line("connect with ES256", "cpu_us_per_connect", us, "es256"),
        ],
    )
    yield Work(
        "reconnect",
        {name: (server, ["--rounds", "1"]) for name, (server, _) in both.items()},
        [
            Line("10,000 cut and back", "back_p50_s", "s", "broker", "floor", 1, False),
            Line("the same: listen overflows", "listen_overflows", "", "broker", "floor"),
        ],
    )
    beats = ["--seconds", "10", "--warm", "1"]
    yield Work(
        "heartbeats",
        {"floor": ("floor-beats", beats), "broker": ("broker", beats)},
        [
            against_floor(
                "15,000 idle, heart-beats of 10 s: a connection and second", 1.5, "cpu_us_per_connection_second"
            )
        ],
    )
    yield Work(
        "idle",
        {"broker": ("broker-idle", ["--rounds", "2"])},
        [
            Line("idle connection after churn, 15,000", "bytes_per_connection", "bytes", "broker", "", 3072),
            Line("the same: of that kept when they have gone", "bytes_per_connection_kept", "bytes", "broker"),
        ],
        rounds=1,
    )
    yield Work(
        "slow",
        {"broker": ("broker-slow", ["--rounds", str(SLOW_ROUNDS), "--seconds", "12"])},
        [
            Line("1 of 10 never reads: p99 of the others, against before", "p99_ratio", "x", "broker", "", 1.1),
            Line(
                f"the same: closed as slow, of 100 in {SLOW_ROUNDS} rounds",
                "deaf_closed", "", "broker", "", 100 * SLOW_ROUNDS, at_least=True,
            ),
            # The limit of an outbox is 1 MiB.
            Line("the same: memory for them at most", "rss_mib_for_deaf", "MiB", "broker", "", 100),
        ],
        rounds=1,
    )
    yield Work(
        "mixed",
        {"broker": ("broker", ["--seconds", "6"]), "tcp": ("broker-tcp", ["--seconds", "6"])},
        [
            Line("mixed sizes, versions, wildcards, churn: a delivery", cpu, us, "broker"),
            Line("the same: p99", "latency_p99_ms", ms, "broker"),
            Line("the same over TCP: a delivery", cpu, us, "tcp"),
            Line("the same: p99", "latency_p99_ms", ms, "tcp"),
        ],
        rounds=3,
    )


def doors():
    """Other ways in than WebSocket and TCP."""
    cpu, us = "cpu_s_per_million", "µs CPU"
    streams = ["--rate", "100", "--seconds", "4"]
    yield Work(
        "events",
        {"sockets": ("broker", streams), "streams": ("broker", [*streams, "--events"])},
        [
            Line(
                "1 room x 1,000 server-sent events, 100 SENDs/s: a delivery",
                cpu, us, "streams", "sockets", 1.25, names=("events", "WebSocket"),
            )
        ],
        "fanout",
    )
    yield Work(
        "events-idle",
        {"broker": ("broker-idle", ["--rounds", "2", "--events"])},
        [Line("idle stream of events after churn, 15,000", "bytes_per_connection", "bytes", "broker", "", 20_480)],
        "idle",
        rounds=1,
    )
    yield Work(
        "http-publish",
        {"broker": ("broker", ["--seconds", "4", "--send-to", "/topic/room.0"])},
        [
            Line(
                "publish by HTTP, 16 connections kept alive: requests a core",
                "requests_per_second_and_core", "per s", "broker", "", 10_000, at_least=True,
            ),
            Line("the same: a request", "cpu_us_per_request", us, "broker"),
        ],
    )
