"""What a teacher says about classes that are unions of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fakd.functional.inputs import full_precision


def merge_logits(logits: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Return the logits of unions of classes, m_c = log sum_{t in groups[c]} exp(q_t).

    At temperature 1 their softmax is the probability of each union, sum_{t in groups[c]} softmax(q)_t, given that the
    class is in one of the groups: classes in none are left out, and the others keep their proportions. A loss divides m
    by its temperature tau afterwards, which sharpens or flattens that merged distribution:
    softmax(m / tau)_c ~ (sum_t exp q_t)^(1 / tau), and not sum_t exp(q_t / tau), which would favour unions of many
    classes the more the larger tau is. A group of one class has that class's logit.

    Args:
        logits: (B, T, h, w).
        groups: for each of the C classes, the indices in 0..T-1 of those it consists of; at least one.

    Returns:
        (B, C, h, w), float32 or float64.

    Raises:
        ValueError: a group is empty, or an index is not below T.

    Example:
        >>> scores = torch.tensor([0.5, 0.3, 0.2]).log().view(1, 3, 1, 1)
        >>> merge_logits(scores, [[0, 2], [1]]).softmax(1).flatten()
        tensor([0.7000, 0.3000])
    """
    total = logits.shape[1]
    if wrong := [c for c, group in enumerate(groups) if not group or min(group) < 0 or max(group) >= total]:
        raise ValueError(f"each group must be one or more of the {total} classes, but groups {wrong[:10]} are not")
    logits = full_precision(logits)
    # slices, as an index on the host would make it wait for the device
    members = ([logits[:, index : index + 1] for index in group] for group in groups)
    return torch.cat(
        [parts[0] if len(parts) == 1 else torch.cat(parts, 1).logsumexp(1, keepdim=True) for parts in members], 1
    )
