"""Measures of the sae template on SAEs whose right values are known, beside sae_bench's."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.sae_runs import inside


@pytest.mark.slow
def test_explained_variance_of_sae_bench(sae_python: Path, template: Path) -> None:
    """sae_bench's explained variance misses a known share by far; our fvu does not."""
    code = """
        import json, torch
        from types import SimpleNamespace
        from sae_bench.evals.core.main import get_sparsity_and_variance_metrics
        from data import Documents
        from evaluation import EvaluationConfig, measure_fidelity
        g = torch.Generator().manual_seed(0)
        x = 3.0 + torch.randn(40, 50, 96, generator=g) * torch.rand(96, generator=g)
        x_mean = x.flatten(0, 1).mean(0)
        share = 0.8  # of the variance is explained, exactly
        class Known:
            cfg = SimpleNamespace(hook_name="h", hook_head_index=None, hook_layer=0, d_sae=96)
            device, W_dec = torch.device("cpu"), torch.eye(96)
            def encode(self, x): return x
            def decode(self, latents):
                return x_mean + (latents - x_mean) * (1 - (1 - share) ** 0.5)
        model = SimpleNamespace(run_with_cache=lambda *a, **k: (None, {"h": x}))
        store = SimpleNamespace(get_batch_tokens=lambda size: torch.ones(40, 50, dtype=torch.long))
        theirs, _ = get_sparsity_and_variance_metrics(
            sae=Known(), model=model, activation_store=store, n_batches=1, compute_l2_norms=False,
            compute_sparsity_metrics=False, compute_variance_metrics=True,
            compute_featurewise_density_statistics=True, eval_batch_size_prompts=40,
            model_kwargs={},
        )
        padded = torch.cat([x[:, :1], x], dim=1)
        documents = Documents(None, None, None, padded)
        ours = measure_fidelity(Known(), documents, EvaluationConfig())["fvu"]
        print(json.dumps({"theirs": theirs["explained_variance"], "ours": 1 - ours}))
    """
    got = inside(sae_python, template, code)
    assert math.isclose(got["ours"], 0.8, abs_tol=1e-3)
    assert abs(got["theirs"] - 0.8) > 0.05


@pytest.mark.slow
def test_description_of_an_exact_sae(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """With an exact SAE bits and error are those of the bins alone; <bos> is not described.

    Four times the bins take two more bits a value, and leave a quarter of the error.
    """
    code = f"""
        import json, torch
        from pathlib import Path
        from bench import Blank, measure_all
        from bench_mdl import MDL, MdlSettings
        from data import load_data
        data = load_data(Path({str(smoke_data)!r}))
        test = data.documents["test"]
        class Exact(Blank):
            def __init__(self, data):
                super().__init__(data)
                self.W_dec = torch.cat([self.W_dec, -self.W_dec])
                self.W_enc, self.b_enc = self.W_dec.T, torch.zeros(len(self.W_dec))
            def encode(self, x): return (x @ self.W_enc).relu()
            def decode(self, latents): return latents @ self.W_dec
        class OnBos(Blank):
            def encode(self, x):
                fires = ((x - test.residual[0, 0]).norm(dim=-1) < 1e-3).float()
                return torch.nn.functional.pad(fires[..., None], (0, data.d_model - 1))
        settings = MdlSettings(num_bins_values=(8, 32))
        exact, bos = measure_all(MDL, [Exact(data), OnBos(data)], data, settings)
        print(json.dumps({{"exact": exact, "bos": bos, "d": data.d_model,
            "largest": float(test.activations().abs().max())}}))
    """
    got = inside(sae_python, template, code)
    bits, error = (
        [got["exact"][f"description_{one}_{n}_bins"] for n in (8, 32)]
        for one in ("length", "error")
    )
    assert (bits[1] - bits[0]) / got["d"] == pytest.approx(2.0, abs=0.1)
    assert error[0] / error[1] == pytest.approx(4.0, rel=0.05)
    assert 0 < error[0] < got["largest"] / 8 / math.sqrt(12)
    assert got["bos"]["description_length_8_bins"] == 0.0


def test_facts_before_and_after(sae_python: Path, template: Path) -> None:
    """Lost and gained facts give McNemar's exact p-value; documents are resampled as wholes.

    Each fact's outcome is kept, so that SAEs can be paired by fact.
    """
    code = """
        import json, torch
        from own_losses import Facts
        from unlearning import choose, compare_facts, mcnemar
        document = torch.arange(20).repeat_interleave(10)
        before = Facts(torch.zeros(200), torch.ones(200, dtype=torch.bool), document)
        shift = torch.randn(20, generator=torch.Generator().manual_seed(0))
        after = Facts(shift[document], torch.arange(200) >= 12, document)
        far = {"validation_retain_loss_increase": 0.2, "validation_forget_loss_increase": 9.0}
        near = {"validation_retain_loss_increase": 0.01, "validation_forget_loss_increase": 2.0}
        low, high = compare_facts(before, after)["loss_increase_interval"]
        print(json.dumps({
            "p": [mcnemar(5, 0), mcnemar(0, 0), mcnemar(8, 2), mcnemar(2, 8)],
            "right": [compare_facts(before, after)[key] for key in ("right_before", "right")],
            "lost": compare_facts(before, after)["lost"], "half": (high - low) / 2,
            "expected": float(1.96 * shift.std() / 20**0.5),
            "chosen": [choose([far, near], 0.05), choose([far], 0.05)],
        }))
    """
    got = inside(sae_python, template, code)
    assert got["p"] == pytest.approx([0.0625, 1.0, 0.109375, 0.109375])
    assert got["lost"] == 12
    assert got["right"] == ["1" * 200, "0" * 12 + "1" * 188]
    assert math.isclose(got["half"], got["expected"], rel_tol=0.2)
    assert got["chosen"] == [1, None]
