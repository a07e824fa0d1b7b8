"""A small Mamba-2 model of random weights in which everything is switched on: golden/model/mamba2-tiny.safetensors.

    python3 golden/tiny_mamba2.py
    python3 golden/generate.py --record

Two groups, heads of 8, an inner width that is not expand · hidden, limits that both act, biases of both projections, a
head of its own. The file holds the checkpoint as well: each weight is `in.<name>`, the config is `config` of its attrs.
Float32 and float64 are mamba2.py's. transformers judges mamba2.py first, on such models whose inner width is 2 · hidden,
the only ones that it loads: with one group, its class as it is; with two, its class with the norm of Zamba2, since its own
has no groups. Needs torch, numpy and transformers (made with 5.18).
"""

import json
import platform
import sys

sys.dont_write_bytecode = True
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
import transformers  # noqa: E402
from transformers.models.zamba2.modeling_zamba2 import Zamba2RMSNormGated  # noqa: E402

import manifest  # noqa: E402
import model  # noqa: E402
import tensorfile  # noqa: E402
from case import generator  # noqa: E402

LAYER, TOKENS = 1, 20
WHY = "an assumption about sizes that hold in published models: one group, no limits, no bias, inner width 2 · hidden, a tied head"
CONFIG = {
    "architectures": ["Mamba2ForCausalLM"],
    "model_type": "mamba2",
    "vocab_size": 61,
    "hidden_size": 20,
    "num_hidden_layers": 3,
    "expand": 2,
    "num_heads": 6,
    "head_dim": 8,
    "state_size": 12,
    "n_groups": 2,
    "conv_kernel": 4,
    "chunk_size": 8,
    "use_bias": True,
    "use_conv_bias": True,
    "hidden_act": "silu",
    "layer_norm_epsilon": 1e-5,
    "residual_in_fp32": True,
    "time_step_limit": [0.01, 0.3],
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}


def drawn(config, rng):
    """{name: float32 array} of a checkpoint."""
    m, v, heads, g = config["hidden_size"], config["vocab_size"], config["num_heads"], config["n_groups"]
    inner, gn = heads * config["head_dim"], g * config["state_size"]
    conv = inner + 2 * gn

    def matrix(rows, columns):
        return rng.normal(size=(rows, columns)) / columns**0.5

    def near_one(size):
        return rng.normal(1, 0.3, size)

    w = {
        "backbone.embeddings.weight": rng.normal(size=(v, m)),
        "backbone.norm_f.weight": near_one(m),
        "lm_head.weight": matrix(v, m),
    }
    for layer in range(config["num_hidden_layers"]):
        block = {
            "norm.weight": near_one(m),
            "mixer.in_proj.weight": matrix(inner + conv + heads, m),
            "mixer.in_proj.bias": rng.normal(size=inner + conv + heads) / 4,
            "mixer.conv1d.weight": rng.normal(size=(conv, 1, config["conv_kernel"])) / 2,
            "mixer.conv1d.bias": rng.normal(size=conv) / 4,
            "mixer.dt_bias": rng.normal(-2.5, 1.5, heads),
            "mixer.A_log": np.log(rng.uniform(1, 16, heads)),
            "mixer.D": near_one(heads),
            "mixer.norm.weight": near_one(inner),
            "mixer.out_proj.weight": matrix(m, inner),
            "mixer.out_proj.bias": rng.normal(size=m) / 4,
        }
        w.update({f"backbone.layers.{layer}.{name}": x for name, x in block.items()})
    return {name: np.float32(x) for name, x in w.items()}


def sites(config, w, ids, dtype):
    weights = {name: torch.from_numpy(x).to(dtype) for name, x in w.items()}
    return weights, model.restated(weights, config, ids, LAYER)


def judged(config, w, ids):
    """The largest difference between the logits of transformers in float32 and those of mamba2.py in float64, relative."""
    inner, g = config["num_heads"] * config["head_dim"], config["n_groups"]
    theirs = transformers.Mamba2ForCausalLM(transformers.Mamba2Config(**config)).eval()
    for block in theirs.backbone.layers:
        if g > 1:
            block.mixer.norm = Zamba2RMSNormGated(inner, inner // g, config["layer_norm_epsilon"])
    theirs.load_state_dict({name: torch.from_numpy(x) for name, x in w.items()})
    f32, f64 = theirs(input_ids=ids[None], use_cache=False).logits[0], sites(config, w, ids, torch.float64)[1]["logits"]
    return ((f32 - f64).abs().max() / f64.abs().max()).item()


def main():
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    rng = generator("mamba2-tiny")
    ids = torch.from_numpy(rng.integers(0, CONFIG["vocab_size"], TOKENS))
    w = drawn(CONFIG, rng)
    for groups in (1, 2):
        config = {**CONFIG, "n_groups": groups, "hidden_size": 24}
        apart = judged(config, drawn(config, rng), ids)
        print(f"groups {groups}: transformers in float32 is {apart:.2g} of the largest logit from float64")
        if apart > 2e-6:
            raise SystemExit("tiny_mamba2.py: transformers computes something else")

    _, f32 = sites(CONFIG, w, ids, torch.float32)
    weights, f64 = sites(CONFIG, w, ids, torch.float64)
    model.compare(f32, f64)
    steps = F.softplus(f64["dt"] + weights[f"backbone.layers.{LAYER}.mixer.dt_bias"])
    low, high = CONFIG["time_step_limit"]
    print(f"of {steps.numel()} steps {(steps < low).sum()} are below the limits and {(steps > high).sum()} above")
    tensors = {"in.tokens": ids.int().numpy(), **{f"in.{name}": x for name, x in w.items()}}
    tensors.update({f"f32.{name}": x.numpy() for name, x in f32.items()})
    tensors.update({f"f64.{name}": x.numpy() for name, x in f64.items()})
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    texts = {
        "attrs": {"layer": LAYER, "positions": list(range(TOKENS)), "config": CONFIG},
        "flags": ["tiny"],
        "made": {**versions, "transformers": transformers.__version__},
    }
    said = {"op": "model", "why": WHY, **{key: json.dumps(value) for key, value in texts.items()}}
    out = manifest.GOLDEN / "model" / "mamba2-tiny.safetensors"
    tensorfile.write(out, tensors, said)
    print(f"{out.name}: {out.stat().st_size / 1e3:.0f} kB. Now: python3 golden/generate.py --record")


if __name__ == "__main__":
    main()
