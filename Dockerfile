# syntax=docker/dockerfile:1
# The whole tool in an image. It runs as a user of its own, keeps models under /cache and works in /work.
#
#   docker build -t drp .                                       for NVIDIA GPUs; the CUDA libraries come with PyTorch
#   docker build -t drp:cpu --build-arg TORCH_BACKEND=cpu .     without a GPU
#
#   docker run --rm --gpus all -v drp-cache:/cache -v "$PWD:/work" --user "$(id -u):$(id -g)" drp run recipe.yaml --out runs/mine
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" drp:cpu run /opt/drp/recipes/demo.yaml --out runs/demo
#
# Keys go in by their variables, such as -e OPENAI_API_KEY -e HF_TOKEN, and never into the image.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

# What PyTorch is built for: auto takes that of PyPI (CUDA on x86-64), cpu leaves CUDA out, cu128 … names one.
ARG TORCH_BACKEND=auto
# Extras to install: train for generation and training in process; wandb, tensorboard, trackio for curves.
ARG EXTRAS=train

# Triton, behind some of PyTorch's GPU kernels, compiles its launcher with the system's compiler.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

COPY . /opt/drp
RUN pip install --no-cache-dir uv==0.13.9 \
    && case "$TORCH_BACKEND" in auto) backend="" ;; *) backend="--torch-backend=$TORCH_BACKEND" ;; esac \
    && uv pip install --system --no-cache $backend -c /opt/drp/constraints.txt "/opt/drp[$EXTRAS]"

# The cache may belong to any user: --user gives that of the mounted folder, so that run folders are theirs.
RUN useradd --no-create-home --uid 1000 drp \
    && mkdir -p /cache /work \
    && chown drp:drp /work \
    && chmod 1777 /cache
ENV HF_HOME=/cache/huggingface \
    XDG_CACHE_HOME=/cache \
    HOME=/cache/home \
    PYTHONUNBUFFERED=1
USER drp
WORKDIR /work
VOLUME /cache
ENTRYPOINT ["drp"]
CMD ["--help"]
