"""Public names: import-linter (setup.cfg) and ruff check the imports between modules."""

import ast
import pathlib
import unittest
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "wsram_tf"
FOLDERS = (PACKAGE, ROOT / "trainers", ROOT / "export")
# `wsram_tf/__init__.py` defines them beside the names of its stub.
OWN_NAMES = {"__version__", "load_model"}


def parsed(path: pathlib.Path) -> ast.Module:
  """The syntax tree of a Python file."""
  return ast.parse(path.read_text())


def modules(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """The Python files of a folder and its subfolders."""
  return (path for path in sorted(folder.rglob("*.py")))


def public_names(tree: ast.Module) -> list[str] | None:
  """The literal list `__all__`; None where there is none."""
  for node in tree.body:
    if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == ["__all__"]:
      return list(ast.literal_eval(node.value))
  return None


def bound_names(tree: ast.Module) -> set[str]:
  """The names that a module's top level defines or imports."""
  names = set()
  for node in tree.body:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
      names.add(node.name)
    elif isinstance(node, ast.Import | ast.ImportFrom):
      names.update(item.asname or item.name for item in node.names)
    elif isinstance(node, ast.Assign | ast.AnnAssign):
      targets = node.targets if isinstance(node, ast.Assign) else [node.target]
      names.update(n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name))
  return names


class PublicNamesTest(unittest.TestCase):
  def test_modules_list_their_public_names(self):
    for path in modules(PACKAGE):
      tree = parsed(path)
      self.assertTrue(ast.get_docstring(tree), f"{path} has no docstring")
      if len(tree.body) == 1 or path.with_suffix(".pyi").exists() or path.stem == "__main__":
        continue
      listed = public_names(tree)
      self.assertIsNotNone(listed, f"{path} has no __all__")
      self.assertLessEqual(set(listed), bound_names(tree), path)
      self.assertEqual(len(listed), len(set(listed)), path)

  def test_stubs_offer_public_names_once(self):
    stubs = list(PACKAGE.rglob("*.pyi"))
    self.assertGreater(len(stubs), 4)
    for stub in stubs:
      found = []
      for node in parsed(stub).body:
        if not isinstance(node, ast.ImportFrom):
          continue
        found += [item.name for item in node.names]
        if node.module:
          source = stub.parent.joinpath(*node.module.split(".")).with_suffix(".py")
          for item in node.names:
            self.assertIn(item.name, public_names(parsed(source)), f"{stub} offers it")
      self.assertEqual(len(found), len(set(found)), stub)
      self.assertFalse(OWN_NAMES & set(found), stub)

  def test_every_module_has_a_subject(self):
    for folder in FOLDERS:
      for path in modules(folder):
        self.assertNotIn(path.stem, ("utils", "util", "helpers", "common", "misc"))


if __name__ == "__main__":
  unittest.main()
