#!/usr/bin/env bash
# docker/compose.yaml by docker-compose on a Docker engine: the service as it stands there, Prometheus beside it finding it by
# DNS with the alerts loaded, the limits, a stop.
source "$(dirname "$0")/common.bash"
source "$ROOT/tests/outside/engine.bash"
need docker-compose
need prometheus
need curl
need python3
engine
image

fail() { echo "FAILED: $*" >&2; compose logs --tail 5 >&2 2>/dev/null || true; exit 1; }
export COMPOSE_PROJECT_NAME=sentiment COMPOSE_FILE="$ROOT/docker/compose.yaml"
read -r SENTIMENT_PORT PROMETHEUS_PORT GRAFANA_PORT < <(python3 - <<'PY'
import socket
sockets = [socket.socket() for _ in range(3)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
PY
)
export SENTIMENT_PORT PROMETHEUS_PORT GRAFANA_PORT
compose() { docker-compose "$@"; }

# The file as it is read, all profiles.
compose --profile monitoring --profile train config >"$WORK/config" || fail "docker-compose does not take the file"
for service in sentiment prometheus grafana trainer; do grep -q "^  $service:" "$WORK/config" || fail "no service $service"; done

# Debian's Prometheus in place of the image that cannot be pulled. Grafana is in no package: its files are read by manifests.sh.
stand_in prometheus "$(sed -n 's/^ *image: \(prom\/prometheus:.*\)/\1/p' docker/compose.yaml)" \
    --config.file=/etc/prometheus/prometheus.yml --storage.tsdb.path=/prometheus
compose up -d --no-build sentiment 2>"$WORK/up" || { cat "$WORK/up" >&2; fail "up"; }
name="$(compose ps -q sentiment)"
answers "$name" "$SENTIMENT_PORT"
curl -sf -H 'content-type: application/json' -d '{"text": "A gripping, beautifully shot film."}' "$URL/predict" | grep -q '"positive"' || fail "no answer"
inspect() { docker inspect -f "{{$1}}" "$name"; }
[ "$(inspect .HostConfig.ReadonlyRootfs) $(inspect .HostConfig.Memory) $(inspect .HostConfig.PidsLimit) $(inspect .HostConfig.CapDrop)" = "true 268435456 256 [ALL]" ] ||
    fail "limits: $(inspect .HostConfig.ReadonlyRootfs) $(inspect .HostConfig.Memory) $(inspect .HostConfig.PidsLimit) $(inspect .HostConfig.CapDrop)"
healthy() { [ "$(inspect .State.Health.Status)" = healthy ]; }
for _ in $(seq 100); do healthy && break; sleep 0.2; done
healthy || fail "it stays $(inspect .State.Health.Status)"

# The monitoring profile's Prometheus finds the service by its name, and knows the alerts.
compose --profile monitoring up -d --no-build --no-deps prometheus 2>"$WORK/up" || { cat "$WORK/up" >&2; fail "prometheus"; }
prometheus() { curl -sf "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/$1"; }
scraped() { prometheus 'query?query=up%7Bjob%3D%22imdb-sentiment%22%7D' | grep -q '"1"\]'; }
for _ in $(seq 150); do scraped && break; sleep 0.2; done
scraped || fail "Prometheus does not find the service: $(prometheus targets | head -c 600)"
[ "$(prometheus rules | python3 -c 'import json, sys; rules = json.load(sys.stdin)["data"]["groups"][0]["rules"]; print(len(rules), *{r["type"] for r in rules})')" = "8 alerting" ] || fail "the alerts"

# It is started again when it dies (docker kill would be the user's own doing), and stops when told to.
kill -9 "$(inspect .State.Pid)"
restarted() { [ "$(inspect .RestartCount)" = 1 ] && curl -sf -o /dev/null "$URL/health/ready"; }
for _ in $(seq 100); do restarted && break; sleep 0.1; done
restarted || fail "it is not started again"
start=$(now_ms)
compose stop sentiment 2>/dev/null
[ "$(inspect .State.Status) $(inspect .State.ExitCode)" = "exited 0" ] || fail "it does not stop by itself: $(inspect .State.Status) $(inspect .State.ExitCode)"
note "docker-compose $(docker-compose version --short): up, healthy, scraped by Prometheus, stopped in $(($(now_ms) - start)) ms"
compose --profile monitoring down -v >/dev/null 2>&1
echo "compose.yaml plays"
