"""What `make bench` runs for several instances: one alone, one on Redis, two on Redis."""

import dataclasses

from scenarios import CHAT, Work
from table import Line

NAMES = ("two on Redis", "one alone")
# SENDs a second to one room of 1,000, each of which takes an instance 5 ms: half a core, the load program has another.
FANOUT = ["--rate", "100", "--seconds", "4"]
ROOMS = ["--seconds", "4", *CHAT]


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
            Line("1 room x 1,000 on two instances, 100 SENDs/s: a delivery", cpu, "µs CPU", "two", "alone", 1.3, names=NAMES),
            Line("the same on one with Redis", cpu, "µs CPU", "one", "alone", names=("one on Redis", "one alone")),
            Line("two instances: p50 from due to received by each of 1,000", p50, "ms", "two", "alone", names=NAMES),
            Line("the same: p99", p99, "ms", "two", "alone", 20, False, NAMES),
        ],
        "fanout",
    )
    yield Work(
        "cluster-kept",
        turns([*FANOUT, *kept]),
        [
            Line("the same room, 1,000 messages kept: a delivery", cpu, "µs CPU", "two", "alone", 1.3, names=NAMES),
            Line("the same: p50", p50, "ms", "two", "alone", names=NAMES),
            Line("the same: p99", p99, "ms", "two", "alone", 20, False, NAMES),
        ],
        "fanout",
    )
    # At half of what one broker alone can do, and where nothing shares a wake-up.
    for name, rate in (("cluster-chat", "4000"), ("cluster-calm", "1000")):
        yield Work(
            name,
            turns(["--rate", rate, *ROOMS, *plain]),
            [
                Line(f"1,000 rooms x 10 on two instances, {int(rate):,} SENDs/s: a delivery", cpu, "µs CPU", "two", "alone", 1.3, names=NAMES),
                Line("the same on one with Redis", cpu, "µs CPU", "one", "alone", names=("one on Redis", "one alone")),
                Line("two instances: p50 from due to received", p50, "ms", "two", "alone", 3, False, NAMES),
                Line("the same: p99", p99, "ms", "two", "alone", 20, False, NAMES),
            ],
            "chat",
        )
    yield publishing()
    yield joining()
    yield losing()


def publishing():
    """What the store costs a publisher: with history and without, both through Redis."""
    closed = ["--seconds", "4", "--warm", "2", "--in-flight", "16"]
    plain = [*closed, "--send-to", "/topic/r/{room}"]
    rate, cpu, names = "receipts_per_second", "cpu_us_per_receipt", ("kept", "plain")
    return Work(
        "cluster-publish",
        {"plain": ("shared", plain), "kept": ("shared", closed), "alone": ("broker", closed)},
        [
            Line("64 clients, 16 SENDs in flight each, through Redis: receipts", rate, "per s", "kept", "plain", names=names),
            Line("the same: a message, the broker's part", cpu, "µs CPU", "kept", "plain", names=names),
            Line("the same: p99 from SEND to RECEIPT", "latency_p99_ms", "ms", "kept", "plain", names=names),
            Line("kept in Redis and kept in memory: receipts", rate, "per s", "kept", "alone", names=("Redis", "memory")),
        ],
        "receipts",
    )


def joining():
    """Presence and membership of one room, over Redis and in memory."""
    both = {name: (server, ["--role", "user"]) for name, server in (("memory", "broker"), ("redis", "shared"))}
    names = ("Redis", "memory")
    return Work(
        "cluster-join",
        both,
        [
            Line("10,000 join a room at once, until the last RECEIPT", "join_last_s", "s", "redis", "memory", 2, False, names),
            Line("the same: a join, the broker's part", "cpu_us_per_join", "µs CPU", "redis", "memory", names=names),
            Line("10,000 leave it at once, until the last RECEIPT", "leave_last_s", "s", "redis", "memory", 2, False, names),
        ],
        "join",
    )


def losing():
    """One of two instances is killed."""
    many, few = ["-n", "10000", "--rooms", "1000"], ["-n", "10000", "--rooms", "100"]
    names = ("100 rooms", "1,000 rooms")
    return Work(
        "cluster-loss",
        {"many": ("mortal", many), "few": ("mortal", few)},
        [
            Line("10,000 clients, one of two instances is killed: half of its clients have what they missed", "back_p50_s", "s", "few", "many", names=names),
            Line("the same: all of them", "back_max_s", "s", "few", "many", 5, False, names),
            Line("the same: histories read in Redis meanwhile", "history_reads", "", "few", "many", names=names),
            Line("the same: told that something is missing", "unrecovered", "", "few", "many", names=names),
        ],
        "loss",
    )


def of_two(one, other):
    """Both as one server for the load program, which adds up what they take."""
    flags = [*one.flags, "--also-pid", str(other.pid)]
    return dataclasses.replace(one, name="cluster", url=f"{one.url},{other.url}", flags=flags, process=None)


def mortal(one, other):
    """Both, the second of which the load program kills: it is good for one run."""
    both = of_two(one, other)
    both.flags += ["--lose", str(other.pid)]
    both.process = other.process
    return both
