"""However netsvc is installed, twistd knows it: from the folder, a wheel, an sdist, and editable.

Each way gets a fresh venv whose path ends with the running environment's site-packages: netsvc is installed for real, its
dependencies are those that run these tests, and nothing is downloaded. One more venv, of Python 3.13, gets its own.
"""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, TestCase

from tests.system.required import skip_or_fail

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("setup.cfg", "pyproject.toml", "MANIFEST.in", "LICENSE", "netsvc", "twisted_plugins")
FURTHER = ("README.md", "NEWS.md", "benchmarks", "docs", "etc", "newsfragments", "tests")
DEADLINE = 120.0
INSTALL_DEADLINE = 420.0
NO_NETWORK = re.compile("NewConnectionError|NameResolutionError|ConnectTimeout|ReadTimeout|ProxyError")

# Asked of the installed netsvc: where it and its plugin are, and which files it has.
QUESTIONS = """
import json
from importlib.resources import as_file, files
import netsvc
import twisted.plugins.netsvc_plugin as plugin
root = files("netsvc")
with as_file(root) as folder:
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
print(json.dumps({"netsvc": netsvc.__file__, "plugin": plugin.__file__, "files": found}))
"""

IMPORT_ALL = """
import importlib, pkgutil, netsvc
for module in pkgutil.walk_packages(netsvc.__path__, "netsvc."):
    importlib.import_module(module.name)
"""


class CommandFailedError(AssertionError):
    """A command did not do what it was asked for; the text is all that it printed."""


def run(*command: str | Path, cwd: Path, deadline: float = DEADLINE) -> str:
    """What a command prints, run in a folder and without what this environment would add to a Python's path."""
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "PIP_REQUIRE_VIRTUALENV")}
    environ |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=deadline, check=False)
    if done.returncode:
        raise CommandFailedError(f"{' '.join(words)} exited {done.returncode}:\n{done.stdout}")
    return done.stdout


def find_python(version: str) -> Path | None:
    """A Python of this version that can make a venv, has TLS and SQLite; None if there is none."""
    roots = {os.environ.get("PYENV_ROOT", ""), str(Path.home() / ".pyenv")}
    found = [shutil.which(f"python{version}"), *(path for root in roots for path in glob.glob(f"{root}/versions/{version}*/bin/python{version}"))]
    for path in found:
        if path is not None:
            try:
                run(path, "-c", "import ensurepip, sqlite3, ssl, venv", cwd=Path("/"))
            except (CommandFailedError, OSError, subprocess.TimeoutExpired):
                continue  # such as pyenv's shim of a version that is not switched on
            return Path(path)
    return None


class PackagingTests(TestCase):
    """Four ways to install."""

    def setUp(self) -> None:
        """A copy of the project to build in, and an empty folder to run in."""
        self.folder = Path(self.mktemp()).resolve()
        self.elsewhere = self.folder / "elsewhere"
        self.elsewhere.mkdir(parents=True)
        self.source = self.folder / "source"
        self.source.mkdir()
        for name in (*NEEDED, *FURTHER):
            original = ROOT / name
            if original.is_dir():
                shutil.copytree(original, self.source / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache", "_trial_temp*"))
            elif original.exists() or name in NEEDED:
                shutil.copy(original, self.source / name)
        package = self.source / "netsvc"
        self.files = sorted(str(path.relative_to(package)) for path in package.rglob("*") if path.is_file())

    def venv(self) -> Path:
        """The Python of a fresh venv on top of the running environment's packages."""
        place = self.folder / "venv"
        run(sys.executable, "-m", "venv", "--without-pip", place, cwd=self.elsewhere)
        (packages,) = place.glob("lib/python*/site-packages")
        paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        (packages / "zz-dependencies.pth").write_text("".join(f"{path}\n" for path in sorted(paths)))
        return place / "bin" / "python"

    def build(self, what: str) -> Path:
        """A wheel or sdist, made by the build backend of pyproject.toml with what is installed here."""
        target = self.folder / what
        target.mkdir()
        script = f"import sys, setuptools.build_meta as backend; backend.build_{what}(sys.argv[1])"
        try:
            run(sys.executable, "-c", script, target, cwd=self.source)
        except CommandFailedError as error:
            if "No module named" in str(error):
                skip_or_fail(f"setuptools and wheel are needed to build: {str(error).splitlines()[-1]}")
            raise
        (built,) = target.iterdir()
        return built

    def install(self, python: Path, *what: str | Path) -> None:
        """Install with pip into a venv, without the network."""
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
        try:
            # What the running environment has of netsvc is not replaced: it belongs to somebody else.
            run(*pip, "--ignore-installed", *what, cwd=self.elsewhere)
        except CommandFailedError as error:
            if "No module named pip" in str(error):
                skip_or_fail("pip is needed to install")
            raise

    def assert_listed(self, *twistd: str | Path, cwd: Path) -> None:
        """``twistd --help`` has one line for netsvc and tells of no plugin that cannot be loaded."""
        output = run(*twistd, "--help", cwd=cwd)
        self.assertEqual(len(re.findall(r"(?m)^ +netsvc +Chat rooms, and procedures", output)), 1, output)
        self.assertNotIn("Traceback", output)

    def assert_works(self, python: Path, home: Path) -> None:
        """twistd lists and knows what was installed below `home`, run anywhere and in the checkout; no file of it is missing."""
        twistd = "from twisted.scripts.twistd import run; run()"
        self.assert_listed(python, "-P", "-c", twistd, cwd=self.elsewhere)
        self.assert_listed(python, "-c", twistd, cwd=self.source)
        self.assertIn("--config", run(python, "-P", "-c", twistd, "netsvc", "--help", cwd=self.elsewhere))
        answers = json.loads(run(python, "-P", "-c", QUESTIONS, cwd=self.elsewhere).splitlines()[-1])
        for name in ("netsvc", "plugin"):
            self.assertTrue(Path(answers[name]).is_relative_to(home), answers)
        self.assertEqual(answers["files"], self.files)
        self.assertIn("py.typed", answers["files"])
        self.assertTrue((python.parent / "netsvc").exists(), "the console script")

    def assert_nothing_of_twisted(self, names: list[str]) -> None:
        """Of Twisted's package there is the plugin's module only."""
        self.assertEqual([name for name in names if re.search(r"(^|/)twisted/", name)], ["twisted/plugins/netsvc_plugin.py"])

    def test_folder(self) -> None:
        """``pip install .``"""
        python = self.venv()
        self.install(python, self.source)
        self.assert_works(python, self.folder / "venv")

    def test_wheel(self) -> None:
        """A wheel has the package, its data and the plugin, nothing of Twisted's and none of the tests; installed, it works."""
        wheel = self.build("wheel")
        names = zipfile.ZipFile(wheel).namelist()
        self.assert_nothing_of_twisted(names)
        self.assertEqual({name.split("/")[0].split("-")[0] for name in names}, {"netsvc", "twisted"})
        metadata = zipfile.ZipFile(wheel).read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
        self.assertIn("Requires-Python: >=3.11\n", metadata)
        python = self.venv()
        self.install(python, wheel)
        self.assert_works(python, self.folder / "venv")

    def test_sdist(self) -> None:
        """An sdist has the tests, the documentation and etc/ too; installed, it works."""
        sdist = self.build("sdist")
        with tarfile.open(sdist) as archive:
            names = [member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()]
        self.assertFalse([name for name in names if "__pycache__" in name or "/twisted/" in name])
        self.assertTrue({"twisted_plugins/netsvc_plugin.py", "LICENSE", "setup.cfg", "tests/system/test_packaging.py"} <= set(names), names)
        self.assertNotIn("twisted_plugins/__init__.py", names)
        python = self.venv()
        self.install(python, sdist)
        self.assert_works(python, self.folder / "venv")

    def test_editable(self) -> None:
        """``pip install -e .`` links to the checkout, as setup.cfg says strictly, so that the plugin is found, too."""
        python = self.venv()
        self.install(python, "--editable", self.source)
        self.assert_works(python, self.source / "build")
        with (self.source / "netsvc" / "__init__.py").open("a") as module:
            module.write("\nedited = True\n")
        self.assertEqual(run(python, "-P", "-c", "import netsvc; print(netsvc.edited)", cwd=self.elsewhere).strip(), "True")

    def test_python_3_13(self) -> None:
        """A wheel and its dependencies, downloaded, work on Python 3.13: twistd lists netsvc, and every module can be imported."""
        found = find_python("3.13")
        if found is None:
            # Not every machine has one, and not all need it: this is a skip in CI, too.
            raise SkipTest("no Python 3.13 with ensurepip, ssl and sqlite3 on this machine")
        wheel = self.build("wheel")
        run(found, "-m", "venv", self.folder / "venv", cwd=self.elsewhere)
        python = self.folder / "venv" / "bin" / "python"
        try:
            run(python, "-m", "pip", "install", "--quiet", "--only-binary=:all:", wheel, cwd=self.elsewhere, deadline=INSTALL_DEADLINE)
        except CommandFailedError as error:
            if NO_NETWORK.search(str(error)) is None:
                raise
            skip_or_fail("the dependencies cannot be downloaded here")
        self.assert_listed(python.parent / "twistd", cwd=self.elsewhere)
        self.assert_works(python, self.folder / "venv")
        run(python, "-P", "-c", IMPORT_ALL, cwd=self.elsewhere)
