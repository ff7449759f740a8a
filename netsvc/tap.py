"""``twistd netsvc``: from the settings to one service. The only place where all parts meet."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, cast

import msgspec
from msgspec import Meta
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads
from twisted.internet.task import LoopingCall
from twisted.python.usage import Options as TwistedOptions
from twisted.python.usage import UsageError

from netsvc import __version__
from netsvc.chat.events_url import EventsUrl
from netsvc.chat.formats import NotificationFormat, TextFormat
from netsvc.chat.moderation import RoomProcedures
from netsvc.chat.procedures import ChatProcedures
from netsvc.chat.room_url import RoomUrl
from netsvc.chat.search import SearchProcedures
from netsvc.chat.settings import ChatSettings
from netsvc.core.admission import Admission
from netsvc.core.arrivals import Arrivals
from netsvc.core.idempotency import Answers
from netsvc.core.limits import Budgets
from netsvc.core.logins import Logins
from netsvc.core.moderation import Moderation
from netsvc.core.passwords import PasswordHashes, Passwords
from netsvc.core.procedures import Call, Registry, declared, declared_names
from netsvc.core.rooms import Rooms
from netsvc.core.search import Searches
from netsvc.core.settings import AuthSettings, LimitsSettings, RoomsSettings
from netsvc.core.threads import BoundedThreads
from netsvc.errors import StartError
from netsvc.http.auth import Authenticator, SignIn
from netsvc.http.open_websockets import OpenWebSockets
from netsvc.http.routing import Routes
from netsvc.http.server import HttpFactory
from netsvc.http.settings import HttpSettings
from netsvc.http.static import PackageFiles
from netsvc.net.endpoints import endpoint_faults
from netsvc.net.listeners import Listeners, is_loopback
from netsvc.net.outbound import Outbound
from netsvc.ops.composition import OrderedServices
from netsvc.ops.daemon import Daemon
from netsvc.ops.health import Health
from netsvc.ops.logs import LogFormat, LogLevelName, observer_for
from netsvc.ops.notify import Notifier, Watchdog, watchdog_interval
from netsvc.ops.signals import install as install_signals
from netsvc.ops.urls import HealthUrls
from netsvc.rpc.amp import AmpConnection, notify_box
from netsvc.rpc.connection import Framing, RpcService
from netsvc.rpc.dispatch import Dispatcher
from netsvc.rpc.endpoint import RpcEndpoint
from netsvc.rpc.lines import LineConnection
from netsvc.rpc.procedures import AuthProcedures, ConventionProcedures, ServerProcedures, SystemProcedures
from netsvc.rpc.provider_procedures import CancelProcedure, ProvideProcedures
from netsvc.rpc.providers import Providers
from netsvc.rpc.settings import RpcSettings
from netsvc.rpc.stream_settings import AmpSettings, LinesSettings
from netsvc.rpc.streams import StreamFactory
from netsvc.rpc.xmlrpc import XmlRpcEndpoint
from netsvc.settings import Duration, Fault, Help, Settings, SettingsError, load
from netsvc.store.settings import StoreSettings
from netsvc.store.sqlite import SqliteStore
from netsvc.wire.amp import BoxReader
from netsvc.wire.lines import LineReader, line_frame
from netsvc.wire.websocket import text_frame

__all__ = ["SECTIONS", "Composition", "NetsvcSettings", "Options", "makeService", "read_settings"]

TITLE = "netsvc"

PAGE_HEADERS = (
    (
        b"Content-Security-Policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
)
"""What the chat page may do: talk to this server, and nothing else."""


class NetsvcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """[netsvc]: the daemon as a whole."""

    state: Annotated[Path, Help("Folder of the database; $STATE_DIRECTORY, which systemd sets, takes the place of the default")] = Path("netsvc-state")
    log_format: Annotated[LogFormat, Help("text for people, or json, one object per line")] = "text"
    log_level: Annotated[LogLevelName, Help("Lowest level that is logged")] = "info"
    stop_timeout: Annotated[Duration, Meta(gt=0), Help("How long requests and WebSockets may take to finish when the daemon stops")] = 10.0


SECTIONS: dict[str, type[msgspec.Struct]] = {
    "netsvc": NetsvcSettings,
    "http": HttpSettings,
    "chat": ChatSettings,
    "rpc": RpcSettings,
    "lines": LinesSettings,
    "amp": AmpSettings,
    "auth": AuthSettings,
    "limits": LimitsSettings,
    "rooms": RoomsSettings,
    "store": StoreSettings,
}
"""Every section of the INI file, in the order in which it is documented."""

LISTENING = ("http", "lines", "amp")
"""The sections that say where to listen, in the order in which that is done."""

_OWN = (
    AuthProcedures,
    CancelProcedure,
    ChatProcedures,
    ConventionProcedures,
    ProvideProcedures,
    RoomProcedures,
    SearchProcedures,
    ServerProcedures,
    SystemProcedures,
)

OWN_PROCEDURES = frozenset[str]().union(*map(declared_names, _OWN))
"""The procedures that are always there; no module of the operator's can replace one."""


class Options(TwistedOptions):
    """The command line of ``twistd netsvc``."""

    synopsis = "[--config FILE] [--set section.key=value ...]"
    longdesc = "Rooms where people and programs talk, procedures that programs call and provide, over HTTP and WebSocket."
    optParameters = [["config", "c", None, "INI file; FILE.d/*.ini are read after it"]]  # noqa: N815, RUF012 - Twisted names it, and wants a list

    def __init__(self) -> None:
        TwistedOptions.__init__(self)
        self["set"] = []

    def opt_set(self, assignment: str) -> None:
        """Override one key, after the files: section.key=value; may be repeated."""
        self["set"].append(assignment)

    def parseArgs(self, *arguments: str) -> None:  # noqa: N802 - Twisted's name
        """Nothing else is understood."""
        if arguments:
            raise UsageError(f"unexpected {arguments[0]!r}; a file is given as --config FILE, a setting as --set section.key=value")


def read_settings(config: str | Path | None, overrides: Sequence[str], doubts: list[Fault] | None = None) -> Settings:
    """The settings, checked as they are when the daemon starts; `netsvc check` runs this as well.

    :param doubts: collects what only the daemon, which runs as its own user, can know; None if this is the daemon.
    :raises SettingsError: every fault that was found; its status is 78.
    """
    return load(SECTIONS, Path(config) if config is not None else None, overrides, partial(_check, doubts))


def _check(doubts: list[Fault] | None, settings: Settings) -> None:
    """Check what the type of a key cannot express. SettingsError: every fault of this kind."""
    faults = endpoint_faults(settings, LISTENING, doubts)
    if not settings.section(HttpSettings).listen:
        faults += settings.fault("http", "listen", "empty; write where to listen, like tcp:8080:interface=127.0.0.1").faults
    try:
        read_registry(settings)
    except SettingsError as error:
        faults += error.faults
    if faults:
        raise SettingsError(faults)


def read_registry(settings: Settings) -> Registry:
    """A registry with the procedures of ``[rpc] modules``.

    :raises SettingsError: modules cannot be imported, or declare what is not a procedure or has the name of one of netsvc's own.
    """
    registry = Registry()
    faults: list[Fault] = []
    for name in settings.section(RpcSettings).modules:
        problem = _add_module(registry, name)
        if problem:
            faults += settings.fault("rpc", "modules", problem, name).faults
    if faults:
        raise SettingsError(faults)
    return registry


_WHERE_MODULES_ARE = "write its name without .py, and install it beside netsvc or in a folder that PYTHONPATH names"


def _add_module(registry: Registry, name: str) -> str:
    """Import a module and take its procedures; returns what is wrong with it, empty if nothing is."""
    try:
        module = import_module(name)
        names = {declaration.name for declaration, _ in declared(module)}
        reserved = sorted(each for each in names if each.startswith("rpc."))
        if reserved:
            return f"{name}: procedure {reserved[0]}: JSON-RPC reserves names that begin with rpc.; choose another name"
        own = sorted(names & OWN_PROCEDURES)
        if own:
            return f"{name}: procedure {own[0]} is one of netsvc's own; choose another name"
        return "" if registry.add(module) else f"{name} declares no procedure"
    except StartError as error:
        return f"{name}: {error.detail}"
    except ModuleNotFoundError as error:
        # It may also be one that the module itself imports.
        where = "" if error.name is None or error.name.partition(".")[0] != name.partition(".")[0] else f"; {_WHERE_MODULES_ARE}"
        return f"cannot import {name}: {type(error).__name__}: {error}{where}"
    except (Exception, SystemExit) as error:  # whatever a module does while it is imported
        return f"cannot import {name}: {type(error).__name__}: {error}"


def state_folder(settings: Settings) -> Path:
    """Where the state is: ``[netsvc] state`` if given, otherwise ``$STATE_DIRECTORY``, otherwise ``./netsvc-state``."""
    given = settings.origin("netsvc", "state") != "default"
    directory = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if directory and not given:
        return Path(directory)
    return settings.section(NetsvcSettings).state


def guests_allowed(settings: Settings) -> bool:
    """``[chat] guests`` if given; otherwise only if every listener is on loopback."""
    guests = settings.section(ChatSettings).guests
    section = settings.section
    endpoints = (*section(HttpSettings).listen, *section(LinesSettings).listen, *section(AmpSettings).listen)
    return guests if guests is not None else all(map(is_loopback, endpoints))


class FunctionService(Service):
    """A service made of two functions."""

    def __init__(self, start: Callable[[], object], stop: Callable[[], object]) -> None:
        self._start = start
        self._stop = stop

    def startService(self) -> Any:  # noqa: N802 - Twisted's name
        """Start it; what the function returns may be a Deferred."""
        Service.startService(self)
        return self._start()

    def stopService(self) -> Any:  # noqa: N802 - Twisted's name
        """Stop it; what the function returns may be a Deferred."""
        Service.stopService(self)
        return self._stop()


class Composition:
    """Every object of the daemon, made from the settings and given to those that need it. Making it opens nothing.

    :param settings: what `read_settings` returned.
    :param reactor: the reactor.
    """

    def __init__(self, settings: Settings, reactor: Any) -> None:
        section = settings.section
        self.settings = settings
        self.reactor = reactor
        self.limits = section(LimitsSettings)
        self.store = SqliteStore(reactor, state_folder(settings), section(StoreSettings))
        self.guests = guests_allowed(settings)
        auth, rpc = section(AuthSettings), section(RpcSettings)
        self.password_threads = BoundedThreads(reactor, "passwords", auth.hash_threads, auth.hash_queue)
        passwords = Passwords(PasswordHashes(auth), self.password_threads)
        self.logins = Logins(self.store.accounts, passwords, reactor, auth, self.guests)
        self.arrivals = Arrivals(self.limits, reactor)
        # Setting the clock back must not keep anybody out for as long as that.
        self.budgets = Budgets(self.limits, monotonic, self.arrivals)
        self.authenticate = Authenticator(self.logins, self.budgets)
        self.rooms = Rooms(self.store, reactor, section(RoomsSettings), self.limits, section(ChatSettings).create)
        self.logins.changed = self.rooms.permissions.forget
        self.pruning = LoopingCall(self._prune)
        self.pruning.clock = reactor
        self.blocking_threads = BoundedThreads(reactor, "blocking procedures", rpc.threads, rpc.blocking_queue)
        self.health = Health(reactor, self.store.probe)
        self.websockets = OpenWebSockets(self.arrivals.return_times)
        http = section(HttpSettings)
        deflate = http.permessage_deflate()
        self.framings: tuple[Framing, ...] = (text_frame, *(deflate.framings if deflate is not None else ()))
        """How messages to WebSockets are framed: those that share one are sent the same bytes."""
        # A long poll must be answered before the server gives up on it.
        longest_wait = http.answer_timeout * 0.8
        self.events = EventsUrl(self.rooms, self.logins, self.budgets, reactor, section(ChatSettings).heartbeat, longest_wait)
        self.registry = self._procedures()
        self.providers, self.rpc = self._calls()
        self.admission = Admission(self.limits.connections, self.limits.connections_per_address)
        self.http = HttpFactory(
            self._routes(),
            http,
            reactor,
            self.authenticate,
            self.websockets,
            admission=self.admission,
            deflate=deflate,
        )
        self.outbound = Outbound(reactor, self.limits.outbound)
        self.rooms.delivery.uncork = self.outbound.uncork
        self.listeners = Listeners(reactor, http.listen, self.http, self.outbound)
        self.streams = self._streams()
        listened = {name: factory for name, factory in self.streams.items() if factory.settings.listen}
        self.stream_listeners = {name: Listeners(reactor, each.settings.listen, each, self.outbound, name) for name, each in listened.items()}

    def _calls(self) -> tuple[Providers, RpcService]:
        reactor, rpc = self.reactor, self.settings.section(RpcSettings)
        answers = Answers(self.store, reactor, self.settings.section(RoomsSettings).keys, rpc.deadline_max)
        dispatcher = Dispatcher(self.registry, reactor, rpc, answers, self._in_thread, self.limits.slow_calls)
        providers = Providers(self.registry, rpc, dispatcher.deadlines)
        for source in (ConventionProcedures(dispatcher, rpc), CancelProcedure()):
            self.registry.add(source)
        self.registry.add(ProvideProcedures(providers), rpc.provide)
        return providers, RpcService(dispatcher, self.budgets, self.logins, self.rooms.appender, self.limits.in_flight, rpc.progress_backlog, rpc.login_timeout)

    def _in_thread(self, function: Callable[..., Any], call: Call, arguments: Any) -> "Deferred[Any]":
        """Run a blocking procedure; callers take turns, however much each of them calls."""
        return self.blocking_threads.run_for(call.budget, function, call, arguments)

    def _streams(self) -> dict[str, StreamFactory]:
        section, reactor = self.settings.section, self.reactor
        return {
            "lines": StreamFactory(section(LinesSettings), self.rpc, self.admission, reactor, LineReader, LineConnection),
            "amp": StreamFactory(section(AmpSettings), self.rpc, self.admission, reactor, BoxReader, AmpConnection),
        }

    def _procedures(self) -> Registry:
        registry = read_registry(self.settings)
        registry.add(AuthProcedures(self.logins))
        registry.add(SystemProcedures(registry, TITLE))
        registry.add(ServerProcedures(self.health.uptime, self.counts))
        registry.add(SearchProcedures(Searches(self.store, self.rooms.permissions.unreadable)))
        rooms = self.settings.section(RoomsSettings)
        registry.add(RoomProcedures(Moderation(self.rooms, self.store.accounts, self.reactor, rooms, self.logins.networks_of_visitor)))
        formats = {framing: NotificationFormat(framing) for framing in (*self.framings, line_frame, notify_box)}
        registry.add(ChatProcedures(self.rooms, formats, self.limits.rooms_per_connection))
        return registry

    def _routes(self) -> Routes:
        section = self.settings.section
        page = PackageFiles("netsvc.web", PAGE_HEADERS)
        sign_in = SignIn(self.logins, section(AuthSettings), self.budgets)
        endpoint = RpcEndpoint(self.rpc, self.authenticate, TITLE, __version__)
        formats = {framing: TextFormat(framing) for framing in self.framings}
        room = RoomUrl(self.rooms, formats, self.logins, self.budgets, section(ChatSettings), page.serving("index.html"), self.rpc.bounds)
        health = HealthUrls(self.health)
        routes = Routes()
        routes.add("GET", "/", page.serving("index.html"), public=True)
        routes.add("GET", "/web/{path...}", page, public=True)
        routes.add("GET", "/chat/{room}/", room)
        routes.add("GET", "/rooms/{room}/events", self.events, waiting=True)
        routes.add("GET", "/ws", endpoint.websocket, public=True)
        routes.add("POST", "/rpc", endpoint.post, body_limit=section(RpcSettings).body, public=True, own_deadline=True)
        xmlrpc = XmlRpcEndpoint(self.rpc, self.authenticate, section(RpcSettings))
        routes.add("POST", "/RPC2", xmlrpc.post, body_limit=section(RpcSettings).body, public=True, own_deadline=True)
        routes.add("GET", "/openrpc.json", endpoint.openrpc)
        routes.add("POST", "/login", sign_in.login, public=True)
        routes.add("POST", "/logout", sign_in.logout, public=True)
        routes.add("GET", "/healthz", health.live, public=True)
        routes.add("GET", "/readyz", health.ready, public=True)
        return routes

    def services(self) -> OrderedServices:
        """The parts in the order in which they start; they stop in the opposite order."""
        patience = self.settings.section(NetsvcSettings).stop_timeout
        services = OrderedServices(self.reactor)
        services.add("store", FunctionService(self.store.start, self.store.stop), stop_deadline=30.0)
        services.add("threads", FunctionService(self._start_threads, self._stop_threads), stop_deadline=patience)
        services.add("logins", FunctionService(self.logins.start, self.logins.stop))
        services.add("rooms", FunctionService(self._start_rooms, self._stop_rooms), stop_deadline=30.0)
        services.add("http", FunctionService(self._start_listeners, self._stop_http), stop_deadline=patience)
        return services

    def _start_threads(self) -> None:
        self.password_threads.start()
        self.blocking_threads.start()

    def _stop_threads(self) -> "Deferred[Any]":
        return DeferredList([self.password_threads.stop(), self.blocking_threads.stop()], consumeErrors=True)

    def _start_rooms(self) -> "Deferred[None]":
        self.pruning.start(self.settings.section(RoomsSettings).retention_interval, now=False)
        return self.rooms.permissions.start()

    def _stop_rooms(self) -> "Deferred[None]":
        if self.pruning.running:
            self.pruning.stop()
        return self.rooms.appender.idle()

    def _prune(self) -> "Deferred[None]":
        return self.rooms.prune().addErrback(lambda failure: self.rooms.log.warn("retention: {reason}", reason=failure.getErrorMessage()))

    def _start_listeners(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._listen())

    async def _listen(self) -> None:
        for listeners in (self.listeners, *self.stream_listeners.values()):
            await listeners.startService()

    async def _drain(self) -> None:
        for listeners in (self.listeners, *self.stream_listeners.values()):
            await listeners.stopService()
        http, patience = self.settings.section(HttpSettings), self.settings.section(NetsvcSettings).stop_timeout
        # What is not finished is cut off early enough for its end to be seen, and a WebSocket's closing handshake has its own time. If that
        # is not enough either, they are cancelled; the daemon itself says so.
        calls = min(http.drain_timeout, max(patience - http.close_timeout - 2.0, patience * 0.3))
        websockets = self.websockets.drain(self.reactor, 1001, "the server is stopping", patience=calls)
        streams = [factory.drain(calls) for factory in self.streams.values()]
        drained = DeferredList([websockets, self.http.drain(patience * 0.9), *streams], consumeErrors=True)
        # After http has begun to drain, so that their connections end with them.
        self.events.open.drain()
        await drained

    def _stop_http(self) -> "Deferred[None]":
        return Deferred.fromCoroutine(self._drain())

    def counts(self) -> dict[str, Any]:
        """What server.status reports about the parts."""
        appender = self.rooms.appender
        return {
            "connections": {"http": len(self.http), "websocket": len(self.websockets), **{name: len(each) for name, each in self.streams.items()}},
            "providers": self.providers.counts(),
            "arrivals": {"refused": self.arrivals.refused, "pace": round(self.arrivals.pace, 1)},
            "outbound": {"bytes": self.outbound.bytes, "readers": len(self.outbound), "shed": self.outbound.shed},
            "store": {"commits": appender.batches, "rows": appender.drafts, "durable": self.store.durable},
            "rooms": {"rings": sum(1 for _ in self.rooms.delivery.rooms()), "ring_bytes": self.rooms.delivery.cost},
        }

    def describe(self) -> str:
        """One line for the log, the terminal and systemd: what is served where, and to whom."""
        who = "guests are welcome" if self.guests else "guests are not allowed"
        streams = "".join(f", {name} at {' '.join(listeners.urls('tcp', 'tls'))}" for name, listeners in self.stream_listeners.items())
        return f"netsvc {__version__} serves {' '.join(self.listeners.urls())}{streams} ({who})"


def _pid_file_fault(twistd: Any) -> str:
    """Why twistd cannot write its pid file, empty if nothing seems to prevent it: twistd itself would end with a traceback."""
    if not twistd.get("pidfile") or twistd.get("chroot"):
        return ""
    path = os.path.abspath(os.path.join(twistd.get("rundir") or ".", twistd["pidfile"]))
    if os.access(path if os.path.exists(path) else os.path.dirname(path), os.W_OK):
        return ""
    return f"netsvc: cannot start: twistd cannot write its pid file {path}: start it in a folder you can write to, or without the file: twistd --pidfile= …"


def makeService(options: Options) -> IService:  # noqa: N802 - the name that twistd's ServiceMaker calls
    """The daemon; nothing is opened before it is started."""
    from twisted.internet import reactor

    try:
        settings = read_settings(options["config"], options["set"])
    except StartError as error:
        sys.stderr.write(f"{error.detail}\n")
        raise SystemExit(error.status) from None
    # twistd's own options; a test that calls this has none.
    twistd: Any = options.parent if options.parent is not None else {}
    fault = _pid_file_fault(twistd)
    if fault:
        sys.stderr.write(f"{fault}\n")
        raise SystemExit(1)
    own = settings.section(NetsvcSettings)
    composition = Composition(settings, reactor)
    install_signals(cast(IReactorCore, reactor))
    notifier = Notifier.from_environment()
    watchdog = Watchdog(composition.reactor, notifier, composition.health.answers, watchdog_interval(os.environ, os.getpid()))
    return Daemon(
        cast(IReactorCore, reactor),
        composition.services(),
        twistd,
        observer=observer_for(twistd, cast(IReactorFromThreads, reactor), own.log_format, own.log_level),
        notifier=notifier,
        health=composition.health,
        watchdog=watchdog,
        describe=composition.describe,
    )
