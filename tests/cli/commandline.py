"""Running the console script inside the tests' process."""

from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from netsvc.cli import main

__all__ = ["CommandCase"]

CHEAP = "[auth]\nhash_memory = 64KiB\nhash_passes = 1\n"


class CommandCase(SynchronousTestCase):
    """A folder with an INI file by which a password costs no time, and whose state is beside it.

    :ivar folder: the folder.
    :ivar state: the state directory, which is not there yet.
    :ivar config: the INI file.
    """

    def setUp(self) -> None:
        """Make the folder."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.state = self.folder / "state"
        self.config = self.folder / "netsvc.ini"
        self.config.write_text(f"[netsvc]\nstate = {self.state}\n{CHEAP}")

    def run_netsvc(self, *arguments: str, input: str | bytes = "", **environment: str) -> Result:
        """Run ``netsvc`` with arguments, standard input and further environment."""
        result = CliRunner().invoke(main, arguments, input=input, env=environment, prog_name="netsvc")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def good(self, *arguments: str, **further: Any) -> str:
        """Run it; it must succeed. What it printed on stdout."""
        result = self.run_netsvc(*arguments, **further)
        self.assertEqual(result.exit_code, 0, result.output)
        return result.stdout

    def bad(self, status: int, *arguments: str, **further: Any) -> str:
        """Run it; it must exit with this status. What it printed on stderr."""
        result = self.run_netsvc(*arguments, **further)
        self.assertEqual((result.exit_code, result.stdout), (status, ""), result.output)
        return result.stderr
