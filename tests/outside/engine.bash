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
    dockerd --data-root "$CACHE/engine" --exec-root "$WORK/exec" --pidfile "$WORK/dockerd.pid" -H "$DOCKER_HOST" \
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
    local name root folder rust
    name="$(sed -n 's/^FROM .*\(rust:[^ ]*\) AS .*/\1/p' Dockerfile | head -1)"
    [ -n "$(docker images -q "$name")" ] && return
    root="$CACHE/base" rust="$(rustc --print sysroot)"
    if [ ! -e "$root/complete" ]; then
        rm -rf "$root"
        timeout 300 debootstrap --variant=minbase --include=gcc,libc6-dev,ca-certificates bookworm "$root" >"$WORK/debootstrap.log" 2>&1 ||
            { tail -3 "$WORK/debootstrap.log" >&2; skip "debootstrap makes no Debian here"; }
        # Registries may be reached through a certificate of this machine's own.
        cat /etc/ssl/certs/ca-certificates.crt >"$root/etc/ssl/certs/ca-certificates.crt"
        mkdir -p "$root/usr/local/cargo/bin" "$root/opt/rust/"{bin,lib/rustlib,share/doc/rust}
        cp -a "$rust/bin/"{cargo,rustc} "$root/opt/rust/bin/"
        find "$rust/lib" -maxdepth 1 -name '*.so*' -exec cp -a {} "$root/opt/rust/lib/" ';'
        cp -a "$rust/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')" "$root/opt/rust/lib/rustlib/"
        cp -a "$rust/share/doc/rust/licenses" "$root/opt/rust/share/doc/rust/" 2>/dev/null || true
        ln -s /opt/rust/bin/cargo /opt/rust/bin/rustc "$root/usr/local/cargo/bin/"
        rm -rf "$root/var/cache/apt/archives/"*.deb
        touch "$root/complete"
    fi
    tar -C "$root" -c . | docker import \
        --change 'ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        --change 'ENV CARGO_HOME=/usr/local/cargo' - "$name" >/dev/null
}

# Builds the server's image as the README says, under the name imdb-sentiment.
image() {
    # Made by hand or by a script before this one, from the same sources.
    local key tag
    key="$(cat Dockerfile .dockerignore Cargo.toml Cargo.lock docker/licenses.sh <(find src models LICENSE -type f | LC_ALL=C sort | xargs sha256sum) | sha256sum | cut -c1-16)"
    tag="imdb-sentiment:sources-$key"
    if [ -z "$(docker images -q "$tag")" ]; then
        base
        echo "building the image"
        # Some three minutes on two idle cores. Where that is too long, the scripts after this one do not try again at once.
        local code=0 left=$((420 - SECONDS)) late="$CACHE/engine/late"
        find "$late" -mmin -30 2>/dev/null | grep -q . && left=0
        [ "$left" -gt 30 ] || skip "this machine is too busy to build the image within this script's ten minutes"
        timeout "$left" "$docker" build --network host --target server -t "$tag" . >"$WORK/build.log" 2>&1 || code=$?
        [ "$code" != 124 ] || { touch "$late"; skip "this machine is too busy to build the image within this script's ten minutes"; }
        [ "$code" = 0 ] || { tail -30 "$WORK/build.log" >&2; echo "docker build failed" >&2; return 1; }
    fi
    docker tag "$tag" imdb-sentiment:latest
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
