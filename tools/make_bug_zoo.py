"""Makes the bug zoo: traces of transformers with known bugs patched into it.

    python3 tools/make_bug_zoo.py tests/testdata/zoo

Needs what tools/dump_reference.py needs, and writes traces of its form. The
models are random-weight Qwen3 and Qwen2 checkpoints, saved as they are; what a
diagnosis sees is such a checkpoint, the tokens, and the trace of a program that
has a bug. Writes

    qwen3/, qwen2/, llama/   checkpoints; the lm_head of qwen2 is tied. llama
                        has biases everywhere, and RoPE scaled by llama3
    qwen3_yarn/, qwen2_linear/   the same with RoPE scaled otherwise
    qwen2_own_head/     qwen2 with an lm_head.weight in the file, though its
                        config ties it. (transformers uses it, and warns: the
                        two tensors differ.)
    CHECKPOINT-ARITHMETIC-correct.safetensors   transformers as it is
    ARCH-DTYPE-BUG[+BUG].safetensors      with one bug, or two
    ARCH-DTYPE-outside_WHAT.safetensors   with a bug that no catalogue lists
    zoo.json            what is what: the expected verdicts

The bugs are in tools/transformers_bugs.py and transformers_serving_bugs.py. A table is printed: by how much the
worst of the layers' outputs, the final norm's and the logits differ (relative
L2) from the correct model in the same dtype; by how much that one does from
float64 throughout; where a trace first differs, and by how much there. A bug
that drowns in rounding fails the run, unless it is but another rounding.

An entry of zoo.json:

    file, checkpoint, arch, dtype, tokens
    bugs               catalogue ids; empty for correct traces and outside ones
    variants           the same by the names of the files: an id may have two
    arithmetic         of correct traces
    outside            of outside ones: what was done
    first_difference   from the correct trace, {layer (from 1; 0: none), op};
                       null if only the comparison is wrong
    has_ops            false: hidden states, logits and tokens are all there is
"""

import argparse
import contextlib
import json
import math
import pathlib
import shutil
import sys

import torch
import transformers
import transformers_serving_bugs  # noqa: F401: adds its own to BUGS
from dump_reference import load, run, save
from safetensors.torch import load_file, save_file
from transformers_bugs import BUGS, OUTSIDE, Patch

SEEDS = {
    "qwen3": 1,
    "qwen2": 2,
    "qwen2_own_head": 3,
    "llama": 4,
    "qwen3_yarn": 5,
    "qwen2_linear": 6,
}

# Widths are multiples of 32, as Q8_0 needs them; Qwen3's heads are together as
# wide as two of its streams, and sums have 32 or 64 terms.
CONFIGS = {
    "qwen3": dict(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        vocab_size=41,
        tie_word_embeddings=False,
    ),
    "qwen2": dict(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=37,
        tie_word_embeddings=True,
    ),
    "llama": dict(
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=37,
        tie_word_embeddings=True,
        attention_bias=True,
        mlp_bias=True,
    ),
}
# Contexts are short, for few positions to show what is scaled.
ROPE = {
    "llama": {
        "rope_type": "llama3",
        "rope_theta": 1e4,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    "qwen3_yarn": {
        "rope_type": "yarn",
        "rope_theta": 1e6,
        "factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    "qwen2_linear": {
        "rope_type": "linear",
        "rope_theta": 1e6,
        "factor": 4.0,
    },
}
CHECKPOINTS = [*CONFIGS, "qwen3_yarn", "qwen2_linear"]


def arch_of(checkpoint):
    return checkpoint.partition("_")[0]


# The first two differ by position alone, which RoPE must tell apart. With loud
# ones, scores go beyond the logarithm of float16's largest number.
TOKENS = {
    "usual": {
        "qwen3": [4, 4, 21, 13, 15],
        "qwen2": [35, 35, 34, 4, 23],
        "llama": [35, 35, 34, 4, 23],
    },
    "loud": {"qwen3": [4, 4, 3, 21, 23], "qwen2": [8, 8, 31, 18, 27]},
    "many": {
        "qwen3": [4, 4, 21, 13, 15, 30, 8, 13, 27, 9, 36, 5, 19],
        "qwen2": [35, 35, 34, 4, 23, 9, 14, 23, 30]
        + [6, 17, 28, 11, 4, 20, 26, 7],
        "llama": [35, 35, 34, 4, 23, 9, 14, 23, 30, 6, 17, 28, 11],
    },
    # More than bf16 can count.
    "very_many": {"qwen2": [(7 * i * i + 3 * i) % 37 for i in range(288)]},
}
LOUD = math.log(torch.finfo(torch.float16).max)


def make_model(checkpoint):
    """Weights with which every bug shows.

    Embeddings are small, some very, so that eps counts; norm weights spread
    about 1 and those of heads are of no symmetry, biases are not 0; scores are
    large. All have full 24-bit significands, for rounding them to show.
    """
    arch = arch_of(checkpoint)
    plain = {"rope_type": "default", "rope_theta": 1e6}
    config = transformers.AutoConfig.for_model(
        arch,
        rope_parameters=ROPE.get(checkpoint, plain),
        max_position_embeddings=512,
        rms_norm_eps=1e-6,
        bos_token_id=1,
        eos_token_id=2,
        **CONFIGS[arch],
    )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(SEEDS[checkpoint])
    for name, parameter in sorted(model.named_parameters()):
        value = torch.randn(parameter.shape, generator=generator)
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            value = 2.0 + 0.5 * value
        elif "norm" in name:
            value = 1 + 0.3 * value
        elif name.endswith("bias"):
            value = 0.4 * value
        elif "embed_tokens" in name:
            row = torch.rand(len(value), 1, generator=generator)
            value = value * 0.05 * torch.exp(-2.5 * row)
        else:
            gain = 1.0
            loud = 2.0 if arch == "llama" else 1.0  # of many small heads
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                gain = 0.05 * loud  # so that the stream stays small
            elif "q_proj" in name or "k_proj" in name:
                gain = 1.7 * loud  # Qwen2's scores; Qwen3 normalizes it away
            value = value * gain / math.sqrt(parameter.shape[1])
        parameter.data.copy_(value)
    return model


def save_checkpoints(folder):
    for checkpoint in CHECKPOINTS:
        model = make_model(checkpoint)
        model.save_pretrained(folder / checkpoint)
        (folder / checkpoint / "generation_config.json").unlink()
    plain, own_head = folder / "qwen2", folder / "qwen2_own_head"
    own_head.mkdir(exist_ok=True)
    shutil.copy(plain / "config.json", own_head)
    tensors = load_file(plain / "model.safetensors")
    shape = tensors["model.embed_tokens.weight"].shape
    generator = torch.Generator().manual_seed(SEEDS["qwen2_own_head"])
    head = torch.randn(shape, generator=generator) / math.sqrt(shape[1])
    tensors["lm_head.weight"] = head
    path = own_head / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    for path in folder.glob("*/*"):
        path.chmod(0o644)


PAIRS = [
    ("qwen3", "float32", "rope_neighbours", "gelu"),
    ("qwen3", "bfloat16", "norm_eps_1e-5", "kv_heads_tiled"),
    ("qwen3", "float32", "qk_norm_missing", "gate_up_swapped"),
    ("qwen3", "bfloat16", "rope_theta_1e4", "head_tied_wrongly"),
    ("qwen3", "float32", "weights_q8_0", "attention_scale_hidden"),
    ("qwen2", "float32", "residual_bf16", "last_state_normed"),
    ("qwen2", "bfloat16", "qkv_bias_missing", "final_norm_missing"),
    ("qwen2", "float32", "query_positions_plus_one", "gelu_tanh"),
    ("qwen2", "bfloat16", "no_causal_mask", "norm_weight_plus_one"),
    ("qwen3", "bfloat16", "qk_norm_after_rope", "gelu"),
]

CORRECT = {
    "float64": "float64, but norms, the softmax and RoPE in float32",
    "float64_throughout": "float64",
    "float32": "float32",
    "bfloat16": "bfloat16",
    "float16": "float16",
}

# Ops in the order in which they run: the parts of a trace that each is seen in.
LAYER_OPS = [
    ("input_norm", ["input_layernorm"]),
    ("q_proj", ["self_attn.q_proj"]),
    ("k_proj", ["self_attn.k_proj"]),
    ("v_proj", ["self_attn.v_proj"]),
    ("q_norm", ["self_attn.q_norm"]),
    ("k_norm", ["self_attn.k_norm"]),
    ("rope", ["self_attn.q_rope", "self_attn.k_rope"]),
    ("qk", ["self_attn.attention_scores"]),
    ("softmax", ["self_attn.attention_weights"]),
    ("av", ["self_attn.o_proj.input"]),
    ("o_proj", ["self_attn.o_proj"]),
    ("attn_residual", ["post_attention_layernorm.input"]),
    ("post_norm", ["post_attention_layernorm"]),
    ("gate_proj", ["mlp.gate_proj"]),
    ("up_proj", ["mlp.up_proj"]),
    ("swiglu", ["mlp.down_proj.input"]),
    ("down_proj", ["mlp.down_proj"]),
    ("mlp_residual", [""]),
]


def ops_of(trace):
    """(layer from 1, op, names of its tensors); layer 0 for those in none."""
    layers = {
        int(name.split(".")[2])
        for name in trace
        if name.startswith("model.layers.")
    }
    yield 0, "embed", ["model.embed_tokens"]
    for i in sorted(layers):
        for op, parts in LAYER_OPS:
            names = [f"model.layers.{i}.{part}".rstrip(".") for part in parts]
            yield i + 1, op, [name for name in names if name in trace]
    yield 0, "final_norm", ["model.norm"]
    yield 0, "lm_head", ["logits"]


def furthest(trace, correct, names):
    """The largest relative L2 error of some tensors; NaN if it is anywhere."""
    errors = [0.0]
    for name in names:
        value, expected = trace[name].double(), correct[name].double()
        errors.append(float((value - expected).norm() / expected.norm()))
    return math.nan if any(map(math.isnan, errors)) else max(errors)


def first_difference(trace, correct):
    """Where the traces part, {layer, op}, and how far; None, 0 if nowhere."""
    for layer, op, names in ops_of(correct):
        apart = furthest(trace, correct, names)
        if apart != 0:
            return {"layer": layer, "op": op}, apart
    return None, 0.0


def distance(trace, correct):
    """The largest relative L2 error of a layer's output or of the logits."""
    names = [
        name
        for layer, op, names in ops_of(correct)
        for name in names
        if op in ("mlp_residual", "final_norm", "lm_head")
    ]
    return furthest(trace, correct, names)


def is_same(trace, other):
    return trace.keys() == other.keys() and all(
        tensor.dtype == other[name].dtype and torch.equal(tensor, other[name])
        for name, tensor in trace.items()
    )


class Zoo:
    """The traces written so far, and the correct ones they are held to."""

    def __init__(self, folder):
        self.folder = folder
        self.entries = []
        self.written = []
        self.correct_traces = {}

    def trace(self, checkpoint, dtype, tokens, bugs=(), throughout=False):
        """Of a model with bugs, before anything is left out of it."""
        folder = self.folder / checkpoint
        model = load(folder, getattr(torch, dtype), throughout=throughout)
        with contextlib.ExitStack() as cleanup:
            for each in bugs:
                each.patch(Patch(model, cleanup))
            return run(model, tokens, throughout=throughout)

    def correct(self, checkpoint, dtype, tokens):
        """The correct trace, and its own distance from float64 throughout."""
        key = (checkpoint, dtype, tuple(tokens))
        if key not in self.correct_traces:
            trace = self.trace(checkpoint, dtype, tokens)
            exact = self.trace(checkpoint, "float64", tokens, throughout=True)
            self.correct_traces[key] = trace, distance(trace, exact)
        return self.correct_traces[key]

    def write(self, trace, file, **entry):
        for other_file, other in self.written:
            if is_same(trace, other):
                sys.exit(f"{file} is {other_file}: choose other tokens")
        self.written.append((file, trace))
        path = self.folder / f"{file}.safetensors"
        save(
            trace,
            path,
            trace["logits"].dtype,
            made_by="tools/make_bug_zoo.py",
            model=entry["checkpoint"],
        )
        has_ops = any(".self_attn." in name for name in trace)
        self.entries.append({"file": path.name, **entry, "has_ops": has_ops})

    def add_correct(self, checkpoint, arithmetic):
        arch = arch_of(checkpoint)
        dtype, _, throughout = arithmetic.partition("_")
        tokens = TOKENS["usual"][arch]
        self.write(
            self.trace(
                checkpoint, dtype, tokens, throughout=bool(throughout)
            ),
            f"{checkpoint}-{arithmetic}-correct",
            checkpoint=checkpoint,
            arch=arch,
            dtype=dtype,
            tokens=tokens,
            bugs=[],
            arithmetic=CORRECT[arithmetic],
        )

    def add(self, checkpoint, dtype, names, registry=BUGS):
        arch = arch_of(checkpoint)
        bugs = [registry[name] for name in names]
        kinds = {each.bf16_tokens for each in bugs} - {"usual"}
        kind = kinds.pop() if kinds and dtype == "bfloat16" else "usual"
        tokens = TOKENS[kind][arch]
        trace = self.trace(checkpoint, dtype, tokens, bugs)
        correct, rounding = self.correct(checkpoint, dtype, tokens)
        away = distance(trace, correct)
        where, at_first = first_difference(trace, correct)

        is_outside = registry is OUTSIDE
        prefix = "outside_" if is_outside else ""
        file = f"{checkpoint}-{dtype}-{prefix}{'+'.join(names)}"
        place = f"{where['layer']} {where['op']}" if where else "-"
        print(f"{file:60} {away:8.2g} {rounding:8.2g} {at_first:8.2g}  {place}")
        for each in bugs:
            trace = each.edit(trace, dtype)
        self.write(
            trace,
            file,
            checkpoint=checkpoint,
            arch=arch,
            dtype=dtype,
            tokens=tokens,
            bugs=[] if is_outside else [each.id for each in bugs],
            **({"outside": names[0]} if is_outside else {"variants": names}),
            first_difference=where,
        )
        is_rounding = all(each.is_rounding for each in bugs)
        spacing = torch.finfo(getattr(torch, dtype)).eps
        if where and not is_rounding:
            if away < 4 * rounding and at_first < spacing:
                sys.exit(f"{file} drowns in rounding")


def check_loudness(zoo):
    """That the tokens are as loud as they should be, and no louder."""
    for kind in ("usual", "loud"):
        for arch, tokens in TOKENS[kind].items():
            if arch == "llama":
                continue  # shows no overflow
            for dtype in ("float32", "bfloat16"):
                trace, _ = zoo.correct(arch, dtype, tokens)
                loudest = max(
                    float(tensor.tril().max())
                    for name, tensor in trace.items()
                    if name.endswith("attention_scores")
                )
                print(f"{arch} {dtype} {kind}: largest score {loudest:.4g}")
                if (loudest > LOUD) != (kind == "loud"):
                    sys.exit("choose other tokens")


def write_index(zoo):
    index = {
        "made_by": "tools/make_bug_zoo.py",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "traces": ["ENTRY"],
    }
    lines = ",\n  ".join(json.dumps(entry) for entry in zoo.entries)
    text = json.dumps(index, indent=1).replace('"ENTRY"', lines)
    path = zoo.folder / "zoo.json"
    path.write_text(text + "\n")
    path.chmod(0o644)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="where to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for path in arguments.folder.glob("*.safetensors"):
        path.unlink()
    save_checkpoints(arguments.folder)
    zoo = Zoo(arguments.folder)
    check_loudness(zoo)
    print(f"{'':60} {'away':>8} {'rounding':>8} {'at first':>8}  first at")
    for checkpoint in CHECKPOINTS:
        is_first = checkpoint in ("qwen3", "qwen2")
        for arithmetic in CORRECT if is_first else ("float32", "bfloat16"):
            zoo.add_correct(checkpoint, arithmetic)
        for name, each in BUGS.items():
            for dtype in each.dtypes if checkpoint in each.archs else ():
                zoo.add(checkpoint, dtype, [name])
    for arithmetic in ("float32", "bfloat16"):
        zoo.add_correct("qwen2_own_head", arithmetic)
    for arch, dtype, *names in PAIRS:
        zoo.add(arch, dtype, names)
    for name, each in OUTSIDE.items():
        zoo.add(each.archs[0], each.dtypes[0], [name], OUTSIDE)
    write_index(zoo)
    files = [path for path in arguments.folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"{len(files)} files, {size} bytes")


if __name__ == "__main__":
    main()
