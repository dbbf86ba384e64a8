"""How a classifier is measured. Frozen: edits are undone.

The loss is the plain cross-entropy with the true digit, whatever a run trains on, so that runs with
different training losses stay comparable.
"""

from __future__ import annotations

import numpy as np

from data import Digits


def mean_loss(logits: np.ndarray, digits: Digits) -> float:
    """Return the cross-entropy in nats per image; logits are (n, 10)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-log_probabilities[np.arange(len(digits.labels)), digits.labels].mean())


def accuracy(logits: np.ndarray, digits: Digits) -> float:
    """Return the share of images whose largest logit is the true digit's; logits are (n, 10)."""
    return float((logits.argmax(axis=1) == digits.labels).mean())
