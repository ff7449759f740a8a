"""What the benchmarks share: options, interleaved rounds, ratios, the table."""

import argparse
import datetime
import importlib
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Literal, Protocol, TypeVar

from benchmarks.neighbours import QUIET, Neighbours, wait_for_quiet
from benchmarks.processes import BenchmarkError, Contestant, Running, raise_file_limit, running

__all__ = ["Options", "Result", "interleave", "main", "paired_ratios", "rates", "readable", "result", "say", "table"]

T = TypeVar("T")
Better = Literal["more", "less"]


@dataclass(frozen=True)
class Options:
    """What the command line asks for.

    :param rounds: how often each contestant is started and measured, in turn.
    :param seconds: how long each single measurement counts.
    :param patience: seconds that a comparison may spend waiting while others use the machine, and measuring again if they did.
    :param directory: where state is kept while measuring; None uses the system's directory for temporary files.
    :ivar disturbed: the share of the machine that others used during each measurement that counts.
    """

    rounds: int
    seconds: float
    patience: float
    directory: Path | None
    disturbed: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """One line of the table.

    :param mark: the figure's name in docs/performance.md, such as "P1".
    :param what: what was measured, with its unit.
    :param ours: the median of netsvc's rounds; `theirs` that of the peer (None if there is none).
    :param ratios: ours / theirs of each round.
    :param target: the goal, as a ratio if `judged` is "ratio", else as a figure.
    :param note: further observations.
    :param by_cpu: the ratio of each round in work per CPU time: how many times our CPU time the peer takes for one unit of work. Other load on
        the machine affects it less than it affects rates.
    """

    mark: str
    what: str
    ours: float
    peer: str
    theirs: float | None
    ratios: tuple[float, ...]
    target: float | None
    judged: Literal["ratio", "figure"]
    better: Better
    note: str
    by_cpu: tuple[float, ...] = ()

    @property
    def ratio(self) -> float | None:
        """The median ratio."""
        return median(self.ratios) if self.ratios else None

    @property
    def verdict(self) -> str:
        """Whether the target is reached: "reached", "missed", or empty if there is none to judge."""
        figure = self.ratio if self.judged == "ratio" else self.ours
        if self.target is None or figure is None:
            return ""
        return "reached" if (figure >= self.target if self.better == "more" else figure <= self.target) else "missed"


class Load(Protocol):
    """What a load generator measured of one contestant in one round.

    :ivar rate: per second. :ivar p50: milliseconds, as is `p99`. :ivar cpu: the server's CPU time for each, microseconds.
    """

    @property
    def rate(self) -> float: ...

    @property
    def p50(self) -> float: ...

    @property
    def p99(self) -> float: ...

    @property
    def cpu(self) -> float: ...


def say(text: str) -> None:
    """Report progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def interleave(options: Options, contestants: Sequence[Contestant], measure: Callable[[Running], T]) -> dict[str, list[T]]:
    """Start and measure each contestant in turn, round after round, so that a slow minute affects all of them.

    :return: name -> what `measure` returned in each round; contestants that cannot run here are left out.
    """
    present = [one for one in contestants if not one.absent]
    for one in contestants:
        if one.absent:
            say(f"  {one.name} is left out: {one.absent}")
    until = time.monotonic() + options.patience
    seen: dict[str, list[T]] = {one.name: [] for one in present}
    for number in range(options.rounds):
        for one in present:
            say(f"  round {number + 1} of {options.rounds}: {one.name}")
            seen[one.name].append(undisturbed(options, one, measure, until))
    return seen


def undisturbed(options: Options, contestant: Contestant, measure: Callable[[Running], T], until: float) -> T:
    """Measure while others use little of the machine; after `until`, regardless of them."""
    while True:
        if options.patience:
            wait_for_quiet(until)
        neighbours = Neighbours()
        with running(contestant, options.directory) as server:
            seen = measure(server)
        share = neighbours.share()
        if not options.patience or share <= QUIET or time.monotonic() > until:
            options.disturbed.append(share)
            return seen
        say(f"    once more: others used {share:.0%} of the machine")


def paired_ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Ours / theirs, round by round."""
    return tuple(mine / other for mine, other in zip(ours, theirs, strict=True))


def result(
    mark: str,
    what: str,
    ours: Sequence[float],
    peer: Contestant | None = None,
    theirs: Sequence[float] | None = None,
    *,
    target: float | None = None,
    judged: Literal["ratio", "figure"] = "ratio",
    better: Better = "more",
    note: str = "",
) -> Result:
    """A line of the table from the figures of all rounds; a peer that was left out has none."""
    title = ""
    if peer is not None:
        title = f"{peer.name}: {peer.absent}" if peer.absent else peer.title
    ratios = paired_ratios(ours, theirs) if theirs else ()
    return Result(mark, what, median(ours), title, median(theirs) if theirs else None, ratios, target, judged, better, note)


def rates(mark: str, what: str, ours: Sequence[Load], peer: Contestant, theirs: Sequence[Load], target: float | None) -> Result:
    """A line of the table about rates, which should be `target` times those of the peer; with latency and CPU time beside them."""
    p50, p99, cpu = (median(getattr(load, name) for load in ours) for name in ("p50", "p99", "cpu"))
    note = f"p50 {p50:.2f} p99 {p99:.2f} ms, {cpu:.2f} us CPU each"
    line = result(mark, what, [load.rate for load in ours], peer, [load.rate for load in theirs], target=target, note=note)
    return replace(line, by_cpu=paired_ratios([load.cpu for load in theirs], [load.cpu for load in ours]) if theirs else ())


def readable(figure: float | None) -> str:
    """A figure with three significant digits: 1.71, 57.9, 98.2k, 4.28M."""
    if figure is None:
        return ""
    size, letter = (1e6, "M") if figure >= 1e6 else (1e3, "k") if figure >= 1e3 else (1, "")
    scaled = figure / size
    return f"{scaled:.{0 if scaled >= 100 else 1 if scaled >= 10 else 2}f}{letter}"


def table(results: Sequence[Result]) -> str:
    """The results as a Markdown table with aligned columns."""
    rows = [("", "what", "netsvc", "peer", "peer's", "ratio", "spread", "by CPU", "target", "", "seen beside")]
    for one in results:
        spread = f"{min(one.ratios):.2f}-{max(one.ratios):.2f}" if one.ratios else ""
        target = "" if one.target is None else ("" if one.better == "more" else "<= ") + readable(one.target) + (" x" if one.judged == "ratio" else "")
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        by_cpu = f"{median(one.by_cpu):.2f}" if one.by_cpu else ""
        rows.append((one.mark, one.what, readable(one.ours), one.peer, readable(one.theirs), ratio, spread, by_cpu, target, one.verdict, one.note))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def machine() -> str:
    """Where and when: the line above the table."""
    cores = os.cpu_count() or 1
    held = "server on core 0, load on core 1" if cores > 1 else "one core for server and load: ratios only"
    versions = f"Linux {platform.release()}, CPython {platform.python_version()}"
    return f"{datetime.date.today()}, {_processor()}, {cores} cores ({held}), {versions}"


def options_from(arguments: Sequence[str], command: str, summary: str) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{command}", description=summary)
    parser.add_argument("--rounds", type=int, default=3, help="how often each server is measured, in turn (default 3)")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each measurement counts (default 4)")
    parser.add_argument("--quick", action="store_true", help="one second each: a quick look, not a reliable figure")
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        help="seconds for each comparison to wait while others use the machine, and to measure again if they did",
    )
    parser.add_argument("--directory", type=Path, help="where to keep state while measuring: its filesystem decides what fsync costs")
    asked = parser.parse_args(arguments)
    return Options(max(1, asked.rounds), 1.0 if asked.quick else asked.seconds, asked.patience, asked.directory)


def main(command: str, summary: str, benchmarks: Sequence[Callable[[Options], list[Result]]]) -> int:
    """Run benchmarks and print their table; the exit status is 1 if one could not be measured."""
    options = options_from(sys.argv[1:], command, summary)
    raise_file_limit()
    results, faults = [], 0
    for benchmark in benchmarks:
        say(importlib.import_module(benchmark.__module__).__doc__.splitlines()[0])  # type: ignore[union-attr]
        try:
            results += benchmark(options)
        except BenchmarkError as fault:
            faults += 1
            say(f"  no figure: {fault}")
    disturbed = f"others used {max(options.disturbed, default=0):.0%} of the machine at most"
    print(f"{machine()}; medians of {options.rounds} interleaved rounds of {options.seconds:g} s; {disturbed}\n")
    print(table(results))
    return 1 if faults else 0
