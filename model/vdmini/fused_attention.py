"""Attention of diffusers' video U-Nets, and the transformer blocks around it, with fewer passes over memory.

Frames stay in their order. Attention between the frames of one place reads queries, keys and values where they lie, by
strides: nothing is turned around for it. A context of a clip is asked by all its frames at once. Stock attention
divides its result by 1 and asks Python what its processor's arguments are called; here neither is done. Results differ
by rounding alone, weights and names stay.

Legend: B clips, F frames of each, P places of a frame, C channels, D features and K tokens of the context, L places or
frames that attend to each other, N rows of those, H heads.
"""

from typing import Any

from diffusers.models.attention import BasicTransformerBlock, TemporalBasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor2_0, FusedAttnProcessor2_0
from torch import Tensor
from torch.nn import functional


class FusedAttention(Attention):
    """Attention to itself or to a context; a single token of a context gets all attention from everywhere.

    Of any float dtype, which results keep. A processor that isn't diffusers' own is asked as in the stock class.
    """

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Return [N, L, C] for [N, L, C] and a context [N, K, D]; [N, 1, C] where the context is a single token."""
        if attention_mask is not None or not self.is_as_built:
            attended: Tensor = super().forward(hidden_states, encoder_hidden_states, attention_mask, **kwargs)
            return attended
        if encoder_hidden_states is not None and encoder_hidden_states.shape[1] == 1:
            told: Tensor = self.to_out[0](self.to_v(encoder_hidden_states))
            return told
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = self._projected(hidden_states, context)
        made = functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        )
        out: Tensor = self.to_out[0](made.transpose(1, 2).flatten(2))
        return out

    def over_time(self, hidden_states: Tensor) -> Tensor:
        """Return [B, F, P, C] for `hidden_states` [B, F, P, C], whose frames attend to each other place by place."""
        if not self.is_as_built:
            rows: Tensor = self(hidden_states.transpose(1, 2).flatten(0, 1))
            turned: Tensor = rows.unflatten(0, (len(hidden_states), -1)).transpose(1, 2)
            return turned
        query, key, value = (
            heads.permute(0, 2, 3, 1, 4).flatten(0, 1) for heads in self._projected(hidden_states, hidden_states)
        )
        made = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.to_out[0](made.unflatten(0, (len(hidden_states), -1)).permute(0, 3, 1, 2, 4).flatten(3))
        return out

    @property
    def is_as_built(self) -> bool:
        """Whether nobody exchanged its processor for one of another kind."""
        return type(self.processor) in (AttnProcessor2_0, FusedAttnProcessor2_0)

    def _projected(self, asking: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, [..., H, C / H]."""
        if not self.fused_projections:
            rows = self.to_q(asking), self.to_k(context), self.to_v(context)
        elif self.is_cross_attention:
            rows = self.to_q(asking), *self.to_kv(context).chunk(2, dim=-1)
        else:
            rows = self.to_qkv(asking).chunk(3, dim=-1)
        return tuple(one.unflatten(-1, (self.heads, -1)) for one in rows)


class FusedTransformerBlock(BasicTransformerBlock):
    """Attention to itself, to a context or to itself again, and a feed-forward layer."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        timestep: Tensor | None = None,
        cross_attention_kwargs: dict[str, Any] | None = None,
        **others: Any,
    ) -> Tensor:
        """Return [N, L, C] for `hidden_states` [N, L, C]; what isn't asked of video U-Nets is the stock class's."""
        if attention_mask is not None or encoder_attention_mask is not None or cross_attention_kwargs:
            told = {"timestep": timestep, "cross_attention_kwargs": cross_attention_kwargs} | others
            masked: Tensor = super().forward(
                hidden_states, attention_mask, encoder_hidden_states, encoder_attention_mask, **told
            )
            return masked
        hidden_states = hidden_states + self.attn1(self.norm1(hidden_states))
        if self.attn2 is not None:
            hidden_states = hidden_states + self.attn2(self.norm2(hidden_states), encoder_hidden_states)
        made: Tensor = hidden_states + self.ff(self.norm3(hidden_states))
        return made

    def over_time(self, hidden_states: Tensor) -> Tensor:
        """Return [B, F, P, C] for `hidden_states` [B, F, P, C]; there is no context."""
        hidden_states = hidden_states + self.attn1.over_time(self.norm1(hidden_states))
        if self.attn2 is not None:
            hidden_states = hidden_states + self.attn2.over_time(self.norm2(hidden_states))
        made: Tensor = hidden_states + self.ff(self.norm3(hidden_states))
        return made


class FusedTemporalTransformerBlock(TemporalBasicTransformerBlock):
    """Attention between frames and to a context, between two feed-forward layers."""

    def over_time(self, hidden_states: Tensor, context_BKD: Tensor) -> Tensor:
        """Return [B, F, P, C] for `hidden_states` [B, F, P, C]."""
        made: Tensor = self.ff_in(self.norm_in(hidden_states))
        hidden_states = made + hidden_states if self.is_res else made
        hidden_states = hidden_states + self.attn1.over_time(self.norm1(hidden_states))
        if self.attn2 is not None:
            rows = hidden_states.flatten(1, 2)
            rows = rows + self.attn2(self.norm2(rows), context_BKD)
            hidden_states = rows.view_as(hidden_states)
        made = self.ff(self.norm3(hidden_states))
        return made + hidden_states if self.is_res else made


def usual_attention(attention: Any) -> bool:
    """Whether it is a plain one, with neither norms nor a residual of its own."""
    own = attention.group_norm, attention.spatial_norm, attention.norm_q, attention.norm_k
    return bool(
        type(attention) is Attention
        and all(norm is None for norm in own)
        and not attention.norm_cross
        and not attention.residual_connection
        and attention.rescale_output_factor == 1
        and type(attention.processor) is AttnProcessor2_0
    )


def usual_block(block: Any) -> bool:
    """Whether it is one of a video U-Net: plain norms and attentions, no positions, no gates, no chunks."""
    return bool(
        block.norm_type == "layer_norm"
        and block.pos_embed is None
        and not hasattr(block, "fuser")
        and not block.only_cross_attention
        and usual_temporal_block(block)
    )


def usual_temporal_block(block: Any) -> bool:
    """Whether its attentions are plain and its feed-forward layers see all rows at once."""
    attentions = [block.attn1] + ([block.attn2] if block.attn2 is not None else [])
    return block._chunk_size is None and all(map(usual_attention, attentions))


def attends_to_itself(block: Any) -> bool:
    """Whether a block of a temporal transformer needs no context."""
    return bool(block.attn2 is None or not block.attn2.is_cross_attention)
