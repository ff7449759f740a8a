"""Tests for netsvc.cli.state."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

from netsvc.cli import state
from netsvc.cli.state import StateChoice, become_owner
from netsvc.core.settings import AuthSettings
from netsvc.errors import StartError
from tests.cli.commandline import CommandCase


class FakeSystem:
    """Stands in for what root can do to its process; writes it down.

    :ivar euid: who runs the command.
    :ivar owner: to whom the directory belongs; its group is one more.
    :ivar reachable: whether the owner can go there.
    """

    def __init__(self, euid: int, owner: int, reachable: bool = True) -> None:
        self.euid = euid
        self.owner = owner
        self.reachable = reachable
        self.done: list[object] = []

    def become_owner(self, folder: Path) -> Path:
        """Call the function with all this in place."""

        def written(name: str) -> Callable[..., None]:
            return lambda *values: self.done.append((name, *values))

        status = os.stat_result((0o40700, 1, 1, 1, self.owner, self.owner + 1, 0, 0, 0, 0))
        with ExitStack() as stack:
            stack.enter_context(patch.object(os, "geteuid", lambda: self.euid))
            stack.enter_context(patch.object(Path, "stat", lambda path: status))
            stack.enter_context(patch.object(os, "access", lambda path, mode, effective_ids: self.reachable))
            for name in ("setgroups", "setegid", "seteuid", "setgid", "setuid", "chroot", "chdir"):
                stack.enter_context(patch.object(os, name, written(name)))
            return become_owner(folder)


class Owners(CommandCase):
    """As whom the state directory is opened."""

    def test_ordinary_user(self) -> None:
        """Who is not root stays who it is."""
        system = FakeSystem(1000, 65534)
        self.assertEqual((system.become_owner(self.folder), system.done), (self.folder, []))

    def test_roots_own(self) -> None:
        """Root stays root for a directory that is root's."""
        system = FakeSystem(0, 0)
        self.assertEqual((system.become_owner(self.folder), system.done), (self.folder, []))

    def test_becomes_owner(self) -> None:
        """Root becomes the owner, groups first, for good."""
        system = FakeSystem(0, 900)
        self.assertEqual(system.become_owner(self.folder), self.folder)
        self.assertEqual(system.done, [("setgroups", [901]), ("setegid", 901), ("seteuid", 900), ("seteuid", 0), ("setgid", 901), ("setuid", 900)])

    def test_unreachable(self) -> None:
        """Where the owner cannot go by itself, the directory becomes the root of the file system first."""
        system = FakeSystem(0, 900, reachable=False)
        self.assertEqual(system.become_owner(self.folder), Path("/"))
        self.assertEqual(system.done[-4:], [("chroot", self.folder), ("chdir", "/"), ("setgid", 901), ("setuid", 900)])


class Opening(CommandCase):
    """StateChoice.open."""

    def test_created_by_root(self) -> None:
        """What root has created is said, with what to do about it; nobody else is told."""
        for euid, noted in ((0, True), (1000, False)):
            notes: list[str] = []
            self.patch(state, "note", notes.append)
            folder = self.folder / str(euid)
            with patch.object(os, "geteuid", lambda euid=euid: euid):
                StateChoice(folder, AuthSettings()).open(new=True).close()
            self.assertEqual([f"chown -R USER {folder}" in line for line in notes], [True] if noted else [])

    def test_mistyped(self) -> None:
        """A directory that is not there is said, not made, unless a first user is to be added to it."""
        with self.assertRaises(StartError) as caught:
            StateChoice(self.state, AuthSettings()).open()
        self.assertIn(f"there is no state directory {self.state};", caught.exception.detail)
        self.assertFalse(self.state.exists())

    def test_directory_without_a_state(self) -> None:
        """Nor is a database put into a directory that has none, unless for a first user."""
        with self.assertRaises(StartError) as caught:
            StateChoice(self.folder, AuthSettings()).open()
        self.assertIn(f"there is no {self.folder}/netsvc.db", caught.exception.detail)
        self.assertEqual(list(self.folder.iterdir()), [self.config])
        StateChoice(self.folder, AuthSettings()).open(new=True).close()
        StateChoice(self.folder, AuthSettings()).open().close()

    def test_not_a_directory(self) -> None:
        """What cannot be opened is a StartError that names it."""
        with self.assertRaises(StartError) as caught:
            StateChoice(self.config, AuthSettings()).open()
        self.assertIn(str(self.config), caught.exception.detail)

    def test_not_allowed(self) -> None:
        """A directory that may not be looked at is one line, not a traceback."""
        with patch.object(Path, "exists", side_effect=PermissionError(13, "Permission denied")), self.assertRaises(StartError) as caught:
            StateChoice(self.folder, AuthSettings()).open()
        self.assertEqual(caught.exception.detail, f"cannot use the state directory {self.folder}: Permission denied")

    def test_not_readable(self) -> None:
        """One that is somebody else's is told of alike, not as a wrong use of the option; so is a settings file."""
        for option, place in (("--state", self.folder), ("--config", self.config)):
            with patch.object(os, "access", lambda *arguments, **options: False):
                said = self.run_netsvc("user", "list", option, str(place)).stderr
            self.assertNotIn("Usage", said)

    def test_named_as_it_was_given(self) -> None:
        """An error inside a changed root names the directory as the operator knows it."""
        inner = self.folder / "inner"
        inner.write_text("")
        self.patch(state, "become_owner", lambda folder: inner)
        with self.assertRaises(StartError) as caught:
            StateChoice(self.folder, AuthSettings()).open()
        self.assertTrue(caught.exception.detail.startswith(f"in {self.folder}: "))
