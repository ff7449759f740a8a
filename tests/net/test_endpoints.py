"""What endpoints take of the machine: addresses and files."""

import os
import socket
import sys
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from netsvc.http.settings import HttpSettings
from netsvc.net.endpoints import address_of, clash, endpoint_faults
from netsvc.rpc.stream_settings import AmpSettings, LinesSettings
from netsvc.settings import Fault, Settings, SettingsError, load
from tests.certificates import make_certificate
from tests.ports import free_port

SECTIONS = {"http": HttpSettings, "lines": LinesSettings, "amp": AmpSettings}
IPV4 = ("tcp:PORT", "tcp:PORT:0.0.0.0", "tcp:PORT:interface=127.0.0.1", "tcp:PORT:interface=LocalHost", "tcp:PORT:interface=127.0.0.2", "tcp6:PORT:interface=")
IPV6 = ("tcp6:PORT", r"tcp:PORT:interface=\:\:", r"tcp6:PORT:interface=\:\:1", r"tcp:PORT:interface=0\:0\:\:1", r"tcp6:PORT:interface=\:\:ffff\:127.0.0.1")


def clashing(one: str, other: str) -> bool:
    """Whether two endpoints do."""
    return clash(address_of(one), address_of(other))


class ClashTests(SynchronousTestCase):
    """Which addresses cannot both be had."""

    def test_every_kind_has_an_address(self) -> None:
        """Those of TLS and behind a proxy, too; the port of tls: is 443 if none is given."""
        for one, other in (
            ("ssl:443", "tcp:443"),
            ("tls:/certificates", r"tcp:443:interface=\:\:1"),
            ("tls:/certificates:8443", "tcp6:8443"),
            ("haproxy:tcp:80", "tcp:80:interface=192.0.2.1"),
            ("tcp:80:interface=server.example", "tcp:80:interface=Server.example"),
            ("tcp:80:interface=server.example", "tcp:80"),
            (r"tcp6:80:interface=fe80\:\:1%eth0", r"tcp6:80:interface=FE80\:\:1%eth0"),
            ("systemd:domain=INET:name=web", "systemd:domain=INET:name=web"),
        ):
            self.assertTrue(clashing(one, other) and clashing(other, one), one)

    def test_others(self) -> None:
        """Other ports, those that the kernel chooses, other hosts; what is not known."""
        for one, other in (
            ("tcp:80", "tcp:81"),
            ("tcp:0", "tcp:0"),
            ("tcp:80:interface=server.example", "tcp:80:interface=127.0.0.1"),
            (r"tcp6:80:interface=fe80\:\:1%eth0", r"tcp6:80:interface=fe80\:\:1%eth1"),
            ("unix:/run/80", "tcp:80"),
            ("systemd:domain=INET:name=web", "systemd:domain=INET:name=lines"),
            ("systemd:domain=INET:index=0", "systemd:domain=INET:index=1"),
            ("stdio:", "stdio:"),
        ):
            self.assertFalse(clashing(one, other) or clashing(other, one), one)

    def test_unix(self) -> None:
        """A path is the same however it is written."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "link").symlink_to(folder)
        for path in (f"{folder}/x", f"{folder}//./link/x", os.path.relpath(folder / "x")):
            self.assertTrue(clashing(f"unix:{folder}/x", f"unix:{path}:mode=600"), path)
        self.assertFalse(clashing(f"unix:{folder}/x", f"unix:{folder}/y"))

    def test_every_ipv6_address(self) -> None:
        """IPv4 addresses are among them, unless the system keeps the two apart, or has no IPv6."""
        module = sys.modules["netsvc.net.endpoints"]
        with patch.object(module.socket, "socket") as made:
            found = made.return_value.__enter__.return_value.getsockopt
            for apart in (0, 1):
                found.return_value = apart
                self.assertEqual(clashing("tcp6:80", "tcp:80"), not apart)
                self.assertTrue(clashing("tcp6:80", r"tcp6:80:interface=\:\:1"))
            made.side_effect = OSError("no IPv6 here")
            self.assertFalse(clashing("tcp6:80", "tcp:80"))


class KernelTests(TestCase):
    """On the loopback interface, for real."""

    async def check(self, one: str, other: str) -> None:
        """Listen on both: the second fails if they clash, and only then."""
        port = str(free_port())
        one, other = (each.replace("PORT", port) for each in (one, other))
        first = await serverFromString(reactor, one).listen(Factory.forProtocol(Protocol))
        try:
            second = await serverFromString(reactor, other).listen(Factory.forProtocol(Protocol))
        except CannotListenError:
            self.assertTrue(clashing(one, other), (one, other))
        else:
            await second.stopListening()  # type: ignore[misc]
            self.assertFalse(clashing(one, other), (one, other))
        finally:
            await first.stopListening()  # type: ignore[misc]

    def test_agrees(self) -> "Deferred[None]":
        """What is said to clash does, nothing else."""
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
            kinds: tuple[str, ...] = (*IPV4, *IPV6)
        except OSError:
            kinds = IPV4

        async def all_pairs() -> None:
            for one, other in product(kinds, repeat=2):
                await self.check(one, other)

        return Deferred.fromCoroutine(all_pairs())


class FaultCase(SynchronousTestCase):
    """A settings file that is looked at."""

    def setUp(self) -> None:
        """A folder for what it names."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "netsvc.ini"

    def load(self, text: str, *overrides: str, doubts: list[Fault] | None = None) -> None:
        """Load a file, with the check."""
        self.path.write_text(text)

        def check(settings: Settings) -> None:
            faults = endpoint_faults(settings, tuple(SECTIONS), doubts)
            if faults:
                raise SettingsError(faults)

        load(SECTIONS, self.path, overrides, check)

    def faults(self, text: str, *overrides: str, doubts: list[Fault] | None = None) -> list[str]:
        """What is wrong, line by line, without the folder."""
        error = self.assertRaises(SettingsError, self.load, text, *overrides, doubts=doubts)
        return error.detail.replace(f"{self.folder}/", "").splitlines()


class AddressFaultTests(FaultCase):
    """An address that is given twice."""

    def test_places(self) -> None:
        """The second one is a fault that names the first, in a section or across them, be it written, given or the default."""
        self.assertEqual(
            self.faults("[http]\nlisten =\n  tcp:80\n  tcp:81\n  tcp:80\n[amp]\nlisten = tcp:81:interface=127.0.0.1\n"),
            [
                "netsvc.ini:5: [http] listen: tcp:80: the address is already taken by tcp:80 in netsvc.ini:3",
                "netsvc.ini:7: [amp] listen: tcp:81:interface=127.0.0.1: the address is already taken by tcp:81 in netsvc.ini:4",
            ],
        )
        self.assertEqual(
            self.faults("[lines]\nlisten = tcp:8080\n"),
            ["netsvc.ini:2: [lines] listen: tcp:8080: the address is already taken by tcp:8080:interface=127.0.0.1, the default of [http] listen"],
        )
        self.assertEqual(
            self.faults("[lines]\nlisten = tcp:1\n", "amp.listen=tcp:1"),
            ["--set amp.listen: tcp:1: the address is already taken by tcp:1 in netsvc.ini:2"],
        )

    def test_right(self) -> None:
        """Nothing else is said to be one."""
        self.load("[http]\nlisten =\n  tcp:80:interface=127.0.0.1\n  tcp:0\n  tcp:0\n[lines]\nlisten = tcp:80:interface=\\:\\:1\n[amp]\nlisten =\n")

    def test_beside_other_faults(self) -> None:
        """Where a list has a fault already, it is not its default that is compared."""
        (line,) = self.faults("[http]\nlisten = tcp:x\n[lines]\nlisten = tcp:8080\n")
        self.assertIn("netsvc.ini:2: [http] listen: not an endpoint", line)


class FileFaultTests(FaultCase):
    """Files of keys and certificates."""

    def test_missing(self) -> None:
        """Each file is named once, as it is looked for: relative to where the process is, and the default if no key is given."""
        text = (
            "[http]\nlisten =\n  ssl:1:privateKey=F/k.pem:certKey=F/k.pem:extraCertChain=F:dhParameters=F/d.pem\n  haproxy:ssl:2\n[amp]\nlisten = tls:F/pem:3\n"
        )
        (self.folder / "pem").touch()
        self.assertEqual(
            sorted(self.faults(text.replace("F", str(self.folder)))),
            [
                "netsvc.ini:3: [http] listen: ssl: cannot read dhParameters d.pem: No such file or directory",
                f"netsvc.ini:3: [http] listen: ssl: cannot read extraCertChain {self.folder}: Is a directory",
                "netsvc.ini:3: [http] listen: ssl: cannot read privateKey k.pem: No such file or directory",
                f"netsvc.ini:4: [http] listen: ssl: cannot read privateKey {Path.cwd()}/server.pem: No such file or directory",
                "netsvc.ini:6: [amp] listen: tls: cannot read path pem: Not a directory",
            ],
        )

    def test_there(self) -> None:
        """No pipe is waited for, and then what is in the others is not known either."""
        (self.folder / "key.pem").touch()
        os.mkfifo(self.folder / "pipe.pem")
        self.load(f"[http]\nlisten =\n  ssl:1:{self.folder}/key.pem:certKey={self.folder}/pipe.pem\n")

    def test_not_for_this_user(self) -> None:
        """The daemon is told that it may not read a file; somebody else only that it is not known whether the daemon may."""
        text = f"[http]\nlisten = tls:{self.folder}:1\n"
        scandir = os.scandir

        def refuse(path: Any) -> Any:
            if str(path) == str(self.folder):
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        with patch.object(os, "scandir", refuse):
            problem = f"netsvc.ini:2: [http] listen: tls: cannot read path {self.folder}: Permission denied"
            self.assertEqual(self.faults(text), [problem])
            doubts: list[Fault] = []
            self.load(text, doubts=doubts)
        self.assertEqual([str(doubt).replace(f"{self.folder}/", "", 1) for doubt in doubts], [f"{problem}; the daemon itself may be able to read it"])

    def test_not_now(self) -> None:
        """Likewise a credential of systemd's, which is there only while the service runs; what else is missing is so for everybody."""
        text = f"[http]\nlisten = ssl:1:privateKey=/run/credentials/none.service/key.pem:certKey={self.folder}/none.pem\n"
        self.assertEqual(len(self.faults(text)), 2)
        doubts: list[Fault] = []
        self.assertEqual(self.faults(text, doubts=doubts), ["netsvc.ini:2: [http] listen: ssl: cannot read certKey none.pem: No such file or directory"])
        (doubt,) = doubts
        self.assertIn("privateKey /run/credentials/none.service/key.pem", doubt.problem)

    def test_contents(self) -> None:
        """What is in the files is a fault like any other, for whoever looks."""
        certificate = make_certificate(self.folder)
        listen = f"[http]\nlisten = ssl:1:privateKey={certificate.key_file}:certKey="
        self.load(f"{listen}{certificate.file}\n")
        doubts: list[Fault] = []
        self.assertEqual(
            self.faults(f"{listen}{certificate.key_file}\n", doubts=doubts),
            ["netsvc.ini:2: [http] listen: ssl: there is no certificate in PEM form in key.pem"],
        )
        self.assertEqual(doubts, [])

    def test_folders(self) -> None:
        """What is in the folder of a tls: endpoint likewise; of a file that may not be read only the daemon knows."""
        text = f"[http]\nlisten = tls:{self.folder}:1\n"
        self.assertIn("holds a certificate with its private key", self.faults(text)[0])
        made = make_certificate(self.folder)
        self.load(text)
        refusal = PermissionError(13, "Permission denied", str(made.key_file))
        with patch.object(Path, "read_bytes", side_effect=refusal):
            self.assertEqual(self.faults(text), ["netsvc.ini:2: [http] listen: tls: cannot read key.pem: Permission denied"])
            doubts: list[Fault] = []
            self.load(text, doubts=doubts)
        self.assertEqual(len(doubts), 1)
