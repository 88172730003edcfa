"""Makes the ground truth of the pipeline's tests with PyTorch and transformers.

    python3 tools/make_reference_fixtures.py tests/testdata/reference

Needs torch, transformers, safetensors and numpy; nothing but this script does.
Writes one folder per variant: a random-weight checkpoint as `save_pretrained`
writes it, `expected.f64` (little-endian float64 arrays, one after the other)
and `expected.json`, which says where each array lies in it:

    hidden_states.0           the embeddings
    hidden_states.I           the residual stream after layer I, not normalized
    final_norm, logits
    MODULE                    output of a module, in the first and last layer
    MODULE.input              its input: o_proj's is the heads' output, down_
                              proj's SwiGLU, post_attention_layernorm's the
                              residual stream between the two blocks
    MODULE.attention_weights  [head, query, key], after the softmax

Rows are tokens. The seeds are fixed, but the last bits of the outputs depend
on PyTorch's matrix products on the machine that runs this.
"""

import argparse
import contextlib
import json
import math
import pathlib
import shutil

import numpy as np
import safetensors
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file

# Repeated tokens: the first two by position alone, which RoPE must tell apart.
PROMPT = [5, 5, 17, 3, 58, 17, 41, 5, 29, 41, 2]

# Sizes are odd where they can be and never a multiple of a vector's length;
# heads * head_dim differs from hidden_size wherever the architecture lets it.
SMALL = dict(
    model_type="qwen3",
    hidden_size=18,
    intermediate_size=27,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=6,
    vocab_size=61,
    rope_theta=1e6,
    ops=False,
)
VARIANTS = {
    "qwen3_untied": dict(
        model_type="qwen3",
        hidden_size=26,
        intermediate_size=35,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=6,
        vocab_size=71,
        rope_theta=1e6,
    ),
    "qwen3_tied": dict(
        model_type="qwen3",
        hidden_size=22,
        intermediate_size=33,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=10,
        vocab_size=83,
        rope_theta=1e4,
        tie_word_embeddings=True,
        classic_config=True,
        ops=False,
    ),
    "qwen3_bias": dict(
        model_type="qwen3",
        hidden_size=19,
        intermediate_size=29,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=1,
        head_dim=10,
        vocab_size=61,
        rope_theta=5e6,
        attention_bias=True,
    ),
    "qwen2": dict(
        model_type="qwen2",
        hidden_size=24,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=67,
        rope_theta=1e6,
        tie_word_embeddings=True,
    ),
    "llama": dict(
        model_type="llama",
        hidden_size=30,
        intermediate_size=35,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=1,
        vocab_size=59,
        rope_theta=1e4,
        # Wavelengths are 6, 40, 250, ...: one pair is left alone, one lies on
        # the ramp between 16 and 64, the rest are slowed down.
        llama3=dict(
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=64,
        ),
        classic_config=True,
    ),
    "qwen3_bf16": dict(SMALL, dtype=torch.bfloat16),
    "qwen3_sharded": dict(SMALL, max_shard_size="9KB"),
    "qwen2_yarn": dict(
        model_type="qwen2",
        hidden_size=40,
        intermediate_size=29,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=61,
        rope_theta=1e4,
        yarn=dict(factor=4.0, original_max_position_embeddings=256),
        classic_config=True,
        ops=False,
    ),
    "qwen3_own_head": dict(SMALL, num_hidden_layers=1, own_head=True),
    "qwen3_prefixed": dict(SMALL, num_hidden_layers=1, stored="prefixed"),
    "llama_fused": dict(
        model_type="llama",
        hidden_size=30,
        intermediate_size=35,
        num_hidden_layers=1,
        num_attention_heads=3,
        num_key_value_heads=1,
        vocab_size=59,
        rope_theta=1e4,
        mlp_bias=True,
        stored="fused",
    ),
    "qwen3_fp8": dict(
        model_type="qwen3",
        hidden_size=128,
        intermediate_size=130,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=34,
        vocab_size=61,
        rope_theta=1e6,
        stored="fp8",
        ops=False,
    ),
}

INPUTS_TOO = ("o_proj", "down_proj", "post_attention_layernorm")


@contextlib.contextmanager
def float64_throughout():
    """Makes transformers' own code compute in float64 where it says float32.

    Even of a float64 model, transformers computes RMSNorm, the softmax and all
    of RoPE (inverse frequencies, angles, cosines) in float32, by naming
    torch.float32, torch.float or Tensor.float(): an upcast for the models it
    has in mind, a downcast here, which would leave errors of 1e-7 in the ground
    truth. The names are looked up when the code runs, so they can be made to
    mean float64, and not a line of the models has to be written again.
    """
    saved = torch.float32, torch.float, torch.Tensor.float
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = saved


def make_config(spec):
    sizes = {
        key: spec[key]
        for key in spec
        if key not in ("model_type", "rope_theta", "llama3", "dtype")
        and key not in ("classic_config", "ops", "max_shard_size")
        and key not in ("yarn", "own_head", "stored")
    }
    rope = {"rope_type": "default", "rope_theta": spec["rope_theta"]}
    if "llama3" in spec:
        rope.update(spec["llama3"], rope_type="llama3")
    if "yarn" in spec:
        rope.update(spec["yarn"], rope_type="yarn")
    return transformers.AutoConfig.for_model(
        spec["model_type"],
        rope_parameters=rope,
        max_position_embeddings=512,
        rms_norm_eps=1e-5 if spec["model_type"] == "llama" else 1e-6,
        bos_token_id=1,
        eos_token_id=2,
        **sizes,
    )


def randomize(model, seed):
    """Weights with which no op is trivial: norms far from 1, biases not 0."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        value = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            value = 1 + 0.5 * value
        elif name.endswith("bias"):
            value = 0.4 * value
        elif "embed_tokens" not in name:
            value = value * 1.2 / math.sqrt(parameter.shape[1])
        parameter.data.copy_(value)


def use_classic_config(folder):
    """Rewrites config.json with the keys of transformers 4, as most have it."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def quantized(weight):
    """FP8 E4M3 codes, and the scales of blocks of 128 x 128."""
    rows, cols = weight.shape
    scales = torch.empty(-(-rows // 128), -(-cols // 128))
    codes = torch.empty_like(weight, dtype=torch.float8_e4m3fn)
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            at = slice(i * 128, i * 128 + 128), slice(j * 128, j * 128 + 128)
            # Half of the range, so that there are subnormal codes too.
            scales[i, j] = weight[at].abs().max() / 224
            codes[at] = (weight[at] / scales[i, j]).to(torch.float8_e4m3fn)
    return codes, scales


def dequantized(codes, scales):
    rows, cols = codes.shape
    wide = scales.repeat_interleave(128, 0).repeat_interleave(128, 1)
    return codes.float() * wide[:rows, :cols]


def is_fp8(name):
    """What Qwen3-*-FP8 has in FP8: the projections."""
    return name.endswith("_proj.weight")


def store_otherwise(folder, how):
    """Writes the tensors in a spelling that transformers need not read."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    if how == "prefixed":
        tensors = {
            name.replace("model.", "model.language_model.", 1): tensor
            for name, tensor in tensors.items()
        }
    elif how == "fused":
        parts = {
            "self_attn.qkv_proj": ["q_proj", "k_proj", "v_proj"],
            "mlp.gate_up_proj": ["gate_proj", "up_proj"],
        }
        for whole, names in parts.items():
            module = whole.split(".")[0]
            for end in ("weight", "bias"):
                keys = [
                    f"model.layers.0.{module}.{name}.{end}" for name in names
                ]
                if keys[0] in tensors:
                    rows = [tensors.pop(key) for key in keys]
                    whole_key = f"model.layers.0.{whole}.{end}"
                    tensors[whole_key] = torch.cat(rows)
    else:
        assert how == "fp8"
        for name in filter(is_fp8, list(tensors)):
            codes, scales = quantized(tensors[name])
            # The values are those of codes already: they are found again.
            assert torch.equal(dequantized(codes, scales), tensors[name])
            tensors[name] = codes
            tensors[name + "_scale_inv"] = scales
        config = json.loads((folder / "config.json").read_text())
        config["quantization_config"] = {
            "quant_method": "fp8",
            "fmt": "e4m3",
            "activation_scheme": "dynamic",
            "weight_block_size": [128, 128],
        }
        text = json.dumps(config, indent=2, sort_keys=True) + "\n"
        (folder / "config.json").write_text(text)
    save_file(tensors, path, metadata={"format": "pt"})


def capture(model, tokens, ops):
    """One forward pass: name -> array, without the batch dimension."""
    arrays, handles = {}, []

    def keep(name, tensor):
        arrays[name] = tensor.detach().squeeze(0).numpy().copy()

    def first(output):
        return output[0] if isinstance(output, tuple) else output

    def on_output(module, name):
        handles.append(
            module.register_forward_hook(lambda m, i, o: keep(name, first(o)))
        )

    layers = model.model.layers
    on_output(model.model.embed_tokens, "hidden_states.0")
    for i, layer in enumerate(layers):
        # Not `output_hidden_states`: its last one comes after the final norm.
        on_output(layer, f"hidden_states.{i + 1}")
    on_output(model.model.norm, "final_norm")
    for i in (0, len(layers) - 1) if ops else ():
        for name, module in layers[i].named_modules():
            path = f"model.layers.{i}.{name}"
            if name.endswith(("_proj", "norm")):
                on_output(module, path)
            if name.endswith(INPUTS_TOO):
                handles.append(
                    module.register_forward_pre_hook(
                        lambda m, i, path=path: keep(path + ".input", i[0])
                    )
                )
            if name == "self_attn":
                handles.append(
                    module.register_forward_hook(
                        lambda m, i, o, path=path: keep(
                            path + ".attention_weights", o[1]
                        )
                    )
                )
    with torch.no_grad():
        keep("logits", model(torch.tensor([tokens]), use_cache=False).logits)
    for handle in handles:
        handle.remove()
    return arrays


def textbook_forward(spec, folder, tokens):
    """The same model written again, in long double, from the saved files.

    It shares nothing with transformers, so that agreement far below 1e-7 shows
    that no step of the reference was left in float32.
    """
    w = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                value = file.get_tensor(name).double().numpy()
                w[name] = value.astype(np.longdouble)
    heads, kv_heads = spec["num_attention_heads"], spec["num_key_value_heads"]
    head_dim = spec.get("head_dim", spec["hidden_size"] // heads)
    eps = np.longdouble(1e-5 if spec["model_type"] == "llama" else 1e-6)
    n = len(tokens)

    arrays = {}

    def keep(name, value):
        arrays[name] = value
        return value

    def linear(x, name):
        return keep(name, x @ w[name + ".weight"].T + w.get(name + ".bias", 0))

    def norm(x, name):
        mean_square = (x * x).mean(-1, keepdims=True)
        return keep(name, x / np.sqrt(mean_square + eps) * w[name + ".weight"])

    exponent = np.arange(0, head_dim, 2).astype(np.longdouble) / head_dim
    frequency = np.longdouble(spec["rope_theta"]) ** -exponent
    if "llama3" in spec:
        s = spec["llama3"]
        context = s["original_max_position_embeddings"]
        low, high = s["low_freq_factor"], s["high_freq_factor"]
        turns = context * frequency / (2 * np.longdouble(np.pi))
        # np.pi is a double, but `turns` only weighs the ramp: 1e-16 is enough.
        ramp = np.clip((turns - low) / (high - low), 0, 1)
        assert 0 in ramp and 1 in ramp and any((0 < ramp) & (ramp < 1))
        frequency = frequency * (ramp + (1 - ramp) / s["factor"])
    attention_factor = np.longdouble(1)
    if "yarn" in spec:
        s = spec["yarn"]
        attention_factor += np.log(np.longdouble(s["factor"])) / 10

        def pair_that_turns(times):
            context = s["original_max_position_embeddings"]
            turns = context / (times * 2 * math.pi)
            return head_dim * math.log(turns) / (2 * math.log(spec["rope_theta"]))

        low = max(math.floor(pair_that_turns(32)), 0)
        high = min(math.ceil(pair_that_turns(1)), head_dim - 1)
        pairs = np.arange(head_dim // 2).astype(np.longdouble)
        ramp = np.clip((pairs - low) / (high - low), 0, 1)
        assert 0 in ramp and 1 in ramp and any((0 < ramp) & (ramp < 1))
        frequency = frequency * (1 - ramp + ramp / s["factor"])
    angle = np.arange(n)[:, None, None] * frequency

    def rope(x):
        a, b = x[..., : head_dim // 2], x[..., head_dim // 2 :]
        c = attention_factor * np.cos(angle)
        s = attention_factor * np.sin(angle)
        return np.concatenate([a * c - b * s, b * c + a * s], -1)

    def project_heads(x, name, count):
        return linear(x, name).reshape(n, count, head_dim)

    x = keep("hidden_states.0", w["model.embed_tokens.weight"][tokens])
    for layer in range(spec["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        h = norm(x, p + "input_layernorm")
        q = project_heads(h, p + "self_attn.q_proj", heads)
        k = project_heads(h, p + "self_attn.k_proj", kv_heads)
        v = project_heads(h, p + "self_attn.v_proj", kv_heads)
        if spec["model_type"] == "qwen3":
            q = norm(q, p + "self_attn.q_norm")
            k = norm(k, p + "self_attn.k_norm")
        q, k = rope(q), rope(k)
        out = np.zeros_like(q)
        probabilities = np.zeros((heads, n, n), np.longdouble)
        for head in range(heads):
            group = head // (heads // kv_heads)
            for i in range(n):
                score = k[: i + 1, group] @ q[i, head]
                score = score / np.sqrt(np.longdouble(head_dim))
                e = np.exp(score - score.max())
                probabilities[head, i, : i + 1] = e / e.sum()
                out[i, head] = probabilities[head, i] @ v[:, group]
        keep(p + "self_attn.attention_weights", probabilities)
        h = keep(p + "self_attn.o_proj.input", out.reshape(n, -1))
        x = x + linear(h, p + "self_attn.o_proj")
        keep(p + "post_attention_layernorm.input", x)
        h = norm(x, p + "post_attention_layernorm")
        gate = linear(h, p + "mlp.gate_proj")
        h = gate / (1 + np.exp(-gate)) * linear(h, p + "mlp.up_proj")
        keep(p + "mlp.down_proj.input", h)
        x = x + linear(h, p + "mlp.down_proj")
        keep(f"hidden_states.{layer + 1}", x)
    x = keep("final_norm", norm(x, "model.norm"))
    tied = spec.get("tie_word_embeddings", False)
    keep("logits", linear(x, "model.embed_tokens" if tied else "lm_head"))
    return arrays


def difference(actual, expected):
    """Largest difference over the largest value, the worst of all arrays."""
    return max(
        float(abs(value - expected[name]).max() / abs(expected[name]).max())
        for name, value in actual.items()
    )


def make(name, spec, seed, root):
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = transformers.AutoModelForCausalLM.from_config(make_config(spec))
    randomize(model, seed)
    if spec.get("stored") == "fp8":
        for key, parameter in model.named_parameters():
            if is_fp8(key):
                parameter.data.copy_(dequantized(*quantized(parameter.data)))
    model.to(spec.get("dtype", torch.float32)).save_pretrained(
        folder, max_shard_size=spec.get("max_shard_size", "1GB")
    )
    (folder / "generation_config.json").unlink(missing_ok=True)
    if spec.get("classic_config"):
        use_classic_config(folder)
    if spec.get("own_head"):
        # What the file has beats what its config says.
        path = folder / "config.json"
        config = json.loads(path.read_text())
        config["tie_word_embeddings"] = True
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

    # From the files: the reference is of what a reader finds in them.
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager"
    ).eval()
    ops = spec.get("ops", True)
    as_is = capture(model, PROMPT, ops)
    with float64_throughout():
        # RoPE keeps its inverse frequencies from when it was made.
        rope_type = type(model.model.rotary_emb)
        model.model.rotary_emb = rope_type(model.config)
        arrays = capture(model, PROMPT, ops)
    textbook = textbook_forward(spec, folder, PROMPT)
    agreement = difference(arrays, textbook)
    float32_steps = difference(as_is, textbook)
    # Some hundred roundings of 1e-16; float32 in one step would show as 1e-7.
    assert agreement < 1e-13, (name, agreement)
    assert float32_steps > 1e-9, (name, float32_steps)
    if "stored" in spec:
        store_otherwise(folder, spec["stored"])

    listing, offset = {}, 0
    with open(folder / "expected.f64", "wb") as file:
        for key, value in arrays.items():
            assert value.dtype == np.float64 and np.isfinite(value).all(), key
            listing[key] = {"shape": list(value.shape), "offset": offset}
            file.write(value.astype("<f8").tobytes())
            offset += value.size
    expected = {
        "made_by": "tools/make_reference_fixtures.py",
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "safetensors": safetensors.__version__,
            "numpy": np.__version__,
        },
        "seed": seed,
        "relative_difference": {
            "to_long_double_textbook": float(f"{agreement:.2g}"),
            "without_float64_throughout": float(f"{float32_steps:.2g}"),
        },
        "tokens": PROMPT,
        "arrays": listing,
    }
    text = json.dumps(expected, indent=1)
    # One line per array rather than one per number.
    for entry in listing.values():
        tall = json.dumps(entry, indent=1).replace("\n", "\n  ")
        text = text.replace(tall, json.dumps(entry))
    (folder / "expected.json").write_text(text + "\n")
    for path in folder.iterdir():
        path.chmod(0o644)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{name}: {size} bytes, {agreement:.2g} from the textbook, ", end="")
    print(f"{float32_steps:.2g} if transformers' float32 steps were left in")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="where to write")
    parser.add_argument("--only", nargs="*", help="these variants")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for seed, (name, spec) in enumerate(VARIANTS.items(), start=1):
        if arguments.only is None or name in arguments.only:
            make(name, spec, seed, arguments.folder)


if __name__ == "__main__":
    main()
