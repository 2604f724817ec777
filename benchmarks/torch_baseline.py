"""The published program's training iteration in PyTorch eager mode, written from the paper.

It works as that program does: the generator runs anew for each critic step, the critic's gradients
are kept in the generator step, autograd works through the activations' second derivative. Arrays
come and go as in consingan_jax (NHWC, HWIO) and are NCHW, OIHW inside. Only what the default
configuration needs is here: no normalisation, leaky ReLU.
"""

import jax
import numpy as np
import torch
from torch.nn import functional

from consingan_jax.training import optimizer


def to_torch(x) -> torch.Tensor:
    """Returns an NHWC image or HWIO kernel as torch lays it out; other arrays as they are."""
    tensor = torch.tensor(np.asarray(x))
    return tensor.permute(0, 3, 1, 2).contiguous() if tensor.ndim == 4 else tensor


def params_to_torch(params):
    """Returns the same tree with leaves of torch that want gradients."""

    def leaf(x):
        tensor = torch.tensor(np.asarray(x))
        if tensor.ndim == 4:
            tensor = tensor.permute(3, 2, 0, 1).contiguous()
        return tensor.requires_grad_()

    return jax.tree.map(leaf, params)


def params_to_numpy(params):
    """Returns the same tree as consingan_jax holds it."""

    def leaf(tensor):
        tensor = tensor.detach()
        return (tensor.permute(2, 3, 1, 0) if tensor.ndim == 4 else tensor).numpy()

    return jax.tree.map(leaf, params)


class Baseline:
    """One stage of training."""

    def __init__(self, config, sizes, generator, critic, real, z_star, noise_amps):
        """Takes everything as consingan_jax holds it; `config` is a `Config`."""
        self.config, self.sizes, self.stage = config, sizes, len(sizes) - 1
        self.generator, self.critic = params_to_torch(generator), params_to_torch(critic)
        self.real, self.z_star = to_torch(real), [to_torch(z) for z in z_star]
        self.noise_amps = [float(amp) for amp in noise_amps]
        self.grows = config.task in ("generation", "animation")
        betas = (config.beta1, 0.999)
        own, critic_leaves = config.stage(self.stage), jax.tree.leaves(self.critic)
        self.critic_adam = torch.optim.Adam(critic_leaves, lr=own.lr_critic, betas=betas)
        self.generator_adam = torch.optim.Adam(self._groups(), betas=betas)
        self.schedulers = [
            torch.optim.lr_scheduler.MultiStepLR(
                adam, [int(0.8 * own.num_iters)], gamma=config.lr_decay
            )
            for adam in (self.critic_adam, self.generator_adam)
        ]

    def _groups(self):
        ages = {f"stage_{k}": self.stage - k for k in range(self.stage + 1)}
        ages = {"head": self.stage, "tail": 0, **ages}
        rates = optimizer.rates(ages, self.config, stage=self.stage)
        parts = {"head": self.generator["head"], "tail": self.generator["tail"]}
        parts |= {f"stage_{k}": part for k, part in enumerate(self.generator["stages"])}
        for name, part in parts.items():
            if name not in rates:
                jax.tree.map(lambda tensor: tensor.requires_grad_(False), part)
        return [
            {"params": jax.tree.leaves(parts[name]), "lr": rate} for name, rate in rates.items()
        ]

    def _block(self, params, x):
        x = functional.conv2d(x, params["conv"]["kernel"], params["conv"]["bias"])
        return functional.leaky_relu(x, self.config.negative_slope)

    def _stage(self, params, x):
        for k in range(self.config.num_layers):
            x = self._block(params[f"block{k}"], x)
        return x

    def generate(self, z):
        """Returns the image of noise z_0 .. z_d."""
        params, layers = self.generator, self.config.num_layers
        x = self._block(params["head"], _pad(z[0], 1))
        height, width = self.sizes[0]
        if self.grows:
            x = _upsample(x, (height + 2, width + 2))
        x = self._stage(params["stages"][0], _pad(x, layers - self.grows))
        for k in range(1, self.stage + 1):
            height, width = self.sizes[k]
            skip, noise = _upsample(x, (height, width)), self.noise_amps[k] * z[k]
            if self.grows:
                wide = _upsample(x, (height + 2 * layers, width + 2 * layers)) + noise
            else:
                wide = _pad(skip + noise, layers)
            x = skip + self._stage(params["stages"][k], wide)
        tail = params["tail"]
        return torch.tanh(functional.conv2d(_pad(x, 1), tail["kernel"], tail["bias"]))

    def scores(self, image):
        """Returns the critic's scores."""
        x = self._stage(self.critic, self._block(self.critic["head"], image))
        return functional.conv2d(x, self.critic["tail"]["kernel"], self.critic["tail"]["bias"])

    def iterate(self, z, mixes) -> list[float]:
        """Makes one iteration; returns the weighted gradient penalty of every critic step."""
        penalties = []
        for step, mix in enumerate(mixes):
            with torch.set_grad_enabled(step == len(mixes) - 1):  # the last is the generator's
                fake = self.generate(z)
            penalties.append(self._critic_step(fake.detach(), mix))
        self.generator_adam.zero_grad()
        error = functional.mse_loss(self.generate(self.z_star), self.real)
        loss = -self.scores(fake).mean() + self.config.rec_weight * error
        loss.backward()
        for _ in range(self.config.stage(self.stage).g_steps):
            self.generator_adam.step()
        for scheduler in self.schedulers:
            scheduler.step()
        return penalties

    def _critic_step(self, fake, mix) -> float:
        self.critic_adam.zero_grad()
        (-self.scores(self.real).mean()).backward()
        self.scores(fake).mean().backward()
        x = (mix * self.real + (1 - mix) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(self.scores(x).sum(), x, create_graph=True)
        penalty = self.config.gp_weight * ((slope.norm(dim=1) - 1) ** 2).mean()
        penalty.backward()
        self.critic_adam.step()
        return penalty.item()


def _pad(x, border):
    return functional.pad(x, [border] * 4)


def _upsample(x, size):
    return functional.interpolate(x, size=size, mode="bicubic", align_corners=True)
