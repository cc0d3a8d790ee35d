"""Writes data/blur.safetensors: torchvision's GaussianBlur with nine taps of 8-bit images, as dinov2 and dinov3 use it.

    python make_blur.py           (torch and torchvision as recorded in the file)
"""
import os

import torch
import torchvision
from PIL import Image
from torchvision.transforms import functional as F

from golden_common import save, uniform, versions


def main():
    out, number = {}, 0
    for height, width in ((5, 5), (7, 40), (33, 18), (48, 48)):
        noise = ((uniform(f"image{height}x{width}", (height, width, 3)) + 1) * 128).to(torch.uint8)
        ramp = (torch.arange(width).repeat(height, 1)[..., None] * torch.tensor([5, 2, 3])).remainder(256).to(torch.uint8)
        for image in (noise, ramp):
            for sigma in (0.1, 0.35, 0.8, 1.4, 2.0):
                if number % 3 == 0 or height == 5:
                    blurred = F.gaussian_blur(Image.fromarray(image.numpy()), [9, 9], [sigma, sigma])
                    out[f"{number}/image"] = image.contiguous()
                    out[f"{number}/sigma"] = torch.tensor([sigma], dtype=torch.float64)
                    out[f"{number}/expected"] = F.pil_to_tensor(blurred).permute(1, 2, 0).contiguous()
                number += 1
    save(os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "blur.safetensors"), out,
         versions() | {"torchvision": torchvision.__version__, "made_by": "tests/golden/make_blur.py"})


if __name__ == "__main__":
    main()
