#!/usr/bin/env python3
"""Writes tests/testdata/tokenizer: small tokenizers, texts and their ids.

    pip install tokenizers==0.23.3 transformers gguf
    python3 tools/make_tokenizer_fixtures.py QWEN2.5 QWEN3 SMOLLM2

The arguments are models (folders or .gguf files), of which only the chat
templates are taken (Apache-2.0, by the Qwen team and Hugging Face). The
vocabularies are trained here, on this repository's texts, with the steps of the
models that they are named after. In each folder NAME is a tokenizer.json and
what belongs to it; NAME.gguf has the same in metadata, and qwen2_files has
qwen2's as vocab.json and merges.txt. texts.jsonl has texts with their ids by
Hugging Face's tokenizers, and prompts.json what transformers' chat templates
make of "Hello".
"""

import json
import pathlib
import random
import sys

import gguf
import transformers
from tokenizers import models, pre_tokenizers, trainers

import compare_tokenizer
from compare_tokenizer import CODE_POINTS, MULTILINGUAL, ROOT, Tokenizer

FOLDER = ROOT / "tests" / "testdata" / "tokenizer"
VOCABULARY = 700
TEXTS = 480  # of each kind
HEADERS = (
    "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\\n\\n' + message['content'] + '<|eot_id|>' }}{% endfor %}"
)
ADDED = {
    "qwen2": [
        ("<|endoftext|>", True),
        ("<|im_start|>", True),
        ("<|im_end|>", True),
        ("<tool_call>", False),
        ("<tool_call>x", False),
    ],
    "llama-bpe": [("<|begin_of_text|>", True), ("<|eot_id|>", True)],
    "smollm": [("<|endoftext|>", True), ("<|im_start|>", True), ("<|im_end|>", True)],
}
BOS = {"qwen2": None, "llama-bpe": "<|begin_of_text|>", "smollm": "<|im_start|>"}
EOS = {"qwen2": "<|im_end|>", "llama-bpe": "<|eot_id|>", "smollm": "<|im_end|>"}
NAMES = {"qwen2": "qwen2", "llama-bpe": "llama3", "smollm": "smollm"}


def train(kind):
    """A vocabulary and its merges."""
    normalizer, pre_tokenizer, _ = compare_tokenizer.steps(kind)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    # SmolLM2's vocabulary has its special tokens first, and lacks some bytes.
    smollm = kind == "smollm"
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[text for text, _ in ADDED[kind]] if smollm else [],
        initial_alphabet=[] if smollm else pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))]
    tokenizer.train_from_iterator([*texts, *[MULTILINGUAL] * 20], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    if kind == "llama-bpe":  # some tokens that no merge makes
        used = {part for merge in merges for part in merge}
        spare = [merge for merge in merges if "".join(merge) not in used]
        merges = [merge for merge in merges if merge not in spare[::4]]
    return model["vocab"], merges


def texts(kind, specials):
    rng = random.Random(kind)
    spread = list(compare_tokenizer.random_texts(rng, specials))
    # Both sides of places where a class of characters begins or ends.
    groups = [(c.isalpha(), c.isnumeric(), c.isspace()) for c in map(chr, CODE_POINTS)]
    edges = [i for i in range(1, len(groups)) if groups[i] != groups[i - 1]]
    for i in rng.sample(edges, TEXTS // 4):
        a, b = (chr(c) for c in CODE_POINTS[i - 1 : i + 1])
        yield f"a{a}b{b} {a}'{b}1{a}{b}\n"
    yield from MULTILINGUAL.splitlines(keepends=True)
    yield from ["", " ", "\n", "a" * 300, " " * 99 + "x", "1" * 30, "\u0301"]
    yield from (text[:14] for text in rng.sample(spread, TEXTS))


def write_gguf(kind, vocab, merges, tokens, template):
    writer = gguf.GGUFWriter(FOLDER / f"{NAMES[kind]}.gguf", "llama")
    special = dict(ADDED[kind])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(kind)
    # As converters do: the rows of the embedding that no token has are padding.
    pads = [f"[PAD{i}]" for i in range(3)]
    writer.add_token_list(tokens + pads)
    kinds = [{True: 3, False: 4, None: 1}[special.get(text)] for text in tokens]
    writer.add_token_types(kinds + [5] * len(pads))
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_eos_token_id(tokens.index(EOS[kind]))
    if BOS[kind]:
        writer.add_bos_token_id(tokens.index(BOS[kind]))
    if kind == "smollm":
        writer.add_add_bos_token(False)
    writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def byte_alphabet():
    """{byte: its character}, as GPT-2 has it."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + i) for i, byte in enumerate(others)
    }


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def main():
    qwen25, qwen3, smollm2 = (
        compare_tokenizer.chat_template(pathlib.Path(path)) for path in sys.argv[1:]
    )
    templates = {"qwen2": qwen25, "llama-bpe": HEADERS, "smollm": smollm2}
    FOLDER.mkdir(exist_ok=True)
    prompts, lines = {}, []
    byte_text = byte_alphabet()
    for kind, template in templates.items():
        name = NAMES[kind]
        vocab, merges = train(kind)
        prefix = BOS[kind] if kind == "llama-bpe" else None
        tokenizer = compare_tokenizer.make_tokenizer(
            kind, vocab, merges, ADDED[kind], prefix
        )
        folder = FOLDER / name
        folder.mkdir(exist_ok=True)
        tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        config = {"bos_token": BOS[kind], "eos_token": EOS[kind]}
        if kind != "llama-bpe":
            config["chat_template"] = template
        else:
            config["eos_token"] = {"content": EOS[kind], "lstrip": False}
            (folder / "chat_template.jinja").write_text(template)
        write_json(folder / "tokenizer_config.json", config)
        size = tokenizer.get_vocab_size(with_added_tokens=True)
        tokens = [tokenizer.id_to_token(i) for i in range(size)]
        write_gguf(kind, vocab, merges, tokens, template)
        if kind == "qwen2":
            write_json(
                folder / "generation_config.json",
                {"eos_token_id": [tokens.index(t) for t in tokens[-3:-5:-1]]},
            )
            files = FOLDER / "qwen2_files"
            files.mkdir(exist_ok=True)
            (files / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
            (files / "merges.txt").write_text(
                "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges)
            )
            decoder = {
                tokens.index(text): {
                    "content": text,
                    "lstrip": False,
                    "normalized": False,
                    "rstrip": False,
                    "single_word": False,
                    "special": special,
                }
                for text, special in ADDED[kind]
            }
            config = {
                "added_tokens_decoder": decoder,
                "bos_token": None,
                "eos_token": EOS[kind],
                "tokenizer_class": "Qwen2Tokenizer",
            }
            write_json(files / "tokenizer_config.json", config)
            (files / "chat_template.jinja").write_text(qwen3)
        specials = [text for text, _ in ADDED[kind]]
        normalize = tokenizer.normalizer.normalize_str if tokenizer.normalizer else str
        for text in texts(kind, specials):
            line = {"kind": name, "text": text, "ids": tokenizer.encode(text).ids}
            # Between special tokens NFC applies to each piece.
            if not any(special in text for special in specials):
                normal = normalize(text)
                if normal != text:
                    line["normal"] = normal
                dropped = sum(byte_text[b] not in vocab for b in normal.encode())
                if dropped:
                    line["dropped"] = dropped
            lines.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")))
    for name, template in (
        ("qwen2", qwen25),
        ("qwen2_files", qwen3),
        ("smollm", smollm2),
    ):
        fast = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(FOLDER / "qwen2" / "tokenizer.json"),
            chat_template=template,
        )
        prompts[name] = fast.apply_chat_template(
            [{"role": "user", "content": "Hello"}],
            add_generation_prompt=True,
            tokenize=False,
        )
    (FOLDER / "texts.jsonl").write_text("".join(line + "\n" for line in lines))
    write_json(FOLDER / "prompts.json", prompts)
    print(len(lines), "texts")


if __name__ == "__main__":
    main()
