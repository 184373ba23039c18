//! Other people's protocols: each request as their clients send it, each refusal as they read it.

use crate::common::{Server, start, write_model};
use serde_json::{Value, json};

/// What `POST /predict` says of `text`: the probability of `positive`.
fn positive(server: &Server, text: &str) -> f64 {
    let body = server.post("/predict", &json!({ "text": text }).to_string()).json();
    body["probabilities"]["positive"].as_f64().unwrap()
}

fn score(labels: &Value, label: &str) -> f64 {
    let labels = labels.as_array().unwrap();
    labels.iter().find(|entry| entry["label"] == label).unwrap()["score"].as_f64().unwrap()
}

#[test]
fn text_embeddings_inference_is_answered() {
    let (_folder, server) = start(&[]);
    let expected = positive(&server, "a good film");
    let ask = |body: Value| server.post("/predict", &body.to_string());
    for inputs in [json!("a good film"), json!(["a good film"])] {
        let labels = ask(json!({ "inputs": inputs })).json();
        assert!((score(&labels, "positive") - expected).abs() < 1e-6, "{labels}");
        assert!((score(&labels, "negative") + expected - 1.0).abs() < 1e-6, "{labels}");
        assert!(labels[0]["score"].as_f64() >= labels[1]["score"].as_f64());
    }
    let batch = ask(json!({"inputs": [["a good film"], ["bad plot"]]})).json();
    assert_eq!(batch.as_array().unwrap().len(), 2);
    assert!((score(&batch[0], "positive") - expected).abs() < 1e-6, "{batch}");
    assert!((score(&batch[1], "positive") - positive(&server, "bad plot")).abs() < 1e-6, "{batch}");
    // Raw scores are log-odds.
    let raw = ask(json!({"inputs": "a good film", "raw_scores": true})).json();
    let odds = score(&raw, "positive");
    assert!((1.0 / (1.0 + (-odds).exp()) - expected).abs() < 1e-5, "{raw}");
    assert!((odds + score(&raw, "negative")).abs() < 1e-6, "{raw}");
    // Which end is cut off is obeyed, and that none may be.
    let long = "good ".repeat(20) + &"bad ".repeat(20);
    let of = |truncate: &str| {
        let body = server.post("/predict", &json!({"text": long, "truncate": truncate}).to_string()).json();
        body["probabilities"]["positive"].as_f64().unwrap()
    };
    let cut = |direction: &str| {
        ask(json!({"inputs": long, "truncate": true, "truncation_direction": direction})).json()
    };
    assert!((score(&cut("Right"), "positive") - of("head")).abs() < 1e-6);
    assert!((score(&cut("Left"), "positive") - of("tail")).abs() < 1e-6);
    ask(json!({"inputs": long, "truncate": false})).problem(422);
    for (body, word) in [
        (json!({"inputs": ["a good film", "bad plot"]}), "pair"),
        (json!({"inputs": [["a good film", "bad plot"]]}), "inputs[0]: a pair"),
        (json!({"inputs": ["a", "b", "c"]}), "[[\"first\"], [\"second\"]]"),
        (json!({"inputs": []}), "no text"),
        (json!({"inputs": [["a good film"], [3]]}), "inputs[1][0]"),
        (json!({"inputs": "a good film", "truncation_direction": "Middle"}), "truncation_direction"),
        (json!({"inputs": "a good film", "prompt_name": "query"}), "unknown field `prompt_name`"),
        (json!({"inputs": "a good film", "text": "a good film"}), "unknown field `inputs`"),
        (json!({"inputs": "..."}), "no word"),
    ] {
        let answer = ask(body);
        let detail = answer.problem(422);
        assert!(detail.contains(word), "{detail}");
        assert_eq!(answer.json()["error"], detail);
    }
    let info = server.get("/info").json();
    assert_eq!(info["model_type"]["classifier"]["id2label"], json!({"0": "negative", "1": "positive"}));
    assert_eq!(info["model_type"]["classifier"]["label2id"], json!({"negative": 0, "positive": 1}));
    assert_eq!((&info["model_id"], &info["max_input_length"]), (&json!("m"), &json!(12)));
    for number in
        ["max_client_batch_size", "max_concurrent_requests", "max_batch_tokens", "tokenization_workers"]
    {
        assert!(info[number].as_u64().unwrap() > 0, "{number}");
    }
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn hugging_face_has_its_options() {
    let (_folder, server) = start(&["--abstain", "1"]);
    let ask = |body: Value| server.post("/", &body.to_string());
    let probability = ask(json!({"inputs": "a good film"})).json();
    // It knows no third label, which the server says in its description.
    assert!(score(&probability[0], "positive") > 0.0 && probability[0].as_array().unwrap().len() == 2);
    let page = server.get("/openapi.yaml").text();
    assert!(page.contains("`--abstain` is not obeyed here"));
    let odds = ask(json!({"inputs": "a good film", "parameters": {"function_to_apply": "none"}})).json();
    let back = 1.0 / (1.0 + (-score(&odds[0], "positive")).exp());
    assert!((back - score(&probability[0], "positive")).abs() < 1e-5, "{odds}");
    for function in ["sigmoid", "softmax"] {
        let same = ask(json!({"inputs": "a good film", "parameters": {"function_to_apply": function}}));
        assert_eq!(same.json(), probability);
    }
    let detail = ask(json!({"inputs": "x", "parameters": {"function_to_apply": "tanh"}})).problem(422);
    assert!(detail.contains("parameters.function_to_apply: unknown variant `tanh`"), "{detail}");
    // Zero-shot classification, for which the same client sends the same body with labels of its own.
    let detail = ask(json!({"inputs": "x", "parameters": {"candidate_labels": ["a", "b"]}})).problem(422);
    assert!(detail.contains("parameters.candidate_labels"), "{detail}");
}

#[test]
fn open_inference_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    // A model called as a route is: the route goes first.
    let (m, stats) = (folder.path().join("m"), folder.path().join("stats"));
    write_model(&m, 1, 8);
    write_model(&stats, 2, 8);
    let server = Server::start(&["--model", m.to_str().unwrap(), "--model", stats.to_str().unwrap()]);
    assert_eq!(server.get("/v2/models").json(), json!({"models": ["m", "stats"]}));
    let config = server.get("/v2/models/m/config").json();
    assert_eq!((&config["name"], &config["max_batch_size"]), (&json!("m"), &json!(0)));
    assert_eq!(config["input"], json!([{"name": "text", "data_type": "TYPE_STRING", "dims": [-1]}]));
    assert_eq!(config["output"].as_array().unwrap().len(), 6);
    let tensor = |data: Value, parameters: Value| {
        json!({"inputs": [{"name": "text", "shape": [data.as_array().unwrap().len()], "datatype": "BYTES",
            "data": data, "parameters": parameters}]})
    };
    let infer = |body: &Value| server.post("/v2/models/m/infer", &body.to_string());
    let plain = infer(&tensor(json!(["a good film", "bad plot"]), json!({}))).json();
    infer(&tensor(json!(["..."]), json!({}))).problem(422);
    // Figures count what was asked, of one model or of all; versions are whole numbers there.
    let all = server.get("/v2/models/stats").json();
    assert_eq!(all["model_stats"].as_array().unwrap().len(), 2);
    let one = server.get("/v2/models/m/stats").json()["model_stats"][0].clone();
    assert_eq!((&one["inference_count"], &one["execution_count"]), (&json!(2), &json!(1)), "{one}");
    assert_eq!((&one["version"], &one["inference_stats"]["fail"]["count"]), (&json!("1"), &json!(1)));
    assert!(
        one["inference_stats"]["success"]["ns"].as_u64().unwrap() > 0
            && one["last_inference"].as_u64().unwrap() > 0
    );
    for name in ["queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss"] {
        assert!(one["inference_stats"][name]["ns"].is_u64(), "{name}");
    }
    assert_eq!(server.get("/v2/models/m/versions/1/stats").json()["model_stats"][0]["name"], "m");
    assert_eq!(server.get("/v2/models/m/versions/1/ready").status, 200);
    server.get("/v2/models/m/versions/2/ready").problem(404);
    // Texts in base64, by the input's parameter or the request's.
    let coded = json!(["YSBnb29kIGZpbG0=", "YmFkIHBsb3Q="]);
    let by_input = infer(&tensor(coded.clone(), json!({"content_type": "base64"}))).json();
    assert_eq!(by_input["outputs"], plain["outputs"]);
    let mut whole = tensor(coded, json!({}));
    whole["parameters"] = json!({"content_type": "base64"});
    assert_eq!(infer(&whole).json()["outputs"], plain["outputs"]);
    // Classes, the most probable one first.
    let mut classes = tensor(json!(["a good film", "bad plot"]), json!({}));
    classes["outputs"] = json!([{"name": "probabilities", "parameters": {"classification": 1}}]);
    let output = infer(&classes).json()["outputs"][0].clone();
    assert_eq!((&output["datatype"], &output["shape"]), (&json!("BYTES"), &json!([2, 1])), "{output}");
    let first: Vec<&str> = output["data"][0].as_str().unwrap().split(':').collect();
    assert!(first[0].parse::<f64>().unwrap() >= 0.5 && first.len() == 3, "{output}");
    assert_eq!(first[2], ["negative", "positive"][first[1].parse::<usize>().unwrap()]);
    // What would change the answer and is not known is refused.
    let refused = |change: &dyn Fn(&mut Value), word: &str| {
        let mut body = tensor(json!(["a good film"]), json!({}));
        change(&mut body);
        let detail = infer(&body).problem(422);
        assert!(detail.contains(word), "{detail}");
    };
    refused(&|body| body["inputs"][0]["parameters"] = json!({"content_type": "np"}), "`np`");
    refused(
        &|body| body["inputs"][0]["parameters"] = json!({"content_type": "base64"}),
        "data[0]: not base64",
    );
    refused(&|body| body["inputs"][0]["parameters"] = json!({"shared_memory_region": "x"}), "shared memory");
    refused(&|body| body["parameters"] = json!({"sequence_id": 7}), "sequence_id");
    for parameters in [
        json!({"classification": 1}),
        json!({"shared_memory_region": "x"}),
        json!({"content_type": "base64"}),
    ] {
        refused(&|body| body["outputs"] = json!([{"name": "label", "parameters": parameters}]), "");
    }
}

#[test]
fn errors_under_v2_have_an_error_whatever_layer_they_come_from() {
    let (_folder, server) = start(&["--api-key", "k", "--max-body-bytes", "1000"]);
    let key = [("authorization", "Bearer k"), ("content-type", "application/json")];
    let send = |method: &str, path: &str, body: &[u8]| server.send(method, path, &key, body);
    let infer = "/v2/models/m/infer";
    for (status, answer) in [
        (401, server.get("/v2/models/m")),
        (401, server.post(infer, "{}")),
        (404, send("GET", "/v2/nothing", b"")),
        (404, send("GET", "/v2/models/other", b"")),
        (404, send("GET", "/v2/models/m/versions/9", b"")),
        (404, send("GET", "/v2/models/m/nothing/at/all", b"")),
        (405, send("GET", infer, b"")),
        (405, send("PUT", "/v2/models/m", b"{}")),
        (400, send("POST", infer, b"{")),
        (400, send("GET", "/v2/models/%ff", b"")),
        (413, send("POST", infer, &[b' '; 2000])),
        (415, server.send("POST", infer, &[key[0], ("content-encoding", "br")], b"{}")),
        (422, send("POST", infer, b"{}")),
    ] {
        let detail = answer.problem(status);
        assert_eq!(answer.json()["error"], detail);
    }
}

#[test]
fn the_repository_is_for_those_with_a_key_or_by_a_flag() {
    let (_folder, open) = start(&[]);
    for nothing in ["", "{}", "null"] {
        assert_eq!(open.post("/v2/repository/index", nothing).json()[0]["state"], "READY");
    }
    for what in ["load", "unload"] {
        let detail = open.post(&format!("/v2/repository/models/m/{what}"), "").problem(403);
        assert!(detail.contains("--repository-control"), "{detail}");
    }
    let (_folder, guarded) = start(&["--api-key", "k"]);
    guarded.post("/v2/repository/models/m/unload", "").problem(401);
    let key = [("authorization", "Bearer k")];
    assert_eq!(guarded.send("POST", "/v2/repository/models/m/load", &key, b"").status, 200);

    let (folder, server) = start(&["--repository-control"]);
    let before = positive(&server, "good film");
    let control = |what: &str, body: &str| server.post(&format!("/v2/repository/models/{what}"), body);
    control("other/load", "{}").problem(404);
    control("m/load", r#"{"parameters": {"config": "{}"}}"#).problem(422);
    control("m/load", "{").problem(400);
    // What changed in the directory is taken up.
    write_model(&folder.path().join("m"), 2, 8);
    assert_eq!(control("m/load", "{}").status, 200);
    assert_ne!(positive(&server, "good film"), before);
    // What cannot be loaded leaves what was there.
    let weights = folder.path().join("m/model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..100]).unwrap();
    let detail = control("m/load", "").problem(422);
    assert!(detail.contains("refused") && !detail.contains(folder.path().to_str().unwrap()), "{detail}");
    assert_eq!(server.post("/predict", r#"{"text": "good film"}"#).status, 200);
    std::fs::write(&weights, bytes).unwrap();
    // An unloaded model answers nothing until it is loaded again.
    assert_eq!(control("m/unload", r#"{"parameters": {"unload_dependents": false}}"#).status, 200);
    server.post("/predict", r#"{"text": "good film"}"#).problem(503);
    server.get("/v2/models/m/ready").problem(503);
    let index = server.post("/v2/repository/index", "{}").json();
    assert_eq!(
        (&index[0]["state"], &index[0]["reason"]),
        (&json!("UNAVAILABLE"), &json!("model `m` is unloaded"))
    );
    assert_eq!(server.post("/v2/repository/index", r#"{"ready": true}"#).json(), json!([]));
    server.get("/v2/models/m").problem(503);
    server.get("/v1/models/m").problem(503);
    assert_eq!(server.get("/v1/models").json()["data"], json!([]));
    assert_eq!(server.get("/v2/models/m/stats").status, 200);
    assert_eq!(server.get("/health/ready").status, 200);
    assert_eq!(control("m/unload", "").status, 200);
    // Neither does a signal bring it back, nor what cannot be loaded.
    server.signal("-HUP");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..100]).unwrap();
    control("m/load", "").problem(422);
    server.post("/predict", r#"{"text": "good film"}"#).problem(503);
    std::fs::write(&weights, bytes).unwrap();
    assert_eq!(control("m/load", "").status, 200);
    assert_eq!(server.post("/predict", r#"{"text": "good film"}"#).status, 200);
}

#[cfg(target_os = "linux")]
#[test]
fn an_unloaded_model_gives_its_memory_back() {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let (large, small) = (format!("{}/imdb", models.display()), format!("{}/keras-imdb", models.display()));
    let server = Server::start(&["--repository-control", "--model", &small, "--model", &large]);
    let memory = |server: &Server| server.metric("process_resident_memory_bytes");
    let ask = || server.post("/predict", r#"{"text": "a good film", "model": "imdb"}"#);
    let busy = json!({"texts": vec!["a good film ".repeat(150); 1000]}).to_string();
    let answer = ask();
    // What large requests take besides is there from the start.
    (0..10).for_each(|_| drop(server.post("/predict", &busy)));
    let loaded = memory(&server);
    let mut given_back = false;
    for round in 0..15 {
        if given_back && round >= 3 {
            break;
        }
        assert_eq!(server.post("/v2/repository/models/imdb/unload", "").status, 200);
        // The allocator gives back what has been free for a second when it is asked for more, and not always all of it.
        given_back |= (0..20).any(|_| {
            server.post("/predict", &busy);
            std::thread::sleep(std::time::Duration::from_millis(100));
            memory(&server) < loaded - 20e6
        });
        ask().problem(503);
        assert_eq!(server.get("/info").json()["models"].as_array().unwrap().len(), 1);
        assert_eq!(server.post("/v2/repository/models/imdb/load", "").status, 200);
        assert_eq!(ask().body, answer.body);
    }
    assert!(given_back, "{} of {loaded}", memory(&server));
    assert!(memory(&server) < loaded + 60e6, "{} after some loads, {loaded} before", memory(&server));
}

#[test]
fn what_a_model_computes_in_is_told() {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    for (model, flag, told) in
        [("imdb", None, "int8"), ("imdb", Some("f32"), "float32"), ("keras-imdb", None, "float32")]
    {
        let path = models.join(model).display().to_string();
        let precision = flag.map_or(vec![], |flag| vec!["--recurrent-precision", flag]);
        let server = Server::start(&[&["--model", &path][..], &precision].concat());
        assert_eq!(server.get("/info").json()["model_dtype"], told, "{model} {flag:?}");
    }
}

#[test]
fn vllm_and_sagemaker_are_answered() {
    let (_folder, server) = start(&[]);
    let expected = positive(&server, "a good film");
    for path in ["/classify", "/v1/classify"] {
        let ask = |body: Value| server.post(path, &body.to_string());
        let answer = ask(json!({"input": ["a good film", "bad plot"], "model": "m", "user": "u"})).json();
        assert_eq!((&answer["object"], &answer["model"]), (&json!("list"), &json!("m")));
        assert!(answer["id"].as_str().unwrap().starts_with("classify-") && answer["created"].is_u64());
        let first = &answer["data"][0];
        assert!((first["probs"][1].as_f64().unwrap() - expected).abs() < 1e-6, "{answer}");
        assert_eq!(first["label"], if expected >= 0.5 { "positive" } else { "negative" });
        assert_eq!((&first["num_classes"], &answer["data"][1]["index"]), (&json!(2), &json!(1)));
        let tokens = answer["usage"]["prompt_tokens"].as_u64().unwrap();
        assert!(tokens > 4 && answer["usage"]["total_tokens"] == tokens, "{answer}");
        let single = ask(json!({"input": "a good film", "activation": false})).json();
        let odds = single["data"][0]["probs"][1].as_f64().unwrap();
        assert!((1.0 / (1.0 + (-odds).exp()) - expected).abs() < 1e-5, "{single}");
        ask(json!({"input": "a good film", "model": "other"})).problem(404);
        for (body, word) in [
            (json!({}), "`input`"),
            (json!({"text": ["a good film"]}), "`input`"),
            (json!({"messages": [{"role": "user", "content": "a good film"}]}), "messages"),
            (json!({"input": [1, 2, 3]}), "input[0]: invalid type: integer `1`"),
            (json!({"input": "a good film", "truncate_prompt_tokens": 5}), "truncate_prompt_tokens"),
        ] {
            assert!(ask(body).problem(422).contains(word), "{word}");
        }
    }
    let models = server.get("/v1/models").json();
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("m")));
    assert_eq!(models["data"][0]["max_model_len"], 12);
    assert_eq!(server.get("/v1/models/m").json(), models["data"][0]);
    server.get("/v1/models/other").problem(404);

    assert_eq!(server.get("/ping").status, 200);
    let invoke = |body: Value| server.post("/invocations", &body.to_string()).json();
    assert_eq!(invoke(json!({"text": "a good film"}))["probabilities"]["positive"], expected);
    // As Hugging Face's containers: a list is a list of texts, never a pair.
    let lists = invoke(json!({"inputs": ["a good film", "bad plot"], "parameters": {"top_k": 1}}));
    assert_eq!((lists.as_array().unwrap().len(), lists[0].as_array().unwrap().len()), (2, 1));
    let lines = server.send(
        "POST",
        "/invocations",
        &[("content-type", "application/jsonlines")],
        b"{\"text\": \"a good film\"}\n",
    );
    assert_eq!(lines.status, 200);
}

#[test]
fn a_bad_text_costs_itself_alone_where_that_is_asked_for() {
    // On the spot and on the compute threads.
    for budget in ["0s", "1s"] {
        let (_folder, server) = start(&["--inline-budget", budget]);
        let ask = |body: &Value| server.post("/predict", &body.to_string());
        let mut texts = vec![json!("a good film"); 1000];
        texts[500] = json!("...");
        let mut body = json!({"texts": texts, "on_error": "report", "ids": (0..1000).collect::<Vec<_>>()});
        let answer = ask(&body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!((&answer["failed"], &answer["model"]), (&json!(1), &json!("m")));
        let alone = ask(&json!({"text": "a good film", "id": "x"})).json();
        assert_eq!(alone["id"], "x");
        for (index, one) in answer["predictions"].as_array().unwrap().iter().enumerate() {
            assert_eq!(one["id"], index);
            if index == 500 {
                assert_eq!(
                    (&one["status"], &one["index"], one.get("label")),
                    (&json!(422), &json!(500), None)
                );
                assert_eq!(one["type"], "urn:imdb-sentiment:problem:no-words");
            } else {
                assert_eq!(one["probabilities"], alone["probabilities"]);
            }
        }
        // The same without it is refused, and with nothing wrong nothing fails.
        body["on_error"] = json!("refuse");
        assert_eq!(ask(&body).json()["index"], 500);
        body["on_error"] = json!("report");
        body["texts"][500] = json!("bad plot");
        assert_eq!(ask(&body).json()["failed"], 0);
        // Every kind of bad text, with what words and sentences say of the others.
        let long = "good ".repeat(40);
        let texts = json!([null, "a good film. bad plot.", "", 7, long, {"text": "x"}, "bad plot", ["x"]]);
        let body = json!({"texts": texts, "on_error": "report", "truncate": "error", "explain": true, "sentences": true});
        let answer = ask(&body).json();
        assert_eq!(answer["failed"], 6, "{answer}");
        let kinds: Vec<Option<&str>> = answer["predictions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["type"].as_str().and_then(|kind| kind.rsplit(':').next()))
            .collect();
        let (type_, words, length) = (Some("invalid-fields"), Some("no-words"), Some("text-too-long"));
        assert_eq!(kinds, [type_, None, words, type_, length, type_, None, type_]);
        let explained =
            ask(&json!({"text": "a good film. bad plot.", "explain": true, "sentences": true})).json();
        assert_eq!(answer["predictions"][1]["words"], explained["words"]);
        assert_eq!(answer["predictions"][1]["sentences"], explained["sentences"]);
        assert_eq!(answer["predictions"][6]["words"].as_array().unwrap().len(), 2);
        // Nothing but bad ones.
        let none = ask(&json!({"texts": ["", null], "on_error": "report"})).json();
        assert_eq!(none["failed"], 2, "{none}");
        for body in [
            json!({"text": "a good film", "on_error": "report"}),
            json!({"texts": ["a good film"], "on_error": "pass"}),
            json!({"texts": ["a good film"], "ids": [1, 2]}),
            json!({"texts": ["a good film"], "id": 1}),
            json!({"text": "a good film", "ids": [1]}),
            json!({"text": "a good film", "id": [1]}),
            json!({"text": "a good film", "id": "x".repeat(257)}),
            json!({"texts": [], "on_error": "report"}),
        ] {
            ask(&body).problem(422);
        }
    }
}
