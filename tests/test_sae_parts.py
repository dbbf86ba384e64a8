"""Parts of the sae template by themselves: pairs, scale, clamping, the model and its losses."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path

import pytest

from tests.sae_runs import call, inside


def test_pairs_are_unbiased(sae_python: Path, template: Path) -> None:
    """ortho_pairs leaves the diagonal out, divides by the weights, and its sample is unbiased."""
    got = inside(
        sae_python,
        template,
        """
        import json, torch
        from dictionary import ortho_pairs
        g = torch.Generator().manual_seed(0)
        W = torch.randn(50, 7, generator=g); s = torch.rand(50, generator=g)
        unit = torch.nn.functional.normalize(W, dim=1)
        gram = (unit @ unit.T).abs(); pairs = s[:, None] * s
        off = 1 - torch.eye(50)
        direct = float((off * pairs * gram).sum() / (off * pairs).sum())
        drawn = [float(ortho_pairs(W, s, pairs=30, generator=g)) for _ in range(4000)]
        drawn = torch.tensor(drawn)
        scaled = float(ortho_pairs(9 * W, 3 * s, chunk=16))
        W.requires_grad_(True)
        ortho_pairs(W, s).backward()
        print(json.dumps({
            "direct": direct, "exact": float(ortho_pairs(W, s)),
            "matrix": float(ortho_pairs(W, pairs)),
            "scaled": scaled, "drawn": float(drawn.mean()), "error": float(drawn.std() / 4000**0.5),
            "cheaper": float(ortho_pairs(W, s, pairs=400, generator=g)),
            "orthogonal": float(ortho_pairs(torch.eye(7), torch.ones(7))),
            "weightless": float(ortho_pairs(W, torch.zeros(50))), "grad": float(W.grad.norm()),
        }))
        """,
    )
    for name in ("exact", "matrix", "scaled"):
        assert math.isclose(got[name], got["direct"], rel_tol=1e-4), name
    assert 0 < abs(got["drawn"] - got["direct"]) < 4 * got["error"]
    assert got["cheaper"] == got["exact"], "where drawing would take longer, nothing is drawn"
    assert got["orthogonal"] == got["weightless"] == 0.0
    assert got["grad"] > 0


def test_no_value_is_never_0(sae_python: Path, template: Path) -> None:
    """A metric that a seed lacks is left out with the reason; -1 is a value but for accuracies."""
    got = inside(
        sae_python,
        template,
        """
        import json
        from bench import numbers
        from evaluation import by_metric
        groups = {"sae": {"sae_test_accuracy": -1, "scr_5": -1.0, "scr_20": None}}
        first = {"loss_auxiliary": 2.0, "scr_5": -1.0, "scr_20": 0.5, "scr_50": None}
        second = {"scr_5": 0.5, "scr_20": None, "scr_50": None}
        print(json.dumps({
            "numbers": numbers(groups), "by_metric": by_metric([first, second]),
        }))
        """,
    )
    assert got["numbers"] == {"scr_5": -1.0}
    found, lacking = got["by_metric"]
    assert found == {"loss_auxiliary": [2.0, 0.0], "scr_5": [-1.0, 0.5]}
    assert {name: reason.split()[5] for name, reason in lacking.items()} == {
        "scr_20": "1",
        "scr_50": "2",
    }


@pytest.mark.slow
def test_scale_is_folded(sae_python: Path, template: Path) -> None:
    """Folding gives unit decoder rows and the same reconstruction, or refuses in a sentence."""
    code = """
        import json, torch
        from dictionary import fold_scale
        from experiment import Config, SparseAutoencoder
        g = torch.Generator().manual_seed(0)
        sae = SparseAutoencoder(Config(architecture="KIND", n_latents=30, k=4), 9, g)
        with torch.no_grad():
            sae.b_enc += 0.1; sae.b_dec += 0.3; sae.W_dec *= SIZE
        x = 50 + 7 * torch.randn(200, 9, generator=g)
        mean, scale = x.mean(0), float((x - x.mean(0)).square().mean().sqrt())
        before = sae.decode(sae.encode((x - mean) / scale)) * scale + mean
        folded = fold_scale(sae, mean, scale, x)
        after = folded.decode(folded.encode(x))
        print(json.dumps({"change": float((after - before).abs().max()),
                          "norms": float((folded.W_dec.norm(dim=1) - 1).abs().max())}))
    """
    even = "torch.full((30, 1), 2.0)"
    for kind, size in (("topk", even), ("standard", "torch.rand(30, 1, generator=g)")):
        got = inside(sae_python, template, code.replace("KIND", kind).replace("SIZE", size))
        assert got["change"] < 1e-3
        assert got["norms"] < 1e-5
    uneven = code.replace("KIND", "topk").replace("SIZE", "torch.rand(30, 1, generator=g)")
    done = call(sae_python, template, "-c", textwrap.dedent(uneven))
    assert done.returncode == 1
    assert "changed its reconstruction" in done.stderr


def test_clamping_computes_only_what_it_touches(
    sae_python: Path, template: Path, smoke_data: Path
) -> None:
    """Losses on facts after clamping are those of the whole documents, computed in full."""
    got = inside(
        sae_python,
        template,
        f"""
        import json, torch
        from pathlib import Path
        from data import HAZARD, load_data
        from language_model import token_losses
        from own_losses import measure_facts
        from unlearning import FactProbe
        data = load_data(Path({str(smoke_data)!r}))
        documents = data.documents["test"].of(HAZARD)
        class Rows:
            W_dec = torch.randn(8, data.d_model, generator=torch.Generator().manual_seed(0))
            def encode(self, x):
                return torch.cat([(x @ self.W_dec.T - 3).relu()[..., :7], 0 * x[..., :1]], -1)
        sae, chosen, values = Rows(), torch.tensor([1, 4]), torch.tensor([-2.0, 0.0])
        own = measure_facts(data, documents, documents.residual)
        probe = FactProbe(sae, data, documents, own)
        after = probe.clamp(chosen, values)
        latents = sae.encode(documents.residual)[..., chosen]
        latents[:, 0] = 0
        change = torch.where(latents > 0, values - latents, 0.0) @ sae.W_dec[chosen]
        losses, right = token_losses(
            data.logits_from(documents.residual + change), documents.tokens)
        is_fact = documents.is_fact[:, 1:]
        touched = (latents > 0).flatten(1).any(1)
        never = probe.clamp(torch.tensor([7]), torch.tensor([-2.0]))
        print(json.dumps({{
            "gap": float((after.loss - losses[is_fact]).abs().max()),
            "right": bool((after.right == right[is_fact]).all()),
            "moved": float((after.loss - probe.own.loss).abs().max()),
            "touched": float(touched.float().mean()),
            "never": bool((never.loss == probe.own.loss).all()),
        }}))
        """,
    )
    assert got["gap"] < 1e-4
    assert got["right"]
    assert got["never"]
    assert got["moved"] > 0.01
    assert 0 < got["touched"] <= 1


@pytest.mark.slow
def test_torch_model_is_transformer_lens_model(
    sae_python: Path, template: Path, smoke_data: Path
) -> None:
    """transformer_lens loads the model trained here, and agrees at the hook and after it."""
    got = inside(
        sae_python,
        template,
        f"""
        import json, torch
        from pathlib import Path
        from data import load_data
        data = load_data(Path({str(smoke_data)!r}))
        test = data.documents["test"]
        ours = data.logits_from(test.residual)
        some = data.logits_from(test.residual, test.is_fact)
        from hooked_model import load_hooked_model
        hooked = load_hooked_model(data.folder / "model")
        theirs = hooked(test.residual, start_at_layer=data.layer + 1)
        _, cache = hooked.run_with_cache(test.tokens)
        print(json.dumps({{
            "logits": float((ours - theirs).abs().max()),
            "some": float((ours[test.is_fact] - some).abs().max()),
            "hook": float((cache[data.hook] - test.residual).abs().max()),
        }}))
        """,
    )
    assert got["logits"] < 1e-3
    assert got["some"] < 1e-4
    assert got["hook"] < 1e-4


def test_own_losses_are_prepared(sae_python: Path, template: Path, smoke_data: Path) -> None:
    """What the language model does by itself lies beside the data, bit for bit as a run has it."""
    got = inside(
        sae_python,
        template,
        f"""
        import json, pathlib, torch
        import own_losses
        from data import load_data
        torch.set_num_threads(1)
        data = load_data(pathlib.Path({str(smoke_data)!r}))
        assert (data.folder / own_losses.FILE).is_file()
        kept, now = own_losses.own_losses(data), own_losses.measure_own_losses(data)
        print(json.dumps({{
            "bounds": [kept.bounds, now.bounds],
            "names": sorted(kept.facts),
            "same": all(
                torch.equal(old, new)
                for name in now.facts
                for old, new in zip(kept.facts[name], now.facts[name], strict=True)
            ),
        }}))
        """,
    )
    kept, now = got["bounds"]
    assert kept == now
    assert kept[0] < kept[1], "the model knows more than mean ablation leaves it"
    assert got["same"]
    assert got["names"] == ["test_forget", "test_retain", "validation_forget", "validation_retain"]


LEFT_OPEN = """
import lifetime

import atexit, threading, time
from pathlib import Path

kept = [open("text", "w"), open("bytes", "wb"), open("exit", "w")]
kept[0].write("written")
kept[1].write(b"written")
atexit.register(lambda: kept[2].write("written"))
threading.Thread(target=lambda: (time.sleep(0.2), Path("thread").write_text("written"))).start()
print("said", end="")
"""


def test_leaving_loses_nothing(sae_python: Path, template: Path) -> None:
    """What a script printed, left open, or left to threads and exit handlers is whole."""
    done = call(sae_python, template, "-c", f"{LEFT_OPEN}\nlifetime.leave()\nprint('not said')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "said", "")
    for name in ("text", "bytes", "exit", "thread"):
        assert (template / name).read_text() == "written"
