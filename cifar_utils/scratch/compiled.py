"""The inner loops of `one_hidden`, compiled by numba: one letter after the other through one hidden layer."""

from __future__ import annotations

import numpy as np
from numba import njit

# Sums may be taken in another order (so that they use the wide registers); NaN and infinity stay themselves.
_fast = {"reassoc", "contract"}


@njit(nogil=True, fastmath=_fast)
def forward(weights, columns, values, kind, hidden, logp):
    """Write the hidden values and the log probabilities of one example."""
    w1, b1, w2, b2 = weights
    for j in range(hidden.size):
        hidden[j] = b1[j]
    for i in range(columns.size):
        line, value = w1[columns[i]], values[i]
        for j in range(hidden.size):
            hidden[j] += value * line[j]
    for j in range(hidden.size):
        if kind == 0:
            hidden[j] = 1.0 / (1.0 + np.exp(-hidden[j]))
        elif kind == 1:
            hidden[j] = np.tanh(hidden[j])
        else:
            hidden[j] = max(hidden[j], 0.0)
    top, total = -np.inf, 0.0
    for k in range(logp.size):
        score = b2[k]
        for j in range(hidden.size):
            score += w2[k, j] * hidden[j]
        logp[k] = score
        top = max(top, score)
    for k in range(logp.size):
        total += np.exp(logp[k] - top)
    top += np.log(total)
    for k in range(logp.size):
        logp[k] -= top


@njit(nogil=True)
def slope(kind, h):
    """Return an activation's derivative, from its value."""
    if kind == 0:
        return h * (1.0 - h)
    if kind == 1:
        return 1.0 - h * h
    return 1.0 if h > 0.0 else 0.0


@njit(nogil=True, fastmath=_fast)
def epoch(weights, first, columns, values, y, order, lr, l2, kind):
    """Take one step of gradient descent for every example, in the order given; weights change in place."""
    w1, b1, w2, b2 = weights
    hidden, delta, logp = np.empty(b1.size), np.empty(b1.size), np.empty(b2.size)
    keep = 1.0 - lr * l2
    for n in order:
        ink, value = columns[first[n] : first[n + 1]], values[first[n] : first[n + 1]]
        forward(weights, ink, value, kind, hidden, logp)
        for j in range(b1.size):
            delta[j] = 0.0
        for k in range(b2.size):
            error = np.exp(logp[k]) - (1.0 if k == y[n] else 0.0)  # derivative of cross-entropy by the score
            b2[k] -= lr * error
            for j in range(b1.size):
                delta[j] += error * w2[k, j]  # by the old weight, before it moves
                w2[k, j] = keep * w2[k, j] - lr * error * hidden[j]
        for j in range(b1.size):
            delta[j] *= lr * slope(kind, hidden[j])
            b1[j] -= delta[j]
        if l2 != 0.0:
            for i in range(w1.shape[0]):
                for j in range(b1.size):
                    w1[i, j] *= keep
        for i in range(ink.size):
            line, v = w1[ink[i]], value[i]
            for j in range(b1.size):
                line[j] -= v * delta[j]


@njit(nogil=True, fastmath=_fast)
def epoch_of_batches(
    weights, gradients, means, squares, first, columns, values, y, order, batch, lr, l2, kind, adam, steps
):
    """As `epoch`, with a step for every `batch` examples; return how many steps were taken in all."""
    w1, b1, w2, b2 = weights
    g1, gb1, g2, gb2 = gradients
    hidden, delta, logp = np.empty(b1.size), np.empty(b1.size), np.empty(b2.size)
    for start in range(0, order.size, batch):
        some = order[start : start + batch]
        begin(g1.ravel(), w1.ravel(), l2)
        begin(gb1, b1, 0.0)
        begin(g2.ravel(), w2.ravel(), l2)
        begin(gb2, b2, 0.0)
        for n in some:
            ink, value = columns[first[n] : first[n + 1]], values[first[n] : first[n + 1]]
            forward(weights, ink, value, kind, hidden, logp)
            for j in range(b1.size):
                delta[j] = 0.0
            for k in range(b2.size):
                error = (np.exp(logp[k]) - (1.0 if k == y[n] else 0.0)) / some.size
                gb2[k] += error
                for j in range(b1.size):
                    delta[j] += error * w2[k, j]
                    g2[k, j] += error * hidden[j]
            for j in range(b1.size):
                delta[j] *= slope(kind, hidden[j])
                gb1[j] += delta[j]
            for i in range(ink.size):
                line, v = g1[ink[i]], value[i]
                for j in range(b1.size):
                    line[j] += v * delta[j]
        steps += 1
        rate, second = lr / (1.0 - 0.9**steps), 1.0 / (1.0 - 0.999**steps)
        step(w1.ravel(), g1.ravel(), means[0].ravel(), squares[0].ravel(), lr, adam, rate, second)
        step(b1, gb1, means[1], squares[1], lr, adam, rate, second)
        step(w2.ravel(), g2.ravel(), means[2].ravel(), squares[2].ravel(), lr, adam, rate, second)
        step(b2, gb2, means[3], squares[3], lr, adam, rate, second)
    return steps


@njit(nogil=True)
def begin(g, w, l2):
    """Begin a batch's gradient (n,) with that of the weight decay."""
    for i in range(g.size):
        g[i] = l2 * w[i]


@njit(nogil=True, fastmath=_fast)
def step(w, g, mean, square, lr, adam, rate, second):
    """Move weights (n,) along their gradients; `rate` and `second` hold Adam's corrections for its first steps."""
    if adam:
        for i in range(w.size):
            mean[i] = 0.9 * mean[i] + 0.1 * g[i]
            square[i] = 0.999 * square[i] + 0.001 * g[i] * g[i]
            w[i] -= rate * mean[i] / (np.sqrt(second * square[i]) + 1e-8)
    else:
        for i in range(w.size):
            w[i] -= lr * g[i]


@njit(nogil=True, fastmath=_fast)
def evaluate(weights, first, columns, values, y, kind, each):
    """Write every example's cross-entropy into `each` (N,) and return the accuracy."""
    hidden, logp = np.empty(weights[1].size), np.empty(weights[3].size)
    hits = 0
    for n in range(y.size):
        ink, value = columns[first[n] : first[n + 1]], values[first[n] : first[n + 1]]
        forward(weights, ink, value, kind, hidden, logp)
        each[n] = -logp[y[n]]
        best = 0
        for k in range(1, logp.size):
            best = k if logp[k] > logp[best] else best
        hits += best == y[n]
    return hits / y.size
