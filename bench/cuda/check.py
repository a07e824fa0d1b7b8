"""Is mamba.py Mamba? The same weights in transformers' MambaForCausalLM, token by token, in f32 and f16.

    python3 bench/cuda/check.py

Prints the largest difference of the logits beside their largest value, and exits with 1 where it is too large.
"""

import sys

import torch
from transformers import MambaConfig, MambaForCausalLM

sys.dont_write_bytecode = True
from mamba import EPS, STATE, Mamba  # noqa: E402

LAYERS, M, VOCABULARY, TOKENS = 3, 64, 96, 12


def theirs(model, device, dtype):
    config = MambaConfig(
        vocab_size=VOCABULARY, hidden_size=M, num_hidden_layers=LAYERS, state_size=STATE, layer_norm_epsilon=EPS
    )
    other = MambaForCausalLM(config).to(device, dtype).eval()
    weights = {"backbone.embeddings.weight": model.embedding, "backbone.norm_f.weight": model.norm}
    weights["lm_head.weight"] = model.embedding
    for i, block in enumerate(model.blocks):
        for name, value in {
            "norm.weight": block.norm,
            "mixer.in_proj.weight": block.in_proj,
            "mixer.conv1d.weight": block.conv.unsqueeze(1),
            "mixer.conv1d.bias": block.conv_bias,
            "mixer.x_proj.weight": block.x_proj,
            "mixer.dt_proj.weight": block.dt_proj,
            "mixer.dt_proj.bias": block.dt_bias,
            "mixer.A_log": torch.log(-block.A),
            "mixer.D": block.D,
            "mixer.out_proj.weight": block.out_proj,
        }.items():
            weights[f"backbone.layers.{i}.{name}"] = value
    other.load_state_dict(weights)
    return other


@torch.no_grad()
def difference(device, dtype):
    torch.manual_seed(1)
    model = Mamba((LAYERS, M), device=device, dtype=dtype, vocabulary=VOCABULARY)
    other = theirs(model, device, dtype)
    worst = largest = 0.0
    cache = None
    for token in torch.randint(VOCABULARY, (TOKENS, 1), device=device):
        result = other(token[None], cache_params=cache, use_cache=True)
        cache, expected = result.cache_params, result.logits[0, -1].float()
        worst = max(worst, (model(token)[0].float() - expected).abs().max().item())
        largest = max(largest, expected.abs().max().item())
    return worst, largest


if __name__ == "__main__":
    failed = False
    for device in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
        for dtype, share in [(torch.float32, 1e-5), (torch.float16, 1e-2)]:
            worst, largest = difference(device, dtype)
            good = worst <= share * largest
            failed |= not good
            print(f"{device} {dtype}: {worst:.2e} of {largest:.2e}{'' if good else ', which is too much'}")
    sys.exit(failed)
