#!/usr/bin/env python3
"""Writes tests/testdata/text/token_errors.json: logits of two runs over two windows of
tokens, and every figure of them that ulpscope has, by numpy in float64 (sums by
math.fsum) from their definitions alone.

  pip install numpy
  tools/make_token_errors_fixture.py tests/testdata/text/token_errors.json
"""

import json
import math
import sys

import numpy as np

VOCAB = 40
# [window]: positions, the first that is scored, and how many are.
WINDOWS = [(9, 0, 9), (12, 4, 12)]
PERCENTS = [100, 99.9, 99, 95, 90, 75, 50, 25, 10, 5, 1, 0.1, 0]


def log_softmax(row):
    top = row.max()
    return row - top - math.log(math.fsum(np.exp(row - top)))


def order(row):
    """Likeliest first; of equal ones the smaller id."""
    return sorted(range(len(row)), key=lambda i: (-row[i], i))


def figures(value, reference, tokens):
    """Of every position: those of TokenErrors."""
    rows = []
    for p, (v, r) in enumerate(zip(value, reference)):
        log_v, log_r = log_softmax(v), log_softmax(r)
        of_v, of_r = order(v), order(r)
        row = {
            "kl": math.fsum(np.exp(log_r) * (log_r - log_v)),
            "max_abs": np.abs(v - r).max(),
            "top10": len(set(of_v[:10]) & set(of_r[:10])) / 10,
            "top": of_v[0],
            "reference_top": of_r[0],
            "margin": r[of_r[0]] - r[of_r[1]],
            "flip_margin": r[of_r[0]] - r[of_v[0]],
            "rank": of_v.index(of_r[0]) + 1,
        }
        if p + 1 < len(tokens):
            row["logp"] = log_v[tokens[p + 1]]
            row["reference_logp"] = log_r[tokens[p + 1]]
        rows.append({name: float(x) for name, x in row.items()})
    return rows


def mean(groups):
    """A mean, and its standard errors over values and over groups."""
    values = np.concatenate(groups)
    middle = math.fsum(values) / len(values)
    error = values.std(ddof=1) / math.sqrt(len(values))
    weights = np.array([len(g) for g in groups])
    means = np.array([g.mean() for g in groups])
    n = len(groups)
    spread = weights * (means - middle)
    between = math.sqrt(math.fsum(spread**2) * n / (n - 1)) / weights.sum()
    return {"mean": middle, "token_error": float(error),
            "replicate_error": float(between)}


def rms(values):
    return math.sqrt(math.fsum(values**2) / len(values))


def summary(windows):
    """Of TokenSummary, over the scored positions."""
    def series(of):
        return [np.array([of(row) for row in scored]) for scored in windows]

    def text(of):
        return [np.array([of(row) for row in scored if "logp" in row])
                for scored in windows]

    d = text(lambda r: r["logp"] - r["reference_logp"])
    dp = text(lambda r: math.exp(r["logp"]) - math.exp(r["reference_logp"]))
    all_d, all_dp = np.concatenate(d), np.concatenate(dp)
    kl = series(lambda r: r["kl"])
    rows = [row for scored in windows for row in scored]
    flips = [r["flip_margin"] for r in rows if r["top"] != r["reference_top"]]
    logp = text(lambda r: r["logp"])
    reference = text(lambda r: r["reference_logp"])
    return {
        "positions": len(rows),
        "tokens": len(all_d),
        "kl": mean(kl),
        "logp": mean(logp),
        "reference_logp": mean(reference),
        "perplexity": math.exp(-np.concatenate(logp).mean()),
        "reference_perplexity": math.exp(-np.concatenate(reference).mean()),
        "delta_logp": mean(d),
        "delta_logp_rms": rms(all_d),
        "delta_logp_max_abs": float(np.abs(all_d).max()),
        "delta_p": mean(dp),
        "delta_p_rms": rms(all_dp),
        "k3": mean([np.expm1(x) - x for x in d]),
        "ratio": mean([np.exp(np.abs(x)) for x in d]),
        "off_by_twice": mean([(np.abs(x) > math.log(2)) * 1.0 for x in d]),
        "same_top": mean(series(lambda r: float(r["top"] == r["reference_top"]))),
        "flips": len(flips),
        "flip_margin_mean": math.fsum(flips) / len(flips),
        "flip_margin_max": max(flips),
        "worst_rank": max(r["rank"] for r in rows),
        "percentiles": [{
            "percent": p,
            # numpy's default is definition 7 of Hyndman and Fan too.
            "kl": float(np.percentile(np.concatenate(kl), p)),
            "delta_logp": float(np.percentile(all_d, p)),
            "delta_p": float(np.percentile(all_dp, p)),
        } for p in PERCENTS],
    }


def main():
    rng = np.random.default_rng(16)
    windows, scored, ordinary = [], [], []
    for positions, first, end in WINDOWS:
        reference = rng.normal(0, 3, (positions, VOCAB))
        value = reference + rng.normal(0, 1.2, (positions, VOCAB))
        value[1] = reference[1]  # no error at all
        reference[2, 7] = reference[2, 3] = reference[2].max() + 1  # a tie
        value[2, 7] = value[2, 3] = value[2].max() + 1
        tokens = rng.integers(0, VOCAB, positions).tolist()
        massive = [1.0 if p == 5 else 0.0 for p in range(positions)]
        rows = figures(value, reference, tokens)
        windows.append({"first": first, "end": end, "tokens": tokens,
                        "value": value.tolist(),
                        "reference": reference.tolist(), "massive": massive,
                        "positions": rows})
        scored.append(rows[first:end])
        ordinary.append([r for p, r in enumerate(rows)
                         if first <= p < end and massive[p] == 0])
    with open(sys.argv[1], "w", encoding="ascii") as out:
        json.dump({"windows": windows, "all": summary(scored),
                   "ordinary": summary(ordinary)}, out)
        out.write("\n")


if __name__ == "__main__":
    main()
