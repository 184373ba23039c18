#!/usr/bin/env bash
# The image on a real Docker engine: what is in it, how it starts, answers and stops, and what it does with little memory,
# little processor, other ports, TLS, mounted models and the variables that platforms set.
source "$(dirname "$0")/common.bash"
source "$ROOT/tests/outside/engine.bash"
need curl
need python3
need openssl
engine
image

fail() { echo "FAILED: $*" >&2; exit 1; }
locked=(--read-only --cap-drop ALL --security-opt no-new-privileges --pids-limit 256)

# What is in it.
bytes=$(docker image inspect -f '{{.Size}}' imdb-sentiment)
models=$(find models -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
beside=$(((bytes - models) / 1000))
[ "$beside" -le 14000 ] || fail "the image holds $beside kB beside the models, more than 14 MB"
docker create --name content imdb-sentiment >/dev/null
docker export content | tar -t | grep -v '/$' | sort >"$WORK/files"
grep -v -e '^models/' -e '^\(dev\|etc\|proc\|sys\)/' -e '^\.dockerenv$' "$WORK/files" >"$WORK/own" || true
printf '%s\n' licenses/LICENSE licenses/THIRD-PARTY.txt server | diff - "$WORK/own" || fail "other files than expected"
grep -q -x etc/ssl/certs/ca-certificates.crt "$WORK/files" || fail "no certificates of authorities"
docker cp -q content:/licenses/THIRD-PARTY.txt "$WORK/licences" 2>/dev/null || docker cp content:/licenses/THIRD-PARTY.txt "$WORK/licences" >/dev/null
for crate in tokio axum hyper rustls ring "GNU C library" "Permission is hereby granted" "Apache License"; do
    grep -q "$crate" "$WORK/licences" || fail "the licence texts do not speak of $crate"
done
config() { docker image inspect -f "{{$1}}" imdb-sentiment; }
[ "$(config .Config.User)" = 65532:65532 ] || fail "the user"
[ "$(config .Config.StopSignal)" = SIGTERM ] || fail "the stop signal"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
[ "$(config 'index .Config.Labels "org.opencontainers.image.version"')" = "$version" ] || fail "the label of the version"
if docker run --rm --entrypoint /bin/sh imdb-sentiment -c true 2>/dev/null; then fail "there is a shell"; fi
docker rm content >/dev/null

# Locked down as compose.yaml does it: start, health, the binary's answer, stop.
start=$(now_ms)
docker run -d --name plain "${locked[@]}" -p 127.0.0.1::3000 imdb-sentiment >/dev/null
answers plain "$(published plain)"
ready=$(($(now_ms) - start))
docker exec plain /server healthcheck || fail "the health check within the container"
if docker exec plain /server nonsense 2>/dev/null; then fail "nonsense is a command"; fi
python3 - "$WORK/body" <<'PY'
import json, random, sys
random.seed(7)
words = "a gripping , beautifully shot film that i would not watch twice ; dull acting and <br /> a plot I've seen 10/10 :-)".split()
texts = [" ".join(random.choices(words, k=random.randint(1, 400))) for _ in range(200)] + ["Überraschend schön \U0001F600", "x" * 5000]
json.dump({"texts": texts}, open(sys.argv[1], "w"))
PY
serve
ask() { curl -sS --fail-with-body -H 'content-type: application/json' -d "@$WORK/body" "$1/predict"; }
ask "$URL" >"$WORK/binary.json"
container="http://127.0.0.1:$(published plain)"
ask "$container" >"$WORK/container.json"
cmp "$WORK/binary.json" "$WORK/container.json" || fail "the container answers otherwise than the binary"
docker logs plain 2>&1 | python3 -c 'import json, sys; [json.loads(line) for line in sys.stdin]' || fail "a log line that is no JSON"
start=$(now_ms)
docker stop plain >/dev/null
stop=$(($(now_ms) - start))
code=$(docker inspect -f '{{.State.ExitCode}}' plain)
[ "$code" = 0 ] || fail "docker stop ended it with $code"
docker rm plain >/dev/null
note "image: $((bytes / 1000)) kB, $beside kB beside the models; $ready ms from docker run to ready, $stop ms for docker stop"

# Requests under way when it is told to stop are answered.
docker run -d --name drained "${locked[@]}" -e IMDB_SENTIMENT_SHUTDOWN_DELAY=1s -p 127.0.0.1::3000 imdb-sentiment >/dev/null
answers drained "$(published drained)"
python3 - "$WORK/body" "$(published drained)" "$WORK/sent" <<'PY' &
import pathlib, socket, sys
body = open(sys.argv[1], "rb").read()
clients = [socket.create_connection(("127.0.0.1", int(sys.argv[2]))) for _ in range(8)]
for client in clients:
    client.sendall(b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
pathlib.Path(sys.argv[3]).touch()
for client in clients:
    client.settimeout(30)
    answer = b""
    while part := client.recv(65536):
        answer += part
    # The server closes behind its last answer, which must be whole.
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    assert b"content-length: %d" % len(content) in head, (head, len(content))
PY
clients=$!
until [ -e "$WORK/sent" ] || ! kill -0 "$clients" 2>/dev/null; do sleep 0.02; done
docker stop -t 30 drained >/dev/null
wait "$clients" || fail "a request under way was lost when the container was stopped"
[ "$(docker inspect -f '{{.State.ExitCode}}' drained)" = 0 ] || fail "the exit code under load"
docker rm drained >/dev/null

# Half a processor and 96 MiB, with the largest request that the defaults allow: 1,024 texts of 2 MiB together.
python3 - "$WORK/largest" <<'PY'
import json, sys
text = ("a gripping and beautifully shot film with a plot that i have seen before ; " * 40)[:2000]
json.dump({"texts": [text] * 1024}, open(sys.argv[1], "w"))
PY
docker run -d --name small "${locked[@]}" --cpus 0.5 --memory 96m --memory-swap 96m -p 127.0.0.1::3000 imdb-sentiment >/dev/null
answers small "$(published small)"
for _ in 1 2 3; do
    status=$(curl -s -o "$WORK/largest.json" -w '%{http_code}' -H 'content-type: application/json' -d "@$WORK/largest" "$URL/predict")
    # 503: half a processor may take longer than --request-timeout; it must say so and live.
    [ "$status" = 200 ] || [ "$status" = 503 ] || fail "the largest request gives $status in 96 MiB"
done
[ "$(docker inspect -f '{{.State.OOMKilled}}' small)" = false ] || fail "killed for memory"
curl -sf "$URL/health/ready" >/dev/null || fail "not ready after the largest request"
threads=$(curl -s "$URL/metrics" | sed -n 's/^process_threads //p')
memory=$(curl -s "$URL/metrics" | sed -n 's/^process_resident_memory_bytes //p')
[ "${threads%.*}" -le 4 ] || fail "$threads threads where half a processor is granted"
note "96 MiB and half a processor: the largest request gives $status, $((${memory%.*} / 1000000)) MB resident after it, $threads threads"
docker rm -f small >/dev/null

# Too little memory is said before it hurts.
docker run -d --name tiny --memory 48m --memory-swap 48m imdb-sentiment >/dev/null
sleep 2
docker logs tiny 2>&1 | grep -q 'limited to 48 MiB' || { docker logs tiny; fail "48 MiB are not said to be too little"; }
docker rm -f tiny >/dev/null

# Docker here speaks version 1 of control groups. Version 2, as the binary reads it, in a mount name space of its own: a real
# mount, the files of the group put into it.
cat >"$WORK/version-2" <<'EOS'
echo 0::/imdb-sentiment-test >"$1/group"
mount --bind "$1/group" /proc/$$/cgroup && mount -t cgroup2 none /sys/fs/cgroup || exit 77
group=/sys/fs/cgroup/imdb-sentiment-test
mkdir -p "$group" && mount -t tmpfs none "$group" || exit 77
: >"$group/cgroup.controllers"; echo "50000 100000" >"$group/cpu.max"; echo 50331648 >"$group/memory.max"
exec "$2" --port 0 --log-format json
EOS
unshare -m --propagation private sh "$WORK/version-2" "$WORK" "$SERVER" >"$WORK/v2.out" 2>"$WORK/v2.err" &
second=$!
started+=("$second")
for _ in $(seq 100); do grep -q listening "$WORK/v2.out" && break; kill -0 "$second" 2>/dev/null || break; sleep 0.1; done
if kill -0 "$second" 2>/dev/null; then
    threads=$(sed -n 's/^Threads:[[:space:]]*//p' "/proc/$second/status")
    [ "$threads" -le 4 ] || fail "$threads threads where version 2 grants half a processor"
    grep -q 'limited to 48 MiB' "$WORK/v2.err" || fail "the limit of version 2 is not read"
    kill "$second"; wait "$second" || true
else
    note "control groups of version 2 not tried: they cannot be mounted here"
fi
find /sys/fs/cgroup -maxdepth 2 -name imdb-sentiment-test -type d -exec rmdir {} + 2>/dev/null || true

# Other ports, platforms' variables, TLS: the image's own health check finds the server.
healthy() {
    for _ in $(seq 100); do docker exec "$1" /server healthcheck 2>/dev/null && return; sleep 0.05; done
    docker logs "$1" >&2
    fail "$1: the health check does not find the server"
}
docker run -d --name port imdb-sentiment --port 8080 >/dev/null && healthy port
docker run -d --name any imdb-sentiment --port 0 >/dev/null && healthy any
docker run -d --name platform -e PORT=9000 -e IMDB_SENTIMENT_LOG= imdb-sentiment >/dev/null && healthy platform
docker logs platform 2>&1 | grep -q ':9000"' || fail "PORT is not read"
docker run -d --name links -e IMDB_SENTIMENT_PORT=tcp://10.96.0.5:3000 -e IMDB_SENTIMENT_SERVICE_HOST=10.96.0.5 imdb-sentiment >/dev/null && healthy links
[ "$(docker logs links 2>&1 | grep -c enableServiceLinks)" = 1 ] || fail "links of Kubernetes are not said once"
docker run -d --name init --init imdb-sentiment --port 8081 >/dev/null && healthy init
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout "$WORK/key.pem" -out "$WORK/cert.pem" 2>/dev/null
mkdir "$WORK/tls" && cp "$WORK/"{key,cert}.pem "$WORK/tls/" && chmod 755 "$WORK" "$WORK/tls" && chmod 644 "$WORK/tls/"*
docker run -d --name tls -v "$WORK/tls:/tls:ro" imdb-sentiment --tls-cert /tls/cert.pem --tls-key /tls/key.pem --port 8443 >/dev/null && healthy tls
chmod 600 "$WORK/tls/key.pem"
docker run --name closed -v "$WORK/tls:/tls:ro" imdb-sentiment --tls-cert /tls/cert.pem --tls-key /tls/key.pem >"$WORK/closed" 2>&1 && fail "a closed key is read"
grep -q 'permission denied for user 65532' "$WORK/closed" || { cat "$WORK/closed"; fail "a closed key is not said to be one"; }
docker rm -f port any platform links init tls closed >/dev/null

# A mounted model, as it is and by the symbolic links of Kubernetes, taken up when it changes.
mkdir -p "$WORK/mounted/first" "$WORK/mounted/second"
cp models/keras-imdb/* "$WORK/mounted/first/" && cp tests/golden/models/keras_wide/* "$WORK/mounted/second/"
ln -s first "$WORK/mounted/..data"
for file in config.json vocab.txt model.safetensors; do ln -s "..data/$file" "$WORK/mounted/$file"; done
docker run -d --name own "${locked[@]}" -v "$WORK/mounted/first:/models:ro" -p 127.0.0.1::3000 imdb-sentiment >/dev/null
answers own "$(published own)"
curl -s "$URL/info" | grep -q '"models"' || fail "a model mounted at /models"
docker run -d --name kserve "${locked[@]}" -v "$WORK/mounted:/mnt/models:ro" -p 127.0.0.1::8080 imdb-sentiment --port=8080 --model=film-reviews=/mnt/models --watch --watch-interval=100ms >/dev/null
answers kserve "$(published kserve 8080)"
body='{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a gripping film"]}]}'
before=$(curl -s -H 'content-type: application/json' -d "$body" "$URL/v2/models/film-reviews/infer")
echo "$before" | grep -q '"outputs"' || fail "KServe's way: $before"
ln -sfn second "$WORK/mounted/..next" && mv -T "$WORK/mounted/..next" "$WORK/mounted/..data"
for _ in $(seq 100); do
    after=$(curl -s -H 'content-type: application/json' -d "$body" "$URL/v2/models/film-reviews/infer")
    [ "$after" != "$before" ] && break
    sleep 0.1
done
[ "$after" != "$before" ] || fail "a model swapped by its symbolic link is not taken up"
docker rm -f own kserve >/dev/null

# The contract test of tests/it, its servers being containers.
cat >"$WORK/in-container" <<EOS
#!/bin/sh
# Files of the tests belong to whoever runs them.
exec $docker run --rm --network host --label contract --user 0:0 -v /tmp:/tmp:ro -e IMDB_SENTIMENT_LOG_FORMAT=auto imdb-sentiment "\$@"
EOS
chmod +x "$WORK/in-container"
code=0
TMPDIR=/tmp IMDB_SENTIMENT_TEST_SERVER="$WORK/in-container" timeout $((LIMIT - 10 - SECONDS)) \
    cargo test --locked --release --test it contract:: >"$WORK/contract" 2>&1 || code=$?
tail -8 "$WORK/contract"
case "$code" in
    0) ;;
    124 | 125) note "the contract test against the container not tried: its build takes longer than this script may" ;;
    *) fail "the contract test against the container" ;;
esac
docker ps -q --filter label=contract | xargs -r docker rm -f >/dev/null
echo "the image holds what it promises"
