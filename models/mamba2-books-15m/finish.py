#!/usr/bin/env python3
"""After train_ssd.py: goldens, evaluation, samples and the fake-quantisation study of one model.

    python finish.py --model DIR --data DATA [--quick] [--only golden,eval,quant]

DATA holds gutenberg/val.txt.bz2, gutenberg/calibration.txt.bz2 and lambada/lambada_test.jsonl.  Writes into DIR: golden.safetensors, check.json, eval.json, quant_eval.json, quant_eval.md.  Everything in fp32 or
float64, TF32 off.  --quick: a few windows only, to see that it runs.

quant_eval: forward pass in fp32 with values rounded to the int8 grid (symmetric, scale = largest / 127).  Sites of a Mamba-2 layer:
  in    input of in_proj (norm's output)            z           gate, as in_proj gives it
  x0 B0 C0  in_proj's output, input of the conv     dt          in_proj's output, before bias and softplus
  x B C     output of conv + SiLU                   y           scan output (with D x), before the gated norm
  out   output of the gated norm, input of out_proj outH        the same after the Hadamard rotation (H_12 x H_64 / sqrt(768))
of an attention layer and an MLP (granite only):
  ain   input of q/k/v      q k v      o  input of o_proj      oH  rotated      kv8: k and v per token and head (the KV cache)
  mi    input of the MLP    mp  silu(gate) * up, input of output_linear         mpH rotated (H_1024)
head: input of the output matrix.
"""
import argparse, json, math, os, sys, time, traceback, bz2
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
import torch
import torch.nn.functional as F
import train_ssd as T

torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
DEV = T.DEV
PCT = [0.99999, 0.9999, 0.9995, 0.999]
GOLDEN_TEXT = ("It was a dark and stormy night; the rain fell in torrents, except at occasional intervals, when it was checked by a violent "
               "gust of wind which swept up the streets (for it is in London that our scene lies), rattling along the house-tops, and "
               "fiercely agitating the scanty flame of the lamps that struggled against the darkness.")
PROMPTS = ["The old man looked out of the window and", "\"I do not believe you,\" said Elizabeth,", "In the year 1805, the ship sailed from Bristol"]


# ------------------------------------------------------------------------------------------- goldens
class AllDouble:
    """Inside, casts to float32 give float64, so that transformers' classes really compute in float64 after .double()."""

    def __enter__(self):
        self.old = torch.Tensor.float, torch.Tensor.to, F.softmax
        oto, osm = torch.Tensor.to, F.softmax

        def to(s, *args, **kw):
            args = tuple(torch.float64 if x is torch.float32 else x for x in args)
            kw = {k: (torch.float64 if v is torch.float32 else v) for k, v in kw.items()}
            return oto(s, *args, **kw)

        def softmax(x, *args, **kw):
            if kw.get("dtype") is torch.float32:
                kw["dtype"] = torch.float64
            return osm(x, *args, **kw)

        torch.Tensor.float, torch.Tensor.to, F.softmax = (lambda s: oto(s, torch.float64)), to, softmax

    def __exit__(self, *a):
        torch.Tensor.float, torch.Tensor.to, F.softmax = self.old


@torch.no_grad()
def golden(a):
    from tokenizers import Tokenizer
    from safetensors.torch import save_file
    ids = torch.tensor([Tokenizer.from_file(os.path.join(a.model, "tokenizer.json")).encode(GOLDEN_TEXT).ids[:64]], device=DEV)
    assert ids.shape[1] == 64
    m = T.load(a.model)
    ours = m.logits(ids)
    trace = {}
    f64 = T.load(a.model).double().reference(ids, trace)
    m.dtype_ = torch.bfloat16
    bf16 = m.logits(ids)
    m.dtype_ = torch.float32
    r = dict(max_abs_logit=float(f64.abs().max()), nats_per_token=float(F.cross_entropy(f64[0, :-1], ids[0, 1:])),
             chunked_fp32_vs_float64=float((ours - f64).abs().max()), chunked_bf16_vs_float64=float((bf16 - f64).abs().max()))
    mid = max((i for i, t in enumerate(m.m.types) if t == "mamba" and i <= m.m.layers // 2), default=0)
    if m.m.kind == "granite" and mid > 0:
        mid = max(i for i, t in enumerate(m.m.types) if t == "mamba" and i < m.m.layers // 2)
    att = next((i for i, t in enumerate(m.m.types) if t == "attention"), None)
    layers = [mid] + ([att] if att is not None else [])
    out = dict(input_ids=ids[0].cpu(), logits_float64=f64[0].cpu().contiguous())
    for (i, site), v in trace.items():
        if i in layers or i == "final":
            out[f"{i}.{site}" if i == "final" else f"layers.{i}.{site}"] = v[0].float().cpu().contiguous()       # (token, channel); last_state (head, p, n); probs (head, token, token)
    hf = None
    try:
        which = "mamba2" if m.m.kind == "mamba2" else "granite"
        hf = T.hf_class(which).from_pretrained(a.model, dtype=torch.float32).to(DEV).eval()
        taps = {}
        mods = dict(hf.named_modules())
        pre = "backbone.layers.{}.mixer." if which == "mamba2" else "model.layers.{}.mamba."
        want = {pre.format(mid) + "in_proj": ((mid, "norm_out"), (mid, "in_proj_out")), pre.format(mid) + "out_proj": ((mid, "out_proj_in"), (mid, "mixer_out"))}
        if att is not None:
            q = f"model.layers.{att}."
            want.update({q + "self_attn.q_proj": ((att, "norm_out"), (att, "q")), q + "self_attn.k_proj": ((att, "norm_out"), (att, "k")), q + "self_attn.v_proj": ((att, "norm_out"), (att, "v")),
                         q + "self_attn.o_proj": ((att, "o_proj_in"), (att, "mixer_out")), q + "shared_mlp.input_linear": ((att, "mlp_in"), (att, "mlp_input_linear_out")),
                         q + "shared_mlp.output_linear": ((att, "mlp_product"), (att, "mlp_out"))})
        hooks = [mods[k].register_forward_hook(lambda mod, i, o, k=k: taps.__setitem__(k, (i[0].detach().double(), o.detach().double()))) for k in want]
        theirs = hf(ids).logits.float()
        t32 = {k: [float((taps[k][j] - trace[want[k][j]]).abs().max()) for j in (0, 1)] for k in want}
        plain64 = hf.double()(ids).logits
        with AllDouble():
            all64 = hf(ids).logits
        t64 = {k: [float((taps[k][j] - trace[want[k][j]]).abs().max()) for j in (0, 1)] for k in want}
        for h in hooks:
            h.remove()
        out["logits_hf_float32"] = theirs[0].cpu().contiguous()
        hsd = T.hf_class(which).from_pretrained(a.model, dtype=torch.float32).state_dict()
        r.update(hf_fp32_vs_float64=float((theirs.double() - f64).abs().max()), chunked_fp32_vs_hf_fp32=float((ours - theirs).abs().max()),
                 hf_double_vs_float64=float((plain64.double() - f64).abs().max()), hf_double_without_float32_casts_vs_float64=float((all64.double() - f64).abs().max()),
                 hf_double_dtype=str(all64.dtype), activations_hf_fp32_vs_float64=t32, activations_hf_float64_vs_float64=t64,
                 hf_parameters=sum(p.numel() for p in hf.parameters()),
                 parameters_that_differ=[k for k, v in T.load(a.model, "cpu").state_dict().items() if k not in hsd or not torch.equal(v, hsd[k].float())])
    except Exception:
        r["hf_error"] = traceback.format_exc()[-1500:]
        print(r["hf_error"], flush=True)
    save_file(out, os.path.join(a.model, "golden.safetensors"),
              metadata={"text": GOLDEN_TEXT, "what": "logits_float64: recurrence step by step in float64; activations computed in float64, stored in float32, (token, channel)"})
    r["golden"] = {k: list(v.shape) for k, v in out.items()}
    json.dump(r, open(os.path.join(a.model, "check.json"), "w"), indent=1)
    print("check", json.dumps({k: v for k, v in r.items() if k != "golden"}), flush=True)


# ------------------------------------------------------------------------------------------- evaluation
def val_ids(a, tok):
    ids = []
    for b in T.read_books(os.path.join(a.data, "gutenberg", "val.txt.bz2")):
        ids += [0] + [i for e in tok.encode_batch(T.pieces(b), add_special_tokens=False) for i in e.ids]
        if a.quick and len(ids) > 40_000:
            break
    return torch.tensor(ids + [0], device=DEV)


@torch.no_grad()
def generate(m, tok, prompts, n, temperature=0.0, top_p=1.0, seed=0):
    g, out = torch.Generator(DEV).manual_seed(seed), [tok.encode(p).ids for p in prompts]
    for _ in range(n):
        width = max(map(len, out))
        ids = torch.tensor([o + [0] * (width - len(o)) for o in out], device=DEV)
        last = m.logits(ids)[torch.arange(len(out)), torch.tensor([len(o) - 1 for o in out], device=DEV)]
        if temperature == 0:
            nxt = last.argmax(-1)
        else:
            p, order = (last / temperature).softmax(-1).sort(-1, descending=True)
            p[p.cumsum(-1) - p > top_p] = 0
            nxt = order.gather(-1, torch.multinomial(p, 1, generator=g))[:, 0]
        for o, t in zip(out, nxt.tolist()):
            o.append(t)
    return [tok.decode(o) for o in out]


@torch.no_grad()
def lambada(m, tok, path, limit=None):
    """Accuracy (all tokens of the last word are the argmax) and perplexity of the last word."""
    items = []
    for line in open(path):
        ctx, word = json.loads(line)["text"].strip().rsplit(" ", 1)
        items.append((tok.encode(ctx).ids, tok.encode(" " + word).ids))
    items = items[:limit]
    items.sort(key=lambda x: len(x[0]) + len(x[1]))
    right = nats = 0
    for i in range(0, len(items), 64):
        batch = items[i:i + 64]
        seqs = [[0] + c + w for c, w in batch]
        width = max(map(len, seqs))
        lp = m.logits(torch.tensor([s + [0] * (width - len(s)) for s in seqs], device=DEV)).log_softmax(-1)
        for r, (s, (c, w)) in enumerate(zip(seqs, batch)):
            pos = torch.arange(len(s) - len(w) - 1, len(s) - 1, device=DEV)
            tgt = torch.tensor(w, device=DEV)
            nats -= float(lp[r, pos, tgt].sum())
            right += bool((lp[r, pos].argmax(-1) == tgt).all())
    return dict(accuracy=right / len(items), ppl_last_word=math.exp(min(50, nats / len(items))), n=len(items))


@torch.no_grad()
def evaluate(a):
    from tokenizers import Tokenizer
    tok, m = Tokenizer.from_file(os.path.join(a.model, "tokenizer.json")), T.load(a.model)
    nbytes = torch.from_numpy(T.token_bytes(os.path.join(a.model, "tokenizer.json"))).to(DEV)
    ids, res = val_ids(a, tok), {}

    def save():
        json.dump(res, open(os.path.join(a.model, "eval.json"), "w"), indent=1, ensure_ascii=False)

    for name, w in [("books_val_262144", 4 if a.quick else 256)] + ([] if a.quick else [("books_val", None)]):
        l, bpb, n = T.val_loss(m, ids, 1024, nbytes, w, B=16)
        res[name] = dict(nats_per_token=l, ppl=math.exp(l), bits_per_byte=bpb, tokens=n)
    save()
    g = generate(m, tok, PROMPTS, 8 if a.quick else 80)
    s = generate(m, tok, PROMPTS, 8 if a.quick else 120, 0.8, 0.95, seed=1)
    res["greedy"], res["sampled_t0.8_p0.95"] = g, s
    save()
    res["lambada"] = lambada(m, tok, os.path.join(a.data, "lambada", "lambada_test.jsonl"), 64 if a.quick else None)
    save()
    print("evaluate", json.dumps(res, indent=1, ensure_ascii=False), flush=True)


# ------------------------------------------------------------------------------------------- quantisation
def hadamard(n):
    """Orthonormal Hadamard matrix of size 12 * 2^k or 2^k (H_12 by Paley's construction over GF(11))."""
    m, H = n, None
    while m % 2 == 0 and m != 12:
        m //= 2
    if m == 12:
        squares = {i * i % 11 for i in range(1, 11)}
        Q = torch.tensor([[0 if i == j else (1 if (i - j) % 11 in squares else -1) for j in range(11)] for i in range(11)], dtype=torch.float64)
        S = torch.zeros(12, 12, dtype=torch.float64)
        S[0, 1:], S[1:, 0], S[1:, 1:] = 1, -1, Q
        H = S + torch.eye(12, dtype=torch.float64)
    elif m == 1:
        H = torch.ones(1, 1, dtype=torch.float64)
    else:
        raise ValueError(n)
    while H.shape[0] < n:
        H = torch.cat([torch.cat([H, H], 1), torch.cat([H, -H], 1)])
    assert torch.equal(H @ H.t(), n * torch.eye(n, dtype=torch.float64))
    return (H / math.sqrt(n)).float()


def fq(x, amax):
    s = amax.clamp(min=1e-5) / 127
    return torch.clamp(torch.round(x / s), -128, 127) * s


def fqw(w, how, segments=None):
    """Weights: None, 'tensor', 'segment' (per tensor in each segment of rows), 'row', 'g64w4' (int4, groups of 64 inputs)."""
    if how is None:
        return w
    if how == "tensor" or (how == "segment" and not segments):
        return fq(w, w.abs().max())
    if how == "segment":
        return torch.cat([fq(s, s.abs().max()) for s in w.split(segments, 0)])
    if how == "row":
        return fq(w, w.abs().amax(1, keepdim=True))
    if how == "g64w4":
        g = w.reshape(w.shape[0], -1, 64)
        s = g.abs().amax(-1, keepdim=True).clamp(min=1e-6) / 7
        return (torch.clamp(torch.round(g / s), -8, 7) * s).reshape(w.shape)
    raise ValueError(how)


MAMBA_SITES = ["in", "z", "x0", "B0", "C0", "dt", "x", "B", "C", "y", "out", "outH"]
ATT_SITES = ["ain", "q", "k", "v", "o", "oH"]
MLP_SITES = ["mi", "mp", "mpH"]


class Sim:
    """The model with quantisers at the sites.  plan: {site: (granularity, percentile)}, granularity one of
    tensor, head, g32 (32 neighbouring channels), channel, token (dynamic), tokhead (dynamic per token and head)."""

    def __init__(self, model):
        self.model, self.m = model, model.m
        m = self.m
        self.H = {n: hadamard(n).to(DEV) for n in {m.di, m.d} | ({m.mlp} if m.kind == "granite" else set())}
        self.heads = {s: m.p for s in ("z", "x0", "x", "y", "out")}
        if m.kind == "granite":
            self.heads.update({s: m.hd for s in ("q", "k", "v", "o")})
        self.observer, self.cal = None, None
        self.reset()

    def reset(self, plan=None, w=None, head=None, w4=None, conv="same"):
        """w: how the weights are quantised; head: None or 'row'; w4: overrides w for in_proj, out_proj and the MLP."""
        self.plan, self.head = dict(plan or {}), head
        m = self.m
        seg = [m.di, m.di, m.n, m.n, m.heads]
        wb = w4 or w
        self.w = []
        for t, b in zip(m.types, self.model.base.layers):
            d = {}
            if t == "mamba":
                x = b.mixer if m.kind == "mamba2" else b.mamba
                d["in"] = fqw(x.in_proj.weight, wb, seg)
                o = x.out_proj.weight
                d["out"] = fqw(o @ self.H[m.di].t() if "outH" in self.plan else o, wb)
                c = x.conv1d.weight.squeeze(1)
                d["conv"] = fqw(c, "row" if w == "row" else ("tensor" if w in ("tensor", "segment") else None)) if conv == "same" else c
            else:
                x = b.self_attn
                for k in "qkv":
                    d[k] = fqw(getattr(x, k + "_proj").weight, w)
                d["o"] = fqw(x.o_proj.weight @ self.H[m.d].t() if "oH" in self.plan else x.o_proj.weight, w)
            if m.kind == "granite":
                d["mi"] = fqw(b.shared_mlp.input_linear.weight, wb)
                o = b.shared_mlp.output_linear.weight
                d["mo"] = fqw(o @ self.H[m.mlp].t() if "mpH" in self.plan else o, wb)
            self.w.append(d)
        self.emb = fqw(self.model.emb, "row") if head else self.model.emb
        return self

    def scale(self, i, site, x, gran, pct):
        if gran == "token":
            return x.abs().amax(-1, keepdim=True)
        C = x.shape[-1]
        if gran == "tokhead":
            p = self.heads[site]
            return x.abs().reshape(*x.shape[:-1], C // p, p).amax(-1, keepdim=True).expand(*x.shape[:-1], C // p, p).reshape(x.shape)
        if gran == "tensor":
            return self.cal.amax(i, site) if pct is None else self.cal.pct[i, site, pct]
        if gran == "head" and pct is not None:
            return self.cal.pct_head[i, site, pct].repeat_interleave(self.heads[site])
        p = {"head": self.heads.get(site, C), "g32": 32, "channel": 1}[gran]
        return self.cal.cmax[i, site].reshape(-1, p).amax(1).repeat_interleave(p)

    def q(self, i, site, x):
        if self.observer is not None:
            self.observer(i, site, x)
        if site not in self.plan:
            return x
        return fq(x, self.scale(i, site, x, *self.plan[site]))

    def hidden(self, ids):
        m, model = self.m, self.model
        b, l = ids.shape
        res = F.embedding(ids, model.emb) * m.emb_mult
        rot = lambda s: s in self.plan or self.observer is not None
        for i, (t, blk, w) in enumerate(zip(m.types, model.base.layers, self.w)):
            norm = blk.norm if m.kind == "mamba2" else blk.input_layernorm
            u = T.rms_norm(res, norm.weight, m.eps)
            if t == "mamba":
                mx = blk.mixer if m.kind == "mamba2" else blk.mamba
                z, x, B, C, dt = F.linear(self.q(i, "in", u), w["in"]).split([m.di, m.di, m.n, m.n, m.heads], -1)
                z = self.q(i, "z", z)
                xBC = torch.cat([self.q(i, "x0", x), self.q(i, "B0", B), self.q(i, "C0", C)], -1)
                xp = F.pad(xBC, (0, 0, 3, 0))
                s = mx.conv1d.bias + sum(w["conv"][:, k] * xp[:, k:k + l] for k in range(4))
                x, B, C = F.silu(s).split([m.di, m.n, m.n], -1)
                x, B, C = self.q(i, "x", x), self.q(i, "B", B), self.q(i, "C", C)
                dt = F.softplus(self.q(i, "dt", dt) + mx.dt_bias)
                y = T.ssd(x.reshape(b, l, m.heads, m.p), dt, -torch.exp(mx.A_log), B, C, mx.D, model.chunk, torch.float32).reshape(b, l, m.di)
                y = self.q(i, "y", y)
                y = T.rms_norm(y * F.silu(z), mx.norm.weight, m.eps)
                if "outH" in self.plan:
                    y = self.q(i, "outH", y @ self.H[m.di].t())
                else:
                    if self.observer is not None:
                        self.observer(i, "outH", y @ self.H[m.di].t())
                    y = self.q(i, "out", y)
                o = F.linear(y, w["out"])
            else:
                u = self.q(i, "ain", u)
                q, k, v = (self.q(i, s, F.linear(u, w[s])) for s in "qkv")
                G = m.qh // m.kvh
                q = q.view(b, l, m.qh, m.hd).transpose(1, 2)
                k, v = (c.view(b, l, m.kvh, m.hd).transpose(1, 2).repeat_interleave(G, 1) for c in (k, v))
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=m.attn_mult).transpose(1, 2).reshape(b, l, -1)
                if "oH" in self.plan:
                    y = self.q(i, "oH", y @ self.H[m.d].t())
                else:
                    if self.observer is not None:
                        self.observer(i, "oH", y @ self.H[m.d].t())
                    y = self.q(i, "o", y)
                o = F.linear(y, w["o"])
            res = res + o * m.res_mult
            if m.kind == "granite":
                u = self.q(i, "mi", T.rms_norm(res, blk.post_attention_layernorm.weight, m.eps))
                g, v = F.linear(u, w["mi"]).chunk(2, -1)
                y = F.silu(g) * v
                if "mpH" in self.plan:
                    y = self.q(i, "mpH", y @ self.H[m.mlp].t())
                else:
                    if self.observer is not None:
                        self.observer(i, "mpH", y @ self.H[m.mlp].t())
                    y = self.q(i, "mp", y)
                res = res + F.linear(y, w["mo"]) * m.res_mult
        return T.rms_norm(res, model.final_norm, m.eps)

    def logits(self, ids):
        h = self.hidden(ids)
        if self.observer is not None:
            self.observer(0, "head", h)
        if self.head:
            h = fq(h, h.abs().amax(-1, keepdim=True)) if "head" not in self.plan else self.q(0, "head", h)
        return F.linear(h, self.emb) / self.m.logit_scale


class Calibrate:
    """Per channel absmax, and moving averages (sample by sample, 0.01) of the percentiles of |x|, per tensor and per head."""

    def __init__(self, heads):
        self.heads, self.cmax, self.pct, self.pct_head = heads, {}, {}, {}

    def amax(self, i, site):
        return self.cmax[i, site].max()

    def ema(self, d, key, per_sample):
        for v in per_sample:
            d[key] = v.clone() if key not in d else d[key] + 0.01 * (v - d[key])

    def __call__(self, i, site, x):
        a = x.abs()
        c = a.amax((0, 1))
        self.cmax[i, site] = torch.maximum(self.cmax[i, site], c) if (i, site) in self.cmax else c
        n = a.shape[0]
        srt = a.reshape(n, -1).sort(1)[0]                                    # nearest rank, no interpolation
        for p in PCT:
            self.ema(self.pct, (i, site, p), srt[:, min(srt.shape[1] - 1, int(p * srt.shape[1]))])
        if site in self.heads:
            P = self.heads[site]
            srt = a.reshape(n, a.shape[1], -1, P).transpose(1, 2).reshape(n, a.shape[2] // P, -1).sort(2)[0]
            for p in PCT:
                self.ema(self.pct_head, (i, site, p), srt[:, :, min(srt.shape[2] - 1, int(p * srt.shape[2]))])


class Stats:
    """Maximum, 99.99th percentile and kurtosis of whole tensors."""

    def __init__(self):
        self.x = {}

    def __call__(self, i, site, x):
        a = x.abs().reshape(-1)
        d = x.double().reshape(-1)
        mu = d.mean(); v = ((d - mu) ** 2).mean(); k = ((d - mu) ** 4).mean() / v ** 2
        cmax = x.abs().amax((0, 1))
        p = float(a.topk(max(1, int(0.0001 * a.numel())))[0][-1])
        self.x[f"{i}/{site}"] = dict(max=float(a.max()), p9999=p, kurtosis=float(k), std=float(v.sqrt()), max_over_p9999=float(a.max()) / max(p, 1e-9),
                                     channel_max_over_median=float(cmax.max() / cmax.median().clamp(min=1e-9)))


def configurations(m):
    """{name: arguments of Sim.reset}, the important ones first."""
    g = m.kind == "granite"
    base = ["in", "z", "x0", "B0", "C0", "dt", "x", "B", "C", "out"] + (["ain", "q", "k", "v", "o", "mi", "mp"] if g else [])
    rotated = [{"out": "outH", "mp": "mpH"}.get(s, s) for s in base]
    st = lambda sites, gran="tensor", pct=None: {s: (gran, pct) for s in sites}

    def plan(sites, **over):
        p = st(sites)
        p.update({k: v for k, v in over.items() if k in p})
        return p

    clip = lambda p: dict(x=("tensor", p), B=("tensor", p), C=("tensor", p))
    perhead = dict(x=("head", None), B=("g32", None), C=("g32", None))
    perhead0 = dict(perhead, x0=("head", None), z=("head", None), B0=("g32", None), C0=("g32", None))
    chan = {s: ("channel", None) for s in ("x", "B", "C")}
    chan0 = dict(chan, **{s: ("channel", None) for s in ("x0", "B0", "C0", "z")})
    kv = dict(k=("tokhead", None), v=("tokhead", None)) if g else {}
    C = {"fp32": {},
         "w8 per tensor": dict(w="tensor"), "w8 per tensor, in_proj per segment": dict(w="segment"), "w8 per row": dict(w="row"),
         "a8 only, static absmax": dict(plan=plan(base)),
         "naive static W8A8": dict(plan=plan(base), w="tensor"),
         "naive static W8A8, also y": dict(plan=plan(base + ["y"]), w="tensor"),
         **{f"clip only, x B C at {p}": dict(plan=plan(base, **clip(p)), w="tensor") for p in PCT},
         "rotate only": dict(plan=plan(rotated), w="tensor"),
         **{f"quamba for mamba-2 (rotate, clip x B C at {p})": dict(plan=plan(rotated, **clip(p)), w="tensor") for p in PCT},
         "rotate, x per head, B C per 32": dict(plan=plan(rotated, **perhead), w="tensor"),
         "rotate, x x0 z per head, B C B0 C0 per 32": dict(plan=plan(rotated, **perhead0), w="tensor"),
         "rotate, x per head clipped 0.9999, B C per 32": dict(plan=plan(rotated, **dict(perhead, x=("head", 0.9999))), w="tensor"),
         "rotate, x B C per channel": dict(plan=plan(rotated, **chan), w="tensor"),
         "rotate, x B C x0 B0 C0 z per channel": dict(plan=plan(rotated, **chan0), w="tensor"),
         "dynamic per token": dict(plan=st(base, "token"), w="tensor"),
         "dynamic per token + rotate": dict(plan=st(rotated, "token"), w="tensor"),
         "dynamic per token, weights per row": dict(plan=st(base, "token"), w="row"),
         "quamba 0.9999, weights per row": dict(plan=plan(rotated, **clip(0.9999)), w="row"),
         "quamba 0.9999, in_proj per segment": dict(plan=plan(rotated, **clip(0.9999)), w="segment"),
         "per head/32 (all of in_proj's outputs) + rotate, weights per row": dict(plan=plan(rotated, **perhead0), w="row"),
         "per channel (all of in_proj's outputs) + rotate, weights per row": dict(plan=plan(rotated, **chan0), w="row"),
         "only the inputs of the products (static, rotated), weights per row": dict(plan=plan([s for s in ["in", "outH", "ain", "o", "mi", "mpH"] if s in rotated]), w="row"),
         "only the inputs of the products (per token), weights per row": dict(plan=st([s for s in ["in", "out", "ain", "o", "mi", "mp"] if s in base], "token"), w="row"),
         "quamba 0.9999 without dt": dict(plan={k: v for k, v in plan(rotated, **clip(0.9999)).items() if k != "dt"}, w="tensor"),
         "quamba 0.9999 without z": dict(plan={k: v for k, v in plan(rotated, **clip(0.9999)).items() if k != "z"}, w="tensor"),
         "quamba 0.9999 without x0 B0 C0": dict(plan={k: v for k, v in plan(rotated, **clip(0.9999)).items() if k not in ("x0", "B0", "C0")}, w="tensor"),
         "W4A16 (int4 groups of 64, in_proj out_proj MLP)": dict(w4="g64w4"),
         "W4A8 (w4 as before, per channel + rotate)": dict(plan=plan(rotated, **chan0), w="row", w4="g64w4"),
         "W4A8 (w4 as before, quamba 0.9999)": dict(plan=plan(rotated, **clip(0.9999)), w="row", w4="g64w4"),
         "W4A8 (w4 as before, dynamic per token)": dict(plan=st(base, "token"), w="row", w4="g64w4"),
         "int8 head per row (input per token)": dict(head="row"),
         "quamba 0.9999, weights per row, int8 head": dict(plan=plan(rotated, **clip(0.9999)), w="row", head="row"),
         "per channel + rotate, weights per row, int8 head": dict(plan=plan(rotated, **chan0), w="row", head="row")}
    if g:
        C["KV cache int8 per token and head"] = dict(plan=dict(kv))
        C["quamba 0.9999, weights per row, KV per token and head"] = dict(plan=plan(rotated, **dict(clip(0.9999), **kv)), w="row")
        C["per channel + rotate, weights per row, int8 head, KV per token and head"] = dict(plan=plan(rotated, **dict(chan0, **kv)), w="row", head="row")
    sites = MAMBA_SITES + (ATT_SITES + MLP_SITES if g else [])
    for s in sites:
        C[f"only {s} static absmax"] = dict(plan=st([s]))
    for s in sites:
        C[f"only {s} per token"] = dict(plan=st([s], "token"))
    for s in ("z", "x0", "x", "y", "out") + (("q", "k", "v", "o") if g else ()):
        C[f"only {s} per head"] = dict(plan=st([s], "head"))
    for s in ("B0", "C0", "B", "C"):
        C[f"only {s} per 32 channels"] = dict(plan=st([s], "g32"))
    for s in sites:
        C[f"only {s} per channel"] = dict(plan=st([s], "channel"))
    for s in ["x", "B", "C", "x0", "B0", "C0", "z", "dt", "y", "out", "in"] + (["mp", "o", "v", "k"] if g else []):
        for p in PCT:
            C[f"only {s} percentile {p}"] = dict(plan=st([s], "tensor", p))
    for p in PCT:
        C[f"only x per head percentile {p}"] = dict(plan=st(["x"], "head", p))
    return C


@torch.no_grad()
def quant(a):
    from tokenizers import Tokenizer
    t0 = time.time()
    tok, model = Tokenizer.from_file(os.path.join(a.model, "tokenizer.json")), T.load(a.model)
    sim, m = Sim(model), model.m
    books = T.read_books(os.path.join(a.data, "gutenberg", "calibration.txt.bz2"))
    ncal, lcal, rng, cal_w = (8, 128) if a.quick else (128, 512), None, np.random.default_rng(0), []
    ncal, lcal = ncal
    for e in tok.encode_batch(books[:8] if a.quick else books, add_special_tokens=False):
        for _ in range(max(1, ncal // min(len(books), 8 if a.quick else 10 ** 9))):
            if len(e.ids) > lcal:
                s = int(rng.integers(0, len(e.ids) - lcal))
                cal_w.append(e.ids[s:s + lcal])
    calib = torch.tensor(cal_w[:ncal], device=DEV)
    val = val_ids(a, tok)
    Lw, n, B = 1024, 128, a.batch
    if a.quick:
        Lw, n, B = 256, 4, 4
    X, Y = val[:n * Lw].view(n, Lw), val[1:n * Lw + 1].view(n, Lw)
    x = calib[:2, :128]
    ref = model.logits(x)
    err = float((sim.reset().logits(x) - ref).abs().max())
    rplan = ["outH"] + (["oH", "mpH"] if m.kind == "granite" else [])
    sim.cal = None
    old_q = sim.q
    sim.reset({s: ("none", None) for s in rplan})
    sim.q = lambda i, site, v: v
    rot = float((sim.logits(x) - ref).abs().max())
    sim.q = old_q
    print(f"simulation against model: {err:.2e}, with rotations {rot:.2e} (largest logit {float(ref.abs().max()):.2f})", flush=True)
    sim.reset()
    cal = sim.cal = sim.observer = Calibrate(sim.heads)
    for j in range(0, len(calib), 8):
        sim.logits(calib[j:j + 8])
    stats = sim.observer = Stats()
    sim.logits(calib[:min(32, len(calib))])
    sim.observer = None
    print(f"calibrated on {tuple(calib.shape)} tokens, {time.time()-t0:.1f} s", flush=True)
    refs = [sim.reset().logits(X[j:j + B]).log_softmax(-1) for j in range(0, n, B)]
    rows, skipped = [], []

    def save():
        json.dump(dict(what=__doc__, calibration=f"{calib.shape[0]} windows of {calib.shape[1]} tokens of calibration.txt", evaluation=f"{n} consecutive windows of {Lw} tokens of val.txt",
                       tokens=n * Lw, results=rows, skipped=skipped, stats=stats.x, scales_absmax={f"{i}/{s}": float(v.max()) / 127 for (i, s), v in cal.cmax.items()},
                       scales_percentile={f"{i}/{s}@{p}": float(v) / 127 for (i, s, p), v in cal.pct.items()}, simulation_error=err, rotation_error=rot), open(os.path.join(a.model, "quant_eval.json"), "w"), indent=1)

    for name, kw in configurations(m).items():
        if time.time() - t0 > a.seconds:
            skipped.append(name)
            continue
        try:
            sim.reset(**kw)
            nats = kl = agree = 0.0
            for k, j in enumerate(range(0, n, B)):
                y = Y[j:j + B]
                lp = sim.logits(X[j:j + B]).log_softmax(-1)
                r = refs[k]
                nats -= lp.gather(-1, y[..., None]).double().sum()
                kl += (r.exp() * (r - lp)).sum(-1).double().sum()
                agree += (r.argmax(-1) == lp.argmax(-1)).double().sum()
            nats, kl, agree = float(nats), float(kl), float(agree)
            rows.append(dict(name=name, ppl=math.exp(min(50, nats / (n * Lw))), nats=nats / (n * Lw), kl_to_fp32=kl / (n * Lw), top1_agreement=agree / (n * Lw)))
            rows[-1]["change"] = rows[-1]["ppl"] / rows[0]["ppl"] - 1
            print(f"{name:75s} ppl {rows[-1]['ppl']:.3f} {100*rows[-1]['change']:+.2f} %  KL {rows[-1]['kl_to_fp32']:.5f}  top-1 {rows[-1]['top1_agreement']:.4f}", flush=True)
            if len(rows) % 20 == 0:
                save()
        except Exception:
            print(name, "FAILED", traceback.format_exc()[-800:], flush=True)
            skipped.append(name + ": " + traceback.format_exc()[-200:])
    save()
    md = [f"{n} windows of {Lw} tokens of val.txt; calibration: {calib.shape[0]} windows of {calib.shape[1]} tokens.", "",
          "| variant | perplexity | change | nats/token | KL | top-1 agreement |", "| --- | --- | --- | --- | --- | --- |"]
    md += [f"| {r['name']} | {r['ppl']:.3f} | {100*r['change']:+.2f} % | {r['nats']:.4f} | {r['kl_to_fp32']:.5f} | {100*r['top1_agreement']:.2f} % |" for r in rows]
    md += ["", "Outliers (32 windows of calibration text): max / p99.99 / kurtosis of |x| over whole tensors, by layer.", ""]
    sites = [s for s in MAMBA_SITES + ATT_SITES + MLP_SITES if any(k.endswith("/" + s) for k in stats.x)]
    md += ["| layer | " + " | ".join(sites) + " |", "| --- |" + " --- |" * len(sites)]
    for i in range(m.layers):
        md.append(f"| {i} | " + " | ".join("{max:.2f} / {p9999:.2f} / {kurtosis:.0f}".format(**stats.x[f"{i}/{s}"]) if f"{i}/{s}" in stats.x else "" for s in sites) + " |")
    open(os.path.join(a.model, "quant_eval.md"), "w").write("\n".join(md) + "\n")
    print(f"quant_eval: {len(rows)} rows, {len(skipped)} left out, {time.time()-t0:.1f} s", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True); p.add_argument("--data", required=True); p.add_argument("--quick", action="store_true")
    p.add_argument("--only", default="golden,eval,quant"); p.add_argument("--batch", type=int, default=16); p.add_argument("--seconds", type=float, default=170, help="for quant_eval")
    a = p.parse_args()
    bad = 0
    for name, fn in [("golden", golden), ("eval", evaluate), ("quant", quant)]:
        if name in a.only.split(","):
            t = time.time()
            try:
                fn(a)
                print(f"## {name}: {time.time()-t:.1f} s", flush=True)
            except Exception:
                bad += 1
                print(f"## {name} FAILED\n{traceback.format_exc()}", flush=True)
            if DEV == "cuda":
                torch.cuda.empty_cache()
    print("finish", os.path.basename(a.model.rstrip('/')), "FAILED" if bad else "ok", flush=True)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
