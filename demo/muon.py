"""Muon: momentum whose matrices are made nearly orthogonal before they are taken as steps.

As torch.optim.Muon with adjust_lr_fn="match_rms_adamw", but in float32 (processors without bfloat16 take ten times as
long in it), matrices of one shape together, and with the work shared between the processes.
"""
import torch
import torch.distributed

_A, _B, _C = 3.4445, -4.7750, 2.0315  # Keller Jordan's quintic.


def orthogonalised(matrices, iterations=5):
    """[count, rows, columns] with every singular value brought near 1."""
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.transpose(1, 2)
    x = wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x if wide is matrices else x.transpose(1, 2)


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters, lr, weight_decay, momentum=.95):
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        num_ranks = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        rank = torch.distributed.get_rank() if num_ranks > 1 else 0
        for group in self.param_groups:
            own = {}  # shape -> [(index, direction)]; every process takes each num_ranks-th of a shape
            counts, updates = {}, [torch.zeros_like(p) for p in group["params"]]
            for i, parameter in enumerate(group["params"]):
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                average = state.setdefault("average", torch.zeros_like(parameter))
                average.lerp_(parameter.grad, 1 - group["momentum"])
                shape = tuple(parameter.shape)
                counts[shape] = counts.get(shape, 0) + 1
                if counts[shape] % num_ranks == rank:
                    own.setdefault(shape, []).append((i, parameter.grad.lerp(average, group["momentum"])))
            for shape, rows in own.items():
                steps = orthogonalised(torch.stack([direction for _, direction in rows]))
                for (i, _), step in zip(rows, steps):
                    updates[i].copy_(step)
            if num_ranks > 1:
                flat = torch.cat([update.flatten() for update in updates])
                torch.distributed.all_reduce(flat)
                updates = [part.view_as(p) for part, p in zip(flat.split([p.numel() for p in group["params"]]),
                                                              group["params"])]
            for parameter, update in zip(group["params"], updates):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-.2 * group["lr"] * max(parameter.shape) ** .5)
