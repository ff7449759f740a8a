"""What an edit, a deletion, a reaction or a reply does to earlier events: pure functions, called in the store's transaction.

What they keep about a message is in its row's ``extra``, a JSON object: what clients see of it (see Event), and also

- ``guest``: a guest sent it;
- ``edits``, ``last_edit``: how often it was edited, and the seq of the newest edit, whose ``previous`` is the seq of the one before;
- ``deletion``: the seq of its deletion;
- ``reactions``: for each emoji, by name, the seq of the newest reaction event; negative if that took the reaction back.
"""

from collections.abc import Sequence
from typing import NamedTuple

from netsvc.core.access import absent, taken
from netsvc.core.events import Extra, decode_extra, encode_extra
from netsvc.core.identity import Identity
from netsvc.core.records import Amendment, Draft, Load, Row
from netsvc.errors import Conflict, Forbidden, NotFound

__all__ = ["Limits", "deletion", "edit", "first", "reaction", "reply"]

_DELETABLE = ("message", "file")


class Limits(NamedTuple):
    """The limits on what can be done to one message.

    :ivar edits: how often it can be edited.
    :ivar emoji: different reactions to it; `reactions`: all of them together.
    :ivar guest: milliseconds for which a guest may change what was sent under its name.
    """

    edits: int
    emoji: int
    reactions: int
    guest: int


def _extra(row: Row) -> Extra:
    return Extra() if row.extra is None else decode_extra(row.extra)


def _found(draft: Draft, row: Row | None, parameter: str, types: Sequence[str] = ("message",)) -> Row:
    if row is None and draft.seq == 1:
        # The same error as for the room itself: other words would tell those from whom it is secret that it exists.
        raise absent(draft.room)
    if row is None or row.type not in types:
        raise NotFound(f"{parameter}: there is no message {draft.target} in {draft.room}", parameter=parameter)
    return row


def first(draft: Draft, row: Row | None, load: Load) -> Sequence[Row]:
    """An Amendment: the draft is the first event of its room, or none."""
    if draft.seq > 1:
        raise taken(draft.room)
    return ()


def reply(draft: Draft, row: Row | None, load: Load) -> Sequence[Row]:
    """An Amendment: the message that is answered must exist, deleted or not."""
    _found(draft, row, "reply_to", _DELETABLE)
    return ()


def _own(identity: Identity, draft: Draft, row: Row, extra: Extra, limits: Limits) -> str:
    """Why somebody may not change a message, empty if they may.

    Nobody has vouched for a guest's name, so whoever has it now may change what was sent under it, but not for long. A message older than
    a user's account is by somebody who had the name before.
    """
    if row.sender != identity.name or extra.guest != identity.guest or row.at < identity.since:
        return f"message {row.seq} is not yours"
    if identity.guest and draft.at - row.at > limits.guest:
        return f"guests may change a message only within {limits.guest / 1000:g} s"
    return ""


def edit(identity: Identity, limits: Limits, mentions: list[str]) -> Amendment:
    """Replace a message's text by that of the draft.

    :param mentions: who is named in the new text.
    """

    def amend(draft: Draft, row: Row | None, load: Load) -> Sequence[Row] | int:
        row = _found(draft, row, "seq")
        extra = _extra(row)
        why = _own(identity, draft, row, extra, limits)
        if why:
            raise Forbidden(why)
        if extra.deleted:
            raise Conflict(f"message {row.seq} is deleted")
        if extra.last_edit is not None and row.text == draft.text:
            return extra.last_edit
        if extra.edits >= limits.edits:
            raise Conflict(f"message {row.seq} was edited {extra.edits} times, as often as [rooms] edits allows")
        draft.extra = encode_extra(Extra(guest=identity.guest, target=row.seq, previous=extra.last_edit, mentions=mentions or None))
        extra.edited, extra.edits, extra.last_edit, extra.mentions = True, extra.edits + 1, draft.seq, mentions or None
        return [row._replace(text=draft.text, extra=encode_extra(extra))]

    return amend


def deletion(identity: Identity, limits: Limits, moderates: bool) -> Amendment:
    """Remove the text of a message and of all its edits; what is left says that there was a message.

    :param moderates: the caller may delete anybody's message.
    """

    def amend(draft: Draft, row: Row | None, load: Load) -> Sequence[Row] | int:
        row = _found(draft, row, "seq", _DELETABLE)
        extra = _extra(row)
        why = "" if moderates else _own(identity, draft, row, extra, limits)
        if why:
            raise Forbidden(why)
        if extra.deletion is not None:
            return extra.deletion
        draft.extra = encode_extra(Extra(target=row.seq))
        left = Extra(guest=extra.guest, reply_to=extra.reply_to, deleted=True, deletion=draft.seq)
        return [row._replace(text="", extra=encode_extra(left)), *_blanked(extra.last_edit, load)]

    return amend


def _blanked(seq: int | None, load: Load) -> list[Row]:
    """A message's edits without their texts, from the newest back as far as they are kept."""
    blanked = []
    while seq is not None:
        row = load(seq)
        if row is None:
            break
        extra = _extra(row)
        seq = extra.previous
        extra.mentions, extra.deleted = None, True
        blanked.append(row._replace(text="", extra=encode_extra(extra)))
    return blanked


def reaction(emoji: str, on: bool, limits: Limits) -> Amendment:
    """Add a reaction to a message, or take it back."""

    def amend(draft: Draft, row: Row | None, load: Load) -> Sequence[Row] | int:
        row = _found(draft, row, "seq", _DELETABLE)
        extra = _extra(row)
        if extra.deleted:
            raise Conflict(f"message {row.seq} is deleted")
        reactions = extra.reactions or {}
        said = reactions.get(emoji, {}).get(draft.sender)
        if said is None and not on:
            return row.seq
        if said is not None and (said > 0) == on:
            return abs(said)
        if said is None and sum(map(len, reactions.values())) >= limits.reactions:
            reactions = _standing(reactions)
        words = reactions.setdefault(emoji, {})
        words.pop(draft.sender, None)  # the order is that of the newest words
        words[draft.sender] = draft.seq if on else -draft.seq
        _check(row.seq, reactions, limits)
        extra.reactions = reactions
        draft.extra = encode_extra(Extra(target=row.seq, emoji=emoji, on=on))
        return [row._replace(extra=encode_extra(extra))]

    return amend


def _standing(reactions: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """The reactions without those that were taken back."""
    standing = {emoji: {name: seq for name, seq in words.items() if seq > 0} for emoji, words in reactions.items()}
    return {emoji: words for emoji, words in standing.items() if words}


def _check(seq: int, reactions: dict[str, dict[str, int]], limits: Limits) -> None:
    if len(reactions) > limits.emoji and len(_standing(reactions)) > limits.emoji:
        raise Conflict(f"message {seq} has {limits.emoji} different reactions already; [rooms] reactions sets the bound")
    if sum(map(len, reactions.values())) > limits.reactions:
        raise Conflict(f"message {seq} has {limits.reactions} reactions already; [rooms] reactions_per_message sets the bound")
