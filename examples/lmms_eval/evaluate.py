"""Evaluates one checkpoint with lmms-eval and prints its scores as a line of JSON. Knows nothing of ablate.

The call is the one that lmms-eval documents, `python -m lmms_eval --model NAME --model_args pretrained=PATH --tasks TASKS --output_path
FOLDER`; it leaves `FOLDER/MODEL/DATE_results.json`, where `results[task]["metric,filter"]` is a score.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True, help="as lmms-eval calls the kind of model, such as llava_hf")
    parser.add_argument("--pretrained", required=True, help="a checkpoint of that kind")
    parser.add_argument("--tasks", required=True, help="with commas between")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        argv = [sys.executable, "-m", "lmms_eval", "--model", options.model, "--model_args", f"pretrained={options.pretrained}"]
        argv += ["--tasks", options.tasks, "--batch_size", "1", "--output_path", folder]
        subprocess.run(argv, check=True)  # noqa: S603
        (written,) = Path(folder).rglob("*_results.json")
        results = json.loads(written.read_text(encoding="utf-8"))["results"]
    scores = {
        f"{task}/{name.partition(',')[0]}": value
        for task, given in results.items()
        for name, value in given.items()
        if name.endswith(",none") and isinstance(value, int | float)
    }
    print(json.dumps({"step": 1, **scores}))


if __name__ == "__main__":
    main()
