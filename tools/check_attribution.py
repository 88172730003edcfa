#!/usr/bin/env python3
"""Checks by other means what --attribute says of a set of cells.

A small Qwen2/Qwen3/Llama decoder in numpy, which shares no code with the
program: every op rounds its operands and its result to bfloat16, as PyTorch's
eager ops do, but for the cells of a set, which are computed in float32; against
the same decoder in float64. It prints the relative L2 error of the final hidden
state and the mean KL divergence of the next tokens, for the plan and with each
set:

  python3 tools/check_attribution.py MODEL.gguf --tokens=9707,11,1879,0 \\
      --set=q_proj,k_proj,rope,qk,softmax@1-5 --set=residual

A set is ops or groups (matmul, rmsnorm, softmax, elementwise, residual), and
layers as FIRST-LAST after an @, of each entry of the comma-separated list that
has one, or of all before it that have none. Sums run in another order than the
program's, so that figures agree in size and not in their digits.
"""

import argparse
import sys

import numpy as np

GROUPS = {
    "matmul": "q_proj k_proj v_proj qk av o_proj gate_proj up_proj down_proj "
              "lm_head",
    "rmsnorm": "input_norm q_norm k_norm post_norm final_norm",
    "softmax": "softmax",
    "elementwise": "embed rope swiglu",
    "residual": "attn_residual mlp_residual",
}


def to_bf16(x):
    """Rounds to the nearest bfloat16, ties to even; float32 in and out."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    rounded = bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)


def parse_set(text):
    """{(op, first, last)} of "a,b@1-5,c"."""
    cells, waiting = [], []
    for entry in text.split(","):
        name, _, layers = entry.partition("@")
        waiting += GROUPS.get(name, name).split()
        if layers:
            first, _, last = layers.partition("-")
            cells += [(op, int(first), int(last or first)) for op in waiting]
            waiting = []
    return cells + [(op, 0, 10**6) for op in waiting]


class Model:
    def __init__(self, path):
        from gguf import GGUFReader, dequantize
        reader = GGUFReader(path)
        field = {k: f.contents() for k, f in reader.fields.items()
                 if not k.startswith("tokenizer")}
        arch = field["general.architecture"]
        get = lambda key, default=None: field.get(f"{arch}.{key}", default)
        self.layers = get("block_count")
        self.heads = get("attention.head_count")
        self.kv_heads = get("attention.head_count_kv")
        self.eps = get("attention.layer_norm_rms_epsilon")
        self.theta = get("rope.freq_base", 10000.0)
        self.hidden = get("embedding_length")
        self.head_dim = get("attention.key_length", self.hidden // self.heads)
        self.arch = arch
        self.raw = {t.name: t for t in reader.tensors}
        self.dequantize = dequantize
        self.kept = {}

    def weight(self, name):
        if name not in self.kept:
            t = self.raw.get(name)
            self.kept[name] = None if t is None else np.asarray(
                self.dequantize(t.data, t.tensor_type), np.float32)
        return self.kept[name]


def run(model, tokens, cells, exact=False):
    """(final hidden state, logits): float64 if exact, else bf16 but for cells."""
    real = np.float64 if exact else np.float32

    def is_f32(op, layer):
        return any(op == o and a <= layer <= b for o, a, b in cells)

    def rounding(op, layer):
        if exact:
            return lambda x: np.asarray(x, np.float64)
        if is_f32(op, layer):
            return lambda x: np.asarray(x, np.float32)
        return to_bf16

    def project(op, layer, x, name):
        r = rounding(op, layer)
        y = r(x) @ r(model.weight(name + ".weight")).T
        bias = model.weight(name + ".bias")
        return r(y if bias is None else y + r(bias))

    def norm(op, layer, x, name):
        w = model.weight(name + ".weight")
        if w is None:
            return x
        r = rounding(op, layer)
        x = r(x)
        mean = np.mean(np.square(x), axis=-1, keepdims=True, dtype=real)
        # PyTorch rounds the normalized value before it is scaled.
        return r(r(x / np.sqrt(mean + real(model.eps))) * r(w))

    # llama.cpp stores q and k rows of Llama so that RoPE turns neighbours.
    neighbours = model.arch == "llama"
    half = model.head_dim // 2
    angle = np.arange(len(tokens))[:, None] * model.theta ** (
        -np.arange(half) / half)
    cos, sin = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]

    def rotate(layer, x):
        r = rounding("rope", layer)
        c, s = r(cos.astype(real)), r(sin.astype(real))
        x = r(x)
        a, b = ((x[..., 0::2], x[..., 1::2]) if neighbours
                else (x[..., :half], x[..., half:]))
        lo, hi = r(r(a * c) - r(b * s)), r(r(b * c) + r(a * s))
        if neighbours:
            return np.stack([lo, hi], -1).reshape(x.shape)
        return np.concatenate([lo, hi], -1)

    def residual(op, layer, x, update):
        r = rounding(op, layer)
        return r(r(x) + r(update))

    n = len(tokens)
    x = rounding("embed", 0)(model.weight("token_embd.weight")[tokens])
    later = np.triu(np.full((n, n), -np.inf), 1)
    for layer in range(1, model.layers + 1):
        at = f"blk.{layer - 1}."
        h = norm("input_norm", layer, x, at + "attn_norm")
        q = project("q_proj", layer, h, at + "attn_q").reshape(n, model.heads, -1)
        k = project("k_proj", layer, h, at + "attn_k").reshape(
            n, model.kv_heads, -1)
        v = project("v_proj", layer, h, at + "attn_v").reshape(
            n, model.kv_heads, -1)
        q = norm("q_norm", layer, q, at + "attn_q_norm")
        k = norm("k_norm", layer, k, at + "attn_k_norm")
        q, k = rotate(layer, q), rotate(layer, k)
        r_qk, r_soft, r_av = (rounding(op, layer) for op in ("qk", "softmax", "av"))
        out = np.zeros((n, model.heads, model.head_dim), real)
        for head in range(model.heads):
            kv = head // (model.heads // model.kv_heads)
            scores = r_qk(r_qk(r_qk(q[:, head]) @ r_qk(k[:, kv]).T)
                          * real(model.head_dim ** -0.5))
            s = r_soft(scores).astype(real) + later.astype(real)
            e = np.exp(s - s.max(-1, keepdims=True))
            weights = r_soft(e / e.sum(-1, keepdims=True))
            out[:, head] = r_av(r_av(weights) @ r_av(v[:, kv]))
        update = project("o_proj", layer, out.reshape(n, -1), at + "attn_output")
        x = residual("attn_residual", layer, x, update)
        h = norm("post_norm", layer, x, at + "ffn_norm")
        gate = project("gate_proj", layer, h, at + "ffn_gate")
        up = project("up_proj", layer, h, at + "ffn_up")
        r = rounding("swiglu", layer)
        gate = r(gate)
        act = r(r(gate / (1 + np.exp(-gate))) * r(up))
        update = project("down_proj", layer, act, at + "ffn_down")
        x = residual("mlp_residual", layer, x, update)
    head = "output" if "output.weight" in model.raw else "token_embd"
    h = norm("final_norm", 0, x, "output_norm")
    return np.asarray(x, np.float64), np.asarray(
        project("lm_head", 0, h, head), np.float64)


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--tokens", required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--positions", action="store_true",
                        help="the error of every position, too")
    args = parser.parse_args()
    tokens = [int(t) for t in args.tokens.split(",") if t]
    model = Model(args.model)
    state, logits = run(model, tokens, [], exact=True)
    p = log_softmax(logits)
    for text in [None] + args.set:
        got, got_logits = run(model, tokens, parse_set(text) if text else [])
        error = np.linalg.norm(got - state) / np.linalg.norm(state)
        kl = (np.exp(p) * (p - log_softmax(got_logits))).sum(-1)
        print(f"{'bf16' if text is None else text + ' in f32'}: "
              f"rel_l2 {error:.4g}, KL {kl.mean():.4g} nats")
        if args.positions:
            for i, token in enumerate(tokens):
                e = np.linalg.norm(got[i] - state[i]) / np.linalg.norm(state[i])
                print(f"  position {i} ({token}): rel_l2 {e:.3g}, KL {kl[i]:.3g}")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
