"""Bugs of what is around a decoder, patched into transformers.

Of positions and masks where a sequence is not run at once, of the conversion of
weights, of what config.json says and is not read, and of logits: more entries
of the catalogue for `transformers_bugs.BUGS`. Those in one layer have its
number behind an @, as the catalogue writes them.

A prefill has three tokens here; the others are decoded one by one.
"""

import torch
from torch import nn
from transformers_bugs import (
    BUGS,
    add,
    bug,
    on_rope,
    shift_states,
    use_mask,
)

PREFILL = 3


# Positions.


def use_positions(patch, at):
    """Rotates token i as if it stood at at(i)."""

    def change(forward, rope, x, positions):
        moved = [at(int(i)) for i in positions[0]]
        return forward(rope, x, torch.tensor([moved]))

    on_rope(patch, change)


def add_positions(name, at, **traits):
    add(name, patch=lambda patch: use_positions(patch, at), **traits)


add_positions(
    f"positions_stuck_at_0_from_{PREFILL}", lambda i: i if i < PREFILL else 0
)
add_positions(
    f"positions_stuck_at_{PREFILL - 1}_from_{PREFILL}",
    lambda i: min(i, PREFILL - 1),
    archs=("qwen2",),
    dtypes=("float32",),
)
# The prefill is counted again, from the second token that is decoded on.
add_positions(
    f"positions_plus_{PREFILL - 1}_from_{PREFILL + 1}",
    lambda i: i if i <= PREFILL else i + PREFILL - 1,
    archs=("qwen3",),
)
add_positions(
    f"positions_minus_1_from_{PREFILL}",
    lambda i: i if i < PREFILL else i - 1,
    archs=("qwen2",),
)


@bug(f"key_positions_stuck_at_{PREFILL - 1}_from_{PREFILL}", archs=("qwen3",))
def key_positions_stuck(patch):
    rotate = patch.modeling.apply_rotary_pos_emb

    def rotate_apart(q, k, cos, sin):
        at = torch.arange(cos.shape[1]).clamp(max=PREFILL - 1)
        q, _ = rotate(q, q, cos, sin)
        k, _ = rotate(k, k, cos[:, at], sin[:, at])
        return q, k

    patch.replace(patch.modeling, "apply_rotary_pos_emb", rotate_apart)


def states_and_last_logits(trace, dtype):
    """All that is kept of many positions."""
    kept = shift_states(trace, 0)
    return {**kept, "logits": trace["logits"][-1:].clone()}


@bug(
    "rope_positions_bf16",
    archs=("qwen2",),
    dtypes=("bfloat16",),
    is_rounding=True,
    bf16_tokens="very_many",
    edit=states_and_last_logits,
)
def rope_positions_bf16(patch):
    on_rope(
        patch,
        lambda forward, rope, x, at: forward(rope, x, at.bfloat16().float()),
    )


# Masks.


def add_mask(name, allowed, **traits):
    add(name, patch=lambda patch: use_mask(patch, allowed), **traits)


add_mask(
    f"prefill_unmasked_{PREFILL}",
    lambda i, j: (j <= i) | ((i < PREFILL) & (j < PREFILL)),
)
add_mask(
    f"cache_ignored_from_{PREFILL}",
    lambda i, j: (j <= i) & ((i < PREFILL) | (j >= PREFILL)),
)
add_mask(
    f"keys_hidden_before_1_from_{PREFILL}",
    lambda i, j: (j <= i) & ((i < PREFILL) | (j >= 1)),
    archs=("qwen3",),
)
# As of left padding. Rows 0 and 1 see nothing, which a mask of the lowest
# number makes the mean of all.
add_mask(
    "keys_hidden_before_2_uniform",
    lambda i, j: (j <= i) & (j >= 2),
    archs=("qwen2",),
)


# Biases.


def drop_biases(patch, names):
    for layer in patch.layers:
        for name in names:
            getattr(getattr(layer, name[0]), name[1]).bias = None


def add_biases(name, *names, **traits):
    add(name, patch=lambda patch: drop_biases(patch, names), **traits)


for x in "qkv":
    add_biases(
        f"{x}_bias_missing", ("self_attn", f"{x}_proj"), archs=("qwen2",)
    )
add_biases("o_bias_missing", ("self_attn", "o_proj"), archs=("llama",))
add_biases(
    "mlp_bias_missing",
    ("mlp", "gate_proj"),
    ("mlp", "up_proj"),
    ("mlp", "down_proj"),
    archs=("llama",),
)


# Orders of rows.


def neighbours(rows, heads):
    """The order in which halves of so many heads become neighbours."""
    return torch.arange(rows).view(heads, 2, -1).transpose(1, 2).flatten()


def order_rows(patch, name, order):
    for layer in patch.layers:
        projection = getattr(layer.self_attn, name)
        for tensor in (projection.weight, projection.bias):
            if tensor is not None:
                tensor.data = tensor.data[order].contiguous()


def orders(patch, k_heads=None):
    """Of the rows of q_proj and k_proj, by these heads of k_proj."""
    config = patch.model.config
    q_heads = config.num_attention_heads
    k_heads = k_heads or config.num_key_value_heads
    size = patch.layers[0].self_attn.head_dim
    return {
        "q_proj": neighbours(q_heads * size, q_heads),
        "k_proj": neighbours(config.num_key_value_heads * size, k_heads),
    }


@bug("qk_rows_neighbours", archs=("llama",), is_rounding=True)
def qk_rows_neighbours(patch):
    for name, order in orders(patch).items():
        order_rows(patch, name, order)
    BUGS["rope_neighbours"].patch(patch)


@bug("k_rows_as_q_heads", archs=("llama",))
def k_rows_as_q_heads(patch):
    q_heads = patch.model.config.num_attention_heads
    for name, order in orders(patch, q_heads).items():
        order_rows(patch, name, order)
    BUGS["rope_neighbours"].patch(patch)


@bug("k_rows_from_q_heads", archs=("llama",), dtypes=("float32",))
def k_rows_from_q_heads(patch):
    q_heads = patch.model.config.num_attention_heads
    order_rows(patch, "k_proj", orders(patch)["k_proj"])
    wrong = orders(patch, q_heads)["k_proj"]
    order_rows(patch, "k_proj", wrong.argsort())


@bug("qk_rows_permuted", archs=("llama",), dtypes=("bfloat16",))
def qk_rows_permuted(patch):
    for name, order in orders(patch).items():
        order_rows(patch, name, order)


@bug("qk_rows_unpermuted", archs=("llama",), dtypes=("float32",))
def qk_rows_unpermuted(patch):
    for name, order in orders(patch).items():
        order_rows(patch, name, order.argsort())


# What config.json says of RoPE.


def plain_frequencies(config, head_dim):
    theta = config.rope_parameters["rope_theta"]
    return theta ** -(torch.arange(0, head_dim, 2) / head_dim)


def ignore_scaling(patch):
    rope = patch.model.model.rotary_emb
    size = patch.layers[0].self_attn.head_dim
    rope.inv_freq = plain_frequencies(patch.model.config, size)
    rope.attention_scaling = 1.0


add("rope_scaling_llama3_ignored", patch=ignore_scaling, archs=("llama",))
add("rope_scaling_yarn_ignored", patch=ignore_scaling, archs=("qwen3_yarn",))
add(
    "rope_scaling_linear_ignored",
    patch=ignore_scaling,
    archs=("qwen2_linear",),
    dtypes=("float32",),
)


@bug("rope_scaling_attention_factor_ignored", archs=("qwen3_yarn",))
def attention_factor_ignored(patch):
    patch.model.model.rotary_emb.attention_scaling = 1.0


# Scales of weights.


def scale_weight(patch, module, name, factors):
    for layer, factor in zip(patch.layers, factors, strict=True):
        getattr(getattr(layer, module), name).weight.data *= factor


# 224 is half of the largest number of fp8 (e4m3).
add(
    "gate_proj_scaled_224",
    patch=lambda patch: scale_weight(patch, "mlp", "gate_proj", (224, 224)),
)
add(
    "k_proj_scaled",
    patch=lambda patch: scale_weight(patch, "self_attn", "k_proj", (6, 11)),
    archs=("qwen2",),
)
add(
    "down_proj@2_scaled_0.25",
    patch=lambda patch: scale_weight(patch, "mlp", "down_proj", (1, 0.25)),
    archs=("qwen3",),
    dtypes=("bfloat16",),
)


@bug("v_proj@2_scaled_1.1", archs=("qwen2",), dtypes=("float32",))
def v_scaled_in_layer_2(patch):
    projection = patch.layers[1].self_attn.v_proj
    forward = projection.forward
    projection.forward = lambda x: 1.1 * forward(x)


# One layer of several.


@bug("gelu@2", archs=("qwen3",))
def gelu_in_layer_2(patch):
    patch.layers[1].mlp.act_fn = nn.GELU()


@bug("norm_weight_plus_one@1", archs=("qwen2",), dtypes=("float32",))
def norms_of_layer_1(patch):
    layer = patch.layers[0]
    for norm in (layer.input_layernorm, layer.post_attention_layernorm):
        norm.weight.data = norm.weight.data + 1


@bug("kv_heads_tiled@2", archs=("qwen3",), dtypes=("bfloat16",))
def kv_heads_tiled_in_layer_2(patch):
    attend = patch.modeling.eager_attention_forward
    repeat = patch.modeling.repeat_kv
    of_layer_2 = patch.layers[1].self_attn

    def tiled(module, *args, **more):
        if module is of_layer_2:
            patch.modeling.repeat_kv = lambda x, n: x.repeat(1, n, 1, 1)
        output = attend(module, *args, **more)
        patch.modeling.repeat_kv = repeat
        return output

    patch.replace(patch.modeling, "eager_attention_forward", tiled)


# Logits.


def on_logits(patch, change):
    head = patch.model.lm_head
    forward = head.forward
    head.forward = lambda x: change(forward(x))


def add_logits(name, change, **traits):
    add(name, patch=lambda patch: on_logits(patch, change), **traits)


add_logits("logits_scaled_0.7", lambda x: 0.7 * x, archs=("qwen3",))
add_logits(
    "logits_log_softmax", lambda x: x.log_softmax(-1), archs=("qwen2",)
)
add_logits(
    "logits_capped_2", lambda x: 2 * torch.tanh(x / 2), archs=("qwen3",)
)


# What an engine that keeps a layer's output and the residual apart shows.


def states_as(trace, part):
    """The list of states, with `part` of each layer in the stream's place."""
    kept = shift_states(trace, 0)
    layers = len([name for name in kept if name.startswith("hidden_states")])
    for i in range(layers - 1):
        kept[f"hidden_states.{i + 1}"] = trace[f"model.layers.{i}.{part}"]
    return {name: tensor.clone() for name, tensor in kept.items()}


add(
    "states_are_mlp_output",
    edit=lambda trace, dtype: states_as(trace, "mlp.down_proj"),
)
add(
    "states_are_residual",
    edit=lambda trace, dtype: states_as(
        trace, "post_attention_layernorm.input"
    ),
)
