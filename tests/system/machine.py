"""A throw-away machine with a real systemd and netsvc installed in it as docs/operations.md says."""

import os
import shutil
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path

import twisted

from tests.system.required import require_program, require_root, skip_or_fail

__all__ = ["Machine"]

ROOT = Path(__file__).parent.parent.parent
TESTBED = Path(__file__).parent / "testbed_systemd.sh"
PACKAGES = Path(twisted.__file__).parent.parent
DEADLINE = 90.0
_numbers = count()

# A venv like the one operators make, in place of the host's if it has one, which stays as it is.
# The packages of the running one are shown at another path, so nothing is fetched.
INSTALL = """
set -e
{base}/bin/python{version} -m venv --clear --without-pip /opt/netsvc
site=$(echo /opt/netsvc/lib/python*/site-packages)
echo /opt/packages >"$site/packages.pth"
cp -a /opt/wheel/. "$site/"
printf '%s\\n' '#!/opt/netsvc/bin/python' 'from twisted.scripts.twistd import run' 'run()' >/opt/netsvc/bin/twistd
chmod +x /opt/netsvc/bin/twistd
/opt/netsvc/bin/twistd --help >/dev/null
install -D -m 644 /opt/etc/netsvc.ini /etc/netsvc/netsvc.ini
install -m 644 /opt/etc/netsvc.service /opt/etc/netsvc.socket /etc/systemd/system/
systemctl daemon-reload
"""


def build(target: Path) -> None:
    """The package, as a wheel would install it, in the folder `target`; needs no network."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "node_modules", "_trial_temp*")
        shutil.copytree(ROOT, source, ignore=ignored)
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target), str(source)]
        subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE)


class Machine:
    """One machine. It has no network but its own loopback.

    :raises SkipTest: it cannot run here (not root, no systemd, no namespaces); fails instead where that is required.
    """

    def __init__(self) -> None:
        require_root()
        for program in ("unshare", "nsenter", "capsh", "ip", "/lib/systemd/systemd"):
            require_program(program)
        self._name = f"test-{os.getpid()}-{next(_numbers)}"
        self._folder = tempfile.mkdtemp(prefix="netsvc-machine-")
        wheel = Path(self._folder) / "wheel"
        build(wheel)
        base = sys.base_prefix
        arguments = ["--copy", f"{ROOT}/etc:/opt/etc", "--copy", f"{wheel}:/opt/wheel", "--bind", f"{PACKAGES}:/opt/packages"]
        if base != "/usr":
            # Where it really is, for instance a home directory, a service's user may not read.
            arguments += ["--bind", f"{base}:/opt/python"]
            base = "/opt/python"
        booted = self._testbed("start", *arguments)
        if booted.returncode:
            shutil.rmtree(self._folder)
            skip_or_fail(f"no systemd in namespaces here: {booted.stderr}")
        try:
            self.run(INSTALL.format(base=base, version=f"{sys.version_info.major}.{sys.version_info.minor}"))
        except BaseException:
            self.close()
            raise

    def _testbed(self, action: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        # Output to files: daemons inside would keep a pipe open.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            command = ["bash", str(TESTBED), action, self._name, *arguments]
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=DEADLINE, check=False)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())

    def run(self, script: str, *, check: bool = True) -> str:
        """Run a bash script in it; what it printed. AssertionError if it fails, unless `check` is False."""
        done = self._testbed("exec", "bash", "-c", script)
        if check and done.returncode:
            journal = self._testbed("exec", "journalctl", "--no-pager", "-n", "50", "-u", "netsvc").stdout
            raise AssertionError(f"{script}\nexit status {done.returncode}\n{done.stdout}{done.stderr}\n{journal}")
        return done.stdout

    def python(self, script: str) -> str:
        """Run Python in it, with the packages of the tests; what it printed."""
        return self.run(f"/opt/netsvc/bin/python - <<'END_OF_SCRIPT'\n{script}\nEND_OF_SCRIPT\n")

    def properties(self, *names: str) -> list[str]:
        """Properties of netsvc.service, as ``systemctl show`` says them."""
        lines = dict(line.split("=", 1) for line in self.run(f"systemctl show netsvc -p {','.join(names)}").splitlines())
        return [lines[name] for name in names]

    def close(self) -> None:
        """Power it off."""
        self._testbed("stop")
        shutil.rmtree(self._folder, ignore_errors=True)
