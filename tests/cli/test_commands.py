"""Tests for netsvc.cli.commands."""

import os
from errno import EBADF, ENOSPC
from pathlib import Path
from unittest.mock import patch

from click import Context

from netsvc import __version__
from netsvc.cli import main
from netsvc.errors import StartError
from tests.cli.commandline import CommandCase


class Checking(CommandCase):
    """netsvc check."""

    def test_right(self) -> None:
        """Right settings: one line and status 0; nothing is created."""
        self.assertEqual(self.good("check", "--config", str(self.config)), f"the settings are correct: {self.config}\n")
        self.assertEqual(self.good("check"), "the settings are correct: the defaults\n")
        self.assertFalse(self.state.exists())

    def test_wrong(self) -> None:
        """Every fault has a line that begins with its place, on stderr; status 78."""
        self.config.write_text("[http]\nlisten = nonsense:1\nhost = x\n[nonsense]\n")
        lines = self.bad(78, "check", "--config", str(self.config), "--set", "chat.guest=no").splitlines()
        self.assertEqual([line.partition(": ")[0] for line in lines], [f"{self.config}:{number}" for number in (2, 3, 4)] + ["--set chat.guest"])
        self.assertIn('did you mean "hosts"?', lines[1])

    def test_not_readable(self) -> None:
        """A settings file that this user may not read is a fault like any other, as it is at the start."""
        with patch.object(os, "access", lambda *arguments, **options: False), patch.object(Path, "open", side_effect=PermissionError(13, "Permission denied")):
            self.assertEqual(self.bad(78, "check", "--config", str(self.config)), f"{self.config}: cannot be read: Permission denied\n")

    def test_what_only_the_daemon_knows(self) -> None:
        """A file that this user may not read is no fault: what is not known is said beside the result."""
        result = self.run_netsvc("check", "--set", "http.listen=ssl:1:privateKey=/run/credentials/none.service/key.pem")
        self.assertEqual((result.exit_code, result.stdout), (0, "the settings are correct: the defaults\n"))
        self.assertTrue(result.stderr.startswith("netsvc: --set http.listen: ssl: cannot read privateKey /run/credentials/"), result.stderr)
        self.assertIn("the daemon itself may be able to read it", result.stderr)

    def test_overrides(self) -> None:
        """Overrides are checked with the file."""
        self.good("check", "--config", str(self.config), "--set", "chat.guests=no", "--set", "limits.rate=off")


class Errors(CommandCase):
    """What is the same for all commands."""

    def test_start_error(self) -> None:
        """A StartError is one line, with its status."""
        with patch("netsvc.cli.check.read_settings", side_effect=StartError("no \x1b[31mway", 3)):
            self.assertEqual(self.bad(3, "check"), "netsvc: no \\u001b[31mway\n")

    def test_full_disk(self) -> None:
        """What cannot be written is a line as well; other errors of the system are not disguised."""
        with patch("netsvc.cli.check.read_settings", side_effect=OSError(ENOSPC, "No space left on device")):
            self.assertEqual(self.bad(1, "check"), "netsvc: cannot write the output: No space left on device\n")
        with patch.object(main, "get_help", side_effect=OSError(ENOSPC, "No space left on device")):
            self.assertEqual(self.bad(1, "--help"), "netsvc: cannot write the output: No space left on device\n")
        for error in (OSError(ENOSPC, "full", "/a/file"), OSError(EBADF, "a bug")):
            with patch("netsvc.cli.check.read_settings", side_effect=error):
                self.assertRaises(OSError, self.run_netsvc, "check")

    def test_usage(self) -> None:
        """Wrong options are status 2."""
        self.bad(2, "check", "--nonsense")

    def test_mistyped(self) -> None:
        """For a command that does not exist, Click can propose those that do, which it has not seen before."""
        self.bad(2, "usr")
        self.assertEqual(list(main.commands), main.list_commands(Context(main)))

    def test_version_and_help(self) -> None:
        """It says its version, and how the daemon is started."""
        self.assertIn(__version__, self.good("--version"))
        self.assertIn("twistd -n netsvc", self.good("-h"))
