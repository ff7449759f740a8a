"""What every protocol logs in through: remembers logins while they are valid, and closes live connections when they are not.

A login that has been proved is answered at once, without the portal, until the accounts change: their revision is checked every
2 s (`[auth] revocation`). A new revision means that every remembered login is proved again at its next use, and that of every watched
connection at once.
"""

from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from hashlib import blake2b
from os import urandom
from typing import Any

from msgspec import structs
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, TimeoutError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from netsvc.core.addresses import is_this_host, network_of
from netsvc.core.credentials import Credentials, Guest, KnownUser, Password, Session, Token, new_session_secret, recalled
from netsvc.core.failed_logins import FailedLogins
from netsvc.core.identity import Identity, IIdentity
from netsvc.core.names import generated_guest_name, registered_form
from netsvc.core.passwords import Passwords
from netsvc.core.portal import build_portal
from netsvc.core.recent import Recent
from netsvc.core.settings import AuthSettings
from netsvc.errors import Conflict, DeadlinePassed, Forbidden, NotAuthenticated
from netsvc.interfaces import IAccounts

__all__ = ["Close", "Logins"]

Close = Callable[[str], None]
"""Closes a live connection; given the reason, in words for its client."""

_RECHECKS = 16
"""Watched credentials looked up at once after a change."""


class Logins:
    """Logins by every kind of credentials.

    :param accounts: users, tokens and sessions.
    :param passwords: compares passwords.
    :param clock: its seconds are those of the Unix epoch, as the reactor's are.
    :param settings: [auth].
    :param guests: whether guests are allowed.
    :ivar portal: the portal that proves them.
    :ivar guests: as given.
    :ivar changed: called when accounts have changed, some time after the change: what is remembered about them may be out of date.
    """

    _log = Logger()

    def __init__(self, accounts: IAccounts, passwords: Passwords, clock: IReactorTime, settings: AuthSettings, guests: bool) -> None:
        self.changed: Callable[[], None] = _nothing
        self.portal = build_portal(accounts, passwords, clock.seconds, guests)
        self.guests = guests
        self._accounts = accounts
        self._clock = clock
        self._settings = settings
        self._failures = FailedLogins(settings, clock.seconds)
        self._secret = urandom(32)
        self._proved: Recent[str, Identity] = Recent(settings.remembered)
        self._marks: Recent[str, str] = Recent(settings.remembered)
        """From a name and password to the credential that they proved: the password need not be hashed again."""
        self._visitors: Recent[str, Identity] = Recent(settings.remembered)
        self._under_way: dict[str, list[Deferred[Identity]]] = {}
        self._watched: dict[str, dict[Close, Identity]] = {}
        self._unproved: set[str] = set()
        """Watched credentials to prove again at the next look."""
        self._expiry = float("inf")
        """No watched credential expires before this time, milliseconds since the Unix epoch."""
        self._revision: int | None = None
        self._generation = 0
        """Counts the changes seen: what was looked up before a change is not remembered after it."""
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock
        self._blind = False
        """The last look failed, and that has been logged."""

    def start(self) -> None:
        """Begin to look for revocations."""
        self._looking.start(self._settings.revocation)

    def stop(self) -> None:
        """Stop looking. No error if it has not been started."""
        if self._looking.running:
            self._looking.stop()

    # Logging in

    def login(self, credentials: Credentials, peer: str) -> "Identity | Deferred[Identity]":
        """Who these credentials are; at once if that is known.

        :param peer: the IP address they came from, as text; "unix" for a local socket.
        :raises NotAuthenticated: at once or by way of the Deferred, like all below: they prove nothing, or guests are not allowed.
        :raises RateLimited: too many wrong passwords for this name or from this address.
        :raises Conflict: a guest asks for the name of a user.
        :raises InvalidParams: a guest asks for a name that is not valid.
        :raises Overloaded: too many passwords are being compared, or the store cannot be read.
        :raises DeadlinePassed: it took longer than ``[auth] timeout``.
        """
        if isinstance(credentials, Password):
            return self._login_by_password(credentials, peer)
        if isinstance(credentials, Guest):
            return _at_once(Deferred.fromCoroutine(self._prove_guest(credentials, peer)))
        return self._login_known(credentials)

    def visitor(self, address: str) -> Identity:
        """The guest who sends requests from an address without logging in: one name for each address, while the process runs.

        :raises NotAuthenticated: guests are not allowed.
        """
        visitor = self._visitors.get(address)
        if visitor is None:
            name = generated_guest_name(blake2b(address.encode(), key=self._secret, digest_size=4).digest())
            found = self.login(Guest(name), address)
            assert isinstance(found, Identity), "generated names need no look-up"
            self._visitors.put(address, found)
            return found
        return visitor

    def networks_of_visitor(self, name: str) -> list[str]:
        """The networks of the visitor of this name, as far as they are remembered; looks through all visitors."""
        return [visitor.network for _, visitor in self._visitors.items() if visitor.name == name and visitor.network]

    def _login_known(self, credentials: KnownUser | Token | Session) -> "Identity | Deferred[Identity]":
        identity = self._proved.get(credentials.id)
        if identity is not None and not (identity.expires and identity.expires <= self._clock.seconds() * 1000):
            return identity
        return self._once(credentials.id, partial(self._prove, credentials))

    def _login_by_password(self, credentials: Password, peer: str) -> "Identity | Deferred[Identity]":
        mark = credentials.mark(self._secret)
        credential = self._marks.get(mark)
        identity = self._proved.get(credential) if credential is not None else None
        return identity or self._once(mark, partial(self._prove_password, credentials, mark, peer))

    def _once(self, key: str, prove: "Callable[[], Coroutine[Deferred[Any], Any, Identity]]") -> "Identity | Deferred[Identity]":
        """Prove something, or wait for the same thing to be proved."""
        waiting = self._under_way.get(key)
        if waiting is None:
            self._under_way[key] = waiting = []
            proof: Deferred[Identity] = Deferred.fromCoroutine(prove())
            proof.addBoth(self._tell, key)
            if key not in self._under_way:
                return _at_once(proof)
            proof.addErrback(lambda failure: None)
        waiter: Deferred[Identity] = Deferred()
        waiting.append(waiter)
        return waiter

    def _tell(self, outcome: "Identity | Failure", key: str) -> "Identity | Failure":
        for waiter in self._under_way.pop(key):
            waiter.callback(outcome)
        return outcome

    async def _prove_password(self, credentials: Password, mark: str, peer: str) -> Identity:
        credential = self._marks.get(mark)
        if credential is not None:
            try:
                return await self._prove(recalled(credential))
            except NotAuthenticated:
                self._marks.forget(mark)
        self._failures.take(credentials.name, peer)
        try:
            identity = await self._prove(credentials)
        except NotAuthenticated:
            self._log_failure(credentials.name, peer)
            raise
        except BaseException:
            self._failures.give_back(credentials.name, peer)
            raise
        self._failures.give_back(credentials.name, peer)
        self._marks.put(mark, identity.credential)
        return identity

    def _log_failure(self, name: str, peer: str) -> None:
        """For programs that block guessers, like fail2ban. A name is logged only after many attempts: before that it may be a password in the wrong field."""
        self._log.warn("a login failed: wrong name or password", peer=peer)
        if self._failures.closed(name):
            self._log.warn("passwords are refused for a while: too many were wrong", identity=name, peer=peer)

    async def _prove_guest(self, credentials: Guest, peer: str) -> Identity:
        identity = await self._prove(credentials)
        network = "" if is_this_host(peer) else network_of(peer)
        return structs.replace(identity, network=network) if network else identity

    async def _prove(self, credentials: Credentials) -> Identity:
        """Ask the portal, for at most the timeout, and remember the answer if nothing has changed meanwhile."""
        generation = self._generation
        asking = self.portal.login(credentials, None, IIdentity)
        try:
            _, avatar, _ = await asking.addTimeout(self._settings.timeout, self._clock)
        except UnauthorizedLogin:
            raise NotAuthenticated(credentials.refusal) from None
        except TimeoutError:
            raise DeadlinePassed(f"the login took longer than {self._settings.timeout:g} s") from None
        assert isinstance(avatar, Identity)
        if avatar.credential and generation == self._generation:
            self._proved.put(avatar.credential, avatar)
        return avatar

    # Sessions

    def open_session(self, identity: Identity) -> "Deferred[str]":
        """Open a browser's session; the Deferred has the value for its cookie.

        :raises Forbidden: guests have none.
        :raises StoreUnavailable: by way of the Deferred.
        """
        if identity.guest:
            raise Forbidden("only users can have a session")
        secret = new_session_secret()
        now = int(self._clock.seconds() * 1000)
        opened = self._accounts.add_session(Session(secret).digest, identity.name, now, now + int(self._settings.session * 1000))
        return opened.addCallback(lambda _: secret)

    def close_session(self, cookie: str) -> "Deferred[None]":
        """End a session: its cookie becomes invalid and its live connections are closed. No error if there is none.

        :raises StoreUnavailable: by way of the Deferred.
        """
        session = Session(cookie)

        def closed(revision: int | None) -> None:
            if revision is not None and self._revision == revision - 1:
                # Nothing else has changed: somebody logging out must not make every live login be proved again.
                self._revision = revision
            self._generation += 1
            self._proved.forget(session.id)
            self._close(session.id, lambda identity: "logged out")

        return self._accounts.remove_session(session.digest).addCallback(closed)

    # Revocation

    def watch(self, identity: Identity, close: Close) -> None:
        """Close a live connection when its credential expires or is revoked, or its user is removed or gets a lesser role.

        A guest's is closed when somebody registers the guest's name. This happens within 5 s. `close` is called at most once,
        and no `unwatch` is needed after it.
        """
        credential = _watched_as(identity)
        if not credential:
            return
        self._watched.setdefault(credential, {})[close] = identity
        if identity.expires:
            self._expiry = min(self._expiry, identity.expires)
        if credential not in self._proved:
            # A change may have come between its login and now.
            self._unproved.add(credential)

    def unwatch(self, identity: Identity, close: Close) -> None:
        """The connection is gone. No error if it was not watched."""
        credential = _watched_as(identity)
        watchers = self._watched.get(credential)
        if watchers is not None:
            watchers.pop(close, None)
            if not watchers:
                del self._watched[credential]

    def _close(self, credential: str, why: "Callable[[Identity], str]") -> None:
        """Close those connections of a credential for which `why` gives a reason."""
        for close, identity in list(self._watched.get(credential, {}).items()):
            reason = why(identity)
            if reason:
                self.unwatch(identity, close)
                try:
                    close(reason)
                except Exception:
                    # A failure in one connection must not keep the others open.
                    self._log.failure("closing a connection failed")

    async def _look(self) -> None:
        try:
            revision = await self._accounts.revision().addTimeout(self._settings.timeout, self._clock)
        except Exception as error:
            # Whatever went wrong, it must not end the looking.
            if not self._blind:
                self._log.warn("cannot look for revocations, will try again: {error!r}", error=error)
            self._blind = True
            return
        if revision != self._revision:
            self._revision = revision
            self._generation += 1
            self._proved.clear()
            self._unproved.update(self._watched)
            self.changed()
        self._close_expired()
        credentials, self._unproved = iter(self._unproved), set()
        await gatherResults([Deferred.fromCoroutine(self._prove_each(credentials)) for _ in range(_RECHECKS)])
        if not self._unproved:
            self._blind = False

    def _close_expired(self) -> None:
        now = self._clock.seconds() * 1000
        if now < self._expiry:
            return
        for credential in list(self._watched):
            self._close(credential, lambda identity: "the login has expired" if 0 < identity.expires <= now else "")
        left = (identity.expires for watchers in self._watched.values() for identity in watchers.values())
        self._expiry = min((expires for expires in left if expires), default=float("inf"))

    async def _prove_each(self, credentials: Iterator[str]) -> None:
        for credential in credentials:
            if credential in self._watched:
                await self._prove_again(credential)

    async def _prove_again(self, credential: str) -> None:
        try:
            present = self._proved.get(credential) or await self._prove(recalled(credential))
        except (NotAuthenticated, Conflict) as error:
            detail = error.detail
            self._close(credential, lambda identity: detail)
        except Exception:
            self._unproved.add(credential)
            if not self._blind:
                self._log.failure("cannot prove a live login again, will retry")
            self._blind = True
        else:
            self._close(credential, lambda identity: "your role has changed: log in again" if present.rank < identity.rank else "")


def _nothing() -> None:
    """Does nothing."""


def _watched_as(identity: Identity) -> str:
    """What to prove again for a connection: the id of credentials, empty for a guest whose name no user can have."""
    if identity.credential or not identity.guest:
        return identity.credential
    name = registered_form(identity.name)
    return Guest(name).id if name is not None else ""


def _at_once(deferred: "Deferred[Identity]") -> "Identity | Deferred[Identity]":
    """The Deferred's result if it has one already (an error is raised), else the Deferred."""
    outcome: list[Identity | Failure] = []

    def keep(result: "Identity | Failure") -> "Identity | Failure":
        outcome.append(result)
        return result

    deferred.addBoth(keep)
    if not outcome:
        return deferred
    if isinstance(outcome[0], Failure):
        deferred.addErrback(lambda failure: None)
        outcome[0].raiseException()
    return outcome[0]
