"""The changes that `mutants.py` makes to kvae, each with the tests that should notice."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    file: str  # inside kvae/
    old: str  # exact text, found once in the file
    new: str
    tests: str  # "bounds:renyi": tests/test_bounds.py -k renyi
    equivalent: str = ""  # why no test can notice
    backend: str = "jax"  # the cheapest one on which the tests notice

    @property
    def area(self) -> str:
        return self.file.split("/")[0].removesuffix(".py")

    def __str__(self) -> str:
        return f"{self.file}: {self.old!r} -> {self.new!r} ({self.tests})" if self.file else self.tests


TABLE = {
    "distributions/base.py": [
        ("UNIFORM_EDGE = 2.0**-24", "UNIFORM_EDGE = 0.0", "distributions:unlucky"),
        (
            'clip(keras.random.uniform(shape, seed=seed, dtype="float32")',
            'clip(keras.random.uniform(shape, seed=seed, dtype="bfloat16")',
            "distributions:half_precision or samples_follow_scipys",
        ),
        ("return ops.sum(values, axis=tuple", "return ops.mean(values, axis=tuple", "priors:standard_prior_is"),
        ("axis=tuple(range(-event_ndim, 0)))", "axis=tuple(range(-event_ndim, -1)))", "priors:standard_prior_is"),
        (
            "None if kl is None else sum_event(kl, event_ndim)",
            "None if kl is None else sum_event(kl, 1)",
            "distributions:whole_events",
        ),
        (
            "return value, self.log_prob(value, params, event_ndim)",
            "return value, self.log_prob(value, params)",
            "distributions:whole_events",
        ),
        (
            "return (num_samples, *ops.shape(loc))",
            "return (1, *ops.shape(loc))",
            "distributions:samples_follow_scipys and normal",
        ),
        ("return type(self)()", "return self", "distributions:the_standard_prior_is_standard"),
    ],
    "distributions/bernoulli.py": [
        ("uniform < self.mean(params)", "uniform > self.mean(params)", "distributions:bernoulli_samples"),
        ("(value - 0.5) * params", "value * params", "distributions:bernoulli_log_prob"),
        ("0.5 * size + ops.log", "size + ops.log", "distributions:bernoulli_log_prob"),
        (
            "upstream * (ops.sigmoid(a) - 0.5)",
            "upstream * ops.sigmoid(a)",
            "distributions:bernoullis_derivatives",
            "",
            "tensorflow",
        ),
        ("return x - ops.sigmoid(a)", "return x + ops.sigmoid(a)", "distributions:many_samples_of", "", "tensorflow"),
        ("if not own or event_ndim == 1:", "if event_ndim == 1:", "distributions:subclass_of"),
        ("return ops.sigmoid(params)", "return params", "distributions:test_means"),
        ("if low < 0.0 or high > 1.0:", "if high > 1.0:", "bad_input:test_images and encode"),
    ],
    "distributions/location_scale.py": [
        ("unit_variance = 2.0", "unit_variance = 1.0", "distributions:the_kl_is_the_integral and laplace"),
        (
            "unit_entropy = 1.0 + math.log(2.0)",
            "unit_entropy = 1.0 - math.log(2.0)",
            "distributions:the_kl_is_the_integral and laplace",
        ),
        ("return -ops.abs(u) - math.log(2.0)", "return -ops.abs(u)", "distributions:log_prob_and_mean and laplace"),
        (
            "ops.log1p(-2.0 * ops.abs(u))",
            "ops.log1p(-1.0 * ops.abs(u))",
            "distributions:samples_follow_scipys and laplace",
        ),
        (
            "unit_variance = math.pi**2 / 3.0",
            "unit_variance = math.pi**2 / 6.0",
            "distributions:the_kl_is_the_integral and logistic",
        ),
        ("unit_entropy = 2.0", "unit_entropy = 1.0", "distributions:the_kl_is_the_integral and logistic"),
        ("ops.log(u) - ops.log1p(-u)", "ops.log(u) - ops.log1p(u)", "distributions:samples_follow_scipys and logistic"),
        ("unit_mean = EULER_GAMMA", "unit_mean = 0.0", "distributions:log_prob_and_mean and gumbel"),
        (
            "unit_variance = math.pi**2 / 6.0",
            "unit_variance = math.pi**2 / 3.0",
            "distributions:the_kl_is_the_integral and gumbel",
        ),
        ("return -u - ops.exp(-u)", "return -u - ops.exp(u)", "distributions:log_prob_and_mean and gumbel"),
        ("return -0.5 * (self.df + 1.0)", "return -0.5 * self.df", "distributions:log_prob_and_mean and student"),
        ("self.df / (self.df - 2.0)", "self.df / (self.df - 1.0)", "distributions:the_kl_is_the_integral and student"),
        ("one, other = checks.seeds(seed, 2)", "one, other = seed, seed", "distributions:int_seeds and student"),
        ("* ops.exp(-log_scale)) - log_scale", "* ops.exp(-log_scale))", "distributions:log_prob_and_mean and laplace"),
        ("ops.exp(2.0 * log_scale)", "ops.exp(log_scale)", "distributions:the_kl_is_the_integral and laplace"),
        (
            "return loc + ops.exp(log_scale) * unit",
            "return loc + unit",
            "distributions:samples_follow_scipys and laplace",
        ),
        ("prior_params) - entropy", "prior_params) + entropy", "distributions:the_kl_is_the_integral and laplace"),
        (
            "0.5 * edge for edge in LOG_VAR_RANGE",
            "10.0 * edge for edge in LOG_VAR_RANGE",
            "distributions:extreme_parameters",
        ),
    ],
    "distributions/normal.py": [
        ("LOG_2PI = math.log(2.0 * math.pi)", "LOG_2PI = math.log(math.pi)", "distributions:normal_log_prob"),
        (
            "return mean + ops.exp(0.5 * log_var) * noise",
            "return mean + ops.exp(log_var) * noise",
            "distributions:normal_samples",
        ),
        (
            "-0.5 * (LOG_2PI + log_var + ops.square(value - mean)",
            "-0.5 * (LOG_2PI + ops.square(value - mean)",
            "distributions:normal_log_prob",
        ),
        ("- log_var + squares - 1.0)", "- log_var + squares)", "distributions:kl_to_the_standard"),
        (
            "0.5 * (prior_log_var - log_var + squares",
            "0.5 * (log_var - prior_log_var + squares",
            "distributions:kl_between_normals",
        ),
        ("ops.square(mean - prior_mean)", "ops.square(mean + prior_mean)", "distributions:kl_between_normals"),
        (
            "return params, 2.0 * math.log(self.sigma)",
            "return params, math.log(self.sigma)",
            "distributions:fixed_sigma",
        ),
        (
            "return mean, ops.clip(log_var, *LOG_VAR_RANGE)",
            "return mean, log_var",
            "distributions:extreme_log_variance",
        ),
        (
            "(variance + ops.square(mean - m))",
            "(ops.square(mean - m))",
            "distributions:the_kl_is_the_integral and laplace",
        ),
        ("LEARNED_SPEED = 10.0", "LEARNED_SPEED = 1.0", "distributions:learned_sigma"),
        ("if max(-low, high) > LARGEST_VALUE:", "if high > LARGEST_VALUE:", "extremes:squares_overflow"),
        (
            "squares = (ops.exp(log_var) + ops.square(mean - prior_mean)) * ops.exp(-prior_log_var)",
            "squares = (ops.exp(log_var) + ops.square(mean - prior_mean)) * ops.exp(prior_log_var)",
            "distributions:kl_between_normals",
        ),
    ],
    "distributions/mixed.py": [
        ("wrong = (value != 0) & (value != 1)", "wrong = (value < 0) & (value > 1)", "mixed:wrong_rows_are_refused"),
        (
            "(np.nanmin(column, axis=0) == np.nanmax(column, axis=0)).all()",
            "(np.nanmin(column, axis=0) == np.nanmax(column, axis=0)).any()",
            "mixed:named_by_fit",
        ),
        ('lambda: Normal(sigma="per_element")', 'lambda: Normal(sigma="learned")', "mixed:density_of_each"),
        ("            start += size\n", "            start += 1\n", "mixed:wrong_rows_are_refused"),
        ("if isinstance(part, Categorical) else range", "if size > 1 else range", "mixed:density_of_each"),
    ],
    "distributions/column_transformer.py": [
        ("names.index(last) + 1 if", "names.index(last) if", "mixed:other_dtypes"),
        ("bool(label != label)", "False", "mixed:frames_come_back"),
        ("isinstance(each, SimpleImputer) or _is_identity", "_is_identity", "mixed:other_dtypes"),
        ("if outputs.stop - outputs.start != width:", "if False:", "mixed:wrong_transformers"),
    ],
    "cli/build.py": [("sizes = [np.log(mean) for mean in means]", "sizes = means", "cli:sizes_of_counts")],
    "data/frames.py": [
        ("own[gap] = np.nan", "own[gap] = 0.0", "mixed:frames_come_back"),
        ("return np.round(cells, decimals) + 0.0", "return cells", "mixed:means_are_read"),
        ("for step in reversed(block.steps)", "for step in block.steps", "mixed:other_dtypes"),
        ("piece if block.kept is None else piece[:, block.kept]", "piece", "mixed:frames_come_back"),
        ("(p[:, 0] > 0.5)", "(p[:, 0] > 0.0)", "mixed:means_are_read"),
        ("~np.isfinite(numbers) & ~gap", "np.isinf(numbers) & ~gap", "mixed:wrong_tables"),
    ],
    "distributions/counts.py": [
        (
            "ops.exp(log_mean) - log_gamma(value + 1.0)\n",
            "ops.exp(log_mean)\n",
            "likelihoods:counts_have_the_probabilities",
        ),
        ("- (value + 1.0 / alpha) *", "- (value + alpha) *", "likelihoods:counts_have_the_probabilities"),
        (
            'initializer="zeros", name="log_dispersion"',
            'initializer="ones", name="log_dispersion"',
            "likelihoods:starts_at",
        ),
        ("return ops.log1p(value)", "return value", "likelihoods:networks_see"),
        ("[log_mean + log_size, *others]", "[log_mean, *others]", "networks:log_rates_alone"),
        (
            "ops.round(super().tempered(value, params, temperature))",
            "super().tempered(value, params, temperature)",
            "likelihoods:tempered",
        ),
        (
            "ops.broadcast_to(1.0 / alpha, shape)",
            "ops.broadcast_to(alpha, shape)",
            "likelihoods:negative_binomial_draws",
        ),
        (
            "log_ratio <= _poisson_log_prob(whole, rate)",
            "log_ratio <= _poisson_log_prob(whole, rate) + 1.0",
            "likelihoods:poisson_draws",
        ),
        ("return ops.where(k < 16.0, direct, series)", "return direct", "likelihoods:accept_draws"),
        ("| (value > LARGEST_COUNT)", "", "likelihoods:outside_the_support"),
    ],
    "distributions/continuous_bernoulli.py": [
        ("square * (1.0 / 180.0", "square * (1.0 / 90.0", "likelihoods:continuous_bernoulli"),
        ("1.0 / size - 1.0 / ops.expm1(size)", "1.0 / size - 1.0 / ops.exp(size)", "likelihoods:continuous_bernoulli"),
        ("return ops.where(params > 0.0,", "return ops.where(params < 0.0,", "likelihoods:continuous_bernoulli"),
    ],
    "distributions/discretized_logistic.py": [
        ("above = (k * width + 0.5 * width", "above = (k * width + width", "likelihoods:grey_levels"),
        ("k > self.levels - 1.5", "k > self.levels - 0.5", "likelihoods:grey_levels"),
        ('dtype="float32") / (n - 1.0)', 'dtype="float32") / n', "likelihoods:start_apart"),
        ("ops.argmax(log_weights + gumbel", "ops.argmax(gumbel", "likelihoods:grey_levels"),
        ("ops.softplus((loc - 1.0) / scale)", "ops.softplus((loc + 1.0) / scale)", "likelihoods:grey_levels"),
        ("noisy = log_probs - ops.log(", "noisy = log_probs + ops.log(", "likelihoods:grey_levels"),
        ("if (off > 0.05).any():", "if (off > 0.9).any():", "likelihoods:outside_the_support"),
    ],
    "distributions/categorical.py": [
        ("ops.multiply(value, ops.log_softmax(params, axis=-1))", "ops.multiply(value, params)", "categorical"),
        ("return ops.softmax(params, axis=-1)", "return ops.log_softmax(params, axis=-1)", "categorical"),
        ("np.abs(total - 1.0) > 1e-3", "np.abs(total - 1.0) > 1.5", "likelihoods:outside_the_support"),
    ],
    "distributions/observed.py": [
        ("return ops.where(missing, 0.0, log_prob)", "return log_prob", "missing:log_likelihood_is"),
        ("ops.where(missing, zeros, ones)]", "ones]", "likelihoods:networks_see"),
        ("return np.where(missing, 1.0, value)", "return value", "missing:training_with_gaps"),
        (".reshape(len(value), -1).all(axis=1)", ".reshape(len(value), -1).any(axis=1)", "missing:log_likelihood_is"),
    ],
    "evaluation/counts.py": [
        ("np.sum(x == 0, axis=0) / number", "np.mean(x == 0, axis=0)", "likelihoods:count_statistics"),
        ('"dispersion": variance / mean}', '"dispersion": variance}', "likelihoods:count_statistics"),
    ],
    "evaluation/imputation.py": [
        (
            "ops.log_softmax(sample.log_weights(), axis=0)",
            "ops.log_softmax(0.0 * sample.log_weights(), axis=0)",
            "missing:imputed",
        ),
        ("ops.reshape(ops.transpose(chosen),", "ops.reshape(chosen,", "missing:imputed"),
        ("filled = np.where(np.isnan(x), filled, x)\n", "", "missing:imputed"),
    ],
    "distributions/positive.py": [
        ("log_value, params) - log_value", "log_value, params)", "distributions:log_prob_and_mean and log_normal"),
        ("mean + 0.5 * ops.exp(log_var)", "mean + ops.exp(log_var)", "distributions:log_prob_and_mean and log_normal"),
        (
            "return ops.exp(log_scale) * ops.cast",
            "return ops.exp(-log_scale) * ops.cast",
            "distributions:samples_follow_scipys and exponential",
        ),
        (
            "return ops.exp(log_ratio) - log_ratio - 1.0",
            "return ops.exp(log_ratio) - 1.0",
            "distributions:the_kl_is_the_integral and exponential",
        ),
        (
            "self.parameters(params)[0] - prior.parameters(prior_params)[0]",
            "prior.parameters(prior_params)[0] - self.parameters(params)[0]",
            "distributions:the_kl_is_the_integral and exponential",
        ),
        ("LOG_RANGE = (-30.0, 30.0)", "LOG_RANGE = (-300.0, 300.0)", "distributions:extreme_parameters"),
        (
            "return -value * ops.exp(-log_scale) - log_scale",
            "return -value * ops.exp(-log_scale) + log_scale",
            "distributions:log_prob_and_mean and exponential",
        ),
    ],
    "distributions/posterior_sample.py": [
        ("self.log_prior - self.log_posterior)", "self.log_prior + self.log_posterior)", "bounds:beta_weighs"),
        ("return self.log_likelihood + beta *", "return self.log_likelihood +", "bounds:beta_weighs"),
        ("self.sampled_kl() if self.kl is None else self.kl", "self.sampled_kl()", "bounds:elbos_terms"),
        (
            "ops.mean(self.log_posterior - self.log_prior, axis=0)",
            "ops.mean(self.log_prior - self.log_posterior, axis=0)",
            "bounds:kl_is_sampled",
        ),
        (
            "ops.mean(self.log_posterior - self.log_prior, axis=0)",
            "ops.sum(self.log_posterior - self.log_prior, axis=0)",
            "bounds:kl_is_sampled",
        ),
    ],
    "bounds.py": [
        ("axis=0), beta * kl", "axis=0), kl", "bounds:elbos_terms"),
        (
            "return -ops.mean(sample.log_likelihood, axis=0)",
            "return -ops.sum(sample.log_likelihood, axis=0)",
            "bounds:elbos_terms",
        ),
        ("keepdims=True) > self.free_bits", "keepdims=True) < self.free_bits", "bounds:free_bits_are"),
        (
            "full = ops.mean(kl, axis=0, keepdims=True) > self.free_bits",
            "full = kl > self.free_bits",
            "bounds:free_bits_are",
        ),
        (
            "full = ops.mean(kl, axis=0, keepdims=True)",
            "full = ops.mean(kl, axis=1, keepdims=True)",
            "bounds:free_bits_are",
        ),
        ("ops.where(full, kl, self.free_bits)", "ops.where(full, kl, 0.0)", "bounds:free_bits_are"),
        (
            "        return ops.ones_like(log_weights)",
            "        return ops.zeros_like(log_weights)",
            "gradients:same_mean and ELBO and 0.5",
        ),
        (
            'zero."""\n        power = 1.0 - self.alpha',
            'zero."""\n        power = 1.0 + self.alpha',
            "bounds:renyi_is_the_formula",
        ),
        ("return ops.max(log_weights, axis=0)", "return ops.min(log_weights, axis=0)", "bounds:renyi_is_the_formula"),
        (
            "return log_mean_exp(power * log_weights) / power",
            "return log_mean_exp(power * log_weights)",
            "bounds:renyi_is_the_formula",
        ),
        ("NEAR_ONE = 1e-3", "NEAR_ONE = 1e-9", "bounds:alpha_of_one or renyi_is_the_formula"),
        ("near, far) / power", "near, far)", "bounds:renyi_is_the_formula"),
        (
            "ops.max(deviations, axis=0) < 1.0",
            "ops.max(deviations, axis=0) < 1e9",
            "bounds:renyi_is_the_formula or huge_log_weights",
        ),
        ("return 1.0 - beta * power *", "return 1.0 - power *", "gradients:same_mean and Renyi"),
        ("return 1.0 - beta * power *", "return 1.0 - beta *", "gradients:same_mean and Renyi"),
        (
            "(1.0 - ops.exp(ops.log_softmax(power * log_weights, axis=0)))",
            "ops.exp(ops.log_softmax(power * log_weights, axis=0))",
            "gradients:same_mean and Renyi",
        ),
        (
            "ops.log_softmax(power * log_weights, axis=0)",
            "ops.log_softmax(power * log_weights, axis=1)",
            "gradients:same_mean and Renyi",
        ),
        (
            "replaced = 1.0 - beta * (1.0 - v)",
            "replaced = 1.0 - (1.0 - v)",
            "gradients:same_mean and Importance and 2.0",
        ),
        ("replaced = 1.0 - beta * (1.0 - v)", "replaced = 1.0 - beta * v", "gradients:same_mean and Importance and 5"),
        (
            "ops.log_softmax(grouped, axis=0)",
            "ops.log_softmax(grouped, axis=1)",
            "gradients:same_mean and Importance and 5",
        ),
        (
            "(1.0 - self.elbo_share) * v / self.groups",
            "(1.0 - self.elbo_share) * v",
            "gradients:same_mean and Importance and 4-0.5",
        ),
        (
            "return (elbo + others * replaced)",
            "return (others * replaced)",
            "gradients:same_mean and Importance and 4-0.5",
        ),
        ("bound = ops.mean(log_mean_exp(", "bound = ops.sum(log_mean_exp(", "bounds:groups_and_a_share"),
        (
            "return share * ops.mean(log_weights, axis=0) +",
            "return share * ops.max(log_weights, axis=0) +",
            "bounds:groups_and_a_share",
        ),
        (
            "ops.log(ops.mean(ops.exp(log_weights - peak), axis=0))",
            "ops.log(ops.sum(ops.exp(log_weights - peak), axis=0))",
            "bounds:renyi_is_the_formula",
        ),
        (
            "peak = ops.where(ops.isfinite(peak), peak, ops.zeros_like(peak))\n    return",
            "return",
            "bounds:zero_weights",
        ),
        (
            "peak = ops.stop_gradient(ops.max(log_weights, axis=0))",
            "peak = ops.max(log_weights, axis=0)",
            "gradients:same_mean and Importance and 5",
            "The derivative by the peak is 1 − Σ_s w_s / Σ_s w_s = 0 wherever it is finite.",
        ),
        ("def __init__(self, alpha: Number = 0.5,", "def __init__(self, alpha: Number = 0.0,", "bounds:test_names"),
        (
            "super().__init__(alpha=0.0, gradient=gradient)",
            "super().__init__(alpha=0.1, gradient=gradient)",
            "bounds:meet_their_neighbours",
            "The bound and its path weights, all that reads α, are the class's own.",
        ),
        (
            "return isinstance(other, Bound) and type(self) is type(other) and",
            "return isinstance(other, Bound) and",
            "bounds:round_trip or test_names",
        ),
    ],
    "priors/base.py": [
        (
            "return ops.zeros((1, *self.params_shape)",
            "return ops.ones((1, *self.params_shape)",
            "priors:standard_prior_is",
        ),
        ("self.params(condition), self.event_ndim)", "self.params(condition), 1)", "priors:codes_of_any_shape"),
        (
            "sum_event(per_dimension, self.event_ndim), per_dimension",
            "sum_event(per_dimension, 1), per_dimension",
            "priors:codes_of_any_shape",
        ),
        (
            "sum_event(per_dimension, self.event_ndim), per_dimension",
            "per_dimension, sum_event(per_dimension, self.event_ndim)",
            "priors:closed_form",
        ),
        (
            "ops.broadcast_to(params, (n, *params.shape[1:])), seed, temperature)",
            "ops.broadcast_to(params, (n, *params.shape[1:])), 0, temperature)",
            "priors:standard_prior_is or seed_of_a_draw",
        ),
        (
            "return posterior_family.standard_prior()",
            "return posterior_family",
            "priors:keeps_its_closed_form or standard_prior_is",
        ),
        (
            "return (*places, self.family.num_outputs(size))",
            "return (*places, 2 * size)",
            "priors:standard_prior_is",
        ),
    ],
    "priors/mixtures.py": [
        ("-math.log(self.num_components)", "0.0", "priors:vamps_density"),
        (
            "return ops.logsumexp(self.log_mixing() + log_prob, axis=-1)",
            "return ops.max(self.log_mixing() + log_prob, axis=-1)",
            "priors:mixtures_density",
        ),
        ("self.log_mixing() + log_prob, axis=-1", "log_prob, axis=-1", "priors:mixtures_density"),
        (
            "categorical(ops.expand_dims(self.log_mixing(), 0), n, seed=one)",
            "categorical(ops.zeros((1, self.num_components)), n, seed=one)",
            "priors:mixtures_samples",
        ),
        ("k, axis=0), other, temperature)", "k, axis=0), 0, temperature)", "priors:seed_of_a_draw"),
        ("0), n, seed=one)[0]", "0), n, seed=0)[0]", "priors:seed_of_a_draw"),
        (
            "return ops.log_softmax(ops.convert_to_tensor(self.logits))",
            "return ops.convert_to_tensor(self.logits)",
            "priors:mixtures_density",
        ),
        ("RandomNormal(stddev=0.5, seed=0)", "RandomNormal(stddev=0.0, seed=0)", "priors:start_apart"),
        (
            "RandomNormal(mean=-2.0, stddev=1.0, seed=0)",
            "RandomNormal(mean=-2.0, stddev=0.0, seed=0)",
            "priors:pseudo_inputs_train",
        ),
        (
            "return ops.sigmoid(ops.convert_to_tensor(self.pseudo_logits))",
            "return ops.convert_to_tensor(self.pseudo_logits)",
            "priors:vamps_density",
        ),
        ("return posterior_family  # its", "return posterior_family.standard_prior()  # its", "priors:vamps_density"),
        (
            "self.family.log_prob(z, self.component_params(), self.event_ndim)",
            "self.family.log_prob(z, self.component_params(), 1)",
            "priors:codes_of_any_shape",
        ),
    ],
    "priors/hierarchical.py": [
        ("            - log_q[0]\n", "            + log_q[0]\n", "priors:averages_to_the_exact"),
        (
            '            + self.top_family.log_prob(h[0], ops.zeros((1, 2 * self.top_dim), "float32"))\n',
            "",
            "priors:averages_to_the_exact",
        ),
        ("(self.top_params(rows), 1, seed)", "(self.top_params(rows), 1, 0)", "priors:both_layers"),
        (
            'ops.zeros((n, 2 * self.top_dim), "float32"), one, temperature)',
            'ops.zeros((n, 2 * self.top_dim), "float32"), 0, temperature)',
            "priors:both_layers",
        ),
        (
            "networks.apply(self.decoder, h), other, temperature)",
            "networks.apply(self.decoder, h), 0, temperature)",
            "priors:both_layers",
        ),
        (
            "one, other = checks.seeds(seed, 2)\n        h =",
            "one = other = int(ops.convert_to_numpy(seed.next())[0])\n        h =",
            "priors:both_layers",
        ),
        ("    stochastic = True", "    stochastic = False", "priors:what_does_not_fit"),
    ],
    "models/estimators.py": [
        ("constant = ops.stop_gradient(params)", "constant = params", "gradients:path_gradient_is_zero and 1"),
        ("with held(family):", "with held():", "gradients:weights_of_its_own and iw-sigma"),
        (
            "sample, x_params = score(z, held_log_posterior(z), constant)",
            "sample, x_params = score(z, family.log_prob(z, params, event_ndim), constant)",
            "gradients:path_gradient_is_zero and 1",
        ),
        (
            "            still = ops.stop_gradient(z)",
            "            still = z",
            "gradients:path_gradient_is_zero and 1",
            "Only the factors are taken from the first pass, and their gradient is stopped.",
        ),
        ("    z = ops.stop_gradient(z)\n", "", "gradients:same_mean and ELBO and 0.5"),
        (
            "log_q = ops.sum(log_posterior, axis=0)",
            "log_q = ops.mean(log_posterior, axis=0)",
            "gradients:same_mean and ELBO and 0.5",
        ),
        (
            "signal = ops.stop_gradient(sum(others, first))",
            "signal = ops.stop_gradient(first)",
            "gradients:same_mean and ELBO and 0.5",
        ),
        (
            "signal = ops.stop_gradient(sum(others, first))",
            "signal = sum(others, first)",
            "gradients:same_mean and ELBO and 0.5",
            "Its gradient is multiplied by log q − stop_gradient(log q) = 0.",
        ),
        ("    z = still + factors * (z - still)\n", "", "gradients:identity_that_scales"),
        ("    still = ops.stop_gradient(z)\n    z =", "    still = 0.0\n    z =", "gradients:identity_that_scales"),
        (
            "ops.where(ops.isnan(factors), factors, z)",
            "z",
            "gradients:identity_that_scales",
            "It holds on to the first pass where a graph optimiser sees that z − still is 0.",
        ),
        ("if prior.stochastic and bound", "if False and bound", "priors:what_does_not_fit"),
        ("if not family.reparameterized and", "if False and", "gradients:binary_codes"),
        (
            "factors = bound.path_weights(ops.stop_gradient(sample.log_weights(beta)), beta)",
            "factors = bound.path_weights(ops.stop_gradient(sample.log_weights()), beta)",
            "gradients:same_mean and 2.0 and Importance",
        ),
    ],
    "models/density.py": [
        ("return log_likelihood - kl", "return log_likelihood + kl", "grid:log_likelihood and true_posterior_the_elbo"),
        (
            "return ops.mean(sample.log_likelihood, axis=0), sample.total_kl()",
            "return ops.sum(sample.log_likelihood, axis=0), sample.total_kl()",
            "grid:true_posterior_the_elbo",
        ),
        (
            "return -self.elbo(x, y, num_samples, seed)",
            "return self.elbo(x, y, num_samples, seed)",
            "energy:energy_of_a_vae",
        ),
        (
            "num_samples: int | None = 16, seed: int | None = 0) -> Array:",
            "num_samples: int | None = 16, seed: int | None = None) -> Array:",
            "energy:energy_of_a_vae",
        ),
        (
            "return self.seed_generator if seed is None else keras",
            "return self.seed_generator if seed is not False else keras",
            "models:is_drawn_from and (vae-beta or learned)",
        ),
        (
            "return self.seed_generator if seed is None",
            "return keras.random.SeedGenerator(0) if seed is None",
            "models:first_random_stream",
        ),
        (
            "self.prior.log_prob(z, condition, seed),\n            log_posterior,",
            "log_posterior,\n            self.prior.log_prob(z, condition, seed),",
            "grid:every_bound_is_exact",
        ),
        (
            "return self.likelihood.log_prob(x, x_params, len(self.image_shape))",
            "return self.likelihood.log_prob(x, x_params, 1)",
            "models:logs_its_terms and vae-beta",
        ),
        (
            "return self.posterior_family.mean(params)",
            "return self.posterior_family.parameters(params)[0]",
            "models:a_density_is_drawn_from and log-normal",
        ),
        (
            "max(1, EVALUATION_BATCH // num_samples)",
            "max(1, EVALUATION_BATCH)",
            "grid:true_posterior_the_elbo",
            "A smaller memory, not another number.",
        ),
    ],
    "models/encoder_decoder.py": [
        (
            "rows = ops.reshape(z, (-1, *z.shape[2:]))",
            "rows = ops.reshape(ops.swapaxes(z, 0, 1), (-1, *z.shape[2:]))",
            "grid:every_bound_is_exact",
        ),
        (
            "max(EVALUATION_BATCH, min(LARGEST_BATCH, MOST_OUTPUTS // outputs))",
            "EVALUATION_BATCH",
            "kept:dense_decoders_take",
        ),
        (
            "return self.decode(self.encode(x, y), y)",
            "return self.decode(self.encode(x, y)[::-1], y)",
            "models:transfer_style or (verbs and vae-beta)",
        ),
        ("self.likelihood.check(x, name)", "pass", "likelihood:cannot_score"),
        (
            "return model.likelihood.mean(x_params) if noise is None",
            "return x_params if noise is None",
            "models:verbs and factor-vae",
        ),
        (
            "else model.likelihood.sample(x_params, 1, noise)[0]",
            "else model.likelihood.mean(x_params)",
            "likelihoods:draws_are",
        ),
    ],
    "layers.py": [
        ("ops.repeat(first[:, None], times, axis=1)", "ops.tile(first, (times, 1))", "layers:joined_dense"),
        ("or rows[1] % rows[0]", "", "layers:joined_dense"),
        ("ops.sigmoid(other_log_var - log_var)", "ops.sigmoid(log_var - other_log_var)", "hierarchies:product_of_two"),
        (
            "-ops.logaddexp(-log_var, -other_log_var)",
            "ops.logaddexp(log_var, other_log_var)",
            "hierarchies:product_of_two",
        ),
    ],
    "networks/descent.py": [
        (
            "self.family.kl_divergence(q, self.family, p,",
            "self.family.kl_divergence(p, self.family, q,",
            "hierarchies:kl_of_each_layer_is_logged",
        ),
        ("[z[i], *above[1:]], training)", "[0 * z[i], *above[1:]], training)", "hierarchies:moments_of_the_prior"),
    ],
    "networks/ladders.py": [
        ("VarianceScaling(scale / num_layers,", "VarianceScaling(scale,", "hierarchies:start_small"),
        ("layers.UpSampling2D(2, **LAST)(same), detail", "detail, detail", "hierarchies:by_repeating"),
        (
            "for above in range(resolution, resolutions[i - 1], -1):",
            "for above in []:",
            "hierarchies:resolutions_alone",
        ),
        ('block(h, 2 * latent_dim, "zeros")', 'block(h, 2 * latent_dim, "ones")', "hierarchies:start_small"),
        ("layers.Add()([prior, difference])", "difference", "hierarchies:start_small"),
    ],
    "models/hierarchical.py": [
        ("ops.sum(kl, axis=-1)", "ops.mean(kl, axis=-1)", "hierarchies:kl_of_each_layer_is_logged"),
        ("kl[:, i] for i in", "kl[:, 0] for i in", "hierarchies:kl_of_each_layer_is_logged"),
        (
            "kl = ops.mean(by_sample(",
            "kl = ops.sum(by_sample(",
            "hierarchies:kl_of_each_layer_is_exact",
        ),
        (
            "by_sample(self.decoder.log_prob(z, priors))",
            "by_sample(self.decoder.log_prob(z, posteriors))",
            "hierarchies:one_descent",
        ),
        (
            "by_sample(self.decoder.log_prob(z, posteriors))",
            "by_sample(self.decoder.log_prob(z, priors))",
            "hierarchies:one_descent",
        ),
        ("decoder.family.mean(posterior)", "decoder.family.mean(prior)", "hierarchies:code_is_the_mean"),
        ("prior, seeds[i], temperature)", "prior, seeds[i], 1.0)", "hierarchies:moments_of_the_prior"),
        ("prior, seeds[i], temperature)", "prior, 0, temperature)", "hierarchies:noise_of_their_own"),
        ("sample(posterior, 1, seeds[i])", "sample(posterior, 1, 0)", "hierarchies:noise_of_their_own"),
    ],
    "models/vae.py": [
        (
            "reconstruction_loss, kl = -ops.mean(sample.log_likelihood, axis=0)",
            "reconstruction_loss, kl = -ops.sum(sample.log_likelihood, axis=0)",
            "models:logs_its_terms and own-prior",
        ),
        (
            '"elbo": -(reconstruction_loss + kl)}',
            '"elbo": -(reconstruction_loss + self.beta * kl)}',
            "models:logged_elbo and vae-beta",
        ),
        ("        if training:\n", "        if True:\n", "models:metrics_compare and vae"),
        ("            losses = (*losses, penalty_loss)\n", "", "bounds:penalty_of_a_vae"),
        (
            'self._initial_beta = checks.number(beta, "beta", at_least=0)',
            "self._initial_beta = 1.0",
            "bounds:models_loss_is",
        ),
        ("training, log_posterior)", "False, log_posterior)", "bounds:training_mode"),
        ("if free_bits and not self", "if False and not self", "priors:what_does_not_fit"),
    ],
    "models/conditions.py": [
        ("log_size and i == len(shapes) - 1", "log_size and i == len(shapes)", "models:rates_are_proportional"),
        ("1 <= y.min() < y.max()", "1 < y.min() < y.max()", "models:rates_are_proportional"),
    ],
    "models/cvae.py": [
        ("np.tile(np.arange(m), n)", "np.repeat(np.arange(m), n)", "models:transfer_style"),
        ("np.repeat(z, m, axis=0)", "np.tile(z, (m, 1))", "models:transfer_style"),
        (
            "labels, seed, temperature), labels, seed)",
            "labels, None, temperature), labels, seed)",
            "models:is_drawn_from and learned",
        ),
        ('kernel_initializer="zeros")(h)', 'kernel_initializer="ones")(h)', "models:learned_prior_moves"),
    ],
    "models/autoencoder.py": [
        ("return ops.square(x - x_params)", "return ops.abs(x - x_params)", "autoencoder:summed_over_pixels"),
        (
            "return -self.likelihood.elementwise_log_prob",
            "return self.likelihood.elementwise_log_prob",
            "autoencoder:summed_over_pixels",
        ),
        ("if self.noise is None or not training else", "if self.noise is None else", "autoencoder:target_stays_clean"),
        (
            "self.loss_terms(batch._replace(x=x), batch.x, forward)",
            "self.loss_terms(batch._replace(x=x), x, forward)",
            "autoencoder:target_stays_clean",
        ),
        (
            "return sum_event(ops.square(x - x_hat), len(model.image_shape))",
            "return ops.mean(ops.square(x - x_hat), axis=(1, 2, 3))",
            "autoencoder:summed_over_pixels",
        ),
        ("normal(z.mean(axis=0), z.std(axis=0),", "normal(z.mean(axis=0), z.var(axis=0),", "autoencoder:random_codes"),
        ("rng = np.random.default_rng(checks.seed(seed))", "rng = np.random.default_rng()", "autoencoder:random_codes"),
        ("(reconstruction_loss, penalty_loss),\n", "(reconstruction_loss,),\n", "models:logs_its_terms and auto"),
        ("math.sqrt(0.5)", "1.0", "distributions:square_error"),
    ],
    "models/batches.py": [
        (
            "rows = slice(start, min(start + batch_size, n))",
            "rows = slice(start, min(start + batch_size - 1, n))",
            "grid:true_posterior_the_elbo",
        ),
        ("(store, rows, parts)", "(store, slice(0, batch_size), parts)", "grid:true_posterior_the_elbo"),
        ("                stored.result()", "                pass", "kept:cannot_be_stored"),
        ("        stored.result()\n    return", "    return", "kept:cannot_be_stored"),
    ],
    "models/steps.py": [
        (" or name in self._settings:", ":", "models:new_bound"),
        ("(force=True)", "(force=False)", "models:new_bound"),
    ],
    "models/base.py": [
        (
            "self.add_loss(ops.mean(weighted(loss, batch.sample_weight)))",
            "self.add_loss(ops.sum(weighted(loss, batch.sample_weight)))",
            "feeding:default or in-order",
        ),
        (
            "self.add_loss(ops.mean(weighted(loss, batch.sample_weight)))",
            "self.add_loss(ops.mean(loss))",
            "feeding:sees_what and weights and not split",
        ),
        (
            "tracker.update_state(weighted(values, batch.sample_weight), counted)",
            "tracker.update_state(values, counted)",
            "feeding:sees_what and weights and not split",
        ),
        (
            "tracker.update_state(weighted(values, batch.sample_weight), counted)",
            "tracker.update_state(result.terms[tracker.name], sample_weight=batch.sample_weight)",
            "feeding:sees_what and weights and not split",
        ),
    ],
    "networks/contract.py": [
        (
            "return tuple(ops.tile(part, (times, *[1] * (len(part.shape) - 1))) for part in condition)",
            "return tuple(ops.repeat(part, times, axis=0) for part in condition)",
            "likelihood:log_p_of_x_under_y",
        ),
        (
            'network([h, *condition] if condition else h, training=training), "float32")',
            'network([h, *condition] if condition else h), "float32")',
            "bounds:training_mode",
        ),
    ],
    "networks/convolutions.py": [
        ("BatchNormalization(momentum=0.9)", "BatchNormalization(momentum=0.99)", "networks:dcgan"),
        ("have - want) for have, want in", "want - have) for have, want in", "networks:test_shapes and conv"),
        (
            "layers.Dense(math.prod(size) * filters)",
            "layers.Dense(math.prod(size) * filters, use_bias=False)",
            "networks:conv_can_decode_zero",
        ),
    ],
    "networks/pairs.py": [
        ("reversed(hidden)", "hidden", "autoencoder:counted_once"),
        ("else inputs\n    h = dense_stack", "else inputs[:1]\n    h = dense_stack", "networks:the_condition_changes"),
        ("inputs[:-1] if size_factor else inputs", "inputs", "models:rates_are_proportional"),
        ("layers.Reshape((1,) * len(output_shape))(inputs[-1])", "inputs[-1]", "networks:log_rates_alone"),
        ("and shape[:1] != sides)", "and False)", "networks:along_time"),
    ],
    "corruption.py": [
        (
            "return x + self.sigma * keras.random.normal",
            "return x + self.sigma**2 * keras.random.normal",
            "autoencoder:noise_has_its",
        ),
        (
            'hidden = keras.random.uniform(ops.shape(x), dtype="float32", seed=seed) < self.fraction',
            'hidden = keras.random.uniform(ops.shape(x), dtype="float32", seed=seed) > self.fraction',
            "autoencoder:noise_has_its",
        ),
        (
            "ops.cast(u >= 0.5 * self.fraction, x.dtype)",
            "ops.cast(u >= 0.25 * self.fraction, x.dtype)",
            "autoencoder:noise_has_its",
        ),
    ],
    "penalties/base.py": [
        ("penalty_loss = penalty_loss + loss", "penalty_loss = loss", "autoencoder:penalties_add_up"),
    ],
    "penalties/disentangling.py": [
        (
            "log_joint - ops.sum(log_marginals, axis=-1)",
            "ops.sum(log_marginals, axis=-1) - log_joint",
            "penalties_disentangling:kl_is_mutual",
        ),
        ("share = 1.0 / self.num_examples", "share = 1.0 / size", "penalties_disentangling:weighted_posteriors"),
        ("centred = mean - ops.mean(mean, axis=0)", "centred = mean", "penalties_disentangling:dip_compares"),
        (
            "distance - ops.convert_to_tensor(model.beta) * kl",
            "distance - kl",
            "penalties_disentangling:capacity_replaces",
        ),
    ],
    "penalties/discrepancy.py": [
        ("pairs = ops.maximum(n * (n - 1.0), 1.0)", "pairs = n * n", "penalties_disentangling:unbiased_estimate"),
        ("(2.0 * d * scale)", "(d * scale)", "penalties_disentangling:unbiased_estimate"),
    ],
    "models/factor_vae.py": [
        ("judged = ops.stop_gradient(z)", "judged = z", "penalties_disentangling:own_losses"),
        ("with held(self.discriminator):", "with held():", "penalties_disentangling:own_losses"),
    ],
    "evaluation/disentanglement.py": [
        ("np.mean(_gaps(information) / entropies)", "np.mean(_gaps(information))", "disentangling:of_a_loop"),
        ("(squares.shape[1] - 1)", "squares.shape[1]", "disentangling:of_a_loop"),
        ("codes[:, active] / np.sqrt(variances[active])", "codes[:, active]", "disentangling:get_their_scores"),
    ],
    "penalties/codes.py": [
        (
            "return self.weight * _mean_over_samples(ops.abs(z))",
            "return self.weight * _mean_over_samples(ops.square(z))",
            "autoencoder:l1_is",
        ),
        (
            "(1.0 - rho) * ops.log((1.0 - rho) / (1.0 - mean))",
            "(1.0 - rho) * ops.log((1.0 - mean) / (1.0 - rho))",
            "autoencoder:kl_between_coins",
        ),
        ("ops.mean(z, axis=(0, 1))", "ops.mean(z, axis=(0, 2), keepdims=True)", "autoencoder:kl_between_coins"),
        (
            "ops.square(slope) * squares, axis=-1)",
            "slope * squares, axis=-1)",
            "autoencoder:contractive_penalty_of_one",
        ),
        ("lambda h: h * (1.0 - h)", "lambda h: h * (1.0 + h)", "autoencoder:contractive_penalty_of_one"),
        ("jv = (ends - start) / DIFFERENCE_STEP", "jv = (ends - start)", "autoencoder:deeper_encoders"),
        (
            "return ops.mean(ops.sum(ops.square(jv), axis=-1), axis=0)",
            "return ops.sum(ops.sum(ops.square(jv), axis=-1), axis=0)",
            "autoencoder:deeper_encoders",
        ),
        (
            "ops.mean(ops.sum(values, axis=tuple(range(2, len(values.shape)))), axis=0)",
            "ops.sum(ops.sum(values, axis=tuple(range(2, len(values.shape)))), axis=0)",
            "bounds:penalty_of_a_vae",
        ),
    ],
    "training/kept.py": [
        ("np.array([0, self.draws])", "np.array([0, 0])", "kept:draws_anew"),
        ("len(entries) >= MOST", "len(entries) > MOST", "kept:as_many_functions"),
        ("self.model.run_eagerly or", "", "kept:eager_execution"),
        ("variable.assign(value)", "pass", "kept:assigns"),
    ],
    "training/fit_on_arrays.py": [
        (
            '(x, y, arguments.pop("sample_weight", None)),',
            '(x, y, (arguments.pop("sample_weight", None), None)[1]),',
            "feeding:sees_what and weights and not split",
        ),
        (
            'shuffle, arguments["shuffle"] = arguments.get("shuffle", True), False',
            'shuffle, arguments["shuffle"] = False, False',
            "feeding:default",
        ),
        ('arguments.get("shuffle", True), False', "True, False", "feeding:in-order"),
        ("int(seed), int(self.model.optimizer.iterations)", "int(seed), 0", "feeding:default"),
        (
            "int(seed), int(self.model.optimizer.iterations)",
            "0, int(self.model.optimizer.iterations)",
            "feeding:another-seed",
        ),
        (
            "each(lambda a: a[:cut], train), pipelines.each(lambda a: a[cut:], train)",
            "each(lambda a: a[n - cut:], train), pipelines.each(lambda a: a[:n - cut], train)",
            "feeding:split",
        ),
        (
            "each(lambda a: a[:cut], train), pipelines.each(lambda a: a[cut:], train)",
            "each(lambda a: a[:cut], train), pipelines.each(lambda a: a[cut - 1:], train)",
            "feeding:split",
        ),
        ("if not fraction or validation is not None:", "if not fraction:", "feeding:rather"),
        (
            'arguments.pop("validation_split", None),',
            '(arguments.pop("validation_split", None), None)[1],',
            "feeding:split",
        ),
        ("*([n] if full < n else [])", "", "feeding:default"),
        (
            "rows = self.rows[self.cuts[index] : self.cuts[index + 1]]\n        x, *others",
            "rows = np.sort(self.rows[self.cuts[index] : self.cuts[index + 1]])\n        x, *others",
            "feeding:steps-given",
        ),
        (
            "pack_x_y_sample_weight(x, *pipelines.each(lambda a: a[rows], others))",
            "pack_x_y_sample_weight(x, *pipelines.each(lambda a: a[: len(rows)], others))",
            "feeding:steps-given",
        ),
        (
            "lambda array: ops.take(array, rows, axis=0), others)",
            "lambda array: array[: rows.shape[0]], others)",
            "feeding:labels",
        ),
        (
            'x = ops.cast(x, "float32") / 255.0',
            'x = ops.cast(x, "float32") / 256.0',
            "feeding:one-epoch",
            "",
            "tensorflow",
        ),
        (
            "batch_size = batch_size or min(BATCH_SIZE, len(x))",
            "batch_size = batch_size or min(64, len(x))",
            "feeding:default",
        ),
        (
            'batch_size = arguments.pop("validation_batch_size", None) or batch_size',
            'arguments.pop("validation_batch_size", None)',
            "feeding:labels",
        ),
        (
            "min(batch_size, n), steps, orders.unchanged(n)",
            "min(batch_size, n), steps, orders.shuffled(n)",
            "feeding:labels",
        ),
        ("{name: values[-1] for name, values", "{name: values[0] for name, values", "feeding:logs_its_last"),
        ("return 1\n    moves", "return 2\n    moves", "feeding:callback-per"),
        ("num_batches % steps == 0), most)", "num_batches % steps == 1), most)", "stop_on_nan:sound_training"),
        (
            "self.order, self.entropy = batch_size, steps, order, entropy",
            "self.order, self.entropy = batch_size, steps, order, lambda: 0",
            "feeding:default",
        ),
        ('and arguments.get("class_weight") is None', "and True", "feeding:class-weight"),
    ],
    "training/pipelines.py": [
        (
            'GREYS = np.arange(256, dtype="float32") / np.float32(255)',
            'GREYS = np.arange(256, dtype="float32") / np.float32(256)',
            "feeding:steps-given",
        ),
        ("return tf.cast(images, tf.float32) / 255.0", "return tf.cast(images, tf.float32) / 256.0", "data:come_back"),
        (
            "num_batches = -(-order.length // batch_size)",
            "num_batches = order.length // batch_size",
            "feeding:default",
            "",
            "tensorflow",
        ),
        (
            "numbers.unbatch().batch(batch_size)",
            "numbers.unbatch().batch(batch_size - 1)",
            "feeding:default",
            "",
            "tensorflow",
        ),
        ("orders.shuffled(len(x)) if shuffle", "orders.unchanged(len(x)) if shuffle", "data:new_order"),
        ("else orders.unchanged(len(x))", "else orders.shuffled(len(x))", "data:keep_their_order"),
        ("entropy or numbered(0)", "numbered(0)", "feeding:another-seed", "", "tensorflow"),
        ("second + np.arange(n) // batch_size", "second + 0 * np.arange(n)", "data:dynamic_binarization"),
        ("tf.shape(images), seed) < images", "tf.shape(images), seed) > images", "data:dynamic_binarization"),
        ("itertools.count(first_epoch)", "itertools.count()", "data:resumed"),
        ("itertools.repeat(seed % 2**64)", "itertools.repeat(0)", "data:new_order"),
        (
            "if not np.array_equal(np.divide(greys, np.float32(255), out=greys), piece):",
            "if False:",
            "data:no_grey_value",
        ),
        ("if not (piece.min() >= 0 and piece.max() <= 1):", "if not piece.max() <= 1:", "data:no_grey_value"),
        ("n = order.length // multiple * multiple", "n = order.length", "data:is_a_multiple"),
        (
            "y, sample_weight = each(lambda a: tf.gather(a, rows), others)",
            "y, sample_weight = each(lambda a: tf.gather(a, tf.sort(rows)), others)",
            "data:new_order",
        ),
    ],
    "training/fused.py": [
        (
            "traced = tf.function(tf.custom_gradient(function), autograph=False, reduce_retracing=True)",
            "traced = tf.custom_gradient(function)",
            "kept:no_graph_outlives",
            "",
            "tensorflow",
        ),
        ("upstream[..., None] * by_a", "by_a", "distributions:many_samples_of", "", "tensorflow"),
        ("upstream[..., None] * by_x", "by_x", "distributions:many_samples_of", "", "tensorflow"),
        (
            "tf.tile(x, (tf.shape(a)[0], 1))",
            "tf.repeat(x, tf.shape(a)[0], 0)",
            "distributions:many_samples_of",
            "",
            "tensorflow",
        ),
        (
            "tf.linalg.matvec(terms, tf.ones",
            "tf.linalg.matvec(terms, 2.0 * tf.ones",
            "distributions:many_samples_of",
            "",
            "tensorflow",
        ),
        (
            "(batch or 0) >= MANY if samples == 1",
            "False if samples == 1",
            "distributions:many_samples_of",
            "",
            "tensorflow",
        ),
    ],
    "training/gradients.py": [
        ("self.add_loss(-ops.sum(", "self.add_loss(ops.sum(", "gradient_function:adams_steps and 7"),
        (
            "self.add_loss(-ops.sum(",
            "self.add_loss(-ops.mean(",
            "gradient_function:draws_new_noise or adams_steps",
            "Adam does not depend on the scale of a gradient, up to its ε.",
        ),
        ("Adam(learning_rate, beta_2=beta_2)", "Adam(learning_rate)", "gradient_function:adams_steps and 7"),
        ("argnums=tuple(range(len(tensors)))", "argnums=(0,) * len(tensors)", "gradient_function:finite_differences"),
        ("self.point.assign(start)", "pass", "gradient_function:adams_steps and 7"),
    ],
    "training/held.py": [
        (
            "if id(variable) in self.held else value",
            "if id(variable) not in self.held else value",
            "held:only_the_weights",
        ),
        (
            "return ops.stop_gradient(value) if id(variable) in self.held else value",
            "return value",
            "held:only_the_weights",
        ),
    ],
    "training/optimizers.py": [
        (
            "parts[owner.get(id(variable))].append(variable)",
            "parts[None].append(variable)",
            "optimizers:moves_by_its_own",
        ),
        ("return self.main.iterations", "return self.members()[-1].iterations + 1", "optimizers:moves_by_its_own"),
        ("own[self.shares.owners[id(variable)]]", "own[0]", "optimizers:moves_by_its_own"),
        ("self.main.learning_rate = learning_rate", "pass", "optimizers:beside_the_update"),
        ("            member.finalize_variable_values(part)", "            pass", "optimizers:beside_the_update"),
    ],
    "training/adam.py": [
        (
            "step = tf.cast(optimizer.iterations + 1, dtype)",
            "step = tf.cast(optimizer.iterations, dtype)",
            "adam:numbers_of_keras or equations",
            "",
            "tensorflow",
        ),
        (
            "beta2_power=beta_2**step",
            "beta2_power=beta_1**step",
            "adam:numbers_of_keras or equations",
            "",
            "tensorflow",
        ),
        ("and not optimizer.amsgrad", "", "adam:numbers_of_keras", "", "tensorflow"),
    ],
    "training/finite_steps.py": [
        ("ops.isfinite(tracker.total)", "ops.isfinite(tracker.count)", "stop_on_nan:names_the_first"),
    ],
    "evaluation/likelihood.py": [
        ("np.std(self.values, ddof=1)", "np.std(self.values)", "likelihood:numbers_are_numpys"),
        ("/ math.sqrt(len(self.values)))", ")", "likelihood:numbers_are_numpys"),
        (
            "networks.tile(model.condition(y), num_samples), noise)",
            "tuple(ops.repeat(part, num_samples, axis=0) for part in model.condition(y)), noise)",
            "likelihood:naive_estimate",
        ),
        ("math.prod(image_shape))", "math.prod(image_shape[:2]))", "likelihood:bits"),
        ("bits = -log_likelihood / (math.log(2.0)", "bits = -log_likelihood / (1.0", "likelihood:bits"),
        ("np.log(total / len(weights))", "np.log(total)", "likelihood:numbers_are_numpys"),
        (
            "total**2 / np.square(weights).sum(axis=0)",
            "total / np.square(weights).sum(axis=0)",
            "likelihood:numbers_are_numpys",
        ),
        ("stream(checks.seeds(seed, 1)[0])", "stream(seed)", "likelihood:noise_of_two"),
        (
            "np.concatenate(tables)[:num_samples, : rows",
            "np.concatenate(tables)[:, : rows",
            "likelihood:true_posterior_all",
        ),
        ("runs = -(-num_samples // samples)", "runs = num_samples // samples", "likelihood:true_posterior_all"),
        (
            "runs = -(-num_samples // samples)",
            "runs = -(-num_samples // samples) + 1",
            "likelihood:true_posterior_all",
            "One run more than needed, whose samples are dropped: slower, the same numbers.",
        ),
        (
            "values[rows], sizes[rows] = log_mean(log_weights, rows.start)\n            tables = []",
            "values[rows], sizes[rows] = log_mean(log_weights)\n            tables = []",
            "likelihood:model_that_overflows",
        ),
        ("reshape(sample.log_weights()", "reshape(sample.log_likelihood", "likelihood:true_posterior_all"),
        (
            "networks.tile(parts, z.shape[0])",
            "tuple(ops.repeat(part, z.shape[0], axis=0) for part in parts)",
            "likelihood:true_posterior_all",
            "",
            "tensorflow",
        ),
        ("np.flatnonzero(~np.isfinite(peak))[0]", "np.flatnonzero(~np.isfinite(peak))[-1]", "likelihood:say_nothing"),
        (
            "item, coming = waiting.pop(0)",
            "item, coming = waiting.pop()",
            "likelihood:true_posterior_all or batches_change_only",
        ),
        (
            "model.log_likelihood(x, model.generation(codes, condition))",
            "model.log_likelihood(x, model.generation(codes, condition)) - 0.1",
            "likelihood:sampling_the_prior",
        ),
    ],
    "evaluation/annealed.py": [
        ("moved = ops.sqrt(1.0 - ops.square(rho)) * u", "moved = (1.0 - rho) * u", "likelihood:annealing_meets"),
        ("log_ratio = beta * (moved_px - log_px)", "log_ratio = moved_px - log_px", "likelihood:annealing_meets"),
        ("seed=noise)) >= log_ratio", "seed=noise)) < log_ratio", "likelihood:annealing_meets"),
        (
            'log_weights += rise * as_array(log_px).astype("float64")',
            'log_weights += beta * as_array(log_px).astype("float64")',
            "likelihood:annealing_meets",
        ),
        ("mean + ops.exp(0.5 * log_var) * moved", "mean + ops.exp(log_var) * moved", "likelihood:prior_of_the_label"),
        (
            "GAIN * (1.0 - as_array(refused) - ACCEPTED)",
            "GAIN * (as_array(refused) - ACCEPTED)",
            "likelihood:annealing_meets",
        ),
        ("return (betas - betas[0]) / (betas[-1] - betas[0])", "return betas", "likelihood:annealing_meets"),
    ],
    "evaluation/chunks.py": [
        ("return -(-total // -(-total // at_most))", "return at_most", "likelihood:chunks_are_equal"),
        (
            "np.minimum(np.arange(start, start + size), n - 1)",
            "np.minimum(np.arange(start, start + size), n - 2)",
            "likelihood:chunks_are_equal",
        ),
        (
            "rows = slice(start, min(start + size, n))",
            "rows = slice(start, start + size)",
            "likelihood:chunks_are_equal",
        ),
    ],
    "evaluation/grid.py": [
        (
            "values[i] = _log_sum(table) + dims * np.log(step)",
            "values[i] = _log_sum(table) + np.log(step)",
            "likelihood:grid_is_exact",
        ),
        ("return log_px + model.prior.log_prob(codes, condition, noise)", "return log_px", "likelihood:grid_is_exact"),
        ("dims * np.log(2.0 * step) - values[i])", "dims * np.log(step) - values[i])", "likelihood:grid_is_exact"),
        ("inner = (slice(1, -1),) * dims", "inner = (slice(0, None),) * dims", "likelihood:coarse_or_too_small"),
        ('indexing="ij"', 'indexing="xy"', "likelihood:grid_is_exact"),
        ("if accuracy[i] > COARSE:", "if accuracy[i] > 100:", "likelihood:coarse_or_too_small"),
        ("        table -= values[i]\n", "", "likelihood:grid_is_exact"),
    ],
    "evaluation/inference_gap.py": [
        (
            "return self.log_likelihood - self.best_elbo",
            "return self.log_likelihood - self.elbo",
            "likelihood:wrong_encoder",
        ),
        ("return self.best_elbo - self.elbo", "return self.elbo - self.best_elbo", "likelihood:wrong_encoder"),
        (
            "np.maximum(_elbo(model, x, y, best, num_samples, batch_size, seeds[1]), elbo)",
            "_elbo(model, x, y, best, num_samples, batch_size, seeds[1])",
            "likelihood:optimised_posterior",
        ),
        (
            "return ops.mean(sample.log_likelihood, axis=0) - sample.total_kl()\n\n\ndef _optimise",
            "return ops.mean(sample.log_likelihood, axis=0) + sample.total_kl()\n\n\ndef _optimise",
            "likelihood:wrong_encoder",
        ),
        (
            "return ops.mean(sample.log_likelihood, axis=0) - sample.total_kl()\n\n    rate",
            "return ops.mean(sample.log_likelihood, axis=0)\n\n    rate",
            "likelihood:wrong_encoder",
        ),
        (
            "importance_sampling(model, x, y, best,",
            "importance_sampling(model, x, y, params,",
            "likelihood:optimised_posterior",
        ),
    ],
    "evaluation/latent_usage.py": [
        (
            "np.sum(self.variances > self.threshold)",
            "np.sum(self.variances < self.threshold)",
            "latent_usage:unit_is_active",
        ),
        (
            'means.var(axis=0, ddof=1, dtype="float64")',
            'means.var(axis=0, dtype="float64")',
            "latent_usage:unit_is_active",
        ),
        (
            "num_samples, seed).var(axis=0, ddof=1)",
            "num_samples, seed).std(axis=0, ddof=1)",
            "latent_usage:second_layer",
        ),
        (
            "np.mean(log_posterior - log_aggregate)",
            "np.mean(log_posterior + log_aggregate)",
            "latent_usage:make_up_the_kl",
        ),
        ("log_sum - math.log(len(x))", "log_sum", "latent_usage:make_up_the_kl"),
        ("np.mean(log_aggregate - log_prior)", "np.mean(log_prior - log_aggregate)", "latent_usage:make_up_the_kl"),
        (
            'model.latent_dim).mean(axis=0, dtype="float64")',
            'model.latent_dim).sum(axis=0, dtype="float64")',
            "latent_usage:kl_per_dimension_is",
        ),
        (
            "max(1, PAIRS // (len(x) * model.latent_dim))",
            "len(x)",
            "latent_usage:chunks_do_not",
            "A larger memory, not another number.",
        ),
        (
            'return kl.mean(axis=0, dtype="float64")',
            'return kl.sum(axis=0, dtype="float64")',
            "hierarchies:kl_of_each_layer_is_exact",
        ),
    ],
    "evaluation/samples.py": [
        (
            "np.sum(np.square(x[rows]",
            "np.sum(np.abs(x[rows]",
            "baselines_and_evaluation:reconstruction_mse",
        ),
        (
            "labels = np.repeat(np.arange(model.num_classes), per_class)",
            "labels = np.repeat(np.arange(model.num_classes - 1), per_class)",
            "baselines_and_evaluation:label_agreement",
        ),
        ("np.trace(cov_b) - 2 * cross", "np.trace(cov_b) - cross", "ladder:frechet_distance_is"),
        ("kneighbors()[0][:, -1]", "kneighbors()[0][:, 0]", "latent_usage:precision_and_recall"),
        (
            "np.any(distances <= radii, axis=1)",
            "np.any(distances >= radii, axis=1)",
            "latent_usage:precision_and_recall",
        ),
        (
            "return _share_within(generated, real, k), _share_within(real, generated, k)",
            "return _share_within(real, generated, k), _share_within(generated, real, k)",
            "latent_usage:precision_and_recall",
        ),
        (
            "np.random.default_rng(checks.seed(seed)).choice(len(x), max_examples, replace=False)",
            "np.arange(max_examples)",
            "baselines_and_evaluation:large_training_set",
        ),
    ],
    "data/datasets.py": [
        (
            '(rng.random(x.shape, dtype="float32") < x)',
            '(rng.random(x.shape, dtype="float32") > x)',
            "data:binarize_draws",
        ),
        ('(rng.random(x.shape, dtype="float32") < x)', "(0.5 < x)", "data:binarize_draws"),
        (
            "rng = np.random.default_rng(checks.seed(seed))\n        x_train",
            "rng = np.random.default_rng(0)\n        x_train",
            "data:static_binarization",
        ),
        ("            shuffle=train,\n", "            shuffle=True,\n", "data:keep_their_order"),
        ("            shuffle=train,\n", "            shuffle=False,\n", "data:new_order"),
        ("            seed=seed,\n", "", "data:new_order"),
        ("            first_epoch=first_epoch,\n", "", "data:resumed"),
        ("y if labels else None", "y", "data:images_alone"),
        (
            "(self.x_train, self.y_train) if train else (self.x_test, self.y_test)",
            "(self.x_train, self.y_train)",
            "data:keep_their_order",
        ),
        ("max(y_train.max(), y_test.max())) + 1", "max(y_train.max(), y_test.max()))", "data:scikit"),
        ("max(y_train.max(), y_test.max())) + 1", "y_train.max()) + 1", "data:classes_of_the"),
        ("digits.images / digits.images.max()", "digits.images / 17", "data:scikit"),
    ],
    "data/files.py": [
        (
            "(x_train, y_train, x_test, y_test), (train, test)",
            "(x_train, y_train, x_test, y_test), (test, train)",
            "cli:bad_input",
        ),
        ("TEST_FRACTION = 0.2", "TEST_FRACTION = 0.25", "data:test_the_split"),
        ("SPLIT_SEED = 0", "SPLIT_SEED = 1", "data:split_is_that"),
        ("stratify=y if stratified else None", "stratify=None", "data:test_the_split"),
        ("and x.max() > 1:\n", "and x.max() >= 1:\n", "data:binary_integers"),
        ("np.float32(255), dtype", "np.float32(256), dtype", "data:keras_layout"),
        ("_in_range(x, name, 255, fix)", "_in_range(x, name, 1000, fix)", "data:bad_npz"),
        ("if x.min() < 0 or x.max() > most:", "if x.max() > most:", "data:bad_npz"),
        (
            "(y[train], y[test])",
            "(y[np.sort(train)], y[test])",
            "data:split_is_that",
        ),
        (
            "blocks[np.arange(len(column)), column] = 1",
            "blocks[np.arange(len(column)), column - 1] = 1",
            "data:one_hot_blocks",
        ),
    ],
    "data/toy.py": [
        (
            "return (x + noise * rng.standard_normal((n, 2)))",
            "return (x + noise**2 * rng.standard_normal((n, 2)))",
            "energy:noise_is_gaussian",
        ),
        ("/ whole.std(axis=0)", "/ whole.var(axis=0)", "energy:standardised"),
        (
            "rng = np.random.default_rng(checks.seed(seed))\n    x = ",
            "rng = np.random.default_rng(0)\n    x = ",
            "energy:standardised",
        ),
        (
            "angle = np.sqrt(rng.uniform((np.pi / 2) ** 2, (3 * np.pi) ** 2, n))",
            "angle = rng.uniform(np.pi / 2, 3 * np.pi, n)",
            "energy:spiral",
        ),
    ],
    "data/streaming.py": [
        ("rng if shuffle else None)", "rng)", "stream:same_images and npy"),
        ("[*entropy(), shard[0]]", "[*entropy()]", "stream:binary_pixels"),
        ("noise_seed + np.array([0, batch])", "noise_seed", "stream:binary_pixels"),
        (
            "return np.arange(index, len(sizes), count), rows",
            "return np.arange(len(sizes)), rows",
            "stream:workers_share",
        ),
        (
            "rows = min(int(sizes[worker::count].sum()) for worker in range(count))",
            "rows = int(sizes[index::count].sum())",
            "stream:workers_share",
        ),
        ("blocks = blocks if rng is None else rng.permutation(blocks)", "blocks = blocks", "stream:neighbours_on_disk"),
        (
            "places = np.arange(num) if rng is None else rng.permutation(num)",
            "places = np.arange(num)",
            "stream:neighbours_on_disk",
        ),
        (
            "full = num if last else num // batch_size * batch_size",
            "full = num // batch_size * batch_size",
            "stream:an_epoch_holds",
        ),
        ("numbered(seed, first_epoch)", "numbered(seed)", "stream:an_epoch_holds"),
        ("min(begin + batch_size, full)][: rows - given]", "min(begin + batch_size, full)]", "stream:workers_share"),
    ],
    "data/image_folder.py": [
        (
            "LUMA = np.array([0.299, 0.587, 0.114]",
            "LUMA = np.array([0.333, 0.333, 0.333]",
            "stream:other_sizes_and_kinds",
        ),
        ("antialias=True", "antialias=False", "data:aliasing"),
    ],
    "data/tfrecord.py": [
        ("at += HEAD + length + FOOT", "at += HEAD + length", "stream:same_images and records"),
        (
            "len(x) * i // shards, len(x) * (i + 1) // shards",
            "len(x) * i // shards, len(x) * (i + 1) // shards - 1",
            "stream:memory_map",
        ),
    ],
    "quantization.py": [
        ("keras.initializers.Constant(-1.0)", "keras.initializers.Constant(1.0)", "vqvae:different_vectors"),
        (
            "rows = keras.random.shuffle(ops.arange(length), seed=seed)",
            "rows = ops.arange(length)",
            "vqvae:different_vectors",
        ),
        (
            "ops.take(rows, ops.arange(count) % length",
            "ops.take(rows, 0 * ops.arange(count)",
            "vqvae:different_vectors",
        ),
        ('"usage": enough,', '"usage": 1.0 / self.num_codes,', "vqvae:dead_codes"),
        ('"origin": drawn - moved', '"origin": drawn', "vqvae:dead_codes and gradient"),
        ("count = (1.0 - self.decay) / self.num_codes", "count = 1.0 / self.num_codes", "vqvae:dead_codes and moving"),
        ("ops.exp(-steps))", "self.decay)", "vqvae:moving_averages_are"),
    ],
    "models/vqvae.py": [
        ("self.commitment * quantized.commitment_loss", "quantized.commitment_loss", "vqvae:sum_of_its_terms"),
        ('codebook_kind == "gradient":', 'codebook_kind != "gradient":', "vqvae:sum_of_its_terms"),
    ],
    "models/semisupervised.py": [
        ("return x if own and", "return repeated if own and", "semisupervised:multiplied_once"),
        ("x if own and networks", "x if networks", "semisupervised:override_of_inference"),
    ],
    "models/auxiliary.py": [
        ("x = x[:: self.num_classes]", "x = x[: len(x) // self.num_classes]", "auxiliary:loss_is_the_papers"),
    ],
    "priors/autoregressive.py": [
        ("layers.Cropping2D(((0, 1), (0, 0))", "layers.Cropping2D(((1, 0), (0, 0))", "vqvae:sees_what_comes"),
        ("layers.Cropping2D(((0, 0), (0, 1))", "layers.Cropping2D(((0, 0), (1, 0))", "vqvae:sees_what_comes"),
        ("return ops.sum(each, axis", "return ops.mean(each, axis", "vqvae:sees_what_comes"),
        ("logits / temperature, 1", "logits, 1", "vqvae:draws_have"),
    ],
}


def mutants() -> list[Mutant]:
    return [Mutant(file, *change) for file, changes in TABLE.items() for change in changes]
