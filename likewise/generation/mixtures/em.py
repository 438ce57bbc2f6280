"""EM: a mixture of Gaussians and classes, fitted to rows (Dempster et al., 1977).

It maximises the posterior density, not the likelihood, so that components of few rows do not collapse: each has
beside its own rows `shrinkage` more with the pooled covariance of all rows about their means. Missing values are
latent like the components (Ghahramani & Jordan, 1994); see missing.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.core.batch import Batch
from likewise.core.spec import Spec
from likewise.generation.mixtures.gaussians import Components, eye, gaussian, log_det, marginal, root_of
from likewise.generation.mixtures.missing import MissingCovariance, Patterns

CHUNK = 512  # rows at a time in the E-step
ITERATIONS = 10  # of k-means, and of the pooled covariance
TRIES = 4  # candidates for each seed of k-means++


@dataclass(frozen=True)
class Rows:
    """Rows to fit; values are 0 where they are missing, and masks of the same shapes tell where they are there.

    x, seen (n, N) in the units of (2); ids, ids_seen column -> (n, T); features, features_seen (n, F) for clustering;
    pick (n,) uniform and draw (n, R) normal numbers.
    """

    x: Tensor
    seen: Tensor
    ids: Batch
    ids_seen: Batch
    features: Tensor
    features_seen: Tensor
    pick: Tensor
    draw: Tensor

    def of(self, which: Tensor) -> Rows:
        """Some of the rows."""
        return Rows(
            self.x[which],
            self.seen[which],
            {n: v[which] for n, v in self.ids.items()},
            {n: v[which] for n, v in self.ids_seen.items()},
            self.features[which],
            self.features_seen[which],
            self.pick[which],
            self.draw[which],
        )


class EMFit:
    """EM for (1), initialised with `used` clusters of rows.

    prior   of S_k: as if `shrinkage` more rows with covariance W_0 W_0^T + d_0 belonged to it, where that is the
            covariance of all rows about the means of their groups; of the classes: `pseudocount` more rows with
            the frequencies of all; of the weights: one more row for all components together
    """

    def __init__(
        self,
        data: Rows,
        classes: Mapping[str, Spec],
        used: int,
        floor: Tensor,
        *,
        full: bool,
        shrinkage: float,
        pseudocount: float,
    ) -> None:
        """`floor` (N,): the least variance of a number."""
        self.data, self.classes = data, classes
        self.floor, self.full, self.shrinkage, self.pseudocount = floor, full, shrinkage, pseudocount
        x, group = data.x, kmeans(data.features, data.features_seen, used, data.pick)
        share = x.new_zeros(len(x), used)
        share[torch.arange(len(x), device=x.device), group] = 1.0
        self.patterns = None if data.seen.all() else Patterns.of(data.seen)
        mean = share.T @ x / (share.T @ data.seen.to(x)).clamp(min=1)
        self.common = [self._table(x.new_ones(len(x), 1), n, s, None) for n, s in classes.items()]
        self.prior = self._pooled((x - mean[group]) * data.seen)
        factor, noise = (p.expand(used, *p.shape).clone() for p in self.prior)
        self.parts = Components(x.new_zeros(used), [], mean, factor, noise)
        self.objective = -math.inf  # of the last `em_step`
        self.maximise(share)

    def _pooled(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """W_0 (N, R) and d_0 (N,) of residuals x (n, N), 0 where they are missing."""
        seen = self.data.seen.to(x)
        if self.full:
            return _split(x.T @ x / (seen.T @ seen).clamp(min=1), self.floor)
        one, directions = x.new_ones(len(x)), x.T @ self.data.draw
        for _ in range(ITERATIONS):  # subspace iteration: the leading eigenvectors of x^T x
            directions = torch.linalg.qr(directions).Q
            directions = x.T @ (x @ directions) / len(x)
        factor = directions / directions.norm(dim=0).clamp(min=1e-9).sqrt()
        noise = x.square().sum(0) / seen.sum(0).clamp(min=1)
        noise = (noise - factor.square().sum(1)).maximum(self.floor)
        for _ in range(ITERATIONS):
            filled, missing = x, None
            if self.patterns is not None:
                filled, missing = self.patterns.expect(x, one, torch.zeros_like(noise), factor, noise)
            factor, noise = _factor_analysis_step(
                filled, one, factor, noise, self.floor, 0.0, (factor, noise), missing
            )
        return factor, noise

    def em_step(self) -> float:
        """One step of EM; returns the log posterior density per row before it, up to a constant."""
        joint = self.parts.weight + self.evidence(self.data)
        evidence = joint.logsumexp(1)
        objective = float(evidence.sum() + self._log_prior()) / len(joint)
        self.maximise((joint - evidence[:, None]).exp())
        self.objective = objective
        return objective

    def refine(self, floor: Tensor) -> None:
        """M-steps with a lower floor of variances, responsibilities fixed.

        Of hundreds of numbers, those of almost no variance, such as the border of images, would dominate the
        responsibilities by their log-determinant: so their variance is bounded until these are settled.
        """
        share = (self.parts.weight + self.evidence(self.data)).softmax(1)
        self.floor = floor
        self.prior = self._pooled((self.data.x - share @ self.parts.mean) * self.data.seen)
        for _ in range(3):
            self.maximise(share)

    def pool_again(self) -> None:
        """Set the prior to the covariance within the present components, in place of the first clusters.

        Of rows with gaps these are coarse, and such a prior too wide.
        """
        parts, size = self.parts, (self.parts.weight + self.evidence(self.data)).softmax(1).sum(0)
        factor, noise = self.prior
        common = factor @ factor.T + noise.diag()
        each = parts.factor @ parts.factor.mT + torch.diag_embed(parts.noise) - common
        pooled = ((size + self.shrinkage)[:, None, None] * each).sum(0) / size.sum() + common
        self.prior, self.objective = _split(pooled, self.floor), -math.inf

    def evidence(self, data: Rows) -> Tensor:
        """log p_k(row), of what is not missing, (n, K)."""
        if data.seen.all():
            total = torch.cat([gaussian(x, self.parts) for x in data.x.split(CHUNK)])
        else:
            total = marginal(data.x, data.seen, self.parts)
        for table, (name, ids) in zip(self.parts.tables, data.ids.items(), strict=True):
            for t in range(ids.shape[1]):
                total += table[:, t].T[ids[:, t]] * data.ids_seen[name][:, t, None]
        return total

    def _log_prior(self) -> Tensor:
        """The log prior that `maximise` adds to the log-likelihood."""
        parts, (factor, noise) = self.parts, self.prior
        root, weighed = root_of(parts)
        within = (weighed.square() * noise[:, None]).sum((1, 2)) + (factor.T @ weighed).square().sum((1, 2))
        trace = ((factor.square().sum(1) + noise) / parts.noise).sum(1) - within
        total = -self.shrinkage / 2 * (trace + log_det(parts, root)).sum() + parts.weight.mean()
        for table, common in zip(parts.tables, self.common, strict=True):
            total = total + self.pseudocount * (common.exp() * table).sum()
        return total

    def maximise(self, share: Tensor) -> None:
        """The M-step, for responsibilities (n, K)."""
        parts, size = self.parts, share.sum(0)
        parts.weight = ((size + 1 / len(size)) / (len(share) + 1)).log()
        parts.tables = [
            self._table(share, n, s, common)
            for (n, s), common in zip(self.classes.items(), self.common, strict=True)
        ]
        for k in range(len(size)):
            rows = (share[:, k] > 1e-9).nonzero()[:, 0]  # in many dimensions, few
            x, r, missing = self.data.x[rows], share[rows, k], None
            if self.patterns is not None:
                x, missing = self.patterns.at(rows).expect(
                    x, r, parts.mean[k], parts.factor[k], parts.noise[k]
                )
            if size[k] > 1e-3:
                parts.mean[k] = r @ x / r.sum()
            x = x - parts.mean[k]
            if self.full:
                factor, noise = self.prior
                scatter = x.T @ (r[:, None] * x) + self.shrinkage * (factor @ factor.T + noise.diag())
                if missing is not None:
                    scatter = scatter + missing.times(torch.eye(len(noise), dtype=x.dtype, device=x.device))
                update = _split(scatter / (r.sum() + self.shrinkage), self.floor)
            else:
                before = parts.factor[k], parts.noise[k]
                update = _factor_analysis_step(x, r, *before, self.floor, self.shrinkage, self.prior, missing)
            parts.factor[k], parts.noise[k] = update

    def _table(self, share: Tensor, name: str, spec: Spec, common: Tensor | None) -> Tensor:
        """log p_k of every class, (K, T, V): frequencies, and `pseudocount` rows of the common ones."""
        counts = share.new_zeros(spec.tokens, spec.classes, share.shape[1])
        for t in range(spec.tokens):
            here = share * self.data.ids_seen[name][:, t, None]
            counts[t].index_add_(0, self.data.ids[name][:, t], here)
        counts = counts.permute(2, 0, 1)
        if common is None:  # no class is impossible
            counts = counts + 1 / spec.classes
        else:
            counts = counts + self.pseudocount * common.exp()
        return (counts / counts.sum(-1, keepdim=True)).log()


def _split(covariance: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """The covariance nearest in likelihood that is nowhere below diag(floor), as W (N, N) and d = floor.

    In units of the floor its eigenvalues below 1 become 1.
    """
    std = floor.sqrt()
    values, vectors = torch.linalg.eigh(covariance / std[:, None] / std)
    return std[:, None] * vectors * (values - 1).clamp(min=0).sqrt(), floor


def _factor_analysis_step(
    x: Tensor,
    r: Tensor,
    factor: Tensor,
    noise: Tensor,
    floor: Tensor,
    shrinkage: float,
    prior: tuple[Tensor, Tensor],
    missing: MissingCovariance | None = None,
) -> tuple[Tensor, Tensor]:
    """One EM step of factor analysis (Rubin & Thayer, 1982) for rows x (n, N) of weights r (n,).

    `shrinkage` rows of the covariance `prior` count among them. Where values are missing x has their expectations, and
    `missing` their covariance, summed over the rows.
    """
    weighed = factor / noise[:, None]
    inverse = torch.linalg.inv(eye(factor) + factor.T @ weighed)  # M^-1, the covariance of z
    beta = weighed @ inverse  # E[z | x] = beta^T x
    z = x @ beta
    w_0, d_0 = prior
    common = w_0 @ (w_0.T @ beta) + d_0[:, None] * beta  # S_0 beta
    x_z = x.T @ (r[:, None] * z) + shrinkage * common
    z_z = (r.sum() + shrinkage) * inverse + z.T @ (r[:, None] * z) + shrinkage * beta.T @ common
    x_x = r @ x.square() + shrinkage * (w_0.square().sum(1) + d_0)
    if missing is not None:
        unseen = missing.times(beta)
        x_z, z_z, x_x = x_z + unseen, z_z + beta.T @ unseen, x_x + missing.diagonal()
    factor = torch.linalg.solve(z_z, x_z, left=False)
    noise = (x_x - (factor * x_z).sum(1)) / (r.sum() + shrinkage)
    return factor, noise.maximum(floor)


def kmeans(x: Tensor, seen: Tensor, groups: int, draw: Tensor) -> Tensor:
    """k-means of rows x (n, F) from the seeds of k-means++ (Arthur & Vassilvitskii, 2007): (n,) groups.

    Where features are missing, distances and means are those of the others (Chi et al., 2016, "k-POD"). Each seed is the
    best of a few; `draw` are as many uniform numbers at least as there are groups.
    """
    centres = x[int(draw[0] * len(x))][None]
    nearest = _squares(x, seen, centres)[:, 0]
    tries = torch.arange(TRIES, device=x.device) / TRIES
    for u in draw[1:groups]:
        total = nearest.cumsum(0)
        pick = torch.searchsorted(total, (u + tries) % 1 * total[-1]).clamp(max=len(x) - 1)
        lower = nearest.minimum(_squares(x, seen, x[pick]).T)  # (TRIES, n)
        best = lower.sum(1).argmin()
        nearest, centres = lower[best], torch.cat([centres, x[pick[best]][None]])
    for _ in range(ITERATIONS):
        group = _squares(x, seen, centres).argmin(1)
        size = torch.zeros_like(centres).index_add_(0, group, seen.to(x))
        sums = torch.zeros_like(centres).index_add_(0, group, x)
        centres = torch.where(size > 0, sums / size.clamp(min=1), centres)
    return group


def _squares(x: Tensor, seen: Tensor, centres: Tensor) -> Tensor:
    """Squared distances of rows x (n, F), of the features that are there, from centres (k, F): (n, k)."""
    if seen.all():
        return torch.cdist(x, centres).square()
    return (x.square().sum(1, keepdim=True) - 2 * x @ centres.T + seen.to(x) @ centres.square().T).clamp(
        min=0
    )
