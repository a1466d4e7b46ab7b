"""Extends Griffe, which reads the package for the API reference, by what this package computes.

- The help of a setting documents the attribute.
- The sections Estimator, Source, Call arguments and Example become paragraphs with a heading.
- The names of a package that loads them on first use are public: those that its stub file
  re-exports (`from .x import A as A`), or that it hands to `attach` (`submod_attrs={"x": ["A"]}`).
"""

import ast
import pathlib
import re
from typing import Any

import griffe

__all__ = ["PackageNames"]


def lazy_names(package: pathlib.Path) -> dict[str, str]:
  """Returns the names that a package loads on first use, with the module of each.

  Args:
    package: its folder.
  """
  stub, names = package / "__init__.pyi", {}
  for statement in ast.parse(stub.read_text()).body if stub.is_file() else ():
    if isinstance(statement, ast.ImportFrom) and statement.module:
      for name in statement.names:
        if name.asname == name.name:
          names[name.name] = statement.module
  for node in ast.walk(ast.parse((package / "__init__.py").read_text())):
    if isinstance(node, ast.keyword) and node.arg == "submod_attrs":
      for module, attributes in ast.literal_eval(node.value).items():
        names |= dict.fromkeys(attributes, module)
  return names


def help_text(value: ast.expr, constants: dict[str, str]) -> str:
  """Returns the leading constant part of a text, "" where there is none."""
  if isinstance(value, ast.BinOp):
    return help_text(value.left, constants)
  if isinstance(value, ast.Name):
    return constants.get(value.id, "")
  return str(value.value) if isinstance(value, ast.Constant) else ""


def with_paragraphs(docstring: str) -> str:
  """Returns a docstring whose sections beyond Google's style are plain Markdown."""
  result, lines = [], docstring.splitlines()
  while lines:
    line = lines.pop(0)
    found = re.fullmatch(r"(Estimator|Source|Call arguments|Example): *(.*)", line)
    if not found:
      result.append(line)
      continue
    body = [found[2]] if found[2] else []
    while lines and lines[0].startswith(" "):
      # An item of the call's arguments begins at the section's indentation.
      item = found[1] == "Call arguments" and not lines[0].startswith("   ")
      body.append(f"- {lines.pop(0).strip()}" if item else f"  {lines.pop(0).strip()}")
    title = f"**{found[1]}:**"
    if found[1] in ("Estimator", "Source"):
      result.append(" ".join([title, *(part.strip() for part in body)]))
    else:
      result += [title, "", *body]
  # Markdown would read >>> as quotations. A session ends at an empty line, as doctest has it.
  session = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)
  text = session.sub(lambda found: f"```pycon\n{found[0]}\n```", "\n".join(result))
  # A power, 2**s, is no bold text; every other part between backticks is code.
  parts = text.split("`")
  parts[::2] = [re.sub(r"(?<=\w)\*\*(?=\w)", r"\\*\\*", part) for part in parts[::2]]
  return "`".join(parts)


class PackageNames(griffe.Extension):
  """Documents settings by their help, and makes the names of lazy packages public."""

  def __init__(self):
    super().__init__()
    self._constants: dict[str, str] = {}
    self._settings: list[tuple[griffe.Attribute, ast.expr]] = []

  def on_attribute_instance(self, *, node: Any, attr: griffe.Attribute, **kwargs: Any) -> None:
    """Remembers texts and settings; a setting's help may be a text that is read later."""
    value = getattr(node, "value", None)
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
      self._constants[attr.name] = value.value
    elif (
      isinstance(value, ast.Call)
      and isinstance(value.func, ast.Name)
      and value.func.id == "setting"
      and len(value.args) > 1
    ):
      self._settings.append((attr, value.args[1]))

  def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
    """Rewrites the sections of the docstring."""
    if obj.docstring:
      obj.docstring.value = with_paragraphs(obj.docstring.value)

  def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
    """Adds docstrings and exports once the whole package is read."""
    for attribute, value in self._settings:
      text = help_text(value, self._constants).rstrip(" :;")
      if text and attribute.docstring is None:
        text = text[0].upper() + text[1:] + "."
        attribute.docstring = griffe.Docstring(text, parent=attribute)
    modules = [pkg]
    while modules:
      module = modules.pop()
      modules += [one for one in module.modules.values() if not one.is_alias]
      if not module.is_init_module:
        continue
      names = lazy_names(pathlib.Path(module.filepath).parent)
      for name in names.keys() - module.members.keys():
        target = f"{module.path}.{names[name]}.{name}"
        module.set_member(name, griffe.Alias(name, target, parent=module))
      if names:
        module.exports = sorted({str(name) for name in module.exports or ()} | names.keys())
