"""Tests for netsvc.client.methods."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from netsvc.client.methods import Methods


class MethodsTests(SynchronousTestCase):
    """Procedures as attributes."""

    def setUp(self) -> None:
        """Calls are kept."""
        self.methods: Methods[Any] = Methods(lambda method, params=None: (method, params), "")

    def test_calls(self) -> None:
        """Attributes make the name; params are by position, by name, or none."""
        self.assertEqual(self.methods.math.add(2, 3), ("math.add", [2, 3]))
        self.assertEqual(self.methods.a.b.c(x=1), ("a.b.c", {"x": 1}))
        self.assertEqual(self.methods.ping(), ("ping", None))
        self.assertEqual(repr(self.methods.math.add), "<procedure math.add>")

    def test_both_kinds_of_params(self) -> None:
        """JSON-RPC has either."""
        self.assertRaises(TypeError, self.methods.math.add, 2, b=3)

    def test_private_names(self) -> None:
        """What begins with an underscore is Python's business: copying and the like."""
        self.assertRaises(AttributeError, getattr, self.methods, "_x")
