"""The OpenRPC document."""

from typing import Annotated, Any

from msgspec import Meta
from twisted.trial.unittest import SynchronousTestCase as TestCase

from netsvc.core.procedures import Registry, procedure
from netsvc.rpc.openrpc import document


class Documented:
    """Procedures with more and with less to say."""

    @procedure("full", role="guest")
    def full(self, a: int, b: Annotated[int, Meta(ge=1, description="at least one")] = 1) -> int:
        """In short.

        At length.

        :param a: an integer.
        :returns: a sum.
        :raises NotFound: it is absent.
        :raises InvalidParams: it is odd.
        :raises ValueError: not for clients.

        >>> full(1, b=2)
        3
        """
        return a + b

    @procedure("bare")
    def bare(self) -> None:
        """Nothing."""


class DocumentTests(TestCase):
    """`document`."""

    def setUp(self) -> None:
        """A registry."""
        registry = Registry()
        registry.add(Documented())
        self.document = document(registry, "title", "1.0")
        self.methods: dict[str, Any] = {method["name"]: method for method in self.document["methods"]}

    def test_words(self) -> None:
        """Summary, description, params and result come from the docstring, bounds from the hints."""
        full = self.methods["full"]
        self.assertEqual((full["summary"], full["description"]), ("In short.", "At length."))
        a, b = full["params"]
        self.assertEqual(a, {"name": "a", "required": True, "schema": {"type": "integer"}, "description": "an integer."})
        self.assertEqual(b["schema"], {"type": "integer", "minimum": 1, "description": "at least one", "default": 1})
        self.assertEqual(full["result"], {"name": "result", "schema": {"type": "integer"}, "description": "a sum."})
        self.assertNotIn("description", self.methods["bare"])

    def test_errors(self) -> None:
        """Those of the docstring with its words, those that any call may meet by reference, each code once."""
        named, odd, *others = self.methods["full"]["errors"]
        self.assertEqual(named, {"code": -32003, "message": "not found", "data": {"detail": "it is absent."}})
        self.assertEqual(odd["code"], -32602)
        names = [other["$ref"].rpartition("/")[2] for other in others]
        self.assertEqual(names, ["RateLimited", "DeadlinePassed", "Overloaded"])
        references = [error["$ref"].rpartition("/")[2] for error in self.methods["bare"]["errors"]]
        self.assertEqual(references, ["NotAuthenticated", "Forbidden", "RateLimited", "DeadlinePassed", "Overloaded"])
        self.assertEqual(self.document["components"]["errors"]["Forbidden"], {"code": -32002, "message": "forbidden"})

    def test_examples(self) -> None:
        """An example's params have their names, however they were given."""
        (example,) = self.methods["full"]["examples"]
        self.assertEqual(example["params"], [{"name": "a", "value": 1}, {"name": "b", "value": 2}])
        self.assertEqual(example["result"], {"name": "result", "value": 3})
