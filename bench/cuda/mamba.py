"""Mamba in plain PyTorch, one token at a time: what people would otherwise write. f16 weights, the state of the scan in f32.

Precisions are those of transformers 5 in f16 (check.py compares them): the residual, the norms and the recurrence in f32,
all else in f16. Where plain PyTorch leaves a choice this takes the faster: A is made once, and a norm is one fused call.
"""

import torch
import torch.nn.functional as F
from torch import nn

# layers, d_model of the public checkpoints; d_inner = 2 d_model, dt_rank = d_model / 16
SHAPES = {
    "mamba-130m": (24, 768),
    "mamba-370m": (48, 1024),
    "mamba-790m": (48, 1536),
    "mamba-1.4b": (48, 2048),
    "mamba-2.8b": (64, 2560),
}
STATE, WIDTH, VOCABULARY, EPS = 16, 4, 50280, 1e-5


def random(*shape, std, like):
    return nn.Parameter(torch.randn(*shape, **like) * std, requires_grad=False)


class Block(nn.Module):
    """One layer: the residual h f32[b, m] → f32[b, m]. Its two states are buffers, which change in place."""

    def __init__(self, m, batch, like):
        super().__init__()
        d, r, single = 2 * m, m // 16, {**like, "dtype": torch.float32}
        self.split = (r, STATE, STATE)
        self.norm = nn.Parameter(torch.ones(m, **single), requires_grad=False)
        self.in_proj = random(2 * d, m, std=m**-0.5, like=like)
        self.conv = random(d, WIDTH, std=0.3, like=like)
        self.conv_bias = random(d, std=0.1, like=like)
        self.x_proj = random(r + 2 * STATE, d, std=d**-0.5, like=like)
        self.dt_proj = random(d, r, std=r**-0.5, like=like)
        self.dt_bias = random(d, std=0.5, like=like)
        self.D = random(d, std=1, like=like)
        self.out_proj = random(m, d, std=d**-0.5, like=like)
        steps = torch.arange(1, STATE + 1, **single)
        self.A = nn.Parameter(-steps.repeat(d, 1), requires_grad=False)
        self.register_buffer("window", torch.zeros(batch, d, WIDTH, **like))
        self.register_buffer("state", torch.zeros(batch, d, STATE, **single))

    def forward(self, h):
        normed = F.rms_norm(h, self.norm.shape, self.norm, EPS).to(self.in_proj.dtype)
        x, z = F.linear(normed, self.in_proj).chunk(2, -1)

        window = torch.cat([self.window[..., 1:], x.unsqueeze(-1)], -1)
        self.window.copy_(window)
        u = F.silu((window * self.conv).sum(-1) + self.conv_bias)

        dt, B, C = F.linear(u, self.x_proj).split(self.split, -1)
        dt = F.softplus(F.linear(dt, self.dt_proj, self.dt_bias)).float().unsqueeze(-1)
        state = torch.exp(dt * self.A) * self.state + dt * u.unsqueeze(-1) * B.unsqueeze(-2)
        self.state.copy_(state)
        y = torch.matmul(state.to(C.dtype), C.unsqueeze(-1)).squeeze(-1)
        return h + F.linear(torch.addcmul(y, u, self.D) * F.silu(z), self.out_proj)


class Mamba(nn.Module):
    """Tokens i64[b] → logits [b, v]. The head is the embedding, as in the checkpoints."""

    def __init__(self, shape, batch=1, device="cuda", dtype=torch.float16, vocabulary=VOCABULARY):
        super().__init__()
        layers, m = shape
        like = {"device": device, "dtype": dtype}
        self.embedding = random(vocabulary, m, std=0.02, like=like)
        self.blocks = nn.ModuleList(Block(m, batch, like) for _ in range(layers))
        self.norm = nn.Parameter(torch.ones(m, device=device), requires_grad=False)

    def forward(self, tokens):
        h = self.embedding[tokens].float()
        for block in self.blocks:
            h = block(h)
        return F.linear(F.rms_norm(h, self.norm.shape, self.norm, EPS).to(self.embedding.dtype), self.embedding)

    def bytes_per_token(self):
        """All weights once, of which the embedding as the head; the states are read and written."""
        size = lambda tensors: sum(t.numel() * t.element_size() for t in tensors)  # noqa: E731
        return size(self.parameters()) + 2 * size(self.buffers())
