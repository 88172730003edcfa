#!/usr/bin/env python3
"""Compares the tokenizer with Hugging Face's, text by text.

    pip install tokenizers==0.23.3 transformers gguf
    ./bazelw build //tests/model/tokenizer:tokenizer_probe
    python3 tools/compare_tokenizer.py \\
        bazel-bin/tests/model/tokenizer/tokenizer_probe MODEL...

A MODEL is a folder with a tokenizer.json, or a .gguf file; of the latter a
tokenizer is made of the tokens and merges in it and the steps that Hugging Face
publishes for that kind of model. Ids must be equal, and so must be the bytes that
they stand for and the normalized text; and, where the chat template is ChatML, so
must be the prompts that transformers makes with it of one message. For each model it prints the number of
texts, tokens and differences, and a name of all ids, which is the same for two
models whose ids are. Fails if any differ.
"""

import argparse
import hashlib
import json
import pathlib
import random
import subprocess
import sys
import time

import gguf
import transformers
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIKTOKEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = TIKTOKEN % r"\p{N}"
LLAMA3 = TIKTOKEN % r"\p{N}{1,3}"
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def steps(kind):
    """Normalizer, pre-tokenizer and ignore_merges of a kind of model."""

    def split(pattern):
        return pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )

    if kind == "qwen2":
        return normalizers.NFC(), split(QWEN2), False
    if kind == "llama-bpe":
        return None, split(LLAMA3), True
    if kind == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        return None, pre_tokenizers.Sequence([digits, words]), False
    sys.exit(f"no steps are known for {kind}")


def make_tokenizer(kind, vocab, merges, added, prefix=None):
    """`added` are (content, special), `prefix` a token put before each text."""
    normalizer, pre_tokenizer, ignore_merges = steps(kind)
    tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(
        [AddedToken(text, special=special, normalized=False) for text, special in added]
    )
    if prefix:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{prefix} $A",
            special_tokens=[(prefix, tokenizer.token_to_id(prefix))],
        )
    return tokenizer


def from_gguf(path):
    fields = gguf.GGUFReader(path).fields
    value = lambda key: fields["tokenizer.ggml." + key].contents()
    tokens, types = value("tokens"), value("token_type")
    added = {i for i, kind in enumerate(types) if kind in (3, 4)}
    kind = value("pre")
    # SmolLM2's tokenizer.json has the special tokens in the vocabulary too; the
    # others' have them behind it.
    vocab = {
        text: i
        for i, text in enumerate(tokens)
        if types[i] == 1 or (i in added and kind == "smollm")
    }
    merges = [tuple(merge.split(" ")) for merge in value("merges")]
    prefix = None
    key = "tokenizer.ggml.add_bos_token"
    if fields[key].contents() if key in fields else kind == "llama-bpe":
        prefix = tokens[value("bos_token_id")]
    tokenizer = make_tokenizer(
        kind, vocab, merges, [(tokens[i], types[i] == 3) for i in sorted(added)], prefix
    )
    for i in added:
        assert tokenizer.token_to_id(tokens[i]) == i, tokens[i]
    return tokenizer


def open_model(path):
    if path.is_dir():
        return Tokenizer.from_file(str(path / "tokenizer.json"))
    return from_gguf(path)


MULTILINGUAL = """\
The quick brown fox jumps over the lazy dog. I'm, you're, we'VE, she'LL, it\u2019s!
Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich – „schön“.
Voix ambiguë d'un cœur qui, au zéphyr, préfère les jattes de kiwis. C'est l'été.
Съешь же ещё этих мягких французских булок, да выпей чаю; їжак, ґанок.
中文分词测试,今天天气很好。我们在2024年12月31日见面!价格是¥1,234.56元。
日本語のテキスト:カタカナ、ひらがな、漢字。がぎぐげご ﾊﾝｶｸ ｶﾞ 東京都
한국어 텍스트 처리 시험입니다. 각 낱말 ᄒ\u1161\u11ab 가 ᄀ\u1161\u11a8
مرحبا بالعالم! كيف حالك؟ ١٢٣٤٥ لُغَة العَرَبِيَّة
שלום עולם נִיקּוּד 12:30 नमस्ते दुनिया क़ख़ग़ १२३ தமிழ் ไทยภาษา ๑๒๓ ଓଡ଼ିଆ
🤔👩\u200d🚀👨\u200d👩\u200d👧\u200d👦🏳️\u200d🌈🇩🇪👍🏽 ☃ ½ ² Ⅷ ᾀ ﬁ ſt \u212b \u2126 e\u0301 \u1e9b\u0323
for (int i = 0; i < 100'000; ++i) { x[i] += 0xFFu; }\t// \u00b5s\r\n\r\n\tdef f(x):\n\t\treturn x**2
SELECT * FROM "t" WHERE a>=3.14e-10 AND b<>'it''s'; --\n<html lang='en'>&nbsp;</html>
"""


def random_texts(rng, specials):
    spaces = [chr(c) for c in CODE_POINTS if chr(c).isspace()]
    plain = list("abcXYZ'sTREvelLDmM  \n\r\t0123.,;:!?-\u017f\u212a") + spaces
    nfc, nfd = normalizers.NFC().normalize_str, normalizers.NFD().normalize_str
    active = [
        chr(c)
        for c in CODE_POINTS
        if nfd(chr(c)) != chr(c) or nfd("a\u0345" + chr(c) + "\u0334") != "a\u0345" + chr(c) + "\u0334"
    ]
    active += [part for c in active for part in nfd(c)]
    lines = MULTILINGUAL.splitlines(keepends=True)
    words = MULTILINGUAL.split()
    for number in range(60000):
        kind = number % 6
        if kind == 0:
            pool = plain
        elif kind == 1:
            pool = [chr(c) for c in rng.sample(CODE_POINTS, 40)] + plain
        elif kind == 2:
            pool = rng.sample(active, 25) + [nfc(c) for c in rng.sample(active, 5)] + ["a", "\u0301"]
        elif kind == 3:
            pool = words + ["'ſ", "'LL", " ", "  ", "\n", "\r\n", "\u3000", "12345", "٣"]
        elif kind == 4:
            pool = rng.sample(lines, 4) + specials + specials[:4] + [" ", "e", "\u0301", "<|", "|>"]
        else:
            pool = [chr(rng.randrange(32)) for _ in range(8)] + ["\x7f", "\x85", "x", "1", " "]
        yield "".join(rng.choice(pool) for _ in range(rng.randint(1, 24)))


def texts(specials):
    rng = random.Random(20240229)
    yield from ["", " ", "\n", "\u0301", "a" * 20000, "ab" * 10000, " " * 5000 + "x"]
    yield from ["1" * 4000, "\n" * 999 + " " * 999 + "\r\n", "é" * 5000, "汉" * 5000]
    yield from ["".join(rng.choice("etaoinshrdlu") for _ in range(20000))]
    yield from MULTILINGUAL.splitlines(keepends=True)
    yield MULTILINGUAL * 20
    for pattern in ("docs/*.md", "model/*/*.cc", "tools/*.py"):
        for path in sorted(ROOT.glob(pattern)):
            yield path.read_text(errors="ignore")
    for begin in range(0, len(CODE_POINTS), 64):
        group = map(chr, CODE_POINTS[begin : begin + 64])
        yield "".join(f"a{c} {c}b'{c}1{c}\n{c}{c}" for c in group)
    for begin in range(0, 0x2200, 32):
        group = map(chr, range(begin, begin + 32))
        yield "".join(f"x'r{c} y'V{c}'l{c}'{c}e'{c}Lz" for c in group)
    yield from random_texts(rng, specials)


def compare(probe, path):
    tokenizer = open_model(path)
    tokenizer.no_truncation()
    added = tokenizer.get_added_tokens_decoder().values()
    specials = [token.content for token in added]
    inputs = list(texts(specials))
    begin = time.time()
    run = subprocess.run(
        [probe, path],
        input="\n".join(map(json.dumps, inputs)) + "\n",
        capture_output=True,
        text=True,
    )
    if run.returncode:
        sys.exit(run.stderr)
    ours = list(map(json.loads, run.stdout.splitlines()))
    assert len(ours) == len(inputs)
    differ, tokens, dropped, changed = [], 0, 0, 0
    digest = hashlib.sha256()
    normalize = tokenizer.normalizer.normalize_str if tokenizer.normalizer else str
    prefix = len(tokenizer.encode("").ids)
    for first in range(0, len(inputs), 1000):
        batch = tokenizer.encode_batch(inputs[first : first + 1000])
        for i, theirs in enumerate(batch, first):
            found, text = ours[i], inputs[i]
            tokens += len(theirs.ids)
            dropped += found["dropped"]
            changed += found["normalized"]
            digest.update(json.dumps(found["ids"]).encode())
            equal = found["ids"] == theirs.ids
            if found["dropped"] == 0 and not any(s in text for s in specials):
                normal = normalize(text)
                head = tokenizer.decode(theirs.ids[:prefix], skip_special_tokens=False)
                equal &= bytes.fromhex(found["bytes"]).decode() == head + normal
                equal &= found["normalized"] == (normal != text)
            if not equal:
                differ.append((text, theirs.ids, found))
    print(
        f"{path}: {len(inputs)} texts, {tokens} tokens, {len(differ)} differences; "
        f"{changed} texts changed by NFC, {dropped} bytes without a token; ids "
        f"{digest.hexdigest()[:16]}; {time.time() - begin:.0f} s\n{run.stderr}",
        flush=True,
    )
    for text, theirs, found in differ[:5]:
        print(ascii(text[:200]), theirs[:40], str(found)[:400], sep="\n  ")
    return len(differ)


def chat_template(path):
    if path.is_dir():
        config = json.loads((path / "tokenizer_config.json").read_text())
        return config.get("chat_template")
    field = gguf.GGUFReader(path).fields.get("tokenizer.chat_template")
    return field and field.contents()


def compare_chat(probe, path):
    template = chat_template(path)
    if template is None:
        return 0
    inputs = ["", "Hello", " a\n b \n", "{{ x }} <|im_end|>", *MULTILINGUAL.splitlines()]
    run = subprocess.run(
        [probe, "--chat", path],
        input="\n".join(map(json.dumps, inputs)) + "\n",
        capture_output=True,
        text=True,
    )
    if run.returncode:
        print(f"{path}: {run.stderr}")
        return "<|im_start|>" in template
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=open_model(path), chat_template=template
    )
    theirs = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}],
            add_generation_prompt=True,
            tokenize=False,
        )
        for text in inputs
    ]
    ours = list(map(json.loads, run.stdout.splitlines()))
    differ = sum(a != b for a, b in zip(ours, theirs, strict=True))
    print(f"{path}: {len(inputs)} prompts, {differ} differences; {ascii(ours[1])}\n")
    return differ


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("probe")
    parser.add_argument("models", nargs="+", type=pathlib.Path, metavar="MODEL")
    args = parser.parse_args()
    differ = 0
    for path in args.models:
        differ += compare_chat(args.probe, path) + compare(args.probe, path)
    if differ:
        sys.exit("there are differences")


if __name__ == "__main__":
    main()
