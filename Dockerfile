# The server of docs/serve.md, with the model that comes along; others are mounted:
#   docker build -t unires .
#   docker run -p 127.0.0.1:8000:8000 -v "$PWD/exported:/model:ro" unires --checkpoint /model

FROM python:3.11-slim AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY unires_jax unires_jax
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir wheels .

FROM python:3.11-slim
ARG EXTRAS=serve
WORKDIR /app
COPY constraints/3.11.txt constraints.txt
COPY --from=build /build/wheels wheels
RUN python -m pip install --no-cache-dir -c constraints.txt "$(echo wheels/*.whl)[$EXTRAS]" \
    && mkdir -m 1777 cache
# Compiled programs, of jax and of numba; a volume keeps them for the next start.
ENV HOME=/app/cache XDG_CACHE_HOME=/app/cache NUMBA_CACHE_DIR=/app/cache/numba
ENV PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=300s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/v1/health', timeout=4)"]
ENTRYPOINT ["unires", "serve", "--host", "0.0.0.0"]
