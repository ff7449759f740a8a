"""What the tests of moderation share: a room with an owner, a moderator, a member, and words for what they do."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import maybeDeferred

from netsvc.core.identity import Identity
from netsvc.core.moderation import Moderation
from netsvc.core.settings import RoomsSettings
from tests.core.rooms_case import RoomsTestCase

__all__ = ["ANN", "BOB", "EVE", "MEG", "MOD", "ROOT", "ModerationTestCase"]

ANN = Identity("ann", ("member",))
MOD = Identity("mod", ("member",))
MEG = Identity("meg", ("member",))
BOB = Identity("bob", ("member",))
ROOT = Identity("root", ("admin",))
EVE = Identity("Eve", ("guest",), guest=True, network="192.0.2.1")


class ModerationTestCase(RoomsTestCase):
    """The room "den": ann has started and owns it, mod moderates it, meg is a member; bob is nothing in it."""

    settings = RoomsSettings(ring_events=16)

    def setUp(self) -> None:
        """What each test starts with."""
        super().setUp()
        for identity in (ANN, MOD, MEG, BOB, ROOT):
            self.store.local_accounts.add_user(identity.name, identity.roles[0])
        self.moderation = Moderation(self.rooms, self.store.accounts, self.clock, self.settings)
        self.successResultOf(self.rooms.permissions.start())
        self.post(who=ANN, room="den")
        self.do("role", ANN, "mod", "moderator")
        self.do("role", ANN, "meg", "member")

    def ask(self, what: str, who: Identity, *params: Any, room: str = "den") -> Any:
        """Call a method of the moderation with what it takes behind the room; what is left out is None or empty."""
        defaults: dict[str, tuple[Any, ...]] = {
            "kick": ("",),
            "ban": ("", None),
            "mute": ("", None),
            "set": (None, None, None, None),
        }
        filled = params + defaults.get(what, ())[len(params) - (what != "set") :]
        deferred = getattr(self.moderation, what)(who, room, *filled)
        self.turn()
        return deferred

    def do(self, what: str, who: Identity, *params: Any, room: str = "den") -> Any:
        """The outcome."""
        return self.successResultOf(self.ask(what, who, *params, room=room))

    def refused(self, error: type[Exception], what: str, who: Identity, *params: Any, room: str = "den") -> str:
        """It fails with this error, nothing is appended; the detail."""
        head = self.head(room)
        failure = self.failureResultOf(self.ask(what, who, *params, room=room), error)
        self.assertEqual(self.head(room), head)
        return str(failure.value.detail)

    def denied(self, error: type[Exception], call: Callable[..., Any], *params: Any) -> None:
        """A call fails with this error, at once or later."""
        deferred = maybeDeferred(call, *params)
        self.turn()
        self.failureResultOf(deferred, error)

    def head(self, room: str = "den") -> int:
        """The newest seq of a room, 0 if there is none."""
        info = self.successResultOf(self.store.room(room))
        return info.head if info is not None else 0

    def newest(self, count: int = 1, room: str = "den") -> list[dict[str, Any]]:
        """The newest events: type, sender, and what else they have."""
        history = self.result(self.rooms.history(ROOT, room, None, None, count))
        shown = []
        for event in history.events:
            members = {name: getattr(event, name) for name in ("action", "name", "value", "until", "text") if getattr(event, name) is not None}
            shown.append({"type": event.type, "from": event.sender, **members})
        return shown

    def roster(self, who: Identity = ANN, room: str = "den") -> dict[str, str]:
        """Who is what, in a word each."""
        found = self.do("members", who, "", 200, room=room).members
        return {each.name: ("banned" if each.banned else "muted" if each.muted else each.role) for each in found}
