#!/usr/bin/env python3
"""Checks what -o prints: check_outputs.py EXPLORER ARGUMENT...

The same run in every format: SQLite, the csv module and JSON read them, and find
the same figures, but for times.
"""

import csv
import io
import json
import sqlite3
import subprocess
import sys


def output(arguments, form):
    command = arguments + [f"-o={form}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def is_time(line):
    """Whether the figure differs from run to run."""
    return (
        line["unit"] in ("seconds", "tokens per second")
        or line["metric"].startswith(("decode_", "prefill_"))
        or line["metric"] in ("rank", "pareto")
    )


def main():
    arguments = sys.argv[1:]
    lines = [json.loads(line) for line in output(arguments, "jsonl").splitlines()]
    rows = list(csv.DictReader(io.StringIO(output(arguments, "csv"))))
    database = sqlite3.connect(":memory:")
    sql = output(arguments, "sql")
    for _ in range(2):
        database.executescript(sql)  # several runs go into one database
    database.row_factory = sqlite3.Row
    stored = database.execute("SELECT * FROM results ORDER BY rowid").fetchall()
    results = json.loads(output(arguments, "json"))

    assert len(lines) == len(rows) == len(stored) / 2 > 100, len(lines)
    for line, row, record in zip(lines, rows, stored):
        if is_time(line):
            continue
        for key in record.keys():
            a, b, c = line.get(key), row[key], record[key]
            if isinstance(a, bool):
                a = int(a)
            assert a == c, (key, a, c)
            if isinstance(c, (int, float)):
                assert float(b) == c, (key, b, c)
            else:
                assert b == (c or ""), (key, b, c)
    layers = results["layers"]
    found = [x for x in lines if x["table"] == "layers" and x["metric"] == "rmse"]
    assert [x["value"] for x in found] == [x["rmse"] for x in layers]
    assert all(x["model"] == results["context"]["model"] for x in lines)
    print(f"{len(lines)} figures are the same in every format")


if __name__ == "__main__":
    main()
