#!/usr/bin/env python3
"""Builds the broker for production: trained by the load program (profile-guided optimisation), `make release`.

An instrumented broker is built and put through the kinds of work that brokers do; what it counted tells the compiler
which ways are taken often. The result is target/release/trained/stompede.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import servers
from scenarios import JSON_BODY

# Apart from the usual builds, which would be built anew each time.
TARGET = servers.ROOT / "target" / "trained"

# Seconds and rates are small: what counts is how often one way is taken beside another.
LESSONS = [
    ("users", ["--rate", "8000", "--seconds", "5"]),
    ("chat", ["-n", "5000", "--rooms", "500", "--rate", "2000", "--seconds", "4"]),
    ("chat", ["-n", "5000", "--rooms", "500", "--rate", "2000", "--seconds", "4", *JSON_BODY, "--send-to", "/app/chat/{room}/send"]),
    ("fanout", ["--rate", "300", "--seconds", "3"]),
    ("fanout", ["--seconds", "2"]),
    ("fanout", ["-n", "200", "--rate", "100", "--seconds", "3", "--events"]),
    ("mixed", ["--seconds", "4"]),
    ("http-publish", ["--seconds", "2", "--send-to", "/topic/room.0"]),
    ("connect", ["-n", "5000"]),
]


def main():
    servers.end_with_us()
    servers.may_open_many()
    profdata = llvm_profdata()
    # What is built with a profile is not built anew where only the profile has changed.
    for old in ("counts", "trained"):
        shutil.rmtree(TARGET / old, ignore_errors=True)
    host = next(line.split()[1] for line in output("rustc", "-vV").splitlines() if line.startswith("host:"))
    with tempfile.TemporaryDirectory(prefix="stompede-release-") as folder:
        folder = pathlib.Path(folder)
        paths = servers.build_tools(folder)
        paths["stompede"] = build(host, "counting", f"-Cprofile-generate={TARGET / 'counts'}")
        train(paths, folder)
    merged = TARGET / "stompede.profdata"
    subprocess.run([profdata, "merge", "-o", merged, *(TARGET / "counts").glob("*.profraw")], check=True)
    trained = build(host, "trained", f"-Cprofile-use={merged}")
    place = servers.ROOT / "target" / "release" / "trained"
    place.mkdir(parents=True, exist_ok=True)
    # The one before it may be running.
    fresh = shutil.copy(trained, place / "stompede.new")
    print(pathlib.Path(fresh).replace(place / "stompede"))


def llvm_profdata():
    """The tool that merges what was counted; it comes with the toolchain, as a component of its own."""
    sysroot = pathlib.Path(output("rustc", "--print", "sysroot"))
    for attempt in ("present", "installed"):
        found = next(sysroot.glob("lib/rustlib/*/bin/llvm-profdata"), None)
        if found:
            return found
        if attempt == "present" and shutil.which("rustup"):
            subprocess.run(["rustup", "component", "add", "llvm-tools"], cwd=servers.ROOT, check=False)
    raise SystemExit("there is no llvm-profdata: install the toolchain's component llvm-tools")


def build(host, kind, flag):
    # With --target, build scripts and macros are built without the flag.
    encoded = os.environ.get("CARGO_ENCODED_RUSTFLAGS")
    flags = encoded.split("\x1f") if encoded else os.environ.get("RUSTFLAGS", "").split()
    environment = os.environ | {"CARGO_ENCODED_RUSTFLAGS": "\x1f".join([*flags, flag])}
    command = ["cargo", "build", "--release", "--bin", "stompede", "--target", host, "--target-dir", str(TARGET / kind)]
    subprocess.run(command, cwd=servers.ROOT, env=environment, check=True)
    return TARGET / kind / host / "release" / "stompede"


def train(paths, folder):
    # Counts go where the build says.
    os.environ.pop("LLVM_PROFILE_FILE", None)
    broker = servers.broker(paths, folder, "counting", 1)
    try:
        for scenario, flags in LESSONS:
            figures = servers.load(paths, broker, scenario, flags)
            print(f"{scenario}: {figures}", file=sys.stderr, flush=True)
            if not figures.get("clean"):
                raise SystemExit(f"the broker was not trained by {scenario}: {figures}")
    finally:
        # It writes what it has counted when it ends.
        broker.stop()


def output(*command):
    return subprocess.run(command, cwd=servers.ROOT, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
