# docker build -t fakd .                                            for CPUs and, with NVIDIA's container toolkit, GPUs
# docker run --rm -v "$PWD:/data" fakd demo
# docker run --rm --gpus all --shm-size 8g -v "$PWD:/data" fakd distill ...
FROM python:3.12-slim

# What --gpus lets a container use; programs alone (utility) would be the default.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility

WORKDIR /opt/fakd
COPY pyproject.toml README.md LICENSE ./
COPY src src
# Versions are those that pyproject.toml allows. The wheels of PyTorch for Linux bring CUDA, and run without it too.
RUN pip install --no-cache-dir '.[export,geo,hf,smp,video]' \
    && useradd --create-home --uid 1000 user

USER 1000
WORKDIR /data
ENTRYPOINT ["fakd"]
CMD ["--help"]
