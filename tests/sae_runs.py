"""The sae template's code in its own environment, as a run executes it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import textwrap
from pathlib import Path
from typing import Any


def call(
    python: Path,
    folder: Path,
    *command: str,
    threads: int = 1,
    timeout_s: float = 600,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run python in a copy of the template, with the AI_SCIENTIST_* variables that are given."""
    given = {f"AI_SCIENTIST_{name}": value for name, value in variables.items()}
    fixed = {"PATH": os.defpath, "OMP_NUM_THREADS": str(threads), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [str(python), *command],
        cwd=folder,
        env=fixed | given,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


def smoke(
    python: Path, folder: Path, data: Path, run: str = "run_0", threads: int = 1, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the experiment in the smoke profile."""
    fixed = {"PROFILE": "smoke", "DATA": str(data)}
    command = ("experiment.py", f"--out_dir={run}")
    return call(python, folder, *command, threads=threads, **(fixed | variables))


def inside(python: Path, folder: Path, code: str) -> dict[str, Any]:
    """Run `code` beside the template's modules; return the JSON object it prints last."""
    done = call(python, folder, "-c", textwrap.dedent(code))
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed


def write_texts(folder: Path, smoke_data: Path, count: int = 200) -> None:
    """Make SAE_TEXTS of the generated world's sentences, put together anew in each data set."""
    lines = (smoke_data / "text" / "train.jsonl").read_text().splitlines()
    sentences = [one for line in lines for one in json.loads(line)["text"].split(" . ")]
    for name in ("train", "forget", "retain"):
        drawn = random.Random(name)
        texts = [" . ".join(drawn.sample(sentences, 5)) for _ in range(count)]
        (folder / name).mkdir(parents=True)
        rows = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (folder / name / "part.jsonl").write_text(rows)


def results_of(folder: Path, run: str) -> Any:
    """Return a run's final_info.json without the seconds, which alone may differ."""
    content = json.loads((folder / run / "final_info.json").read_text())
    for section in content.values():
        for part in ("final_info", "stderr", "per_seed"):
            section.get(part, {}).pop("seconds", None)
    return content
