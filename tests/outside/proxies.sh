#!/usr/bin/env bash
# nginx and HAProxy in front, as docs/deployment.md sets them up: connections that are kept, servers that are stopped and
# started under load without a lost request, streams, the client's address in the log, a Unix socket behind nginx.
source "$(dirname "$0")/common.bash"
need nginx nginx-light
need haproxy
need curl
need python3
[ -x "$SERVER" ] || skip "no $SERVER: cargo build --release --bin server"

fail() { echo "FAILED: $*" >&2; tail -3 "$WORK"/*.err "$WORK"/*.log >&2 2>/dev/null || true; exit 1; }
read -r first second front < <(python3 - <<'PY'
import socket
sockets = [socket.socket() for _ in range(3)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
PY
)
url="http://127.0.0.1:$front"

# As recommended, but for a header time-out that is shorter than the proxies keep their connections.
declare -A server
start() {
    "$SERVER" --model models/keras-imdb --port "$1" --shutdown-delay 2s --header-timeout 1s --log-requests --trusted-proxy 127.0.0.1 \
        >/dev/null 2>>"$WORK/$1.err" &
    server[$1]=$!
    started+=("$!")
    for _ in $(seq 300); do
        curl -sf -o /dev/null "http://127.0.0.1:$1/health/ready" && return
        sleep 0.05
    done
    fail "the server on $1 does not start"
}
stop() { kill -TERM "${server[$1]}"; wait "${server[$1]}" || fail "the server on $1 ended with $?"; }
up() {
    for _ in $(seq 200); do curl -sf -o /dev/null "$url/health/ready" && return; sleep 0.05; done
    fail "$1 does not answer"
}
# Connections to a port that were closed: one for each request where none is kept.
closed() { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$(printf ':%04X' "$1")" '$4 == "06" && ($2 ~ port "$" || $3 ~ port "$")' | wc -l; }
ask() { curl -s -o /dev/null -w '%{http_code}' -H 'content-type: application/json' -d '{"text": "A gripping film."}' "$@" "$url/predict"; }

# A stream longer than any body may be, with a length and without one, as fast as it goes and bit by bit.
python3 - "$WORK/stream.jsonl" <<'PY'
import json, sys
with open(sys.argv[1], "w") as file:
    for number in range(60_000):
        file.write(json.dumps({"id": number, "text": f"A gripping film, number {number}, dull in the middle."}) + "\n")
PY
whole_stream() { # WHAT
    python3 - "$WORK/answers.jsonl" <<'PY' || fail "$1"
import json, sys
answers = [json.loads(line) for line in open(sys.argv[1])]
assert [answer.get("id") for answer in answers] == list(range(60_000)), (len(answers), answers[-1])
assert all("label" in answer for answer in answers)
PY
}
try_stream() { # NAME
    local ask=(curl -sSN -m 60 -X POST -H 'content-type: application/x-ndjson' -o "$WORK/answers.jsonl" "$url/predict")
    "${ask[@]}" -H 'expect:' -T "$WORK/stream.jsonl" || fail "$1: a stream"
    whole_stream "$1: a stream"
    "${ask[@]}" -T - <"$WORK/stream.jsonl" || fail "$1: a stream without a length"
    whole_stream "$1: a stream without a length"
    # An answer comes before the next line is sent.
    python3 - "$front" <<'PY' || fail "$1: a stream bit by bit"
import json, socket, sys
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20)
client.sendall(b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n")
come = b""
def until(end):
    global come
    while end not in come:
        piece = client.recv(65536)
        assert piece, come
        come += piece
for number in range(3):
    line = json.dumps({"id": number, "text": "A gripping film."}).encode() + b"\n"
    client.sendall(b"%x\r\n%s\r\n" % (len(line), line))
    until(b'"id":%d,' % number)
client.sendall(b"0\r\n\r\n")
until(b"0\r\n\r\n")
PY
}

try_proxy() { # NAME
    local name="$1" before after port line
    up "$name"
    # Kept: also longer than the server waits for the header of a request.
    before=$(($(closed "$first") + $(closed "$second")))
    for _ in $(seq 100); do [ "$(ask)" = 200 ] || fail "$name: a request"; done
    sleep 2.5
    for _ in $(seq 20); do [ "$(ask)" = 200 ] || fail "$name: a request after a rest"; done
    after=$(($(closed "$first") + $(closed "$second")))
    # A check of HAProxy is a connection of its own.
    [ $((after - before)) -lt 60 ] || fail "$name: $((after - before)) connections were closed over 120 requests"
    # The client's address, whatever the client says itself.
    [ "$(ask --interface 127.0.0.9 -H 'x-forwarded-for: 6.6.6.6' -H 'x-request-id: who')" = 200 ] || fail "$name: by another address"
    sleep 0.3
    cat "$WORK/$first.err" "$WORK/$second.err" >"$WORK/both"
    grep -q '"client":"127.0.0.9"' "$WORK/both" || fail "$name: the client's address is not in the log"
    grep -q '6\.6\.6\.6' "$WORK/both" && fail "$name: the log believes the client"
    try_stream "$name"
    # Each is stopped and started in turn under load.
    rm -f "$WORK/load.stop"
    python3 tests/outside/load.py "$url" 90 8 "$WORK/load" &
    local loader=$!
    sleep 1
    for _ in 1 2 3; do
        for port in "$first" "$second"; do
            stop "$port"
            start "$port"
            # Time to be found again.
            sleep 2.5
        done
    done
    touch "$WORK/load.stop"
    wait "$loader"
    local all good
    all=$(wc -l <"$WORK/load") good=$(awk '$3 == 200' "$WORK/load" | wc -l)
    [ "$all" -gt 100 ] || fail "$name: only $all requests"
    [ "$all" = "$good" ] || { awk '$3 != 200' "$WORK/load" | sort -k3 | head -5 >&2; fail "$name: $((all - good)) of $all requests failed while servers were stopped"; }
    # Probes of servers that stop are no warnings.
    cat "$WORK/$first.err" "$WORK/$second.err" >"$WORK/both"
    python3 - "$WORK/both" <<'PY' || fail "$name: the log"
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
bad = [line for line in lines if line["level"] not in ("INFO", "DEBUG")]
assert not bad, bad[:3]
PY
    note "$name: $all requests of 8 clients over six stops, none failed"
}

start "$first"
start "$second"

# nginx with the shipped configuration; but no POST is sent twice, so that each one lost would be seen.
mkdir -p "$WORK/nginx"
sed -e "s/127.0.0.1:3000/127.0.0.1:$first/" -e "s/127.0.0.1:3001/127.0.0.1:$second/" -e "s/listen 8080/listen 127.0.0.1:$front/" \
    -e 's/ non_idempotent//' docker/nginx/imdb-sentiment.conf >"$WORK/nginx/site.conf"
grep -q "127.0.0.1:$front" "$WORK/nginx/site.conf" && ! grep -q non_idempotent "$WORK/nginx/site.conf" || fail "the configuration of nginx is another"
nginx_conf() { # SITE
    cat <<CONF
daemon off; master_process off; pid $WORK/nginx/pid; error_log $WORK/nginx.log warn;
events {}
http {
    access_log off;
    client_body_temp_path $WORK/nginx/b; proxy_temp_path $WORK/nginx/p; fastcgi_temp_path $WORK/nginx/f; uwsgi_temp_path $WORK/nginx/u; scgi_temp_path $WORK/nginx/s;
    include $1;
}
CONF
}
nginx_conf "$WORK/nginx/site.conf" >"$WORK/nginx/nginx.conf"
nginx -e "$WORK/nginx.log" -c "$WORK/nginx/nginx.conf" &
nginx_pid=$!
started+=("$nginx_pid")
try_proxy nginx
[ "$(curl -s -o /dev/null -w '%{http_code}' "$url/metrics")" = 403 ] || fail "figures are open to all"
kill "$nginx_pid"; wait "$nginx_pid" || true

# A Unix socket behind nginx, which a killed server leaves and the next one replaces.
socket="$WORK/http.sock"
chmod 755 "$WORK"
by_socket() {
    "$SERVER" --model models/keras-imdb --uds "$socket" --log-requests --trusted-proxy unix >/dev/null 2>>"$WORK/uds.err" &
    uds_pid=$!
    started+=("$uds_pid")
    for _ in $(seq 200); do "$SERVER" healthcheck --uds "$socket" 2>/dev/null && return; sleep 0.05; done
    fail "the server on the Unix socket does not start"
}
by_socket
kill -9 "$uds_pid"; wait "$uds_pid" 2>/dev/null || true
[ -S "$socket" ] || fail "no socket is left to replace"
by_socket
sed -e "/127.0.0.1:$second/d" -e "s/server 127.0.0.1:$first/server unix:${socket//\//\\/}/" "$WORK/nginx/site.conf" >"$WORK/nginx/uds.conf"
nginx_conf "$WORK/nginx/uds.conf" >"$WORK/nginx/nginx.conf"
nginx -e "$WORK/nginx.log" -c "$WORK/nginx/nginx.conf" &
nginx_pid=$!
started+=("$nginx_pid")
up "nginx over a Unix socket"
for _ in $(seq 50); do [ "$(ask --interface 127.0.0.9)" = 200 ] || fail "nginx over a Unix socket"; done
try_stream "nginx over a Unix socket"
kill "$uds_pid"; wait "$uds_pid" || fail "the server on the Unix socket ended with $?"
grep -q '"client":"127.0.0.9"' "$WORK/uds.err" || fail "the client's address over the Unix socket"
[ ! -e "$socket" ] || fail "the socket's file is left behind"
kill "$nginx_pid"; wait "$nginx_pid" || true

# HAProxy with the Swarm's configuration, its two servers named instead of found by DNS.
awk -v bind="127.0.0.1:$front" -v first="$first" -v second="$second" '
    /^resolvers/ { skip = 1 } /^frontend/ { skip = 0 } skip { next }
    /default-server resolvers/ { next }
    /bind :8080/ { sub(":8080", bind) }
    /server-template/ { print "    server a 127.0.0.1:" first " check"; print "    server b 127.0.0.1:" second " check"; next }
    # No POST twice here either.
    /retry-on/ { print "    retry-on conn-failure"; next }
    { print }' docker/haproxy/haproxy.cfg >"$WORK/haproxy.cfg"
haproxy -db -f "$WORK/haproxy.cfg" >"$WORK/haproxy.log" 2>&1 &
started+=($!)
try_proxy HAProxy
echo "behind nginx and HAProxy nothing is lost"
