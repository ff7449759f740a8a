"""docs/conformance.md names tests that exist."""

import re
from pathlib import Path

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase as TestCase

TABLES = Path(__file__).parent.parent / "docs" / "conformance.md"
DEFAULT = "tests.rpc.test_jsonrpc_conformance.ConformanceTests"


class ConformanceTableTests(TestCase):
    """The tables."""

    def test_tests_exist(self) -> None:
        """Each row ends with at least one test, and each of these is there."""
        rows = [line for line in TABLES.read_text().splitlines() if line.startswith("| ") and not line.startswith(("| section", "| input", "| convention"))]
        self.assertGreater(len(rows), 40)
        for row in rows:
            names = re.findall(r"`((?:tests\.[\w.]+\.)?test_\w+)`", row.split("|")[-2])
            self.assertTrue(names, row)
            for name in names:
                self.assertTrue(callable(namedAny(name if "." in name else f"{DEFAULT}.{name}")), name)

    def test_conformance_tests_are_listed(self) -> None:
        """And no test of the specification is left out."""
        listed = set(re.findall(r"`(test_\w+)`", TABLES.read_text()))
        own = {name for name in vars(namedAny(DEFAULT)) if name.startswith("test_")}
        self.assertEqual(own - listed, set())
