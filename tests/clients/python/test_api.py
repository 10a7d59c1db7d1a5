"""The HTTP API before schemathesis, which knows nothing of it but its description."""

import hashlib
import os
import pathlib
import subprocess
import sys

import pytest

from broker import Broker

KEY = "stk_" + "7" * 64
CONFIG = f"""
[[api.key]]
name = "tester"
hash = "sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"
scopes = ["publish", "presence", "rooms", "queues", "admin"]

[limits]
hold_ms_max = 100
"""
BUDGET_S = 45
# One thread: CPython up to 3.11 counts the depth of ast.parse, which hypothesis calls, for all threads together, and
# raises a SystemError where two are in it at once.
WORKERS = 1
# A head that is too large is refused before anybody looks what is wrong in it.
SETTINGS = """
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "422", "429", "431", "5xx"]
"""
# A request may be refused for what no schema says: a destination that does not exist, a queue that is full.
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "ignored_auth",
]


@pytest.fixture(scope="module")
def url():
    with Broker(config=CONFIG) as broker:
        host, port = broker.address("http")
        yield f"http://{host}:{port}"


def test_schemathesis_finds_no_fault(url, tmp_path):
    command = [pathlib.Path(sys.executable).with_name("schemathesis"), "run", f"{url}/api/openapi.json"]
    command += ["--header", f"Authorization: Bearer {KEY}", "--checks", ",".join(CHECKS)]
    command += ["--phases", "examples,coverage,fuzzing", "--max-examples", "30", "--max-time", str(BUDGET_S)]
    command += ["--seed", "1", "--workers", str(WORKERS), "--no-color", "--warnings", "off"]
    pathlib.Path(tmp_path, "schemathesis.toml").write_text(SETTINGS)
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=4 * BUDGET_S, env={**os.environ, "NO_COLOR": "1"}
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
    assert "Tested: 20" in run.stdout, run.stdout
