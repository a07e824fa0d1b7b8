"""The hybrids restated in plain PyTorch from the published formulas, as mamba.py and mamba2.py: Granite 4.0 and Falcon-H1 with the
mixer of mamba2.py, Jamba with that of mamba.py; attention, RoPE and the MLP. Multipliers stand where config.json's words say,
in no weight.
"""

import math

import torch
import torch.nn.functional as F

import mamba
import mamba2
from mamba import rms_norm

INFINITE = float("inf")


def under(w, prefix):
    """The weights whose names begin with `prefix.`, without it."""
    return {name[len(prefix) + 1 :]: x for name, x in w.items() if name.startswith(f"{prefix}.")}


def projected(p, name, x, linear=F.linear):
    y, bias = linear(x, p[f"{name}.weight"]), p.get(f"{name}.bias")
    return y if bias is None else y + bias


def turned(x, theta):
    """RoPE of x [b, l, h, p]. Frequencies are rounded to float32 once, and so is each angle, as in transformers."""
    r = x.shape[-1] // 2
    freq = torch.tensor([theta ** (-i / r) for i in range(r)], dtype=torch.float64).float()
    angle = (torch.arange(x.shape[1]).float()[:, None] * freq)[:, None].to(x.dtype)
    a, b = x.split(r, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def attention(p, site, linear, x, heads, keys, scale, theta=None, key_multiplier=1, multiplier=1):
    """x [b, l, m], multiplied by `multiplier` before it is projected."""
    x = site("attnIn", x) * multiplier
    q, k, v = (projected(p, f"{name}_proj", x, linear) for name in "qkv")
    q, k, v = q.unflatten(-1, (heads, -1)), k.unflatten(-1, (keys, -1)) * key_multiplier, v.unflatten(-1, (keys, -1))
    if theta is not None:
        q, k = turned(q, theta), turned(k, theta)
    q, k, v = (site(name, x.flatten(2)).unflatten(-1, x.shape[2:]) for name, x in (("query", q), ("key", k), ("value", v)))
    group, l = torch.arange(heads) * keys // heads, x.shape[1]
    scores = torch.einsum("blhp,bshp->bhls", q, k[:, :, group]) * scale
    scores = scores.masked_fill(torch.ones(l, l, dtype=torch.bool, device=x.device).triu(1), -math.inf)
    y = torch.einsum("bhls,bshp->blhp", torch.softmax(scores, -1), v[:, :, group]).flatten(2)
    return projected(p, "o_proj", site("attnOut", y), linear)


def mlp(p, site, linear, x, gate_multiplier=1):
    """The projections of Granite are two in one matrix, the gate's rows first."""
    x = site("mlpIn", x)
    if "input_linear.weight" in p:
        gate, up = projected(p, "input_linear", x, linear).chunk(2, -1)
    else:
        gate, up = projected(p, "gate_proj", x, linear), projected(p, "up_proj", x, linear)
    product = site("mlpProduct", F.silu(gate * gate_multiplier) * up)
    return projected(p, "output_linear" if "output_linear.weight" in p else "down_proj", product, linear)


def mamba2_mixer(p, site, linear, u, config, norm_groups, multipliers=(1, 1, 1, 1, 1), multiplier=1):
    """As in mamba2.py. `norm_groups` 0: a gate without a norm. `multipliers`: of z, x, B, C and dt."""
    heads, n, g = config["mamba_n_heads"], config["mamba_d_state"], config["mamba_n_groups"]
    inner = p["out_proj.weight"].shape[1]
    low, high = config.get("time_step_limit") or (0, INFINITE)
    sizes = [inner, inner, g * n, g * n, heads]
    segments = projected(p, "in_proj", site("blockIn", u) * multiplier, linear).split(sizes, -1)
    z, x, B, C, dt = (x * factor for x, factor in zip(segments, multipliers))
    z, xBC, dt = site("gate", z), site("convIn", torch.cat([x, B, C], -1)), site("dt", dt)
    taps = p["conv1d.weight"]
    before = F.pad(xBC.transpose(1, 2), (taps.shape[-1] - 1, 0))
    conv = F.conv1d(before, taps, p.get("conv1d.bias"), groups=len(taps)).transpose(1, 2)
    x, B, C = F.silu(conv).split([inner, g * n, g * n], -1)
    x, B, C = site("scanIn", x), site("B", B), site("C", C)
    step = F.softplus(dt + p["dt_bias"]).clamp(low, high)
    B, C = (a.unflatten(-1, (g, n)).repeat_interleave(heads // g, 2) for a in (B, C))
    y = mamba2.scan(x.unflatten(-1, (heads, -1)), step, -torch.exp(p["A_log"]), B, C, p["D"]).flatten(2) * F.silu(z)
    if norm_groups:
        parts, weight = y.unflatten(-1, (norm_groups, -1)), p["norm.weight"].view(norm_groups, -1)
        y = rms_norm(parts, weight, config["rms_norm_eps"]).flatten(-2)
    return projected(p, "out_proj", site("scanOut", y), linear)


def mamba_mixer(p, site, linear, u, config):
    """As in mamba.py, with Jamba's norms on dt, B and C."""
    eps, n, rank = config["rms_norm_eps"], config["mamba_d_state"], p["dt_proj.weight"].shape[1]
    x, z = projected(p, "in_proj", site("blockIn", u), linear).chunk(2, -1)
    x, z = site("convIn", x), site("gate", z)
    taps = p["conv1d.weight"]
    before = F.pad(x.transpose(1, 2), (taps.shape[-1] - 1, 0))
    conv = F.conv1d(before, taps, p.get("conv1d.bias"), groups=len(taps)).transpose(1, 2)
    u = site("scanIn", F.silu(conv))
    parts = projected(p, "x_proj", u, linear).split([rank, n, n], -1)
    low, B, C = (rms_norm(x, p[f"{name}_layernorm.weight"], eps) for x, name in zip(parts, ("dt", "b", "c")))
    low, B, C = site("dtLow", low), site("B", B), site("C", C)
    dt = site("dt", projected(p, "dt_proj", low, linear))
    y = mamba.scan(u, F.softplus(dt), -torch.exp(p["A_log"]), B, C, p["D"], z)
    return projected(p, "out_proj", site("scanOut", y), linear)


def stream(w, config, ids, site, block, final_norm, logits_multiplier):
    h = F.embedding(ids, w["model.embed_tokens.weight"]) * config.get("embedding_multiplier", 1)
    for layer in range(config["num_hidden_layers"]):

        def here(name, x, layer=layer):
            return site(layer, name, x)

        h = block(layer, under(w, f"model.layers.{layer}"), here, h)
    return site(None, "headIn", rms_norm(h, w[final_norm], config["rms_norm_eps"]) * logits_multiplier)


def granite(w, config, ids, site=lambda layer, name, x: x, linear=F.linear):
    """ids int64 [b, l] → the head's input [b, l, m], divided by logits_scaling."""
    eps, residual = config["rms_norm_eps"], config.get("residual_multiplier", 1)
    heads, keys = config["num_attention_heads"], config["num_key_value_heads"]
    theta = theta_of(config, 1e4) if config.get("position_embedding_type") == "rope" else None

    def block(layer, p, here, h):
        u = rms_norm(h, p["input_layernorm.weight"], eps)
        if config["layer_types"][layer] in ("mamba", "linear_attention"):
            y = mamba2_mixer(under(p, "mamba"), here, linear, u, config, norm_groups=1)
        else:
            scale = config.get("attention_multiplier", 1)
            y = attention(under(p, "self_attn"), here, linear, u, heads, keys, scale, theta)
        h = h + residual * y
        y = mlp(under(p, "shared_mlp"), here, linear, rms_norm(h, p["post_attention_layernorm.weight"], eps))
        return h + residual * y

    return stream(w, config, ids, site, block, "model.norm.weight", 1 / config.get("logits_scaling", 1))


def falcon_h1(w, config, ids, site=lambda layer, name, x: x, linear=F.linear):
    """ids int64 [b, l] → the head's input [b, l, m], multiplied by lm_head_multiplier."""
    eps, p_ = config["rms_norm_eps"], config["head_dim"]
    gate, down = config.get("mlp_multipliers") or (1, 1)
    groups = config["mamba_n_groups"] if config.get("mamba_rms_norm") else 0

    def block(layer, p, here, h):
        u = rms_norm(h, p["input_layernorm.weight"], eps)
        parts = config.get("ssm_multipliers") or (1, 1, 1, 1, 1)
        s = mamba2_mixer(under(p, "mamba"), here, linear, u, config, groups, parts, config.get("ssm_in_multiplier", 1))
        heads, keys = config["num_attention_heads"], config["num_key_value_heads"]
        a = attention(
            under(p, "self_attn"), here, linear, u, heads, keys, p_**-0.5, theta_of(config, 1e5),
            config.get("key_multiplier", 1), config.get("attention_in_multiplier", 1),
        )  # fmt: skip
        h = h + (config.get("ssm_out_multiplier", 1) * s + config.get("attention_out_multiplier", 1) * a)
        return h + down * mlp(under(p, "feed_forward"), here, linear, rms_norm(h, p["pre_ff_layernorm.weight"], eps), gate)

    return stream(w, config, ids, site, block, "model.final_layernorm.weight", config.get("lm_head_multiplier", 1))


def jamba(w, config, ids, site=lambda layer, name, x: x, linear=F.linear):
    """ids int64 [b, l] → the head's input [b, l, m]."""
    eps, heads, keys = config["rms_norm_eps"], config["num_attention_heads"], config["num_key_value_heads"]

    def block(layer, p, here, h):
        u = rms_norm(h, p["input_layernorm.weight"], eps)
        if layer % config["attn_layer_period"] == config["attn_layer_offset"]:
            scale = (p["self_attn.q_proj.weight"].shape[0] // heads) ** -0.5
            h = h + attention(under(p, "self_attn"), here, linear, u, heads, keys, scale)
        else:
            h = h + mamba_mixer(under(p, "mamba"), here, linear, u, config)
        return h + mlp(under(p, "feed_forward"), here, linear, rms_norm(h, p["pre_ff_layernorm.weight"], eps))

    return stream(w, config, ids, site, block, "model.final_layernorm.weight", 1)


def theta_of(config, otherwise):
    return (config.get("rope_parameters") or {}).get("rope_theta", config.get("rope_theta", otherwise))


def head(w, x, linear=F.linear):
    return linear(x, w.get("lm_head.weight", w["model.embed_tokens.weight"]))


HIDDEN = {"granitemoehybrid": granite, "falcon_h1": falcon_h1, "jamba": jamba}
"""The restated architectures by their `model_type`."""
