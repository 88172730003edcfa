"""Writes what llama.cpp computes as a trace for `explorer --diagnose`.

    pip install llama-cpp-python numpy safetensors
    python3 tools/dump_llama_cpp.py model.gguf --tokens=1,2,3 --out=trace.safetensors
    explorer --diagnose --model=model.gguf --reference=trace.safetensors

Runs the GGUF file on the CPU, one llama_decode over all tokens, and looks at
every node of the graph when it has been computed (cb_eval). The trace is a
safetensors file in float32 with Hugging Face's names, as tools/dump_reference.py
writes it; rows are tokens:

    model.embed_tokens, model.norm, logits, input_ids
    model.layers.I                    the stream after the layer
    model.layers.I.input_layernorm, .post_attention_layernorm (and .input)
    model.layers.I.self_attn.{q,k,v}_proj        biases included
    model.layers.I.self_attn.{q,k}_norm, .{q,k}_rope
    model.layers.I.self_attn.attention_scores, .attention_weights
                                      not with --flash-attention
    model.layers.I.self_attn.o_proj (and .input)
    model.layers.I.mlp.{gate,up,down}_proj, .mlp.down_proj.input

Nodes that share a name are told apart by their operation: of Qcur-0, the
rotation is q_rope, and the last of the others is what q_proj gives. llama.cpp
keeps the rows of q and k of architecture `llama` in another order (so that it
can rotate neighbours); they are put back into Hugging Face's, which is how
explorer reads such a file.

--names=ggml keeps the graph's names instead, numbered from the second of a name
on (Qcur-0, Qcur-0.2, ...): explorer --mapping=llama.cpp reads that, without
o_proj and the scores.

tools/dump_llama_cpp_test.py tests this script.
"""

import argparse
import ctypes
import pathlib
import re
import sys

import numpy as np

# ggml.h's struct ggml_tensor, as far as it is looked at.
MAX_DIMS, MAX_OP_PARAMS, MAX_SRC = 4, 16, 10


class Tensor(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int32),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * MAX_DIMS),  # the innermost size first
        ("nb", ctypes.c_size_t * MAX_DIMS),
        ("op", ctypes.c_int32),
        ("op_params", ctypes.c_int32 * MAX_OP_PARAMS),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * MAX_SRC),
    ]


F32, F16, Q8_0, BF16 = 0, 1, 8, 30
CACHES = {"f32": F32, "f16": F16, "bf16": BF16, "q8_0": Q8_0}

# Of nodes that have a name of their own.
NAMES = {
    "attn_norm": "input_layernorm",
    "Qcur_normed": "self_attn.q_norm",
    "Kcur_normed": "self_attn.k_norm",
    "kqv_out": "self_attn.o_proj.input",
    "ffn_inp": "post_attention_layernorm.input",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_swiglu": "mlp.down_proj.input",
    "ffn_out": "mlp.down_proj",
    "l_out": "",
}
MODEL_NAMES = {
    "embd": "model.embed_tokens",
    "inp_embd": "model.embed_tokens",
    "result_norm": "model.norm",
    "result_output": "logits",
}
PROJECTIONS = {"Qcur": "q", "Kcur": "k", "Vcur": "v"}


class Unusable(Exception):
    """A file or a run of which no trace can be made."""


def ggml_library(llama_cpp):
    folder = pathlib.Path(llama_cpp.__file__).parent / "lib"
    found = [
        path
        for pattern in ("libggml-base.*", "ggml-base.dll")
        for path in sorted(folder.glob(pattern))
    ]
    if not found:
        raise Unusable(f"{folder}: llama-cpp-python has no ggml-base there")
    library = ctypes.CDLL(str(found[0]))
    for name, result in (
        ("ggml_get_name", ctypes.c_char_p),
        ("ggml_op_desc", ctypes.c_char_p),
        ("ggml_is_contiguous", ctypes.c_bool),
        ("ggml_nbytes", ctypes.c_size_t),
    ):
        function = getattr(library, name)
        function.restype = result
        function.argtypes = [ctypes.c_void_p]
    library.ggml_backend_tensor_get.restype = None
    library.ggml_backend_tensor_get.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_size_t,
    ]
    return library


class Node:
    """A node of the graph, computed."""

    def __init__(self, library, address):
        tensor = Tensor.from_address(address)
        self.address = address
        self.name = library.ggml_get_name(address).decode(errors="replace")
        self.op = library.ggml_op_desc(address).decode()
        self.sources = [source for source in tensor.src if source]
        self.scale = np.array(tensor.op_params[:1], np.int32).view(np.float32)[0]
        self.values = None
        if tensor.type != F32 or not library.ggml_is_contiguous(address):
            return
        # A layout that is not the one above would be read as nonsense.
        size = 4 * int(np.prod(tensor.ne[:]))
        if size != library.ggml_nbytes(address):
            raise Unusable("this version of ggml keeps tensors in another way")
        self.values = np.empty(tensor.ne[::-1], np.float32)
        library.ggml_backend_tensor_get(
            address, self.values.ctypes.data, 0, self.values.nbytes
        )


class Graph:
    """What a run of llama.cpp leaves of its nodes."""

    def __init__(self, tokens, head_dim, neighbours):
        self.tokens = tokens
        self.head_dim = head_dim
        self.neighbours = neighbours
        self.trace = {"input_ids": np.array(tokens, np.int64)}
        self.raw = {"input_ids": self.trace["input_ids"]}
        self.seen = {}
        self.layer_of = {}  # address of an attention's output -> its layer
        self.o_proj = {}  # address of what o_proj gives -> its layer
        self.scores = {}  # layer -> before the scale

    def rows(self, node):
        """[tokens, width]; None if it is not of all tokens."""
        values = node.values
        if values is None or values.size % len(self.tokens):
            return None
        # [1, 1, tokens, width] or, as heads, [1, tokens, heads, width].
        leading = [n for n in values.shape if n != 1] or [1]
        if leading[0] != len(self.tokens) and len(self.tokens) > 1:
            return None
        return values.reshape(len(self.tokens), -1)

    def in_halves(self, rows):
        """Rows of q or k as Hugging Face orders a head: its halves."""
        if not self.neighbours or rows.shape[1] % self.head_dim:
            return rows
        heads = rows.reshape(len(rows), -1, self.head_dim // 2, 2)
        return heads.swapaxes(2, 3).reshape(rows.shape)

    def add_raw(self, node):
        count = self.seen[node.name] = self.seen.get(node.name, 0) + 1
        rows = self.rows(node)
        if rows is None:
            return
        name = node.name if count == 1 else f"{node.name}.{count}"
        self.raw[name] = rows

    def add(self, node):
        self.add_raw(node)
        base, dash, layer = node.name.rpartition("-")
        if not dash or not re.fullmatch(r"\d+", layer):
            self.add_unnumbered(node)
            return
        layer = int(layer)
        path = f"model.layers.{layer}"
        rows = self.rows(node)
        if base in ("kq", "kq_soft_max", "kq_soft_max_ext"):
            self.add_scores(node, layer)
        elif rows is None:
            return
        elif base in PROJECTIONS:
            part = PROJECTIONS[base]
            kind = "rope" if node.op == "ROPE" else "proj"
            rows = rows if part == "v" else self.in_halves(rows)
            self.trace[f"{path}.self_attn.{part}_{kind}"] = rows
        elif base in NAMES:
            name = f"{path}.{NAMES[base]}".rstrip(".")
            if base.endswith("cur_normed"):
                rows = self.in_halves(rows)
            self.trace[name] = rows
            if base == "kqv_out":
                self.layer_of[node.address] = layer
        else:
            self.add_unnumbered(node)

    def add_unnumbered(self, node):
        rows = self.rows(node)
        if node.name in MODEL_NAMES:
            if rows is not None:
                self.trace[MODEL_NAMES[node.name]] = rows
            return
        # o_proj is the product with the attention's output; then its bias.
        of = [self.layer_of.get(source) for source in node.sources[1:2]]
        before = [self.o_proj.get(source) for source in node.sources[:1]]
        layer = None
        if node.op == "MUL_MAT" and of and of[0] is not None:
            layer = of[0]
        elif node.op == "ADD" and before and before[0] is not None:
            layer = before[0]
        if layer is None or rows is None:
            return
        self.o_proj[node.address] = layer
        self.trace[f"model.layers.{layer}.self_attn.o_proj"] = rows

    def add_scores(self, node, layer):
        if node.values is None or node.values.shape[0] != 1:
            return
        count = len(self.tokens)
        # [1, heads, tokens, cells]: the cache may have more cells than tokens.
        values = node.values[0, :, :count, :count]
        if values.shape[1:] != (count, count):
            return
        name = f"model.layers.{layer}.self_attn."
        if node.op == "SOFT_MAX":
            self.trace[name + "attention_weights"] = values.copy()
            scores = self.scores.pop(layer, None)
            if scores is not None:
                # The softmax scales what it is given.
                scaled = scores * np.float32(node.scale)
                self.trace[name + "attention_scores"] = scaled
        elif node.op == "MUL_MAT":
            self.scores[layer] = values.copy()


def metadata(llama_cpp, model, key):
    buffer = ctypes.create_string_buffer(256)
    length = llama_cpp.llama_model_meta_val_str(
        model, key.encode(), buffer, len(buffer)
    )
    return buffer.value.decode() if length >= 0 else None


def head_dim_of(llama_cpp, model, arch):
    width = metadata(llama_cpp, model, f"{arch}.attention.key_length")
    if width is not None:
        return int(width)
    return llama_cpp.llama_model_n_embd(model) // llama_cpp.llama_model_n_head(model)


def decode(llama_cpp, context, tokens):
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    try:
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = 1
        return llama_cpp.llama_decode(context, batch)
    finally:
        llama_cpp.llama_batch_free(batch)


def run(path, tokens, cache="f16", flash_attention=False, threads=1):
    """The Graph of one pass over the tokens."""
    import llama_cpp

    library = ggml_library(llama_cpp)
    # Kept: llama.cpp calls it as long as the process lives.
    run.quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(run.quiet, None)
    llama_cpp.llama_backend_init()
    of_model = llama_cpp.llama_model_default_params()
    of_model.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), of_model)
    if not model:
        raise Unusable(f"{path}: llama.cpp cannot load it")
    context = None
    try:
        vocabulary = llama_cpp.llama_vocab_n_tokens(
            llama_cpp.llama_model_get_vocab(model)
        )
        for token in tokens:
            if not 0 <= token < vocabulary:
                raise Unusable(f"token {token} is not in [0, {vocabulary})")
        arch = metadata(llama_cpp, model, "general.architecture")
        graph = Graph(
            tokens, head_dim_of(llama_cpp, model, arch), neighbours=arch == "llama"
        )
        failures = []

        def on_node(address, ask, data):
            if ask:
                return True
            try:
                graph.add(Node(library, address))
            except Exception as error:  # ctypes would only print it
                failures.append(error)
                return False
            return True

        callback = llama_cpp.ggml_backend_sched_eval_callback(on_node)
        of_run = llama_cpp.llama_context_default_params()
        size = (len(tokens) + 255) // 256 * 256
        of_run.n_ctx = of_run.n_batch = of_run.n_ubatch = size
        of_run.n_threads = of_run.n_threads_batch = threads
        of_run.type_k = of_run.type_v = CACHES[cache]
        if hasattr(of_run, "flash_attn_type"):
            of_run.flash_attn_type = int(flash_attention)
        else:
            of_run.flash_attn = flash_attention
        of_run.cb_eval = callback
        context = llama_cpp.llama_init_from_model(model, of_run)
        if not context:
            raise Unusable(f"{path}: llama.cpp makes no context with cache {cache}")
        failed = decode(llama_cpp, context, tokens)
        if failures:
            raise failures[0]
        if failed:
            raise Unusable(f"{path}: llama.cpp's run ended with {failed}")
        return graph
    finally:
        if context:
            llama_cpp.llama_free(context)
        llama_cpp.llama_model_free(model)


def tokenize(path, text):
    import llama_cpp

    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    return model.tokenize(text.encode(), add_bos=False, special=True)


def parse_tokens(text):
    return [int(token) for token in text.split(",") if token]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", type=pathlib.Path, help="a GGUF file")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--tokens", type=parse_tokens, help="token ids, separated by commas"
    )
    what.add_argument("--prompt", help="a text, which the file's tokenizer reads")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--cache", choices=CACHES, default="f16")
    parser.add_argument("--flash-attention", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--names", choices=("hf", "ggml"), default="hf")
    arguments = parser.parse_args()
    try:
        if not arguments.model.is_file():
            raise Unusable(f"{arguments.model}: no such file")
        tokens = arguments.tokens or tokenize(arguments.model, arguments.prompt)
        if not tokens:
            raise Unusable("no tokens")
        graph = run(
            arguments.model,
            tokens,
            arguments.cache,
            arguments.flash_attention,
            arguments.threads,
        )
    except Unusable as error:
        sys.exit(str(error))
    import safetensors.numpy

    trace = graph.trace if arguments.names == "hf" else graph.raw
    safetensors.numpy.save_file(
        {name: np.ascontiguousarray(values) for name, values in trace.items()},
        arguments.out,
        {"made_by": "tools/dump_llama_cpp.py", "model": arguments.model.name},
    )
    arguments.out.chmod(0o644)
    size = arguments.out.stat().st_size
    print(f"{arguments.out}: {len(trace)} tensors, {size} bytes")


if __name__ == "__main__":
    main()
