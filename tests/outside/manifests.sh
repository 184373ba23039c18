#!/usr/bin/env bash
# Dockerfile, compose, Swarm and Kubernetes manifests, Prometheus rules and Grafana dashboard, by the tools of their makers;
# and every metric that a rule, a dashboard or an autoscaler names is one that the server gives.
source "$(dirname "$0")/common.bash"
need python3
need promtool prometheus
need haproxy
python="$(venv tests/outside/manifests.txt)" || skip "the validators could not be installed"
bin="$python/bin"
fail() { echo "FAILED: $*" >&2; exit 1; }

"$bin/hadolint" Dockerfile || fail "hadolint"
"$bin/check-jsonschema" --builtin-schema vendor.compose-spec docker/compose.yaml docker/stack.yaml || fail "compose schema"
haproxy -c -q -f docker/haproxy/haproxy.cfg >"$WORK/haproxy" 2>&1 || { cat "$WORK/haproxy" >&2; fail "haproxy.cfg"; }

# Kubernetes: three versions, unknown fields refused. Kinds that are no part of Kubernetes itself come below.
kubectl="$(command -v kubectl || echo "$bin/kubectl")"
for folder in base overlays/production overlays/own-model; do
    "$kubectl" kustomize "docker/kubernetes/$folder" >"$WORK/rendered.yaml" || fail "kustomize $folder"
    cp "$WORK/rendered.yaml" "$WORK/$(basename "$folder").yaml"
    for version in 1.31 1.34 1.37; do
        "$bin/kubernetes-validate" --strict --quiet --no-warn -k "$version.0" "$WORK/rendered.yaml" || fail "$folder for Kubernetes $version"
    done
done

# Kinds of KEDA and of Prometheus's operator, by schemas from npm.
if command -v npm >/dev/null && command -v node >/dev/null; then
    modules="$CACHE/kubernetes-models"
    if [ ! -e "$modules/complete" ]; then
        rm -rf "$modules" && mkdir -p "$modules"
        (cd "$modules" && echo '{}' >package.json && npm install --silent --no-audit --no-fund --ignore-scripts \
            @kubernetes-models/keda@2.0.0 @kubernetes-models/prometheus-operator@6.0.0 >/dev/null 2>&1 && touch complete) ||
            note "kinds of KEDA and Prometheus's operator not tried: npm installs no @kubernetes-models"
    fi
    if [ -e "$modules/complete" ]; then
        "$bin/python" - "$WORK/production.yaml" >"$modules/objects.json" <<'PY'
import json, sys, yaml
print(json.dumps([o for o in yaml.safe_load_all(open(sys.argv[1])) if "." in o["apiVersion"].split("/")[0] and "k8s.io" not in o["apiVersion"]]))
PY
        cat >"$modules/validate.mjs" <<'JS'
import { readFileSync } from "node:fs";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
const kinds = { ScaledObject, ServiceMonitor, PrometheusRule };
const objects = JSON.parse(readFileSync(process.argv[2]));
for (const object of objects) new kinds[object.kind](object).validate();
const seen = objects.map((object) => object.kind).sort().join();
if (seen !== "PrometheusRule,ScaledObject,ServiceMonitor") throw new Error("kinds seen: " + seen);
// The check can fail.
let refused = 0;
for (const object of objects) try { new kinds[object.kind]({ ...object, spec: { groups: 1, endpoints: 1, triggers: 1 } }).validate(); } catch { refused++; }
if (refused !== 3) throw new Error("nonsense passes");
JS
        node "$modules/validate.mjs" "$modules/objects.json" || fail "kinds of KEDA or Prometheus's operator"
    fi
else
    note "kinds of KEDA and Prometheus's operator not tried: no npm"
fi

# KServe's kinds, by the types of its own Python library, which clients.sh asks the server with as well.
if kserve="$(venv tests/outside/clients/requirements.txt)"; then
    "$kserve/bin/python" tests/outside/kserve_types.py docker/kubernetes/kserve/*.yaml || fail "kinds of KServe"
else
    note "kinds of KServe not tried: its library could not be installed from PyPI"
fi

# The dashboard by Grafana's own library (Grafana itself is in no registry that is reached here): read into its types, of which
# those of the panels are told by the panels' names, and written again, it is the same.
"$bin/python" - docker/grafana/dashboards/imdb-sentiment.json <<'PY' || fail "the dashboard by Grafana's types"
import copy, json, sys
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

register_default_plugins()


def lost(given, read, path="dashboard"):
    """Where what was read and written again is not what was given; what is only added is a default."""
    if isinstance(given, dict):
        for name, value in given.items():
            yield from lost(value, read[name], f"{path}.{name}") if name in read else [f"{path}.{name}"]
    elif isinstance(given, list) and len(given) == len(read):
        for index, (one, other) in enumerate(zip(given, read)):
            yield from lost(one, other, f"{path}[{index}]")
    elif given != read:
        yield path


def unknown(dashboard):
    read = Dashboard.from_json(copy.deepcopy(dashboard))
    return list(lost(dashboard, json.loads(JSONEncoder().encode(read))))


dashboard = json.load(open(sys.argv[1]))
# A field of the annotations of Prometheus alone, whose types the library lacks.
[title] = [entry.pop("titleFormat") for entry in dashboard["annotations"]["list"]]
assert title and not unknown(dashboard), unknown(dashboard)
# The check can fail.
dashboard["panels"][0]["options"]["legend"]["placment"] = "bottom"
assert unknown(dashboard) == ["dashboard.panels[0].options.legend.placment"], unknown(dashboard)
PY

# Prometheus and Grafana.
promtool check config docker/prometheus/prometheus.yml >/dev/null || fail "prometheus.yml"
promtool test rules docker/prometheus/alerts_test.yml >/dev/null || fail "alerts_test.yml"
serve
for _ in $(seq 20); do curl -s -o /dev/null -H 'content-type: application/json' -d '{"text": "A gripping film."}' "$URL/predict"; done
curl -s "$URL/metrics" >"$WORK/metrics"
"$bin/python" - "$WORK" <<'PY' || fail "metrics"
import json, re, sys, yaml, promql_parser

work = sys.argv[1]
given = {line.split("{")[0].split(" ")[0] for line in open(f"{work}/metrics") if line[0] != "#"}
# Those of Prometheus itself.
given |= {"up"}
# Absent until there is something to say: the HELP line names them.
given |= {line.split()[2] for line in open(f"{work}/metrics") if line.startswith("# HELP")}
rules = yaml.safe_load(open("docker/prometheus/alerts.yml"))
operator = yaml.safe_load(open("docker/kubernetes/components/monitoring/prometheusrule.yaml"))
assert operator["spec"]["groups"] == rules["groups"], "prometheusrule.yaml says otherwise than alerts.yml"
assert len(rules["groups"][0]["rules"]) == 8
tested = open("docker/prometheus/alerts_test.yml").read()
expressions = [(rule["alert"], rule["expr"]) for rule in rules["groups"][0]["rules"]]
for name, _ in expressions:
    assert tested.count(name) >= 2, f"{name} is not tested"
dashboard = json.load(open("docker/grafana/dashboards/imdb-sentiment.json"))
ids = [panel["id"] for panel in dashboard["panels"]]
assert len(ids) == len(set(ids))
for panel in dashboard["panels"]:
    expressions += [(panel["title"], target["expr"]) for target in panel["targets"]]
expressions += [("annotation", entry["expr"]) for entry in dashboard["annotations"]["list"]]
scaled = yaml.safe_load(open("docker/kubernetes/components/keda/scaledobject.yaml"))
expressions += [("scaled", t["metadata"]["query"]) for t in scaled["spec"]["triggers"] if "query" in t["metadata"]]
names = set()
for where, text in expressions:
    text = text.replace("$__rate_interval", "1m").replace("$instance", ".*")
    promql_parser.parse(text)
    found = set(re.findall(r"\b(?:imdb_sentiment|process)_[a-z0-9_]+", text))
    missing = found - given
    assert not missing, f"{where}: the server gives no {missing}"
    names |= found
print(f"{len(expressions)} expressions over {len(names)} metrics")
PY

# Every expression of the dashboard has an answer over a real scrape, by Debian's Prometheus.
if command -v prometheus >/dev/null; then
    sed -e '/dns_sd_configs/,$d' -e 's/interval: 10s/interval: 1s/' docker/prometheus/prometheus.yml >"$WORK/prometheus.yml"
    cp docker/prometheus/alerts.yml "$WORK/"
    printf '    static_configs:\n      - targets: ["%s"]\n' "${URL#http://}" >>"$WORK/prometheus.yml"
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    prometheus --config.file="$WORK/prometheus.yml" --storage.tsdb.path="$WORK/tsdb" --web.listen-address="127.0.0.1:$port" >"$WORK/prometheus.log" 2>&1 &
    started+=($!)
    for _ in $(seq 12); do
        sleep 1
        curl -s -o /dev/null -H 'content-type: application/json' -d '{"text": "A gripping film."}' "$URL/predict"
    done
    "$bin/python" - "$port" <<'PY' || { tail -3 "$WORK/prometheus.log"; fail "the dashboard over a real scrape"; }
import json, sys, urllib.parse, urllib.request

def ask(path):
    return json.load(urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/api/v1/{path}"))["data"]

empty = []
dashboard = json.load(open("docker/grafana/dashboards/imdb-sentiment.json"))
for panel in dashboard["panels"]:
    for target in panel["targets"]:
        text = target["expr"].replace("$__rate_interval", "8s").replace("$instance", ".*")
        if not ask("query?query=" + urllib.parse.quote(text))["result"]:
            empty.append(panel["title"])
# What a window of reviews must fill first, or a cause first bring about, may say nothing yet.
may_be_empty = {"Drift from the baseline", "Unknown words", "Given up", "Cut short", "Reloads"}
assert set(empty) <= may_be_empty, f"panels without a series: {empty}"
rules = ask("rules")["groups"][0]["rules"]
assert len(rules) == 8 and all(rule["health"] == "ok" for rule in rules), rules
firing = [alert["labels"]["alertname"] for alert in ask("alerts")["alerts"] if alert["state"] == "firing"]
assert not firing, firing
PY
fi
echo "manifests, rules and dashboard hold"
