# Summand on a CPU: no root, no HOME, and nothing is written but to /cache and /tmp, so the file system may be read-only.
#   docker build -t summand .
#   docker run --rm --read-only --network none --tmpfs /tmp --tmpfs /cache -v "$PWD/photos:/photos:ro" summand models
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY src ./src
RUN python -m pip install --no-cache-dir build==1.3.0 \
    && python -m build --wheel --outdir /wheels \
    && python -m venv /opt/summand \
    && /opt/summand/bin/python -m pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch \
    && /opt/summand/bin/python -m pip install --no-cache-dir /wheels/*.whl

FROM python:3.12-slim
LABEL org.opencontainers.image.title="Summand" \
      org.opencontainers.image.description="Takes CLIP image encoders apart exactly" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/summand /opt/summand
RUN mkdir /cache && chown 10001:10001 /cache
ENV PATH=/opt/summand/bin:$PATH \
    SUMMAND_CACHE=/cache/summand \
    HF_HOME=/cache/huggingface \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["summand"]
CMD ["--help"]
