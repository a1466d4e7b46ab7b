"""Turns the tutorials, Python files with text between the code, into pages of the site.

A tutorial begins with a docstring of three lines, Title, Description and Accelerator. After it,
each string that stands alone at the top level is Markdown, and all else is code.
"""

import ast
import re
from typing import Any

__all__ = ["on_files", "to_markdown"]

HEADER = re.compile(r"\s*Title: (.+)\nDescription: (.+)\nAccelerator: (.+)\s*")


def to_markdown(source: str, name: str) -> str:
  """Turns the source of a tutorial into the Markdown of its page.

  Args:
    source: of the Python file.
    name: of the file, for the link to it.

  Raises:
    ValueError: if the docstring has other lines than Title, Description and Accelerator.
    SyntaxError: if the source is no Python.

  Example:

  >>> text = 'Title: Add\\nDescription: Adds.\\nAccelerator: None'
  >>> page = to_markdown(f'{3 * chr(34)}{text}{3 * chr(34)}\\n1 + 1\\n', "add.py")
  >>> page.splitlines()[-3:]
  ['```python', '1 + 1', '```']
  """
  tree = ast.parse(source, name)
  header = HEADER.fullmatch(ast.get_docstring(tree) or "")
  if not header:
    raise ValueError(f"{name}: must begin with the lines Title, Description and Accelerator")
  title, description, accelerator = header.groups()
  parts = [f"# {title}", description, f"Accelerator: {accelerator}. Program: [{name}]({name})."]
  lines, end = source.splitlines(), tree.body[0].end_lineno or 0
  for text in [*filter(_is_text, tree.body[1:]), None]:
    code = "\n".join(lines[end : text.lineno - 1 if text else None]).strip("\n")
    if code:
      parts.append(f"```python\n{code}\n```")
    if text:
      parts.append(text.value.value.strip())
      end = text.end_lineno
  return "\n\n".join(parts) + "\n"


def _is_text(statement: ast.stmt) -> bool:
  """Whether a statement is a string that stands alone."""
  value = getattr(statement, "value", None)
  return (
    isinstance(statement, ast.Expr)
    and isinstance(value, ast.Constant)
    and isinstance(value.value, str)
  )


def on_files(files: Any, config: Any) -> Any:
  """Adds a page for each tutorial; MkDocs calls it with the files of the site."""
  # The tests of the pages need no MkDocs.
  from mkdocs.structure.files import File

  for file in list(files):
    if re.fullmatch(r"tutorials/\w+\.py", file.src_uri):
      page = to_markdown(file.content_string, file.name + ".py")
      files.append(File.generated(config, file.src_uri[:-2] + "md", content=page))
  return files
