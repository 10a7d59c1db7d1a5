"""What `make bench` runs for several instances: one alone, one on Redis, two on Redis."""

import dataclasses

from scenarios import CHAT, Work
from table import Line

NAMES = ("two on Redis", "one alone")
# SENDs a second to one room of 1,000: well below half of what two instances on two cores do.
FANOUT = ["--rate", "200", "--seconds", "4"]
ROOMS = ["--rate", "1000", "--seconds", "4", *CHAT]


def works():
    """CPU of the brokers alone: what Redis takes is its own line."""
    cpu, p50, p99 = "cpu_s_per_million", "latency_p50_ms", "latency_p99_ms"
    kept = ["--subscribe-to", "/topic/chat/{room}", "--send-to", "/topic/chat/{room}"]
    plain = ["--subscribe-to", "/topic/r/{room}", "--send-to", "/topic/r/{room}"]

    def turns(flags):
        return {name: (server, flags) for name, server in (("alone", "broker"), ("one", "shared"), ("two", "cluster"))}

    yield Work(
        "cluster",
        turns([*FANOUT, *plain]),
        [
            Line("1 room x 1,000 on two instances, 200 SENDs/s: a delivery", cpu, "µs CPU", "two", "alone", 1.3, names=NAMES),
            Line("the same on one with Redis", cpu, "µs CPU", "one", "alone", names=("one on Redis", "one alone")),
            Line("two instances: p50 from due to received", p50, "ms", "two", "alone", 3, False, NAMES),
            Line("the same: p99", p99, "ms", "two", "alone", 20, False, NAMES),
        ],
        "fanout",
    )
    yield Work(
        "cluster-kept",
        turns([*FANOUT, *kept]),
        [
            Line("the same room, 1,000 messages kept: a delivery", cpu, "µs CPU", "two", "alone", 1.3, names=NAMES),
            Line("the same: p50", p50, "ms", "two", "alone", 3, False, NAMES),
            Line("the same: p99", p99, "ms", "two", "alone", 20, False, NAMES),
        ],
        "fanout",
    )
    yield Work(
        "cluster-chat",
        turns([*ROOMS, *plain]),
        [
            Line("1,000 rooms x 10 on two instances, 1,000 SENDs/s: a delivery", cpu, "µs CPU", "two", "alone", 1.3, names=NAMES),
            Line("the same: p99", p99, "ms", "two", "alone", 20, False, NAMES),
        ],
        "chat",
    )


def of_two(one, other):
    """Both as one server for the load program, which adds up what they take."""
    flags = [*one.flags, "--also-pid", str(other.pid)]
    return dataclasses.replace(one, name="cluster", url=f"{one.url},{other.url}", flags=flags, process=None)
