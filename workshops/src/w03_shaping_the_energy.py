# ---
# jupyter:
#   kvae:
#     worksheet: 3
#     topic: Shaping the energy
#     about: "denoising, sparse, contractive, K-means"
#     lectures: "002"
#     minutes: 50
# ---

# %% [markdown]
# # Worksheet 3: Shaping the energy
#
# **50 minutes.** After it you can
#
# 1. read any unsupervised method as an energy $E(\mathbf x)$ that is low on the data, and draw it;
# 2. say in one number whether it is also *higher everywhere else*;
# 3. write the term that keeps the energy up in K-means, sparse coding, denoising and contractive autoencoders;
# 4. see from a picture of an energy that something went wrong in training.
#
# **How it works.** Replace each `...` marked `YOUR CODE` and run the cell; its last line checks your answer. If the answer is wrong, the
# check tells you why. It returns your answer if it is right and ours if it is not, so the cells further down always
# run. You need NumPy, worksheets 1 and 2 (PCA's energy, the autoencoder), and the chain rule.
#
# **Predict before you run.** The first figure shows the energies of PCA, $E(\mathbf x) = \lVert\mathbf x - \hat{\mathbf x}\rVert^2$, and of a mixture of eight Gaussians,
# $E(\mathbf x) = -\log p(\mathbf x)$. Dark means low. The data are two half moons. Sketch both energies.

# %% [markdown] tags=["instructor"]
# *For the instructor.* Reading and the first figure take 5 minutes, exercises 3.1 to 3.6 take 36, the figures and the summary
# 9. Students spend the most time on 3.4: derive the chain rule for one unit on the board. Fast students continue with 3.7.

# %%
import os
import warnings

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import kvae

kvae.worksheet.quiet()  # before Keras: hides its start-up messages
import keras
import numpy as np
from keras import ops

DATASET = "digits"  # for sparse coding; or "mnist" for 28×28 pixels, which takes a little longer
EPOCHS = 200
warnings.filterwarnings("ignore", message="Objective did not converge")  # sparse coding's first codes are rough

x_train, x_test = kvae.toy.moons(1000, seed=0), kvae.toy.moons(500, seed=1)
box = kvae.energy.box(x_train, margin=0.2)
elsewhere = np.random.default_rng(0).uniform(*np.transpose(box), (5000, 2)).astype("float32")
models = {"PCA": kvae.baselines.PCA(1).fit(x_train)}
models["mixture"] = kvae.baselines.GMM(8).fit(x_train)
kvae.worksheet.show(kvae.plots.energy_surfaces(models, x_test, limits=box, title="Two energies: dark is low"), dpi=60)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# PCA's energy is a valley along a straight line, which cuts through both moons and leaves the picture. The mixture's
# follows the moons and rises away from them on all sides.
# </details>

# %% [markdown]
# ## Low is easy
#
# Lecture 002: an unsupervised method learns an energy that is low on the data and higher everywhere else. *Low on the data is easy.* The energy
# $E(\mathbf x) = 0$ for all $\mathbf x$ is low there, and so is that of an autoencoder that copies its input. The methods differ in what keeps the energy up **elsewhere**.
#
# | strategy in the lecture | what keeps the energy up | here |
# | --- | --- | --- |
# | 1. constant volume of low energy | only a plane, or $K$ points, can have low energy | PCA, mixtures, K-means |
# | 5. the dynamics goes to the manifold | points off the data are pulled back | denoising |
# | 6. a regulariser limits the volume | codes have a cost | sparse coding |
# | 7. make $G(\mathbf x)$ as constant as possible | all directions except along the data are flattened | contractive |
#
# $G(\mathbf x)$ is the reconstruction, and $E(\mathbf x) = \lVert \mathbf x - G(\mathbf x) \rVert^2$.
#
# ## Exercise 3.1: K-means as an energy (5 minutes)
#
# K-means is an autoencoder too. Its code $\mathbf z$ is 1-of-$K$: one entry is 1 and all others are 0, so $\mathbf z W$ is one row of $W$, a centre. The encoder chooses the best code:
#
# $$E(\mathbf x) = \min_{\mathbf z} \lVert \mathbf x - \mathbf z W \rVert^2$$
#
# <details><summary>Hint</summary>
#
# `x[:, None] - w[None]` has shape `(n, K, D)`. Square it, sum over one axis, and take the minimum over another.
# </details>


# %%
def kmeans_energy(x, w):
    """Energies E(x) `(n,)` of points `(n, D)` for centres `(K, D)`; NumPy arrays."""
    ### BEGIN SOLUTION
    squares = np.sum((x[:, None] - w[None]) ** 2, axis=-1)
    return squares.min(axis=1)
    ### END SOLUTION


kmeans_energy = kvae.worksheet.check("3.1", kmeans_energy)

# %% [markdown]
# **Predict before you run.** Which points have low energy with 4 centres, and which with 20? What happens to the energy with as many centres as there
# are points, and would you want that?


# %%
class Centres:
    """Your energy for given centres."""

    def __init__(self, w):
        self.w = w

    def energy(self, x):
        return kmeans_energy(x, self.w)


for k in (4, 20):
    models[f"K-means, K = {k}"] = Centres(kvae.baselines.KMeans(k).fit(x_train).components)
shown = {name: models[name] for name in ("K-means, K = 4", "K-means, K = 20")}
kvae.worksheet.show(kvae.plots.energy_surfaces(shown, x_test, limits=box, title="K-means: K wells"), dpi=60)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# With 4 centres, four round wells, which are wider than the moons and miss their ends; with 20, a chain of wells
# along the moons. With as many centres as points the energy is 0 on each training point and higher between them: it
# has learnt the points by heart.
# </details>

# %% [markdown]
# ## Exercise 3.2: is it higher elsewhere? (6 minutes)
#
# The figures colour each point by the *share of the box that has a lower energy*. To turn that into one number, take a point of the data and a point from anywhere in
# the box. What is the probability that the data point has the lower energy?
#
# $$\operatorname{AUROC} = P\left[E(\mathbf x_{\text{data}}) < E(\mathbf x_{\text{elsewhere}})\right]$$
#
# Count over all pairs. 1 is perfect; random energies score ½. (An energy that is the same everywhere scores 0, because no pair satisfies $<$.)
#
# <details><summary>Hint</summary>
#
# Comparing a column with a row gives a table of all pairs: `data[:, None] < elsewhere`.
# </details>


# %%
def auroc(data, elsewhere):
    """Share of pairs in which the data point has the lower energy; energies `(n,)` and `(m,)`, NumPy arrays."""
    ### BEGIN SOLUTION
    return np.mean(data[:, None] < elsewhere)
    ### END SOLUTION


auroc = kvae.worksheet.check("3.2", auroc)

# %%
for name, model in models.items():
    print(f"{name:>16}: AUROC {auroc(model.energy(x_test), model.energy(elsewhere)):.3f}")

# %% [markdown]
# ## Exercise 3.3: the denoising autoencoder (6 minutes)
#
# An autoencoder whose code is *longer* than its input, 64 numbers for a point in the plane, can learn $G(\mathbf x) = \mathbf x$, and then its energy is 0
# everywhere. Denoising rules this solution out: perturb each point and ask for the original.
#
# $$\ell(\mathbf x) = \lVert \mathbf x - G(\mathbf x + \boldsymbol\varepsilon) \rVert^2, \qquad \boldsymbol\varepsilon \sim \mathcal N(\mathbf 0, \sigma^2 \mathbf I)$$
#
# <details><summary>Hint</summary>
#
# `reconstruct` is a function: call it on what the network sees. Then `ops.sum(ops.square(...), axis=-1)`.
# </details>


# %%
def denoising_loss(reconstruct, x, noise):
    """Loss ℓ `(batch,)` of points x `(batch, D)` with noise ε of the same shape; `reconstruct` is G. Use keras.ops."""
    ### BEGIN SOLUTION
    x_hat = reconstruct(x + noise)
    return ops.sum(ops.square(x - x_hat), axis=-1)
    ### END SOLUTION


denoising_loss = kvae.worksheet.check("3.3", denoising_loss)

# %% [markdown]
# We train two networks with the same architecture and the same 64 numbers in the middle: one without noise, one with your loss.
#
# **Predict before you run.** The arrows go from $\mathbf x$ to $G(\mathbf x)$. Where will they be short and where long, for each of the two?


# %%
class Denoiser(keras.Model):
    """An autoencoder of the plane, 2 → 128 → 64 → 128 → 2, with your loss; σ = 0 gives a plain autoencoder."""

    def __init__(self, sigma):
        super().__init__()
        self.encoder, self.decoder = kvae.networks.mlp((2,), 64, hidden=(128,), posterior=None)
        self.sigma = sigma
        self.seed_generator = keras.random.SeedGenerator(0)

    def reconstruct(self, x):
        return self.decoder(self.encoder(x))

    def call(self, x):
        noise = self.sigma * keras.random.normal(ops.shape(x), seed=self.seed_generator)
        self.add_loss(ops.mean(denoising_loss(self.reconstruct, x, noise)))
        return self.reconstruct(x)

    def energy(self, x):
        return np.sum((x - ops.convert_to_numpy(self.reconstruct(x))) ** 2, axis=1)


def train(build):
    """The model that `build` creates, trained on the moons."""
    keras.utils.set_random_seed(0)
    model = build()
    rate = keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * 10)
    model.compile(optimizer=keras.optimizers.Adam(rate), steps_per_execution=10)
    model.fit(x_train, epochs=EPOCHS, batch_size=100, verbose=0, callbacks=[kvae.worksheet.progress()])
    return model


plain, denoising = train(lambda: Denoiser(0.0)), train(lambda: Denoiser(0.25))
models |= {"plain autoencoder": plain, "denoising": denoising}

sides = [np.linspace(*side, 19) for side in box]
grid = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2).astype("float32")
figure = kvae.plots.canvas.new_figure(11, 5.6, "From x to G(x)")
for axes, model, name in zip(figure.subplots(1, 2), (plain, denoising), ("plain", "denoising, σ = 0.25"), strict=True):
    way = ops.convert_to_numpy(model.reconstruct(grid)) - grid
    axes.scatter(*x_test.T, s=8, color="#ffa90e")
    axes.quiver(*grid.T, *way.T, angles="xy", scale_units="xy", scale=1, width=0.004)
    axes.set(aspect="equal", xlim=box[0], ylim=box[1], xticks=[], yticks=[])
    axes.set_title(name, fontsize=15)
kvae.worksheet.show(figure, dpi=60)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# Without noise they are short nearly everywhere, also where there are no data: $G$ copies. With noise they are short
# on the moons and long elsewhere, and point to the moons.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* The plain autoencoder copies wherever it can: all it has learnt is that $G(\mathbf x) = \mathbf x$ near the data. The denoising one maps a noisy point to the mean of
# the clean points that it may have come from: $G(\mathbf x) - \mathbf x \approx \sigma^2 \nabla \log p(\mathbf x)$ for small σ. That is half of what a diffusion model needs.

# %% [markdown]
# ## Exercise 3.4: the contractive autoencoder (8 minutes)
#
# Strategy 7 makes the code as constant as possible: it penalises how much $\mathbf h$ moves when $\mathbf x$ moves, by the squared norm of the Jacobian $J = \partial \mathbf h / \partial \mathbf x$.
# The reconstruction error works against the penalty, but only along the data. Across the data the code can stay constant.
#
# For one layer, $h_j = \operatorname{sigmoid}(a_j)$ with $a_j = \sum_i x_i W_{ij} + b_j$, the derivative of the sigmoid is $h_j (1 - h_j)$, so
#
# $$\lVert J \rVert_F^2 = \sum_j \sum_i \left(\frac{\partial h_j}{\partial x_i}\right)^2 = \sum_j \left[h_j (1 - h_j)\right]^2 \sum_i W_{ij}^2$$
#
# <details><summary>Hint</summary>
#
# `ops.sum(ops.square(w), axis=0)` has one number per unit, and so does a row of `h`.
# </details>


# %%
def contraction(h, w):
    """‖J‖_F² `(batch,)` for codes h `(batch, units)` of a sigmoid layer with kernel w `(inputs, units)`."""
    ### BEGIN SOLUTION
    slope = h * (1 - h)
    return ops.sum(ops.square(slope) * ops.sum(ops.square(w), axis=0), axis=-1)
    ### END SOLUTION


contraction = kvae.worksheet.check("3.4", contraction)

# %% [markdown]
# For an encoder of several layers, `kvae.penalties.Contractive` estimates the same norm. The architecture is as before, except that the code goes through a tanh and the
# weights are tied (worksheet 2): otherwise the encoder could cheaply shrink the code and the decoder stretch it again.
#
# **Predict before you run.** Below is the same network three times: plain, denoising, contractive. The colours are ranks, so each panel has the same amount of dark area.
# In which of them is it on the data, and in which also where there are no data? And which of all the methods has the lowest mean energy *on* the data?

# %%
pair = kvae.networks.mlp((2,), 64, hidden=(128,), posterior=None, code_activation="tanh")
models["contractive"] = train(
    lambda: kvae.Autoencoder(*pair, penalty=kvae.penalties.Contractive(0.01), tied=True, seed=0)
)
for name, model in models.items():
    data_energy = model.energy(x_test)
    print(f"{name:>17}: mean energy {data_energy.mean():.4f}, AUROC {auroc(data_energy, model.energy(elsewhere)):.3f}")
shown = {name: models[name] for name in ("plain autoencoder", "denoising", "contractive")}
kvae.worksheet.show(kvae.plots.energy_surfaces(shown, x_test, limits=box, title="The same network, shaped"), dpi=60)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# The plain network's dark area follows the moons only roughly; denoising and contraction keep it closer to them, as
# their AUROC says. The plain autoencoder has the lowest energy *on* the data, and is not the best at anything else.
# </details>

# %% [markdown]
# The plain autoencoder has by far the lowest energy on the data. That is the easy half. (The mixture's energy is in nats, not a squared distance: its
# mean cannot be compared with the others, but its AUROC can.)
#
# ## Exercise 3.5: sparse coding (5 minutes)
#
# Strategy 6 puts a cost on the code. There are more *atoms* (rows of $W$) than necessary, but each image should use only a few of them:
#
# $$E(\mathbf x) = \min_{\mathbf z}\; \lVert \mathbf x - \mathbf z W \rVert^2 + \lambda \lvert \mathbf z \rvert_1, \qquad \lvert \mathbf z \rvert_1 = \sum_j \lvert z_j \rvert$$
#
# The minimising $\mathbf z$ has already been found; write the expression that it minimises.
#
# <details><summary>Hint</summary>
#
# Two terms, each with a sum over `axis=1`.
# </details>


# %%
def sparse_energy(x, z, w, weight):
    """Objective `(n,)` of images `(n, D)` for codes `(n, K)`, atoms `(K, D)` and λ = `weight`; NumPy arrays."""
    ### BEGIN SOLUTION
    squares = np.sum((x - z @ w) ** 2, axis=1)
    return squares + weight * np.sum(np.abs(z), axis=1)
    ### END SOLUTION


sparse_energy = kvae.worksheet.check("3.5", sparse_energy)

# %% [markdown]
# **Predict before you run.** Every image uses all of PCA's components. What will atoms look like if each image may use only a few?

# %%
data = kvae.load_data(DATASET)
digits, weight = data.x_train[:2000], 0.5
coding = kvae.baselines.SparseCoding(100, sparsity=weight).fit(digits)
z = coding.encode(digits)
ours = sparse_energy(digits.reshape(len(digits), -1), z, coding.components, weight)
print(f"mean energy {ours.mean():.3f}, computed by kvae {coding.energy(digits).mean():.3f}")
print(f"an image uses {np.mean(np.sum(z != 0, axis=1)):.0f} of 100 atoms")
used = np.argsort(-np.abs(z).sum(axis=0))[:20]
pca = kvae.baselines.PCA(20).fit(digits)
atoms = np.stack([pca.components, coding.components[used]])
atoms = (0.5 + 0.5 * atoms / np.abs(atoms).max(axis=-1, keepdims=True)).reshape(4, 10, *data.image_shape)
labels = ["PCA", "", "sparse", ""]
kvae.worksheet.show(kvae.plots.image_grid(atoms, row_labels=labels, title="What images are made of"))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# Like digits and parts of digits, white on grey: an image is a sum of a few of them, and has the others not at all. PCA's
# components look like no digit: each is white in some places and black in others, because every image uses all of them.
# </details>

# %% [markdown]
# ## Exercise 3.6: find the bug (6 minutes)
#
# K-means alternates: each point chooses its nearest centre (that is $\mathbf z$), then each centre moves to the mean of the points that chose it. A colleague has
# implemented this, and it does not work.
#
# **Predict before you run.** Twelve points of the data serve as initial centres. Where should the centres end up?


# %%
def broken_centres(x, z):
    """The colleague's new centres `(K, D)` of points `(n, D)` with 1-of-K codes `(n, K)`."""
    return z.T @ x / len(x)


def kmeans(new_centres, steps=30):
    """Centres after a number of iterations."""
    w = x_train[:12]
    for _ in range(steps):
        nearest = np.argmin(np.sum((x_train[:, None] - w[None]) ** 2, axis=-1), axis=1)
        z = np.eye(len(w))[nearest]
        chosen = z.sum(axis=0) > 0  # a centre without points stays where it is
        w = np.where(chosen[:, None], new_centres(x_train, np.where(chosen, z, 1)), w)
    return w


w = kmeans(broken_centres)
broken = Centres(w)
right = kvae.baselines.KMeans(12).fit(x_train)
print(f"mean energy {broken.energy(x_test).mean():.3f}, kvae's with as many centres {right.energy(x_test).mean():.3f}")
shown = {"kvae's K-means": right, "broken K-means": broken}
figure = kvae.plots.energy_surfaces(shown, x_test, limits=box, title="Where are the centres?")
for axes, each in zip(figure.axes, (right.components, w), strict=False):  # the last axes belong to the colour bar
    axes.scatter(*each.T, s=120, color="#ffa90e", edgecolors="black", marker="X")
kvae.worksheet.show(figure, dpi=60)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# Spread out along both moons, as with kvae's K-means.
# </details>

# %% [markdown]
# All twelve centres (crosses) started on the data; now they crowd together where there are none. Fix the line.
#
# <details><summary>Hint</summary>
#
# `z.T @ x` sums the points of each centre. A mean is a sum divided by what?
# </details>


# %%
def fixed_centres(x, z):
    """New centres `(K, D)` of points `(n, D)` with 1-of-K codes `(n, K)`, each chosen at least once."""
    ### BEGIN SOLUTION
    return z.T @ x / z.sum(axis=0)[:, None]
    ### END SOLUTION


fixed_centres = kvae.worksheet.check("3.6", fixed_centres)

# %%
print(f"mean energy with your centres {Centres(kmeans(fixed_centres)).energy(x_test).mean():.3f}")

# %% [markdown] tags=["instructor"]
# *For the instructor.* Each centre became the mean of its cluster times the cluster's share of the points, about 1/12. So all centres shrink towards the origin; the few that still have points
# get all of them, and the others stay where they are. Shift the data by 5 and the result looks quite different: a bug that depends on the choice of origin.

# %% [markdown]
# ## Exercise 3.7, stretch: the dynamics goes to the manifold (at home, or if you finish early)
#
# One arrow of the denoising autoencoder points towards the data. Follow the arrows: $\mathbf x \leftarrow G(\mathbf x)$, again and again.
#
# <details><summary>Hint</summary>
#
# A loop over `steps`, with one line in it.
# </details>


# %%
def follow(reconstruct, x, steps):
    """Points `(n, D)` after the given number of steps x ← G(x)."""
    ### BEGIN SOLUTION
    for _ in range(steps):
        x = reconstruct(x)
    return x
    ### END SOLUTION


follow = kvae.worksheet.check("3.7", follow)

# %% [markdown]
# **Predict before you run.** We start from 300 points anywhere in the box. Where will they be after 1, 5 and 20 steps?

# %%
figure = kvae.plots.canvas.new_figure(13, 5.2, "x ← G(x) with the denoising autoencoder")
for axes, steps in zip(figure.subplots(1, 3), (1, 5, 20), strict=True):
    points = ops.convert_to_numpy(follow(denoising.reconstruct, elsewhere[:300], steps))
    axes.scatter(*x_test.T, s=8, color="#ffa90e")
    axes.scatter(*points.T, s=14, color="black")
    axes.set(aspect="equal", xlim=box[0], ylim=box[1], xticks=[], yticks=[])
    axes.set_title(f"after {steps} step{'s' * (steps > 1)}", fontsize=15)
kvae.worksheet.show(figure, dpi=60)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# After one step nearer to the moons, after five mostly on them, and after twenty on them: they stay there, because
# $G(\mathbf x) = \mathbf x$ there.
# </details>

# %% [markdown]
# ## Summary
#
# - An energy must be low on the data *and* higher elsewhere. A low reconstruction error shows only the first half.
# - K-means and PCA: $E(\mathbf x) = \min_{\mathbf z}\lVert\mathbf x - \mathbf z W\rVert^2$, with codes too restricted for the energy to be low everywhere.
# - Denoising: learn to map $\mathbf x + \boldsymbol\varepsilon$ back to the **clean** $\mathbf x$.
# - Contractive: penalise $\lVert\partial\mathbf h/\partial\mathbf x\rVert_F^2$. Sparse: penalise $\lvert\mathbf z\rvert_1$.
#
# **Next:** worksheet 4 turns the energy into a probability, $p(\mathbf x)$. A low energy here then implies a higher one elsewhere, because probabilities must integrate to 1.
