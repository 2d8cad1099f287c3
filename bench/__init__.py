"""Measurements beside what a user would use instead; they share the tests' server, browser and environments."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # for `support`, however a benchmark is started
