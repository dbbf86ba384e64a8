"""What makes a training step of the sae template fast, and changes nothing of what it computes."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.sae_runs import call, inside


def test_the_largest_are_kept(sae_python: Path, template: Path) -> None:
    """Few values or many, grouped or not, topk and scatter give the same, and so do gradients.

    Equal values stay together, NaN stays where it is.
    """
    got = inside(
        sae_python,
        template,
        """
        import json, torch
        from selection import FEW, keep_largest, kth_largest
        g = torch.Generator().manual_seed(0)
        wrong = []
        sizes = (40, 3), (FEW - 1, 9), (FEW, 4), (3 * FEW, 64), (FEW + 1, 5), (2 * FEW, 2 * FEW)
        for count, k in sizes:
            values = torch.randn(30, count, generator=g).relu().requires_grad_()
            kept = keep_largest(values, k)
            top = values.topk(k)
            expected = torch.zeros_like(values).scatter(-1, top.indices, top.values)
            pull = torch.randn(kept.shape, generator=g)
            gradients = [torch.autograd.grad(one, values, pull)[0] for one in (kept, expected)]
            active = expected > 0  # the gradient of what is 0 anyway goes no further than relu
            same = torch.equal(kept, expected) and torch.equal(*(one[active] for one in gradients))
            kth = kth_largest(values.detach(), k)
            if not (same and torch.equal(kth, top.values[:, -1:].detach())):
                wrong.append([count, k])
        # Ties at the border, all in one group, or one in each of more groups than k.
        tied = torch.zeros(2, 2 * FEW)
        tied[0, :: FEW // 4], tied[1, :12] = 1.0, 1.0
        broken = torch.rand(1, FEW, generator=g)
        broken[0, 7] = float("nan")
        print(json.dumps({
            "wrong": wrong, "tied": (keep_largest(tied, 5) > 0).sum(1).tolist(),
            "broken": bool(keep_largest(broken, 4).isnan()[0, 7]),
        }))
        """,
    )
    assert got == {"wrong": [], "tied": [8, 12], "broken": True}


def test_the_encoder_is_its_formula(sae_python: Path, template: Path) -> None:
    """(x - center) weights + bias and all gradients, in float32 and under autocast."""
    got = inside(
        sae_python,
        template,
        """
        import json, torch
        from products import encode_linearly
        g = torch.Generator().manual_seed(0)
        x = torch.randn(50, 24, generator=g)
        given = [torch.randn(*shape, generator=g) for shape in ((24,), (24, 160), (160,))]
        def written(x, center, weights, bias):
            return (x - center) @ weights + bias
        gaps = {}
        for name in ("float32", "bfloat16"):
            made = []
            for function in (encode_linearly, written):
                leaves = [one.clone().requires_grad_() for one in given]
                with torch.autocast("cpu", torch.bfloat16, enabled=name == "bfloat16"):
                    pre = function(x, *leaves)
                    loss = pre.relu().square().sum()
                made.append([pre.detach(), *torch.autograd.grad(loss, leaves)])
            gaps[name] = max(float((a - b).norm() / b.norm()) for a, b in zip(*made))
        # A loss on the encoder's own derivative needs the formula.
        leaf = x.clone().requires_grad_()
        slope, = torch.autograd.grad(
            encode_linearly(leaf, *given).sum(), leaf, create_graph=True
        )
        gaps["slope"] = float((slope - given[1].sum(1)).abs().max())
        print(json.dumps(gaps))
        """,
    )
    assert got["float32"] < 1e-5
    assert got["bfloat16"] < 1e-2
    assert got["slope"] < 1e-4


def test_one_pass_turns_rows_as_five_do(sae_python: Path, template: Path) -> None:
    """The decoder's own step is Adam's without the parallel gradient, at unit length.

    Where it cannot be compiled, five passes take it.
    """
    got = inside(
        sae_python,
        template,
        """
        import json, torch
        from optimizer import Adam
        def fail(*given):
            raise RuntimeError("no compiler\\nmore")
        made = []
        for fused in (None, lambda function: function, lambda function: fail):
            g = torch.Generator().manual_seed(0)
            rows = torch.nn.functional.normalize(torch.randn(40, 9, generator=g), dim=1)
            leaves = [rows.requires_grad_(), torch.randn(9, generator=g).requires_grad_()]
            optimizer = Adam(leaves, leaves[0], fused)
            for number in range(30):
                leaves[0].grad = torch.randn(40, 9, generator=g)
                leaves[1].grad = torch.randn(9, generator=g)
                optimizer.rate.fill_(0.01 * (1 + number % 3))
                optimizer.step()
                if number == 11:
                    optimizer.forget(leaves[0], [3, 4])
            made.append([one.detach() for one in leaves])
        gaps = [float((a - b).abs().max()) for other in made[1:] for a, b in zip(made[0], other)]
        lengths = made[1][0].norm(dim=1)
        print(json.dumps({"gaps": gaps, "length": float((lengths - 1).abs().max())}))
        """,
    )
    assert len(got["gaps"]) == 4
    assert max(got["gaps"][:2]) < 1e-5
    assert max(got["gaps"][2:]) == 0.0
    assert got["length"] < 1e-6


def test_a_recorded_step_is_taken_anew(sae_python: Path, template: Path) -> None:
    """A step is recorded once it is settled, replayed on each batch, and recorded anew for others.

    Recording alone takes no step: what was recorded is replayed for its own batch too.
    """
    got = inside(
        sae_python,
        template,
        """
        import json, torch
        from captured import CapturedStep
        from data import Batch
        taken, settled, told = [], [], []
        def step(batch, dead):
            taken.append([float(batch.x[0, 0]), int(batch.domain[0]), dead.tolist()])
        def capture(function):
            told.append("recorded")
            return function
        captured = CapturedStep(step, lambda: bool(settled), capture)
        none, some = torch.zeros(0, dtype=torch.long), torch.tensor([4, 5])
        for number in range(9):
            if number == 3:
                settled.append(True)
            if number == 6:
                some[0] = 1  # the same tensor: a recorded step reads it anew
            batch = Batch(torch.full((2, 3), float(number)), torch.full((2,), number))
            captured(batch, none if number < 5 else some)
            told.append(number)
        print(json.dumps({"taken": taken, "told": told}))
        """,
    )
    assert got["told"] == [0, 1, 2, "recorded", 3, 4, 5, "recorded", 6, 7, 8]
    dead = [[], [], [], [], [], [4, 5], [1, 5], [1, 5], [1, 5]]
    assert got["taken"] == [[number, number, dead[number]] for number in range(9)]


def test_what_cannot_be_recorded_is_told(sae_python: Path, template: Path) -> None:
    """A step that cannot be recorded is taken all the same, on its batch, and said once."""
    done = call(
        sae_python,
        template,
        "-c",
        textwrap.dedent(
            """
            import torch
            from captured import CapturedStep
            from data import Batch
            def capture(function):
                raise RuntimeError("operation not permitted when stream is capturing\\nmore")
            captured = CapturedStep(
                lambda batch, dead: print(int(batch.domain[0])), lambda: True, capture
            )
            dead = torch.zeros(0)
            for number in range(4):
                captured(Batch(torch.ones(2, 3), torch.full((2,), number)), dead)
            """
        ),
    )
    said = "steps are not recorded from here on: operation not permitted when stream is capturing"
    assert done.stdout.splitlines() == ["0", said, "1", "2", "3"], done.stderr


def test_pairs_keep_their_weights_out(sae_python: Path, template: Path) -> None:
    """The gradient of a pair sum is that of the formula; weights that want one are refused."""
    got = inside(
        sae_python,
        template,
        """
        import json, torch
        from dictionary import ortho_pairs
        g = torch.Generator().manual_seed(0)
        rows = torch.randn(50, 7, generator=g, dtype=torch.float64).requires_grad_()
        own = torch.rand(50, generator=g, dtype=torch.float64)
        gaps = []
        for weights in (own, torch.rand(50, 50, generator=g, dtype=torch.float64)):
            unit = torch.nn.functional.normalize(rows, dim=1)
            pairs = weights[:, None] * weights if weights.dim() == 1 else weights
            pairs = pairs * (1 - torch.eye(50))
            formula = (pairs * (unit @ unit.T).abs()).sum() / pairs.sum()
            expected, = torch.autograd.grad(formula, rows)
            for chunk in (16, 50):
                found, = torch.autograd.grad(ortho_pairs(rows, weights, chunk=chunk), rows)
                gaps.append(float((found - expected).norm() / expected.norm()))
        try:
            ortho_pairs(rows, own.requires_grad_())
        except ValueError as error:
            said = str(error)
        print(json.dumps({"gaps": gaps, "said": said}))
        """,
    )
    assert max(got["gaps"]) < 1e-9
    assert "give weights.detach()" in got["said"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_k_is_compiled(sae_python: Path, template: Path) -> None:
    """SAEs of one process that differ in k are compiled each, whatever latents are dead."""
    got = inside(
        sae_python,
        template,
        """
        import json, torch
        from compiled import CompiledLoss
        from data import Batch
        from experiment import Config, Trainer
        from session import Forward
        told = []
        for k in (2, 3):
            config = Config(n_latents=1200, k=k)
            learner = Trainer(config, 24, 0)
            sae = learner.sae
            def losses(batch, dead):
                pre = sae.pre_activations(batch.x)
                latents = sae.activate(pre)
                forward = Forward(pre, latents, batch.x - sae.decode(latents), dead)
                return latents, learner.loss_terms(batch, forward)
            compiled = CompiledLoss(losses, learner, "float32")
            for count in (0, 0, 0, 0, 0, 5, 5, 9, 700, 700, 1100, 1100, 1100):
                sae.zero_grad()
                batch = Batch(torch.randn(48, 24), torch.zeros(48))
                compiled.add_gradients(batch, torch.arange(count))
            told.append(compiled.is_settled())
        print(json.dumps({"settled": told}))
        """,
    )
    assert got["settled"] == [True, True]
