# Sourced after common.bash by the scripts that need a container engine: a Docker engine of their own, and the image.
#
# The engine keeps its layers under $CACHE, its sockets in $WORK, and is stopped at the end. Nothing can be pulled where
# this runs: what the Dockerfile begins with is stood in for by a Debian made on the spot, with this machine's Rust.
# shellcheck source=common.bash

engine_pid=""
docker=docker

engine_stop() {
    [ -n "$engine_pid" ] || return 0
    docker ps -aq | xargs -r docker rm -f >/dev/null 2>&1 || true
    docker swarm leave --force >/dev/null 2>&1 || true
    docker network prune -f >/dev/null 2>&1 || true
    kill "$engine_pid" 2>/dev/null || true
    wait "$engine_pid" 2>/dev/null || true
    # What a killed engine leaves mounted must not be removed with the folder.
    grep -o " $WORK/[^ ]*" /proc/mounts | sort -r | xargs -r umount 2>/dev/null || true
}

# Starts an engine and sets DOCKER_HOST.
engine() {
    [ "$(id -u)" = 0 ] || skip "a container engine needs root"
    need dockerd docker.io
    need iptables
    need debootstrap
    pgrep -x dockerd >/dev/null && skip "another Docker engine runs here, whose bridge would be shared"
    # Its client knows it best; another that comes first in the path may be newer than the engine.
    docker="$(test -x /usr/bin/docker && echo /usr/bin/docker || command -v docker)"
    docker() { "$docker" "$@"; }
    mkdir -p "$CACHE/engine"
    export DOCKER_HOST="unix://$WORK/docker.sock" DOCKER_BUILDKIT=0 DOCKER_CONFIG="$WORK"
    # Also asked by podman, which insists on the file.
    echo '{}' >"$WORK/config.json"
    # In a group of its own: what stops this script must leave the engine to stop what it runs.
    setsid dockerd --data-root "$CACHE/engine" --exec-root "$WORK/exec" --pidfile "$WORK/dockerd.pid" -H "$DOCKER_HOST" \
        >"$WORK/dockerd.log" 2>&1 &
    engine_pid=$!
    trap 'engine_stop; finish' EXIT
    for _ in $(seq 150); do
        docker info >/dev/null 2>&1 && return
        kill -0 "$engine_pid" 2>/dev/null || break
        sleep 0.2
    done
    tail -3 "$WORK/dockerd.log" >&2
    engine_pid=""
    skip "no Docker engine can be started here (see above)"
}

# The image that the Dockerfile begins with, made of Debian's packages and this machine's toolchain.
base() {
    local name root rust triple
    name="$(sed -n 's/^FROM .*\(rust:[^ ]*\) AS .*/\1/p' Dockerfile | head -1)"
    [ -n "$(docker images -q "$name")" ] && return
    root="$CACHE/base" rust="$(rustc --print sysroot)"
    if [ ! -e "$root/complete" ]; then
        rm -rf "$root"
        # Nothing of this has to outlast a power cut: without it every file waits for the disk.
        mkdir -p "$root/etc/dpkg/dpkg.cfg.d" && echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/unsafe-io"
        timeout 380 debootstrap --variant=minbase --include=gcc,libc6-dev,ca-certificates bookworm "$root" >"$WORK/debootstrap.log" 2>&1 ||
            { tail -3 "$WORK/debootstrap.log" >&2; skip "debootstrap makes no Debian here"; }
        # Registries may be reached through a certificate of this machine's own.
        cat /etc/ssl/certs/ca-certificates.crt >"$root/etc/ssl/certs/ca-certificates.crt"
        mkdir -p "$root/usr/local/cargo/bin" "$root/opt/rust/"{bin,lib/rustlib,share/doc/rust}
        cp -a "$rust/bin/"{cargo,rustc} "$root/opt/rust/bin/"
        find "$rust/lib" -maxdepth 1 -name '*.so*' -exec cp -a {} "$root/opt/rust/lib/" ';'
        # Every target that this machine has: what `rustup target add` gives in the real image.
        for triple in "$rust/lib/rustlib"/*-unknown-linux-gnu; do cp -a "$triple" "$root/opt/rust/lib/rustlib/"; done
        printf '#!/bin/sh\n[ "$1 $2" = "target add" ] && [ -d "/opt/rust/lib/rustlib/$3/lib" ]\n' >"$root/usr/local/cargo/bin/rustup"
        chmod +x "$root/usr/local/cargo/bin/rustup"
        cp -a "$rust/share/doc/rust/licenses" "$root/opt/rust/share/doc/rust/" 2>/dev/null || true
        ln -s /opt/rust/bin/cargo /opt/rust/bin/rustc "$root/usr/local/cargo/bin/"
        rm -rf "$root/var/cache/apt/archives/"*.deb
        touch "$root/complete"
    fi
    tar -C "$root" -c . | docker import \
        --change 'ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        --change 'ENV CARGO_HOME=/usr/local/cargo' - "$name" >/dev/null
}

# Builds the image of TARGET as the README says, under the name NAME, where it was not made from the same sources before: by
# hand, or by a script before this one. BUILDKIT says which of Docker's two builders does it; ARGUMENTs are its
# own.
build() { # TARGET NAME BUILDKIT ARGUMENT…
    local target="$1" name="$2" key tag code=0 late="$CACHE/engine/late-$2" left
    key="$(cat Dockerfile .dockerignore Cargo.toml Cargo.lock docker/build.sh docker/licenses.sh <(find src models LICENSE -type f | LC_ALL=C sort | xargs sha256sum) | sha256sum | cut -c1-16)"
    tag="$name:sources-$key"
    if [ -z "$(docker images -q "$tag")" ]; then
        base
        echo "building $name"
        # Some four minutes on two idle cores. Where that is too long, the scripts after this one do not try again at once.
        left=$((LIMIT * 2 / 3 - SECONDS))
        find "$late" -mmin -30 2>/dev/null | grep -q . && left=0
        [ "$left" -gt 30 ] || skip "this machine is too busy to build the image in this script's time"
        DOCKER_BUILDKIT="$3" timeout --foreground "$left" "$docker" build --network host --target "$target" -t "$tag" "${@:4}" . >"$WORK/build.log" 2>&1 || code=$?
        [ "$code" != 124 ] || { touch "$late"; skip "this machine is too busy to build the image in this script's time"; }
        [ "$code" = 0 ] || { tail -30 "$WORK/build.log" >&2; echo "docker build failed" >&2; return 1; }
    fi
    docker tag "$tag" "$name:latest"
}

image() { build server imdb-sentiment 0; }

arm64_image() { build server imdb-sentiment-arm64 1 --platform linux/arm64; }

trainer_image() { build trainer imdb-sentiment-trainer 1; }

# An image TAG of this machine's own PROGRAM with what it is linked to, in place of one that cannot be pulled; started with ARGUMENT….
stand_in() { # PROGRAM TAG ARGUMENT…
    local program folder file entry
    program="$(command -v "$1")" folder="$WORK/stand-in-$1"
    mkdir -p "$folder/etc" "$folder/tmp" "$folder/usr/local/etc/haproxy"
    for file in "$program" $(ldd "$program" | grep -o '/[^ ]*'); do
        mkdir -p "$folder$(dirname "$file")" && cp -L "$file" "$folder$file"
    done
    entry="$(python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$program" "${@:3}")"
    tar -C "$folder" -c . | docker import --change "ENTRYPOINT $entry" - "$2" >/dev/null
}

# Waits until `docker run`'s container NAME answers on 127.0.0.1:PORT; sets URL.
answers() {
    URL="http://127.0.0.1:$2"
    for _ in $(seq 300); do
        curl -sf -o /dev/null "$URL/health/ready" && return
        [ "$(docker inspect -f '{{.State.Running}}' "$1" 2>/dev/null)" = true ] || break
        sleep 0.02
    done
    docker logs "$1" 2>&1 | tail -5 >&2
    echo "$1 does not answer" >&2
    return 1
}

# The port of this machine that a container's port 3000 (or another) is published on.
published() { docker port "$1" "${2:-3000}" | head -1 | sed 's/.*://'; }

now_ms() { date +%s%3N; }
