"""The benchmark runs and fills its table. What the figures are is not a test's business."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NUMBER = r"\d+(?:\.\d+)?(?:e[+-]\d+)?"
MEASURES = ("CPU per delta, deltas waiting", "CPU per delta, 1 ms apart", "fixed CPU per run")
HAS_NODE_RUNTIME = (ROOT / "tests/node-runtime/node_modules/@copilotkit/runtime").exists()
ROWS = [
    *(f"copilotkit: {measure}" for measure in MEASURES if HAS_NODE_RUNTIME),
    *(f"{wire}: {measure}" for measure in MEASURES for wire in ("ag-ui", "vercel-ai")),
    "ag-ui: CPU per run, 1000 prior messages",
    "vercel-ai: CPU per run, 1000 prior messages",
    "start to first answer, CPU",
    "start to first answer, wall",
]
LINES = [
    "gateway: p99 of the pauses",
    "plain: p99 of the pauses",
    "append of a turn",
    "list of 50 among",
    "load of 1000",
]


@pytest.mark.timeout(300)  # more than its programs have
def test_the_benchmark_prints_a_figure_for_every_measure() -> None:
    bench = [sys.executable, "-m", "benchmarks", "--quick"]
    done = subprocess.run(bench, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d+ cores, .*\n\w+ 3\.\d+", done.stdout)
    rows = re.findall(
        rf"^(\S.*\S) +{NUMBER} +{NUMBER} (?:us|ms|s) +{NUMBER} +{NUMBER} +{NUMBER} +\d+$", done.stdout, re.MULTILINE
    )
    assert rows == ROWS
    assert [line for line in LINES if line not in done.stdout] == []
