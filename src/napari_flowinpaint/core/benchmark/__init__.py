"""Damage intact sections on purpose, repair them, and compare with the truth.

Every third section is damaged, so that the neighbours are intact; masks are drawn anew for
every section. All methods and peers see the same sections and masks in the same run.
"""

from .cases import damaged_sections
from .run_benchmark import run_benchmark
from .scores import BenchmarkScores
from .table import BenchmarkOutcome, BenchmarkRow, BenchmarkTable

__all__ = [
    "BenchmarkOutcome",
    "BenchmarkRow",
    "BenchmarkScores",
    "BenchmarkTable",
    "damaged_sections",
    "run_benchmark",
]
