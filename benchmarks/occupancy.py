"""What share of the slots' time lies inside trials of ten seconds, as `ablate run` itself measures and says it. Run it with

python benchmarks/occupancy.py [--trials 12] [--slots 2]
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

STUDY = """\
schema: 1
name: occupancy
trainer: synthetic
base: {{steps: 100, step_seconds: 0.1}}
axes: {{num_tokens: {{range: [1, {trials}], step: 1}}}}
metric: {{name: loss, goal: min}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--slots", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "study.yaml").write_text(STUDY.format(trials=options.trials), encoding="utf-8")
        command = [sys.executable, "-m", "ablate", "run", "study.yaml", "--slots", str(options.slots)]
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in said.splitlines() if line.startswith(f"occupancy: {options.trials} done")]
    (busy,) = re.findall(r"slots busy (\d+)%", line)
    print(f"{options.trials} trials of 10 s on {options.slots} slots: slots busy {busy}% of the time")


if __name__ == "__main__":
    main()
