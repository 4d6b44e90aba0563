"""Count the lines of code that `docs/models.md` compares, and write them into its tables.

    pip install --no-deps --target FOLDER pythae==0.1.2 disentanglement-lib==1.5 scvi-tools==1.4.2
    python docs/count_lines.py FOLDER

A line counts if it holds a token of Python that is neither a comment nor part of a docstring. Of a peer's model, the
files in its folder count, without `__init__.py`; of kvae, the classes and functions that the row names.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "models.md"
LAYOUT = (
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
)
PYTHAE, NF, SAMPLERS = "pythae/models", "pythae/models/normalizing_flows", "pythae/samplers"
LIB = "disentanglement_lib/methods/unsupervised/vae.py"
FLOW_POSTERIOR, AUTOREGRESSIVE = "flows/densities.py:Posterior", "flows/autoregressive.py:Autoregressive"
MASKED = "flows/autoregressive.py:MaskedNetwork"
MMD, WEIGHTED = "penalties/discrepancy.py:MMD", "bounds.py:ImportanceWeighted"
LEARNED = "priors/learning.py"
FIT = "priors/fit.py"

# For each row, the peer's files (or, behind a colon, classes and functions in them) and those of kvae; an empty list
# where the row is an argument of a class that is counted elsewhere.
ROWS: dict[str, tuple[list[str], list[str]]] = {
    "AE": ([f"{PYTHAE}/ae"], ["models/autoencoder.py:Autoencoder"]),
    "VAE": ([f"{PYTHAE}/vae"], ["models/vae.py:VAE"]),
    "BetaVAE": ([f"{PYTHAE}/beta_vae"], []),
    "VAE_LinNF": (
        [f"{PYTHAE}/vae_lin_nf", f"{NF}/planar_flow", f"{NF}/radial_flow"],
        [FLOW_POSTERIOR, *(f"flows/elementary.py:{name}" for name in ("Elementary", "Planar", "Radial"))],
    ),
    "VAE_IAF": (
        [f"{PYTHAE}/vae_iaf", f"{NF}/iaf", f"{NF}/made"],
        [FLOW_POSTERIOR, MASKED, AUTOREGRESSIVE, "flows/autoregressive.py:InverseAutoregressive"],
    ),
    "DisentangledBetaVAE": (
        [f"{PYTHAE}/disentangled_beta_vae"],
        ["penalties/disentangling.py:Capacity", "callbacks/capacity_warmup.py:CapacityWarmup"],
    ),
    "FactorVAE": (
        [f"{PYTHAE}/factor_vae"],
        ["models/factor_vae.py:FactorVAE", "models/factor_vae.py:permute_dimensions"],
    ),
    "BetaTCVAE": ([f"{PYTHAE}/beta_tc_vae"], ["penalties/disentangling.py:TotalCorrelation"]),
    "IWAE": ([f"{PYTHAE}/iwae"], [WEIGHTED]),
    "MIWAE": ([f"{PYTHAE}/miwae"], []),
    "PIWAE": ([f"{PYTHAE}/piwae"], []),
    "CIWAE": ([f"{PYTHAE}/ciwae"], []),
    "VAMP": ([f"{PYTHAE}/vamp"], ["priors/mixtures.py:Components", "priors/mixtures.py:Vamp"]),
    "WAE_MMD": ([f"{PYTHAE}/wae_mmd"], [MMD]),
    "INFOVAE_MMD": ([f"{PYTHAE}/info_vae"], []),
    "SVAE": (
        [f"{PYTHAE}/svae"],
        ["distributions/von_mises_fisher.py", "distributions/bessel.py"],
    ),
    "PoincareVAE": ([f"{PYTHAE}/pvae"], []),
    "Adversarial_AE": ([f"{PYTHAE}/adversarial_ae"], ["models/adversarial_autoencoder.py:AdversarialAutoencoder"]),
    "VAEGAN": ([f"{PYTHAE}/vae_gan"], ["models/vaegan.py:VAEGAN"]),
    "VQVAE": ([f"{PYTHAE}/vq_vae"], ["models/vqvae.py:VQVAE", "quantization.py"]),
    "HVAE": ([f"{PYTHAE}/hvae"], []),
    "RHVAE": ([f"{PYTHAE}/rhvae"], []),
    "MSSSIM_VAE": ([f"{PYTHAE}/msssim_vae"], []),
    "RAE_L2": ([f"{PYTHAE}/rae_l2"], ["penalties/decoders.py:CodeNorm", "penalties/decoders.py:DecoderDecay"]),
    "RAE_GP": ([f"{PYTHAE}/rae_gp"], ["penalties/decoders.py:CodeNorm", "penalties/decoders.py:DecoderGradient"]),
    "NormalSampler": ([f"{SAMPLERS}/normal_sampling"], ["priors/base.py:Standard"]),
    "GaussianMixtureSampler": (
        [f"{SAMPLERS}/gaussian_mixture"],
        [f"{FIT}:gaussian_mixture", f"{FIT}:_expectation_maximization", "priors/mixtures.py:Mixture"],
    ),
    "VAMPSampler": ([f"{SAMPLERS}/vamp_sampler"], []),
    "TwoStageVAESampler": (
        [f"{SAMPLERS}/two_stage_vae_sampler"],
        [f"{FIT}:two_stage", "priors/hierarchical.py:Hierarchical", LEARNED],
    ),
    "HypersphereUniformSampler": (
        [f"{SAMPLERS}/hypersphere_uniform_sampler"],
        ["distributions/von_mises_fisher.py:SphericalUniform"],
    ),
    "MAFSampler": (
        [f"{SAMPLERS}/maf_sampler", f"{NF}/maf"],
        [f"{FIT}:flow", "flows/densities.py:Prior", "flows/autoregressive.py:MaskedAutoregressive", LEARNED],
    ),
    "IAFSampler": ([f"{SAMPLERS}/iaf_sampler", f"{NF}/iaf"], []),
    "PixelCNNSampler": ([f"{SAMPLERS}/pixelcnn_sampler", f"{NF}/pixelcnn"], ["priors/autoregressive.py", LEARNED]),
    "RHVAESampler": ([f"{SAMPLERS}/manifold_sampler"], []),
    "PoincareDiskSampler": ([f"{SAMPLERS}/pvae_sampler"], []),
    "annealed_vae": ([f"{LIB}:anneal", f"{LIB}:AnnealedVAE"], []),
    "dip_vae": (
        [f"{LIB}:compute_covariance_z_mean", f"{LIB}:regularize_diag_off_diag_dip", f"{LIB}:DIPVAE"],
        ["penalties/disentangling.py:DIP"],
    ),
    "SCVI": (
        ["scvi/module/_vae.py:VAE", "scvi/distributions/_negative_binomial.py:NegativeBinomial"],
        ["distributions/counts.py:Counts", "distributions/counts.py:NegativeBinomial"],
    ),
    "SCANVI": (["scvi/module/_scanvae.py"], []),
}
# All that the rows above rest on, for the totals.
TOTALS = (
    [PYTHAE, SAMPLERS, "pythae/trainers", "pythae/pipelines", "pythae/data"],  # it saves models in their own classes
    [
        *("models", "priors", "flows", "penalties", "distributions", "networks", "training", "io", "bounds.py"),
        *("quantization.py", "layers.py", "outputs.py", "checks.py", "settings.py", "evaluation/likelihood.py"),
    ],
)


def code_lines(source: str) -> set[int]:
    """Numbers of the lines of a source that hold code, counted from 1."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                lines -= set(range(value.lineno, value.end_lineno + 1))  # type: ignore[operator]
    return lines


def count(folder: Path, what: str) -> int:
    """Lines of code of a file, of a folder of files, or of the class or function behind a colon in a file."""
    name, _, part = what.partition(":")
    path = folder / name
    if not path.exists():
        raise FileNotFoundError(f"no {name} in {folder}")
    if path.is_dir():
        return sum(len(code_lines(file.read_text())) for file in path.rglob("*.py") if file.name != "__init__.py")
    source = path.read_text()
    lines = code_lines(source)
    if not part:
        return len(lines)
    (node,) = [each for each in ast.parse(source).body if getattr(each, "name", None) == part]
    start = min([node.lineno, *(each.lineno for each in node.decorator_list)])  # type: ignore[attr-defined]
    return len(lines & set(range(start, node.end_lineno + 1)))  # type: ignore[attr-defined]


def total(folder: Path, parts: list[str]) -> int:
    """Lines of code of several files, folders, classes or functions."""
    return sum(count(folder, part) for part in parts)


def ours(name: str) -> str:
    """What the last column says about kvae: a number of lines, or a dash for an argument of another row's class."""
    parts = ROWS[name][1]
    return str(total(ROOT / "kvae", parts)) if parts else "–"


def main(folder: Path) -> None:
    """Write the numbers into the page: of each row "theirs / ours", and the two totals."""
    page = PAGE.read_text()
    for name, (theirs, _) in ROWS.items():
        numbers = f"{total(folder, theirs)} / {ours(name)}"
        pattern = re.compile(rf"^(\| `{name}`.*\|) [^|]* \|$", re.MULTILINE)
        page, found = pattern.subn(rf"\1 {numbers} |", page)
        if found != 1:
            raise ValueError(f"`{PAGE.name}` must have one row of `{name}`. Received: {found}")
    sums = total(folder, TOTALS[0]), total(ROOT / "kvae", TOTALS[1])
    page = re.sub(r"[\d,]+ lines in Pythae, [\d,]+ in kvae", f"{sums[0]:,} lines in Pythae, {sums[1]:,} in kvae", page)
    PAGE.write_text(page)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
