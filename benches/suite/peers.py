"""Another server beside the broker and the floor, by the same scenarios."""

from dataclasses import dataclass

import servers
from scenarios import JSON_BODY, Work
from table import show, spread


@dataclass
class Figure:
    title: str
    figure: str
    unit: str


def server(options):
    """The peer of the command line, and how its destinations are called."""
    topic, queue = ["--send-to", options.peer_topic, "--subscribe-to", options.peer_topic], options.peer_queue
    special = {name: topic for name in ("fanout", "chat", "last", "connect", "idle")}
    special["users"] = ["--send-to", queue, "--subscribe-to", queue]
    # What it can take at once is its own affair; how many are being opened is ours.
    flags = ["--login", options.peer_login, "--passcode", options.peer_passcode, "--opening", "200", "--patience", "30"]
    return servers.Server("peer", options.peer_url, options.peer_pid, flags, special)


def calibrate(house):
    """SENDs a second at half the peer's power, by scenario."""
    fanout = house.load("peer", "fanout", ["--seconds", "3"])["deliveries_per_second"] / 1_000 / 2
    chat = house.load("peer", "chat", ["-n", "500", "--rooms", "50", "--rate", "100", *JSON_BODY])
    users = house.load("peer", "users", ["--rate", "1500"])
    return {
        "fanout": max(1.0, fanout),
        "chat": 0.5e6 / chat["cpu_s_per_million"] / 10,
        "users": 0.5e6 / users["cpu_s_per_million"],
    }


def works(rates):
    """Smaller than what is asked of the broker: a peer may take half a minute to accept ten thousand connections."""
    cpu, us = "cpu_s_per_million", "µs CPU"

    def turns(*flags, heavy=()):
        return {"floor": ("floor", [*flags]), "broker": ("broker", [*flags]), "peer": ("peer", [*flags, *heavy])}

    def at(name, *flags):
        return turns("--rate", f"{rates[name]:.1f}", *flags)

    yield Work(
        "fanout",
        turns(),
        [Figure("1 room x 1,000, at max: a delivery", cpu, us), Figure("the same: deliveries", "deliveries_per_second", "per s")],
    )
    yield Work(
        "half",
        at("fanout"),
        [
            Figure(f"1 room x 1,000, {rates['fanout']:.0f} SENDs/s: a delivery", cpu, us),
            Figure("the same: p99", "latency_p99_ms", "ms"),
        ],
        "fanout",
    )
    yield Work(
        "chat",
        at("chat", "-n", "2000", "--rooms", "200", *JSON_BODY),
        [
            Figure(f"200 rooms x 10, {rates['chat']:.0f} SENDs/s: a delivery", cpu, us),
            Figure("the same: p99", "latency_p99_ms", "ms"),
        ],
    )
    yield Work(
        "users",
        at("users"),
        [
            Figure(f"1,000 user queues, {rates['users']:.0f} SENDs/s: a delivery", cpu, us),
            Figure("the same: p99", "latency_p99_ms", "ms"),
        ],
    )
    yield Work("last", turns(), [Figure("SEND until the last of 10,000 has it, p50", "last_p50_ms", "ms")], rounds=2)
    yield Work(
        "connect",
        turns("-n", "2000"),
        [
            Figure("connect and subscribe", "cpu_us_per_connect", us),
            Figure("the same: connects", "connects_per_second", "per s"),
        ],
    )
    yield Work(
        "idle",
        {name: (where, ["-n", "4000", "--rounds", "2"]) for name, where in (("broker", "broker-idle"), ("peer", "peer"))},
        [Figure("idle connection after churn, 4,000", "bytes_per_connection", "bytes")],
        rounds=1,
    )


def row(figure, results):
    columns = {name: [run[figure.figure] for run in runs if figure.figure in run] for name, runs in results.items()}
    pairs = zip(columns.get("peer", []), columns.get("broker", []))
    ratios = sorted(a / b for a, b in pairs if b > 0)
    middle = show(ratios[len(ratios) // 2]) if ratios else "-"
    cells = [figure.title, figure.unit, *(spread(columns.get(name, [])) for name in ("floor", "broker", "peer")), middle]
    return "| " + " | ".join(cells) + " |"


def head(name):
    return f"| work | unit | floor | stompede | {name} | {name} / stompede |\n| --- | --- | --- | --- | --- | --- |"
