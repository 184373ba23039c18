//! `openapi.yaml` against the router, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::path::Path;

use crate::common::{Answer, Server, write_model};
use imdb_sentiment::serve::{App, ModelSource, Settings, description, openapi_yaml, router};
use serde_json::Value;

#[test]
fn the_committed_description_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.yaml");
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(committed == openapi_yaml(), "run `cargo run --bin server openapi > openapi.yaml`");
}

#[test]
fn every_route_of_the_router_is_described_and_every_described_one_is_routed() {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("m"), 1, 8);
    let models = vec![ModelSource::directory(folder.path().join("m"))];
    let app = App::new(Settings { models, compute_threads: 1, ..Settings::defaults() }).unwrap();
    // A router tells what it routes in its debug form alone: `RouteId(0): "/predict"`.
    let router = format!("{:?}", router(app));
    let routed: BTreeSet<String> = router
        .split("RouteId(")
        .filter_map(|text| text.split_once("): \"")?.1.split_once('"'))
        .map(|(path, _)| path.to_string())
        .filter(|path| !path.contains("__private"))
        .collect();
    let description: Value = serde_json::from_str(&description().to_json().unwrap()).unwrap();
    let described = described(&description).into_keys().map(|(_, path)| path).collect();
    assert_eq!(routed, described, "routed, described");
}

#[test]
fn an_error_has_one_schema() {
    let description: Value = serde_json::from_str(&description().to_json().unwrap()).unwrap();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for operation in methods.as_object().unwrap().values() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let name = response["$ref"].as_str().and_then(|name| name.rsplit('/').next());
                assert_eq!(name.is_some(), status != "200", "{path} {status}");
                let Some(name) = name else { continue };
                let shared = &description["components"]["responses"][name];
                let schema = &shared["content"]["application/problem+json"]["schema"];
                assert_eq!(schema["$ref"], "#/components/schemas/Problem", "{path} {status}: {shared}");
            }
        }
    }
    assert!(description["components"]["schemas"]["Problem"]["properties"]["detail"].is_object());
}

/// Method and path template, and the statuses described for them.
type Described = BTreeMap<(String, String), BTreeSet<u16>>;

fn described(description: &Value) -> Described {
    let mut all = Described::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let statuses = operation["responses"].as_object().unwrap().keys().map(|s| s.parse().unwrap());
            all.insert((method.to_uppercase(), path.clone()), statuses.collect());
        }
    }
    all
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// A path of the template with a model that there is not.
fn unknown(template: &str) -> String {
    template.replace("{model}", "other").replace("{version}", "9")
}

/// A body that the path accepts, for a text given.
fn body(path: &str, text: &str) -> String {
    if path.starts_with("/v2/repository") {
        // What stands for a text without a word is a field that does not fit.
        return match text {
            "..." => r#"{"ready": 3, "parameters": 3}"#.into(),
            _ => format!(r#"{{"other": {text:?}}}"#),
        };
    }
    let text = serde_json::to_string(text).unwrap();
    if path.starts_with("/v2") {
        format!(r#"{{"inputs": [{{"name": "text", "shape": [1], "datatype": "BYTES", "data": [{text}]}}]}}"#)
    } else if ["/predict", "/invocations"].contains(&path) {
        format!(r#"{{"text": {text}}}"#)
    } else if path.ends_with("/classify") {
        format!(r#"{{"input": {text}}}"#)
    } else {
        format!(r#"{{"inputs": {text}}}"#)
    }
}

#[test]
fn every_status_described_is_produced_and_no_other_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m");
    write_model(&model, 1, 8);
    let model = model.to_str().unwrap();
    let open = Server::start(&[
        "--model",
        model,
        "--max-body-bytes",
        "5000",
        "--body-timeout",
        "150ms",
        "--repository-control",
    ]);
    let guarded = Server::start(&["--model", model, "--api-key", "key"]);
    // A queue of one review, and every review through it.
    let busy = Server::start(&[
        "--model",
        model,
        "--compute-threads",
        "1",
        "--inline-budget",
        "0s",
        "--max-pending-reviews",
        "1",
        "--max-texts",
        "1",
    ]);
    // A self-test that fails.
    let failing = folder.path().join("failing");
    write_model(&failing, 2, 8);
    std::fs::write(
        failing.join("golden.json"),
        r#"{"tolerance": 0.0001, "reviews": [{"text": "a film", "probability": 0.123}]}"#,
    )
    .unwrap();
    let failing = format!("m={}", failing.display());
    let failing = Server::start(&["--model", &failing]);
    let unloaded = Server::start(&["--model", model, "--repository-control"]);
    assert_eq!(unloaded.post("/v2/repository/models/m/unload", "").status, 200);

    // The server's own: the image, which `tests/outside/container.sh` starts in its place, is built without some routes.
    let described = described(&open.get("/openapi.json").json());
    let mut seen: Described = described.keys().map(|key| (key.clone(), BTreeSet::new())).collect();
    for (key, statuses) in &mut seen {
        let (method, template) = (key.0.as_str(), key.1.as_str());
        // A version is a digest of the model's files, so each server's model has its own.
        let path_on = |server: &Server| {
            let version =
                server.get("/v2/models/m").json()["versions"][0].as_str().unwrap_or("1").to_string();
            template.replace("{model}", "m").replace("{version}", &version)
        };
        let path = path_on(&open);
        let mut note = |answer: &Answer| statuses.insert(answer.status);
        if method == "GET" {
            for server in [&open, &guarded, &failing, &unloaded] {
                note(&server.get(&path_on(server)));
            }
            note(&open.get(&unknown(template)));
            note(&open.get(&template.replace("{model}", "%ff").replace("{version}", "%ff")));
            continue;
        }
        let good = body(&path, "a good film");
        note(&open.send(method, &path, JSON, good.as_bytes()));
        note(&guarded.send(method, &path, JSON, good.as_bytes()));
        note(&open.send(method, &unknown(template), JSON, good.as_bytes()));
        if !template.contains('{') {
            note(&open.send(method, &path, JSON, good.replacen('{', r#"{"model": "other", "#, 1).as_bytes()));
        }
        note(&open.send(method, &path, JSON, b"{"));
        let packed = [JSON[0], ("content-encoding", "br")];
        note(&open.send(method, &path, &packed, good.as_bytes()));
        note(&open.send(method, &path, JSON, body(&path, "...").as_bytes()));
        note(&open.send(method, &path, JSON, body(&path, &"film ".repeat(2000)).as_bytes()));
        let mut slow = TcpStream::connect(&open.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
        );
        slow.write_all(head.as_bytes()).unwrap();
        note(&Answer::read(&mut BufReader::new(slow)).unwrap());
        if template.starts_with("/v2/repository") {
            // A server without keys and without the flag.
            note(&failing.send(method, &path, JSON, good.as_bytes()));
            continue;
        }
        // Many at once where one at a time is computed: some are refused.
        let long = body(&path, &"good film ".repeat(20_000));
        for _ in 0..20 {
            let found: Vec<u16> = std::thread::scope(|scope| {
                let ask = || busy.send(method, &path, JSON, long.as_bytes()).status;
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            statuses.extend(&found);
            if found.contains(&503) {
                break;
            }
        }
    }
    for (key, expected) in &described {
        assert_eq!(&seen[key], expected, "{key:?}: produced, described");
    }
}
