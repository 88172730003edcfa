#!/usr/bin/env python3
"""Writes a small Qwen2 checkpoint of many layers, with weights drawn at random.

tools/make_deep_model.py LAYERS FOLDER

For measuring how the program's time and memory grow with layers. The shape is
that of synthetic:tiny; the weights mean nothing.
"""

import json
import pathlib
import struct
import sys

import numpy as np

HIDDEN, WIDTH, HEADS, KV_HEADS, HEAD, VOCABULARY = 64, 160, 4, 2, 16, 300


def shapes(layers):
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{prefix}{name}.weight", (HIDDEN,)
        for name, rows in (("q_proj", HEADS * HEAD), ("k_proj", KV_HEADS * HEAD),
                           ("v_proj", KV_HEADS * HEAD)):
            yield f"{prefix}self_attn.{name}.weight", (rows, HIDDEN)
            yield f"{prefix}self_attn.{name}.bias", (rows,)
        yield f"{prefix}self_attn.o_proj.weight", (HIDDEN, HEADS * HEAD)
        for name, shape in (("gate_proj", (WIDTH, HIDDEN)),
                            ("up_proj", (WIDTH, HIDDEN)),
                            ("down_proj", (HIDDEN, WIDTH))):
            yield f"{prefix}mlp.{name}.weight", shape
    yield "model.norm.weight", (HIDDEN,)


def main():
    layers, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    rng = np.random.default_rng(layers)
    header, parts, end = {}, [], 0
    for name, shape in shapes(layers):
        values = rng.standard_normal(shape)
        values = 1 + 0.1 * values if "norm" in name else (
            values / np.sqrt(shape[-1]) if len(shape) > 1 else 0.1 * values)
        bits = (values.astype(np.float32).view(np.uint32) >> 16).astype("<u2")
        parts.append(bits.tobytes())
        header[name] = {"dtype": "BF16", "shape": list(shape),
                        "data_offsets": [end, end + len(parts[-1])]}
        end += len(parts[-1])
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(
        struct.pack("<Q", len(text)) + text + b"".join(parts))
    (folder / "config.json").write_text(json.dumps({
        "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"],
        "hidden_size": HIDDEN, "intermediate_size": WIDTH,
        "num_hidden_layers": layers, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "vocab_size": VOCABULARY,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-6,
        "rope_theta": 1e6, "tie_word_embeddings": True,
        "torch_dtype": "bfloat16", "eos_token_id": 2}, indent=1))


if __name__ == "__main__":
    main()
