"""The method page as float64 loops over scalars, one line per formula; nothing here is shared with the package."""

import math

import numpy as np


def logsumexp(values):
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def log_softmax(values):
    total = logsumexp(values)
    return [value - total for value in values]


def variance(direction, sigma):
    """w^T Sigma w, Sigma diagonal (A,) or full (A, A)."""
    if sigma.ndim == 1:
        sigma = np.diag(sigma)
    return sum(direction[a] * sigma[a, b] * direction[b] for a in range(len(direction)) for b in range(len(direction)))


def kl(teacher, student):
    """KL of the softmaxes of two lists of scores."""
    return sum(
        math.exp(log_p) * (log_p - log_s)
        for log_p, log_s in zip(log_softmax(teacher), log_softmax(student), strict=True)
    )


def flat(maps):
    """(B, C, h, w) as float64 (B, C, M)."""
    maps = np.asarray(maps, dtype=np.float64)
    return maps.reshape(*maps.shape[:2], -1)


def pixel_kd(z, q, *, tau):
    z, q = flat(z) / tau, flat(q) / tau
    batch, _, positions = z.shape
    total = sum(kl(q[b, :, i], z[b, :, i]) for b in range(batch) for i in range(positions))
    return tau**2 / (batch * positions) * total


def channel_kd(z, q, *, tau):
    z, q = flat(z) / tau, flat(q) / tau
    batch, classes, _ = z.shape
    total = sum(kl(q[b, c], z[b, c]) for b in range(batch) for c in range(classes))
    return tau**2 / (batch * classes) * total


def augmented_channel_kd(z, q, y, w, sigma, *, strength, tau, bound):
    z, q, y = flat(z) / tau, flat(q) / tau, np.asarray(y).reshape(len(y), -1)
    w, sigma = (np.asarray(x, dtype=np.float64) for x in (w, sigma))
    g = strength / (2 * tau) if bound == "paper" else strength / (2 * tau**2)
    batch, classes, positions = z.shape
    total = 0.0
    for b in range(batch):
        for c in range(classes):
            v = [0.0 if y[b, i] == 255 else g * variance(w[c], sigma[y[b, i]]) for i in range(positions)]
            log_p, score = log_softmax(q[b, c]), z[b, c]
            for i in range(positions):
                if bound == "paper":
                    inner = logsumexp([score[k] + v[k] for k in range(positions)]) - (score[i] - v[i])
                else:  # E exp(s^_k - s^_i), which is exactly 1 for k = i
                    inner = logsumexp([0.0 if k == i else score[k] - score[i] + v[k] + v[i] for k in range(positions)])
                total += math.exp(log_p[i]) * (inner + log_p[i])
    return tau**2 / (batch * classes) * total


def augmented_pixel_kd(z, q, y, w, sigma, *, strength, tau, bound):
    z, q, y = flat(z) / tau, flat(q) / tau, np.asarray(y).reshape(len(y), -1)
    w, sigma = (np.asarray(x, dtype=np.float64) for x in (w, sigma))
    batch, classes, positions = z.shape
    total = 0.0
    for b in range(batch):
        for i in range(positions):
            log_p, score = log_softmax(q[b, :, i]), z[b, :, i]
            for c in range(classes):
                a = c if bound == "paper" else y[b, i]
                zero = np.zeros_like(sigma[0])
                s = zero if a == 255 else sigma[a]
                inner = logsumexp(
                    [score[k] - score[c] + strength / (2 * tau**2) * variance(w[k] - w[c], s) for k in range(classes)]
                )
                total += math.exp(log_p[c]) * (inner + log_p[c])
    return tau**2 / (batch * positions) * total


def class_moments(features, labels, classes):
    """count (C,), mean (C, A) and full population covariance (C, A, A) of all pixels with each label."""
    features = np.asarray(features, dtype=np.float64)
    vectors = np.moveaxis(features, 1, -1).reshape(-1, features.shape[1])
    labels = np.asarray(labels).reshape(-1)
    channels = vectors.shape[1]
    count, mean, covariance = np.zeros(classes), np.zeros((classes, channels)), np.zeros((classes, channels, channels))
    for c in range(classes):
        members = vectors[labels == c]
        count[c] = len(members)
        if len(members):
            mean[c] = members.mean(0)
            covariance[c] = np.cov(members.T, bias=True)  # NumPy 1 takes one row for a variable, whatever rowvar says
    return count, mean, covariance
