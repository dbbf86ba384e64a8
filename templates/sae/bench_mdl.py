"""Minimal description length: how many bits per token the latents of an SAE take. Frozen.

sae_bench 0.6.0 ships this evaluation without running it, and its arithmetic is wrong in five places
(docs/sae.md), so what it does to one SAE is replaced: its texts and its definition stay. A latent
takes the bits that say whether it is active, and where it is those of its value's bin.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import (
    Evaluation,
    Measure,
    Row,
    only_result,
    staged,
    unique_name,
)
from bench_inputs import Replacement, model_name, our_model, text_folder, wrap
from data import Data
from dictionary import Dictionary


@dataclasses.dataclass(frozen=True, kw_only=True)
class MdlSettings:
    """How finely latents are written down; the names are sae_bench's, but for `batches`."""

    num_bins_values: tuple[int, ...] = (16, 64)
    sae_batch_size: int = 4
    """Texts whose latents are held at once."""
    batches: int = 40
    """How many times as many are read."""
    llm_dtype: str = "float32"
    dataset_name: str = "HuggingFaceFW/fineweb"
    """Of the person's hub folder; the generated world has test documents of its own."""
    random_seed: int = 0


def prepare_mdl(data: Data, settings: MdlSettings) -> Measure:
    """Measure bits per token and the root mean squared error per dimension, at each precision."""
    import sae_bench.evals.mdl.main as bench

    given = dataclasses.asdict(settings)
    given["dataset_name"] = text_folder(data, settings.dataset_name)
    given["num_bins_values"] = list(settings.num_bins_values)
    config = bench.MDLEvalConfig(
        k_values=[None],  # the SAE's own latents, whatever their number
        model_name=model_name(data),
        context_length=data.documents["test"].tokens.shape[1],
        **{name: value for name, value in given.items() if name != "batches"},
    )
    ours = functools.partial(_describe_latents, settings.batches)
    replacements = [
        *our_model(bench, data=data),
        Replacement(bench, "run_eval_single_sae", ours),
    ]

    def measure(_: Path, sae: Dictionary) -> Row:
        with staged(settings.random_seed, *replacements):
            named = [(unique_name(sae), wrap(sae, data))]
            results = bench.run_eval(config, named, str(data.device), ".")
        results.pop("custom_eval_config")
        return dict(only_result(results))

    return measure


@torch.no_grad()
def _describe_latents(
    batches: int, *, config: Any, sae: Any, model: Any, device: str, dataset_name: str
) -> Row:
    from sae_lens import ActivationsStore
    from sae_lens.util import get_special_token_ids

    store = ActivationsStore.from_sae(
        model,
        sae,
        dataset=dataset_name,
        device=device,
        store_batch_size_prompts=config.sae_batch_size,
    )
    special = get_special_token_ids(model.tokenizer)
    store.exclude_special_tokens = torch.tensor(special, device=device)
    x = [store.get_filtered_llm_batch() for _ in range(batches)]
    row = {}
    for bins in config.num_bins_values:
        bits, error = _write_down(sae, x, bins)
        row |= {f"description_length_{bins}_bins": bits, f"description_error_{bins}_bins": error}
    return row


def _write_down(sae: Any, x: Sequence[Tensor], bins: int) -> tuple[float, float]:
    """Return the bits per token of the latents in so many bins, and the error that is left.

    `x` holds activations (N, d). Bins are equally wide, from a latent's least value (0 where none
    is negative) to its largest; an inactive latent stays 0. The error is root mean squared.
    """
    ranges = [sae.encode(one.float()).aminmax(dim=0) for one in x]
    low = torch.stack([one.min for one in ranges]).amin(0).clamp_max(0)
    high = torch.stack([one.max for one in ranges]).amax(0).clamp_min(0)
    width = ((high - low) / bins).clamp_min(1e-30)
    first_bin = bins * torch.arange(len(low), device=low.device)
    counts = torch.zeros(len(low) * bins, device=low.device)
    squared, tokens = 0.0, sum(map(len, x))
    for one in x:
        latents = sae.encode(one.float())
        active = latents != 0
        place = ((latents - low) / width).floor().clamp(0, bins - 1)
        written = torch.where(active, low + (place + 0.5) * width, 0.0)
        squared += float((sae.decode(written) - one).square().sum())
        counts += torch.bincount((first_bin + place.long())[active], minlength=len(counts))
    by_latent = counts.view(-1, bins)
    firing = by_latent.sum(1)
    rate = firing / tokens
    whether = torch.special.entr(rate) + torch.special.entr(1 - rate)
    value = torch.special.entr(by_latent / firing.clamp_min(1)[:, None]).sum(1)
    bits = float((whether + rate * value).sum()) / math.log(2)
    return bits, math.sqrt(squared / (tokens * x[0].shape[1]))


MDL = Evaluation(
    name="mdl",
    section="mdl evaluation results",
    prepare=prepare_mdl,
    inputs=(("datasets", MdlSettings.dataset_name),),
    has_set_up=False,
)
