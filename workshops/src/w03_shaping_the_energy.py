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
# 1. read any unsupervised method as an energy $E(\mathbf x)$, low on the data, and draw it;
# 2. say in one number whether it is also *higher everywhere else*;
# 3. write what keeps the energy up in K-means, sparse coding, denoising and contractive autoencoders;
# 4. tell from a picture of an energy that something is wrong with the training.
#
# **How it works.** Replace each `...` marked `YOUR CODE`, and run the cell; its last line checks your answer. A check
# says what is wrong, not only that something is. It hands back your answer if that is right and ours if not, so the cells further down always
# run. You need: NumPy, worksheets 1 and 2 (PCA's energy, the autoencoder), and the chain rule.
#
# **Predict before you run.** The first picture has the energies of PCA, $E(\mathbf x) = \lVert\mathbf x - \hat{\mathbf x}\rVert^2$, and of a mixture of eight Gaussians,
# $E(\mathbf x) = -\log p(\mathbf x)$, dark where they are low. The data are two half moons. Sketch both.

# %% [markdown] tags=["instructor"]
# *For the instructor.* Reading and the first picture 5 minutes, exercises 3.1 to 3.6 36 minutes, the pictures and the summary
# 9 minutes. The slowest part is 3.4: do the chain rule on the board for one unit. Whoever is quick goes on to 3.7.

# %%
import os
import warnings

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets with warnings that help nobody here
import keras
import numpy as np
from keras import ops

import kvae

DATASET = "digits"  # the switch, for sparse coding: "mnist" for 28×28 pixels, a little longer
EPOCHS = 200
warnings.filterwarnings("ignore", message="Objective did not converge")  # sparse coding's first, rough codes

x_train, x_test = kvae.toy.moons(1000, seed=0), kvae.toy.moons(500, seed=1)
box = kvae.energy.box(x_train, margin=0.2)
elsewhere = np.random.default_rng(0).uniform(*np.transpose(box), (5000, 2)).astype("float32")
models = {"PCA": kvae.baselines.PCA(1).fit(x_train)}
models["mixture"] = kvae.baselines.GMM(8).fit(x_train)
kvae.worksheet.show(kvae.plots.energy_surfaces(models, x_test, limits=box, title="Two energies: dark is low"), dpi=60)

# %% [markdown]
# ## Low is easy
#
# Lecture 002: an unsupervised method learns an energy that is low on the data and higher everywhere else. *Low on the data is easy.* The energy
# $E(\mathbf x) = 0$ for all $\mathbf x$ has that, and so has an autoencoder that copies its input. The methods differ in what keeps the energy up **elsewhere**.
#
# | strategy of the lecture | what keeps the energy up | here |
# | --- | --- | --- |
# | 1. constant volume of low energy | there is no more room than a plane, or $K$ points | PCA, mixtures, K-means |
# | 5. the dynamics goes to the manifold | what lies beside the data is pulled back | denoising |
# | 6. a regulariser limits the volume | a code has its price | sparse coding |
# | 7. make $G(\mathbf x)$ as constant as possible | all but the data's own directions are flattened | contractive |
#
# $G(\mathbf x)$ is the reconstruction, and $E(\mathbf x) = \lVert \mathbf x - G(\mathbf x) \rVert^2$.
#
# ## Exercise 3.1: K-means as an energy (5 minutes)
#
# K-means is an autoencoder, too. Its code $\mathbf z$ is 1-of-$K$: one entry is 1, all others are 0, so $\mathbf z W$ is one row of $W$, a centre. The encoder takes the best:
#
# $$E(\mathbf x) = \min_{\mathbf z} \lVert \mathbf x - \mathbf z W \rVert^2$$
#
# <details><summary>Hint</summary>
#
# `x[:, None] - w[None]` has the shape `(n, K, D)`. Square it, sum over one axis, take the minimum over another.
# </details>


# %%
def kmeans_energy(x, w):
    """E(x) `(n,)` of points `(n, D)` under centres `(K, D)`; NumPy arrays."""
    ### BEGIN SOLUTION
    squares = np.sum((x[:, None] - w[None]) ** 2, axis=-1)
    return squares.min(axis=1)
    ### END SOLUTION


kmeans_energy = kvae.worksheet.check("3.1", kmeans_energy)

# %% [markdown]
# **Predict before you run.** With 4 centres and with 20: which points have low energy? What becomes of the energy with as many centres as there
# are points, and would you want that?


# %%
class Centres:
    """Your energy, for centres that are found already."""

    def __init__(self, w):
        self.w = w

    def energy(self, x):
        return kmeans_energy(x, self.w)


for k in (4, 20):
    models[f"K-means, K = {k}"] = Centres(kvae.baselines.KMeans(k).fit(x_train).components)
shown = {name: models[name] for name in ("K-means, K = 4", "K-means, K = 20")}
kvae.worksheet.show(kvae.plots.energy_surfaces(shown, x_test, limits=box, title="K-means: K pits"), dpi=60)

# %% [markdown]
# ## Exercise 3.2: is it higher elsewhere? (6 minutes)
#
# The picture colours each point by the *share of the box that has a lower energy*. In one number: take a point of the data and one from anywhere in
# the box. How probable is it that the data's has the lower energy?
#
# $$\operatorname{AUROC} = P\left[E(\mathbf x_{\text{data}}) < E(\mathbf x_{\text{elsewhere}})\right]$$
#
# Count over all pairs. 1 is as good as it gets, ½ is what an energy without any shape has.
#
# <details><summary>Hint</summary>
#
# A column against a row gives a table of all pairs: `data[:, None] < elsewhere`.
# </details>


# %%
def auroc(data, elsewhere):
    """The share of pairs with the lower energy on the data; energies `(n,)` and `(m,)`, NumPy arrays."""
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
# An autoencoder with a *longer* code than its input, 64 numbers for a point in the plane, may learn $G(\mathbf x) = \mathbf x$, and then its energy is 0
# everywhere. Denoising takes this way out from it. Push each point aside, and ask for the way back:
#
# $$\ell(\mathbf x) = \lVert \mathbf x - G(\mathbf x + \boldsymbol\varepsilon) \rVert^2, \qquad \boldsymbol\varepsilon \sim \mathcal N(\mathbf 0, \sigma^2 \mathbf I)$$
#
# <details><summary>Hint</summary>
#
# `reconstruct` is a function: call it on what the network gets to see. Then `ops.sum(ops.square(...), axis=-1)`.
# </details>


# %%
def denoising_loss(reconstruct, x, noise):
    """ℓ `(batch,)` of points x `(batch, D)` with noise ε of the same shape; `reconstruct` is G. With keras.ops."""
    ### BEGIN SOLUTION
    x_hat = reconstruct(x + noise)
    return ops.sum(ops.square(x - x_hat), axis=-1)
    ### END SOLUTION


denoising_loss = kvae.worksheet.check("3.3", denoising_loss)

# %% [markdown]
# Two networks of the same build, with the same 64 numbers in the middle: one without noise, one with your loss.
#
# **Predict before you run.** The arrows go from $\mathbf x$ to $G(\mathbf x)$. Where will they be short, where long, for each of the two?


# %%
class Denoiser(keras.Model):
    """An autoencoder of the plane, 2 → 128 → 64 → 128 → 2, with your loss; σ = 0 is a plain autoencoder."""

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
    """What `build` makes, trained on the moons."""
    keras.utils.set_random_seed(0)
    model = build()
    rate = keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * 10)
    model.compile(optimizer=keras.optimizers.Adam(rate), steps_per_execution=10)
    model.fit(x_train, epochs=EPOCHS, batch_size=100, verbose=0)
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

# %% [markdown] tags=["instructor"]
# *For the instructor.* The plain one copies wherever it can: it learnt nothing but that near the data $G(\mathbf x) = \mathbf x$. The denoising one goes to the mean of
# the clean points that a noisy one may have come from: $G(\mathbf x) - \mathbf x \approx \sigma^2 \nabla \log p(\mathbf x)$, for small σ. With that you are half way to diffusion models.

# %% [markdown]
# ## Exercise 3.4: the contractive autoencoder (8 minutes)
#
# Strategy 7 makes the code as constant as it can be: it charges for how much $\mathbf h$ moves when $\mathbf x$ moves, the squared norm of the Jacobian $J = \partial \mathbf h / \partial \mathbf x$.
# The reconstruction pulls against it, but only along the data. Across them the code may stand still.
#
# For one layer, $h_j = \operatorname{sigmoid}(a_j)$ with $a_j = \sum_i x_i W_{ij} + b_j$, the slope of the sigmoid is $h_j (1 - h_j)$, and so
#
# $$\lVert J \rVert_F^2 = \sum_j \sum_i \left(\frac{\partial h_j}{\partial x_i}\right)^2 = \sum_j \left[h_j (1 - h_j)\right]^2 \sum_i W_{ij}^2$$
#
# <details><summary>Hint</summary>
#
# `ops.sum(ops.square(w), axis=0)` has one number for each unit. So has a row of `h`.
# </details>


# %%
def contraction(h, w):
    """‖J‖_F² `(batch,)` at codes h `(batch, units)` of a sigmoid layer with the kernel w `(inputs, units)`."""
    ### BEGIN SOLUTION
    slope = h * (1 - h)
    return ops.sum(ops.square(slope) * ops.sum(ops.square(w), axis=0), axis=-1)
    ### END SOLUTION


contraction = kvae.worksheet.check("3.4", contraction)

# %% [markdown]
# For an encoder of several layers `kvae.penalties.Contractive` estimates the same norm. Same build as before, but its code goes through a tanh, and its
# weights are tied (worksheet 2): otherwise the encoder shrinks the code, which is cheap, and the decoder stretches it again.
#
# **Predict before you run.** Below, the same network three times: plain, denoising, contractive. Which has most dark area where no data are?
# And which of all the methods has the least mean energy *on* the data?

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
# The plain autoencoder has by far the lowest energy on the data. That is the easy half. (The mixture's energy is in nats, not in squared distances: its
# mean cannot be compared, its AUROC can.)
#
# ## Exercise 3.5: sparse coding (5 minutes)
#
# Strategy 6 gives the code a price. With more *atoms* (rows of $W$) than needed, each image is to use few of them:
#
# $$E(\mathbf x) = \min_{\mathbf z}\; \lVert \mathbf x - \mathbf z W \rVert^2 + \lambda \lvert \mathbf z \rvert_1, \qquad \lvert \mathbf z \rvert_1 = \sum_j \lvert z_j \rvert$$
#
# A search has found $\mathbf z$ already; write what it has minimised.
#
# <details><summary>Hint</summary>
#
# Two terms, each a sum over `axis=1`.
# </details>


# %%
def sparse_energy(x, z, w, weight):
    """The bracket `(n,)` of images `(n, D)` at codes `(n, K)`, atoms `(K, D)`, λ = `weight`; NumPy arrays."""
    ### BEGIN SOLUTION
    squares = np.sum((x - z @ w) ** 2, axis=1)
    return squares + weight * np.sum(np.abs(z), axis=1)
    ### END SOLUTION


sparse_energy = kvae.worksheet.check("3.5", sparse_energy)

# %% [markdown]
# **Predict before you run.** PCA's components are sums of everything. What will atoms look like of which an image may use only a few?

# %%
data = kvae.load_data(DATASET)
digits, weight = data.x_train[:2000], 0.5
coding = kvae.baselines.SparseCoding(100, sparsity=weight).fit(digits)
z = coding.encode(digits)
ours = sparse_energy(digits.reshape(len(digits), -1), z, coding.components, weight)
print(f"mean energy {ours.mean():.3f}, by kvae {coding.energy(digits).mean():.3f}")
print(f"an image uses {np.mean(np.sum(z != 0, axis=1)):.0f} of 100 atoms")
used = np.argsort(-np.abs(z).sum(axis=0))[:20]
pca = kvae.baselines.PCA(20).fit(digits)
atoms = np.stack([pca.components, coding.components[used]])
atoms = (0.5 + 0.5 * atoms / np.abs(atoms).max(axis=-1, keepdims=True)).reshape(4, 10, *data.image_shape)
labels = ["PCA", "", "sparse", ""]
kvae.worksheet.show(kvae.plots.image_grid(atoms, row_labels=labels, title="What images are put together from"))

# %% [markdown]
# ## Exercise 3.6: find the bug (6 minutes)
#
# K-means takes turns: each point chooses its nearest centre (that is $\mathbf z$), then each centre moves to the mean of the points that chose it. Somebody has
# written that, and it does not work.
#
# **Predict before you run.** It starts with twelve points of the data as centres. Where should the centres be in the end?


# %%
def broken_centres(x, z):
    """Somebody's new centres `(K, D)` of points `(n, D)` with 1-of-K codes `(n, K)`."""
    return z.T @ x / len(x)


def kmeans(new_centres, steps=30):
    """Centres after some turns."""
    w = x_train[:12]
    for _ in range(steps):
        nearest = np.argmin(np.sum((x_train[:, None] - w[None]) ** 2, axis=-1), axis=1)
        z = np.eye(len(w))[nearest]
        chosen = z.sum(axis=0) > 0  # a centre that nobody chose stays where it is
        w = np.where(chosen[:, None], new_centres(x_train, np.where(chosen, z, 1)), w)
    return w


w = kmeans(broken_centres)
broken = Centres(w)
right = kvae.baselines.KMeans(12).fit(x_train)
print(f"mean energy {broken.energy(x_test).mean():.3f}, kvae's with as many centres {right.energy(x_test).mean():.3f}")
shown = {"kvae's K-means": right, "broken K-means": broken}
figure = kvae.plots.energy_surfaces(shown, x_test, limits=box, title="Where are the centres?")
for axes, each in zip(figure.axes, (right.components, w), strict=False):  # the last axes are the colours' scale
    axes.scatter(*each.T, s=120, color="#ffa90e", edgecolors="black", marker="X")
kvae.worksheet.show(figure, dpi=60)

# %% [markdown]
# Twelve centres (crosses) were there at the start, on the data; now they crowd together where no data are. Mend the line.
#
# <details><summary>Hint</summary>
#
# `z.T @ x` are the sums of each centre's points. A mean is a sum, divided by what?
# </details>


# %%
def mended_centres(x, z):
    """New centres `(K, D)` of points `(n, D)` with 1-of-K codes `(n, K)`, each chosen at least once."""
    ### BEGIN SOLUTION
    return z.T @ x / z.sum(axis=0)[:, None]
    ### END SOLUTION


mended_centres = kvae.worksheet.check("3.6", mended_centres)

# %%
print(f"mean energy with your centres {Centres(kmeans(mended_centres)).energy(x_test).mean():.3f}")

# %% [markdown] tags=["instructor"]
# *For the instructor.* Each centre became its cluster's mean times the cluster's share of the points, about 1/12: so all shrink to the origin, the few that are left
# take all points, and the others, chosen by nobody, stay where they are. Shift the data by 5 and it would look quite different; a bug that depends on where the origin is.

# %% [markdown]
# ## Exercise 3.7, stretch: the dynamics goes to the manifold (at home, or if you are early)
#
# One arrow of the denoising autoencoder shows the way. Follow it: $\mathbf x \leftarrow G(\mathbf x)$, again and again.
#
# <details><summary>Hint</summary>
#
# A loop of `steps` turns, with one line in it.
# </details>


# %%
def follow(reconstruct, x, steps):
    """Points `(n, D)` after so many steps x ← G(x)."""
    ### BEGIN SOLUTION
    for _ in range(steps):
        x = reconstruct(x)
    return x
    ### END SOLUTION


follow = kvae.worksheet.check("3.7", follow)

# %% [markdown]
# **Predict before you run.** 300 points from anywhere in the box. Where will they be after 1, 5 and 20 steps?

# %%
figure = kvae.plots.canvas.new_figure(13, 5.2, "x ← G(x), by the denoising autoencoder")
for axes, steps in zip(figure.subplots(1, 3), (1, 5, 20), strict=True):
    points = ops.convert_to_numpy(follow(denoising.reconstruct, elsewhere[:300], steps))
    axes.scatter(*x_test.T, s=8, color="#ffa90e")
    axes.scatter(*points.T, s=14, color="black")
    axes.set(aspect="equal", xlim=box[0], ylim=box[1], xticks=[], yticks=[])
    axes.set_title(f"after {steps} step{'s' * (steps > 1)}", fontsize=15)
kvae.worksheet.show(figure, dpi=60)

# %% [markdown]
# ## Summary
#
# - An energy must be low on the data *and* higher elsewhere. A low reconstruction error shows the first half only.
# - K-means and PCA: $E(\mathbf x) = \min_{\mathbf z}\lVert\mathbf x - \mathbf z W\rVert^2$, where the code has not enough room to be low everywhere.
# - Denoising: learn the way back from $\mathbf x + \boldsymbol\varepsilon$ to the **clean** $\mathbf x$.
# - Contractive: charge for $\lVert\partial\mathbf h/\partial\mathbf x\rVert_F^2$. Sparse: charge for $\lvert\mathbf z\rvert_1$.
#
# **Next:** worksheet 4 makes it a probability, $p(\mathbf x)$: then low here means high elsewhere by itself, because all must add up to 1.
