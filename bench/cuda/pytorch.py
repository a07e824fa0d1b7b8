"""Time of one token of Mamba (mamba.py) in PyTorch f16 as a CUDA graph, on random weights: a baseline without own kernels.

    python3 bench/cuda/pytorch.py [--shape mamba-130m,mamba-2.8b] [--steps 100] [--batch 1]
                                  [--compile | --compile-all] [--prefill 1024]

Prints JSON lines. `tpotMs` is the median over the steps, each between two events; `inTurnMs` is the mean of as many in a
row without events between. `copyGBs` counts bytes read and written.

--compile adds a row for mamba-130m whose step went through torch.compile before it was captured, --compile-all one for
every shape, there layer by layer (a step of 64 layers takes minutes). Both with coordinate_descent_tuning, by which
inductor makes a batch-1 product a reduction of its own. --prefill adds the time of the products alone over so many tokens:
no prefill in PyTorch can be faster.
"""

import argparse
import json
import sys
import time

import torch
import torch.nn.functional as F

sys.dont_write_bytecode = True
from mamba import SHAPES, Mamba  # noqa: E402

WARM = 10
COMPILE = {"fullgraph": True, "dynamic": False, "options": {"coordinate_descent_tuning": True, "triton.cudagraphs": False}}


def event():
    return torch.cuda.Event(enable_timing=True)


def median_ms(run, count):
    for _ in range(WARM):
        run()
    pairs = [(event(), event()) for _ in range(count)]
    for begin, end in pairs:
        begin.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return sorted(begin.elapsed_time(end) for begin, end in pairs)[count // 2]


def mean_ms(run, count):
    begin, end = event(), event()
    begin.record()
    for _ in range(count):
        run()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / count


def copy_gbs(size=1 << 30):
    source = torch.zeros(size, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * size / median_ms(lambda: target.copy_(source), 20) / 1e6


def captured(step, tokens):
    """The step as a graph, and its logits. The warm-up is where inductor compiles and cuBLAS takes its workspace."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(tokens)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = step(tokens)
    return graph, logits


def kernels(step, tokens):
    """How many kernels a step launches, copies and fills included; None where the profiler does not work."""
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            step(tokens)
            torch.cuda.synchronize()
        return sum(e.count for e in profile.key_averages() if e.device_type == torch.autograd.DeviceType.CUDA)
    except Exception:  # the times are worth more than the count
        return None


def layers_compiled(model):
    for block in model.blocks:
        block.compile(**COMPILE)
    return model


def decode_row(step, model, tokens, steps, copy):
    begin = time.perf_counter()
    graph, logits = captured(step, tokens)
    setup = time.perf_counter() - begin
    tpot, in_turn = median_ms(graph.replay, steps), mean_ms(graph.replay, steps)
    if not torch.isfinite(logits).all():
        raise ArithmeticError("the logits are not finite")
    size = model.bytes_per_token()
    return {
        "tpotMs": round(tpot, 4),
        "inTurnMs": round(in_turn, 4),
        "bytesPerToken": size,
        "GBs": round(size / tpot / 1e6, 1),
        "shareOfCopy": round(size / tpot / 1e6 / copy, 3),
        "kernels": kernels(step, tokens),
        "setupSeconds": round(setup, 1),
    }


def products_row(model, length):
    like = {"device": "cuda", "dtype": torch.float16}
    weights = [w for b in model.blocks for w in (b.in_proj, b.x_proj, b.dt_proj, b.out_proj)]
    inputs = {width: torch.randn(length, width, **like) for width in {w.shape[1] for w in weights}}
    last = torch.randn(1, model.embedding.shape[1], **like)

    def run():
        for w in weights:
            F.linear(inputs[w.shape[1]], w)
        F.linear(last, model.embedding)

    return {"tokens": length, "ttftAtLeastMs": round(median_ms(run, 20), 3)}


def rows(name, copy, args):
    """The engines of a shape, each with the function that measures it."""
    model = Mamba(SHAPES[name], args.batch)
    tokens = torch.zeros(args.batch, dtype=torch.int64, device="cuda")
    decode = lambda step: decode_row(step(), model, tokens, args.steps, copy)  # noqa: E731
    yield "pytorch-fp16-graph", lambda: decode(lambda: model)
    if args.prefill:
        yield "pytorch-fp16-products", lambda: products_row(model, args.prefill)
    if args.compile and name == "mamba-130m":
        yield "pytorch-fp16-compiled-graph", lambda: decode(lambda: torch.compile(model, **COMPILE))
    if args.compile_all:
        yield "pytorch-fp16-compiled-layers-graph", lambda: decode(lambda: layers_compiled(model))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="mamba-130m,mamba-2.8b")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--compile-all", action="store_true")
    parser.add_argument("--prefill", type=int, default=0, metavar="TOKENS")
    args = parser.parse_args()
    unknown = [name for name in args.shape.split(",") if name not in SHAPES]
    if unknown:
        parser.error(f"--shape: '{unknown[0]}' is none of {', '.join(SHAPES)}")
    return args


@torch.no_grad()
def main():
    args = arguments()
    if not torch.cuda.is_available():
        print("skipped: PyTorch sees no GPU here")
        return 0
    torch.manual_seed(1)
    copy, failed = copy_gbs(), 0
    about = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "copyGBs": round(copy, 1)}
    for name in args.shape.split(","):
        for engine, measure in rows(name, copy, args):
            try:
                row = measure()
            except Exception as error:  # the other rows are worth as much
                row, failed = {"error": f"{type(error).__name__}: {error}"[:500]}, 1
            print(json.dumps({"engine": engine, "shape": name, "batch": args.batch, **row, **about}), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
