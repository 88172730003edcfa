"""Reads what ulpscope measured: results.json, JSONL and stores.

One file of the standard library: copy it, or put its folder on PYTHONPATH.

    import ulpscope
    run = ulpscope.load("report")    # the folder of --out=report
    ulpscope.plans(run)              # a row per plan of a sweep
    ulpscope.layers(run)             # a row per plan, tokens and layer
    ulpscope.cells(attribution)      # a row per layer and op
    ulpscope.tokens(run)             # a row per plan, window and position
    ulpscope.compare("main", "branch")
    ulpscope.gate("main", "branch", "gate.txt")

Rows are those of results.json (docs/results.md, docs/schema), as pandas DataFrames
where pandas is installed, else as lists of dicts; `frame=` asks for either.

What is NaN or infinite is a float that is; what was not measured, or does not
apply, is None, and pandas.NA in frames. A column of numbers of which some were not
measured has the dtype Float64 (integers Int64, truth values boolean), and holds NaN
and NA as two things: `.isna()` is true of the second alone. Numbers have every bit.

Units are not those of the values but beside them: `units(run, "layers")`, and
`frame.attrs["units"]`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import functools
import json
import math
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from typing import Any, Union

SCHEMA_VERSION = 2  # of results.json
STORE_VERSION = 1

Row = dict[str, Any]  # a column's name and its value
Path = Union[str, "os.PathLike[str]"]

# Columns of floating-point numbers, and their unit: the first pattern of COLUMN, or of
# TABLE.COLUMN, counts. What is not here holds integers, truth values or texts, of which
# "NaN" is one. A test holds it against docs/schema.
_UNITS = (
    (
        None,
        "changes_bits *_same_bits nearer_to_oracle order_moved rows_moved "
        "conflicts.figure",
    ),
    ("bits", "bits *_bits mean_log2_distance"),
    ("bytes", "*_bytes"),  # which are integers
    ("nats", "*_nats *_nats_*_error"),
    ("ulps", "*_ulps"),
    ("seconds", "seconds *_seconds"),
    ("tokens per second", "*_tokens_per_second *_tokens_per_second_half_iqr"),
    (
        "relative",
        "*rel_l2* *_to_oracle *_to_ours *_to_emulation a_to_b added_? allowed "
        "constant_vector_size distance distance_with_causes inherited inherited_after "
        "last_state_normed last_state_raw main_effects.error changes.error_without "
        "context.limit plans.error plans.other_error strategies.error mismatch norm *_norm rest "
        "sum_rest replay_* run_with run_without score_standard_error",
    ),
    (
        "share of 1",
        "share share_* *_share *_share_error top1 top8 top1_* *_top1_agreement "
        "*_top10_overlap gain *_gain moved *_moved same_top* off_by_twice* delta_p* time_noise "
        "identical identical_* factor_identical* *_underflow causes.removed "
        "moved_weights.reference weight *_weight",
    ),
    (
        "ratio",
        "ratio ratio_* *_ratio *_ratio_half_iqr time_ratio_* growth mean_growth *_mean_growth "
        "growth_* *amplification *cancellation *_factor factor factor_least "
        "factor_largest excess_? *_by_best speedup speedup_half_iqr luck.left* "
        "pair_difference.cosine tolerance",
    ),
    (
        "activation",
        "*_abs mean_signed *_mean_signed *rmse *_l2 std std_* magnitude mean rms "
        "not_finite.largest source.spacing value_?",
    ),
    (
        "",
        "*cosine figure headrooms.largest large_scores.spacing limit margin "
        "margin_error massive_channels.left max_activation other p_value *perplexity "
        "*_rank score smallest upgrade_sets.error value z z_signs error_before "
        "best_error",
    ),
)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Error(Exception):
    """What was asked for is not there, or is not what it should be.

    The message names the file, what was expected and what was found.
    """


@dataclasses.dataclass(frozen=True)
class Results:
    """What one run has found.

    `tables` has, by name, a list of rows; of what there is one of (`effect`,
    `verdict`), a row, or None where there is none. `context` says what was run,
    where and by which build; read from JSONL it has that alone, and `mode` is "".
    """

    path: str
    mode: str  # "sweep" (--plan's too), "attribute", "diagnose", "trace_pair", ...
    context: Row
    tables: dict[str, list[Row] | Row | None]

    @property
    def label(self) -> str:
        """The model's name, and that its weights are synthetic where they are."""
        name = self.context.get("model") or self.context.get("now_model") or ""
        synthetic = bool(self.context.get("synthetic"))
        return f"{name} (SYNTHETIC weights)" if synthetic else str(name)


@dataclasses.dataclass(frozen=True)
class Comparison(Results):
    """Results of --compare and --gate, with the program's exit code."""

    exit_code: int = 0

    @property
    def comparable(self) -> bool:
        """Whether errors could be compared, and of a gate every condition."""
        return self.exit_code != 4

    @property
    def passed(self) -> bool:
        """Whether a gate holds. One that could compare nothing does not."""
        return self.exit_code == 0


@dataclasses.dataclass(frozen=True)
class Store:
    """A folder of --store, as it is when it is read.

    A record has `kind`, `key`, `input`, `host`, `result`, `run` and `t` (UTC), as
    docs/results.md has it; they are in the order of the shards. Damaged lines are
    left out, and `skipped` names them; checksums (XXH3) are not checked.
    """

    path: str
    records: list[Row]
    skipped: list[str]


def load(path: Path) -> Results | Store:
    """Reads a results.json, a report's folder, a file of -o=jsonl, or a store.

    Raises Error for anything else: files of another version, of several runs, or
    that are cut off.
    """
    name = os.fspath(path)
    if os.path.isdir(name):
        results = os.path.join(name, "results.json")
        if os.path.exists(results):
            return _read_results(results)
        if os.path.exists(os.path.join(name, "meta.json")):
            return _read_store(name)
        raise Error(
            f"{name}: expected results.json, as --out writes it, or meta.json, as "
            "--store does; the folder has neither"
        )
    first = _text(name).split("\n", 1)[0]
    with contextlib.suppress(ValueError, RecursionError):
        line = json.loads(first)
        if isinstance(line, dict) and "metric" in line:
            return _read_facts(name)
        if isinstance(line, dict) and "check" in line:
            records, skipped = _read_shard(name)
            return Store(name, records, skipped)
    return _read_results(name)


def table(results: Results | Path, name: str, frame: bool | None = None):
    """The rows of any table: a DataFrame, or a list of dicts.

    `frame`: True for a DataFrame, False for a list, None for a DataFrame where
    pandas is installed. A table of one row has one row, or none.
    """
    run = _results(results)
    if name == "context":
        return _rows(run, name, [run.context], frame)
    if name not in run.tables:
        of = f"results of --{run.mode}" if run.mode else "results"
        have = ", ".join(sorted(run.tables)) or "no tables"
        raise Error(f"{run.path}: no table {name} in {of}; they have {have}")
    rows = run.tables[name]
    if isinstance(rows, dict):
        rows = [rows]
    return _rows(run, name, rows or [], frame)


def plans(results: Results | Path, frame: bool | None = None):
    """Every plan of a sweep, the best first: final errors, KL, speeds, rank."""
    return table(results, "plans", frame)


def layers(results: Results | Path, frame: bool | None = None):
    """Errors layer by layer.

    Of a sweep the residual stream of every plan (`plan`, `tokens`, `layer`), of an
    attribution what is inherited, own and total (`layer`).
    """
    return table(results, "layers", frame)


def cells(results: Results | Path, frame: bool | None = None):
    """Every cell of an attribution (`layer`, `op`): the plan there alone."""
    return table(results, "cells", frame)


def tokens(results: Results | Path, frame: bool | None = None):
    """Scored tokens (`plan`, `window`, `position`).

    All of a --plan; of a sweep each plan's of the largest KL divergence.
    """
    return table(results, "tokens", frame)


def units(results: Results | Path, name: str) -> dict[str, str]:
    """The units of a table's columns that have one, such as "nats" or "ulps"."""
    columns = {column for row in table(results, name, frame=False) for column in row}
    return {c: unit for c in sorted(columns) if (unit := _unit(name, c))}


def explorer_path(explorer: Path | None = None) -> str:
    """The program: as given, else $ULPSCOPE_EXPLORER, else `explorer` in $PATH."""
    asked = explorer or os.environ.get("ULPSCOPE_EXPLORER") or "explorer"
    found = shutil.which(os.fspath(asked))
    if found is None:
        raise Error(
            f"{os.fspath(asked)}: expected ulpscope's program; name it by explorer=, "
            "by $ULPSCOPE_EXPLORER, or put `explorer` into $PATH"
        )
    return found


def compare(
    base: Results | Path,
    now: Results | Path,
    *,
    explorer: Path | None = None,
) -> Comparison:
    """What changed from one run to another: `explorer --compare=BASE --with=NOW`.

    Each is a results.json, a report's folder, a store, STORE@RUN, or what `load`
    read of one of them. The tables are `compared`, `differences` and `speeds`. The
    program does it, so that there is one comparison, with one set of statistics.
    """
    arguments = [f"--compare={_place(base)}", f"--with={_place(now)}"]
    return _compared(arguments, explorer)


def gate(
    base: Results | Path | None,
    now: Results | Path,
    conditions: Path | Iterable[str],
    *,
    explorer: Path | None = None,
) -> Comparison:
    """Checks conditions: `explorer --gate=FILE --with=NOW [--compare=BASE]`.

    `conditions` is a gate's file, or its lines as a list. Without a base they can
    only be of numbers. The table is `checks`, `passed` the outcome; a condition that
    fails is no exception.
    """
    arguments = [f"--with={_place(now)}"]
    if base is not None:
        arguments.append(f"--compare={_place(base)}")
    if isinstance(conditions, (str, os.PathLike)):
        return _compared([f"--gate={_place(conditions)}", *arguments], explorer)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "gate"
        file.write_text("".join(f"{line}\n" for line in conditions), encoding="utf-8")
        return _compared([f"--gate={file}", *arguments], explorer)


# Reading.


def _text(path: str) -> str:
    try:
        return pathlib.Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise Error(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise Error(f"{path}: expected UTF-8, found {error.reason}") from None


def _object(text: str, where: str) -> Row:
    def refuse(constant: str):
        raise ValueError(f"{constant} is no JSON")

    try:
        found = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Error(f"{where}: expected JSON: {error}") from None
    if not isinstance(found, dict):
        raise Error(f"{where}: expected an object, found {text[:40]}")
    return found


_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@functools.cache
def _unit(table_name: str, column: str) -> str | None:
    """The unit, empty for a number without one; None for what is no such number."""
    for unit, patterns in _UNITS:
        for pattern in patterns.split():
            name = f"{table_name}.{column}" if "." in pattern else column
            if fnmatch.fnmatchcase(name, pattern):
                return unit
    return None


def _value(table_name: str, column: str, value: Any, where: str) -> Any:
    if value is None or _unit(table_name, column) in (None, "bytes"):
        return value
    if isinstance(value, list):
        return [_value(table_name, column, x, where) for x in value]
    if isinstance(value, str) and value in _SPECIAL:
        return _SPECIAL[value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    shown = json.dumps(value)[:40]
    raise Error(f"{where}: {column}: expected a number, found {shown}")


def _row(table_name: str, row: Any, where: str) -> Row:
    if not isinstance(row, dict):
        raise Error(f"{where}: expected an object, found {json.dumps(row)[:40]}")
    return {name: _value(table_name, name, row[name], where) for name in row}


def _parse_results(text: str, path: str) -> tuple[str, Row, dict[str, Any]]:
    whole = _object(text, path)
    schema, version = whole.pop("schema", None), whole.pop("version", None)
    if not isinstance(schema, str) or not schema.startswith("ulpscope/"):
        raise Error(f'{path}: "schema": expected ulpscope/MODE, found {schema!r}')
    if version != SCHEMA_VERSION:
        raise Error(
            f'{path}: "version": expected {SCHEMA_VERSION}, found {version!r}; another '
            "release of ulpscope.py reads it"
        )
    if "part_of" in whole:
        raise Error(
            f'{path}: expected a whole results.json, found "part_of": it is a part, of a '
            "page that has some rows alone"
        )
    tables: dict[str, Any] = {}
    for name, rows in whole.items():
        where = f'{path}: "{name}"'
        if isinstance(rows, list):
            tables[name] = [
                _row(name, row, f"{where}[{r}]") for r, row in enumerate(rows)
            ]
        else:
            tables[name] = None if rows is None else _row(name, rows, where)
    context = tables.pop("context", None)
    if not isinstance(context, dict):
        raise Error(f'{path}: "context": expected an object, found none')
    return schema[len("ulpscope/") :], context, tables


def _read_results(path: str) -> Results:
    return Results(path, *_parse_results(_text(path), path))


# Members of a line of JSONL that say which run it is of, and what is of no row's key.
_RUN = frozenset(
    "model synthetic model_fingerprint build_commit cpu target threads wisdom_file "
    "samples".split()
)
_FACT = frozenset("table index metric unit value text".split())


def _read_facts(path: str) -> Results:
    """The rows that the figures of one run are of.

    Lists of texts are one text there; empty lists, and keys that a row does not have,
    are not there; truth values are 0 and 1, and a table of one row is a list.
    """
    tables: dict[str, Any] = {}
    context: Row | None = None
    of: Row = {}  # keys of the last row
    name = ""
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line:
            continue
        where = f"{path}:{number}"
        fact = _object(line, where)
        metric, index = fact.get("metric"), fact.get("index")
        if not isinstance(metric, str) or not isinstance(fact.get("table"), str):
            raise Error(f"{where}: expected a figure of -o=jsonl, found {line[:60]}")
        run = {key: fact[key] for key in fact if key in _RUN}
        keys = {key: fact[key] for key in fact if key not in _RUN and key not in _FACT}
        is_new = fact["table"] != name
        if run != (context or run) or (is_new and fact["table"] in tables):
            raise Error(f"{where}: expected the figures of one run, found another's")
        context, name = run, fact["table"]
        rows = tables.setdefault(name, [])
        if is_new or keys != of or (metric in rows[-1] and index in (None, 1)):
            rows.append(dict(keys))
        of = keys
        found = fact.get("text") if fact.get("value") is None else fact["value"]
        value = _value(name, metric, found, where)
        if index is None:
            rows[-1][metric] = value
        else:
            rows[-1].setdefault(metric, []).append(value)
    return Results(path, "", context or {}, tables)


def _read_store(path: str) -> Store:
    meta_path = os.path.join(path, "meta.json")
    meta = _object(_text(meta_path), meta_path)
    if meta.get("schema") != "ulpscope/store" or meta.get("version") != STORE_VERSION:
        raise Error(
            f"{meta_path}: expected ulpscope/store of version {STORE_VERSION}, found "
            f"{meta.get('schema')!r} of version {meta.get('version')!r}"
        )
    records: list[Row] = []
    skipped: list[str] = []
    for shard in sorted(pathlib.Path(path, "shards").glob("*.jsonl")):
        of_shard, faults = _read_shard(str(shard))
        records += of_shard
        skipped += faults
    return Store(path, records, skipped)


def _read_shard(path: str) -> tuple[list[Row], list[str]]:
    records, skipped = [], []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line:
            continue
        try:
            record = _object(line, f"{path}:{number}")
        except Error as error:
            skipped.append(str(error))
            continue
        texts = all(isinstance(record.get(k), str) for k in ("kind", "key", "run", "t"))
        parts = [record.get(part) for part in ("input", "host", "result")]
        if not texts or not all(isinstance(part, dict) for part in parts):
            skipped.append(f"{path}:{number}: it is no record of a measurement")
        elif record.get("v") != STORE_VERSION:
            skipped.append(f"{path}:{number}: it is of version {record.get('v')!r}")
        else:
            record["result"] = _with_numbers(record["result"])
            records.append(record)
    return records, skipped


def _with_numbers(value: Any) -> Any:
    """A measurement's figures: of texts, those that are numbers as such."""
    if isinstance(value, dict):
        return {name: _with_numbers(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_with_numbers(part) for part in value]
    return _SPECIAL.get(value, value) if isinstance(value, str) else value


# Showing.


def _results(results: Results | Path) -> Results:
    found = results
    if not isinstance(results, (Results, Store)):
        found = load(results)
    if isinstance(found, Store):
        raise Error(
            f"{found.path}: a store has measurements, no tables: see its .records, or run "
            "the same command with --store and --out, which measures nothing anew"
        )
    return found


def _wants_frame(frame: bool | None) -> bool:
    if frame is False:
        return False
    try:
        import pandas  # noqa: F401  # pylint: disable=import-outside-toplevel
    except ImportError:
        if frame:
            raise Error("frame=True: expected pandas, which is not installed") from None
        return False
    return True


def _rows(run: Results, name: str, rows: list[Row], frame: bool | None):
    if not _wants_frame(frame):
        return [dict(row) for row in rows]
    columns = dict.fromkeys(column for row in rows for column in row)
    attributes = {
        "units": {c: _unit(name, c) for c in columns if _unit(name, c)},
        "table": name,
        "label": run.label,
        "synthetic": run.context.get("synthetic"),
        "path": run.path,
    }
    import pandas  # pylint: disable=import-outside-toplevel

    # JSONL's rows need not have all columns.
    frame = pandas.DataFrame(
        {
            c: _column(pandas, [row.get(c) for row in rows], _unit(name, c) is not None)
            for c in columns
        }
    )
    frame.attrs.update(attributes)
    return frame


def _column(pandas, values: list[Any], is_number: bool):
    """A column that tells NaN from what is not there."""
    there = [value for value in values if value is not None]
    missing = len(there) < len(values)

    def all_are(kind) -> bool:
        return bool(there) and all(type(value) is kind for value in there)

    if all_are(float) or (is_number and not there):
        if not missing:
            return pandas.Series(values, dtype="float64")
        import numpy  # pylint: disable=import-outside-toplevel

        data = [math.nan if value is None else value for value in values]
        mask = [value is None for value in values]
        return pandas.Series(
            pandas.arrays.FloatingArray(numpy.array(data, float), numpy.array(mask))
        )
    if all_are(bool):
        return pandas.Series(values, dtype="boolean" if missing else "bool")
    if all_are(int) and all(-(2**63) <= value < 2**63 for value in there):
        return pandas.Series(values, dtype="Int64" if missing else "int64")
    if all_are(str):
        return pandas.Series(values, dtype="string")
    # Lists, integers of 64 bits without a sign, and what was never measured.
    shown = [pandas.NA if value is None else value for value in values]
    return pandas.Series(shown, dtype="object")


# Asking the program.


def _place(run: Results | Path) -> str:
    if isinstance(run, Results) and not run.mode:
        raise Error(f"{run.path}: expected results.json or a store, found JSONL")
    path = run.path if isinstance(run, (Results, Store)) else os.fspath(run)
    return os.path.abspath(path)


def _compared(arguments: list[str], explorer: Path | None) -> Comparison:
    command = [explorer_path(explorer), "-o=json", *arguments]
    done = subprocess.run(command, capture_output=True, check=False)
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode not in (0, 3, 4) or not output:
        message = done.stderr.decode("utf-8", "replace").strip()
        raise Error(f"{command[0]}: exit code {done.returncode}: {message}")
    parsed = _parse_results(output, command[0])
    return Comparison(" ".join(arguments), *parsed, exit_code=done.returncode)
