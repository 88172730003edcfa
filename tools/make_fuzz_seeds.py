#!/usr/bin/env python3
"""Writes inputs to begin fuzzing with: python3 tools/make_fuzz_seeds.py FOLDER

A folder for each target of tests/fuzz, with small files of its kind: cut from
the fixtures of tests/testdata, from docs/, and from what the program writes
(bazel-bin/explorer/app/explorer). tools/fuzz.py turns them, and what was found,
into tests/fuzz/corpus.
"""

import hashlib
import io
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "testdata"
EXPLORER = ROOT / "bazel-bin" / "explorer" / "app" / "explorer"
GGUF_UINT32, GGUF_FLOAT, GGUF_STRING, GGUF_ARRAY = 4, 6, 8, 9


class Seeds:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def add(self, target, data):
        if isinstance(data, str):
            data = data.encode()
        folder = self.folder / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def safetensors(tensors):
    """{name: (dtype, shape, size in bytes)}, of bytes that count."""
    header, end = {}, 0
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [end, end + size],
        }
        end += size
    text = json.dumps(header, separators=(",", ":")).encode()
    data = bytes(i % 61 for i in range(end))
    return struct.pack("<Q", len(text)) + text + data


def text_of(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(value)) + value


def value_of(value):
    """A metadata value, with its type."""
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", GGUF_UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", GGUF_FLOAT, value)
    if isinstance(value, list):
        elements = [value_of(element) for element in value]
        return struct.pack("<I", GGUF_ARRAY) + elements[0][:4] + struct.pack(
            "<Q", len(value)
        ) + b"".join(element[4:] for element in elements)
    return struct.pack("<I", GGUF_STRING) + text_of(value)


def gguf(values, tensors=()):
    """Values by key; tensors are (name, dimensions, ggml type, size)."""
    file = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    for key, value in values.items():
        file += text_of(key) + value_of(value)
    offset = 0
    for name, dimensions, kind, size in tensors:
        file += text_of(name) + struct.pack("<I", len(dimensions))
        file += struct.pack(f"<{len(dimensions)}Q", *dimensions)
        file += struct.pack("<IQ", kind, offset)
        offset += (size + 31) // 32 * 32
    if tensors:
        file += bytes(-len(file) % 32) + bytes(i % 61 for i in range(offset))
    return file


def gguf_model(arch, hidden, kind, block, block_bytes, more=()):
    """A model of one layer, whose matrices are of that type."""
    values = {
        "general.architecture": arch,
        f"{arch}.embedding_length": hidden,
        f"{arch}.feed_forward_length": hidden,
        f"{arch}.block_count": 1,
        f"{arch}.attention.head_count": 2,
        f"{arch}.attention.head_count_kv": 1,
        f"{arch}.context_length": 16,
        f"{arch}.attention.layer_norm_rms_epsilon": 1e-5,
        **dict(more),
    }
    half = hidden // 2
    sizes = {
        "token_embd.weight": [hidden, 3],
        "output_norm.weight": [hidden],
        "blk.0.attn_norm.weight": [hidden],
        "blk.0.ffn_norm.weight": [hidden],
        "blk.0.attn_q.weight": [hidden, hidden],
        "blk.0.attn_k.weight": [hidden, half],
        "blk.0.attn_v.weight": [hidden, half],
        "blk.0.attn_output.weight": [hidden, hidden],
        "blk.0.ffn_gate.weight": [hidden, hidden],
        "blk.0.ffn_up.weight": [hidden, hidden],
        "blk.0.ffn_down.weight": [hidden, hidden],
    }
    if arch == "qwen3":
        sizes["blk.0.attn_q_norm.weight"] = [half]
        sizes["blk.0.attn_k_norm.weight"] = [half]
    tensors = []
    for name, dimensions in sizes.items():
        elements = 1
        for n in dimensions:
            elements *= n
        if len(dimensions) == 1:
            tensors.append((name, dimensions, 0, 4 * elements))
        else:
            size = elements // block * block_bytes
            tensors.append((name, dimensions, kind, size))
    return gguf(values, tensors)


def add_models(seeds):
    seeds.add("gguf", gguf_model("llama", 4, 0, 1, 4))
    seeds.add("gguf", gguf_model("qwen2", 8, 1, 1, 2))
    yarn = [
        ("qwen3.rope.scaling.type", "yarn"),
        ("qwen3.rope.scaling.factor", 4.0),
        ("qwen3.rope.scaling.original_context_length", 8),
        ("qwen3.rope.freq_base", 1e6),
        ("tokenizer.ggml.eos_token_id", 1),
    ]
    seeds.add("gguf", gguf_model("qwen3", 4, 30, 1, 2, yarn))
    # Types of blocks; q of two heads of 16.
    for kind, size in [(2, 18), (3, 20), (6, 22), (7, 24), (8, 34), (20, 18), (39, 17)]:
        seeds.add("gguf", gguf_model("llama", 32, kind, 32, size))
    for kind, size in [(12, 144), (14, 210), (10, 84), (11, 110), (13, 176), (23, 136)]:
        seeds.add("gguf", gguf({"general.architecture": "llama"},
                               [("token_embd.weight", [256, 1], kind, size)]))
    two = ["F32", [2, 4], 32]
    seeds.add("safetensors", safetensors({"model.embed_tokens.weight": two,
                                          "a": ("BF16", [3], 6)}))
    seeds.add("safetensors", safetensors({
        "model.layers.0.self_attn.qkv_proj.weight": ("F16", [6, 4], 48),
        "model.layers.0.mlp.gate_up_proj.weight": ("BF16", [4, 4], 32)}))
    seeds.add("safetensors", safetensors({
        "language_model.model.embed_tokens.weight": two,
        "language_model.lm_head.weight": two, "i": ("I64", [1], 8)}))
    seeds.add("safetensors", safetensors({
        "w": ("F8_E4M3", [2, 128], 256), "w_scale_inv": ("F32", [1, 1], 4),
        "v": ("F8_E4M3", [1, 3], 3), "v_scale_inv": ("BF16", [1, 1], 2)}))
    seeds.add("safetensors_index", json.dumps({
        "metadata": {"total_size": 24},
        "weight_map": {"v": "a.safetensors", "w": "a.safetensors"}}))
    index = DATA / "reference/qwen3_sharded/model.safetensors.index.json"
    seeds.add("safetensors_index", index.read_bytes())
    for path in sorted(DATA.glob("*/*/config.json")):
        seeds.add("config", path.read_bytes())


# Few enough tokens that a change meets one of them.
def cut_vocabulary(vocabulary, size):
    return {text: id for text, id in vocabulary.items() if id < size}


def add_tokenizers(seeds):
    most = 300
    for name in ["qwen2", "llama3", "smollm"]:
        tokenizer = json.loads((DATA / f"tokenizer/{name}/tokenizer.json").read_text())
        model = tokenizer["model"]
        model["vocab"] = cut_vocabulary(model["vocab"], most)
        model["merges"] = [
            merge for merge in model["merges"]
            if all(part in model["vocab"] for part in [*merge, "".join(merge)])
        ]
        seeds.add("tokenizer_json", json.dumps(tokenizer, separators=(",", ":")))
        tokens = sorted(model["vocab"], key=model["vocab"].get)
        added = [token["content"] for token in tokenizer["added_tokens"]]
        pre = {"qwen2": "qwen2", "llama3": "llama-bpe", "smollm": "smollm"}[name]
        seeds.add("tokenizer_gguf", gguf({
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": pre,
            "tokenizer.ggml.tokens": tokens + added,
            "tokenizer.ggml.token_type": [1] * len(tokens) + [3] * len(added),
            "tokenizer.ggml.merges": [" ".join(merge) for merge in model["merges"]],
            "tokenizer.ggml.bos_token_id": len(tokens),
            "tokenizer.ggml.eos_token_id": len(tokens),
            "tokenizer.chat_template": "<|im_start|>{{ messages[0].content }}<|im_end|>",
        }))
    files = DATA / "tokenizer/qwen2_files"
    vocabulary = cut_vocabulary(json.loads((files / "vocab.json").read_text()), 200)
    merges = [
        line for line in (files / "merges.txt").read_text().split("\n")
        if line.count(" ") == 1
        and all(part in vocabulary for part in [*line.split(), line.replace(" ", "")])
    ]
    config = (files / "tokenizer_config.json").read_text()
    generation = (DATA / "tokenizer/qwen2/generation_config.json").read_text()
    template = "{% for message in messages %}<|im_start|>{% endfor %}"
    vocab = json.dumps(vocabulary, separators=(",", ":"))
    for parts in [[config, vocab, "\n".join(["#version: 0.2", *merges])],
                  [config, vocab, "\n".join(merges), generation, template]]:
        seeds.add("tokenizer_files", "\0".join(parts))
    templates = [(files / "chat_template.jinja").read_text(),
                 (DATA / "tokenizer/llama3/chat_template.jinja").read_text()]
    for name in ["qwen2", "smollm"]:
        config = json.loads((DATA / f"tokenizer/{name}/tokenizer_config.json").read_text())
        templates.append(config["chat_template"])
    for template in templates:
        seeds.add("chat_template", template)
    lines = (DATA / "tokenizer/texts.jsonl").read_text().split("\n")
    for line in filter(None, lines[::29]):
        seeds.add("text", json.loads(line)["text"][:200])
    seeds.add("prompts", '{"text": "Hello", "name": "a"}\n{"tokens": [1, 2, 3]}\n')
    seeds.add("prompts", '\n{"tokens": [699]}\n\n{"text": "\\u00e9 e\\u0301<|im_end|>"}')
    seeds.add("prompts", "def mean(x): return sum(x) / len(x)\n")


def npy(descr, shape, data, version=1):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    size = 2 if version == 1 else 4
    header += " " * (-(len(header) + 9 + size) % 64) + "\n"
    return (b"\x93NUMPY" + bytes([version, 0])
            + len(header).to_bytes(size, "little") + header.encode() + data)


def add_traces(seeds):
    arrays = [npy("<f4", (3, 6), bytes(72)), npy(">f8", (2,), bytes(16), 2),
              npy("|u1", (), b"\1"), npy("<i8", (3,), bytes(24), 3),
              npy("<f2", (1, 2, 3), bytes(12))]
    for array in arrays:
        seeds.add("npy", array)
    seeds.add("npy", struct.pack("<i2f", 2, 1, 2))
    for path in sorted((DATA / "trace").glob("*.npz")):
        seeds.add("npz", path.read_bytes())
    for method in [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            for i, array in enumerate(arrays):
                with archive.open(f"hidden_states.{i}.npy", "w",
                                  force_zip64=i == 0) as member:
                    member.write(array)
        seeds.add("npz", file.getvalue())
    state = ("F32", [3, 6], 72)
    layer = "model.layers.0."
    seeds.add("trace", safetensors({
        "input_ids": ("I64", [3], 24), "hidden_states.0": state,
        "hidden_states.1": ("BF16", [1, 3, 6], 36), "hidden_states.2": state}))
    seeds.add("trace", safetensors({
        "hidden_states": ("F64", [3, 3, 6], 432),
        layer + "self_attn.qkv_proj": ("F16", [1, 3, 16], 96),
        layer + "mlp.gate_up_proj": ("F32", [3, 20], 240),
        layer + "hidden_states": state, layer + "residual": state}))
    seeds.add("trace", safetensors({
        "input_ids": ("I32", [2, 3], 24), "hidden_states.1": ("F32", [2, 3, 6], 144),
        "logits": ("F16", [2, 1, 12], 48),
        layer + "self_attn.q_rope": ("F32", [2, 2, 3, 4], 192),
        layer + "self_attn.k_rope": ("F32", [2, 1, 3, 4], 96),
        layer + "self_attn.attention_scores": ("F32", [2, 2, 3, 3], 144)}))
    seeds.add("trace", safetensors({
        "l_out-0": state, "Qcur-0": ("F32", [3, 8], 96), "result_norm": state,
        "inp_tokens": ("I32", [3], 12), "Kcur-0.2": ("F32", [3, 4], 48)}))
    seeds.add("mapping", "h.{i} = hidden_states.{i}\na = -\n# nothing\n"
              "tokens = input_ids\n")
    seeds.add("mapping", "block.{i}.attn = + model.layers.{i}\n"
              "h.{i} = + model.layers.{i-1}\nstacked = hidden_states.{n+1}\n")
    seeds.add("mapping", "fused.{i} = model.layers.{i}.self_attn.q_proj, "
              "model.layers.{i}.self_attn.k_proj,model.layers.{i}.self_attn.v_proj\n"
              "h.{i} = ? ~ model.layers.{i}.self_attn.q_rope\n")
    source = (ROOT / "model/trace/built_in_mappings.cc").read_text()
    for rules in re.findall(r'R"\w*\((.*?)\)\w*"', source, re.S):
        seeds.add("mapping", rules)


def add_plans(seeds):
    source = (ROOT / "model/architecture/plan_presets.cc").read_text()
    for name in re.findall(r'^    \{"([^"]+)"', source, re.M):
        seeds.add("plan", name)
    for plan in ["matmul=bf16,softmax=f32,down_proj@2-3=kahan",
                 "preset=torch-bf16,attention=fa2(64),qk@1=tc_h100",
                 "vllm-h100-fp8,attention@2-4=sdpa,kv=f16,lm_head=f64",
                 "matmul=f32,kahan,bf16;rmsnorm=f32,kahan;softmax@1=f32,bf16",
                 "rel_l2<=1e-3", "kl<=0.5"]:
        seeds.add("plan", plan)
    seeds.add("lists", "# plans\nf32\n  torch-bf16 \n\nmatmul=kahan\r\nf32\n"
              "down_proj@2-3=bf16")
    seeds.add("lists", "synthetic:tiny\n/a/b.gguf\nc/b.gguf/\n..\n")
    for flags in [["--sweep", "--axes=matmul=f32,bf16", "--layers=1-2", "--seeds=3"],
                  ["--plan=torch-bf16", "--tokens=1,2,3", "--window=2", "--stride=1"],
                  ["--attribute", "--on=token", "--budget=kl<=0.1", "--memory=50%"],
                  ["--diagnose", "--reference=a", "--row=1", "--mapping=llama.cpp"],
                  ["--generate=4", "--prompt=Hello", "--nochat", "--threads=2"],
                  ["--compare=a", "--with=b", "--gate=c", "-o", "json"],
                  ["--tune", "--retune", "--timing-seconds=0.5", "--wisdom=none"],
                  ["--dump_trace=a", "--last_state=raw", "--token=7"],
                  ["--help", "--sweep"]]:
        seeds.add("flags", "\n".join(flags))
    gates = re.findall(r"^(?:table|plan)=.*(?:<|>|==).*$",
                       (ROOT / "docs/results.md").read_text(), re.M)
    for gate in [*gates, "plan=f32 bits == base", "plan=* layer=2 rel_l2 < 1e-3",
                 "table=layers tokens=prompt rel_l2 <= 1.02 x base # changed",
                 "plan=* decode_tokens_per_second >= 0.95 x base",
                 "cpu=* plan=*=* kl_nats > 0"]:
        seeds.add("gate", gate)


# A row or two of each table, which is all that a reader needs to see.
def cut_results(results):
    for name, rows in results.items():
        if isinstance(rows, list):
            results[name] = rows[:1]
            for row in results[name]:
                for key, value in row.items():
                    if isinstance(value, list):
                        row[key] = value[:2]
    return json.dumps(results, separators=(",", ":"))


def add_written(seeds):
    """What the program writes."""
    with tempfile.TemporaryDirectory() as folder:
        def run(*arguments):
            subprocess.run([EXPLORER, *arguments], check=True, cwd=folder,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        folder = pathlib.Path(folder)
        model = ["--model=synthetic:tiny", "--wisdom=none"]
        short = [*model, "--tokens=3", "--timing_seconds=0"]
        run("--plan=torch-bf16", *short, "--out=plan", "--store=store")
        run("--sweep", "--axes=matmul=f32,bf16", *short, "--out=sweep",
            "--store=store")
        run("--attribute", "--plan=torch-bf16", "--on=token", *model,
            "--timing_seconds=0", "--out=attribute")
        run("--dump_trace=a.safetensors", *model, "--tokens=3")
        run("--diagnose", "--reference=a.safetensors", *model, "--out=diagnose")
        run("--plan=torch-bf16", *short, "--out=again")
        run("--compare=plan", "--with=again", "--out=compare")
        run("--tune", "--plan=f32", "--model=synthetic:tiny", "--tokens=3",
            "--timing_seconds=1", "--wisdom=wisdom.json")
        for path in sorted(folder.glob("*/results.json")):
            seeds.add("results", cut_results(json.loads(path.read_text())))
        seeds.add("wisdom", (folder / "wisdom.json").read_bytes())
        kinds = {}
        for shard in sorted((folder / "store/shards").iterdir()):
            for line in filter(None, shard.read_text().split("\n")):
                kinds.setdefault(json.loads(line)["kind"], []).append(line)
        for target in ["merge", "store"]:
            seeds.add(target, "\n".join(lines[0] for lines in kinds.values()))
            for lines in kinds.values():
                seeds.add(target, "\n".join(lines[:2]))
        meta = json.loads((folder / "store/meta.json").read_text())
        seeds.add("store", json.dumps(meta))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    seeds = Seeds(sys.argv[1])
    add_models(seeds)
    add_tokenizers(seeds)
    add_traces(seeds)
    add_plans(seeds)
    add_written(seeds)


if __name__ == "__main__":
    main()
