#!/usr/bin/env python3
"""Makes the table of docs/engines.md: how far presets are from exact
arithmetic on a text, beside what transformers computes of it.

  pip install torch transformers gguf
  tools/compare_engines.py --explorer=bazel-bin/explorer/app/explorer \\
      --model=M.gguf --prompt-file=T --window=256 --windows=2 \\
      [--presets=torch-bf16,...] [--transformers=bf16-eager,...]

The explorer's figures are against the oracle, of the weights that the file has.
transformers' are against its own float32 (eager), with weights rounded to the
type, as it runs; windows and tokens are the explorer's.
"""

import argparse
import json
import math
import os
import subprocess
import tempfile

PRESETS = ("f32,torch-bf16,torch-bf16-sdpa,torch-f16,torch-f16-sdpa,"
           "autocast-bf16,vllm-bf16,vllm-h100-bf16,vllm-h100-fp8,llama.cpp-cpu")
RUNS = "bf16-eager,bf16-sdpa,f16-eager,f16-sdpa"


def explore(arguments, folder):
    """results.json of a sweep over the presets."""
    command = [arguments.explorer, "--sweep", f"--model={arguments.model}",
               f"--axes=preset={arguments.presets}",
               f"--prompt_file={arguments.prompt_file}",
               f"--window={arguments.window}", f"--windows={arguments.windows}",
               "--timing_seconds=0", "-o", "json"]
    path = os.path.join(folder, "results.json")
    with open(path, "w", encoding="utf-8") as file:
        subprocess.run(command, check=True, stdout=file)
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def row(name, summary):
    return [name, f"{summary['perplexity']:.5f}", f"{summary['kl']:.2e}",
            f"{summary['max_kl']:.2g}", f"{summary['rms']:.4f}",
            f"{100 * summary['same_top']:.2f}"]


def rows_of_explorer(results):
    largest = {r["plan"]: r["kl_nats"] for r in results["token_percentiles"]
               if r["positions"] == "all" and r["percentile"] == "100"}
    return [row(s["plan"], {
        "perplexity": s["perplexity"], "kl": s["kl_nats"],
        "max_kl": largest[s["plan"]], "rms": s["delta_logp_rms_nats"],
        "same_top": s["same_top"]})
        for s in results["token_summaries"] if s["positions"] == "all"]


def rows_of_transformers(arguments, windows):
    import torch
    import transformers

    folder, name = os.path.split(os.path.abspath(arguments.model))

    def load(dtype, attention):
        where = {"gguf_file": name} if name.endswith(".gguf") else {}
        return transformers.AutoModelForCausalLM.from_pretrained(
            folder if where else arguments.model, dtype=dtype,
            attn_implementation=attention, **where).eval()

    def run(model):
        """Log-probabilities of the scored positions, in float64."""
        parts, tokens = [], []
        with torch.no_grad():
            for w in windows:
                ids = torch.tensor(w["window_tokens"])
                logits = model(ids[None]).logits[0].double()
                scored = slice(w["first_scored"], w["end_scored"])
                parts.append(logits.log_softmax(-1)[:-1][scored])
                tokens.append(ids[1:][scored])
        return torch.cat(parts), torch.cat(tokens)

    reference, tokens = run(load(torch.float32, "eager"))
    own = reference.gather(1, tokens[:, None])[:, 0]
    rows = [["f32", f"{math.exp(-own.mean()):.5f}", "", "", "", ""]]
    dtypes = {"bf16": torch.bfloat16, "f16": torch.float16,
              "f32": torch.float32}
    for text in arguments.transformers.split(","):
        dtype, attention = text.split("-")
        logp, _ = run(load(dtypes[dtype], attention))
        kl = (reference.exp() * (reference - logp)).sum(-1)
        theirs = logp.gather(1, tokens[:, None])[:, 0]
        same = (logp.argmax(-1) == reference.argmax(-1)).double().mean()
        rows.append(row(f"transformers {text}", {
            "perplexity": math.exp(-theirs.mean()), "kl": kl.mean().item(),
            "max_kl": kl.max().item(),
            "rms": (theirs - own).square().mean().sqrt().item(),
            "same_top": same.item()}))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--explorer", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--prompt-file", required=True)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--presets", default=PRESETS)
    parser.add_argument("--transformers", default=RUNS,
                        help="TYPE-ATTENTION,...; empty: none")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = explore(arguments, folder)
    rows = rows_of_explorer(results)
    if arguments.transformers:
        rows += rows_of_transformers(arguments, results["windows"])
    print("| | perplexity | mean KL | largest KL | RMS d | same top, % |")
    print("|--|--|--|--|--|--|")
    for cells in rows:
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
