"""The package's imports: work flows one way, and every room is entered by its doors."""

import ast
import pathlib
import unittest
from collections.abc import Iterator
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE, SCRIPTS = "wsram_tf", ("trainers", "export")

# For each part of the package, what else of the package it may import; a part may import its own
# files. A new part is added here by whoever adds it.
ALLOWED = {
  "": {"lazy_names"},
  "captions": {
    "config",
    "data",
    "layers",
    "lazy_names",
    "learning",
    "locations",
    "numerics",
    "objectives",
    "settings",
  },
  "classification": {
    "config",
    "data",
    "layers",
    "lazy_names",
    "learning",
    "location_families",
    "locations",
    "numerics",
    "objectives",
    "settings",
  },
  "config": {"objectives", "settings"},
  "data": {"settings"},
  "drawing": {"locations"},
  "extensions": set(),
  "layers": {"locations", "numerics"},
  "lazy_names": set(),
  "learning": {
    "config",
    "data.pipelines",
    "layers",
    "lazy_names",
    "locations",
    "numerics",
    "objectives",
  },
  "location_families": {"locations"},
  "locations": set(),
  "numerics": set(),
  "objectives": {"lazy_names", "numerics"},
  "settings": set(),
}
# Underscored, so that no field can take their names, and public nevertheless.
NAMED_TUPLE_METHODS = {"_asdict", "_fields", "_make", "_replace"}


class Module(NamedTuple):
  """One parsed file: its dotted name, its path and its syntax tree."""

  name: str
  path: pathlib.Path
  tree: ast.Module


class Import(NamedTuple):
  """One imported thing: `name` of `source` (None for the module itself), bound to `alias`."""

  source: str
  name: str | None
  alias: str


def package_modules(root: pathlib.Path = ROOT) -> dict[str, Module]:
  """Every module of the package, by dotted name."""
  modules = {}
  for path in sorted((root / PACKAGE).rglob("*.py")):
    parts = path.relative_to(root).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    modules[name] = Module(name, path, ast.parse(path.read_text()))
  return modules


def script_modules(folder: str, root: pathlib.Path = ROOT) -> dict[str, Module]:
  """Every module of a folder of scripts, by the name that its siblings import it by."""
  # Nobody imports __init__.py, which lets `python -m` find the siblings.
  paths = sorted(path for path in (root / folder).glob("*.py") if path.stem != "__init__")
  return {path.stem: Module(path.stem, path, ast.parse(path.read_text())) for path in paths}


def imports(module: Module, modules: dict[str, Module]) -> Iterator[Import]:
  """What a module imports, wherever the statement stands; a submodule counts as a module."""
  for node in ast.walk(module.tree):
    if isinstance(node, ast.Import):
      for item in node.names:
        yield Import(item.name, None, item.asname or item.name)
    elif isinstance(node, ast.ImportFrom):
      source = node.module or ""
      if node.level:
        here = module.name.split(".")
        up = node.level - (module.path.name == "__init__.py")
        source = ".".join(here[: len(here) - up] + ([source] if source else []))
      for item in node.names:
        alias = item.asname or item.name
        if f"{source}.{item.name}" in modules:
          yield Import(f"{source}.{item.name}", None, alias)
        else:
          yield Import(source, item.name, alias)


def part(name: str) -> str:
  """The part of the package that a dotted name belongs to: `layers` for `wsram_tf.layers.x`."""
  return (name.split(".") + [""])[1]


def may_import(importer: str, imported: str) -> bool:
  """Whether one module of the package may import another."""
  inside = imported.removeprefix(PACKAGE).removeprefix(".")
  if part(importer) and part(importer) == part(imported):
    return True
  allowed = ALLOWED[part(importer)]
  return any(inside == name or inside.startswith(f"{name}.") for name in allowed)


def lazy_names(module: Module) -> list[tuple[str, str]]:
  """The names in the stub file beside a module, each with the module that defines it."""
  stub = module.path.with_suffix(".pyi")
  tree = ast.parse(stub.read_text()) if stub.exists() else ast.Module([], [])
  return [
    (".".join(filter(None, (module.name, node.module))), item.name)
    for node in tree.body
    if isinstance(node, ast.ImportFrom)
    for item in node.names
  ]


def public_names(module: Module) -> list[str] | None:
  """What `__all__` lists, or None where there is none."""
  if lazy_names(module):
    return [name for _, name in lazy_names(module)] + ["__version__", "load_model"]
  for node in module.tree.body:
    if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["__all__"]:
      return list(ast.literal_eval(node.value))
  return None


def bound_names(module: Module) -> set[str]:
  """What a module's top level defines or imports."""
  names = set()
  for node in module.tree.body:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
      names.add(node.name)
    elif isinstance(node, ast.Import | ast.ImportFrom):
      names.update(item.asname or item.name for item in node.names)
    elif isinstance(node, ast.Assign | ast.AnnAssign):
      targets = node.targets if isinstance(node, ast.Assign) else [node.target]
      names.update(n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))
  return names


def is_private(name: str) -> bool:
  """Whether a name has a leading underscore and no public meaning."""
  dunder = name.startswith("__") and name.endswith("__")
  return name.startswith("_") and not dunder and name not in NAMED_TUPLE_METHODS


class ImportsTest(unittest.TestCase):
  def setUp(self):
    super().setUp()
    self.package = package_modules()
    self.scripts = {folder: script_modules(folder) for folder in SCRIPTS}
    self.everything = list(self.package.values())
    for modules in self.scripts.values():
      self.everything.extend(modules.values())

  def modules_below(self, module: Module) -> dict[str, Module]:
    """What a module can import of ours: the package, and for a script its siblings."""
    return {**self.package, **self.scripts.get(module.path.parent.name, {})}

  def test_finds_the_package(self):
    parts = {part(name) for name in self.package}
    self.assertLessEqual({"captions", "classification", "layers", "learning"}, parts)
    self.assertEqual(parts - set(ALLOWED), set(), "new: say in ALLOWED what they may import")

  def test_parts_import_what_they_may(self):
    for name, module in self.package.items():
      for item in imports(module, self.package):
        if item.source.split(".")[0] == PACKAGE:
          self.assertTrue(may_import(name, item.source), f"{name} imports {item.source}")

  def test_package_imports_no_script(self):
    scripts = {name for modules in self.scripts.values() for name in modules} | set(SCRIPTS)
    for name, module in self.package.items():
      for item in imports(module, self.package):
        self.assertNotIn(item.source.split(".")[0], scripts, name)

  def test_trainers_and_export_never_import_each_other(self):
    trainers, export = self.scripts["trainers"], self.scripts["export"]
    # Both folders are on the path of the tests, where one name would hide the other.
    self.assertEqual(set(trainers) & set(export), set())
    for own, other in ((trainers, {"export", *export}), (export, {"trainers", *trainers})):
      for name, module in own.items():
        for item in imports(module, own):
          self.assertNotIn(item.source.split(".")[0], other, name)

  def test_flags_are_defined_in_scripts_only(self):
    for name, module in self.package.items():
      for item in imports(module, self.package):
        words = [*item.source.split("."), item.name]
        if words[0] == "absl":
          self.assertFalse({"app", "flags"} & set(words), f"{name} imports {item}")
      names = {n.id for n in ast.walk(module.tree) if isinstance(n, ast.Name)}
      self.assertNotIn("FLAGS", names, name)

  def test_no_private_name_is_used_from_outside(self):
    for module in self.everything:
      for item in imports(module, self.modules_below(module)):
        for word in [*item.source.split("."), item.name or ""]:
          self.assertFalse(is_private(word), f"{module.path.name} imports {item}")
      for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
          owner = ast.unparse(node.value)
          self.assertIn(
            owner, ("self", "cls", "super()"), f"{module.path.name}: {ast.unparse(node)}"
          )

  def test_rooms_are_entered_by_their_doors(self):
    for module in self.everything:
      modules = self.modules_below(module)
      aliases = {}
      for item in imports(module, modules):
        doors = public_names(modules[item.source]) if item.source in modules else None
        if doors is None:
          continue
        if item.name is not None:
          self.assertIn(item.name, doors, f"{module.path.name} imports it from {item.source}")
        else:
          aliases[item.alias] = item.source
      for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in aliases:
          source = aliases[ast.unparse(node.value)]
          if f"{source}.{node.attr}" not in modules:
            doors = public_names(modules[source])
            self.assertIn(node.attr, doors, f"{module.path.name}: {ast.unparse(node)}")

  def test_modules_say_what_is_in_them(self):
    for name, module in self.package.items():
      self.assertTrue(ast.get_docstring(module.tree), f"{name} has no docstring")
      if len(module.tree.body) == 1:
        continue  # A folder's docstring alone: it has nothing to list.
      if lazy_names(module):
        continue
      listed = public_names(module)
      self.assertIsNotNone(listed, f"{name} has no __all__")
      self.assertLessEqual(set(listed), bound_names(module), name)
      self.assertEqual(len(listed), len(set(listed)), name)

  def test_packages_offer_what_their_modules_define(self):
    for package in self.package.values():
      names = lazy_names(package)
      self.assertEqual(len(names), len({name for _, name in names}), package.name)
      for source, name in names:
        module = self.package.get(f"{source}.{name}") or self.package[source]
        if module.name == source:
          self.assertIn(name, public_names(module), f"{package.name} offers {name}")

  def test_no_room_without_a_name(self):
    for module in self.everything:
      self.assertNotIn(module.path.stem, ("utils", "util", "helpers", "common", "misc"))


if __name__ == "__main__":
  unittest.main()
