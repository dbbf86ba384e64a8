"""The models, texts and SAEs that sae_bench asks the network for, from here. Frozen.

In `small` all is generated (offline_data.py). In `full` models and data sets are the person's, from
the hub folder of HF_HOME, as `huggingface-cli download` leaves them there; nothing is downloaded,
and what is not there is a NotRunError.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from data import Data
from dictionary import Dictionary
from offline_data import read_dataset
from pretrained import input_folders, load_pretrained

GENERATED = "generated"


class NotRunError(Exception):
    """An evaluation that cannot be made here, and why; never a 0."""


class Replacement(NamedTuple):
    """A name in one of sae_bench's modules that means something else while it runs."""

    owner: Any
    name: str
    value: Any


class OneModel:
    """Stands for a class with `from_pretrained…`: whatever is asked for, gives what is loaded."""

    def __init__(self, loaded: Any) -> None:
        self._loaded = loaded

    def from_pretrained(self, *_: object, **__: object) -> Any:
        """Return it."""
        return self._loaded

    from_pretrained_no_processing = from_pretrained


def is_generated(data: Data) -> bool:
    """Whether model and texts were generated, and are not the person's."""
    return "model" not in data.meta


def model_name(data: Data) -> str:
    """Return what sae_bench is told: it makes paths of it, so it must not be one."""
    return GENERATED if is_generated(data) else data.model_name.split("/")[-1]


def hooked_model(data: Data, name: str | None = None) -> Any:
    """Return the language model in transformer_lens, or the person's model `name`."""
    if is_generated(data):
        return _hooked_folder(data.folder / "model")
    return _hooked_pretrained(name or data.model_name, str(data.device))


def transformers_model(data: Data) -> tuple[Any, Any]:
    """Return the language model in transformers, and its tokenizer."""
    if is_generated(data):
        return _transformers_folder(data.folder / "model")
    return _pretrained(data.model_name, str(data.device))


@functools.cache
def _hooked_folder(folder: Path) -> Any:
    from hooked_model import load_hooked_model

    return load_hooked_model(folder)


@functools.lru_cache(maxsize=1)  # 5 GB each, and evaluations come one after the other
def _hooked_pretrained(name: str, device: str) -> Any:
    from hooked_model import hook_gemma

    return hook_gemma(*_load_pretrained(name, device))


@functools.cache
def _transformers_folder(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.eval().requires_grad_(False), tokenizer


@functools.lru_cache(maxsize=1)
def _pretrained(name: str, device: str) -> tuple[Any, Any]:
    return _load_pretrained(name, device)


def _load_pretrained(name: str, device: str) -> tuple[Any, Any]:
    if not Path(name).is_dir():
        find_in_hub("models", name)
    model, tokenizer = load_pretrained(name, "bfloat16", torch.device(device))
    return model.whole, tokenizer


def find_in_hub(kind: str, name: str) -> Path:
    """Return the folder of a model or data set (`datasets`) in HF_HOME: that of its main branch.

    Raises NotRunError.
    """
    hub = input_folders().get("HF_HOME/hub")
    folder = Path(hub or "", f"{kind}--{name.replace('/', '--')}")
    snapshots = sorted((folder / "snapshots").glob("*")) if hub else []
    if not snapshots:
        wanted = name if kind == "models" else f"--repo-type dataset {name}"
        raise NotRunError(f"{name} is not in HF_HOME; `huggingface-cli download {wanted}`")
    main = folder / "refs" / "main"
    commit = main.read_text().strip() if main.is_file() else ""
    return next((one for one in snapshots if one.name == commit), snapshots[-1])


def find_commit(kind: str, name: str) -> str | None:
    """Return the commit of the model or data set that is read; None where there is none."""
    try:
        return find_in_hub(kind, name).name
    except NotRunError:
        return None


def text_folder(data: Data, name: str) -> str:
    """Return the folder of texts for an evaluation that sae_bench gives the data set `name`."""
    return str(data.folder / "text" if is_generated(data) else check_dataset(name, ["text"]))


def our_model(*modules: Any, data: Data, name: str | None = None) -> list[Replacement]:
    """Return what makes the modules load our language model."""
    loaded = OneModel(hooked_model(data, name))
    return [Replacement(module, "HookedTransformer", loaded) for module in modules]


def our_texts(*modules: Any, data: Data) -> list[Replacement]:
    """Return what makes the modules' load_dataset read our data sets."""

    def generated(name: str, part: str | None = None, split: str | None = None, **_: object) -> Any:
        where = data.folder / "datasets"
        if split is not None:
            return read_dataset(where, part or name, split)
        return {split: read_dataset(where, name, split) for split in ("train", "test")}

    load = generated if is_generated(data) else _from_hub
    return [Replacement(module, "load_dataset", load) for module in modules]


def _from_hub(
    name: str,
    part: str | None = None,
    split: str | None = None,
    streaming: bool = False,
    **_: object,
) -> Any:
    import datasets

    folder = str(find_in_hub("datasets", name))
    return datasets.load_dataset(folder, part, split=split, streaming=streaming)


def check_dataset(
    name: str, columns: Sequence[str], split: str = "train", part: str | None = None
) -> Path:
    """Return the folder of a data set in HF_HOME, when its first row has the columns.

    Raises NotRunError with what is wrong; scripts of data sets are not run.
    """
    folder = find_in_hub("datasets", name)
    shown = " ".join([name, *([part] if part else []), split])
    try:
        first = next(iter(_from_hub(name, part, split, streaming=True)), {})
        lacking = [column for column in columns if column not in first]
        if not lacking:
            return folder
        wrong = f"{shown} in HF_HOME has no column {', '.join(lacking)}"
    except Exception as error:  # of nearly every kind
        wrong = f"{shown} in HF_HOME cannot be read: {str(error)[:200]}"
    for script in folder.glob("*.py"):
        wrong += f"; it is made for its script {script.name}, which is not run here"
    raise NotRunError(wrong)


def wrap(sae: Dictionary, data: Data) -> Any:
    """Return the SAE as sae_bench wants it: weights by name, its own encode and decode."""
    from sae_bench.custom_saes.base_sae import BaseSAE

    class Wrapped(BaseSAE):  # type: ignore[misc]
        # The language model may be in bfloat16; the SAE computes in its own precision.
        def encode(self, x: Tensor) -> Tensor:
            return sae.encode(x.to(sae.W_enc.dtype)).to(x.dtype)

        def decode(self, feature_acts: Tensor) -> Tensor:
            return sae.decode(feature_acts.to(sae.W_dec.dtype)).to(feature_acts.dtype)

        def forward(self, x: Tensor) -> Tensor:
            return self.decode(self.encode(x))

    d_sae, d_in = sae.W_dec.shape
    wrapped = Wrapped(
        d_in, d_sae, model_name(data), data.layer, data.device, torch.float32, data.hook
    )
    for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
        getattr(wrapped, name).data = getattr(sae, name).detach().clone()
    wrapped.requires_grad_(False)
    wrapped.cfg.architecture = "custom"
    wrapped.cfg.context_size = data.documents["test"].tokens.shape[1]
    return wrapped
