# syntax=docker/dockerfile:1
# One static binary and the shipped models in an empty image.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY benches benches
# The target is named so that the static C library is asked for in the binary alone, not in build scripts and macros.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
    && RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile dist --bin server --target "$target" \
    && install -D "target/$target/dist/server" /out/server

FROM scratch
COPY --from=build /out/server /server
COPY models /models
# No name: an empty image has no list of users.
USER 65532:65532
# Outside a container the server listens on the loopback interface only; here the container is the border.
ENV IMDB_SENTIMENT_HOST=0.0.0.0 IMDB_SENTIMENT_PORT=3000
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=2s --start-period=2s --retries=3 CMD ["/server", "healthcheck"]
ENTRYPOINT ["/server"]
