"""One layer in the shape of mamba-130m with the ranges of a trained model: golden/real-ranges/layer.safetensors.

    python3 golden/real_ranges.py
    python3 golden/generate.py --record

The weights are those of src/random/model.ts, made again here from its description (15 MB would be too much to keep),
and then changed as `PLAN` says, which goes into the file: rows and columns scaled, so that a few channels of x, of the gate
and of y reach thousands; dt_proj.bias, A_log and D set far from where training begins. Needs torch and numpy.
"""

import hashlib
import json
import os
import platform
import struct
import sys

sys.dont_write_bytecode = True
os.environ["ATEN_CPU_CAPABILITY"] = "default"
import numpy as np  # noqa: E402
import torch  # noqa: E402

import mamba  # noqa: E402
import manifest  # noqa: E402
import tensorfile  # noqa: E402

CONFIG = {
    "layer_norm_epsilon": 1e-5,
    "state_size": 16,
    "time_step_rank": 48,
    "num_hidden_layers": 1,
    "hidden_size": 768,
    "intermediate_size": 1536,
    "vocab_size": 64,
}
TOKENS = [3, 14, 15, 62, 6, 53]
D = CONFIG["intermediate_size"]
PLAN = {
    "seed": 130,
    # [weight, axis, index, factor]
    "scale": [
        *[["mixer.in_proj.weight", 0, channel, 1000] for channel in (7, 511, 1100)],
        *[["mixer.in_proj.weight", 0, D + channel, 1000] for channel in (900, 1101)],
        ["mixer.in_proj.weight", 0, 1200, 100],
        ["mixer.in_proj.weight", 0, D + 1200, 100],
        # as in trained models, x_proj hardly reads the channels that are large
        *[["mixer.x_proj.weight", 1, channel, 0.001] for channel in (7, 511, 1100, 1200)],
    ],
    # [weight, first row, last row, value]
    "set": [
        ["mixer.dt_proj.bias", 0, 15, -40],
        ["mixer.dt_proj.bias", 16, 31, 30],
        ["mixer.dt_proj.bias", 32, 47, -100],
        ["mixer.A_log", 16, 23, -12],
        ["mixer.A_log", 48, 63, -12],
        ["mixer.A_log", 64, 79, 8],
        ["mixer.D", 80, 87, 0],
        ["mixer.D", 88, 95, -50],
        ["mixer.D", 96, 103, 100],
    ],
    # channels that have a bound of their own, so that the largest does not speak for the smallest
    "groups": {
        "outliers": [7, 511, 900, 1100, 1101, 1200],
        "dt 4e-18": list(range(0, 16)),
        "dt 30": list(range(16, 32)),
        "dt 4e-44": list(range(32, 48)),
        "A -6e-6": list(range(48, 64)),
        "A -3000": list(range(64, 80)),
        "D 0": list(range(80, 88)),
        "D -50": list(range(88, 96)),
        "D 100": list(range(96, 104)),
    },
}
WHY = "a sum, a decay or a gate that is right for values near 1 only"


def step_of(spread):
    wanted, step = spread / 147.8, 1.0
    while step > wanted:
        step /= 2
    while 2 * step <= wanted:
        step *= 2
    return min((step, 1.5 * step, 2 * step), key=lambda s: max(s / wanted, wanted / s))


def draw(name, shape, spread, mean=0.0):
    key, stride = struct.unpack("<ii", hashlib.sha256(f"{PLAN['seed']} {name}".encode()).digest()[:8])
    with np.errstate(over="ignore"):
        x = np.uint32(key & 0xFFFFFFFF) + np.uint32((stride | 1) & 0xFFFFFFFF) * np.arange(
            np.prod(shape), dtype=np.uint32
        )
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x21F0AAAD)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x735A2D97)
        x ^= x >> np.uint32(15)
    total = sum(((x >> np.uint32(8 * byte)) & np.uint32(255)).astype(np.int64) for byte in range(4)) - 510
    return (mean + step_of(spread) * total).astype(np.float32).reshape(shape)


def weights():
    m, n, r, v = (CONFIG[k] for k in ("hidden_size", "state_size", "time_step_rank", "vocab_size"))
    layer = "backbone.layers.0."
    made = {}

    def normal(name, *shape, spread=None, mean=0.0):
        made[name] = draw(name, shape, shape[1] ** -0.5 if spread is None else spread, mean)

    normal("backbone.embeddings.weight", v, m)
    normal(layer + "mixer.in_proj.weight", 2 * D, m)
    normal(layer + "mixer.conv1d.weight", D, 4)
    normal(layer + "mixer.conv1d.bias", D, spread=0.1)
    normal(layer + "mixer.x_proj.weight", r + 2 * n, D)
    normal(layer + "mixer.dt_proj.weight", D, r, spread=r**-0.5 / 4)
    normal(layer + "mixer.dt_proj.bias", D, spread=0.6, mean=-4.5)
    normal(layer + "mixer.out_proj.weight", m, D)
    made[layer + "norm.weight"] = made["backbone.norm_f.weight"] = np.ones(m, np.float32)
    made[layer + "mixer.A_log"] = np.tile(np.log(np.arange(1, n + 1)).astype(np.float16).astype(np.float32), (D, 1))
    made[layer + "mixer.D"] = np.ones(D, np.float32)
    for name, axis, index, factor in PLAN["scale"]:
        where = (slice(None),) * axis + (index,)
        made[layer + name][where] *= np.float32(factor)
    for name, first, last, value in PLAN["set"]:
        made[layer + name][first : last + 1] = value
    made[layer + "mixer.conv1d.weight"] = made[layer + "mixer.conv1d.weight"][:, None]
    return made


def run(arrays, dtype):
    seen = {}

    def site(_, name, x):
        seen[name] = x[0]
        return x

    tensors = {name: torch.tensor(x).to(dtype) for name, x in arrays.items()}
    seen["logits"] = mamba.head(tensors, mamba.hidden(tensors, CONFIG, torch.tensor([TOKENS]), site))[0]
    return seen


def main():
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    arrays = weights()
    f32, f64 = run(arrays, torch.float32), run(arrays, torch.float64)
    for name, x in f64.items():
        print(f"{name:9} max {x.abs().max():10.4g}  median {x.abs().median():10.4g}  "
              f"f32 off by {(f32[name] - x).abs().max():.3g}")
    tensors = {"in.tokens": np.array(TOKENS, np.int32)}
    tensors.update({f"f32.{name}": x.numpy() for name, x in f32.items()})
    tensors.update({f"f64.{name}": x.numpy() for name, x in f64.items()})
    made = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    texts = {"attrs": {"config": CONFIG, **PLAN}, "flags": ["outlier"], "made": made}
    said = {"op": "real-ranges", "why": WHY, **{key: json.dumps(value) for key, value in texts.items()}}
    tensorfile.write(manifest.GOLDEN / "real-ranges/layer.safetensors", tensors, said)


if __name__ == "__main__":
    main()
