#!/usr/bin/env bash
# The Deployment of docker/kubernetes/base, as kustomize renders it, played by podman: its security context, its probe, an
# answer; a failing probe starts it anew.
source "$(dirname "$0")/common.bash"
source "$ROOT/tests/outside/engine.bash"
need curl
need podman
need catatonit
python="$(venv tests/outside/manifests.txt)" || skip "the validators could not be installed"
engine
image
fail() { echo "FAILED: $*" >&2; podman ps -a >&2; exit 1; }

# What podman's own defaults ask for may not be granted here; its storage is its own and goes at the end.
cat >"$WORK/containers.conf" <<'CONF'
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
CONF
export CONTAINERS_CONF="$WORK/containers.conf"
unset -f podman 2>/dev/null || true
podman_() { command podman --root "$WORK/podman" --runroot "$WORK/podman-run" --cgroup-manager cgroupfs --events-backend file --runtime runc "$@"; }
podman() { podman_ "$@"; }
trap 'podman pod rm -fa >/dev/null 2>&1 || true; podman rm -fa >/dev/null 2>&1 || true; podman rmi -fa >/dev/null 2>&1 || true; engine_stop; finish' EXIT
docker save imdb-sentiment:latest | podman load -q >/dev/null || skip "podman cannot load an image here"

port=$("$python/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
kubectl="$(command -v kubectl || echo "$python/bin/kubectl")"
"$kubectl" kustomize docker/kubernetes/base >"$WORK/rendered.yaml"
# Of the rendered manifests the Deployment; here one replica, and a port of this machine in place of the Service.
"$python/bin/python" - "$WORK" "$port" <<'PY'
import sys, yaml
work, port = sys.argv[1], int(sys.argv[2])
[deployment] = [o for o in yaml.safe_load_all(open(f"{work}/rendered.yaml")) if o["kind"] == "Deployment"]
pod = deployment["spec"]["template"]["spec"]
[container] = pod["containers"]
container["image"] = "localhost/imdb-sentiment:latest"
container["imagePullPolicy"] = "Never"
container["ports"][0].update(hostIP="127.0.0.1", hostPort=port)
container["livenessProbe"]["periodSeconds"] = 1
deployment["spec"]["replicas"] = 1
yaml.safe_dump(deployment, open(f"{work}/deployment.yaml", "w"))
PY
podman kube play "$WORK/deployment.yaml" >"$WORK/play" 2>&1 || { tail -5 "$WORK/play" >&2; skip "podman cannot play a Deployment here: $(tail -1 "$WORK/play")"; }
name=$(podman ps --format '{{.Names}}' | grep server | head -1)
[ -n "$name" ] || { podman logs "$(podman ps -aq | head -1)" >&2; fail "no container runs"; }
for _ in $(seq 100); do curl -sf -o /dev/null "http://127.0.0.1:$port/health/ready" && break; sleep 0.1; done
curl -sf -H 'content-type: application/json' -d '{"text": "A gripping, beautifully shot film."}' "http://127.0.0.1:$port/predict" | grep -q positive ||
    { podman logs "$name" >&2; fail "the played Deployment does not answer"; }
inspect() { podman inspect -f "{{$1}}" "$name"; }
[ "$(inspect .HostConfig.ReadonlyRootfs)" = true ] || fail "the root can be written"
[ "$(inspect .EffectiveCaps)" = "[]" ] || fail "capabilities: $(inspect .EffectiveCaps)"
inspect .Config.User | grep -q 65532 || fail "user $(inspect .Config.User)"
# The probe, word for word. Podman takes it over, but runs it by a shell, of which the image has none.
inspect .Config.Healthcheck | grep -q '/server healthcheck --live' || fail "no probe: $(inspect .Config.Healthcheck)"
podman healthcheck run "$name" >/dev/null 2>&1 || note "podman $(podman version -f '{{.Client.Version}}') runs probes by a shell, which the image lacks: the probe's command is run as it stands instead"
probe=$("$python/bin/python" -c 'import sys, yaml; print(*yaml.safe_load(open(sys.argv[1]))["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["exec"]["command"])' "$WORK/deployment.yaml")
# shellcheck disable=SC2086
podman exec "$name" $probe || fail "the liveness probe fails"
for path in $("$python/bin/python" -c 'import sys, yaml; c = yaml.safe_load(open(sys.argv[1]))["spec"]["template"]["spec"]["containers"][0]; print(*[c[p]["httpGet"]["path"] for p in ("startupProbe", "readinessProbe")])' "$WORK/deployment.yaml"); do
    curl -sf -o /dev/null "http://127.0.0.1:$port$path" || fail "the probe of $path"
done
podman stop -t 20 "$name" >/dev/null
[ "$(inspect .State.ExitCode)" = 0 ] || fail "it ends with $(inspect .State.ExitCode)"
echo "the Deployment plays"
