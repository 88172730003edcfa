"""Programs for check_correct_traces.py that compute a model as it is.

Each is transformers with other arithmetic: other formats, values that are
rounded once where eager PyTorch rounds three times, a cache in fewer bits, rows
in another order with RoPE to match, a prompt in chunks. None is wrong, so none
may be accused. PROGRAMS has what their arithmetic may be called; a patch is a
function of transformers_bugs.Patch. correct_runs.py runs them.
"""

import dataclasses
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

# How the prompt is fed (correct_runs.py).
WHOLE, CHUNKS, TOKENS, PADDED, BATCH = range(5)


@dataclasses.dataclass
class Program:
    dtype: str = "float32"
    attention: str = "eager"
    feed: int = WHOLE
    patches: tuple = ()
    cached: Callable | None = None  # what the cache makes of keys and values
    autocast: str | None = None
    throughout: bool = False  # float64 where transformers has float32
    compiled: bool = False
    kept_as: str | None = None  # the type that all is stored in
    # Types of weights in the checkpoint, which the program does not round.
    stored: tuple = ("float32", "bfloat16")
    models: str = ""  # a pattern of those that it makes sense for
    # Patterns: of the arithmetic's name, plan and arithmetic causes together;
    # and of ids of arithmetic causes that are right.
    called: str = ""
    may_have: str = "(?!)"
    is_exact: bool = False  # nearer to the oracle than f32 is, or as near
    contents: tuple = ("ops", "states", "logits", "norm")
    times: int = 2  # traces of each content


PROGRAMS = {}


def add(name, **traits):
    PROGRAMS[name] = Program(**traits)


# Formats.


def through(dtype):
    return lambda x: x.to(dtype).to(x.dtype)


def fp8(x):
    return x.clamp(-448, 448).to(torch.float8_e4m3fn).to(x.dtype)


def int8(x):
    """Whole numbers with a scale of each head and token."""
    wide = x.float()
    scale = (wide.abs().amax(-1, keepdim=True) / 127).clamp(min=1e-30)
    return ((wide / scale).round() * scale).to(x.dtype)


def tf32_nearest(x):
    """10 bits of fraction; ties away from zero, as GPUs convert."""
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def tf32_cut(x):
    """10 bits of fraction, the rest cut off, as tensor cores read f32."""
    return (x.contiguous().view(torch.int32) & ~0x1FFF).view(torch.float32)


# Norms, RoPE and activations that are rounded once.


def norm_types(patch):
    return {type(norm) for norm in patch.norms()}


def normalized(norm, x):
    wide = x.float()
    mean = wide.square().mean(-1, keepdim=True)
    return wide * torch.rsqrt(mean + norm.variance_epsilon)


def norms_once(patch):
    def forward(norm, x):
        return (normalized(norm, x) * norm.weight.float()).to(x.dtype)

    for kind in norm_types(patch):
        patch.replace(kind, "forward", forward)


def rope_once(patch):
    rope = patch.model.model.rotary_emb
    angles, rotate = rope.forward, patch.modeling.apply_rotary_pos_emb

    def rotate_wide(q, k, cos, sin, **more):
        rotated = rotate(q.float(), k.float(), cos, sin, **more)
        return tuple(x.to(q.dtype) for x in rotated)

    patch.replace(
        rope,
        "forward",
        lambda x, position_ids: angles(x.float(), position_ids),
    )
    patch.replace(patch.modeling, "apply_rotary_pos_emb", rotate_wide)


def swiglu_once(patch):
    def forward(mlp, x):
        gate, up = mlp.gate_proj(x), mlp.up_proj(x)
        return mlp.down_proj((F.silu(gate.float()) * up.float()).to(x.dtype))

    patch.replace(type(patch.layers[0].mlp), "forward", forward)


FUSED = (norms_once, rope_once, swiglu_once)


# f32 in places.


def head_in_f32(patch):
    head = patch.model.lm_head
    patch.replace(
        head, "forward", lambda x: F.linear(x.float(), head.weight.float())
    )


def final_norm_in_f32(patch):
    norm = patch.model.model.norm
    patch.replace(
        norm, "forward", lambda x: normalized(norm, x) * norm.weight.float()
    )


def stream_in_f32(patch):
    """Outputs of modules are in 16 bits, what they are added to is not."""
    embed, rope = patch.model.model.embed_tokens, patch.model.model.rotary_emb
    look_up, angles = embed.forward, rope.forward

    def forward(norm, x):
        return norm.weight * normalized(norm, x).to(norm.weight.dtype)

    for kind in norm_types(patch):
        patch.replace(kind, "forward", forward)
    patch.replace(embed, "forward", lambda ids: look_up(ids).float())
    patch.replace(
        rope,
        "forward",
        lambda x, position_ids: angles(x.to(embed.weight.dtype), position_ids),
    )


def on_attention(patch, change):
    """Has `change(attend, module, q, k, v, mask, ...)` be eager attention."""
    attend = patch.modeling.eager_attention_forward
    patch.replace(
        patch.modeling,
        "eager_attention_forward",
        lambda *args, **more: change(attend, *args, **more),
    )


def attention_in_f32(patch):
    def wide(attend, module, q, k, v, mask, **more):
        output, weights = attend(
            module, q.float(), k.float(), v.float(), mask, **more
        )
        return output.to(q.dtype), weights

    on_attention(patch, wide)


# Operands.


def linears(patch):
    return [m for m in patch.model.modules() if isinstance(m, nn.Linear)]


def operands(rounded):
    """Rounds what products of weights are given; sums and results are f32."""

    def apply(patch):
        for linear in linears(patch):
            weight = rounded(linear.weight.data)
            patch.replace(
                linear,
                "forward",
                lambda x, linear=linear, weight=weight: F.linear(
                    rounded(x), weight, linear.bias
                ),
            )

    return apply


# Rows in another order.


def to_neighbours(heads):
    """Moves the halves of each head between each other: 0, n/2, 1, ..."""

    def permuted(weight):
        half = weight.shape[0] // heads // 2
        by_half = weight.reshape(heads, 2, half, -1).transpose(1, 2)
        return by_half.reshape(weight.shape).contiguous()

    return permuted


def permuted_rows(patch):
    """As Meta and llama.cpp have Llama: neighbours are what RoPE turns."""
    config = patch.model.config
    for layer in patch.layers:
        for linear, heads in (
            (layer.self_attn.q_proj, config.num_attention_heads),
            (layer.self_attn.k_proj, config.num_key_value_heads),
        ):
            permuted = to_neighbours(heads)
            linear.weight.data = permuted(linear.weight.data)
            if linear.bias is not None:
                linear.bias.data = permuted(linear.bias.data)

    def turned(x, cos, sin):
        even, odd = x[..., ::2], x[..., 1::2]
        pairs = even * cos - odd * sin, odd * cos + even * sin
        return torch.stack(pairs, -1).flatten(-2)

    def rotate(q, k, cos, sin, unsqueeze_dim=1):
        half = cos.shape[-1] // 2
        cos, sin = (x[..., :half].unsqueeze(unsqueeze_dim) for x in (cos, sin))
        return turned(q, cos, sin), turned(k, cos, sin)

    patch.replace(patch.modeling, "apply_rotary_pos_emb", rotate)


# The list. `called` are patterns that the name, plan or causes have to have.

IS_BF16, IS_F16 = r"bf16", r"(?<!b)f16"

add("f64", dtype="float64", called=r"^(torch-)?f64", is_exact=True)
add(
    "f64_throughout",
    dtype="float64",
    throughout=True,
    called=r"^(torch-)?f64",
    is_exact=True,
)
add("f32", called=r"^f32 ", is_exact=True, times=3)
add("f32_sdpa", attention="sdpa", called=r"^f32 ", is_exact=True)
B = {"dtype": "bfloat16", "stored": ("bfloat16",), "called": IS_BF16}
H = {"dtype": "float16", "stored": ("bfloat16", "float16"), "called": IS_F16}
add("bf16", **{**B, "stored": ("bfloat16", "float32")}, times=3)
add("bf16_sdpa", attention="sdpa", **B, times=3)
add("f16", **H)
add("f16_sdpa", attention="sdpa", **H)
for format, autocast in (("bf16", "bfloat16"), ("f16", "float16")):
    A = {
        "autocast": autocast,
        "called": rf"autocast-{format}|(?<!b){format}",
        # f32, but for these, is what autocast is.
        "may_have": rf"(matmul|swiglu|elementwise)_{format}",
    }
    add(f"autocast_{format}", **A)
    if format == "bf16":
        add(f"autocast_{format}_sdpa", attention="sdpa", **A)

add(
    "norms_once_bf16",
    patches=(norms_once,),
    **B,
    may_have="norm_weight_before_cast",
)
add("rope_once_bf16", patches=(rope_once,), **B)
add("swiglu_once_bf16", patches=(swiglu_once,), **B)
add("fused_bf16", patches=FUSED, **B, times=3)
add("fused_bf16_sdpa", patches=FUSED, attention="sdpa", **B)
add("fused_f16", patches=FUSED, **H)

add("head_f32_bf16", patches=(head_in_f32,), **B, times=3)
add("head_f32_f16", patches=(head_in_f32,), **H)
add("norm_head_f32_bf16", patches=(final_norm_in_f32, head_in_f32), **B)
add("stream_f32_bf16", patches=(stream_in_f32,), **B)
add("attention_f32_bf16", patches=(attention_in_f32,), **B)

for kept, cached, pattern in (
    ("f16", through(torch.float16), IS_F16),
    ("bf16", through(torch.bfloat16), IS_BF16),
    # Of heads up to 32 wide Q8_0 is the same, but for the scale's format.
    ("int8", int8, "(int8|q8_0)"),
    ("fp8", fp8, "fp8"),
):
    may_have = rf"kv.*{pattern}"
    add(
        f"cache_{kept}_f32",
        cached=cached,
        called=rf"(?=.*(kv|cache))(?=.*{pattern})",
        may_have=may_have,
    )
    if kept in ("int8", "fp8"):
        add(f"cache_{kept}_bf16", cached=cached, **B, may_have=may_have)
add(
    "cache_f16_chunks",
    cached=through(torch.float16),
    feed=CHUNKS,
    called=rf"(?=.*(kv|cache))(?=.*{IS_F16})",
    may_have=r"kv.*f16",
)

OPERAND = r"(?=.*(operand|input|{0}_f32|llama\.cpp))(?=.*{1})"
add(
    "operands_f16",
    patches=(operands(through(torch.float16)),),
    stored=("float16",),
    called=OPERAND.format("f16", IS_F16) + r"|llama\.cpp",
    may_have=r".*f16",
)
add(
    "operands_bf16",
    patches=(operands(through(torch.bfloat16)),),
    stored=("bfloat16",),
    called=OPERAND.format("bf16", IS_BF16) + r"|llama\.cpp",
    may_have=r".*bf16",
)
for name, rounded in (("tf32", tf32_nearest), ("tf32_cut", tf32_cut)):
    add(
        f"operands_{name}",
        patches=(operands(rounded),),
        called="tf32",
        may_have=".*tf32",
    )

PERMUTABLE = "llama|smollm|qwen2"
add(
    "permuted_f32",
    patches=(permuted_rows,),
    models=PERMUTABLE,
    called=r"^f32 ",
    is_exact=True,
)
add("permuted_bf16", patches=(permuted_rows,), models=PERMUTABLE, **B)

add("chunks_f32", feed=CHUNKS, called=r"^f32 ", is_exact=True)
add("chunks_bf16", feed=CHUNKS, **B)
add("chunks_bf16_sdpa", feed=CHUNKS, attention="sdpa", **B)
add("tokens_f32", feed=TOKENS, called=r"^f32 ", is_exact=True)
add("tokens_bf16", feed=TOKENS, **B)
add("padded_f32", feed=PADDED, called=r"^f32 ", is_exact=True)
add("padded_bf16", feed=PADDED, **B)
add("batch_f32", feed=BATCH, called=r"^f32 ", is_exact=True)
add("batch_bf16_sdpa", feed=BATCH, attention="sdpa", **B)

add("f32_kept_bf16", kept_as="bfloat16", called=r"^f32 ")
add("f32_kept_f16", kept_as="float16", called=r"^f32 ")
add(
    "compiled_bf16",
    compiled=True,
    **B,
    contents=("states", "logits"),
    times=1,
)
