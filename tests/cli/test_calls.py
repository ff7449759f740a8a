"""Tests for netsvc.cli.calls."""

import json
import sys
from typing import Any
from unittest.mock import patch

import click
from hypothesis import given
from hypothesis.strategies import booleans as boolean_values
from hypothesis.strategies import dictionaries, from_regex, lists, none, recursive, text
from hypothesis.strategies import integers as integer_values
from twisted.trial.unittest import SynchronousTestCase

from netsvc.cli import calls
from netsvc.cli.calls import params_of
from netsvc.client import errors
from netsvc.client.errors import BadAnswer, CallFailed, ConnectionLost, InternalError, InvalidParams, RateLimited, Untrusted
from tests.cli.fake_server import ServerCase


class Params(SynchronousTestCase):
    """From arguments to params."""

    def test_positional(self) -> None:
        """JSON is JSON, everything else a string."""
        for arguments, params in (
            ((), None),
            (("2", "-3.5"), [2, -3.5]),
            (("lobby", "Hello, world"), ["lobby", "Hello, world"]),
            (('"2"', "true", "null", '{"a":[1]}'), ["2", True, None, {"a": [1]}]),
            (("NaN", "", "{", "01", "\udcff"), ["NaN", "", "{", "01", "\udcff"]),
            (("lobby", '"a=b"'), ["lobby", "a=b"]),
            (
                ("1+1=2", "see a=b", "a =b", "-a=b", "\u00e4=b", '{"a":"=b"}', "http://a/?b=c"),
                ["1+1=2", "see a=b", "a =b", "-a=b", "\u00e4=b", {"a": "=b"}, "http://a/?b=c"],
            ),
            (("[" * 100_000,), ["[" * 100_000]),
        ):
            self.assertEqual(params_of(arguments), params)

    def test_named(self) -> None:
        """If every argument is name=value, the params are named."""
        self.assertEqual(params_of(("room=lobby", "text=a=b\nc", "limit=5", "reply_to=")), {"room": "lobby", "text": "a=b\nc", "limit": 5, "reply_to": ""})
        self.assertEqual(params_of(("text=2 + 2 = 4",)), {"text": "2 + 2 = 4"})

    def test_mixed(self) -> None:
        """Neither way if only some are name=value: nobody's text is sent with a name in it, or with a name less. It is said how to write it."""
        for arguments, unnamed, name in ((("lobby", "text=hello"), "lobby", "text"), (("a=1", "x y\x1b", "b=2"), "x y\\u001b", "a")):
            error = self.assertRaises(click.UsageError, params_of, arguments)
            self.assertIn(f'"{unnamed}" has no name, {name}= is one', error.message)
            self.assertTrue(error.message.endswith(f"""write it as JSON: '"{name}=..."'"""))

    @given(lists(recursive(none() | boolean_values() | integer_values(-(2**53), 2**53) | text(), lambda inner: lists(inner) | dictionaries(text(), inner))))
    def test_json(self, values: list[Any]) -> None:
        """Whatever is written as JSON arrives as it is."""
        self.assertEqual(params_of([json.dumps(value) for value in values]), values or None)

    @given(dictionaries(from_regex(r"\A[a-z_][a-z0-9_]{0,9}\Z"), text(), min_size=1))
    def test_names(self, values: dict[str, str]) -> None:
        """So do named ones."""
        self.assertEqual(params_of([f"{name}={json.dumps(value)}" for name, value in values.items()]), values)


class Calling(ServerCase):
    """netsvc call."""

    def test_result(self) -> None:
        """The result is printed as JSON, in one line where no terminal is; nothing in it can give orders to a terminal."""
        self.assertEqual(self.good("call", "math.add", "2", "-3"), "5\n")
        self.assertEqual(self.client.calls, [("math.add", [2, -3], {"key": None, "idempotent": False, "progress": None})])
        url, token, options = self.client.made[0]
        self.assertEqual((url, token, options["ca_file"]), ("http://127.0.0.1:8080", None, None))
        self.assertEqual((self.client.limits.deadline, self.client.closed), (30.0, 1))
        self.client.outcomes = [{"text": "a\x9b\u00e4", "list": [1, 2]}]
        self.assertEqual(self.good("call", "chat.rooms"), '{"text":"a\\u009b\u00e4","list":[1,2]}\n')
        self.client.outcomes = [None]
        self.assertEqual(self.good("call", "chat.rooms"), "null\n")

    def test_terminal(self) -> None:
        """On a terminal it is a table, unless JSON is asked for: then indented."""
        self.client.outcomes = [{"a": [1]}]
        with patch.object(sys.modules["netsvc.cli.calls"], "sys") as system:
            system.stdout.isatty.return_value = True
            self.assertEqual(self.good("call", "chat.rooms", "--json"), '{\n  "a": [\n    1\n  ]\n}\n')
            self.assertEqual(self.good("call", "chat.rooms").split(), ["a", "[1]"])
        self.assertEqual(self.good("call", "chat.rooms", "--table").split(), ["a", "[1]"])

    def test_parts(self) -> None:
        """Parts of the result are printed as they come, a line each; that is JSON, so it cannot be a table."""
        self.client.progress = [{"done": 1, "total": 2}, {"data": {"a": [1, 2]}}, {"data": "\x9b", "done": 2}]
        for form in ((), ("--json",)):
            self.assertEqual(self.good("call", "report.make", "--parts", *form), '{"a":[1,2]}\n"\\u009b"\n5\n')
        self.assertIn("--table", self.bad(2, "call", "report.make", "--parts", "--table"))
        self.client.progress = []
        self.assertEqual(self.good("call", "report.make", "--parts"), "5\n")

    def test_parts_that_nobody_reads(self) -> None:
        """A reader that has had enough ends the call, with status 0 and without a word; another error of writing is told once."""
        self.client.progress = [{"data": 1}, {"data": 2}]
        for error in (BrokenPipeError, UnicodeError):
            with patch.object(calls.click, "echo", side_effect=error) as echo:
                if error is BrokenPipeError:
                    self.assertEqual(self.good("call", "report.make", "--parts"), "")
                else:
                    self.assertRaises(error, self.run_netsvc, "call", "report.make", "--parts")
            self.assertEqual(echo.call_count, 3)
        self.assertEqual(self.client.closed, 2)

    def test_options(self) -> None:
        """Another server, other certificates, a deadline, a key; a call with a key is made again if there is no answer."""
        self.good("call", "m", "--url", "https://chat.example/", "--deadline", "2.5", "--key", "k", "--ca-file", "ca.pem")
        url, _, options = self.client.made[0]
        self.assertEqual((url, str(options["ca_file"]), self.client.limits.deadline), ("https://chat.example", "ca.pem", 2.5))
        self.assertEqual(self.client.calls[0][2], {"key": "k", "idempotent": True, "progress": None})
        self.good("call", "m", NETSVC_URL="ws://h", NETSVC_CA_FILE="x.pem")
        self.assertEqual((self.client.made[1][0], str(self.client.made[1][2]["ca_file"])), ("ws://h", "x.pem"))

    def test_tokens(self) -> None:
        """A token comes from a file, standard input, or the environment; trailing blanks are cut. There is no argument for it."""
        token = self.folder / "token"
        token.write_text("nst_x\n")
        self.good("call", "m", "--token-file", str(token))
        self.good("call", "m", NETSVC_TOKEN_FILE=str(token))
        self.good("call", "--token-file", "-", "m", input="nst_x")
        self.good("call", "m", NETSVC_TOKEN="nst_x")
        self.assertEqual({made[1] for made in self.client.made}, {"nst_x"})
        self.good("call", "m", "--token-file", str(token), NETSVC_TOKEN="nst_y")
        self.assertEqual(self.client.made[-1][1], "nst_x")
        self.assertNotIn("--token ", self.good("call", "--help"))

    def test_usage(self) -> None:
        """Bad URLs, deadlines, tokens and what the client does not take are status 2, before anything is sent."""
        for url in ("ftp://x", "127.0.0.1:8080", "http://", "http://x:99999", "http://x?y", "http://u@x", "http://[::1", "http://\u00e4"):
            self.assertIn("--url", self.bad(2, "call", "m", "--url", url))
        for deadline in ("0", "nan", "inf"):
            self.assertIn("--deadline", self.bad(2, "call", "m", "--deadline", deadline))
        self.bad(2, "call", "m", "--token-file", str(self.folder / "none"))
        for content in ("", " \n", "a b", "\xff"):
            self.assertIn("no token", self.bad(2, "call", "m", "--token-file", "-", input=content))
        self.assertIn("NETSVC_TOKEN", self.bad(2, "call", "m", NETSVC_TOKEN="a b"))
        self.assertIn("by position or by name", self.bad(2, "call", "m", "a", "b=1"))
        self.bad(2, "call")
        self.assertEqual(self.client.calls, [])
        self.client.outcomes = [ValueError("the params are not UTF-8")]
        self.assertIn("UTF-8", self.bad(2, "call", "m", "\udcff"))

    def test_client_refuses(self) -> None:
        """What the client itself does not take is wrong use, too."""

        def refuse(*args: Any, **options: Any) -> None:
            raise ValueError("no certificate in it")

        self.patch(sys.modules["netsvc.cli.servers"], "Client", refuse)
        self.assertIn("no certificate", self.bad(2, "call", "m"))

    def test_errors(self) -> None:
        """An error is one line on stderr; the exit status tells its kind."""
        for name, status in (
            ("Malformed", 2),
            ("InvalidRequest", 2),
            ("TooLarge", 2),
            ("NotAuthenticated", 3),
            ("Forbidden", 3),
            ("UnknownProcedure", 4),
            ("NotFound", 4),
            ("Conflict", 5),
            ("DeadlinePassed", 6),
            ("Overloaded", 6),
            ("ProviderGone", 6),
            ("InternalError", 1),
            ("CallFailed", 1),
        ):
            self.client.outcomes = [getattr(errors, name)("no")]
            self.assertEqual(self.bad(status, "call", "m"), "netsvc: no\n", name)
        self.client.outcomes = [InvalidParams("invalid params", {"detail": "a:\x1b missing"})]
        self.assertEqual(self.bad(2, "call", "m"), "netsvc: invalid params: a:\\u001b missing\n")
        self.client.outcomes = [RateLimited("rate limited", {"retry_after": 1.5})]
        self.assertEqual(self.bad(6, "call", "m"), "netsvc: rate limited; try again in 1.5 s\n")
        self.client.outcomes = [InternalError("internal error", {"request_id": "call-7"})]
        self.assertEqual(self.bad(1, "call", "m"), "netsvc: internal error; the server's log has it under call-7\n")
        self.client.outcomes = [CallFailed("new", code=-32050)]
        self.assertEqual(self.bad(1, "call", "m"), "netsvc: new\n")

    def test_unreachable(self) -> None:
        """No server, and one that is not to be trusted: status 7 and the reason; one that is no netsvc: 1."""
        self.client.outcomes = [ConnectionLost("Connection refused")]
        self.assertEqual(self.bad(7, "call", "m"), "netsvc: cannot reach http://127.0.0.1:8080: Connection refused\n")
        self.client.outcomes = [Untrusted("no")]
        self.bad(7, "call", "m")
        self.client.outcomes = [BadAnswer("HTTP status 404; is this a netsvc server?", 404)]
        self.assertEqual(self.bad(1, "call", "m"), "netsvc: HTTP status 404; is this a netsvc server?\n")

    def test_bugs(self) -> None:
        """An error that nobody thought of is not disguised."""
        self.client.outcomes = [ZeroDivisionError()]
        self.assertRaises(ZeroDivisionError, self.run_netsvc, "call", "m")

    def test_help(self) -> None:
        """The exit statuses are documented where one looks."""
        self.assertIn("  3  not authenticated", self.good("call", "--help"))


class Status(ServerCase):
    """netsvc status."""

    def test_table(self) -> None:
        """What server.status gives, one line for each value; JSON if asked for."""
        self.client.outcomes = [{"uptime": 1.5, "versions": {"netsvc": "0.1"}, "rooms": {"followed": [1, 2]}}]
        lines = self.good("status").splitlines()
        self.assertEqual([line.split() for line in lines], [["uptime", "1.5"], ["versions.netsvc", "0.1"], ["rooms.followed", "[1,2]"]])
        self.assertEqual(self.client.calls[0][0], "server.status")
        self.assertEqual(json.loads(self.good("status", "--json"))["uptime"], 1.5)

    def test_refused(self) -> None:
        """Errors are those of netsvc call."""
        self.client.outcomes = [errors.Forbidden("forbidden")]
        self.assertEqual(self.bad(3, "status"), "netsvc: forbidden\n")
