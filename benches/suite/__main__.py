#!/usr/bin/env python3
"""Measures the broker against the floor: `make bench`, or `python3 benches/suite --help`.

Contestants take turns (A B A B ...), each turn a process of its own on the load's side; what is compared is compared
within one round. Ends with 1 when something was lost, doubled, out of order, refused or closed.
"""

import argparse
import copy
import pathlib
import sys
import tempfile
import time

import cluster
import kept
import peers
import scenarios
import servers
import table

README = servers.ROOT / "benches" / "README.md"

# Works by the names of groups.
GROUPS = {
    "floor": lambda house, only: scenarios.works(scenarios.rates(house, only)),
    "doors": lambda *_: scenarios.doors(),
    "kept": lambda *_: kept.works(),
    "cluster": lambda *_: cluster.works(),
}


def main():
    options = arguments()
    servers.end_with_us()
    servers.may_open_many()
    # What is kept is to stand on a disk, and the usual place for temporary files may be in memory.
    disk = servers.ROOT / "target"
    disk.mkdir(exist_ok=True)
    temporary = tempfile.TemporaryDirectory
    with temporary(prefix="stompede-bench-") as folder, temporary(prefix="bench-data-", dir=disk) as disk:
        folder = pathlib.Path(folder)
        house = House(servers.build(folder, options.broker), folder, pathlib.Path(disk))
        began = time.monotonic()
        try:
            rows, unclean, unmet = beside(house, options) if options.peer else against_targets(house, options)
        finally:
            house.close()
    minutes = (time.monotonic() - began) / 60
    target = "make bench-peers" if options.peer else "make bench"
    more = [f"--groups {','.join(options.groups)}"] if options.groups != ["floor"] and not options.only else []
    more += [f"--only {','.join(options.only)}"] if options.only else []
    more += [f"--broker {options.broker}"] if options.broker else []
    command = target + (f' ARGS="{" ".join(more)}"' if more else "")
    text = f"`{command}`, {options.pairs} rounds, {minutes:.1f} minutes; {table.machine()}.\n\n" + "\n".join(rows)
    print(f"\n{text}\n")
    for problem in unclean:
        print(f"NOT CLEAN: {problem}")
    if not options.peer:
        print(f"{unmet} targets are not met." if unmet else "All targets are met.")
    if options.update:
        table.replace(README, "peers" if options.peer else "table", text)
    return 1 if unclean else 0


class House:
    """Servers, started when they are first needed."""

    def __init__(self, paths, folder, disk):
        self.paths, self.folder, self.disk, self.running = paths, folder, disk, {}

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
            case "broker" | "broker-slow":
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
            case "broker-always" | "broker-interval":
                data = f'[data]\ndir = "{self.disk / name}"\nfsync = "{name.removeprefix("broker-")}"'
                return servers.broker(paths, folder, name, 1, data=data)
            case "redis":
                return servers.redis(folder)
            case "shared" | "shared-2":
                return servers.broker(paths, folder, name, 1, data=f'[redis]\nurl = "{self.server("redis").url}"')
            case "cluster":
                return cluster.of_two(self.server("shared"), self.server("shared-2"))
            case "mortal":
                return cluster.mortal(self.server("shared"), self.start("shared-2"))
            case "disk":
                return servers.disk(self.disk)
            case "broker-rs256" | "broker-es256":
                kind = ["-algorithm", "RSA"] if "rs" in name else ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
                private, public = servers.key_pair(folder, name, kind)
                sign = ["--jwt-key", str(private)]
                return servers.broker(paths, folder, name, 1, f'public_key_file = "{public}"', sign)
        raise SystemExit(f"no server is called {name}")

    def load(self, server, scenario, flags):
        if server != "mortal":
            return servers.load(self.paths, self.server(server), scenario, flags)
        contestant, redis = self.server(server), self.server("redis")
        before = servers.redis_calls(redis, "xrange")
        figures = servers.load(self.paths, contestant, scenario, flags)
        figures["history_reads"] = servers.redis_calls(redis, "xrange") - before
        # It was killed; the next round has another.
        self.running.pop(server).stop()
        return figures

    def close(self):
        for server in self.running.values():
            server.stop()


def against_targets(house, options):
    """Broker against floor; gives the table's rows, what was not clean, and how many targets are missed."""
    rows, unclean, unmet, best = [table.HEAD], [], 0, {}
    for work in chosen(options, house):
        results = take_turns(house, work, options, unclean)
        figure = table.FLOOR.get(work.name, [""])[0]
        figures = [run[figure] for run in results.get("floor", []) if figure in run]
        best.update({work.name: min(figures)} if figures else {})
        for line in work.lines:
            text, met = table.row(line, results, table.is_slow(work.name, best))
            rows.append(text)
            # Whatever becomes of the rest, this has been measured.
            print(text, file=sys.stderr, flush=True)
            unmet += met is False
    return [*rows, "", table.floor_check(best)], unclean, unmet


def chosen(options, house=None):
    """The works of the groups, or single ones of any group. Without a house they are not to be run: their rates are 0."""
    for name in GROUPS if options.only else options.groups:
        yield from wanted(GROUPS[name](house, options.only), options)


def wanted(works, options):
    """All of them, or those that are asked for by name."""
    return (work for work in works if not options.only or work.name in options.only)


def beside(house, options):
    """Another server, the broker and the floor; gives the table's rows and what was not clean."""
    house.running["peer"] = peers.server(options)
    rows, unclean = [peers.head(options.peer)], []
    for work in wanted(peers.works(peers.calibrate(house)), options):
        results = take_turns(house, work, options, unclean)
        rows += [peers.row(figure, results) for figure in work.lines]
    return rows, unclean, 0


def take_turns(house, work, options, unclean):
    """One contestant after the other, then again; gives the figures of each."""
    results = {name: [] for name in work.turns}
    for number in range(min(work.rounds or options.pairs, options.pairs)):
        for name, (server, flags, *scenario) in work.turns.items():
            # Until the server is done with the connections that were cut when the turn before ended.
            time.sleep(0.3)
            figures = house.load(server, *(scenario or [work.scenario or work.name]), flags)
            results[name].append(figures)
            shown = {figure: figures[figure] for figure in dict.fromkeys(work.figures()) if figure in figures}
            clean = "" if figures.get("clean") else f" NOT CLEAN {figures}"
            print(f"{work.name} {number + 1} {name}: {shown}{clean}", file=sys.stderr, flush=True)
            if not figures.get("clean"):
                unclean.append(f"{work.name}, {name}: {figures}")
    return results


def arguments():
    parser = argparse.ArgumentParser(prog="benches/suite", description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5, help="rounds of each comparison (default 5)")
    parser.add_argument(
        "--groups",
        type=lambda text: text.split(","),
        default=["floor"],
        help="of floor (default; a quarter of an hour), doors, kept, cluster (needs redis-server), such as kept,cluster",
    )
    parser.add_argument("--only", type=lambda text: text.split(","), help="such as fanout,chat")
    parser.add_argument("--broker", metavar="PATH", help="measure this one instead of building one, such as target/release/trained/stompede")
    parser.add_argument("--peer", metavar="NAME", help="another server that is running: compare with it")
    parser.add_argument("--peer-url", metavar="URL")
    parser.add_argument("--peer-pid", type=int, metavar="PID")
    parser.add_argument("--peer-topic", default="/topic/{room}", help="its form of a topic (default /topic/{room})")
    parser.add_argument("--peer-queue", default="/queue/{user}", help="its form of a user's queue (default /queue/{user})")
    parser.add_argument("--peer-login", default="guest")
    parser.add_argument("--peer-passcode", default="guest")
    parser.add_argument("--update", action="store_true", help="put the table into benches/README.md")
    options = parser.parse_args()
    for name in set(options.groups) - set(GROUPS):
        parser.error(f"no group is called {name}; there are {', '.join(GROUPS)}")
    for name in set(options.only or ()) - {work.name for work in chosen(options)}:
        parser.error(f"no work is called {name}")
    if options.update and not options.peer and (options.only or options.groups != ["floor"]):
        parser.error("the table in benches/README.md is that of all that is held against the floor")
    return options


sys.exit(main())
