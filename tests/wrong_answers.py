"""Wrong answers that no worksheet's table lists, as students write them, and what a check says to each.

    python tests/wrong_answers.py          a line for each, and the verdicts counted
    python tests/wrong_answers.py 6        of worksheet 6

An answer is an expression in the exercise's parameters, or the lines of a function's body.
"""

import collections
import linecache
import re
import sys
import textwrap

import keras
import numpy as np
from keras import layers, ops
from scipy import special, stats

from kvae import applications
from kvae.worksheet import checking, exercise

FUNCTIONS = {
    "1.1 x": [
        "x.reshape(len(x), -1) - np.median(x.reshape(len(x), -1), axis=0)",
        "x.reshape(5, 6) - x.reshape(5, 6).mean(axis=0)",
        "rows = x.reshape(len(x), -1)\nrows -= rows.mean(axis=0)\nreturn rows",
        "x.reshape(len(x), -1) - x.reshape(len(x), -1).max(axis=0)",
        "x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(axis=0) / 2",
        "x.reshape(len(x), -1) + x.reshape(len(x), -1).mean(axis=0)",
        "2 * x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(axis=0)",
        "x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(axis=0) + 0.5",
        "[list(row) for row in x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(axis=0)]",
        "x.reshape(x.shape[1] * x.shape[2], -1) - x.reshape(x.shape[1] * x.shape[2], -1).mean(axis=0)",
    ],
    "1.2 x, w": [
        "np.mean((x @ w / np.linalg.norm(w)) ** 2) * 2",
        "np.median((x @ (w / np.linalg.norm(w))) ** 2)",
        "np.mean((x @ (w / np.abs(w).sum())) ** 2)",
        "np.mean((x @ (w / np.max(w))) ** 2)",
        "np.sum((x @ (w / np.linalg.norm(w))) ** 2) / (len(x) - 1)",
        "np.sum((x @ (w / np.linalg.norm(w))) ** 2) / 6",
        "w = w / np.linalg.norm(w)\nreturn np.mean(x @ w ** 2)",
        "w /= np.linalg.norm(w)\nreturn np.mean((x @ w) ** 2)",
        "np.max((x @ (w / np.linalg.norm(w))) ** 2)",
        "np.mean((x @ (w / np.linalg.norm(w))) ** 3)",
    ],
    "1.3 x, k": [
        "np.linalg.svd(x, full_matrices=False)[2][:k].T[::-1]",
        "np.linalg.svd(x, full_matrices=False)[2][: k + 1].T",
        "np.linalg.svd(x, full_matrices=False)[2][1 : k + 1].T",
        "np.linalg.svd(x, full_matrices=False)[2][:2].T",
        "np.linalg.svd(x, full_matrices=False)[2].T[:k]",
        "np.eye(x.shape[1])[:, :k]",
        "np.linalg.svd(x.T, full_matrices=False)[2][:k].T",
        "2 * np.linalg.svd(x, full_matrices=False)[2][:k].T",
    ],
    "1.4 x, mean, w": [
        "(x - mean) @ w @ w.T + 2 * mean",
        "(x - x.mean(axis=0)) @ w @ w.T + mean",
        "x -= mean\nreturn x @ w @ w.T + mean",
        "(x - mean) * w @ w.T + mean",
        "(x + mean) @ w @ w.T + mean",
        "z = (x - mean) @ w\nreturn z @ w.T + mean.mean()",
        "z = (x - mean) @ w\nreturn np.abs(z) @ w.T + mean",
        "z = (x - mean) @ w\nreturn z[:, :1] @ w.T[:1] + mean",
    ],
    "1.5 x, mean, w": [
        "np.sum((x - reconstruct(x, mean, w)) ** 4, axis=1)",
        "np.max((x - reconstruct(x, mean, w)) ** 2, axis=1)",
        "np.sum((x + reconstruct(x, mean, w)) ** 2, axis=1)",
        "0.5 * np.sum((x - reconstruct(x, mean, w)) ** 2, axis=1)",
        "np.sum((x - reconstruct(x, mean, w)) ** 2, axis=1, keepdims=True)",
        "np.sum((x - mean - reconstruct(x, mean, w)) ** 2, axis=1)",
        "np.sum(x**2 - reconstruct(x, mean, w) ** 2, axis=1)",
        "np.median((x - reconstruct(x, mean, w)) ** 2, axis=1)",
    ],
    "1.7 noise, mean, w, variances": [
        "mean + noise * np.sqrt(variances) @ w.T + 1",
        "2 * mean + noise * np.sqrt(variances) @ w.T",
        "mean + noise @ w.T * np.sqrt(variances).mean()",
        "mean + noise * variances**2 @ w.T",
        "mean - noise * np.sqrt(variances) @ w.T",
        "(mean + noise * np.sqrt(variances) @ w.T).T",
    ],
    "2.1 x, x_hat": [
        "ops.sum(ops.square(x + x_hat), axis=(1, 2, 3))",
        "0.5 * ops.sum(ops.square(x - x_hat), axis=(1, 2, 3))",
        "ops.sum(ops.square(x - x_hat), axis=(0, 1, 2))",
        "ops.max(ops.square(x - x_hat), axis=(1, 2, 3))",
        "ops.sum(ops.square(x - x_hat), axis=(1, 2, 3), keepdims=True)",
        "ops.sum((x - x_hat) ** 3, axis=(1, 2, 3))",
        "ops.sum(ops.square(ops.stop_gradient(x_hat) - x), axis=(1, 2, 3))",
        "ops.convert_to_tensor(np.sum((x.numpy() - x_hat.numpy()) ** 2, axis=(1, 2, 3)))",
        "ops.cast(ops.sum(ops.square(x - x_hat), axis=(1, 2, 3)), 'float64')",
        "8 * ops.mean(ops.square(x - x_hat), axis=(1, 2, 3))",
        "ops.sum(ops.square(x - x_hat), axis=(1, 2))",
    ],
    "2.3 z, w1, w2, b1, b2": [
        "h = ops.relu(ops.matmul(z, ops.transpose(w2)) - b1)\nreturn ops.matmul(h, ops.transpose(w1)) + b2",
        "h = ops.tanh(ops.matmul(z, ops.transpose(w2)) + b1)\nreturn ops.matmul(h, ops.transpose(w1)) + b2",
        "h = ops.matmul(z, ops.transpose(w2)) * b1\nreturn ops.matmul(ops.relu(h), ops.transpose(w1)) + b2",
        "h = ops.relu(ops.matmul(z, ops.transpose(w2)) + b1)\nreturn ops.matmul(h, ops.transpose(w1)) - b2",
        "h = ops.relu(ops.matmul(z, ops.transpose(w2))) + b1\nreturn ops.matmul(h, ops.transpose(w1)) + b2",
        "h = ops.abs(ops.matmul(z, ops.transpose(w2)) + b1)\nreturn ops.matmul(h, ops.transpose(w1)) + b2",
        "h = np.maximum(ops.matmul(z, ops.transpose(w2)) + b1, 0)\nreturn ops.matmul(h, ops.transpose(w1)) + b2",
    ],
    "2.4 z, noise": [
        "np.median(z, axis=0) + z.std(axis=0) * noise",
        "z.mean(axis=0) + z.std(axis=0, ddof=1) * noise",
        "z.mean(axis=0) - z.std(axis=0) * noise",
        "z.mean(axis=0) + z.std(axis=0) + noise",
        "z.mean(axis=0) + z.std(axis=0) * noise**2",
        "z.mean(axis=0) * noise + z.std(axis=0)",
        "z[0] + z.std(axis=0) * noise",
        "z.max(axis=0) + z.std(axis=0) * noise",
        "z.mean(axis=0) + z.std(axis=0) * np.random.default_rng(0).normal(size=noise.shape)",
    ],
    "2.5 z, z_train": [
        "np.linalg.norm(z[:, None] - z_train[None], axis=-1).sum(axis=1)",
        "np.linalg.norm(z[:, None] + z_train[None], axis=-1).min(axis=1)",
        "np.sort(np.linalg.norm(z[:, None] - z_train[None], axis=-1), axis=1)[:, 1]",
        "np.linalg.norm(z - z_train[: len(z)], axis=-1)",
        "np.median(np.linalg.norm(z[:, None] - z_train[None], axis=-1), axis=1)",
        "np.sqrt(np.mean((z[:, None] - z_train[None]) ** 2, axis=-1)).min(axis=1)",
    ],
    "2.7 z_start, z_end, steps": [
        "t = np.linspace(0, 1, steps + 1)[:, None]\nreturn (1 - t) * z_start + t * z_end",
        "t = np.linspace(0, 1, 4)[:, None]\nreturn (1 - t) * z_start + t * z_end",
        "t = np.linspace(0, 1, steps)[:, None] ** 2\nreturn (1 - t) * z_start + t * z_end",
        "t = np.linspace(0, 1, steps)[:, None]\nreturn (1 + t) * z_start + t * z_end",
        "[(1 - t) * z_start + t * z_end for t in np.linspace(0, 1, steps)]",
        "t = np.linspace(0, 1, steps)[:, None]\nreturn (1 - t) * z_start - t * z_end",
        "t = np.linspace(-1, 1, steps)[:, None]\nreturn (1 - t) * z_start + t * z_end",
    ],
    "3.1 x, w": [
        "np.median(np.sum((x[:, None] - w[None]) ** 2, axis=-1), axis=1)",
        "np.sum((x[:, None] + w[None]) ** 2, axis=-1).min(axis=1)",
        "2 * np.sum((x[:, None] - w[None]) ** 2, axis=-1).min(axis=1)",
        "np.sum((x[:, None] - w[None]) ** 4, axis=-1).min(axis=1)",
        "np.max((x[:, None] - w[None]) ** 2, axis=-1).min(axis=1)",
        "np.sum((x - w[0]) ** 2, axis=-1)",
        "np.sum((x[:, None] - w[None]) ** 2, axis=-1).min(axis=1, keepdims=True)",
        "np.exp(-np.sum((x[:, None] - w[None]) ** 2, axis=-1).min(axis=1))",
    ],
    "3.2 data, elsewhere": [
        "np.mean(np.sort(data) < np.sort(elsewhere)[: len(data)])",
        "np.mean(data[:, None] <= elsewhere) / 2",
        "np.sum(data[:, None] < elsewhere) / len(data)",
        "np.mean(data[:, None] > elsewhere)",
        "np.mean(np.max(data) < elsewhere)",
        "np.mean(data[:, None] < elsewhere + 0.2)",
        "np.mean(data[:3, None] < elsewhere)",
    ],
    "3.4 h, w": [
        "ops.sum(ops.square(h * (1 + h)) * ops.sum(ops.square(w), axis=0), axis=-1)",
        "2 * ops.sum(ops.square(h * (1 - h)) * ops.sum(ops.square(w), axis=0), axis=-1)",
        "ops.sum(ops.square(h - 1) * ops.sum(ops.square(w), axis=0), axis=-1)",
        "ops.max(ops.square(h * (1 - h)) * ops.sum(ops.square(w), axis=0), axis=-1)",
        "ops.sum(ops.square(h * (1 - h)) * ops.sum(ops.abs(w), axis=0), axis=-1)",
        "ops.sum(ops.square(h * (1 - h)), axis=-1) * ops.sum(ops.square(w))",
        "ops.sum(ops.square(h * (1 - h)) + ops.sum(ops.square(w), axis=0), axis=-1)",
        "ops.sum(ops.square(h * (1 - h)) * np.sum(np.square(w), axis=0), axis=-1)",
    ],
    "3.5 x, z, w, weight": [
        "np.sum((x - z @ w) ** 2, axis=1) + 2 * weight * np.sum(np.abs(z), axis=1)",
        "np.sum((x + z @ w) ** 2, axis=1) + weight * np.sum(np.abs(z), axis=1)",
        "np.sum((x - z @ w) ** 2, axis=1) + weight**2 * np.sum(np.abs(z), axis=1)",
        "np.sum((x - z @ w) ** 2, axis=1) + 0.7 * np.sum(np.abs(z), axis=1)",
        "np.sum((x - z @ w) ** 2, axis=1) + weight * np.max(np.abs(z), axis=1)",
        "np.sum(np.abs(x - z @ w), axis=1) + weight * np.sum(np.abs(z), axis=1)",
        "np.sum((x - z @ w) ** 2, axis=1) + weight * np.sum(np.abs(w))",
        "weight * np.sum((x - z @ w) ** 2, axis=1) + np.sum(np.abs(z), axis=1)",
        "0.5 * np.sum((x - z @ w) ** 2, axis=1) + weight * np.sum(np.abs(z), axis=1)",
    ],
    "3.6 x, z": [
        "z.T @ x / (z.sum(axis=0)[:, None] - 0.5)",
        "z.T @ x / (z.sum(axis=0)[:, None] + 1)",
        "z.T @ x / 2",
        "np.stack([x[column == 1].max(axis=0) for column in z.T])",
        "np.stack([x[column == 1][0] for column in z.T])",
        "z.T @ x * z.sum(axis=0)[:, None]",
        "z.T @ (x - x.mean(axis=0)) / z.sum(axis=0)[:, None]",
        "z.T @ np.abs(x) / z.sum(axis=0)[:, None]",
    ],
    "4.1 x, x_mean, s": [
        "-0.5 * np.sum((x - x_mean) ** 2 / s**2 - np.log(2 * np.pi * s**2), axis=-1)",
        "-0.5 * np.sum((x - x_mean) ** 2 / s**2 + np.log(np.pi * s**2), axis=-1)",
        "-0.5 * np.sum((x - x_mean) ** 2 / s**2 + np.log2(2 * np.pi * s**2), axis=-1)",
        "-0.5 * np.sum((x + x_mean) ** 2 / s**2 + np.log(2 * np.pi * s**2), axis=-1)",
        "-0.5 * np.sum((x - x_mean) ** 2 * s**2 + np.log(2 * np.pi * s**2), axis=-1)",
        "-0.5 * np.sum(np.abs(x - x_mean) / s + np.log(2 * np.pi * s**2), axis=-1)",
        "0.5 * np.sum((x - x_mean) ** 2 / s**2 + np.log(2 * np.pi * s**2), axis=-1)",
        "-0.5 * np.sum((x - x_mean) ** 2 / 0.49 + np.log(2 * np.pi * 0.49), axis=-1)",
        "-np.sum((x - x_mean) ** 2 / s**2 + np.log(2 * np.pi * s**2), axis=-1) / 4",
        "np.sum(stats.norm.pdf(x, x_mean, s), axis=-1)",
        "np.prod(stats.norm.pdf(x, x_mean, s), axis=-1)",
    ],
    "4.2 log_values": [
        "peak = np.min(log_values)\nreturn peak + np.log(np.mean(np.exp(log_values - peak)))",
        "peak = np.mean(log_values)\nreturn peak + np.log(np.mean(np.exp(log_values - peak)))",
        "peak = np.max(log_values)\nreturn peak + np.log(np.sum(np.exp(log_values - peak))) - np.log(3)",
        "peak = np.max(log_values)\nreturn peak + np.log2(np.mean(np.exp(log_values - peak)))",
        "peak = np.max(log_values)\nreturn peak + np.log(np.median(np.exp(log_values - peak)))",
        "peak = np.max(log_values)\nreturn peak - np.log(np.mean(np.exp(log_values - peak)))",
        "peak = np.max(log_values)\nreturn peak * np.log(np.mean(np.exp(log_values - peak)))",
        "peak = np.max(log_values)\nreturn peak + np.log(np.mean(np.exp(log_values + peak)))",
        "np.logaddexp.reduce(log_values) - np.log(4)",
    ],
    "4.3 log_px, z, q_mean, q_std": [
        "log_px + log_normal(z, 0.0, 1.0) - log_normal(z, q_mean, 1.0)",
        "log_px + log_normal(z, 0.0, 1.0) - log_normal(z, 0.0, q_std)",
        "log_px + log_normal(z, 0.0, 1.0) / log_normal(z, q_mean, q_std)",
        "log_px * log_normal(z, 0.0, 1.0) - log_normal(z, q_mean, q_std)",
        "log_px + log_normal(z, 1.0, 1.0) - log_normal(z, q_mean, q_std)",
        "log_px + log_normal(z, q_mean, q_std) - log_normal(z, 0.0, 1.0)",
        "log_px + 2 * log_normal(z, 0.0, 1.0) - log_normal(z, q_mean, q_std)",
        "(log_px + log_normal(z, 0.0, 1.0) - log_normal(z, q_mean, q_std)).mean()",
    ],
    "4.4 log_w": [
        "weights = np.exp(log_w - np.min(log_w))\nreturn np.sum(weights) ** 2 / np.sum(weights**2)",
        "weights = np.exp(log_w - np.max(log_w))\nreturn np.sum(weights**2) / np.sum(weights) ** 2",
        "weights = np.exp(log_w - np.max(log_w))\nreturn np.mean(weights) ** 2 / np.mean(weights**2)",
        "weights = np.exp(log_w - np.max(log_w))\nreturn np.sum(weights) ** 2 / np.sum(weights) ** 2",
        "weights = np.exp(log_w - np.max(log_w))\nreturn 1 / np.max(weights / weights.sum())",
        "weights = np.exp(log_w - np.max(log_w))\nreturn (weights > 0.1).sum()",
        "weights = np.exp(log_w - np.mean(log_w))\nreturn np.sum(weights) ** 2 / np.sum(weights**2)",
    ],
    "4.5 log_w": [
        "np.median(log_w)",
        "np.mean(log_w) * 2",
        "np.sum(log_w) / 3",
        "np.sum(log_w) / 4",
        "np.min(log_w)",
        "np.mean(log_w) - np.log(len(log_w))",
        "np.exp(np.mean(log_w))",
    ],
    "4.6 log_px, q_mean, q_log_std": [
        "np.mean(log_px) - 0.5 * np.sum(np.exp(2 * q_log_std) + q_mean**2 - 2 * q_log_std + 1)",
        "np.mean(log_px) - 0.5 * np.sum(np.exp(2 * q_log_std) + q_mean - 2 * q_log_std - 1)",
        "np.mean(log_px) - 0.5 * np.sum(np.exp(q_log_std**2) + q_mean**2 - 2 * q_log_std - 1)",
        "np.mean(log_px) - 0.5 * np.sum(np.exp(2 * q_log_std) + q_mean**2 + 2 * q_log_std - 1)",
        "np.median(log_px) - 0.5 * np.sum(np.exp(2 * q_log_std) + q_mean**2 - 2 * q_log_std - 1)",
        "np.max(log_px) - 0.5 * np.sum(np.exp(2 * q_log_std) + q_mean**2 - 2 * q_log_std - 1)",
        "log_px - 0.5 * np.sum(np.exp(2 * q_log_std) + q_mean**2 - 2 * q_log_std - 1)",
        "np.mean(log_px) - 0.5 * np.sum(np.exp(-2 * q_log_std) + q_mean**2 - 2 * q_log_std - 1)",
    ],
    "4.7 x, w, b, s": [
        "c = np.linalg.inv(np.eye(w.shape[1]) - w.T @ w / s**2)\nreturn c @ w.T @ (x - b) / s**2, c",
        "c = np.linalg.inv(np.eye(w.shape[1]) + w.T @ w / s**2)\nreturn c, c @ w.T @ (x - b) / s**2",
        "c = np.linalg.inv(np.eye(w.shape[1]) + w.T @ w / s**2)\nreturn c @ w.T @ (x + b) / s**2, c",
        "c = np.linalg.inv(np.eye(w.shape[1]) + w.T @ w / s**2)\nreturn c @ w.T @ (x - b) / s, c",
        "c = np.linalg.inv(np.eye(3) + w.T @ w / s**2)\nreturn c @ w.T @ (x - b) / s**2, c",
        "c = np.linalg.inv(np.eye(w.shape[1]) + w.T @ w / s**2)\nreturn c @ w.T @ (x - b) / s**2",
        "c = np.linalg.inv(np.eye(w.shape[1]) + w.T @ w / s**2)\nreturn c @ w.T @ (x - b) / s**2, c, s",
    ],
    "5.1 mu, log_sigma, z": [
        "s = np.exp(log_sigma)\nreturn f(z)[:, None] * np.stack([(z - mu) / s**2, (z - mu) ** 2 / s**2 + 1], axis=-1)",
        "s = np.exp(2 * log_sigma)\n"
        "return f(z)[:, None] * np.stack([(z - mu) / s**2, (z - mu) ** 2 / s**2 - 1], axis=-1)",
        "s = np.exp(log_sigma)\n"
        "return 2 * f(z)[:, None] * np.stack([(z - mu) / s**2, (z - mu) ** 2 / s**2 - 1], axis=-1)",
        "s = np.exp(log_sigma)\nreturn f(z)[:, None] + np.stack([(z - mu) / s**2, (z - mu) ** 2 / s**2 - 1], axis=-1)",
        "s = np.exp(log_sigma)\nreturn f(z)[:, None] * np.stack([(z + mu) / s**2, (z + mu) ** 2 / s**2 - 1], axis=-1)",
        "s = np.exp(log_sigma)\nreturn f(mu) * np.stack([(z - mu) / s**2, (z - mu) ** 2 / s**2 - 1], axis=-1)",
    ],
    "5.2 mu, log_sigma, noise": [
        "s = np.exp(log_sigma)\nz = mu - s * noise\nreturn np.stack([slope(z), slope(z) * s * noise], axis=-1)",
        "s = np.exp(log_sigma)\nz = mu + s * noise\nreturn np.stack([slope(z), -slope(z) * s * noise], axis=-1)",
        "s = np.exp(log_sigma)\nz = mu + s * noise\nreturn np.stack([slope(z), slope(z) * s**2 * noise], axis=-1)",
        "s = np.exp(log_sigma)\nreturn np.stack([slope(mu) + 0 * noise, slope(mu) * s * noise], axis=-1)",
        "s = np.exp(log_sigma)\nz = mu + s * noise\nreturn 0.5 * np.stack([slope(z), slope(z) * s * noise], axis=-1)",
        "s = np.exp(log_sigma)\nz = mu + s * noise\nreturn np.stack([slope(z) * mu, slope(z) * s * noise], axis=-1)",
        "s = np.exp(log_sigma)\nz = mu + s + noise\nreturn np.stack([slope(z), slope(z) * s * noise], axis=-1)",
    ],
    "5.3 u, mu, s": [
        "mu + s * (np.log(u) + np.log(1 - u))",
        "mu + s * np.log10(u / (1 - u))",
        "mu + s * np.log(1 / u - 1)",
        "mu + s**2 * np.log(u / (1 - u))",
        "mu - s / np.log(u / (1 - u))",
        "mu + np.sqrt(s) * np.log(u / (1 - u))",
        "mu + s * stats.norm.ppf(u)",
        "[mu + s * np.log(v / (1 - v)) for v in u]",
        "mu + s * (np.log(u) - np.log1p(u))",
    ],
    "5.4 z, mu, sigma": [
        "stats.norm.logpdf(np.log(z), mu, sigma) - 2 * np.log(z)",
        "stats.norm.logpdf(np.log(z), mu, sigma) - np.log(sigma)",
        "stats.norm.pdf(np.log(z), mu, sigma) / z",
        "stats.norm.logpdf(np.log(z), 0, sigma) - np.log(z)",
        "stats.norm.logpdf(np.log(z), mu, 1) - np.log(z)",
        "stats.norm.logpdf(np.log(z), mu, sigma) - np.log(np.abs(mu))",
        "stats.norm.logpdf(np.log(z), sigma, mu) - np.log(z)",
        "stats.norm.logpdf(np.log2(z), mu, sigma) - np.log(z)",
    ],
    "5.5 mu, log_sigma, noise": [
        "z = ops.stop_gradient(mu + ops.exp(log_sigma) * noise)\nreturn -ops.sum(f(z) * log_q(z, mu, log_sigma)) / 10",
        "z = ops.stop_gradient(mu + ops.exp(log_sigma) * noise)\nreturn -2 * ops.mean(f(z) * log_q(z, mu, log_sigma))",
        "z = ops.stop_gradient(mu + log_sigma * noise)\nreturn -ops.mean(f(z) * log_q(z, mu, log_sigma))",
        "z = ops.convert_to_numpy(mu + ops.exp(log_sigma) * noise)\nreturn -ops.mean(f(z) * log_q(z, mu, log_sigma))",
        "z = ops.stop_gradient(mu + ops.exp(log_sigma) * noise)\n"
        "return -ops.mean(f(z)) * ops.mean(log_q(z, mu, log_sigma))",
        "z = ops.stop_gradient(mu + ops.exp(log_sigma) * noise)\nreturn -ops.mean(slope(z) * log_q(z, mu, log_sigma))",
    ],
    "5.6 f_z": [
        "f_z - (np.sum(f_z) - f_z) / 3",
        "f_z + (np.sum(f_z) - f_z) / (len(f_z) - 1)",
        "f_z - (np.sum(f_z) + f_z) / (len(f_z) - 1)",
        "f_z - (np.sum(f_z) - f_z) / (len(f_z) + 1)",
        "f_z - np.max(f_z)",
        "(f_z - np.mean(f_z)) / np.std(f_z)",
        "f_z - f_z[::-1]",
    ],
    "6.1 z_mean, z_log_var, noise": [
        "z_mean + np.exp(0.5 * z_log_var) * noise",
        "z_mean + ops.convert_to_tensor(np.exp(0.5 * z_log_var)) * noise",
        "z_mean - ops.exp(0.5 * z_log_var) * noise",
        "z_mean * ops.exp(0.5 * z_log_var) + noise",
        "z_mean + ops.exp(2 * z_log_var) * noise",
        "z_mean + ops.exp(0.5 * z_log_var) * keras.random.normal(ops.shape(z_mean), seed=0)",
        "z_mean + ops.log(0.5 * z_log_var) * noise",
        "z_mean + ops.exp(0.5 * z_log_var) + noise",
        "z_mean.numpy() + ops.exp(0.5 * z_log_var) * noise",
        "z_mean + ops.exp(0.5 * ops.stop_gradient(z_log_var)) * noise",
        "ops.cast(z_mean + ops.exp(0.5 * z_log_var) * noise, 'float64')",
        "z_mean + ops.sqrt(ops.abs(z_log_var)) * noise",
    ],
    "6.2 z_mean, z_log_var": [
        "0.5 * ops.sum(ops.exp(z_log_var) + z_mean**2 - z_log_var + 1, axis=-1)",
        "0.5 * ops.sum(ops.exp(z_log_var) - z_mean**2 - z_log_var - 1, axis=-1)",
        "0.5 * ops.sum(ops.exp(-z_log_var) + z_mean**2 - z_log_var - 1, axis=-1)",
        "0.5 * ops.max(ops.exp(z_log_var) + z_mean**2 - z_log_var - 1, axis=-1)",
        "0.5 * (ops.sum(ops.exp(z_log_var) + z_mean**2 - z_log_var, axis=-1) - 1)",
        "0.25 * ops.sum(ops.exp(z_log_var) + z_mean**2 - z_log_var - 1, axis=-1)",
        "0.5 * ops.sum(ops.exp(z_log_var) + ops.abs(z_mean) - z_log_var - 1, axis=-1)",
        "0.5 * ops.sum(ops.exp(z_log_var) + z_mean**2 - z_log_var - 1, axis=-1, keepdims=True)",
        "0.5 * ops.sum(np.exp(z_log_var) + z_mean**2 - z_log_var - 1, axis=-1)",
        "0.5 * ops.sum(ops.exp(z_log_var) + z_mean**2 - z_log_var - 1, axis=-1) / np.log(2)",
        "0.5 * (ops.sum(ops.exp(z_log_var) + z_mean**2 - z_log_var, axis=-1) - 3)",
    ],
    "6.3 x, x_logits": [
        "p = ops.sigmoid(x_logits)\nreturn -ops.sum(x * ops.log(p) + (1 - x) * ops.log(1 - p), axis=(1, 2, 3))",
        "p = ops.sigmoid(x_logits)\nreturn -ops.sum(x * ops.log(p) - (1 - x) * ops.log(1 - p), axis=(1, 2, 3))",
        "ops.sum(ops.binary_crossentropy(x, x_logits, from_logits=True), axis=(0, 1, 2))",
        "ops.sum(ops.binary_crossentropy(x_logits, x, from_logits=True), axis=(1, 2, 3))",
        "ops.sum(ops.binary_crossentropy(1 - x, x_logits, from_logits=True), axis=(1, 2, 3))",
        "ops.sum(ops.square(x - x_logits), axis=(1, 2, 3))",
        "2 * ops.sum(ops.binary_crossentropy(x, x_logits, from_logits=True), axis=(1, 2, 3))",
        "9 * ops.mean(ops.binary_crossentropy(x, x_logits, from_logits=True), axis=(1, 2, 3))",
        "ops.sum(ops.abs(x - ops.sigmoid(x_logits)), axis=(1, 2, 3))",
        "ops.sum(ops.binary_crossentropy(x, x_logits, from_logits=True), axis=(1, 2, 3)) / np.log(2)",
    ],
    "6.6 x, x_logits, z_mean, z_log_var": [
        "reconstruction(x, x_logits) + 2 * kl(z_mean, z_log_var)",
        "0.5 * (reconstruction(x, x_logits) + kl(z_mean, z_log_var))",
        "reconstruction(x, x_logits) * kl(z_mean, z_log_var)",
        "ops.mean(reconstruction(x, x_logits) + kl(z_mean, z_log_var))",
        "reconstruction(x, x_logits) + kl(z_log_var, z_mean)",
        "reconstruction(x, x_logits) + ops.stop_gradient(kl(z_mean, z_log_var))",
        "-reconstruction(x, x_logits) - kl(z_mean, z_log_var)",
    ],
    "6.7 z, z_mean, z_log_var": [
        "ops.sum(-0.5 * (z_log_var + (z - z_mean) ** 2 * ops.exp(-z_log_var)) - 0.5 * z**2, axis=-1)",
        "ops.sum(-0.5 * (z_log_var - (z - z_mean) ** 2 * ops.exp(-z_log_var)) + 0.5 * z**2, axis=-1)",
        "ops.sum(-0.5 * (z_log_var + (z - z_mean) ** 2 * ops.exp(z_log_var)) + 0.5 * z**2, axis=-1)",
        "ops.sum(-0.5 * (z_log_var + (z + z_mean) ** 2 * ops.exp(-z_log_var)) + 0.5 * z**2, axis=-1)",
        "ops.mean(-0.5 * (z_log_var + (z - z_mean) ** 2 * ops.exp(-z_log_var)) + 0.5 * z**2, axis=-1)",
        "ops.sum(-(z_log_var + (z - z_mean) ** 2 * ops.exp(-z_log_var)) + z**2, axis=-1)",
        "ops.sum(-0.5 * (z_log_var + (z - z_mean) ** 2 * ops.exp(-z_log_var)) + z**2, axis=-1)",
    ],
    "7.1 epoch, epochs, target": [
        "target * min(1.0, epochs / (epoch + 1))",
        "epochs * min(1.0, epoch / target)",
        "target * min(1.0, epoch / 4)",
        "2 * min(1.0, epoch / epochs)",
        "target * min(0.5, epoch / epochs)",
        "target * min(1.0, (epoch / epochs) ** 2)",
        "target * min(1.0, epoch / (epochs - 1))",
        "target + min(1.0, epoch / epochs)",
    ],
    "7.2 z_mean, z_log_var": [
        "ops.max(0.5 * (ops.exp(z_log_var) + ops.square(z_mean) - z_log_var - 1.0), axis=0)",
        "ops.mean(0.5 * (ops.exp(z_log_var) - ops.square(z_mean) - z_log_var - 1.0), axis=0)",
        "ops.mean(0.5 * (ops.exp(z_log_var) + ops.square(z_mean) - z_log_var + 1.0), axis=0)",
        "ops.sum(0.5 * (ops.exp(z_log_var) + ops.square(z_mean) - z_log_var - 1.0), axis=0) / 3",
        "ops.sum(0.5 * (ops.exp(z_log_var) + ops.square(z_mean) - z_log_var - 1.0), axis=0) / 4",
        "ops.std(0.5 * (ops.exp(z_log_var) + ops.square(z_mean) - z_log_var - 1.0), axis=0)",
        "ops.mean(0.5 * (np.exp(z_log_var) + ops.square(z_mean) - z_log_var - 1.0), axis=0)",
        "0.5 * (ops.exp(ops.mean(z_log_var, 0)) + ops.mean(z_mean, 0) ** 2 - ops.mean(z_log_var, 0) - 1.0)",
    ],
    "7.3 log_w": [
        "ops.logsumexp(log_w, axis=0) - np.log(3.0)",
        "ops.logsumexp(log_w, axis=0) - ops.log(ops.cast(ops.shape(log_w)[1], 'float32'))",
        "ops.logsumexp(log_w, axis=0) - np.log2(log_w.shape[0])",
        "peak = ops.max(log_w, axis=0)\nreturn ops.log(ops.mean(ops.exp(log_w - peak), axis=0)) - peak",
        "peak = ops.min(log_w, axis=0)\nreturn ops.log(ops.mean(ops.exp(log_w - peak), axis=0)) + peak",
        "ops.logsumexp(log_w, axis=0) * np.log(log_w.shape[0])",
        "ops.convert_to_tensor(special.logsumexp(log_w, axis=0) - np.log(log_w.shape[0]))",
        "ops.min(log_w, axis=0)",
    ],
    "7.4 log_w, alpha": [
        "importance_weighted((1 - alpha) * log_w) / (1 + alpha)",
        "importance_weighted((1 + alpha) * log_w) / (1 - alpha)",
        "importance_weighted(log_w ** (1 - alpha)) / (1 - alpha)",
        "importance_weighted((1 - alpha) * log_w) - ops.log(1 - alpha)",
        "importance_weighted((1 - alpha) * log_w) / 0.7",
        "importance_weighted((1 - alpha) * log_w) / (alpha - 1)",
        "importance_weighted((1 - 0.3) * log_w) / (1 - 0.3)",
        "ops.mean((1 - alpha) * log_w, axis=0) / (1 - alpha)",
    ],
    "7.6 kl, nats": [
        "ops.sum(ops.maximum(0.4, ops.mean(kl, axis=0)))",
        "ops.sum(ops.maximum(nats, ops.max(kl, axis=0)))",
        "ops.sum(ops.maximum(nats, ops.mean(kl)))",
        "ops.sum(nats + ops.mean(kl, axis=0))",
        "ops.max(ops.maximum(nats, ops.mean(kl, axis=0)))",
        "2 * ops.sum(ops.maximum(nats, ops.mean(kl, axis=0)))",
        "ops.sum(ops.maximum(nats, ops.mean(kl, axis=0))) - 3 * nats",
    ],
    "8.1 h, y": [
        "ops.concatenate([h, np.eye(10, dtype='float32')[np.array(y)]], axis=-1)",
        "np.concatenate([h, np.eye(10)[y]], axis=-1)",
        "ops.concatenate([h, ops.one_hot(y, int(ops.max(y)) + 1)], axis=-1)",
        "ops.concatenate([h, ops.one_hot(y, 11)], axis=-1)",
        "ops.concatenate([h, 2 * ops.one_hot(y, 10)], axis=-1)",
        "ops.concatenate([h, ops.one_hot(9 - y, 10)], axis=-1)",
        "ops.concatenate([h, ops.one_hot(y, 10)], axis=0)",
        "ops.concatenate([ops.stop_gradient(h), ops.one_hot(y, 10)], axis=-1)",
        "ops.concatenate([ops.convert_to_tensor(np.array(h)), ops.one_hot(y, 10)], axis=-1)",
        "ops.concatenate([ops.cast(h, 'float64'), ops.one_hot(y, 10, dtype='float64')], axis=-1)",
        "ops.concatenate([h, ops.one_hot(y + 1, 10)], axis=-1)",
    ],
    "8.3 decode, z, digits": [
        "decode(np.repeat(z, len(digits), axis=0), np.tile(digits, len(z))).reshape(3, 4, -1)",
        "decode(np.repeat(z, 4, axis=0), np.tile(digits, len(z))).reshape(len(z), 4, -1)",
        "decode(np.repeat(z, len(digits), axis=0), np.tile(digits[::-1], len(z))).reshape(len(z), len(digits), -1)",
        "decode(np.repeat(z, len(digits), axis=0), np.tile(digits, len(z))).reshape(len(digits), len(z), -1)",
        "decode(np.repeat(z[::-1], len(digits), axis=0), np.tile(digits, len(z))).reshape(len(z), len(digits), -1)",
        "decode(np.repeat(2 * z, len(digits), axis=0), np.tile(digits, len(z))).reshape(len(z), len(digits), -1)",
        "decode(np.repeat(z, len(digits), axis=0), np.tile(digits, len(z)) + 1).reshape(len(z), len(digits), -1)",
    ],
    "8.4 encode, decode, x, y, digits": [
        "style_by_digit(decode, encode(x, digits[: len(x)]), digits)",
        "style_by_digit(decode, encode(x, y) * 2, digits)",
        "style_by_digit(decode, encode(x, y)[::-1], digits)",
        "style_by_digit(decode, encode(x, y), y)",
        "style_by_digit(decode, encode(x, y), digits[::-1])",
        "style_by_digit(decode, encode(1 - x, y), digits)",
        "style_by_digit(decode, encode(x, y).mean(axis=0, keepdims=True).repeat(len(x), 0), digits)",
    ],
    "8.5 predicted, asked": [
        "np.array([np.mean(predicted[asked == k] == k) for k in range(9)])",
        "np.array([np.mean(asked[predicted == k] == k) for k in range(10)])",
        "np.array([np.sum(predicted[asked == k] == k) / len(asked) * 10 for k in range(10)])",
        "np.array([np.median(predicted[asked == k] == k) for k in range(10)])",
        "np.array([100 * np.mean(predicted[asked == k] == k) for k in range(10)])",
        "np.array([np.mean(predicted[asked == k] == k + 1) for k in range(10)])",
        "[np.mean(predicted[asked == k] == k) for k in range(10)]",
        "np.sort([np.mean(predicted[asked == k] == k) for k in range(10)])",
    ],
    "8.6 x, y, seed": [
        "np.roll(x, seed + 1, axis=0), np.roll(y, seed + 1)",
        "order = np.random.default_rng().permutation(len(x))\nreturn x[order], y[order]",
        "return x[::-1], y[::-1]",
        "order = np.random.default_rng(seed).permutation(50)\nreturn x[order], y[order]",
        "order = np.random.default_rng(0).permutation(len(x))\nreturn x[order], y[order]",
        "np.random.default_rng(seed).shuffle(x)\nnp.random.default_rng(seed).shuffle(y)\nreturn x, y",
        "order = np.random.default_rng(seed).permutation(len(x))\nreturn x[order]",
        "order = np.random.default_rng(seed).permutation(len(x))\nreturn y[order], x[order]",
    ],
    "8.7 elbo, prior": [
        "logs = elbo - np.log(prior)\nweights = np.exp(logs - logs.max(axis=1, keepdims=True))\n"
        "return weights / weights.sum(axis=1, keepdims=True)",
        "logs = elbo + np.log(prior)\nweights = np.exp(logs - logs.max())\n"
        "return weights / weights.sum(axis=1, keepdims=True)",
        "logs = elbo + np.log(prior)\nweights = np.exp(logs - logs.max(axis=1, keepdims=True))\nreturn weights / 10",
        "logs = elbo + np.log(prior)\nweights = np.exp(logs - logs.max(axis=1, keepdims=True))\n"
        "return weights / weights.max(axis=1, keepdims=True)",
        "logs = elbo * prior\nweights = np.exp(logs - logs.max(axis=1, keepdims=True))\n"
        "return weights / weights.sum(axis=1, keepdims=True)",
        "logs = elbo + np.log2(prior)\nweights = np.exp(logs - logs.max(axis=1, keepdims=True))\n"
        "return weights / weights.sum(axis=1, keepdims=True)",
    ],
    "9.1 log_likelihood, kl": [
        "kl - 2 * log_likelihood",
        "0.5 * (kl - log_likelihood)",
        "np.abs(kl - log_likelihood)",
        "kl * log_likelihood",
        "(kl - log_likelihood) / len(kl)",
        "kl - log_likelihood - (kl - log_likelihood).mean()",
        "np.maximum(kl, -log_likelihood)",
        "kl -= log_likelihood\nreturn kl",
    ],
    "9.2 normal, strange": [
        "above = np.mean(strange[:, None] > normal) + 0.5 * np.mean(strange[:, None] == normal)\n"
        "return max(above, 1 - above)",
        "np.mean((strange[:, None] > normal) + 1.0 * (strange[:, None] == normal))",
        "np.mean((strange[:, None] > normal) + 0.25 * (strange[:, None] == normal))",
        "np.median((strange[:, None] > normal) + 0.5 * (strange[:, None] == normal))",
        "np.sum((strange[:, None] > normal) + 0.5 * (strange[:, None] == normal)) / len(normal) ** 2",
        "np.sum((strange[:, None] > normal) + 0.5 * (strange[:, None] == normal)) / 20",
        "2 * np.mean((strange[:, None] > normal) + 0.5 * (strange[:, None] == normal)) - 1",
    ],
    "9.3 observed, means, tau": [
        "-0.5 * np.sum((observed - means) ** 2, axis=1) / 0.49",
        "-0.5 * np.sum((observed + means) ** 2, axis=1) / tau**2",
        "-0.5 * np.max((observed - means) ** 2, axis=1) / tau**2",
        "-0.25 * np.sum((observed - means) ** 2, axis=1) / tau**2",
        "-0.5 * np.sum((observed - means) ** 2, axis=1) / tau**4",
        "-np.sum((observed - means) ** 2, axis=1) / tau",
        "-0.5 * np.sum((observed - means) ** 4, axis=1) / tau**2",
        "observed -= 0.1\nreturn -0.5 * np.sum((observed - means) ** 2, axis=1) / tau**2",
    ],
    "9.4 logs, means": [
        "weights = np.exp(logs - logs.min())\nreturn weights / weights.sum() @ means",
        "weights = np.exp(logs - logs.mean())\nreturn weights / weights.sum() @ means",
        "weights = np.exp(logs + 800)\nreturn weights / weights.sum() @ means",
        "weights = np.exp(logs - logs.max())\nreturn weights / weights.max() @ means",
        "weights = np.exp(logs - logs.max())\nreturn np.sqrt(weights) / np.sqrt(weights).sum() @ means",
        "weights = np.exp(2 * (logs - logs.max()))\nreturn weights / weights.sum() @ means",
        "weights = np.exp(logs - logs.max())\nreturn (weights / weights.sum())[:, None] * means",
        "logs -= logs.max()\nweights = np.exp(logs)\nreturn weights / weights.sum() @ means",
    ],
    "9.5 x, known, means, tau": [
        "-0.5 * np.sum(known * (x - means) ** 2, axis=1) / 0.49",
        "-0.5 * np.sum(known * (x - means) ** 2, axis=1) / tau",
        "-np.sum(known * (x - means) ** 2, axis=1) / tau**2",
        "-0.5 * np.sum(known * (x + means) ** 2, axis=1) / tau**2",
        "-0.5 * np.sum(known * np.abs(x - means), axis=1) / tau**2",
        "-0.5 * np.sum(known + (x - means) ** 2, axis=1) / tau**2",
        "-0.5 * np.sum((known * x - means) ** 2, axis=1) / tau**2",
    ],
    "9.6 z, step": [
        "r = step * np.rint(z / step)\nreturn -np.log10(norm.cdf(r + step / 2) - norm.cdf(r - step / 2)).sum(axis=1)",
        "r = step * np.rint(z / step)\nreturn -np.log2(norm.cdf(r + step) - norm.cdf(r)).sum(axis=1)",
        "r = step * np.ceil(z / step)\nreturn -np.log2(norm.cdf(r + step / 2) - norm.cdf(r - step / 2)).sum(axis=1)",
        "r = 0.8 * np.rint(z / 0.8)\nreturn -np.log2(norm.cdf(r + 0.4) - norm.cdf(r - 0.4)).sum(axis=1)",
        "r = step * np.rint(z * step)\nreturn -np.log2(norm.cdf(r + step / 2) - norm.cdf(r - step / 2)).sum(axis=1)",
        "r = step * np.rint(z / step)\nreturn -np.log2(norm.cdf(r + step / 2) + norm.cdf(r - step / 2)).sum(axis=1)",
        "r = step * np.rint(z / step)\nreturn -np.log2(norm.cdf(r + step / 2) - norm.cdf(r - step / 2)).max(axis=1)",
        "r = step * np.rint(z / step)\n"
        "return np.ceil(-np.log2(norm.cdf(r + step / 2) - norm.cdf(r - step / 2))).sum(axis=1)",
    ],
    "9.7 small, means, tau, factor": [
        "b = applications.downsample(means, factor).reshape(len(means), -1)\n"
        "return posterior_mean(log_likelihood(small, b, 0.1), means.reshape(len(means), -1))",
        "b = applications.downsample(means, factor).reshape(len(means), -1)\n"
        "return posterior_mean(log_likelihood(small, b, tau), means.reshape(36, -1))",
        "b = applications.downsample(means, factor).reshape(len(means), -1)\n"
        "return posterior_mean(log_likelihood(small, b, tau**2), means.reshape(len(means), -1))",
        "b = applications.downsample(means, factor).reshape(len(means), -1)\n"
        "return posterior_mean(-log_likelihood(small, b, tau), means.reshape(len(means), -1))",
        "b = applications.downsample(means, factor).reshape(len(means), -1)\n"
        "return posterior_mean(log_likelihood(small, b, tau), means.reshape(len(means), -1)) + 0.1",
    ],
    "11.2 q_mean, q_log_var, p_mean, p_log_var": [
        "0.5 * ops.sum(ops.exp(q_log_var - p_log_var) + ops.square(q_mean - p_mean) * ops.exp(p_log_var)"
        " + p_log_var - q_log_var - 1, axis=-1)",
        "0.5 * ops.sum(ops.exp(q_log_var - p_log_var) + ops.square(q_mean - p_mean) * ops.exp(-p_log_var)"
        " - q_log_var / p_log_var - 1, axis=-1)",
        "0.5 * ops.sum(ops.exp(q_log_var - p_log_var) + ops.square(q_mean - p_mean) * ops.exp(-p_log_var)"
        " + p_log_var - q_log_var - 1)",
    ],
    "11.6 z, logits, means, sigma": [
        "log_normal = -ops.mean((z[:, None] - means) ** 2, axis=-1) / (2 * sigma**2)"
        " - z.shape[-1] * ops.log(sigma * np.sqrt(2 * np.pi))\n"
        "return -ops.logsumexp(ops.log_softmax(logits) + log_normal, axis=-1)",
        "log_normal = -ops.sum((z[:, None] - means) ** 2, axis=-1) / (2 * sigma**2)"
        " - means.shape[1] * ops.log(sigma * np.sqrt(2 * np.pi))\n"
        "return -ops.logsumexp(ops.log_softmax(logits) + log_normal, axis=-1)",
    ],
}
# What the cells above an exercise define.
SCAFFOLD = {
    "np": np,
    "ops": ops,
    "keras": keras,
    "layers": layers,
    "stats": stats,
    "norm": stats.norm,
    "special": special,
}
SCAFFOLD |= {"applications": applications, "NUM_CLASSES": 10}


def namespace(name):
    """The globals of an answer to an exercise."""
    from kvae.worksheet import w05

    known = {each: checking.reference(number) for number, each in HELPERS.items()}
    log_normal = lambda z, mean, std: stats.norm.logpdf(z, mean, std).sum(axis=-1)  # noqa: E731
    return {**SCAFFOLD, **known, "log_normal": log_normal, "f": w05.f, "slope": w05.slope, "log_q": w05.log_q}


HELPERS = {
    "1.4": "reconstruct",
    "4.2": "log_mean",
    "6.1": "sample",
    "6.2": "kl",
    "6.3": "reconstruction",
    "8.1": "beside",
}
HELPERS |= {"7.3": "importance_weighted", "8.3": "style_by_digit", "9.3": "log_likelihood", "9.4": "posterior_mean"}


def function(name, parameters, code):
    """The function that a student's cell defines."""
    body = code if "return" in code or "\n" in code else f"return {code}"
    source = f"def answer({parameters}):\n{textwrap.indent(body, '    ')}\n"
    file = f"<cell {name} {hash(code)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    known = namespace(name)
    exec(compile(source, file, "exec"), known)
    return known["answer"]


def table():
    """All answers as `(exercise, code, function)`."""
    for key, answers in FUNCTIONS.items():
        name, _, parameters = key.partition(" ")
        yield from ((name, code, function(name, parameters, code)) for code in answers)


WITHOUT = re.compile(r"(.*: )?your (value|result)\S* .*?, expected (\([^)]*\)|\S+( ± \S+)?)")


def verdict(name, answer):
    """The verdict on an answer, and what is said beyond two numbers, or a shape."""
    judged = checking.find(name)
    state, message = exercise.judge(judged, answer)
    numbers = WITHOUT.match(message)
    rest = message[numbers.end() :] if numbers else message
    return state, message, rest.removeprefix(f" at {judged.at}").removeprefix(": ")


def main(*sheets):
    """Print the verdict on every answer, and count them."""
    counts = collections.Counter()
    for name, code, answer in table():
        if sheets and name.split(".")[0] not in sheets:
            continue
        state, message, word = verdict(name, answer)
        kind = "right" if state == "right" else "a diagnosis" if word else "no word"
        if word.endswith("values are right"):
            kind = "how many are right"
        if "shape" in message and not word:
            kind = "the shape only"
        counts[kind] += 1
        print(f"{kind:>14} | {name} | {code!r}\n{'':>14} | {message}", flush=True)
    print(sum(counts.values()), "answers:", dict(counts))


if __name__ == "__main__":
    main(*sys.argv[1:])
