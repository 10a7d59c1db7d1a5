"""Figures of many runs to lines of a table."""

import datetime
import os
import pathlib
import platform
import re
import statistics
import subprocess
from dataclasses import dataclass

from servers import ROOT


@dataclass
class Line:
    """One line: a figure of one contestant, alone or as a multiple of another's in the same round."""

    title: str
    figure: str
    unit: str
    of: str
    against: str = ""
    limit: float | None = None
    # Else the limit is one of the figure itself.
    limit_of_ratio: bool = True
    # Who the two are, where they are not the broker and the floor.
    names: tuple = ("", "")
    # The limit is the least, not the most.
    at_least: bool = False


def show(value):
    """Three digits, as people write them."""
    if value == 0:
        return "0"
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values):
    """Median and range."""
    if not values:
        return "-"
    middle = show(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({show(min(values))} to {show(max(values))})"


def row(line, results, is_floor_slow=False):
    """One row of the table, and whether the target is met (None: there is none)."""
    values = [result[line.figure] for result in results.get(line.of, []) if line.figure in result]
    others = [result[line.figure] for result in results.get(line.against, []) if line.figure in result]
    ratios = [a / b for a, b in zip(values, others) if b]
    judged = ratios if line.against and line.limit_of_ratio else values
    met = None
    if line.limit is not None and judged:
        middle = statistics.median(judged)
        met = middle >= line.limit if line.at_least else middle <= line.limit
    verdict = {None: "", True: "met", False: "**not met**"}[met]
    if line.limit is not None and not judged:
        met, verdict = False, "**no figure**"
    if is_floor_slow and met is not None and line.against == "floor":
        verdict += ", the floor is slow"
    target = "" if line.limit is None else f"{'≥' if line.at_least else '≤'} {show(line.limit)}" + (" x" if judged is ratios else f" {line.unit}")
    of, against = (f"{name}: " if name else "" for name in line.names)
    cells = [line.title, line.unit, against + spread(others), of + spread(values), spread(ratios), target, verdict]
    return "| " + " | ".join(cells) + " |", met


HEAD = """| work | unit | floor | stompede | ratio | target | |
| --- | --- | --- | --- | --- | --- | --- |"""


# What the floor takes when the machine is quiet (two cores of a Xeon at 2.5 GHz): it counts only while it stays near.
FLOOR = {
    "fanout": ("cpu_s_per_million", 1.2),
    "most": ("cpu_s_per_million", 1.2),
    "half": ("cpu_s_per_million", 2.3),
    "chat": ("cpu_s_per_million", 6.9),
    "users": ("cpu_s_per_million", 10.0),
    "last": ("last_p50_ms", 64.0),
    "connect": ("cpu_us_per_connect", 30.0),
    "reconnect": ("back_p50_s", 0.4),
}


def is_slow(name, best):
    """Whether the floor's best round is so far from usual that a ratio to it says little."""
    return name in best and best[name] > 1.3 * FLOOR[name][1]


def floor_check(best):
    """Says whether the floor's best rounds are what they should be; `best` is the least figure of each work."""
    parts = []
    for name, (_, usual) in FLOOR.items():
        if name in best:
            far = " **too much**" if is_slow(name, best) else ""
            parts.append(f"{name} {show(best[name])} of {show(usual)}{far}")
    return f"The floor at its best, of what is usual on a quiet machine of this kind: {', '.join(parts)}." if parts else ""


def machine():
    """What the figures were measured on."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", info)
    memory = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    parts = [
        datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        f"{os.cpu_count()} cores of {model.group(1) if model else platform.machine()}",
        f"{int(memory.group(1)) >> 20 if memory else 0} GiB",
        f"Linux {platform.release()}",
        f"commit {commit or 'unknown'}",
        f"load average at the end {os.getloadavg()[0]:.1f}",
    ]
    return ", ".join(parts)


def replace(path, name, text):
    """Puts `text` between the marks of that name."""
    old = path.read_text()
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, _, rest = old.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{path} has no marks {begin} and {end}")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")
