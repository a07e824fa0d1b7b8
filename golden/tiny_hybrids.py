"""Small hybrids of random weights in which everything is switched on that transformers' class has: golden/model/*-tiny.safetensors.

    python3 golden/tiny_hybrids.py
    python3 golden/generate.py --record

Each file holds the checkpoint as well: each weight is `in.<name>`, the config is `config` of its attrs. Float64 is hybrid.py's, which
has no chunks and rounds nowhere. Float32 of the logits is that of transformers' class, float32 of the sites hybrid.py's.
Needs torch, numpy and transformers (made with 5.18).
"""

import json
import platform
import sys

sys.dont_write_bytecode = True
import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

import hybrid  # noqa: E402
import manifest  # noqa: E402
import tensorfile  # noqa: E402
from case import generator  # noqa: E402

TOKENS = 12
CLOSE = 3e-6
"""What transformers in float32 may be off, relative to the largest logit."""

SMALL = {"vocab_size": 61, "hidden_size": 24, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "hidden_act": "silu"}
TOKENS_OF = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
MAMBA2 = {"mamba_n_heads": 6, "mamba_d_head": 8, "mamba_d_state": 12, "mamba_n_groups": 2, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_chunk_size": 8, "mamba_conv_bias": True}
GRANITE = {
    "architectures": ["GraniteMoeHybridForCausalLM"],
    "model_type": "granitemoehybrid",
    **SMALL,
    **MAMBA2,
    "intermediate_size": 20,
    "shared_intermediate_size": 20,
    "num_local_experts": 0,
    "num_experts_per_tok": 0,
    "rms_norm_eps": 1e-5,
    "embedding_multiplier": 12.0,
    "residual_multiplier": 0.246,
    "attention_multiplier": 0.3,
    "logits_scaling": 3.0,
    **TOKENS_OF,
}
FALCON = {
    "architectures": ["FalconH1ForCausalLM"],
    "model_type": "falcon_h1",
    **SMALL,
    **MAMBA2,
    "num_hidden_layers": 2,
    "intermediate_size": 20,
    "mamba_d_ssm": 48,
    "mamba_norm_before_gate": False,
    "rms_norm_eps": 1e-5,
    "lm_head_multiplier": 0.4,
    "embedding_multiplier": 5.656854249492381,
    "mlp_multipliers": [0.8838834764831844, 0.5859375],
    "key_multiplier": 0.390625,
    "attention_in_multiplier": 1.5,
    "attention_out_multiplier": 0.9375,
    "ssm_multipliers": [0.3535533905932738, 0.25, 0.7, 0.5, 1.3],
    "ssm_in_multiplier": 1.25,
    "ssm_out_multiplier": 0.7,
    **TOKENS_OF,
}
MODELS = {
    "granite-hybrid-tiny": (
        "a multiplier in the wrong place; two groups, limits, biases, a head of its own, heads that are not hidden / heads wide",
        {
            **GRANITE,
            "num_hidden_layers": 3,
            "layer_types": ["mamba", "attention", "mamba"],
            "position_embedding_type": "nope",
            "attention_bias": True,
            "mamba_proj_bias": True,
            "time_step_limit": [0.01, 0.3],
            "tie_word_embeddings": False,
        },
    ),
    "granite-attention-tiny": (
        "Granite's dense form: attention alone, RoPE, a tied head",
        {
            **GRANITE,
            "num_hidden_layers": 2,
            "layer_types": ["attention", "attention"],
            "position_embedding_type": "rope",
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
        },
    ),
    "falcon-h1-tiny": (
        "a multiplier in the wrong place, also of a bias; a norm with two groups, limits, θ of 1e11, a head of its own",
        {
            **FALCON,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e11},
            "mamba_rms_norm": True,
            "attention_bias": True,
            "mamba_proj_bias": True,
            "projectors_bias": True,
            "mlp_bias": True,
            "time_step_limit": [0.01, 0.3],
            "tie_word_embeddings": False,
        },
    ),
    "falcon-h1-no-norm-tiny": (
        "a gate without a norm, as in the small published ones; a tied head beside an embedding multiplier below one",
        {
            **FALCON,
            "rope_theta": 1e11,
            "mamba_rms_norm": False,
            "embedding_multiplier": 0.034423828125,
            "tie_word_embeddings": True,
        },
    ),
    "jamba-tiny": (
        "the norms of dt, B and C, whose weights differ; attention in a layer that is not the first",
        {
            "architectures": ["JambaForCausalLM"],
            "model_type": "jamba",
            **{key: value for key, value in SMALL.items() if key != "head_dim"},
            "num_hidden_layers": 3,
            "intermediate_size": 20,
            "attn_layer_period": 3,
            "attn_layer_offset": 1,
            "num_experts": 1,
            "num_experts_per_tok": 1,
            "mamba_d_state": 8,
            "mamba_d_conv": 4,
            "mamba_expand": 2,
            "mamba_dt_rank": 3,
            "mamba_conv_bias": True,
            "mamba_proj_bias": True,
            "rms_norm_eps": 1e-6,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "tie_word_embeddings": False,
            **TOKENS_OF,
        },
    ),
}


def drawn(shapes, rng):
    """{name: float32 array} of a checkpoint of these shapes."""

    def made(name, shape):
        if name.endswith("norm.weight") or name.endswith(".D"):
            return rng.normal(1, 0.3, shape)
        if name.endswith("A_log"):
            return np.log(rng.uniform(1, 16, shape))
        if name.endswith(("dt_bias", "dt_proj.bias")):
            return rng.normal(-2.5, 1.5, shape)
        if name.endswith("conv1d.weight"):
            return rng.normal(size=shape) / 2
        if name.endswith(".bias"):
            return rng.normal(size=shape) / 4
        return rng.normal(size=shape) / (1 if "embed_tokens" in name else shape[-1] ** 0.5)

    return {name: np.float32(made(name, shape)) for name, shape in sorted(shapes.items())}


def restated(config, w, ids, dtype):
    weights, seen = {name: torch.from_numpy(x).to(dtype) for name, x in w.items()}, {}

    def site(layer, name, x):
        seen[name if layer is None else f"layers.{layer}.{name}"] = x[0]
        return x

    hidden = hybrid.HIDDEN[config["model_type"]]
    seen["logits"] = hybrid.head(weights, hidden(weights, config, ids[None], site))[0]
    return seen


def make(name, why, config):
    rng = generator(name)
    ids = torch.from_numpy(rng.integers(0, config["vocab_size"], TOKENS))
    theirs = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(**config), attn_implementation="eager", dtype=torch.float32
    ).eval()
    own = {key: x for key, x in theirs.state_dict().items() if not (config["tie_word_embeddings"] and key == "lm_head.weight")}
    w = drawn({key: tuple(x.shape) for key, x in own.items()}, rng)
    left = theirs.load_state_dict({key: torch.from_numpy(x) for key, x in w.items()}, strict=False)
    if left.unexpected_keys or set(left.missing_keys) - {"lm_head.weight"}:
        raise SystemExit(f"tiny_hybrids.py: {left}")
    f32, f64 = restated(config, w, ids, torch.float32), restated(config, w, ids, torch.float64)
    f32["logits"] = theirs(input_ids=ids[None], use_cache=False).logits[0]
    apart = ((f32["logits"] - f64["logits"]).abs().max() / f64["logits"].abs().max()).item()
    print(f"{name}: {sum(x.size for x in w.values())} parameters, transformers in float32 is {apart:.2g} of the largest logit from float64")
    if apart > CLOSE:
        raise SystemExit("tiny_hybrids.py: transformers computes something else")
    tensors = {"in.tokens": ids.int().numpy(), **{f"in.{key}": x for key, x in w.items()}}
    tensors.update({f"f32.{key}": x.numpy() for key, x in f32.items()})
    tensors.update({f"f64.{key}": x.numpy() for key, x in f64.items()})
    versions = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    texts = {"attrs": {"config": config}, "flags": ["tiny"], "made": {**versions, "transformers": transformers.__version__}}
    said = {"op": "model", "why": why, **{key: json.dumps(value) for key, value in texts.items()}}
    out = manifest.GOLDEN / "model" / f"{name}.safetensors"
    tensorfile.write(out, tensors, said)
    print(f"{out.name}: {out.stat().st_size / 1e3:.0f} kB")


def main():
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)
    for name, (why, config) in MODELS.items():
        make(name, why, config)
    print("Now: python3 golden/generate.py --record")


if __name__ == "__main__":
    main()
