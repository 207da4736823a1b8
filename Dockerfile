# An image with zflow and nothing else: `docker build -t zflow .`
# It serves heads and gateways as it is. An Executor's own image begins with FROM zflow, adds what the Executor imports,
# and lays its config.yml into the folder where the image starts; `zflow new executor NAME --dockerfile` writes that.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
ARG PIP_NO_INDEX PIP_FIND_LINKS
COPY . /src
RUN python3 -m venv /opt/zflow && /opt/zflow/bin/pip install --no-cache-dir /src

FROM ${BASE}
COPY --from=build /opt/zflow /opt/zflow
# Nobody of the host has this number, and nothing in the image belongs to it: the root may be read-only.
RUN mkdir -p /executor && mkdir -m 1777 /workspace  # what is mounted there takes over this mode
ENV PATH=/opt/zflow/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp ZFLOW_WORKSPACE=/workspace
WORKDIR /executor
USER 65532:65532
ENTRYPOINT ["zflow"]
