"""Muon (Jordan et al. 2024): momentum whose matrices are made orthogonal before they are applied; AdamW for everything else.

The update of a matrix is scaled to the root mean square that AdamW's has (Liu et al. 2025), so that one rate and one weight
decay serve both halves, and a schedule or a range test need not know which optimizer it drives.
"""

import torch
from torch import Tensor
from torch.optim.adamw import adamw

QUINTIC = (3.4445, -4.7750, 2.0315)  # steepest at zero: small singular values grow fastest
STEPS = 5
RMS = 0.2  # of AdamW's usual update, as measured by Liu et al.


def is_matrix(parameter: Tensor) -> bool:
    """Linear weights and convolution kernels; not biases, norms, tokens, nor depthwise kernels, whose filters share no input."""
    return parameter.ndim == 2 or (parameter.ndim == 4 and parameter.shape[1] > 1)


def orthogonalised(matrices: Tensor, half: bool = False) -> Tensor:
    """Each matrix of a batch [n, rows, columns] with its singular values brought near 1 (0.7 to 1.2) by Newton-Schulz steps.

    They aim nowhere near enough for bf16 (`half`) to matter, says the author, who computes them so.
    """
    a, b, c = QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    x = x.bfloat16() if half else x.float()
    for _ in range(STEPS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Groups with "matrices": True take orthogonal steps with Nesterov momentum, the others AdamW's."""

    def __init__(self, groups: list[dict], lr: float, momentum: float = 0.9, second: float = 0.999, half: bool = False):
        split = []
        for group in groups:
            for matrices in (True, False):
                chosen = [p for p in group["params"] if is_matrix(p) == matrices]
                if chosen:
                    own = {"momentum": momentum} if matrices else {"betas": (momentum, second), "fused": True}  # a resume puts "step" there
                    split.append({**group, "params": chosen, "matrices": matrices, **own})
        self.half = half
        super().__init__(split, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        if closure is not None:
            raise NotImplementedError("Muon takes one step for one gradient; it cannot evaluate the loss again.")
        for group in self.param_groups:
            (self._matrix_step if group["matrices"] else self._adamw_step)(group)

    def _matrix_step(self, group: dict) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        if not params:
            return
        for p in params:
            if not self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        grads, buffers = [p.grad for p in params], [self.state[p]["momentum_buffer"] for p in params]
        torch._foreach_lerp_(buffers, grads, 1 - group["momentum"])
        ahead = torch._foreach_lerp(grads, buffers, group["momentum"])
        shapes: dict[tuple[int, int], list[int]] = {}
        for index, each in enumerate(ahead):
            shapes.setdefault((each.shape[0], each[0].numel()), []).append(index)
        if group["weight_decay"]:
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        for shape, places in shapes.items():  # matrices of one shape together: few launches instead of many
            update = orthogonalised(torch.stack([ahead[i].reshape(shape) for i in places]), self.half)
            update = [part.view(params[i].shape) for part, i in zip(update, places, strict=True)]
            torch._foreach_add_([params[i] for i in places], update, alpha=-group["lr"] * RMS * max(shape) ** 0.5)

    def _adamw_step(self, group: dict) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        for p in params:
            if not self.state[p]:
                self.state[p] |= {
                    "step": torch.zeros((), device=p.device),
                    "exp_avg": torch.zeros_like(p),
                    "exp_avg_sq": torch.zeros_like(p),
                }
        states = [self.state[p] for p in params]
        adamw(
            params,
            [p.grad for p in params],
            *([state[key] for state in states] for key in ("exp_avg", "exp_avg_sq")),
            [],
            [state["step"] for state in states],
            fused=all(p.device.type in ("cpu", "cuda") for p in params),
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )
