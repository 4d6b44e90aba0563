# ---
# jupyter:
#   kvae:
#     worksheet: 10
#     topic: Half the labels
#     about: "semi-supervised learning, a sum over the unknown label, accuracy against number of labels"
#     lectures: "003"
#     minutes: 50
# ---

# %% [markdown]
# # Worksheet 10: Half the labels
#
# **50 minutes.** After it you can
#
# 1. bound $\log p(\mathbf x, y)$ of an image with a label, and $\log p(\mathbf x)$ of one without, by the same table of numbers;
# 2. say why the entropy of the classifier belongs in the bound, and how it keeps the classifier from being too sure;
# 3. train one model on a few labelled and many other images, and compare it fairly with a classifier on the same labels;
# 4. find a gradient that has been stopped although all values are right.
#
# **How it works.** Replace each `...` or `raise NotImplementedError` marked `YOUR CODE` and run the cell; its last
# line checks your answer. If the answer is wrong, the check tells you why. It returns your answer if it is right and ours if it is not, so
# the cells further down always run. You need the conditional VAE (worksheet 8). The times allow for a second attempt at each exercise.

# %% [markdown] tags=["instructor"]
# *For the instructor.* Reading and the first two figures take 6 minutes, exercises 10.1 to 10.5 take 35, the last picture and the summary 9.
# The notebook trains eleven small models, nine of them for the last picture, which takes most of its time: start that cell before you discuss 10.5. Fast students continue with 10.6.

# %%
import os
import warnings

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import kvae

kvae.worksheet.quiet()  # before Keras: hides its start-up messages
import keras
import numpy as np
from keras import layers, ops
from sklearn.neural_network import MLPClassifier

from kvae.plots.canvas import COLORS, LABEL_SIZE, TICK_SIZE, new_figure

DATASET = "digits"  # or "mnist" for 28×28 pixels, which takes several times as long
EPOCHS = {"digits": 12, "mnist": 4}[DATASET]
LATENT_DIM, NUM_CLASSES, HIDDEN, ALPHA = 8, 10, 128, 10.0
PRIOR = np.full(NUM_CLASSES, 0.1, "float32")  # p(y): each digit is as frequent as the others

data = kvae.load_data(DATASET, binarization="static")
x_train, x_test = (x.reshape(len(x), -1) for x in (data.x_train[:10_000], data.x_test[:2000]))  # vectors of d pixels
y_train, y_test = data.y_train[:10_000], data.y_test[:2000]
y_few = kvae.data.few_labels(y_train, per_class=2, seed=0)  # the others become −1
print(f"{len(y_few)} images, {np.sum(y_few >= 0)} labels: {y_few[:30]} …")
shown = np.stack([data.x_train[: len(y_few)][y_few == k] for k in range(NUM_CLASSES)], axis=1)
title = "All that is labelled"
kvae.worksheet.show(kvae.plots.image_grid(shown, column_labels=list(range(NUM_CLASSES)), title=title))

# %% [markdown]
# ## The model
#
# Images cost nothing, labels cost an hour of somebody's time. Lecture 003 ends with the way to use both: *features learned from VAEs can be used in the
# semi-supervised setting* (Kingma, Rezende, Mohamed, Welling 2014). Take the conditional VAE of worksheet 8, and say that its label has a distribution too:
#
# $$p_\theta(\mathbf x, y, \mathbf z) = p_\theta(\mathbf x \mid \mathbf z, y)\, p(y)\, p(\mathbf z), \qquad q_\phi(\mathbf z, y \mid \mathbf x) = q_\phi(\mathbf z \mid \mathbf x, y)\, q_\phi(y \mid \mathbf x)$$
#
# The new part, $q_\phi(y \mid \mathbf x)$, is a **classifier**. Where $y$ is not known it is one more hidden variable, and the classifier infers it, as the encoder infers $\mathbf z$.
#
# The cell below builds the three networks and the **table** that everything else is made of: $-\mathcal L$ of worksheet 8, which bounds $-\log p_\theta(\mathbf x \mid y)$, of each image under **each** of the ten labels.
#
# $$\text{table}_{b, y} = -\mathbb E_{q_\phi(\mathbf z \mid \mathbf x_b, y)}\big[\log p_\theta(\mathbf x_b \mid \mathbf z, y)\big] + D_{\mathrm{KL}}\big[q_\phi(\mathbf z \mid \mathbf x_b, y) \,\|\, p(\mathbf z)\big]$$


# %%
def network(inputs, outputs):
    """A network from vectors to vectors, with one hidden layer and no activation at the end."""
    return keras.Sequential([keras.Input((inputs,)), layers.Dense(HIDDEN, activation="relu"), layers.Dense(outputs)])


def networks():
    """A new encoder, from pixels and label to [μ, log σ²]; decoder, from code and label to logits; and classifier."""
    pixels = x_train.shape[-1]
    encoder = network(pixels + NUM_CLASSES, 2 * LATENT_DIM)
    return encoder, network(LATENT_DIM + NUM_CLASSES, pixels), network(pixels, NUM_CLASSES)


def make_table(encoder, decoder, x, noise):
    """−ELBO of each image `(batch, d)` under each label, `(batch, 10)`; ε `(batch, latent)`."""
    x, noise = ops.repeat(x, NUM_CLASSES, axis=0), ops.repeat(noise, NUM_CLASSES, axis=0)
    y = ops.tile(ops.eye(NUM_CLASSES), (ops.shape(x)[0] // NUM_CLASSES, 1))
    z_mean, z_log_var = ops.split(encoder(ops.concatenate([x, y], axis=-1)), 2, axis=-1)
    z = z_mean + ops.exp(0.5 * z_log_var) * noise
    x_logits = decoder(ops.concatenate([z, y], axis=-1))
    reconstruction = ops.sum(ops.binary_crossentropy(x, x_logits, from_logits=True), axis=-1)
    kl = 0.5 * ops.sum(ops.exp(z_log_var) + ops.square(z_mean) - z_log_var - 1.0, axis=-1)
    return ops.reshape(reconstruction + kl, (-1, NUM_CLASSES))


print("a table of three images", make_table(*networks()[:2], x_train[:3], np.zeros((3, LATENT_DIM), "float32")).shape)

# %% [markdown]
# ## Exercise 10.1: an image with a label (6 minutes)
#
# If $y$ is known, the pair $(\mathbf x, y)$ is observed. The paper calls the **loss** $L$; it bounds $-\log p_\theta(\mathbf x, y) = -\log p_\theta(\mathbf x \mid y) - \log p(y)$:
#
# $$L(\mathbf x, y) = \text{table}_y - \log p(y)$$
#
# <details><summary>Hint</summary>
#
# `ops.one_hot(y, NUM_CLASSES)` is 1 in the column of $y$ and 0 elsewhere: multiply, and sum over `axis=-1`.
# </details>


# %%
def labelled(table, y, prior):
    """L(x, y) of each image `(batch,)`; table `(batch, 10)`, labels `(batch,)`, p(y) `(10,)`. Use keras.ops."""
    ### BEGIN SOLUTION
    return ops.sum(ops.one_hot(y, NUM_CLASSES) * (table - ops.log(prior)), axis=-1)
    ### END SOLUTION


labelled = kvae.worksheet.check("10.1", labelled)

# %% [markdown]
# ## Exercise 10.2: an image without a label (10 minutes)
#
# If $y$ is unknown, sum over it. With Jensen's inequality and the classifier as $q$, as always:
#
# $$-\log p_\theta(\mathbf x) = -\log \sum_y p_\theta(\mathbf x, y) \le U(\mathbf x) = \sum_y q_\phi(y \mid \mathbf x)\, L(\mathbf x, y) - \mathcal H\big[q_\phi(y \mid \mathbf x)\big],
# \qquad \mathcal H[q] = -\sum_y q \log q$$
#
# There is no sampling of $y$: ten labels are few enough to try all of them. What would the best $q$ be without $\mathcal H$, and what is it with it?
#
# <details><summary>Hint</summary>
#
# The classifier gives `log_q`, the logarithms of ten probabilities, so $q$ is `ops.exp(log_q)`. All terms are weighted with the same $q$: one sum of $q \cdot (\text{table} - \log p(y) + \log q)$.
# </details>


# %%
def unlabelled(table, log_q, prior):
    """U(x) of each image `(batch,)`; table and log q(y|x) `(batch, 10)`, p(y) `(10,)`. Use keras.ops."""
    ### BEGIN SOLUTION
    return ops.sum(ops.exp(log_q) * (table - ops.log(prior) + log_q), axis=-1)
    ### END SOLUTION


unlabelled = kvae.worksheet.check("10.2", unlabelled)

# %% [markdown] tags=["instructor"]
# *For the instructor.* Without the entropy, the best q puts everything on the label with the smallest L, after the first batches too, when L means nothing yet. With it, the
# best q is Bayes' rule, $q \propto e^{-L}$, and U is then $-\log \sum_y e^{-L}$: the classifier is as unsure as the model is.

# %% [markdown]
# ## Exercise 10.3: the objective (8 minutes)
#
# Look at $L$ again: the classifier does not occur in it, so the labels that we have do not train it! The paper adds what any classifier minimises, $-\log q_\phi(y \mid \mathbf x)$, with a weight $\alpha$:
#
# $$J = \underbrace{\operatorname{mean}_{\text{all images}} \begin{cases} L(\mathbf x, y) & y \text{ known} \\ U(\mathbf x) & y = -1 \end{cases}}_{\text{bounds}}
# \; + \; \alpha\, \operatorname{mean}_{\text{labelled images}} \big[-\log q_\phi(y \mid \mathbf x)\big]$$
#
# <details><summary>Hint</summary>
#
# `ops.where(y >= 0, …, …)` chooses for each image. `ops.one_hot(-1, NUM_CLASSES)` is 0 everywhere, so images without a label drop out of a sum by themselves; divide by `ops.sum(ops.cast(y >= 0, "float32"))`.
# </details>


# %%
def objective(known_bounds, unknown_bounds, log_q, y, alpha):
    """J, a number; L and U of each image `(batch,)`, log q(y|x) `(batch, 10)`, labels `(batch,)`, −1 if unknown."""
    ### BEGIN SOLUTION
    bounds = ops.where(y >= 0, known_bounds, unknown_bounds)
    minus_log_q = -ops.sum(ops.one_hot(y, NUM_CLASSES) * log_q)
    return ops.mean(bounds) + alpha * minus_log_q / ops.sum(ops.cast(y >= 0, "float32"))
    ### END SOLUTION


objective = kvae.worksheet.check("10.3", objective)

# %% [markdown]
# ## Exercise 10.4: how often is it right? (4 minutes)
#
# $$\text{accuracy} = \frac{\text{images with a known label for which it is the most probable one}}{\text{images with a known label}}$$


# %%
def accuracy(probabilities, y):
    """Accuracy, a number, of q(y|x) `(n, 10)` on labels `(n,)`, −1 where unknown; in NumPy."""
    ### BEGIN SOLUTION
    known = y >= 0
    return np.mean(probabilities[known].argmax(axis=1) == y[known])
    ### END SOLUTION


accuracy = kvae.worksheet.check("10.4", accuracy)

# %% [markdown]
# ## Training with 20 labels
#
# The model below registers your objective. An epoch repeats the labelled images until they are **half** of what is seen. Beside it, for a fair comparison, a network of the same size as the classifier, trained on the same 20 images only.
#
# **Predict before you run.** How often is the classifier right that knows 20 images and no others? How much do 1,400 images without labels add? And which digits will it confuse?


# %%
class M2(keras.Model):
    """Encoder, decoder, classifier, and the objective; `unlabelled` is a function of table, logits and p(y)."""

    def __init__(self, encoder, decoder, classifier, unlabelled):
        super().__init__()
        self.encoder, self.decoder, self.classifier, self.unlabelled = encoder, decoder, classifier, unlabelled
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, inputs):
        x, y = inputs
        logits = self.classifier(x)
        noise = keras.random.normal((ops.shape(x)[0], LATENT_DIM), seed=self.seed_generator)
        table = make_table(self.encoder, self.decoder, x, noise)
        bounds = labelled(table, ops.maximum(y, 0), PRIOR), self.unlabelled(table, logits, PRIOR)
        self.add_loss(objective(*bounds, ops.log_softmax(logits, axis=-1), y, ALPHA))
        return logits


def test_accuracy(model):
    """Accuracy of the model's classifier on the test images."""
    return accuracy(ops.convert_to_numpy(ops.softmax(model.classifier(x_test), axis=-1)), y_test)


def train(y, unlabelled, seed=0):
    """A model trained on labels y, and its loss and test accuracy after each epoch."""
    keras.utils.set_random_seed(seed)
    model = M2(*networks(), unlabelled)
    model.compile(optimizer=keras.optimizers.Adam(3e-3), jit_compile=False)  # XLA takes longer than it saves
    known, unknown = np.flatnonzero(y >= 0), np.flatnonzero(y < 0)
    rows = np.concatenate([unknown, np.resize(known, len(unknown))])
    curve = []
    after = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: curve.append(test_accuracy(model)))
    history = model.fit(
        [x_train[rows], y[rows]], epochs=EPOCHS, batch_size=64, verbose=0, callbacks=[after, kvae.worksheet.progress()]
    )
    return model, {"loss": history.history["loss"], "accuracy": curve}


def classifier_alone(y, seed=0):
    """Test accuracy of a network of the classifier's size, trained on the labelled images only."""
    network = MLPClassifier((HIDDEN,), learning_rate_init=3e-3, max_iter=100, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 100 epochs could have been more
        network.fit(x_train[y >= 0], y[y >= 0])
    return accuracy(network.predict_proba(x_test), y_test)


model, curves = train(y_few, lambda table, logits, prior: unlabelled(table, ops.log_softmax(logits, axis=-1), prior))
print(f"accuracy on the test images, 20 labels: classifier alone {classifier_alone(y_few):.1%}")
print(f"{'with the other images':>61} {test_accuracy(model):.1%}")
predicted = ops.convert_to_numpy(model.classifier(x_test)).argmax(axis=1)
mistaken = np.flatnonzero(predicted != y_test)[:10]
names = [f"{y_test[i]}, not {predicted[i]}" for i in mistaken]
title = "Ten of its mistakes: what it is, and what was said"
kvae.worksheet.show(kvae.plots.image_grid(data.x_test[mistaken][None], None, names, title=title))

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# It is right for about half of the test images; the other images add some ten points. It confuses digits that share most of their pixels: 3, 8 and 9, 1 and 8, 5 and 6.
# </details>

# %% [markdown] tags=["instructor"]
# *For the instructor.* Each image without a label is explained by some digit and a style; that is cheapest if all images that look alike get the same digit. So the images group themselves, and the 20
# labels only name the groups. It also tells when this fails: where two digits look alike to the model (1 and 8, 3 and 9), a group may get the wrong name.

# %% [markdown]
# ## Exercise 10.5: find the bug (7 minutes)
#
# A colleague wrote $U$ from the logits. The check of 10.2 would call each of its **values** right.
#
# **Predict before you run.** Read the four lines. Where do the two accuracies differ, and what about the two losses?


# %%
def broken_unlabelled(table, logits, prior):
    """The colleague's U(x)."""
    log_q = ops.log_softmax(logits, axis=-1)
    q = ops.stop_gradient(ops.exp(log_q))  # weights of a sum: constants, as sample weights are
    return ops.sum(q * (table - ops.log(prior) + log_q), axis=-1)


_, broken = train(y_few, broken_unlabelled)
figure = new_figure(11, 4.8, "The same values, 20 labels")
panels = zip(figure.subplots(1, 2), ("loss", "accuracy"), ("J, nats per image", "accuracy on test images"), strict=True)
for axes, key, title in panels:
    for color, (name, each) in zip(COLORS, {"ours": curves, "theirs": broken}.items(), strict=False):
        axes.plot(np.arange(1, EPOCHS + 1), each[key], color=color, linewidth=3, label=name)
    axes.set_title(title, fontsize=LABEL_SIZE)
    axes.set_xlabel("epoch", fontsize=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.legend(fontsize=TICK_SIZE)
kvae.worksheet.show(figure)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# The losses are almost the same: encoder and decoder learn from all images in both. The accuracies are not: theirs stays where 20 labels alone take it.
# </details>
#
# Their classifier is no better than one that has never seen the other images. What is the gradient of $U$ with respect to the classifier if $q$ in front is a constant? Only $\sum_y q\, \nabla \log q$ is left, the mean of
# the score under $q$, and that is **0** (worksheet 5). Write $U$ from the logits so that the classifier learns from it.
#
# <details><summary>Hint</summary>
#
# You have written the formula already: your `unlabelled` takes logarithms of probabilities, and `ops.log_softmax(logits, axis=-1)` makes them.
# </details>


# %%
def fixed_unlabelled(table, logits, prior):
    """U(x) of each image `(batch,)`; table and logits `(batch, 10)`, p(y) `(10,)`."""
    ### BEGIN SOLUTION
    return unlabelled(table, ops.log_softmax(logits, axis=-1), prior)
    ### END SOLUTION


fixed_unlabelled = kvae.worksheet.check("10.5", fixed_unlabelled)

# %% [markdown] tags=["instructor"]
# *For the instructor.* No value, no assertion on shapes and no curve of the loss would have found this: look at the gradient. `.numpy()`, `detach()`, a round trip through NumPy, or a forgotten
# `trainable` do the same. The loss hardly differs because encoder and decoder still learn.

# %% [markdown]
# ## The picture: accuracy against number of labels
#
# Which 20 images happen to be labelled is luck. So we draw the labels three times for each number, and show the whole range.
#
# **Predict before you run.** Where is the difference largest: at 20, 50 or 200 labels? Which of the two depends more on luck? And do the curves meet?

# %%
PER_CLASS = (2, 5, 20)
found = {"with the other images": [], "classifier alone": []}
for per_class in PER_CLASS:
    draws = [kvae.data.few_labels(y_train, per_class, seed=draw) for draw in range(3)]
    found["with the other images"].append(
        [test_accuracy(train(y, fixed_unlabelled, i)[0]) for i, y in enumerate(draws)]
    )
    found["classifier alone"].append([classifier_alone(y, i) for i, y in enumerate(draws)])

numbers = NUM_CLASSES * np.array(PER_CLASS)
figure = new_figure(10, 5.6, "Accuracy on test images, three draws of the labels")
axes = figure.add_subplot()
for color, (name, values) in zip(COLORS, found.items(), strict=False):
    values = 100 * np.array(values)  # (numbers, draws)
    axes.fill_between(numbers, values.min(axis=1), values.max(axis=1), color=color, alpha=0.25, linewidth=0)
    axes.plot(numbers, values.mean(axis=1), "o-", color=color, linewidth=3, markersize=9, label=name)
    print(f"{name:>21}:", ", ".join(f"{n} labels {v.mean():.0f}%" for n, v in zip(numbers, values, strict=True)))
axes.axhline(100 * classifier_alone(y_train), color="gray", linestyle="--", linewidth=2.5, label="all labels")
axes.set_xscale("log")
axes.set_xticks(numbers, numbers)
axes.minorticks_off()
axes.set_xlabel("number of labels", fontsize=LABEL_SIZE)
axes.set_ylabel("accuracy, %", fontsize=LABEL_SIZE)
axes.tick_params(labelsize=TICK_SIZE)
axes.legend(fontsize=TICK_SIZE, loc="lower right")
kvae.worksheet.show(figure)

# %% [markdown]
# <details><summary>Answer to “Predict before you run”</summary>
#
# At 20 and 50 labels, by about nine points; at 200 by three. Both depend on luck as long as labels are few, by several points. They would meet where every image has a label (dashed): then there is no other image left to learn from.
# </details>
#
# ## Exercise 10.6, stretch: a label drawn, with a gradient (at home, or if you finish early)
#
# Ten labels can be summed over, ten thousand cannot: then we must draw $y$. But a drawn label has no gradient with respect to the logits $\mathbf a$. The *Gumbel-softmax* (Jang, Gu, Poole 2017) reparameterizes it, as worksheet 5 does with $\mathbf z$: noise
# from outside, and a **soft** one-hot vector that becomes hard as the temperature $\tau \to 0$.
#
# $$\tilde{\mathbf y} = \operatorname{softmax}\left(\frac{\mathbf a + \mathbf g}{\tau}\right), \qquad g_k = -\log(-\log u_k), \quad u_k \sim \mathcal U(0, 1)$$


# %%
def gumbel_softmax(logits, uniform, temperature):
    """A soft one-hot sample `(batch, 10)` from logits and uniform numbers of that shape. Use keras.ops."""
    ### BEGIN SOLUTION
    noise = -ops.log(-ops.log(uniform))
    return ops.softmax((logits + noise) / temperature, axis=-1)
    ### END SOLUTION


gumbel_softmax = kvae.worksheet.check("10.6", gumbel_softmax)

# %%
logits = ops.convert_to_tensor(np.tile(np.log([[0.6, 0.3, 0.1]]).astype("float32"), (10_000, 1)))
uniform = keras.random.uniform(ops.shape(logits), 1e-6, 1 - 1e-6, seed=0)
for temperature in (0.1, 1.0, 10.0):
    drawn = ops.convert_to_numpy(gumbel_softmax(logits, uniform, temperature))
    hard = np.bincount(drawn.argmax(axis=1), minlength=3) / len(drawn)
    print(
        f"τ = {temperature:>4}: largest entry {drawn.max(axis=1).mean():.2f}, how often each is the largest {hard.round(2)}"
    )

# %% [markdown]
# Whatever $\tau$ is, each label is the largest about as often as $q$ says: 0.6, 0.3, 0.1. What $\tau$ changes is how close the sample is to one-hot, and how noisy its gradient.
#
# ## Summary
#
# - A label that is missing is a hidden variable. $L$ bounds $-\log p(\mathbf x, y)$ and $U$ bounds $-\log p(\mathbf x)$; both are made of the same table.
# - The entropy in $U$ makes the best classifier Bayes' rule, and no surer than that.
# - $L$ does not train the classifier: $\alpha$ times $-\log q(y \mid \mathbf x)$ does.
# - Compare with a classifier on the **same** labels, over several draws of them. The fewer labels, the more the other images help.
# - Right values do not mean a right gradient. $\sum_y q\, \nabla \log q = 0$.
#
# In kvae: `kvae.SemiSupervisedVAE` (this model, M2), `kvae.AuxiliaryVAE`, `kvae.data.few_labels`; `generate(labels=…)` draws digits with the few labels it was taught.
#
# **Next:** worksheet 11 conditions on a part of the picture instead of a label.
