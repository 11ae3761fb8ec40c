# The service in a container. For CPUs:
#   docker build -t jaxad .
# For an NVIDIA GPU, with a CUDA image of Ubuntu 24.04 that suits the driver, and its extra:
#   docker build -t jaxad-cuda --build-arg BASE=nvidia/cuda:TAG \
#     --build-arg EXTRAS=serve,imagenet,cuda13 .
# Run, with a bundle (or a run) mounted read-only, and the token from a file of the host:
#   docker run --rm -p 127.0.0.1:8000:8000 --read-only --tmpfs /tmp --tmpfs /home/jaxad/.cache \
#     -v "$PWD/BUNDLE:/models/part:ro" --env-file jaxad.env jaxad /models/part
ARG BASE=python:3.12-slim
FROM ${BASE}

# What of Python the base lacks: CUDA's images have none.
RUN python3 -c "import ensurepip" 2>/dev/null \
    || (apt-get update \
        && apt-get install -y --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*)

RUN useradd --create-home --uid 10001 jaxad
WORKDIR /opt/jaxad
COPY pyproject.toml README.md LICENSE ./
COPY jaxad jaxad
COPY checkpoints/pdn_free checkpoints/pdn_free
ARG EXTRAS=serve,imagenet
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir ".[${EXTRAS}]"

USER jaxad
WORKDIR /home/jaxad
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5m CMD ["python3", "-c", \
    "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
# What follows the image's name comes first: bundles, then options. The service is reached through
# the container's network alone: publish the port where it may be asked.
ENTRYPOINT ["sh", "-c", \
    "exec jaxad serve \"$@\" --host 0.0.0.0 --port 8000 --log-format json", "serve"]
