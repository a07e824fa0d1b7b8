"""The Mamba language model restated in plain PyTorch from the published formulas (arXiv 2312.00752).

One text, sequentially, in the dtype of the weights: nothing is cast, so float64 weights give float64 results. A `site`
function sees every activation that a recipe may quantize, and what it returns is used from there on.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F

import tensorfile

BLOCK_SITES = ("blockIn", "convIn", "gate", "scanIn", "dtLow", "dt", "B", "C", "scanOut")


def load(folder, dtype):
    """Weights by name and the config of a Hugging Face model folder."""
    tensors, _ = tensorfile.read(Path(folder) / "model.safetensors")
    config = json.loads((Path(folder) / "config.json").read_text())
    return {name: torch.tensor(x).to(dtype) for name, x in tensors.items()}, config


def rms_norm(x, w, eps):
    return x * (1 / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + eps)) * w


def scan(u, dt, A, B, C, D, z):
    """u, dt, z [b, l, d], B, C [b, l, n], A [d, n], D [d] → y [b, l, d], from an empty state."""
    h, rows = torch.zeros(len(u), *A.shape, dtype=u.dtype, device=u.device), []
    for t in range(u.shape[1]):
        step = dt[:, t, :, None]
        h = torch.exp(step * A) * h + step * B[:, t, None, :] * u[:, t, :, None]
        rows.append((h * C[:, t, None, :]).sum(-1))
    return (torch.stack(rows, 1) + D * u) * F.silu(z)


def hidden(w, config, ids, site=lambda layer, name, x: x, linear=F.linear):
    """ids int64 [b, l] → the head's input [b, l, m]. Sites of a block come with its layer, headIn with None."""
    eps, n, rank = config["layer_norm_epsilon"], config["state_size"], config["time_step_rank"]
    h = F.embedding(ids, w["backbone.embeddings.weight"])
    for layer in range(config["num_hidden_layers"]):
        p = {name.split(f"layers.{layer}.", 1)[1]: x for name, x in w.items() if f".layers.{layer}." in name}
        xz = linear(site(layer, "blockIn", rms_norm(h, p["norm.weight"], eps)), p["mixer.in_proj.weight"])
        x, z = xz.chunk(2, -1)
        x, z = site(layer, "convIn", x), site(layer, "gate", z)
        taps = p["mixer.conv1d.weight"]
        padded = F.pad(x.transpose(1, 2), (taps.shape[-1] - 1, 0))
        conv = F.conv1d(padded, taps, p["mixer.conv1d.bias"], groups=len(taps)).transpose(1, 2)
        u = site(layer, "scanIn", F.silu(conv))
        low, B, C = linear(u, p["mixer.x_proj.weight"]).split([rank, n, n], -1)
        low, B, C = site(layer, "dtLow", low), site(layer, "B", B), site(layer, "C", C)
        dt = site(layer, "dt", linear(low, p["mixer.dt_proj.weight"]) + p["mixer.dt_proj.bias"])
        y = scan(u, F.softplus(dt), -torch.exp(p["mixer.A_log"]), B, C, p["mixer.D"], z)
        h = h + linear(site(layer, "scanOut", y), p["mixer.out_proj.weight"])
    return site(None, "headIn", rms_norm(h, w["backbone.norm_f.weight"], eps))


def head(w, x, linear=F.linear):
    """The logits [b, l, v]; without a head of its own the embedding is the head."""
    return linear(x, w.get("lm_head.weight", w["backbone.embeddings.weight"]))
