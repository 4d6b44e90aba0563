"""What a user with `mypy --strict` writes: no line of it is an error."""

import keras
import numpy as np

import kvae

data = kvae.load_data("digits", binarization="static")
x_test, y_test = data.x_test, data.y_test
optimizer = keras.optimizers.Adam(2e-3)

encoder, decoder = kvae.networks.mlp(data.image_shape, latent_dim=2, hidden=(64, 32))
model = kvae.VAE(encoder, decoder, bound=kvae.bounds.Renyi(alpha=0.5), num_samples=5, beta=np.float32(0.5), seed=0)
model.compile(optimizer=optimizer)
pictures = kvae.callbacks.ReconstructionGrid("runs/first", x_test)
history = model.fit(data.x_train, epochs=2, validation_data=(x_test,), callbacks=[pictures, kvae.callbacks.StopOnNaN()])
losses: list[float] = history.history["loss"]
sizes: tuple[int, ...] = model.generate(16, seed=0).shape
bits = float(model.elbo(x_test, num_samples=10, seed=0).mean()) / np.log(2)
codes = model.encode([x_test[0], x_test[1]])
model.save("vae.keras")

networks = kvae.networks.mlp(data.image_shape, latent_dim=2, num_classes=10)
cvae = kvae.CVAE(*networks, num_classes=10, prior="learned", penalty=[])
cvae.fit(data.x_train, data.y_train, epochs=2, verbose=0)
sevens = cvae.generate(labels=[7] * 16, seed=0)
path = kvae.plots.save(kvae.plots.sample_grid(sevens), "runs/sevens.png")

loaded = kvae.load_model("vae.keras")
if isinstance(loaded, kvae.VAE):
    loaded.posterior(x_test)
estimate = kvae.evaluation.log_likelihood(model, x_test, num_samples=500, seed=0)
text = f"{estimate.mean:.2f} ± {estimate.standard_error:.2f} nats"
advice = [str(finding) for finding in kvae.evaluation.diagnose(model, x_test, x_train=data.x_train)]
pca = kvae.baselines.PCA(latent_dim=2).fit(data.x_train)
figure = kvae.plots.latent_scatter(pca.encode(x_test), y_test)
noisy = kvae.Autoencoder(encoder, decoder, noise=kvae.corruption.Gaussian(0.3), penalty=kvae.penalties.L1(0.1))
