"""Triton kernels of the pixel-wise divergences, plain and the paper's; `triton_pixel` launches them.

`pixel_tiles` has the formulas and, in PyTorch, the reference. A program has all classes of some pixels at once: sums
over classes need no second look, and the gradient's program makes them again. All is in nats and float32; products
have three passes of TF32, which together keep float32's digits.
"""

# mypy: ignore-errors
import triton
import triton.language as tl

from fakd.functional.triton_channel_kernels import _load_logits


@triton.jit
def pixel_kernel(
    z, q, factors, shifts, values, upstream, of_student, shares, tops,
    classes, positions, width, scale,
    z0, z1, z2, z3, q0, q1, q2, q3, g0, g1, g2, g3,
    AUGMENTED: tl.constexpr, GRADIENT: tl.constexpr, OF_STUDENT: tl.constexpr, OF_TABLE: tl.constexpr,
    CLASSES: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The divergence of every pixel; or the gradient, with what `pixel_table_kernel` wants to know."""
    image = tl.program_id(1)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c = tl.arange(0, CLASSES)
    valid = i < positions
    inside = (c < classes)[:, None] & valid[None, :]
    s = _load_logits(z, image, c[:, None], i[None, :], inside, width, z0, z1, z2, z3, scale)
    t = _load_logits(q, image, c[:, None], i[None, :], inside, width, q0, q1, q2, q3, scale)
    top = tl.where(valid, tl.max(tl.where(inside, s, float("-inf")), 0), 0.0)
    top_q = tl.where(valid, tl.max(tl.where(inside, t, float("-inf")), 0), 0.0)
    s = tl.where(inside, s - top[None, :], 0.0)
    t = tl.where(inside, t - top_q[None, :], 0.0)
    e = tl.where(inside, tl.exp(s), 0.0)
    p = tl.where(inside, tl.exp(t), 0.0)
    total_q = tl.where(valid, tl.sum(p, 0), 1.0)
    p /= total_q[None, :]
    total = tl.where(valid, tl.sum(e, 0), 1.0)
    value = tl.sum(p * (t - s), 0) - tl.log(total_q)
    mixture = e
    if AUGMENTED:
        mixture = tl.zeros([CLASSES, BLOCK], tl.float32)
        for start in range(0, classes, TILE):
            r = start + tl.arange(0, TILE)
            here = (r < classes)[:, None] & valid[None, :]
            rows = tl.load(
                factors + r[:, None] * classes + c[None, :],
                mask=(r < classes)[:, None] & (c < classes)[None, :],
                other=0.0,
            )
            sums = tl.where(here, tl.dot(rows, e, input_precision="tf32x3"), 1.0)
            own = _load_logits(q, image, r[:, None], i[None, :], here, width, q0, q1, q2, q3, scale)
            own = tl.where(here, tl.exp(own - top_q[None, :]), 0.0) / total_q[None, :]
            if GRADIENT:
                share = own / sums
                if OF_TABLE:
                    where = (image.to(tl.int64) * classes + r[:, None]) * positions + i[None, :]
                    tl.store(shares + where, share, mask=here)
                columns = tl.load(
                    factors + r[None, :] * classes + c[:, None],
                    mask=(r < classes)[None, :] & (c < classes)[:, None],
                    other=0.0,
                )
                mixture += tl.dot(columns, share, input_precision="tf32x3")
            else:
                shift = tl.load(shifts + r, mask=r < classes, other=0.0)
                value += tl.sum(own * (tl.log(sums) + shift[:, None]), 0)
        mixture *= e
    else:
        mixture = e / total[None, :]
        value += tl.log(total)
    pixel = image.to(tl.int64) * positions + i
    if GRADIENT:
        if OF_STUDENT:
            k, n = c[:, None].to(tl.int64), i[None, :]
            # again, rather than kept in registers all the while
            t = _load_logits(q, image, c[:, None], i[None, :], inside, width, q0, q1, q2, q3, scale)
            p = tl.where(inside, tl.exp(tl.where(inside, t - top_q[None, :], 0.0)), 0.0) / total_q[None, :]
            where = of_student + image.to(tl.int64) * g0 + k * g1 + (n // width) * g2 + (n % width) * g3
            tl.store(where, (mixture - p) * (tl.load(upstream) * scale), mask=inside)
        if OF_TABLE:
            tl.store(tops + pixel, top, mask=valid)
    else:
        tl.store(values + pixel, value, mask=valid)


@triton.jit
def pixel_table_kernel(
    z, shares, tops, factors, upstream, of_table,
    classes, positions, width, scale, parts,
    z0, z1, z2, z3,
    TILE: tl.constexpr, BLOCK: tl.constexpr, SPAN: tl.constexpr,
):  # fmt: skip
    """A tile of the table's gradient, summed over a span of an image's pixels: no atomic addition."""
    image, part = tl.program_id(2) // parts, tl.program_id(2) % parts
    r = tl.program_id(0) * TILE + tl.arange(0, TILE)
    c = tl.program_id(1) * TILE + tl.arange(0, TILE)
    sums = tl.zeros([TILE, TILE], tl.float32)
    for block in range(part * SPAN, tl.minimum((part + 1) * SPAN, positions), BLOCK):
        i = block + tl.arange(0, BLOCK)
        valid = i < positions
        where = (image.to(tl.int64) * classes + r[:, None]) * positions + i[None, :]
        share = tl.load(shares + where, mask=(r < classes)[:, None] & valid[None, :], other=0.0)
        inside = (c < classes)[None, :] & valid[:, None]
        s = _load_logits(z, image, c[None, :], i[:, None], inside, width, z0, z1, z2, z3, scale)
        top = tl.load(tops + image.to(tl.int64) * positions + i, mask=valid, other=0.0)
        e = tl.where(inside, tl.exp(tl.where(inside, s - top[:, None], 0.0)), 0.0)
        sums += tl.dot(share, e, input_precision="tf32x3")
    inside = (r < classes)[:, None] & (c < classes)[None, :]
    entry = r[:, None] * classes + c[None, :]
    factor = tl.load(factors + entry, mask=inside, other=0.0)
    base = tl.program_id(2).to(tl.int64) * classes * classes
    tl.store(of_table + base + entry, sums * factor * tl.load(upstream), mask=inside)
