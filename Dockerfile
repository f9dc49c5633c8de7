# syntax=docker/dockerfile:1
# Stage 1 builds the wheel and a complete environment with compiled bytecode; stage 2 is that environment and a user.
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements/run.txt requirements/
RUN pip install --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
# What not everybody needs, in the newest versions that fit: docker build --build-arg EXTRAS=redis,postgres .
ARG EXTRAS=""
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
 && pip install --no-deps --no-index /wheels/*.whl \
 && if [ -n "${EXTRAS:-}" ]; then set -- /wheels/*.whl && pip install "$1[$EXTRAS]"; fi \
 && python -m compileall -q /opt/gateway/lib

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /app gateway && install -d -o gateway /data
COPY --from=build /opt/gateway /opt/gateway
WORKDIR /app
# The demo agents and a config for them; mount your own folder over /app/config, agents beside the config file.
COPY deploy/gateway.yaml config/gateway.yaml
COPY agents config/agents
ENV PATH=/opt/gateway/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER gateway
EXPOSE 8000
VOLUME /data
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('PORT', '8000') + '/healthz', timeout=2)"]
CMD ["gateway", "serve", "--config", "config/gateway.yaml"]
