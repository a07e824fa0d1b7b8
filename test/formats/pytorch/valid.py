"""Checkpoints that must read equal: what torch.save writes, and beside each the same values as safetensors."""

import collections
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "golden"))
import tensorfile  # noqa: E402

SEED = 20241022


def mamba_state():
    """The names and shapes of a state-spaces checkpoint, tiny; the head is the embedding's own storage."""
    m, d, n, k, r, v, layers = 6, 12, 4, 4, 3, 16, 2
    state = collections.OrderedDict()

    def put(name, *shape):
        state[name] = torch.randn(*shape)

    put("backbone.embedding.weight", v, m)
    for i in range(layers):
        mixer = f"backbone.layers.{i}.mixer."
        put(mixer + "A_log", d, n)
        put(mixer + "D", d)
        put(mixer + "in_proj.weight", 2 * d, m)
        put(mixer + "conv1d.weight", d, 1, k)
        put(mixer + "conv1d.bias", d)
        put(mixer + "x_proj.weight", r + 2 * n, d)
        put(mixer + "dt_proj.weight", d, r)
        put(mixer + "dt_proj.bias", d)
        put(mixer + "out_proj.weight", m, d)
        put(f"backbone.layers.{i}.norm.weight", m)
    put("backbone.norm_f.weight", m)
    state["lm_head.weight"] = state["backbone.embedding.weight"]
    return state


def mamba2_state():
    """The same of Mamba-2: two heads of four channels, eight states, one group."""
    m, h, p, n, k, v, layers = 4, 2, 4, 8, 4, 32, 2
    d, e = h * p, h * p + 2 * n
    state = collections.OrderedDict()

    def put(name, *shape):
        state[name] = torch.randn(*shape)

    put("backbone.embedding.weight", v, m)
    for i in range(layers):
        mixer = f"backbone.layers.{i}.mixer."
        put(mixer + "dt_bias", h)
        put(mixer + "A_log", h)
        put(mixer + "D", h)
        put(mixer + "in_proj.weight", d + e + h, m)
        put(mixer + "conv1d.weight", e, 1, k)
        put(mixer + "conv1d.bias", e)
        put(mixer + "norm.weight", d)
        put(mixer + "out_proj.weight", m, d)
        put(f"backbone.layers.{i}.norm.weight", m)
    put("backbone.norm_f.weight", m)
    state["lm_head.weight"] = state["backbone.embedding.weight"]
    return state


def checkpoints():
    torch.manual_seed(SEED)
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
    yield "linear", torch.nn.Linear(3, 2).state_dict()  # an OrderedDict with _metadata
    yield "mamba", mamba_state()
    yield "types", {
        "f32": torch.randn(2, 3),
        "f16": torch.randn(2, 3).half(),
        "bf16": torch.randn(5).bfloat16(),
        "i8": torch.tensor([-128, 0, 127], dtype=torch.int8),
        "i32": torch.tensor([-(2**31), 2**31 - 1], dtype=torch.int32),
        "i64": torch.tensor([-(2**31), 7], dtype=torch.int64),
        "denormal": torch.tensor([1e-40, -1e-45, -0.0]),
        "f16-denormal": torch.tensor([6e-8, -6e-8, 65504, -0.0]).half(),
        "scalar": torch.tensor(1.5),
        "empty": torch.zeros(0, 7),
    }
    yield "views", {
        "base": base,
        "transposed": base.permute(2, 0, 1),
        "slice": base[1:, ::2, 1:4],
        "column": base[:, 1, 2],
        "last": base[2, 3, 4:],
        "one": base[1:2, :, 0:1].transpose(0, 2),
        "half": torch.randn(4, 6).half().t()[1:5],
        "expanded": torch.randn(8)[:1].expand(8),
    }
    yield "parameters", {"w": torch.nn.Parameter(torch.randn(2, 2)), "b": torch.nn.Parameter(torch.randn(2), False)}
    yield "many", {f"t{i}": torch.randn(i % 5) for i in range(300)}  # more than 256 things are kept in the memo
    yield "mamba2", mamba2_state()


def write(folder):
    for name, state in checkpoints():
        torch.save(state, folder / f"{name}.bin")
        values = {key: widened(value.detach()).contiguous().numpy() for key, value in state.items()}
        tensorfile.write(folder / f"{name}.safetensors", values, {"torch": torch.__version__})


def widened(value):
    if value.is_floating_point():
        return value.float()
    return value.int() if value.dtype == torch.int64 else value
