"""The model golden: every site of one layer, of a hybrid of one of each kind, the head's input and logits, in float32 and float64.

    python3 golden/model.py [--model models/mamba-books-15m] [--device cpu|cuda] [--out FILE]
    python3 golden/generate.py --record

Float32 is transformers' class in plain PyTorch (no kernel packages), read by hooks on its layers. Float64 is mamba.py,
mamba2.py or hybrid.py, the formulas restated: transformers casts to float32 on its way (README.md) and is no float64 truth.
Needs torch, numpy and transformers (5.17 and 5.18, README.md). The logits of all positions are in the model's own
golden.safetensors, and are compared with it here; the file keeps those of the last few.
"""

import argparse
import importlib.util
import json
import platform
import sys
from pathlib import Path

sys.dont_write_bytecode = True
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

import hybrid  # noqa: E402
import mamba  # noqa: E402
import mamba2  # noqa: E402
import tensorfile  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
LAYERS = {"mamba": 5, "mamba2": 6, "granitemoehybrid": (2, 3)}
RESTATED = {**mamba2.HIDDEN, **hybrid.HIDDEN}
LAST = 8
WHY = "a transposed weight, a site in the wrong place or a lost bias, found at its site and not in the logits"


def restated(weights, config, ids, at):
    """{site: array} of the layer `at`, the head's input and the logits of every position, in the dtype of the weights. Where `at` is
    several, a site's name begins with its layer's."""
    seen = {}

    def site(layer, name, x):
        if layer in (at, None):
            seen[name] = x[0]
        elif isinstance(at, tuple) and layer in at:
            seen[f"layers.{layer}.{name}"] = x[0]
        return x

    last = RESTATED[config["model_type"]](weights, config, ids[None], site)
    head = mamba.head if config["model_type"] in mamba2.HIDDEN else hybrid.head
    seen["logits"] = head(weights, last)[0]
    return seen


def float32_model(folder, device):
    """transformers' model with exactly the file's weights. Without kernel packages it runs plain PyTorch."""
    from transformers import AutoModelForCausalLM

    for package in ("mamba_ssm", "causal_conv1d", "kernels"):
        if importlib.util.find_spec(package):
            raise SystemExit(f"model.py: {package} is installed; transformers would not run plain PyTorch")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().to(device)
    for name, x in mamba.load(folder, torch.float32)[0].items():
        if not torch.equal(model.get_parameter(name).detach().cpu(), x):
            raise SystemExit(f"model.py: transformers changed {name} while loading")
    return model


def hooked(model, ids, layer):
    """The sites as restated() gives them, float32, from what the layers take and give."""
    config, mixer, seen = model.config, model.backbone.layers[layer].mixer, {}

    def taken(layer, name):
        layer.register_forward_pre_hook(lambda _, inputs: seen.update({name: inputs[0][0]}))

    def given(layer, *parts):
        def hook(_, __, output):
            widths = [size for _, size in parts]
            seen.update(zip([name for name, _ in parts], output[0].split(widths, -1)))

        layer.register_forward_hook(hook)

    taken(mixer.in_proj, "blockIn")
    taken(mixer.out_proj, "scanOut")
    given(model.backbone.norm_f, ("headIn", config.hidden_size))
    if config.model_type == "mamba":
        rank, n = int(config.time_step_rank), config.state_size
        given(mixer.in_proj, ("convIn", config.intermediate_size), ("gate", config.intermediate_size))
        taken(mixer.x_proj, "scanIn")
        given(mixer.x_proj, ("dtLow", rank), ("B", n), ("C", n))
    else:
        d, gn, heads = mixer.intermediate_size, mixer.n_groups * mixer.ssm_state_size, mixer.num_heads
        given(mixer.in_proj, ("gate", d), ("convIn", mixer.conv_dim), ("dt", heads))
    seen["logits"] = model(input_ids=ids[None].to(model.device), use_cache=False).logits[0]
    # transformers 5 takes the weights of these layers and never calls the layers
    if config.model_type == "mamba":
        seen["dt"] = F.linear(seen["dtLow"], mixer.dt_proj.weight, mixer.dt_proj.bias)
    else:
        conv = F.silu(mixer.conv1d(seen["convIn"].t()[None])[0, :, : len(ids)]).t()
        seen.update(zip(("scanIn", "B", "C"), conv.split([d, gn, gn], -1)))
    return {name: x.detach().cpu() for name, x in seen.items()}


def hooked_granite(model, ids, layers):
    """The same of a Granite, a layer of attention and one of Mamba-2. The head's input is divided by logits_scaling."""
    config, seen = model.config, {}
    attending, scanning = layers

    def keep(name, x):
        seen[name] = x[0].detach()

    def taken(layer, name):
        layer.register_forward_pre_hook(lambda _, inputs: keep(name, inputs[0]))

    def given(layer, name, change=lambda y: y):
        layer.register_forward_hook(lambda _, __, output: keep(name, change(output)))

    for layer in layers:
        taken(model.model.layers[layer].shared_mlp.input_linear, f"layers.{layer}.mlpIn")
        taken(model.model.layers[layer].shared_mlp.output_linear, f"layers.{layer}.mlpProduct")
    attention, mixer = model.model.layers[attending].self_attn, model.model.layers[scanning].mamba
    taken(attention.q_proj, f"layers.{attending}.attnIn")
    taken(attention.o_proj, f"layers.{attending}.attnOut")
    for name in ("query", "key", "value"):
        given(getattr(attention, f"{name[0]}_proj"), f"layers.{attending}.{name}")
    taken(mixer.in_proj, f"layers.{scanning}.blockIn")
    taken(mixer.out_proj, f"layers.{scanning}.scanOut")
    given(mixer.in_proj, "projected")
    given(model.model.norm, "headIn", lambda y: y / config.logits_scaling)
    seen["logits"] = model(input_ids=ids[None].to(model.device), use_cache=False).logits[0]
    d, gn, heads = mixer.intermediate_size, mixer.n_groups * mixer.ssm_state_size, mixer.num_heads
    z, xBC, dt = seen.pop("projected").split([d, d + 2 * gn, heads], -1)
    conv = F.silu(mixer.conv1d(xBC.t()[None])[0, :, : len(ids)]).t()
    x, B, C = conv.split([d, gn, gn], -1)
    own = {"gate": z, "convIn": xBC, "dt": dt, "scanIn": x, "B": B, "C": C}
    seen.update({f"layers.{scanning}.{name}": x for name, x in own.items()})
    return {name: x.detach().cpu() for name, x in seen.items()}


def compare(f32, f64):
    """Prints the largest differences."""
    if set(f32) != set(f64):
        raise SystemExit(
            f"model.py: no float32 value for {sorted(set(f64) - set(f32))}: transformers has other layers"
        )
    print(f"{'':20}{'shape':>12}{'max |f64|':>14}{'max |f32 - f64|':>18}")
    for name, x in f64.items():
        if f32[name].shape != x.shape or f32[name].dtype != torch.float32:
            raise SystemExit(
                f"model.py: {name} is {f32[name].dtype} {list(f32[name].shape)}, not {list(x.shape)}"
            )
        print(f"{name:20}{str(list(x.shape)):>12}{x.abs().max():14.6g}{(f32[name] - x).abs().max():18.3g}")


def compare_shipped(f32, f64, shipped):
    """Stops where the float64 logits are not those that the model came with."""
    ours = (f64["logits"] - torch.tensor(shipped["logits_float64"])).abs().max()
    theirs = (f32["logits"] - torch.tensor(shipped["logits_hf_float32"])).abs().max()
    print(f"against the model's golden.safetensors: float64 {ours:.3g}, float32 {theirs:.3g}")
    if ours > 1e-11:
        raise SystemExit("model.py: the float64 logits are not those of the model's golden.safetensors")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=ROOT / "models/mamba-books-15m")
    parser.add_argument("--device", default="cpu", help="where transformers runs")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    try:
        import transformers
    except ImportError:
        raise SystemExit("model.py: needs transformers (5.17) for the float32 side; it is not installed here")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.set_grad_enabled(False)

    shipped, _ = tensorfile.read(arguments.model / "golden.safetensors")
    ids = torch.tensor(shipped["input_ids"]).long()
    weights, config = mamba.load(arguments.model, torch.float64)
    layer = LAYERS[config["model_type"]]
    f64 = restated(weights, config, ids, layer)
    theirs = float32_model(arguments.model, arguments.device)
    f32 = (hooked_granite if isinstance(layer, tuple) else hooked)(theirs, ids, layer)
    compare(f32, f64)
    compare_shipped(f32, f64, shipped)

    for sites in (f32, f64):
        sites["logits"] = sites["logits"][-LAST:]
    tensors = {"in.tokens": ids.int().numpy()}
    tensors.update({f"f32.{name}": x.numpy() for name, x in f32.items()})
    tensors.update({f"f64.{name}": x.numpy() for name, x in f64.items()})
    made = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": arguments.device,
    }
    attrs = {("layers" if isinstance(layer, tuple) else "layer"): layer, "positions": list(range(len(ids) - LAST, len(ids)))}
    out = arguments.out or ROOT / f"golden/model/{arguments.model.resolve().name}.safetensors"
    texts = {"attrs": attrs, "flags": ["basic"], "made": made}
    said = {"op": "model", "why": WHY, **{key: json.dumps(value) for key, value in texts.items()}}
    tensorfile.write(out, tensors, said)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB. Now: python3 golden/generate.py --record")


if __name__ == "__main__":
    main()
