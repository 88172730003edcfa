#!/usr/bin/env python3
"""Compares perplexity, log-probabilities and differences of plans with what
transformers computes of the same tokens in the same windows.

  explorer --plan=f32 --model=M.gguf --prompt-file=T -o json >results.json
  pip install torch transformers gguf
  tools/compare_perplexity.py M.gguf results.json [--plan=torch-bf16 bf16.json ...]

Prints the mean log-probability and the perplexity of both, in float32, and how
far they are apart. With --plan it also runs transformers in bfloat16 or float16
(eager, and the weights as the checkpoint has them, or rounded too), against its
own float32, and prints the figures of the explorer's results beside its own.
"""

import argparse
import json
import math
import os

import torch
import transformers


def load(path, dtype):
    folder, name = os.path.split(os.path.abspath(path))
    where = {"gguf_file": name} if name.endswith(".gguf") else {}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder if where else path, dtype=dtype, attn_implementation="eager",
        **where)
    return model.eval()


def logits_of(model, windows):
    """[window][positions, vocab] in float64."""
    with torch.no_grad():
        return [model(torch.tensor([w["window_tokens"]])).logits[0].double()
                for w in windows]


def logp_of(logits, window):
    """Of the scored positions' next tokens."""
    tokens = torch.tensor(window["window_tokens"])
    logp = logits.log_softmax(-1)[:-1].gather(1, tokens[1:, None])[:, 0]
    return logp[window["first_scored"]:window["end_scored"]]


def summary(plan, windows):
    rows = [r for r in plan["token_summaries"] if r["positions"] == "all"]
    return rows[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("results", help="of --plan=f32")
    parser.add_argument("--bf16", help="results of --plan=torch-bf16")
    parser.add_argument("--f16", help="results of --plan=torch-f16")
    arguments = parser.parse_args()
    with open(arguments.results, encoding="utf-8") as file:
        results = json.load(file)
    windows = results["windows"]
    model = load(arguments.model, torch.float32)
    reference = logits_of(model, windows)
    logp = torch.cat([logp_of(l, w) for l, w in zip(reference, windows)])
    mean = logp.mean().item()
    ours = summary(results, windows)
    print(f"{len(logp)} tokens")
    for name, theirs, mine in [
            ("mean log p", mean, ours["logp_nats"]),
            ("perplexity", math.exp(-mean), ours["perplexity"])]:
        print(f"{name}: transformers {theirs:.9f}, ulpscope {mine:.9f}, "
              f"relative {abs(mine / theirs - 1):.2e}")
    if "tokens" in results:
        own = {(r["window"], r["position"]): r["logp_nats"]
               for r in results["tokens"] if r["logp_nats"] is not None}
        worst = 0
        for w, (logits, window) in enumerate(zip(reference, windows)):
            values = logp_of(logits, window)
            for i, value in enumerate(values):
                key = (w + 1, window["first_scored"] + i)
                worst = max(worst, abs(own[key] - value.item()))
        print(f"largest difference of a token's log p: {worst:.2e}")
    for path, dtype in [(arguments.bf16, torch.bfloat16),
                        (arguments.f16, torch.float16)]:
        if path is None:
            continue
        with open(path, encoding="utf-8") as file:
            plan = summary(json.load(file), windows)
        rounded = load(arguments.model, dtype)
        # Its weights are rounded too; in float32 that alone is this much.
        for name, of in [("weights rounded too", logits_of(rounded, windows))]:
            kl, d, same = [], [], []
            for l, r, w in zip(of, reference, windows):
                log_l, log_r = l.log_softmax(-1), r.log_softmax(-1)
                kl.append((log_r.exp() * (log_r - log_l)).sum(-1)
                          [w["first_scored"]:w["end_scored"]])
                d.append(logp_of(l, w) - logp_of(r, w))
                same.append((l.argmax(-1) == r.argmax(-1)).double()
                            [w["first_scored"]:w["end_scored"]])
            kl, d, same = torch.cat(kl), torch.cat(d), torch.cat(same)
            print(f"{dtype}, {name}: mean KL {kl.mean():.3e}, largest "
                  f"{kl.max():.3e}, RMS d {d.square().mean().sqrt():.4f}, "
                  f"same top {100 * same.mean():.2f} %")
        print(f"ulpscope: mean KL {plan['kl_nats']:.3e}, RMS d "
              f"{plan['delta_logp_rms_nats']:.4f}, same top "
              f"{100 * plan['same_top']:.2f} %")


if __name__ == "__main__":
    main()
