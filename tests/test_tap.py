"""From the command line and the settings to the service."""

import os
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.usage import UsageError
from twisted.trial.unittest import TestCase

from netsvc.http.messages import Request, Response
from netsvc.ops.health import Health
from netsvc.ops.urls import HealthUrls
from netsvc.settings import SettingsError
from netsvc.tap import OWN_PROCEDURES, Composition, FunctionService, Options, guests_allowed, makeService, read_registry, read_settings, state_folder


class OptionsTests(TestCase):
    """``twistd netsvc``'s own arguments."""

    def test_config_and_overrides(self) -> None:
        """--set may be repeated, in order."""
        options = Options()
        options.parseOptions(["--config", "netsvc.ini", "--set", "a.b=c", "--set", "d.e=f=g"])
        self.assertEqual((options["config"], options["set"]), ("netsvc.ini", ["a.b=c", "d.e=f=g"]))

    def test_anything_else(self) -> None:
        """Is refused by words that say how it is done."""
        error = self.assertRaises(UsageError, Options().parseOptions, ["http.listen=tcp:80"])
        self.assertIn("--set", str(error))
        error = self.assertRaises(UsageError, Options().parseOptions, ["netsvc.ini"])
        self.assertIn("--config FILE", str(error))


class SettingsTests(TestCase):
    """What is decided from the settings."""

    def module(self, text: str) -> str:
        """A procedure module of the test's own."""
        folder = Path(self.mktemp())
        folder.mkdir()
        name = f"procedures_{len(sys.path)}_{id(self)}"
        (folder / f"{name}.py").write_text(text)
        self.patch(sys, "path", [str(folder), *sys.path])
        return name

    def faults(self, *overrides: str) -> str:
        """What is wrong, as the operator reads it."""
        error = self.assertRaises(SettingsError, read_settings, None, overrides)
        self.assertEqual(error.status, 78)
        return error.detail

    def test_modules(self) -> None:
        """The shipped example is found; each way in which a module can be wrong is said."""
        settings = read_settings(None, ["rpc.modules=netsvc.examples.arithmetic"])
        self.assertEqual([each.name for each in read_registry(settings)], ["math.add", "math.divide"])
        self.assertIn("cannot import no.such.module", self.faults("rpc.modules=no.such.module"))
        self.assertIn("PYTHONPATH", self.faults("rpc.modules=stock.py"))
        needing = self.module("import no_such_driver")
        self.assertTrue(self.faults(f"rpc.modules={needing}").endswith("No module named 'no_such_driver'"))
        self.assertIn("declares no procedure", self.faults("rpc.modules=json"))
        self.assertIn("ZeroDivisionError", self.faults(f"rpc.modules={self.module('1 / 0')}"))
        self.assertIn("SystemExit: 3", self.faults(f"rpc.modules={self.module('raise SystemExit(3)')}"))
        twice = self.module("from netsvc.examples.arithmetic import add")
        self.assertIn("declared twice", self.faults(f"rpc.modules=netsvc.examples.arithmetic\n{twice}"))
        reserved = self.module("from netsvc.core.procedures import procedure\n\n@procedure('rpc.mine')\ndef f() -> int:\n    return 1\n")
        self.assertIn("names that begin with rpc.", self.faults(f"rpc.modules={reserved}"))

    def test_every_fault_at_once(self) -> None:
        """Modules that cannot be used are told of together, and together with what is wrong elsewhere, in the order of the lines."""
        broken = self.module("from netsvc.core.procedures import procedure\n\n@procedure('a.b')\ndef f() -> type(open):\n    return 1\n")
        taken = self.module("from netsvc.core.procedures import procedure\n\n@procedure('chat.post')\ndef f() -> int:\n    return 1\n")
        path = Path(self.mktemp())
        path.write_text(f"[rpc]\nmodules =\n  no.such\n  {broken}\n  netsvc.examples.arithmetic\n  {taken}\n[chat]\ncreate = boss\n[http]\nlisten =\n")
        error = self.assertRaises(SettingsError, read_settings, path, ["http.lisen=1"])
        self.assertEqual(
            [(fault.place.line, fault.key) for fault in error.faults if fault.place is not None],
            [(3, "modules"), (4, "modules"), (6, "modules"), (8, "create"), (10, "listen"), (0, "lisen")],
        )
        self.assertIn("its signature cannot be a schema", error.detail)
        self.assertIn("chat.post is one of netsvc's own", error.detail)

    def test_listeners(self) -> None:
        """An address that two listeners would have, and a certificate that is not there, are faults before anything is opened."""
        self.assertIn("--set amp.listen: tcp:8080: the address is already taken by", self.faults("amp.listen=tcp:8080"))
        self.assertIn("cannot read path /nowhere: No such file or directory", self.faults("lines.listen=tls:/nowhere:1"))

    def test_own_procedures(self) -> None:
        """All that are always there, and no others, are netsvc's own."""
        composition = Composition(read_settings(None, [f"netsvc.state={self.mktemp()}"]), MemoryReactorClock())
        self.assertEqual({procedure.name for procedure in composition.registry}, OWN_PROCEDURES)

    def test_state_folder(self) -> None:
        """What is given, else $STATE_DIRECTORY (its first), else a folder here."""
        self.patch(os, "environ", {})
        self.assertEqual(state_folder(read_settings(None, [])), Path("netsvc-state"))
        os.environ["STATE_DIRECTORY"] = "/var/lib/netsvc:/var/lib/other"
        self.assertEqual(state_folder(read_settings(None, [])), Path("/var/lib/netsvc"))
        self.assertEqual(state_folder(read_settings(None, ["netsvc.state=/srv/netsvc"])), Path("/srv/netsvc"))

    def test_guests(self) -> None:
        """By default while every listener is loopback; or as given."""
        self.assertTrue(guests_allowed(read_settings(None, [])))
        self.assertFalse(guests_allowed(read_settings(None, ["http.listen=tcp:8080:interface=127.0.0.1\ntcp:8081"])))
        self.assertTrue(guests_allowed(read_settings(None, ["http.listen=tcp:8081", "chat.guests=yes"])))
        self.assertFalse(guests_allowed(read_settings(None, ["chat.guests=no"])))


class MakeServiceTests(TestCase):
    """makeService only builds."""

    def options(self, *arguments: str) -> Options:
        """Parsed options."""
        options = Options()
        options.parseOptions(list(arguments))
        options.parent = {"nodaemon": True, "logger": "leave it alone"}
        return options

    def test_it_builds(self) -> None:
        """A service, and nothing on the disk."""
        folder = Path(self.mktemp())
        self.patch(sys.modules["netsvc.tap"], "install_signals", lambda reactor: None)
        service = makeService(self.options("--set", f"netsvc.state={folder}"))
        self.assertIsInstance(service, Service)
        self.assertFalse(folder.exists())

    def test_pid_file(self) -> None:
        """One that twistd could not write is said in one line, where twistd would end with a traceback; one that it can, or none, is no matter."""
        self.patch(sys.modules["netsvc.tap"], "install_signals", lambda reactor: None)
        written: list[str] = []
        self.patch(sys.stderr, "write", written.append)
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for further in ({"pidfile": "pid", "rundir": str(folder)}, {"pidfile": ""}, {"pidfile": "/nowhere/pid", "chroot": "/"}):
            options = self.options("--set", f"netsvc.state={self.mktemp()}")
            options.parent.update(further)
            makeService(options)
        options.parent = {"nodaemon": True, "pidfile": "gone/pid", "rundir": str(folder)}
        self.assertEqual(self.assertRaises(SystemExit, makeService, options).code, 1)
        self.assertEqual([line.partition(":")[0] for line in written], ["netsvc"])
        self.assertIn(f"twistd cannot write its pid file {folder}/gone/pid: start it in a folder you can write to", written[0])

    def test_bad_settings(self) -> None:
        """Every fault on stderr, status 78."""
        written: list[str] = []
        self.patch(sys.stderr, "write", written.append)
        error = self.assertRaises(SystemExit, makeService, self.options("--set", "http.lisen=x", "--set", "nothing.at=all"))
        self.assertEqual(error.code, 78)
        self.assertEqual(len("".join(written).splitlines()), 2)

    def test_parts(self) -> None:
        """Each part has its name and its place: the store before all, the listeners behind all."""
        composition = Composition(read_settings(None, [f"netsvc.state={self.mktemp()}"]), reactor)
        services = composition.services()
        self.assertEqual([service.name for service in services], ["store", "threads", "logins", "rooms", "http"])
        self.assertIn("guests are welcome", composition.describe())
        counts = composition.counts()
        self.assertEqual((counts["connections"], counts["store"]["commits"]), ({"http": 0, "websocket": 0, "lines": 0, "amp": 0}, 0))

    def test_clock_set_back(self) -> None:
        """Nobody has to wait for the time at which the clock stood before."""
        now = [reactor.seconds()]
        self.patch(reactor, "seconds", lambda: now[0])
        budget = Composition(read_settings(None, [f"netsvc.state={self.mktemp()}"]), reactor).budgets.of(None, "192.0.2.1")
        budget.charge(1.0)
        now[0] -= 3600.0
        budget.charge(1.0)

    def test_whole_life(self) -> "Deferred[None]":
        """All parts start and stop on the real reactor; a round of retention runs."""
        overrides = [f"netsvc.state={self.mktemp()}", "http.listen=tcp:0:interface=127.0.0.1", "chat.guests=no"]
        composition = Composition(read_settings(None, overrides), reactor)
        services = composition.services()

        async def live() -> None:
            await services.startService()
            self.assertIn("guests are not allowed", composition.describe())
            await composition._prune()
            await services.stopService()
            await composition._prune()  # the store is closed by now: logged, not raised

        return Deferred.fromCoroutine(live())


class FunctionServiceTests(TestCase):
    """Two functions as a service."""

    def test_start_and_stop(self) -> None:
        """What they return is waited for by whoever starts it."""
        waiting: Deferred[Any] = Deferred()
        part = FunctionService(lambda: waiting, lambda: None)
        self.assertIs(part.startService(), waiting)
        self.assertTrue(part.running)
        self.assertIsNone(part.stopService())
        self.assertFalse(part.running)


class HealthUrlTests(TestCase):
    """/healthz and /readyz."""

    def test_both(self) -> None:
        """The status and the JSON of Health."""
        health = Health(Clock(), lambda: succeed(None))
        urls = HealthUrls(health)
        live = urls.live(Request("GET", b"/healthz", []))
        assert isinstance(live, Response)
        self.assertEqual((live.status, live.body), (200, b'{"status":"ok","uptime":0.0}'))
        starting = self.successResultOf(urls.ready(Request("GET", b"/readyz", [])))
        self.assertEqual(starting.status, 503)
        health.serving()
        self.assertEqual(self.successResultOf(urls.ready(Request("GET", b"/readyz", []))).status, 200)
