"""Processes that are measured: the broker, the floor, and what somebody else has started."""

import json
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECRET = "a secret of the benches, thirty-two bytes and more"

CONFIG = """
[limits]
address_connections_max = 0
user_connections_max = 0
connections_max = 0
[jwt]
"""


@dataclass
class Server:
    """A running server, and how the load program speaks to it."""

    name: str
    url: str
    pid: int
    # Flags for every scenario, and for single ones.
    flags: list = field(default_factory=list)
    special: dict = field(default_factory=dict)
    tcp: str = ""
    process: subprocess.Popen | None = None

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()


def build(folder, broker=None):
    """Builds floor, load program, and the broker unless there is one; gives their paths."""
    given = {"stompede": shutil.copy(broker, folder / "stompede")} if broker else {}
    paths = build_tools(folder)
    if broker and not pathlib.Path(broker).exists():
        shutil.copy(given["stompede"], broker)
    # The broker last and by itself, as it is shipped.
    built = {} if broker else cargo("build", "--release", "--bin", "stompede")
    return paths | given | copied(built, folder)


def build_tools(folder):
    """Builds floor and load program; gives their paths."""
    built = cargo("bench", "--no-run", "--bench", "floor", "--bench", "load")
    # With the benches' own dependencies the broker's libraries get other features, and cargo puts that broker in the place
    # of the one that is shipped. Nobody shall take it for that.
    pathlib.Path(built.pop("stompede", folder / "none")).unlink(missing_ok=True)
    return copied(built, folder)


def copied(built, folder):
    return {name: shutil.copy(path, folder / name) for name, path in built.items()}


def may_open_many():
    """Lets us and our children open as many files as the system allows: fifteen thousand sockets a process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def end_with_us():
    """Whatever ends us, what we have started ends too."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def cargo(*what):
    """Builds; gives the programs by their names."""
    command = ["cargo", *what, "--message-format=json-render-diagnostics"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    artifacts = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {a["target"]["name"]: a["executable"] for a in artifacts if a.get("executable")}


def start(name, command, ports, log):
    """Starts a process and waits for the file in which it says where it listens."""
    # One of that name may have been here before.
    ports.unlink(missing_ok=True)
    process = subprocess.Popen(command, stdout=log, stderr=log)
    deadline = time.monotonic() + 20
    while not (ports.exists() and ports.read_text().strip()):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise SystemExit(f"{name} does not start: {' '.join(command)}; see {log.name}")
        time.sleep(0.02)
    return process, json.loads(ports.read_text())


def floor(paths, folder, name="floor", flags=()):
    ports = folder / f"{name}.json"
    with open(folder / f"{name}.log", "w") as log:
        process, where = start(name, [paths["floor"], "--ports-file", str(ports), *flags], ports, log)
    url = f"ws://127.0.0.1:{where['http']}/ws"
    # It knows no users: whose queue it is has to be said.
    special = {"users": ["--subscribe-to", "/user/{user}/queue/m"]}
    return Server(name, url, process.pid, [], special, "", process)


def broker(paths, folder, name, workers, jwt=f'secret = "{SECRET}"', sign=("--jwt-secret", SECRET), data=""):
    ports, config = folder / f"{name}.json", folder / f"{name}.toml"
    config.write_text(f"http_port = 0\nstomp_port = 0\nworkers = {workers}\n[admin]\nport = 0\n{CONFIG}{jwt}\n{data}\n")
    command = [paths["stompede"], "serve", "--config", str(config), "--ports-file", str(ports), "--log-level", "warn"]
    with open(folder / f"{name}.log", "w") as log:
        process, where = start(name, command, ports, log)
    url, tcp = f"ws://{where['http']}/ws", f"tcp://{where['stomp']}"
    return Server(name, url, process.pid, list(sign), {}, tcp, process)


def redis(folder):
    """A Redis of our own that keeps nothing on disk; its URL is for brokers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    try:
        with open(folder / "redis.log", "w") as log:
            process = subprocess.Popen([*command, "--dir", str(folder)], stdout=log, stderr=log)
    except FileNotFoundError:
        raise SystemExit("the benches of several instances need redis-server: install it, or leave them out with --groups or --only") from None
    server = Server("redis", f"redis://127.0.0.1:{port}", process.pid, process=process)
    deadline = time.monotonic() + 20
    while subprocess.run(["redis-cli", "-u", server.url, "ping"], capture_output=True).returncode:
        if time.monotonic() > deadline:
            process.kill()
            raise SystemExit("redis-server does not start")
        time.sleep(0.02)
    return server


def redis_calls(server, command):
    """How often a Redis was given the command so far, by scripts too."""
    asked = ["redis-cli", "-u", server.url, "info", "commandstats"]
    text = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    lines = [line for line in text.splitlines() if line.startswith(f"cmdstat_{command}:")]
    return int(lines[0].split("calls=")[1].split(",")[0]) if lines else 0


def disk(folder):
    """No server: the disk on which brokers keep things, for the load program's own measure."""
    return Server("disk", "ws://127.0.0.1:1/", 0, ["--dir", str(folder)])


def key_pair(folder, name, arguments):
    """A private key and its public half, by openssl."""
    private, public = folder / f"{name}.key", folder / f"{name}.pem"
    try:
        quiet = {"check": True, "stderr": subprocess.DEVNULL}
        subprocess.run(["openssl", "genpkey", *arguments, "-out", str(private)], **quiet)
        subprocess.run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)], **quiet)
    except FileNotFoundError:
        raise SystemExit("the benches need openssl to make keys: install it, or leave `connect` out with --only") from None
    return private, public


def load(paths, server, scenario, flags, seconds_max=180):
    """Runs the load program once; gives its figures, with `clean` false when something was wrong."""
    command = [paths["load"], scenario, "--json", "--url", server.url, "--pid", str(server.pid)]
    command += [*server.flags, *flags, *server.special.get(scenario, [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds_max)
        return json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"clean": False, "notes": [f"not done within {seconds_max} s"]}
    except json.JSONDecodeError:
        return {"clean": False, "notes": [done.stderr.strip() or f"ended with {done.returncode}"]}
