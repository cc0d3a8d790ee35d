"""Writes data/supervised.safetensors: value and gradient of the losses for labelled images in float64, from the published formulas.

    python make_supervised.py        (torch as recorded in the file)

Inputs are uniform(name) on both sides (golden_common.py). Sources: Cui et al. 2019 (eq. 3; weights scaled to sum to the number of classes), Menon et
al. 2021 (eq. 10), Lin et al. 2017 (eq. 4). Cross-entropy and its label smoothing are torch's own.
"""
import os

import torch
import torch.nn.functional as F

from golden_common import put, save, uniform, versions

LABELS = torch.tensor([0, 1, 2, 3, 4, 0, 0, 2, 6])
COUNTS = [900, 31, 1, 250, 7, 0, 12]  # class 5 has no image


def class_balanced(logits, beta, smoothing):
    weights = torch.tensor([0.0 if n == 0 else (1 - beta) / (1 - beta ** n) for n in COUNTS], dtype=torch.float64)
    weights = weights / weights.sum() * sum(n > 0 for n in COUNTS)
    return (F.cross_entropy(logits, LABELS, label_smoothing=smoothing, reduction="none") * weights[LABELS]).mean()


def logit_adjusted(logits, tau, smoothing):
    prior = torch.tensor([max(n, 1) / sum(COUNTS) for n in COUNTS], dtype=torch.float64)
    return F.cross_entropy(logits + tau * prior.log(), LABELS, label_smoothing=smoothing)


def focal(logits, gamma):
    p = logits.softmax(-1)[torch.arange(len(LABELS)), LABELS]
    return (-(1 - p) ** gamma * p.log()).mean()


def main():
    out = {}
    cases = {
        "cross_entropy": lambda z: F.cross_entropy(z, LABELS),
        "cross_entropy_smooth": lambda z: F.cross_entropy(z, LABELS, label_smoothing=0.1),
        "class_balanced": lambda z: class_balanced(z, 0.999, 0.0),
        "class_balanced_smooth": lambda z: class_balanced(z, 0.9, 0.2),
        "class_balanced_zero": lambda z: class_balanced(z, 0.0, 0.0),
        "logit_adjusted": lambda z: logit_adjusted(z, 1.0, 0.0),
        "logit_adjusted_smooth": lambda z: logit_adjusted(z, 1.7, 0.1),
        "focal": lambda z: focal(z, 2.0),
        "focal_half": lambda z: focal(z, 0.5),
        "focal_zero": lambda z: focal(z, 0.0),
    }
    for name, loss_of in cases.items():
        logits = (4 * uniform("supervised/logits", (len(LABELS), len(COUNTS)))).requires_grad_()
        loss = loss_of(logits)
        loss.backward()
        put(out, f"{name}/loss", loss.detach().reshape(1))
        put(out, f"{name}/grad_logits", logits.grad)
    meta = versions() | {"source": "published formulas", "made_by": "tests/golden/make_supervised.py"}
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "supervised.safetensors"), out, meta)


if __name__ == "__main__":
    main()
