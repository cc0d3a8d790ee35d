#!/usr/bin/env python3
"""Small JPEG and PNG files of every kind that decode_image reads, and the pixels that Pillow makes of them, for decode_test.cpp.

    make_decode.py [--out FILE]

Each kind is two tensors: "<kind>.file" (encoded bytes) and "<kind>.rgb" ([height, width, 3]) = ImageOps.exif_transpose(Image.open(file)).convert("RGB").
Kinds that Pillow cannot write (16-bit colour, interlaced PNG) are written here; of 16-bit gray, which Pillow clips, the expected value is the high byte.
"""
import argparse
import io
import os
import struct
import zlib

import numpy as np
import PIL
import torch
from PIL import Image, ImageOps, features

from golden_common import save, versions

WIDTH, HEIGHT = 19, 13


def picture():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    planes = [127 + 120 * np.sin(x / 3.1), 127 + 120 * np.cos(y / 2.3 + x / 9), 13.0 * x * (y > 5)]
    return Image.fromarray(np.clip(np.stack(planes, axis=-1), 0, 255).astype(np.uint8))


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(header, rows):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def png16(samples, colour_type):
    """samples: uint16 [height, width(, 3)]."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return png(struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 16, colour_type, 0, 0, 0), rows)


def interlaced(rgb):
    rows = b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):  # Adam7
        for row in rgb[y0::dy, x0::dx]:
            if row.size:
                rows += b"\0" + row.tobytes()
    return png(struct.pack(">IIBBBBB", rgb.shape[1], rgb.shape[0], 8, 2, 0, 0, 1), rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "decode.safetensors"))
    options = parser.parse_args()
    rgb = picture()
    gray, alpha = rgb.convert("L"), Image.fromarray((np.arange(WIDTH * HEIGHT) % 256).astype(np.uint8).reshape(HEIGHT, WIDTH))
    files = {
        "jpeg_420": encoded(rgb, "JPEG", quality=90, subsampling=2),
        "jpeg_444": encoded(rgb, "JPEG", quality=95, subsampling=0),
        "jpeg_progressive": encoded(rgb, "JPEG", quality=90, progressive=True),
        "jpeg_gray": encoded(gray, "JPEG", quality=90),
        "jpeg_cmyk": encoded(rgb.convert("CMYK"), "JPEG", quality=90),
        "png_rgb": encoded(rgb, "PNG"),
        "png_gray": encoded(gray, "PNG"),
        "png_gray_alpha": encoded(Image.merge("LA", (gray, alpha)), "PNG"),
        "png_rgba": encoded(Image.merge("RGBA", (*rgb.split(), alpha)), "PNG"),
        "png_bilevel": encoded(gray.convert("1"), "PNG"),
        "png_palette": encoded(rgb.quantize(200), "PNG"),
        "png_palette_4bit": encoded(rgb.quantize(13), "PNG", bits=4),
        "png_palette_transparent": encoded(rgb.quantize(20), "PNG", transparency=bytes(range(20))),
        "png_interlaced": interlaced(np.asarray(rgb)),
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        files[f"jpeg_exif_{orientation}"] = encoded(rgb, "JPEG", quality=90, exif=exif)
    exif[0x0112] = 6
    files["png_exif_6"] = encoded(rgb, "PNG", exif=exif)

    tensors = {}
    for name, data in files.items():
        tensors[name + ".file"] = torch.tensor(list(data), dtype=torch.uint8)
        tensors[name + ".rgb"] = torch.from_numpy(np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")))
    deep = (np.asarray(rgb).astype(np.uint16) << 8) + np.arange(WIDTH * HEIGHT * 3, dtype=np.uint16).reshape(HEIGHT, WIDTH, 3) % 256
    for name, samples, colour_type in (("png_rgb16", deep, 2), ("png_gray16", deep[..., 0], 0)):
        high = (samples >> 8).astype(np.uint8)
        tensors[name + ".file"] = torch.tensor(list(png16(samples, colour_type)), dtype=torch.uint8)
        tensors[name + ".rgb"] = torch.from_numpy(high if high.ndim == 3 else np.repeat(high[..., None], 3, axis=2))
    assert np.array_equal(tensors["png_rgb16.rgb"], np.array(Image.open(io.BytesIO(bytes(tensors["png_rgb16.file"].tolist()))).convert("RGB")))
    save(options.out, tensors, {**versions(), "pillow": PIL.__version__, "libjpeg": str(features.version("jpg"))})


if __name__ == "__main__":
    main()
