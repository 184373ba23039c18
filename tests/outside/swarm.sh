#!/usr/bin/env bash
# docker/stack.yaml on a Swarm of one node: three replicas behind HAProxy under load, while they are updated to another
# model, one is killed, one is paused. Then: do replicas add up?
source "$(dirname "$0")/common.bash"
source "$ROOT/tests/outside/engine.bash"
need haproxy
need curl
need python3
engine
image

fail() { echo "FAILED: $*" >&2; docker service ps --no-trunc sentiment_server 2>/dev/null | head -8 >&2; exit 1; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

# Debian's HAProxy in an image of its own, in place of the one that cannot be pulled.
stand_in haproxy haproxy:stand-in -W -db -f /usr/local/etc/haproxy/haproxy.cfg

# The next version: the same program with the other shipped model as its default.
printf 'FROM imdb-sentiment:latest\nENV IMDB_SENTIMENT_MODEL=/models/keras-imdb\n' | docker build -q -t imdb-sentiment:next - >/dev/null

docker swarm init --advertise-addr 127.0.0.1 --listen-addr 127.0.0.1:0 >/dev/null 2>"$WORK/swarm.err" ||
    docker swarm init --advertise-addr 127.0.0.1 >/dev/null || skip "no Swarm can be made here: $(head -1 "$WORK/swarm.err")"
echo a-key-of-the-test | docker secret create imdb_sentiment_keys - >/dev/null
deploy() {
    TAG="$1" IMAGE=imdb-sentiment HAPROXY_IMAGE=haproxy:stand-in PORT=$port \
        docker stack deploy --resolve-image never -c docker/stack.yaml sentiment >/dev/null 2>"$WORK/deploy.err" ||
        { cat "$WORK/deploy.err" >&2; skip "a stack cannot be deployed here: $(tail -1 "$WORK/deploy.err")"; }
}
running() { docker ps -q --filter label=com.docker.swarm.service.name=sentiment_server --filter health=healthy | wc -l; }
up() { curl -sf -o /dev/null "http://127.0.0.1:$port/health/ready"; }
until_true() { # SECONDS COMMAND…
    local end=$(($(date +%s) + $1)); shift
    until "$@"; do [ "$(date +%s)" -lt "$end" ] || return 1; sleep 0.1; done
}
three() { [ "$(running)" -ge 3 ]; }
deploy latest
until_true 90 three || fail "three replicas do not come up"
until_true 30 up || fail "HAProxy does not find the replicas"

[ "$(curl -s -o /dev/null -w '%{http_code}' -H 'content-type: application/json' -d '{"text": "good"}' "http://127.0.0.1:$port/predict")" = 401 ] || fail "the secret with the keys is not read"
load() { rm -f "$WORK/$1.stop"; python3 tests/outside/load.py "http://127.0.0.1:$port" 120 8 "$WORK/$1" a-key-of-the-test & loader=$!; sleep 3; }
unload() { touch "$WORK/$1.stop"; wait "$loader"; }
# Requests in all, those not answered 200, the longest in milliseconds.
summary() { awk '{ n++; if ($3 != 200) bad++; if ($2 > max) max = $2 } END { printf "%d requests, %d failed, longest %d ms", n, bad, max * 1000 }' "$WORK/$1"; }
failed() { awk '$3 != 200' "$WORK/$1" | wc -l; }

# A rolling update: nothing is lost.
load update
start=$(now_ms)
deploy next
updated() { [ "$(docker service inspect -f '{{.UpdateStatus.State}}' sentiment_server 2>/dev/null)" = completed ]; }
until_true 100 updated || fail "the update does not end: $(docker service inspect -f '{{json .UpdateStatus}}' sentiment_server)"
took=$(($(now_ms) - start))
sleep 2
unload update
[ "$(tail -1 "$WORK/update" | cut -d' ' -f4)" = keras-imdb ] || fail "the new model does not answer: $(tail -1 "$WORK/update")"
grep -q ' imdb$' "$WORK/update" || fail "the old model did not answer"
note "rolling update of three replicas to another model: $(summary update), $took ms"
[ "$(failed update)" = 0 ] || { awk '$3 != 200' "$WORK/update" | head -5; fail "requests were lost in the update"; }

# A replica killed: those in flight on it at most, and a new one.
until_true 60 three || fail "three replicas after the update"
load kill
start=$(now_ms)
docker kill "$(docker ps -q --filter label=com.docker.swarm.service.name=sentiment_server | head -1)" >/dev/null
fewer() { [ "$(docker ps -q --filter label=com.docker.swarm.service.name=sentiment_server | wc -l)" -lt 3 ]; }
until_true 5 fewer || true
until_true 60 three || fail "the killed replica is not replaced"
took=$(($(now_ms) - start))
unload kill
note "a replica killed: $(summary kill); three again after $took ms"
[ "$(failed kill)" -le 8 ] || fail "more requests failed than were in flight"

# A replica paused: it takes connections and answers none. HAProxy must see it within three checks (1.5 s, and one
# time-out of half a second); requests that it held are sent to another.
load pause
victim=$(docker ps -q --filter label=com.docker.swarm.service.name=sentiment_server | head -1)
start=$(date +%s.%3N)
docker pause "$victim" >/dev/null
sleep 8
unload pause
docker unpause "$victim" >/dev/null 2>&1 || true
# The last moment at which a request came to wait for the paused one.
out=$(awk -v start="$start" '$1 > start && ($2 > 0.4 || $3 != 200) { last = $1 - start } END { printf "%d", last * 1000 }' "$WORK/pause")
note "a replica paused: $(summary pause); the last request that it took came $out ms after"
[ "$(failed pause)" -le 8 ] || fail "more requests failed than were in flight"
docker stack rm sentiment >/dev/null
docker swarm leave --force >/dev/null

# Do replicas add up? One, two, three of a twenty-fifth of a core each, so that this machine has enough of it for all and for
# the load, behind the same HAProxy.
docker network rm plain >/dev/null 2>&1 || true
docker network create plain >/dev/null
sed -e 's/tasks\.server/server/' docker/haproxy/haproxy.cfg >"$WORK/haproxy.cfg"
rates=()
for count in 1 2 3; do
    for number in $(seq "$count"); do docker run -d --name "s$number" --network plain --network-alias server --cpus 0.04 imdb-sentiment >/dev/null; done
    docker run -d --name front --network plain -p "127.0.0.1:$port:8080" -v "$WORK/haproxy.cfg:/usr/local/etc/haproxy/haproxy.cfg:ro" haproxy:stand-in >/dev/null
    until_true 20 up || fail "HAProxy in front of $count"
    sleep 2
    python3 tests/outside/load.py "http://127.0.0.1:$port" 6 32 "$WORK/rate"
    rates+=("$(awk '$3 == 200 { n++ } END { printf "%d", n / 6 }' "$WORK/rate")")
    docker rm -f front $(seq -f 's%g' "$count") >/dev/null
done
note "requests a second of 1, 2, 3 replicas with .04 of a core each: ${rates[*]}"
docker network rm plain >/dev/null
echo "the swarm keeps its word"
