"""What holds of every module: where it is, how long it is, what it must not do."""

import ast
import re
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache
from pathlib import Path

from twisted.trial.unittest import TestCase

ROOT = Path(__file__).resolve().parents[1]
LONGEST_MODULE = 500
LONGEST_FUNCTION = 50
# Words that say nothing of what a thing is.
EMPTY_WORDS = ("Manager", "Handler", "Engine", "Helper", "Util")
# Composition looks modules up when it runs; plugins name theirs.
IMPORTS_LATE = ("netsvc/tap.py", "netsvc/cli.py", "netsvc/cli/")
FOLDERS = {"benchmarks", "docs", "etc", "netsvc", "newsfragments", "tests", "twisted_plugins"}
FILES = {"LICENSE", "MANIFEST.in", "NEWS.md", "README.md", "pyproject.toml", "setup.cfg"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(*folders: str) -> Iterator[tuple[str, str]]:
    """The name, as a path from the top, and the text of every module below the folders."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


@cache
def parsed(*folders: str) -> tuple[tuple[str, ast.Module], ...]:
    """The name and the syntax tree of every module below the folders."""
    return tuple((name, ast.parse(text, name)) for name, text in modules(*folders))


def imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import statement below a node."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))


def public_names(tree: ast.Module) -> list[str] | None:
    """What a module's ``__all__`` lists, None if it has none."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id == "__all__" and isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            return list(ast.literal_eval(node.value))
    return None


def defined(tree: ast.Module) -> set[str]:
    """The names that the statements of a module bind, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, Function | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
    return names


class LayoutTests(TestCase):
    """Each test lists all that breaks its rule."""

    def assert_none(self, found: list[str]) -> None:
        """Nothing was found; what was is shown a line each."""
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_top_folder(self) -> None:
        """The top has the files and folders that docs/architecture.md names, and hidden ones; what was built is in none of them."""
        lines = (ROOT / ".gitignore").read_text().splitlines()
        ignored = {line.strip("/").rstrip("*") for line in lines if line[:1] not in ("", "#", "*")}
        found = [path for path in ROOT.iterdir() if not path.name.startswith(".") and not path.name.startswith(tuple(ignored))]
        strange = [path.name for path in found if path.name not in (FOLDERS if path.is_dir() else FILES) and path.suffix != ".egg-info"]
        self.assert_none(strange)

    def test_modules_are_short(self) -> None:
        """No module has 500 lines or more."""
        folders = ("netsvc", "tests", "benchmarks", "twisted_plugins")
        self.assert_none([f"{name}: {text.count(chr(10))} lines" for name, text in modules(*folders) if text.count("\n") >= LONGEST_MODULE])

    def test_functions_are_short(self) -> None:
        """No function has 50 lines or more."""
        self.assert_none(
            [
                f"{name}:{node.lineno}: {node.name}"
                for name, tree in parsed("netsvc", "twisted_plugins")
                for node in ast.walk(tree)
                if isinstance(node, Function) and node.end_lineno is not None and node.end_lineno - node.lineno + 1 >= LONGEST_FUNCTION
            ]
        )

    def test_modules_say_what_they_are(self) -> None:
        """Every module has a docstring and lists its public names, and those exist in it."""
        found = []
        for name, tree in parsed("netsvc", "twisted_plugins"):
            names = public_names(tree)
            if ast.get_docstring(tree) is None:
                found.append(f"{name}: no docstring")
            if names is None:
                found.append(f"{name}: no __all__")
            else:
                found += [f"{name}: {missing} is in __all__ and nowhere else" for missing in sorted(set(names) - defined(tree))]
        self.assert_none(found)

    def test_packages_hold_no_code(self) -> None:
        """An __init__.py has a docstring, imports and constants: what does something has a module of its own."""
        self.assert_none(
            [
                f"{name}:{node.lineno}"
                for name, tree in parsed("netsvc")
                if name.endswith("/__init__.py")
                for node in tree.body
                if isinstance(node, Function | ast.ClassDef)
            ]
        )

    def test_names_say_something(self) -> None:
        """No class is called by a word that would fit any other."""
        self.assert_none(
            [
                f"{name}: {found}"
                for name, text in modules("netsvc", "tests", "benchmarks")
                for found in re.findall(r"(?m)^\s*class (\w+)", text)
                if any(word in found for word in EMPTY_WORDS)
            ]
        )

    def test_imports_are_absolute_and_on_top(self) -> None:
        """No relative import, and none inside a function but where modules are composed."""
        found = []
        for name, tree in parsed("netsvc", "twisted_plugins"):
            found += [f"{name}:{node.lineno}: relative" for node in imports(tree) if isinstance(node, ast.ImportFrom) and node.level]
            if not name.startswith(IMPORTS_LATE):
                functions = (node for node in ast.walk(tree) if isinstance(node, Function))
                found += [f"{name}:{node.lineno}: in {function.name}" for function in functions for node in imports(function)]
        self.assert_none(found)

    def test_no_global_reactor(self) -> None:
        """The reactor is passed: nothing imports it at the top of a module, which would also choose it too early."""
        found = []
        for name, tree in parsed("netsvc", "twisted_plugins"):
            for node in tree.body:
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
                module = node.module if isinstance(node, ast.ImportFrom) else None
                if "twisted.internet.reactor" in names or (module == "twisted.internet" and "reactor" in names):
                    found.append(f"{name}:{node.lineno}")
        self.assert_none(found)

    def test_plugin(self) -> None:
        """The plugin alone makes the service known, and imports nothing of netsvc: twistd loads it for every other service, too."""
        makers = [name for name, text in modules("netsvc", "twisted_plugins") if "ServiceMaker(" in text]
        self.assertEqual(makers, ["twisted_plugins/netsvc_plugin.py"])
        ((_, tree),) = parsed("twisted_plugins")
        self.assertEqual([node.module for node in imports(tree) if isinstance(node, ast.ImportFrom)], ["twisted.application.service"])

    def test_every_package_has_its_layer(self) -> None:
        """The import contract names every package, so that none is above or below nothing."""
        config = ConfigParser(interpolation=None)
        config.read(ROOT / "setup.cfg", encoding="utf-8")
        text = config["importlinter:contract:layers"]["layers"]
        layers = {layer.strip(" ()") for row in text.split("\n") for layer in row.split("|")}
        packages = {path.stem for path in (ROOT / "netsvc").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
        self.assertLessEqual(packages - {"__init__"}, layers)
