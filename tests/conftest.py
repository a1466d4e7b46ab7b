"""Starts the tests that take longest first, so that no worker is left with one at the end."""


def pytest_collection_modifyitems(items):
  items.sort(key=lambda item: "trainers" not in item.path.parts)
