"""What the files of a run folder hold, as values: code, results, reports, pictures."""

from __future__ import annotations

import math
from dataclasses import asdict

from ai_scientist.records import Hypothesis, Json

TOML = """[template]
description = "A toy that measures a loss."
editable = ["experiment.py", "plot.py"]
frozen = []
honours_seed = true
primary_metric = "test_accuracy"

[profiles.small]
description = "seconds"
run_timeout_s = 60

[metrics.test_accuracy]
description = "Share of test images that are right."
required = true
direction = "increase"

[metrics.test_loss]
description = "Plain cross-entropy on the test images."
direction = "decrease"
"""


def source(run: int) -> str:
    """Return an experiment's code that differs a little in each run."""
    smoothing = f"    smoothing: float = {run / 50!r}\n" if run else ""
    use = "targets = targets * (1 - config.smoothing) + config.smoothing / 10\n    " if run else ""
    body = "\n".join(
        f"def layer_{number}(x: float) -> float:\n"
        f'    """Return layer {number} of the network."""\n'
        f"    return x * {number}.5 + {number}\n\n"
        for number in range(40)
    )
    return (
        '"""Train a small network on digits."""\n\nfrom dataclasses import dataclass\n\n\n'
        f"@dataclass\nclass Config:\n    hidden: int = {64 + 8 * (run % 3)}\n{smoothing}"
        f"    epochs: int = 40\n\n\n{body}\n\ndef train(config, images, targets):\n"
        f"    {use}loss = ((images - targets) ** 2).mean()\n    return loss\n"
    )


def final_info(run: int, seeds: int = 5) -> Json:
    """Return a result whose numbers differ from run to run and from seed to seed."""
    accuracy = [
        0.913 + 0.004 * math.sin(run * 1.7) + 0.0011 * k + 0.0003 * run for k in range(seeds)
    ]
    loss = [0.3217 - 0.013 * math.cos(run) + 0.0023 * k for k in range(seeds)]
    values = {"test_accuracy": accuracy, "test_loss": loss}

    def spread(numbers: list[float]) -> float:
        mean = sum(numbers) / len(numbers)
        square = sum((one - mean) ** 2 for one in numbers) / (len(numbers) - 1)
        return math.sqrt(square / len(numbers))

    return {
        "digits": {
            "means": {name: sum(one) / len(one) for name, one in values.items()},
            "stderrs": {name: spread(one) for name, one in values.items()},
            "final_info_dict": values,
            "config": {"hidden": 64 + 8 * (run % 3), "epochs": 40, "smoothing": run / 50},
        }
    }


def idea_content(name: str, title: str) -> Json:
    """Return an idea file's content."""
    return {
        "Name": name,
        "Title": title,
        "Experiment": "Train on **smoothed** targets and measure what it costs.",
        "Template": "digits",
        "Varies": ["smoothing"],
        "Hypotheses": [{"metric": "test_accuracy", "direction": "increase", "against": "run_0"}],
    }


def report_content(name: str, runs: int) -> Json:
    """Return report.json's content."""
    hypothesis = asdict(Hypothesis(metric="test_accuracy", direction="increase"))
    verdict = {
        "hypothesis": hypothesis,
        "verdict": "confirmed",
        "reason": "run_1 0.9751, run_0 0.9712: difference 0.0039 ± 0.0002 (n = 5, measured, "
        "p = 0.001, detectable 0.0008).",
        "run": "run_1",
    }
    return {
        "stop": "run limit",
        "idea": name,
        "valid_runs": runs,
        "executions": runs + 1,
        "failed_executions": 1,
        "refused": 2,
        "hypotheses": [verdict],
        "findings": [
            {
                "kind": "unsupported_number",
                "run": "",
                "where": "latex/template.tex:6",
                "detail": "0.9971 is no stored value of run_2's test_accuracy",
            }
        ],
        "prompt_tokens": 7200,
        "cost_usd": 0.05,
        "gpu_hours": 0.0,
        "seconds": 61.0,
    }


def sae_info(run: int, shift: float) -> Json:
    """Return a frontier: L0, FVU and the target at three k."""
    info: Json = {"config": {"d_sae": 512, "tokens": 1_000_000}}
    for k in (4, 8, 16):
        fvu = 0.2 / k**0.5 + shift + 0.003 * run
        target = 1.9 + 0.05 * run - 0.01 * k - 4 * shift
        info[f"k_{k}"] = {
            "means": {"l0": float(k), "fvu": fvu, "test_accuracy": target},
            "final_info_dict": {
                "l0": [float(k)] * 3,
                "fvu": [fvu - 0.004, fvu, fvu + 0.004],
                "test_accuracy": [target - 0.1, target, target + 0.1],
            },
        }
    return info


def latent_report() -> Json:
    """Return a latent report with histograms, contexts, neighbors and clamping."""
    return {
        "width": 512,
        "histograms": {
            "firing_rate": {"edges": [0.001 * 2**n for n in range(12)], "counts": list(range(11))},
            "ratio": {"before": {"edges": [0, 1, 2, 3], "counts": [9, 4, 1]}},
        },
        "latents": [
            {
                "index": index,
                "firing_rate": 0.01 * index,
                "ratio": 3.5,
                "contexts": [
                    {
                        "tokens": ["the", "reactor", "<script>alert(1)</script>", "melts"],
                        "activations": [0.0, 2.5, 0.4, 1.1],
                    }
                ],
                "neighbors": [{"index": index + 1, "cosine": 0.71}],
            }
            for index in range(1, 9)
        ],
        "clamping": {"hazard": 2.75, "benign": 0.031},
    }
