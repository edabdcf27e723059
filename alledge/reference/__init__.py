"""The reference model that comes with the package: a run without its tiles, and its int8 bundle for a bare CPU.

`benchmarks/reference.py` makes both; docs/results/taleghani.md has its figures, its card says what it is not for.
"""

from pathlib import Path

RUN = Path(__file__).parent / "run"
BUNDLE = Path(__file__).parent / "cpu.alledge"
