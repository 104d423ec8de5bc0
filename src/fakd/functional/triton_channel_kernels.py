"""Triton kernels of the channel-wise divergences; `triton_channel` launches them.

`channel_blocks` and `channel_tight_blocks` have the formulas and, in PyTorch, the reference. A map (b, c) comes once
from memory: what the tight form reads again lies in the cache. All is in nats and float32.
"""

# mypy: ignore-errors
import triton
import triton.language as tl


@triton.jit
def _load_logits(pointer, image, row, i, valid, width, s0, s1, s2, s3, scale):
    """Logits / tau at positions i of map (image, row), in any layout."""
    where = pointer + image.to(tl.int64) * s0 + row.to(tl.int64) * s1 + (i // width) * s2 + (i % width) * s3
    return tl.load(where, mask=valid, other=0.0).to(tl.float32) * scale


@triton.jit
def _load_by_label(table, labels, image, row, i, valid, positions, columns):
    """A table's entries for map `row` at the labels of positions i."""
    column = tl.load(labels + image.to(tl.int64) * positions + i, mask=valid, other=0)
    return tl.load(table + row * columns + column, mask=valid, other=0.0)


@triton.jit
def divergence_kernel(
    z, q, labels, table, rows, statistics,
    classes, positions, width, columns, scale,
    z0, z1, z2, z3, q0, q1, q2, q3,
    AUGMENTED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The plain form, or the paper's: a program makes a map's value and its normalisers, in one pass."""
    index = tl.program_id(0)
    image, row = index // classes, index % classes
    first = tl.arange(0, BLOCK)
    # the first position starts the maxima, so that none is ever infinite
    start = tl.zeros([1], tl.int32)
    here = start == 0
    largest = _load_logits(z, image, row, start, here, width, z0, z1, z2, z3, scale)
    if AUGMENTED:
        largest += _load_by_label(table, labels, image, row, start, here, positions, columns)
    largest = tl.max(largest, 0)
    largest_q = tl.max(_load_logits(q, image, row, start, here, width, q0, q1, q2, q3, scale), 0)
    total, total_q, expected = 0.0, 0.0, 0.0
    for block in range(0, positions, BLOCK):
        i = block + first
        valid = i < positions
        s = _load_logits(z, image, row, i, valid, width, z0, z1, z2, z3, scale)
        t = _load_logits(q, image, row, i, valid, width, q0, q1, q2, q3, scale)
        v = tl.zeros([BLOCK], tl.float32)
        if AUGMENTED:
            v = _load_by_label(table, labels, image, row, i, valid, positions, columns)
            s += v
        grown = tl.maximum(largest, tl.max(tl.where(valid, s, float("-inf")), 0))
        grown_q = tl.maximum(largest_q, tl.max(tl.where(valid, t, float("-inf")), 0))
        rise, rise_q = grown - largest, grown_q - largest_q
        p = tl.where(valid, tl.exp(t - grown_q), 0.0)
        terms = tl.where(valid, (t - grown_q) - (s - grown) + 2 * v, 0.0)
        expected = tl.exp(-rise_q) * (expected + total_q * (rise - rise_q)) + tl.sum(p * terms, 0)
        total = tl.exp(-rise) * total + tl.sum(tl.where(valid, tl.exp(s - grown), 0.0), 0)
        total_q = tl.exp(-rise_q) * total_q + tl.sum(p, 0)
        largest, largest_q = grown, grown_q
    tl.store(rows + index, expected / total_q + tl.log(total) - tl.log(total_q))
    count = tl.num_programs(0)
    tl.store(statistics + index, largest)
    tl.store(statistics + count + index, total)
    tl.store(statistics + 2 * count + index, largest_q)
    tl.store(statistics + 3 * count + index, total_q)


@triton.jit
def tight_divergence_kernel(
    z, q, labels, table, shrinkage, rows, statistics, peaks,
    classes, positions, width, columns, scale,
    z0, z1, z2, z3, q0, q1, q2, q3,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The tight form of a map: its peak first, then the logsumexp of all others, then the value."""
    index = tl.program_id(0)
    image, row = index // classes, index % classes
    first = tl.arange(0, BLOCK)
    lowest = -3.0e38
    peak, largest_q, at = float("-inf"), float("-inf"), 0
    for block in range(0, positions, BLOCK):
        i = block + first
        valid = i < positions
        s = _load_logits(z, image, row, i, valid, width, z0, z1, z2, z3, scale)
        s += _load_by_label(table, labels, image, row, i, valid, positions, columns)
        t = _load_logits(q, image, row, i, valid, width, q0, q1, q2, q3, scale)
        own, where = tl.max(tl.where(valid, s, float("-inf")), 0, return_indices=True)
        at = tl.where(own > peak, block + where, at)
        peak = tl.maximum(peak, own)
        largest_q = tl.maximum(largest_q, tl.max(tl.where(valid, t, float("-inf")), 0))
    second, total, total_q = lowest, 0.0, 0.0
    for block in range(0, positions, BLOCK):
        i = block + first
        valid = i < positions
        other = valid & (i != at)
        s = _load_logits(z, image, row, i, valid, width, z0, z1, z2, z3, scale)
        s += _load_by_label(table, labels, image, row, i, valid, positions, columns)
        t = _load_logits(q, image, row, i, valid, width, q0, q1, q2, q3, scale)
        grown = tl.maximum(second, tl.max(tl.where(other, s - peak, float("-inf")), 0))
        total = tl.exp(second - grown) * total + tl.sum(tl.where(other, tl.exp(s - peak - grown), 0.0), 0)
        second = grown
        total_q += tl.sum(tl.where(valid, tl.exp(t - largest_q), 0.0), 0)
    others = tl.where(total > 0, second + tl.log(tl.maximum(total, 1e-30)), lowest)
    log_total = tl.maximum(others, 0.0) + tl.log(1 + tl.exp(-tl.abs(others)))
    expected, x_others, x_peak = 0.0, 0.0, 0.0
    for block in range(0, positions, BLOCK):
        i = block + first
        valid = i < positions
        s = _load_logits(z, image, row, i, valid, width, z0, z1, z2, z3, scale)
        t = _load_logits(q, image, row, i, valid, width, q0, q1, q2, q3, scale)
        v = _load_by_label(table, labels, image, row, i, valid, positions, columns)
        w = _load_by_label(shrinkage, labels, image, row, i, valid, positions, columns)
        s += v - peak
        is_peak = i == at
        other = valid & (i != at)
        kept = tl.where(other, 1 - w * tl.exp(tl.where(other, s, 0.0) - log_total), 1.0)
        rise = 2 * v + others
        at_peak = tl.maximum(rise, 0.0) + tl.log(1 + tl.exp(-tl.abs(rise))) - log_total
        terms = tl.where(is_peak, at_peak, tl.log(kept) - s + 2 * v)
        p = tl.where(valid, tl.exp(t - largest_q), 0.0) / total_q
        expected += tl.sum(tl.where(valid, p * (terms + (t - largest_q)), 0.0), 0)
        x_others += tl.sum(tl.where(other, p / kept, 0.0), 0)
        x_peak += tl.sum(tl.where(is_peak, p / (1 + tl.exp(-rise)), 0.0), 0)
    tl.store(rows + index, expected - tl.log(total_q) + log_total)
    count = tl.num_programs(0)
    tl.store(peaks + index, at)
    tl.store(statistics + index, peak)
    tl.store(statistics + count + index, others)
    tl.store(statistics + 2 * count + index, largest_q)
    tl.store(statistics + 3 * count + index, total_q)
    tl.store(statistics + 4 * count + index, x_others)
    tl.store(statistics + 5 * count + index, x_peak)


@triton.jit
def gradient_kernel(
    z, q, labels, table, shrinkage, statistics, peaks, upstream, of_student, of_table,
    classes, positions, width, columns, scale,
    z0, z1, z2, z3, q0, q1, q2, q3, g0, g1, g2, g3,
    AUGMENTED: tl.constexpr, TIGHT: tl.constexpr, OF_STUDENT: tl.constexpr, OF_TABLE: tl.constexpr,
    MAPS: tl.constexpr, BLOCK: tl.constexpr, SPAN: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Gradients of some maps of an image at a span of its positions, in one pass.

    That of the table is summed over the span as a product with the labels' one-hot rows, into a part of its own: no
    atomic addition, so that the order of the sum is fixed.
    """
    image, part = tl.program_id(0), tl.program_id(2)
    row = tl.program_id(1) * MAPS + tl.arange(0, MAPS)
    real = row < classes
    count = tl.num_programs(0).to(tl.int64) * classes
    own = statistics + image * classes + row
    largest = tl.load(own, mask=real, other=0.0)[:, None]
    second = tl.load(own + count, mask=real, other=1.0)[:, None]
    largest_q = tl.load(own + 2 * count, mask=real, other=0.0)[:, None]
    total_q = tl.load(own + 3 * count, mask=real, other=1.0)[:, None]
    if TIGHT:
        at = tl.load(peaks + image * classes + row, mask=real, other=0)[:, None]
        x_others = tl.load(own + 4 * count, mask=real, other=0.0)[:, None]
        x_peak = tl.load(own + 5 * count, mask=real, other=0.0)[:, None]
        rest = 1 / (1 + tl.exp(-second))
        at_peak = x_others / (1 + tl.exp(second)) - x_peak
    factor = tl.load(upstream)
    sums = tl.zeros([MAPS, COLUMNS], tl.float32)
    for block in range(part * SPAN, tl.minimum((part + 1) * SPAN, positions), BLOCK):
        i = block + tl.arange(0, BLOCK)
        valid = real[:, None] & (i < positions)[None, :]
        r, k = row[:, None], i[None, :]
        s = _load_logits(z, image, r, k, valid, width, z0, z1, z2, z3, scale)
        t = _load_logits(q, image, r, k, valid, width, q0, q1, q2, q3, scale)
        if AUGMENTED:
            label = tl.load(labels + image.to(tl.int64) * positions + i, mask=i < positions, other=-1).to(tl.int32)
            s += tl.load(table + r * columns + label[None, :], mask=valid, other=0.0)
        p = tl.exp(t - largest_q) / total_q
        if TIGHT:
            w = tl.load(shrinkage + r * columns + label[None, :], mask=valid, other=0.0)
            is_peak = k == at
            lower = tl.where(is_peak, 0.0, s - largest)
            share = tl.exp(lower - second)  # pi / (1 - pi_m)
            pi = share * rest
            x = p / tl.where(is_peak, 1.0, 1 - w * pi)
            of_scores = tl.where(is_peak, at_peak, share * (x_others * rest + x_peak) - x)
            of_variances = of_scores + 2 * tl.where(is_peak, x_peak, x * (1 - pi))
        else:
            pi = tl.exp(s - largest) / second
            of_scores, of_variances = pi - p, pi + p
        if OF_STUDENT:
            where = of_student + image.to(tl.int64) * g0 + r.to(tl.int64) * g1 + (k // width) * g2 + (k % width) * g3
            tl.store(where, of_scores * (factor * scale), mask=valid)
        if OF_TABLE:
            one_hot = (label[:, None] == tl.arange(0, COLUMNS)[None, :]).to(tl.float32)
            sums += tl.dot(tl.where(valid, of_variances, 0.0), one_hot, input_precision="tf32x3")
    if OF_TABLE:
        column = tl.arange(0, COLUMNS)
        inside = real[:, None] & (column < columns)[None, :]
        # parts of one image follow each other
        base = (image * tl.num_programs(2) + part).to(tl.int64) * classes * columns
        where = of_table + base + row[:, None] * columns + column[None, :]
        tl.store(where, sums * factor, mask=inside)
