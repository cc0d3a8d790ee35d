"""Writes data/sweep.safetensors: linear heads after some steps of DINOv2's linear evaluation in float64, by torch's own modules, optimiser and schedule.

    python make_sweep.py             (torch as recorded in the file)

As published (dinov2/eval/linear.py): a torch.nn.Linear for each (number of last blocks, mean of patches or not, learning rate) in a module dictionary,
cross-entropy of all heads summed, one SGD (momentum 0.9, no weight decay) with a parameter group for each head, rate x batch / 256, cosine to 0 by
iteration. Features, first weights and the order are uniform(name) or written below, the same on both sides.
"""
import os

import torch
from torch import nn

from golden_common import put, save, uniform, versions

DIM, BLOCKS, CLASSES, IMAGES, BATCH, STEPS = 5, 4, 3, 29, 128, 7
RATES = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1]


def head_input(tokens, blocks, average):
    """tokens: for each of the last blocks (patches [N, P, D], CLS [N, D])"""
    used = tokens[len(tokens) - blocks:]
    x = torch.cat([cls for _, cls in used], dim=-1)
    return torch.cat((x, used[-1][0].mean(dim=1)), dim=-1) if average else x


def main():
    tokens = [(4 * uniform(f"sweep/patches{b}", (IMAGES, 6, DIM)), 4 * uniform(f"sweep/cls{b}", (IMAGES, DIM))) for b in range(BLOCKS)]
    labels = torch.tensor([(i * i + i // 3) % CLASSES for i in range(IMAGES)])
    heads, groups = {}, []
    for blocks in (1, BLOCKS):
        for average in (False, True):
            width = head_input(tokens, blocks, average).shape[1]
            for place, rate in enumerate(RATES):
                name = f"{blocks}_{int(average)}_{place}"
                head = nn.Linear(width, CLASSES).double()
                with torch.no_grad():
                    head.weight.copy_(uniform(f"sweep/weight_{name}", (CLASSES, width)))
                    head.bias.copy_(uniform(f"sweep/bias_{name}", (CLASSES,)))
                heads[name] = (head, blocks, average)
                groups.append({"params": head.parameters(), "lr": rate * BATCH / 256})
    optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS, eta_min=0)
    for step in range(STEPS):
        rows = torch.tensor([(step * 31 + i * 7) % IMAGES for i in range(BATCH)])
        batch = [(patches[rows], cls[rows]) for patches, cls in tokens]
        loss = sum(nn.functional.cross_entropy(head(head_input(batch, blocks, average)), labels[rows]) for head, blocks, average in heads.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    out = {}
    for blocks in (1, BLOCKS):
        for average in (False, True):
            of_input = [heads[f"{blocks}_{int(average)}_{place}"][0] for place in range(len(RATES))]
            for place, head in enumerate(of_input):
                put(out, f"weight_{blocks}_{int(average)}_{place}", head.weight)
            put(out, f"bias_{blocks}_{int(average)}", torch.stack([head.bias for head in of_input]))
    meta = versions() | {"source": "the published algorithm by torch.nn.Linear, torch.optim.SGD and CosineAnnealingLR", "made_by": "tests/golden/make_sweep.py"}
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "sweep.safetensors"), out, meta)


if __name__ == "__main__":
    main()
