"""The Mamba-2 language model restated in plain PyTorch from the published formulas (arXiv 2405.21060), as mamba.py.

The recurrence token by token, not the chunks of the official code. Norm and head are those of Mamba-1.
"""

import torch
import torch.nn.functional as F

import mamba
from mamba import rms_norm


def scan(x, step, A, B, C, D):
    """x [b, l, h, p], step [b, l, h] after its limits, A, D [h], B, C [b, l, h, n] → y [b, l, h, p], from an empty state."""
    S, rows = torch.zeros(len(x), A.numel(), B.shape[-1], x.shape[-1], dtype=x.dtype, device=x.device), []
    for t in range(x.shape[1]):
        decay = torch.exp(step[:, t] * A)[..., None, None]
        S = decay * S + B[:, t, :, :, None] * (step[:, t, :, None] * x[:, t])[:, :, None]
        rows.append((S * C[:, t, :, :, None]).sum(2))
    return torch.stack(rows, 1) + D[:, None] * x


def hidden(w, config, ids, site=lambda layer, name, x: x, linear=F.linear):
    """ids int64 [b, l] → the head's input [b, l, m]. Sites of a block come with its layer, headIn with None."""
    eps, n, g = config["layer_norm_epsilon"], config["state_size"], config["n_groups"]
    heads, inner = config["num_heads"], config["num_heads"] * config["head_dim"]
    low, high = config.get("time_step_limit", (0, float("inf")))
    h = F.embedding(ids, w["backbone.embeddings.weight"])
    for layer in range(config["num_hidden_layers"]):
        p = {name.split(f"layers.{layer}.", 1)[1]: x for name, x in w.items() if f".layers.{layer}." in name}

        def project(name, x):
            y, bias = linear(x, p[f"mixer.{name}.weight"]), p.get(f"mixer.{name}.bias")
            return y if bias is None else y + bias

        u = site(layer, "blockIn", rms_norm(h, p["norm.weight"], eps))
        z, xBC, dt = project("in_proj", u).split([inner, inner + 2 * g * n, heads], -1)
        z, xBC, dt = site(layer, "gate", z), site(layer, "convIn", xBC), site(layer, "dt", dt)
        taps = p["mixer.conv1d.weight"]
        padded = F.pad(xBC.transpose(1, 2), (taps.shape[-1] - 1, 0))
        conv = F.conv1d(padded, taps, p.get("mixer.conv1d.bias"), groups=len(taps)).transpose(1, 2)
        x, B, C = F.silu(conv).split([inner, g * n, g * n], -1)
        x, B, C = site(layer, "scanIn", x), site(layer, "B", B), site(layer, "C", C)
        step = F.softplus(dt + p["mixer.dt_bias"]).clamp(low, high)
        B, C = (a.unflatten(-1, (g, n)).repeat_interleave(heads // g, 2) for a in (B, C))
        y = scan(x.unflatten(-1, (heads, -1)), step, -torch.exp(p["mixer.A_log"]), B, C, p["mixer.D"]).flatten(2)
        v = (y * F.silu(z)).unflatten(-1, (g, -1))
        y = rms_norm(v, p["mixer.norm.weight"].view(g, -1), eps).flatten(-2)
        h = h + project("out_proj", site(layer, "scanOut", y))
    return site(None, "headIn", rms_norm(h, w["backbone.norm_f.weight"], eps))


HIDDEN = {"mamba": mamba.hidden, "mamba2": hidden}
"""The restated architectures by their `model_type`."""
