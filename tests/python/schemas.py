"""What docs/schema says of the columns of results, for tests of python/ulpscope.py."""

import json
import math
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))

SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def columns():
    """(mode, table, column, unit, whether it holds numbers that are no integers)."""
    for path in sorted((ROOT / "docs" / "schema").glob("*.json")):
        for table, of_table in json.loads(path.read_text())["properties"].items():
            if "description" not in of_table:
                continue  # "schema" and "version"
            row = of_table["anyOf"][0] if "anyOf" in of_table else of_table["items"]
            for column, of_column in row["properties"].items():
                is_number = '"type": "number"' in json.dumps(of_column)
                yield path.stem, table, column, of_column.get("unit", ""), is_number


NUMBERS = {(mode, t, c) for mode, t, c, _, is_number in columns() if is_number}
UNITS = {(mode, t, c): unit for mode, t, c, unit, _ in columns() if unit}


def meant(value, mode, table, column):
    """What a value of results.json means: a float where the schema has a number."""
    if (mode, table, column) not in NUMBERS or value is None:
        return value
    if isinstance(value, list):
        return [meant(x, mode, table, column) for x in value]
    return SPECIAL[value] if isinstance(value, str) else float(value)


def same(a, b):
    """Whether they are the same bit for bit, where NaN is NaN and None is None."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a.hex() == b.hex()  # "nan" of every NaN
    return type(a) is type(b) and a == b


def rows_of(results):
    """(table, rows) of the text of a results.json, as json.loads has it."""
    for table, rows in results.items():
        if table in ("schema", "version"):
            continue
        yield table, [] if rows is None else [rows] if isinstance(rows, dict) else rows
