#!/usr/bin/env python3
"""Writes tests/testdata/gguf: GGUF files and what other code reads in them.

    pip install gguf torch transformers safetensors
    python3 tools/make_gguf_fixtures.py

quants.gguf: random blocks of each quantized type, and beside each tensor T a
tensor T.expected with the values that gguf-py dequantizes from it.

NAME.gguf, NAME.safetensors, NAME.json: a tiny random model, and the weights and
the config that transformers reads from it.
"""

import pathlib

import gguf
import numpy as np
import safetensors.torch
import torch
import transformers

FOLDER = pathlib.Path(__file__).parent.parent / "tests" / "testdata" / "gguf"
Type = gguf.GGMLQuantizationType
# Byte offsets of the f16 scales in a block.
SCALES = {
    Type.Q4_0: [0],
    Type.Q4_1: [0, 2],
    Type.Q5_0: [0],
    Type.Q5_1: [0, 2],
    Type.Q8_0: [0],
    Type.Q4_K: [0, 2],
    Type.Q6_K: [208],
    Type.Q2_K: [80, 82],
    Type.Q3_K: [108],
    Type.Q5_K: [0, 2],
    Type.IQ4_NL: [0],
    Type.IQ4_XS: [0],
    Type.MXFP4: [],  # a byte's exponent
}


def finite_half(rng):
    """Two bytes of a random finite f16: signs, zeros and subnormals too."""
    sign, exponent, mantissa = rng.integers(0, [2, 31, 1024])
    return np.array([sign << 15 | exponent << 10 | mantissa], np.uint16).view(
        np.uint8
    )


def write_quants(rng):
    writer = gguf.GGUFWriter(FOLDER / "quants.gguf", "llama")
    for kind, scales in SCALES.items():
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        rows, row_blocks = 2, 3 if elements == 256 else 8
        blocks = rng.integers(0, 256, (rows, row_blocks, size), np.uint8)
        for block in blocks.reshape(-1, size):
            for offset in scales:
                block[offset : offset + 2] = finite_half(rng)
            if kind == Type.MXFP4:
                block[0] = rng.integers(0, 250)
        raw = blocks.reshape(rows, -1)
        expected = gguf.quants.dequantize(raw, kind)
        assert expected.shape == (rows, row_blocks * elements)
        assert np.isfinite(expected).all()
        writer.add_tensor(kind.name, raw, raw_dtype=kind)
        writer.add_tensor(f"{kind.name}.expected", expected)
    finish(writer)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_model(rng, name, arch, head_dim, layers, tied, bias, qk_norm):
    hidden, inner, vocab, heads, kv_heads = 32, 32, 24, 4, 2
    writer = gguf.GGUFWriter(FOLDER / f"{name}.gguf", arch)
    writer.add_context_length(256)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500000.0)
    writer.add_eos_token_id(7)
    if head_dim * heads != hidden:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if arch == "llama":  # whose size of the vocabulary is its number of tokens
        writer.add_rope_dimension_count(head_dim)
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list([f"t{i}" for i in range(vocab)])
    else:
        writer.add_vocab_size(vocab)

    kinds = [Type.Q8_0, Type.Q4_0, Type.F16, Type.Q4_1, Type.BF16, Type.Q5_0]
    kinds += [Type.F32, Type.Q5_1]
    count = 0

    def add(tensor, *shape, kind=None):
        nonlocal count
        values = rng.standard_normal(shape).astype(np.float32)
        if kind is None:
            kind = kinds[count % len(kinds)]
            count += 1
        writer.add_tensor(
            tensor, gguf.quants.quantize(values, kind), raw_dtype=kind
        )

    add("token_embd.weight", vocab, hidden)
    add("output_norm.weight", hidden, kind=Type.F32)
    if not tied:
        add("output.weight", vocab, hidden)
    for i in range(layers):
        block = f"blk.{i}."
        add(block + "attn_norm.weight", hidden, kind=Type.F32)
        add(block + "ffn_norm.weight", hidden, kind=Type.F32)
        for part, n in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
            add(f"{block}attn_{part}.weight", n * head_dim, hidden)
            if bias:
                add(f"{block}attn_{part}.bias", n * head_dim, kind=Type.F32)
        if qk_norm:
            add(block + "attn_q_norm.weight", head_dim, kind=Type.F32)
            add(block + "attn_k_norm.weight", head_dim, kind=Type.F32)
        add(block + "attn_output.weight", hidden, heads * head_dim)
        add(block + "ffn_gate.weight", inner, hidden)
        add(block + "ffn_up.weight", inner, hidden)
        add(block + "ffn_down.weight", hidden, inner)
    finish(writer)

    config = transformers.AutoConfig.from_pretrained(
        FOLDER, gguf_file=f"{name}.gguf"
    )
    config.head_dim = head_dim  # transformers does not read qwen3.key_length
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        FOLDER,
        config=config,
        gguf_file=f"{name}.gguf",
        dtype=torch.float32,
        output_loading_info=True,
    )
    assert not info["unexpected_keys"], info
    assert set(info["missing_keys"]) <= {"lm_head.weight"}, info
    weights = {
        key: value.contiguous()
        for key, value in model.state_dict().items()
        if key != "lm_head.weight" or not tied
    }
    safetensors.torch.save_file(weights, FOLDER / f"{name}.safetensors")
    del model.config.quantization_config
    model.config.architectures = [type(model).__name__]
    model.config.to_json_file(FOLDER / f"{name}.json")


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    write_quants(np.random.default_rng(2))
    write_model(rng, "llama", "llama", 8, 2, True, False, False)
    write_model(rng, "qwen2", "qwen2", 8, 1, False, True, False)
    write_model(rng, "qwen3", "qwen3", 16, 1, False, False, True)


if __name__ == "__main__":
    main()
