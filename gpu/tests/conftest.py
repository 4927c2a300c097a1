"""The check's package, and the exporter that it uses."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "gpu"), str(ROOT / "export")]
