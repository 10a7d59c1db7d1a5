#!/usr/bin/env python3
"""Measures the broker against the floor: `make bench`, or `python3 benches/suite --help`.

Contestants take turns (A B A B ...), each turn a process of its own on the load's side; what is compared is compared
within one round. Ends with 1 when something was lost, doubled, out of order, refused or closed.
"""

import argparse
import copy
import pathlib
import resource
import sys
import tempfile
import time

import servers
from scenarios import JSON_BODY, works
from table import HEAD, machine, replace, row

README = servers.ROOT / "benches" / "README.md"


def main():
    options = arguments()
    # Children inherit it: fifteen thousand sockets a process.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="stompede-bench-") as folder:
        house = House(servers.build(pathlib.Path(folder)), pathlib.Path(folder))
        began = time.monotonic()
        try:
            rows, unclean, unmet = measure(house, options)
        finally:
            house.close()
    minutes = (time.monotonic() - began) / 60
    command = "make bench" if sys.argv[1:] in ([], ["--update"]) else "python3 benches/suite " + " ".join(sys.argv[1:])
    text = f"`{command}`, {options.pairs} rounds, {minutes:.1f} minutes; {machine()}.\n\n" + "\n".join([HEAD, *rows])
    print(f"\n{text}\n")
    for problem in unclean:
        print(f"NOT CLEAN: {problem}")
    print(f"{unmet} targets are not met." if unmet else "All targets are met.")
    if options.update:
        replace(README, "table", text)
    return 1 if unclean else 0


class House:
    """Servers, started when they are first needed."""

    def __init__(self, paths, folder):
        self.paths, self.folder, self.running = paths, folder, {}

    def server(self, name):
        if name not in self.running:
            self.running[name] = self.start(name)
        return self.running[name]

    def start(self, name):
        paths, folder = self.paths, self.folder
        match name:
            case "floor":
                return servers.floor(paths, folder)
            case "floor-2":
                return servers.floor(paths, folder, name, ["--threads", "2"])
            case "floor-beats":
                return servers.floor(paths, folder, name, ["--heart-beats"])
            case "broker":
                return servers.broker(paths, folder, name, 1)
            case "broker-2":
                return servers.broker(paths, folder, name, 2)
            # As it comes: a worker for each core.
            case "broker-idle":
                return servers.broker(paths, folder, name, 0)
            case "broker-tcp":
                server = copy.copy(self.server("broker"))
                server.url, server.process = server.tcp, None
                return server
            case "broker-rs256" | "broker-es256":
                kind = ["-algorithm", "RSA"] if "rs" in name else ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
                private, public = servers.key_pair(folder, name, kind)
                sign = ["--jwt-key", str(private)]
                return servers.broker(paths, folder, name, 1, f'public_key_file = "{public}"', sign)
        raise SystemExit(f"no server is called {name}")

    def load(self, server, scenario, flags):
        return servers.load(self.paths, self.server(server), scenario, flags)

    def close(self):
        for server in self.running.values():
            server.stop()


def calibrate(house):
    """SENDs a second that take half of what the floor can do."""
    most = [house.load("floor", "fanout", ["--seconds", "1.5"]) for _ in range(3)]
    fanout = max(figures["deliveries_per_second"] for figures in most) / 1_000 / 2
    # Of these the floor's cost does not depend on the rate; half a core is half its power.
    chat = house.load("floor", "chat", ["-n", "2000", "--rooms", "200", "--rate", "2000", "--seconds", "1", *JSON_BODY])
    users = house.load("floor", "users", ["--rate", "10000", "--seconds", "1"])
    return {
        "fanout": fanout,
        "chat": 0.5e6 / chat["cpu_s_per_million"] / 10,
        "users": 0.5e6 / users["cpu_s_per_million"],
    }


def measure(house, options):
    """Runs everything; gives the table's rows, what was not clean, and how many targets are missed."""
    rates = calibrate(house)
    rows, unclean, unmet = [], [], 0
    for work in works(rates):
        if options.only and work.name not in options.only:
            continue
        results = {name: [] for name in work.turns}
        for number in range(work.rounds or options.pairs):
            for name, (server, flags) in work.turns.items():
                figures = house.load(server, work.scenario or work.name, flags)
                results[name].append(figures)
                say(work, number, name, figures)
                if not figures.get("clean"):
                    unclean.append(f"{work.name}, {name}: {figures}")
        for line in work.lines:
            text, met = row(line, results)
            rows.append(text)
            unmet += met is False
            print(text, flush=True)
    return rows, unclean, unmet


def say(work, number, name, figures):
    shown = [f"{line.figure} {figures[line.figure]}" for line in work.lines if line.figure in figures]
    clean = "" if figures.get("clean") else f" NOT CLEAN {figures.get('notes', '')}"
    print(f"{work.name} {number + 1} {name}: {', '.join(dict.fromkeys(shown))}{clean}", file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(prog="benches/suite", description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="rounds of each comparison (default 5)")
    parser.add_argument("--only", type=lambda text: text.split(","), help="such as fanout,chat")
    parser.add_argument("--update", action="store_true", help="put the table into benches/README.md")
    return parser.parse_args()


sys.exit(main())
