"""Muon for an expert's matrices, AdamW for the rest.

Muon (Jordan et al., 2024): momentum, made orthogonal by five steps of a Newton-Schulz iteration. PyTorch's own iterates
in bfloat16, which many CPUs have no instructions for; this one does so in float32, equal shapes together.
"""

import torch

# An odd polynomial that brings singular values near one in few steps.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
# Root mean square of an update at a rate of one, about that of AdamW (Liu et al., 2025, section 2.2).
SIZE = 0.2


def orthogonal(x):
    """The nearest matrices with orthogonal rows or columns, roughly, of `[n, rows, columns]`."""
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Parameters of two dimensions or more; what follows the first is one dimension."""

    def __init__(self, parameters, lr, momentum=0.95, weight_decay=0.01):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                average = self.state[p].setdefault("momentum", torch.zeros_like(p))
                average.lerp_(p.grad, 1 - group["momentum"])
                ahead = p.grad.lerp(average, group["momentum"]).flatten(1)
                shapes.setdefault(ahead.shape, []).append((p, ahead))
            for shape, members in shapes.items():
                scale = group["lr"] * SIZE * max(shape) ** 0.5
                updates = orthogonal(torch.stack([ahead for _, ahead in members]))
                for (p, _), update in zip(members, updates, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update.view_as(p), alpha=-scale)


def optimizers(modules, rate, muon):
    """AdamW over what learns of some modules, and if so wanted Muon over the matrices of layers.

    Rows of a table are no matrix's, nor are a head's outputs. Muon takes much from a gradient that says much: an expert,
    told what is true of thousands of tokens a step, learns several times as fast by it, a decoder with few answers does not
    and always has AdamW.
    """
    matrices, tables, vectors = [], [], []
    for module in modules:
        for name, p in module.named_parameters():
            if not p.requires_grad:
                continue
            if p.dim() < 2:
                vectors.append(p)
            elif not muon or "embed" in name or name in ("weight", "marks") or name.startswith("language_model"):
                tables.append(p)
            else:
                matrices.append(p)
    groups = [{"params": tables, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
    return [Muon(matrices, rate), adam] if matrices else [adam]
