"""Pre-norm Transformer blocks, for encoders and language models."""

from collections.abc import Sequence

from asr.model.attention import Attention
from asr.model.branches import AttentionBranch, Branch, FeedForwardBranch
from asr.model.stack import Block


def transformer_blocks(
    attentions: Sequence[Attention], *, width: int, feed_forward_expansion: int, dropout: float
) -> list[Block]:
    """Attention and, unless it replaces it, a feed-forward module.

    Args:
        attentions: The attention of each block.
        width: Features of each frame.
        feed_forward_expansion: Hidden width of the feed-forward module as a multiple of the width;
            0 is no such module.
        dropout: Dropout probability.

    Returns:
        One block an attention.

    Source: Vaswani et al. 2017, section 3.1, with the norms in front of the branches.
    """
    blocks = []
    for attention in attentions:
        branches: list[Branch] = [AttentionBranch(attention, width=width, dropout=dropout)]
        hidden_width = feed_forward_expansion * width
        if hidden_width and not attention.capabilities.replaces_feed_forward:
            branches.append(
                FeedForwardBranch(width=width, hidden_width=hidden_width, dropout=dropout)
            )
        blocks.append(Block(branches))
    return blocks
