"""What `mypy` must reject: each line that ends in `# error`, and no other."""

import kvae

data = kvae.load_data("digits")
x = data.x_test
encoder, decoder = kvae.networks.mlp(data.image_shape, latent_dim=2)
model = kvae.VAE(encoder, decoder)

kvae.VAE("not an encoder", decoder)  # error
kvae.VAE(encoder, decoder, likelihod="gaussian")  # error
kvae.CVAE(encoder, decoder, num_classes="ten")  # error
model.generate("ten")  # error
model.elbo(x, num_samples="many")  # error
kvae.load_data(3)  # error
kvae.load_data("digits", binarization="sometimes")  # error
kvae.bounds.Renyi(alpha="half")  # error
kvae.callbacks.SampleGrid(5)  # error
kvae.plots.save(x, "digits.png")  # error
kvae.networks.mlp(data.image_shape, latent_dim="two")  # error
number: int = kvae.evaluation.log_likelihood(model, x).mean  # error
kvae.VEA(encoder, decoder)  # error
