# docker build -t fakd .                                                                for CPUs
# docker build -t fakd:cuda --build-arg TORCH_INDEX=https://pypi.org/simple .           with CUDA's libraries
# docker run --rm -v "$PWD:/work" fakd demo
# docker run --rm --gpus all --shm-size 8g -v "$PWD:/work" fakd:cuda distill ...
FROM python:3.12-slim

# PyPI's wheels of PyTorch for Linux bring CUDA; its own index has others without.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# What --gpus lets a container use; programs alone (utility) would be the default.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility

WORKDIR /opt/fakd
COPY pyproject.toml README.md LICENSE ./
COPY src src
# Versions are those that pyproject.toml allows.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" torch torchvision \
    && pip install --no-cache-dir '.[export,hf,smp,video]' \
    && useradd --create-home --uid 1000 user

USER 1000
WORKDIR /work
ENTRYPOINT ["fakd"]
CMD ["--help"]
