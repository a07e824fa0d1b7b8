"""The official formula of every op in plain PyTorch.

Each takes the op's inputs by name and its attributes, computes in the dtype of its inputs, and gives its outputs by
name. Evaluated in float32 it is what PyTorch says; in float64, the truth. Letters as in the op files. A state is an
input that may be left out (then it is zeros), and an output of the same name.
"""

import math

import torch
import torch.nn.functional as F


def embedding(tokens, w):
    return {"y": F.embedding(tokens.long(), w)}


def embedding_i8(tokens, w, scale):
    return {"y": F.embedding(tokens.long(), w.to(scale.dtype)) * scale[tokens.long()][:, None]}


def add(x, y):
    return {"sum": x + y}


def rms_norm(x, w=None, eps=1e-5):
    y = x * (1 / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + eps))
    return {"y": y if w is None else y * w}


def gated_rms_norm(x, z, w=None, eps=1e-5, g=1):
    y = rms_norm((x * F.silu(z)).unflatten(-1, (g, -1)), eps=eps)["y"].flatten(-2)
    return {"y": y if w is None else y * w}


def linear(x, w, b=None):
    return {"y": F.linear(x, w, b)}


def linear_i8(x, w, xscale, wscale, b=None):
    """Exact integer sums. In float32: one conversion and one multiplication by the rounded product of the scales."""
    dtype, groups = xscale.dtype, wscale.shape[1]
    y = None
    for group, (xg, wg) in enumerate(zip(x.long().chunk(groups, 1), w.long().chunk(groups, 1))):
        scale = (xscale.double()[:, None] * wscale.double()[None, :, group]).to(dtype)
        part = (xg @ wg.t()).to(dtype) * scale
        y = part if y is None else y + part
    return {"y": y if b is None else y + b}


def linear_i4(x, w, xscale, wscale, b=None):
    """Two weights in a byte, the even column in the low half, two's complement."""
    return linear_i8(x, halves(w, x.shape[1]), xscale, wscale, b)


def halves(w, columns):
    values = torch.stack([w.int() & 15, (w.int() >> 4) & 15], -1).flatten(1)[:, :columns]
    return torch.where(values < 8, values, values - 16).to(torch.int8)


def causal_conv1d(x, w, b=None, past=None, activation="silu"):
    d, k = w.shape
    past = torch.zeros(d, k - 1, dtype=x.dtype) if past is None else past
    samples = torch.cat([past, x.t()], 1)
    y = F.conv1d(samples[None], w[:, None], b, groups=d)[0].t()
    return {"y": F.silu(y) if activation == "silu" else y, "past": samples[:, samples.shape[1] - (k - 1) :]}


def softplus(x):
    return {"y": F.softplus(x)}


def silu(x):
    return {"y": F.silu(x)}


def neg_exp(x):
    return {"y": -torch.exp(x)}


def selective_scan(u, dt, A, B, C, D=None, z=None, h=None, keep_h=lambda h: h):
    """`keep_h` rounds the state that is given, and the state after every token. A token's y is made of the unrounded h."""
    h = torch.zeros_like(A) if h is None else keep_h(h)
    rows = []
    for t in range(len(u)):
        h = torch.exp(dt[t][:, None] * A) * h + dt[t][:, None] * B[t] * u[t][:, None]
        rows.append((h * C[t]).sum(-1))
        h = keep_h(h)
    y = torch.stack(rows)
    if D is not None:
        y = y + D * u
    return {"y": y if z is None else y * F.silu(z), "h": h}


def ssd_scan(x, dt, A, B, C, D=None, bias=None, g=1, lo=0, hi=None, S=None, keep_S=lambda S: S):
    """One decay for each head, A[h, 1]: S[h, n, p] = exp(step·A) S + B[n] (step·x[p]). `keep_S` as keep_h above."""
    l, h = dt.shape
    x, n = x.unflatten(1, (h, -1)), B.shape[1] // g
    group = torch.arange(h) * g // h
    B, C = (y.unflatten(1, (g, n))[:, group] for y in (B, C))
    step = F.softplus(dt if bias is None else dt + bias).clamp(lo, hi)
    S = torch.zeros(h, n, x.shape[2], dtype=x.dtype) if S is None else keep_S(S)
    rows = []
    for t in range(l):
        S = torch.exp(step[t] * A[:, 0])[:, None, None] * S + B[t][:, :, None] * (step[t][:, None] * x[t])[:, None]
        rows.append((S * C[t][:, :, None]).sum(1))
        S = keep_S(S)
    y = torch.stack(rows)
    return {"y": (y if D is None else y + D[:, None] * x).flatten(1), "S": S}


def attention(q, k, v, h=1, g=1, scale=1, K=None, V=None, keep_K=lambda K: K, keep_V=lambda V: V):
    """softmax(scale q·k) v over the tokens so far. `keep_K` and `keep_V` round what is kept, of this call too."""
    K, V = (
        keep(new.unflatten(1, (g, -1)) if past is None else torch.cat([past, new.unflatten(1, (g, -1))]))
        for past, new, keep in ((K, k, keep_K), (V, v, keep_V))
    )
    l, group = len(q), torch.arange(h) * g // h
    scores = torch.einsum("lhp,shp->hls", q.unflatten(1, (h, -1)), K[:, group]) * scale
    later = torch.arange(len(K)) > torch.arange(len(K) - l, len(K))[:, None]
    weights = torch.softmax(scores.masked_fill(later, -math.inf), -1)
    return {"y": torch.einsum("hls,shp->lhp", weights, V[:, group]).flatten(1), "K": K, "V": V}


def rope(x, cos, sin, h=1):
    r = cos.shape[1]
    a, b, rest = x.unflatten(1, (h, -1)).split([r, r, x.shape[1] // h - 2 * r], -1)
    cos, sin = cos[:, None], sin[:, None]
    return {"y": torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1).flatten(1)}


def rope_table(tokens, freq, sine=False, fed=None):
    """The angle is float32 by definition, as in transformers; the truth is of that angle."""
    fed = torch.zeros(1, dtype=freq.dtype) if fed is None else fed
    position = fed + torch.arange(len(tokens))
    angle = (position.float()[:, None] * freq.float()).to(freq.dtype)
    return {"y": torch.sin(angle) if sine else torch.cos(angle), "fed": fed + len(tokens)}


def swiglu(gate, up):
    return {"y": F.silu(gate) * up}


def squared_relu(x):
    return {"y": F.relu(x).pow(2)}


def keep(dtype, scale=None):
    """The function that rounds a state which is kept as `dtype` between two tokens."""
    return {"f16": half, "i8": lambda h: int8_steps(h, scale), "i8-dynamic": int8_measured}[dtype]


def int8_measured(h):
    """In steps that are measured in float32: absmax / 127 of each row, rounded up to 16 binary digits."""
    absmax = h.abs().amax(-1).float().clamp(min=1e-5)
    step = ((absmax / 127).view(torch.int32) + 0xFF & ~0xFF).view(torch.float32)
    return int8_steps(h, step.to(h.dtype))


def half(h):
    """The nearest value of binary16, saturated."""
    return h.clamp(-65504, 65504).half().to(h.dtype)


def int8_steps(h, scale):
    """The nearest int8 in steps of each row, saturated, times the step. A row is a run of the last axis."""
    step = scale.view(*h.shape[:-1], 1)
    return torch.clamp(torch.round(h / step), -128, 127).to(torch.int8).to(h.dtype) * step


def character(q):
    """The quadratic character mod a prime q, at 0 … q−1."""
    squares = {a * a % q for a in range(1, q)}
    return [0 if a == 0 else 1 if a in squares else -1 for a in range(q)]


def paley_1(q):
    chi = character(q)
    rows = [[1] + [-1] * q] + [[1] + [chi[(i - j) % q] + (i == j) for j in range(q)] for i in range(q)]
    return torch.tensor(rows, dtype=torch.float64)


def paley_2(q):
    chi = character(q)
    conference = [[0] + [1] * q] + [[1] + [chi[(i - j) % q] for j in range(q)] for i in range(q)]
    C = torch.tensor(conference, dtype=torch.float64)
    zero, one = (
        torch.tensor([[1.0, -1.0], [-1.0, -1.0]]).double(),
        torch.tensor([[1.0, 1.0], [1.0, -1.0]]).double(),
    )
    return torch.kron(C, one) + torch.kron((C == 0).double(), zero)


H_2 = torch.tensor([[1.0, 1.0], [1.0, -1.0]]).double()
BASES = {
    1: torch.ones(1, 1).double(),
    12: paley_2(5),
    20: paley_1(19),
    28: paley_2(13),
    40: torch.kron(H_2, paley_1(19)),
}


def split(n):
    """n = K · 2^k as (K, 2^k); 40 rather than 20 where both fit."""
    for K in (12, 28, 40, 20, 1):
        if n % K == 0 and (n // K) & (n // K - 1) == 0:
            return K, n // K
    raise ValueError(f"{n} is not K·2^k with K in {sorted(BASES)}")


def hadamard(n):
    """The orthonormal Q float64[n, n] = (M_K ⊗ H_2 ⊗ … ⊗ H_2) / √n, by Kronecker products."""
    K, run = split(n)
    H = BASES[K]
    while run > 1:
        H, run = torch.kron(H, H_2), run // 2
    return H / math.sqrt(n)


def fwht_dense(x, inverse=False):
    Q = hadamard(x.shape[-1]).to(x.dtype)
    return {"y": x @ (Q if inverse else Q.t())}


def butterfly(x, stride):
    a, b = x.unflatten(-1, (-1, 2, stride)).unbind(-2)
    return torch.stack([a + b, a - b], -2).flatten(-3)


def fwht_fast(x, inverse=False):
    """Butterflies in ascending stride, M_K left to right, then one multiplication: an order, hence exact bits."""
    n = x.shape[-1]
    K, run = split(n)
    y, stride = x, 1
    while stride < run:
        y, stride = butterfly(y, stride), 2 * stride
    M = BASES[20 if K == 40 else K].to(x.dtype)
    M = M.t() if inverse else M
    rows = y.unflatten(-1, (-1, len(M), run))
    mixed = M[:, :1] * rows[..., :1, :]
    for j in range(1, len(M)):
        mixed = mixed + M[:, j : j + 1] * rows[..., j : j + 1, :]
    y = mixed.flatten(-3)
    if K == 40:
        y = butterfly(y, n // 2)
    return {"y": y * torch.tensor(1 / math.sqrt(n), dtype=x.dtype)}


def scale_channels(x, c, inverse=False):
    return {"y": x / c if inverse else x * c}


def absmax_scale(x):
    return {"scale": x.abs().amax(-1).clamp(min=1e-5) / 127}


def quantize(x, scale):
    return {"q": torch.clamp(torch.round(x / scale[:, None]), -128, 127).to(torch.int8)}


def dequantize(q, scale):
    return {"x": scale[:, None] * q.to(scale.dtype)}


def dequantize_i4(q, scale, n=1):
    return {"x": scale.repeat_interleave(n // scale.shape[1], 1) * halves(q, n).to(scale.dtype)}


def slice_(x, start=0, size=1):
    return {"y": x[:, start : start + size]}
