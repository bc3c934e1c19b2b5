"""Put the part's folder on the path, so that the tests import it as the scripts import each other; the long forms."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def pytest_configure(config):
    config.addinivalue_line("markers", "long: the long form of a test, minutes; run with -m long")


def pytest_collection_modifyitems(config, items):
    """Leave out the long forms unless they are asked for with -m."""
    if "long" not in config.option.markexpr:
        for item in items:
            if "long" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="long form: -m long"))
