"""What `make bench` runs for what is kept: in memory, and on disk with both settings of `data.fsync`."""

from scenarios import Work
from table import Line

# Contestant: server.
KEEPERS = {"memory": "broker", "always": "broker-always", "interval": "broker-interval"}
# The target: 64 clients publish, each with receipts, so many messages a second in all.
RATE = 20_000
NAMES = ("disk", "memory")


def works():
    """Receipts, replay and joins; the disk alone has its turn in each round of receipts."""
    yield Work("receipts", receipts(), receipt_lines())
    yield Work(
        "replay",
        {name: (server, []) for name, server in KEEPERS.items() if name != "interval"},
        [
            Line("SUBSCRIBE with 1,000 kept messages: RECEIPT, p50", "alone_receipt_p50_ms", "ms", "always", "memory", names=NAMES),
            Line("the same: all 1,000, p50", "alone_all_p50_ms", "ms", "always", "memory", names=NAMES),
            Line("the same: all 1,000, p99", "alone_all_p99_ms", "ms", "always", "memory", names=NAMES),
            Line("the same: a message", "cpu_us_per_message", "µs CPU", "always", "memory", names=NAMES),
            Line("100 at once: all 1,000, p50", "together_all_p50_ms", "ms", "always", "memory", names=NAMES),
            Line("the same: the last of them", "together_all_max_ms", "ms", "always", "memory", names=NAMES),
        ],
    )
    yield Work(
        "join",
        {name: (server, ["--role", "user"]) for name, server in KEEPERS.items() if name != "interval"},
        [
            Line("10,000 join a room at once, until the last RECEIPT: memory", "join_last_s", "s", "memory", "", 2),
            Line("the same, members kept on disk", "join_last_s", "s", "always", "memory", 2, False, NAMES),
            Line("the same: a join", "cpu_us_per_join", "µs CPU", "always", "memory", names=NAMES),
            Line("10,000 leave it at once, until the last RECEIPT: memory", "leave_last_s", "s", "memory", "", 2),
            Line("the same, disk", "leave_last_s", "s", "always", "memory", 2, False, NAMES),
        ],
    )


def receipts():
    """Each keeper as fast as receipts come, with one and with 16 SENDs of a client under way, and at the rate."""
    # After the warming up rooms are full: each message has the oldest of its room go.
    closed, timed = ["--seconds", "4", "--warm", "2"], ["--rate", str(RATE), "--seconds", "5", "--warm", "4"]
    turns = {f"{name} at rate": (server, timed) for name, server in KEEPERS.items()}
    turns["fsync"] = ("disk", ["--seconds", "3"], "fsync")
    turns |= {name: (server, closed) for name, server in KEEPERS.items()}
    turns |= {f"{name} x 16": (server, [*closed, "--in-flight", "16"]) for name, server in KEEPERS.items()}
    return turns


def receipt_lines():
    rate, p99, cpu = "receipts_per_second", "latency_p99_ms", "cpu_us_per_receipt"

    def line(title, figure, unit, kind, limit=None, at_least=False, fsync="always"):
        name = "disk" if fsync == "always" else fsync
        of, memory = f"{fsync}{kind}", f"memory{kind}"
        return Line(title, figure, unit, of, memory, limit, False, (name, "memory"), at_least)

    return [
        line("64 clients, 16 SENDs in flight each: receipts", rate, "per s", " x 16", RATE, True),
        line("the same: p99", p99, "ms", " x 16"),
        line("the same, fsync now and then", rate, "per s", " x 16", fsync="interval"),
        line("64 clients, 1 in flight each: receipts", rate, "per s", ""),
        line("the same: p99", p99, "ms", "", 20),
        line("the same, fsync now and then", rate, "per s", "", fsync="interval"),
        line(f"64 clients, {RATE:,} SENDs/s in all: receipts", rate, "per s", " at rate"),
        line("the same: p99 from due to RECEIPT", p99, "ms", " at rate", 20),
        line("the same: a message", cpu, "µs CPU", " at rate"),
        line("the same, fsync now and then: p99", p99, "ms", " at rate", fsync="interval"),
        line("the same: a message", cpu, "µs CPU", " at rate", fsync="interval"),
        Line("the disk alone, 4 KiB in place and fdatasync", "in_place_per_second", "per s", "fsync"),
        Line("the same: p99", "in_place_p99_ms", "ms", "fsync"),
        Line("the disk alone, 4 KiB at the end of a file and fdatasync", "growing_per_second", "per s", "fsync"),
        Line("the same: p99", "growing_p99_ms", "ms", "fsync"),
    ]
