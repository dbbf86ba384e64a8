"""The sae template's compiled training step: equal to the written one, or told and left alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.sae_runs import inside, results_of, smoke

NO_TERMS = "        return {}\n"
STAYS = "the loss stays uncompiled from here on: "
STUBBORN = {
    "its flow depends on data": (
        "it cannot be compiled",
        'return {"idea": latents.mean() * (2.0 if latents.mean().item() > 0.01 else 1.0)}',
    ),
    "it counts": (
        "it keeps or draws something from step to step (Trainer.seen)",
        "self.seen = getattr(self, 'seen', 0) + 1\n"
        '        return {"idea": latents.mean() * min(1.0, self.seen / 10)}',
    ),
    "it draws": (
        "it keeps or draws something from step to step (Trainer.generator)",
        'return {"idea": (latents.mean(1) * torch.randn(len(latents), generator=self.generator))'
        ".mean()}",
    ),
    "it is another one when compiled": (
        "compiled, its values or gradients differ by 0.",
        'return {"idea": latents.mean() * (1.5 if torch.compiler.is_compiling() else 1.0)}',
    ),
}


def trained(python: Path, template: Path, data: Path, run: str, compiled: str) -> tuple[Any, str]:
    """Results of a rehearsal of one SAE, and what it printed."""
    overrides = {"repeats": 1, "frontier_repeats": 0, "compiled": compiled}
    done = smoke(python, template, data, run, OVERRIDES=json.dumps(overrides))
    assert done.returncode == 0, done.stderr
    results = results_of(template, run)
    assert next(iter(results.values()))["config"].pop("compiled") == compiled
    return results, done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compiled_training_is_the_written_one(
    sae_python: Path, template: Path, smoke_data: Path
) -> None:
    """Within rounding it learns what the written loss teaches."""
    written, _ = trained(sae_python, template, smoke_data, "run_0", "never")
    compiled, said = trained(sae_python, template, smoke_data, "run_1", "always")
    assert said.count("the loss was compiled in") >= 2, "without dead latents, and with some"
    assert STAYS not in said
    for section, content in written.items():
        for name, value in content.get("final_info", {}).items():
            assert compiled[section]["final_info"][name] == pytest.approx(value, rel=0.01), name


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", STUBBORN)
def test_what_cannot_be_compiled_is_told(
    sae_python: Path, template: Path, smoke_data: Path, kind: str
) -> None:
    """One sentence says why a loss stays as it is written, and it gives the bits it always gave."""
    reason, term = STUBBORN[kind]
    script = template / "experiment.py"
    assert script.read_text().count(NO_TERMS) == 1
    script.write_text(script.read_text().replace(NO_TERMS, f"        {term}\n"))
    written, _ = trained(sae_python, template, smoke_data, "run_0", "never")
    left, said = trained(sae_python, template, smoke_data, "run_1", "always")
    assert said.count(STAYS) == 1
    assert f"{STAYS}{reason}" in said
    assert left == written


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_compiled_training_leaves_nothing_behind(
    sae_python: Path, template: Path, smoke_data: Path
) -> None:
    """Gradients, moments and what was compiled are given back before the SAEs are measured."""
    got = inside(
        sae_python,
        template,
        f"""
        import gc, json, torch
        from pathlib import Path
        from contract import Request
        from data import load_data
        from experiment import PROFILES, Config, Trainer
        from training import train_all
        folder = Path({str(smoke_data)!r})
        sizes = dict(training_tokens=40 * 128, dead_after_tokens=35 * 128, repeats=1,
            resamplings=0, frontier_repeats=0, compiled="always")
        request = Request(out_dir=Path("."), profile="smoke", seed=0, data_dir=folder,
            config=Config(**PROFILES["smoke"] | sizes))
        data = load_data(folder)
        trained = train_all(request, data, Trainer)
        size = trained[0].sae.W_dec.numel()
        held = [one for one in gc.get_objects() if type(one) in (torch.Tensor, torch.nn.Parameter)]
        real = [one for one in held if one.device.type == "cpu"]  # the compiler's own lie nowhere
        print(json.dumps({{"matrices": sum(one.numel() == size for one in real)}}))
        """,
    )
    assert got["matrices"] == 2, "those of the SAE"


def test_only_long_trainings_on_a_gpu_are_compiled(sae_python: Path, template: Path) -> None:
    """Compiling takes its time, so that it is done where steps are many enough to pay for it."""
    got = inside(
        sae_python,
        template,
        """
        import json, torch
        from compiled import FROM_STEPS, compiles
        from experiment import PROFILES
        cpu, cuda = torch.device("cpu"), torch.device("cuda")
        print(json.dumps({
            "wishes": [profile.get("compiled", "never") for profile in PROFILES.values()],
            "never": compiles("never", 10 * FROM_STEPS, cuda),
            "on a CPU": compiles("on_gpu", 10 * FROM_STEPS, cpu),
            "short": compiles("on_gpu", FROM_STEPS - 1, cuda),
            "long": compiles("on_gpu", FROM_STEPS, cuda),
            "asked for": compiles("always", 1, cpu),
        }))
        """,
    )
    assert got.pop("wishes") == ["never", "never", "on_gpu"]
    assert got == {
        "never": False, "on a CPU": False, "short": False, "long": True, "asked for": True
    }  # fmt: skip
