#!/usr/bin/env python3
"""Whether two stores have the same errors: same_store.py STORE STORE.

Record by record: of each key the same input and the same result, and no key in
one alone. Times are other ones every time, and who measured is not compared.
"""

import json
import pathlib
import sys


def errors(store):
    found = {}
    for shard in sorted(pathlib.Path(store, "shards").glob("*.jsonl")):
        for line in shard.read_text().splitlines():
            record = json.loads(line)
            if record["kind"] == "time":
                continue
            same = json.dumps([record["input"], record["result"]], sort_keys=True)
            if found.setdefault(record["key"], same) != same:
                sys.exit(f"{store}: {record['key']} has several results")
    return found


def main():
    first, second = map(errors, sys.argv[1:])
    if not first:
        sys.exit(f"{sys.argv[1]}: no errors")
    for key in sorted(first.keys() | second.keys()):
        if first.get(key) != second.get(key):
            sys.exit(f"{key}:\n{first.get(key)}\n{second.get(key)}")
    print(f"{len(first)} records of errors are the same")


main()
