# One static binary and the shipped models in an empty image; `--target trainer` gives the trainer in another.
#
#   docker build -t imdb-sentiment .
#   docker build -t imdb-sentiment-trainer --target trainer .
#   docker buildx build --platform linux/amd64,linux/arm64 -t imdb-sentiment .
#
# Plain instructions, no cache mounts: BuildKit, Docker's builder before it, podman and kaniko all build it. The builder
# before BuildKit makes every stage up to the one asked for: there `--target server` spares the trainer.

# The compiler runs on the machine that builds, whatever the image is for; the default is for the old builder, which
# knows no build platform.
# hadolint ignore=DL3029
FROM --platform=${BUILDPLATFORM:-linux/amd64} rust:1.95-slim-bookworm AS toolchain
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /src
# amd64 or arm64; where nothing is said, the machine's own.
ARG TARGETARCH
# The target is named so that the static C library is asked for in the binary alone, not in build scripts and macros.
# hadolint ignore=DL3008
RUN here="$(dpkg --print-architecture)"; arch="${TARGETARCH:-$here}"; \
    case "$arch" in \
        amd64) triple=x86_64-unknown-linux-gnu gcc=x86_64-linux-gnu package=gcc-x86-64-linux-gnu ;; \
        arm64) triple=aarch64-unknown-linux-gnu gcc=aarch64-linux-gnu package=gcc-aarch64-linux-gnu ;; \
        *) echo "no image for $arch: amd64 and arm64 are known" >&2; exit 1 ;; \
    esac; \
    config="${CARGO_HOME:-$HOME/.cargo}/config.toml"; \
    printf '[build]\ntarget = "%s"\nrustflags = ["-C", "target-feature=+crt-static"]\n' "$triple" >"$config"; \
    if [ "$arch" != "$here" ]; then \
        apt-get update; \
        apt-get install -y --no-install-recommends "$package" "libc6-dev-$arch-cross"; \
        rm -rf /var/lib/apt/lists/*; \
        rustup target add "$triple"; \
        printf '[target.%s]\nlinker = "%s-gcc"\n' "$triple" "$gcc" >>"$config"; \
    fi; \
    echo "$triple" >/triple
# Benchmarks are not built here and their files not copied: the manifest must not name them.
COPY Cargo.toml Cargo.lock ./
RUN awk '/^\[/ { kept = !/^\[\[(bench|test|example)\]\]/ } kept' Cargo.toml >kept.toml && mv kept.toml Cargo.toml; \
    mkdir -p src && touch src/lib.rs; \
    cargo fetch --locked --target "$(cat /triple)"
COPY docker/build.sh docker/licenses.sh docker/

# Dependencies in a layer of their own: a change of our code does not touch it.
FROM toolchain AS server-build
ARG FEATURES=serve,otlp
RUN docker/build.sh dependencies server "$FEATURES"
COPY src src
RUN docker/build.sh binary server "$FEATURES"; \
    # Without it a name is looked up by what the C library takes for usual.
    mkdir -p /out/etc; echo 'hosts: files dns' >/out/etc/nsswitch.conf

FROM scratch AS server
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="imdb-sentiment" \
      org.opencontainers.image.description="HTTP service: how positive is a film review?" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.documentation="README.md in the sources"
# Certificates of authorities, where programs look for them; the client for spans has Mozilla's compiled in as well.
COPY --from=server-build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=server-build /out /
COPY LICENSE /licenses/
COPY models /models
# No name: an empty image has no list of users.
USER 65532:65532
# Outside a container the server listens on the loopback interface only; here the container is the border. The port is
# 3000, or IMDB_SENTIMENT_PORT, or PORT.
ENV IMDB_SENTIMENT_HOST=0.0.0.0
# Both outputs of a container are one log: nothing but JSON objects.
ENV IMDB_SENTIMENT_LOG_FORMAT=json
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=2s --start-period=5s --retries=3 CMD ["/server", "healthcheck"]
ENTRYPOINT ["/server"]

FROM toolchain AS trainer-build
ARG TRAINER_FEATURES=parquet
# The trainer's time goes into the kernels, which gain nothing from optimizing all of it at once, and that takes longest.
ENV CARGO_PROFILE_DIST_LTO=off CARGO_PROFILE_DIST_CODEGEN_UNITS=16
RUN docker/build.sh dependencies trainer "$TRAINER_FEATURES"
COPY src src
RUN docker/build.sh binary trainer "$TRAINER_FEATURES"; \
    mkdir -p /out/work; chmod 1777 /out/work

FROM scratch AS trainer
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="imdb-sentiment-trainer" \
      org.opencontainers.image.description="Trains models for imdb-sentiment" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
# Certificates of authorities, where programs look for them.
COPY --from=trainer-build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=trainer-build /out /
COPY LICENSE /licenses/
USER 65532:65532
# Mount a folder here that the user may write to: data in, models out.
WORKDIR /work
# There is no home: what --download fetches is kept beside the rest.
ENV XDG_CACHE_HOME=/work/.cache
STOPSIGNAL SIGTERM
ENTRYPOINT ["/trainer"]

# What `docker build .` gives.
FROM server
