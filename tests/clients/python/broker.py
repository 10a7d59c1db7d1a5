"""Starts and stops one broker for the tests. It ends with the process that started it, whatever happens to that."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = pathlib.Path(os.environ.get("STOMPEDE_BIN", ROOT / "target" / "debug" / "stompede")).resolve()
START_S = 10
END_S = 15


def environment():
    """The variables of this process without ours, which the broker would read as its configuration."""
    foreign = {name: value for name, value in os.environ.items() if not name.startswith("STOMPEDE_")}
    return {**foreign, "STOMPEDE_STOMP_TLS_PORT": "0"}


class Broker:
    """A broker on free ports; `args` are added to `stompede serve`, `config` is a TOML text."""

    def __init__(self, *args, config=""):
        self.folder = tempfile.TemporaryDirectory(prefix="stompede-")
        path = pathlib.Path(self.folder.name, "stompede.toml")
        path.write_text(config)
        self.args = ["--config", path, *args]
        self.child = None
        self.ports = {}

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        try:
            self.end()
        finally:
            self.folder.cleanup()

    def address(self, listener):
        """Host and port of `stomp`, `stomp_tls` or `http`."""
        host, port = self.ports[listener].rsplit(":", 1)
        return host, int(port)

    def start(self):
        """Starts, on the ports it had before if it was running."""
        if not BINARY.exists():
            raise FileNotFoundError(f"no broker at {BINARY}: build it, or set STOMPEDE_BIN")
        http, stomp = (self.address(name)[1] if self.ports else 0 for name in ("http", "stomp"))
        file = pathlib.Path(self.folder.name, "ports.json")
        file.unlink(missing_ok=True)
        log = pathlib.Path(self.folder.name, "log")
        # setpriv execs the broker, which is killed when this process dies, even by SIGKILL.
        command = ["setpriv", "--pdeathsig", "KILL", "--", BINARY, "serve", "--listen", "127.0.0.1"]
        command += ["--http-port", str(http), "--stomp-port", str(stomp), "--admin-port", "0", "--ports-file", file, *self.args]
        with log.open("wb") as output:
            self.child = subprocess.Popen(command, cwd=self.folder.name, env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.ports = json.loads(file.read_text())
                return
            except (FileNotFoundError, ValueError):
                pass  # Not written, or not to its end.
            if self.child.poll() is not None:
                raise RuntimeError(f"the broker ended with {self.child.returncode}:\n{log.read_text()}")
            if time.monotonic() > deadline:
                self.child.kill()
                raise TimeoutError(f"the broker announced no ports in {START_S} s:\n{log.read_text()}")
            time.sleep(0.02)

    def end(self, how=signal.SIGTERM):
        """Sends a signal and waits for the end; the exit code, negative for the signal that killed it."""
        if self.child.poll() is None:
            self.child.send_signal(how)
        try:
            return self.child.wait(END_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise
