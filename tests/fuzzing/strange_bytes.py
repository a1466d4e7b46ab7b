"""Bytes, text and JSON such as users hand in by mistake: valid ones with damage, and odd ones."""

import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

_CHANGE = 16  # Bytes that describe one change.
_PNG = b"\x89PNG\r\n\x1a\n"
# What has a meaning to some parser, or to a person.
ODD_TEXTS = (
  *("", " ", "\t", "0", "-1", "1", "2.5", "nan", "inf", "-inf", "1e400", "1e39", "0x10", "1_000"),
  *("99999999999999999999", "9" * 5_000, "true", "False", "maybe", "None", "null", "[]", "{}", ","),
  *("1,2,3", "a,b", '"', "'", "\\", "#", "--", "=", "~nobody/x", "/", ".", "..", "/dev/null"),
  *("x" * 300, "a\0b", "a\nb", "\r", "é", "\u2028", "\ufeff", "٣", "😀", "\udcff", "<end>", "%s"),
)

odd_texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=8)
odd_values = st.recursive(
  st.none() | st.booleans() | st.integers() | st.floats() | odd_texts.filter(str.isprintable),
  lambda inner: (
    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
  ),
  max_leaves=4,
)


def damaged(examples: Sequence[bytes], most: int = 4) -> st.SearchStrategy[bytes]:
  """Valid files with up to so many changes.

  Bytes are flipped, overwritten, inserted, removed, repeated, cut off, or taken from another file;
  the check sums of half of the PNG files are mended, since nobody reads on behind a wrong one.
  """
  # Drawn as one piece, which is many times faster than change by change.
  return st.builds(
    lambda contents, drawn: changed(contents, drawn, examples),
    st.sampled_from(list(examples)),
    st.binary(min_size=_CHANGE, max_size=_CHANGE * most),
  )


def damaged_json(example: Any) -> st.SearchStrategy[bytes]:
  """JSON of an object of which up to two values are others, or are gone; or damaged as bytes."""
  replaced = st.builds(
    _replaced,
    st.just(example),
    st.dictionaries(st.sampled_from(sorted(example)), odd_values, max_size=2),
    st.lists(st.sampled_from(sorted(example)), max_size=1),
  ).map(lambda values: json.dumps(values).encode())
  nested = st.sampled_from([b"[" * 100_000, b'{"a":' * 100_000, b"", b"null", b"\xff\xfe{}"])
  return (
    replaced | damaged([json.dumps(example).encode()]) | nested | odd_values.map(_as_json_bytes)
  )


def changed(contents: bytes, drawn: bytes, examples: Sequence[bytes]) -> bytes:
  """Makes the changes of `damaged` that random bytes describe.

  Args:
    contents: a valid file.
    drawn: 16 random bytes a change.
    examples: other files, from which parts are taken.
  """
  for at in range(0, len(drawn) - _CHANGE + 1, _CHANGE):
    change = drawn[at : at + _CHANGE]
    action, length, place = change[0] % 8, 1 + change[1] % 32, int.from_bytes(change[2:5], "big")
    # Every other change is in the header, which tells a reader what to do.
    start = place % ((min(len(contents), 64) if change[5] % 2 else len(contents)) + 1)
    before, there, after = _parted(contents, start, length)
    if action == 0 and there:
      there = bytes([there[0] ^ 1 << change[6] % 8]) + there[1:]
    elif action == 1:
      there = change[6 : 6 + len(there)] + there[10:]
    elif action == 2:
      there = change[6 : 6 + change[7] % 10] + there
    elif action == 3:
      there = b""
    elif action == 4:
      there = there * (2 + change[6] % 3)
    elif action == 5:
      there, after = b"", b""
    elif action == 6:
      other = examples[change[6] % len(examples)]
      after = other[start:]
    elif action == 7:  # Numbers at the ends of their range.
      there = bytes([0x00 if change[6] % 2 else 0xFF]) * min(4, len(there)) + there[4:]
    contents = before + there + after
  mend = len(drawn) % 2 and contents.startswith(_PNG)
  return _mended(contents) if mend else contents


def as_bytes(lines: list[str]) -> bytes:
  """Lines of a file, of which some may not be UTF-8."""
  return "\n".join(lines).encode("utf-8", "surrogateescape")


def _replaced(example: dict, others: dict, gone: list[str]) -> dict:
  return {key: value for key, value in (example | others).items() if key not in gone}


def _as_json_bytes(value: Any) -> bytes:
  return json.dumps(value).encode()


def _parted(contents: bytes, start: int, length: int) -> tuple[bytes, bytes, bytes]:
  return contents[:start], contents[start : start + length], contents[start + length :]


def _mended(contents: bytes) -> bytes:
  """A PNG file with the right check sum behind each chunk."""
  parts, at = [_PNG], len(_PNG)
  while at + 12 <= len(contents):
    (size,) = struct.unpack(">I", contents[at : at + 4])
    end = at + 8 + size
    if end + 4 > len(contents):
      break
    chunk = contents[at + 4 : end]
    parts.append(contents[at : at + 4] + chunk + struct.pack(">I", zlib.crc32(chunk)))
    at = end + 4
  return b"".join(parts) + contents[at:]
