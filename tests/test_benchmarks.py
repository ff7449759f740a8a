"""The benchmarks' own arithmetic: what is read from the generators, how rounds become ratios and a table."""

import os
from dataclasses import replace
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.harness import Options, options_from, paired_ratios, rates, readable, result, table
from benchmarks.load import parse_wrk, parse_wsbench
from benchmarks.neighbours import busy_seconds
from benchmarks.posts import commits_between
from benchmarks.processes import BenchmarkError, Contestant, Running, cpu_seconds, pinned, resident_bytes
from benchmarks.room import arguments_for

WRK = """Running 3s test @ http://127.0.0.1:9102/
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.86ms  137.78us   6.48ms   90.28%
    Req/Sec    58.35k     2.64k   60.42k    90.00%
  Latency Distribution
     50%  826.00us
     75%    0.90ms
     90%    1.00ms
     99%    1.24ms
  174044 requests in 3.00s, 21.91MB read
Requests/sec:  57989.79
Transfer/sec:      7.30MB
"""
WSBENCH = """{"clients": 500, "window": 4, "rate": 0, "seconds": 2.0, "frames": 4000, "frames_per_second": 2000.0, "messages_sent": 9,
 "frames_total": 4500, "frames_other": 0, "first_seq": 1, "p50_ms": 1.5, "p99_ms": 2.5, "max_ms": 9.0, "server_cpu_seconds": 1.00}"""


def peer(absent: str = "") -> Contestant:
    """A contestant that is never started."""
    return Contestant("peer", "1.2", lambda port, directory: [], absent=absent)


class WrkTests(SynchronousTestCase):
    """Reading what wrk prints."""

    def test_figures(self) -> None:
        """Rate, latencies in milliseconds whatever their unit, CPU time by request."""
        load = parse_wrk(WRK, 3.0)
        self.assertEqual((load.rate, round(load.p50, 6), load.p99), (57989.79, 0.826, 1.24))
        self.assertAlmostEqual(load.cpu, 3e6 / 174044)

    def test_bad_answers(self) -> None:
        """A run with answers other than 2xx, or with broken sockets, gives no figure."""
        for line in ("  Non-2xx or 3xx responses: 5\n", "  Socket errors: connect 0, read 3, write 0, timeout 0\n"):
            self.assertRaises(BenchmarkError, parse_wrk, WRK + line, 3.0)

    def test_foreign_output(self) -> None:
        """Output without the lines that wrk prints is refused; so is a run without any request."""
        self.assertRaises(BenchmarkError, parse_wrk, "unable to connect", 3.0)
        self.assertRaises(BenchmarkError, parse_wrk, WRK.replace("174044 requests", "0 requests"), 3.0)


class WsbenchTests(SynchronousTestCase):
    """Reading what wsbench prints."""

    def test_figures(self) -> None:
        """CPU time is told by frame, and as a share of the time."""
        load = parse_wsbench(WSBENCH)
        self.assertEqual((load.rate, load.messages, load.p50, load.p99, load.cpu, load.busy), (2000.0, 9, 1.5, 2.5, 250.0, 0.5))

    def test_nothing_delivered(self) -> None:
        """A run in which nothing arrived gives no figure."""
        self.assertRaises(BenchmarkError, parse_wsbench, WSBENCH.replace('"frames": 4000', '"frames": 0'))

    def test_foreign_output(self) -> None:
        """What is not the object that wsbench prints is refused."""
        for output in ("", "{}", "[1]", "closed"):
            self.assertRaises(BenchmarkError, parse_wsbench, output)


class ResultTests(SynchronousTestCase):
    """Rounds become ratios, ratios a verdict."""

    def test_ratios_pair_rounds(self) -> None:
        """Each round is compared with the same round of the peer; the median counts."""
        self.assertEqual(paired_ratios([2.0, 9.0], [1.0, 3.0]), (2.0, 3.0))
        self.assertEqual(result("P1", "x", [2.0, 9.0, 8.0], peer(), [1.0, 3.0, 1.0]).ratio, 3.0)

    def test_verdict_by_ratio(self) -> None:
        """A ratio is judged against the target, reached when equal."""
        for ratio, verdict in ((1.5, "reached"), (1.4, "missed")):
            self.assertEqual(result("P1", "x", [ratio], peer(), [1.0], target=1.5).verdict, verdict)

    def test_verdict_by_figure(self) -> None:
        """A figure that shall be small is reached below its target, whatever the peer does."""
        for figure, verdict in ((10.0, "reached"), (10.5, "missed")):
            self.assertEqual(result("P8", "x", [figure], peer(), [1.0], target=10.0, judged="figure", better="less").verdict, verdict)

    def test_absent_peer(self) -> None:
        """A peer that cannot run here says why, and nothing is judged against it."""
        line = result("P3", "x", [5.0], peer(absent="npm is not installed"), [], target=0.75)
        self.assertEqual((line.peer, line.ratio, line.verdict), ("peer: npm is not installed", None, ""))

    def test_by_cpu(self) -> None:
        """A peer that takes twice the CPU time for each counts as 2, whatever the rates were."""
        ours, theirs = parse_wrk(WRK, 1.0), parse_wrk(WRK, 2.0)
        line = rates("P1", "x", [ours], peer(), [theirs], 1.0)
        self.assertEqual((line.by_cpu, line.ratio), ((2.0,), 1.0))

    def test_table(self) -> None:
        """Every line has the same columns and shows ratio, spread and target."""
        lines = table([result("P1", "x", [3000.0, 4000.0], peer(), [2000.0, 2000.0], target=1.5), result("P5", "y", [1.0])]).splitlines()
        self.assertEqual(len({len(line) for line in lines}), 1)
        self.assertEqual(
            [cell.strip() for cell in lines[2].split("|")[1:-1]], ["P1", "x", "3.50k", "peer 1.2", "2.00k", "1.75", "1.50-2.00", "", "1.50 x", "reached", ""]
        )

    def test_readable(self) -> None:
        """Three digits, with k and M."""
        told = [readable(figure) for figure in (None, 0.0123, 1.714, 57.93, 640.0, 98_234.0, 935_000.0, 4_280_000.0)]
        self.assertEqual(told, ["", "0.01", "1.71", "57.9", "640", "98.2k", "935k", "4.28M"])


class OptionTests(SynchronousTestCase):
    """The command line."""

    def test_defaults(self) -> None:
        """Three rounds, so that there is a median."""
        self.assertEqual(options_from([], "http", ""), Options(3, 4.0, 0.0, None))

    def test_quick(self) -> None:
        """--quick shortens each measurement, not the number of rounds."""
        self.assertEqual(options_from(["--quick"], "http", ""), Options(3, 1.0, 0.0, None))


class ProcessTests(SynchronousTestCase):
    """What is asked of the machine."""

    def test_one_core(self) -> None:
        """On a machine with one core nothing is pinned, on others it is."""
        for cores, command in ((1, ["true"]), (2, ["taskset", "-c", "1", "true"])):
            self.patch(os, "cpu_count", lambda cores=cores: cores)
            self.assertEqual(pinned(1, ["true"]), command)

    def test_busy_seconds(self) -> None:
        """What was used or taken by the host counts, idle time and waiting for disks do not; nor does what the next lines say."""
        ticks = os.sysconf("SC_CLK_TCK")
        stat = f"cpu  {ticks} {ticks} {ticks} 999 999 {ticks} {ticks} {ticks} 999 999\ncpu0 {ticks} 5 5 5 5 5 5 5 5 5\n"
        self.assertEqual(busy_seconds(stat), 6.0)

    def test_own_usage(self) -> None:
        """CPU time and memory of a process are read from /proc."""
        pid = os.getpid()
        self.assertGreater(cpu_seconds(pid), 0)
        self.assertGreater(resident_bytes(pid), 1_000_000)


class BenchmarkTests(SynchronousTestCase):
    """Single rules of single benchmarks."""

    def test_commits(self) -> None:
        """Posts for each commit between two counts; None when the daemon tells none or has made none."""
        self.assertEqual(commits_between({"commits": 1, "rows": 10}, {"commits": 3, "rows": 50}), 20)
        self.assertIsNone(commits_between(None, None))
        self.assertIsNone(commits_between({"commits": 1, "rows": 1}, {"commits": 1, "rows": 1}))

    def test_room_is_checked(self) -> None:
        """Events are checked for order and text, what a peer without them delivers for being what was sent."""
        for name, check in (("netsvc", "--seq"), ("socketify with a log", "--seq"), ("peer", "--same")):
            server = Running(replace(peer(), name=name), 1, 1, Path(), 0.0, 0.0)
            self.assertIn(check, arguments_for(server))
