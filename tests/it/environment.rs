//! The environment as compose, Kubernetes, hosting platforms and a tired operator leave it; the health check.

use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Server, command, start, write_model};

/// The server binary with a small model, no port named, and these variables.
fn server(folder: &tempfile::TempDir, variables: &[(&str, &str)]) -> Command {
    let model = folder.path().join("m");
    if !model.exists() {
        write_model(&model, 1, 8);
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("IMDB_SENTIMENT_") || name == "PORT")
    {
        command.env_remove(name);
    }
    command.arg("--model").arg(model).envs(variables.iter().copied());
    command
}

/// The address on which it listens and what it logged until it was told to stop.
fn run(mut command: Command) -> (String, String) {
    let mut server = Server::launch(command.stderr(Stdio::piped()));
    let address = server.address.clone();
    server.signal("-TERM");
    assert_eq!(server.exit_code(), Some(0));
    let mut log = String::new();
    server.child.stderr.as_mut().unwrap().read_to_string(&mut log).unwrap();
    (address, log)
}

/// Exit code and message of a start that fails.
fn refused(mut command: Command) -> (i32, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

fn free_port() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

#[test]
fn a_variable_set_to_nothing_is_not_set() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let names = "HOST PORT MODEL WATCH WATCH_INTERVAL SHADOW SHADOW_SHARE ABSTAIN MAX_TEXTS MAX_CONNECTIONS BODY_TIMEOUT \
                 COMPUTE_THREADS CORS_ORIGINS TLS_CERT TLS_KEY LOG LOG_FORMAT LOG_REQUESTS KERNEL UDS \
                 IDLE_TIMEOUT TRUSTED_PROXIES";
    let names: Vec<String> = names.split_whitespace().map(|name| format!("IMDB_SENTIMENT_{name}")).collect();
    let mut variables: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "")).collect();
    variables.extend([("PORT", &*port), ("OTEL_EXPORTER_OTLP_ENDPOINT", ""), ("OTEL_SERVICE_NAME", "")]);
    let (address, log) = run(server(&folder, &variables));
    assert_eq!(address, format!("127.0.0.1:{port}"));
    // IMDB_SENTIMENT_LOG= once silenced the log.
    assert!(log.contains("model loaded") && !log.contains("environment:"), "{log}");
}

#[test]
fn keys_set_to_nothing_do_not_open_the_door() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["IMDB_SENTIMENT_API_KEYS", "IMDB_SENTIMENT_API_KEYS_FILE"] {
        let (code, message) = refused(server(&folder, &[(name, " "), ("PORT", "0")]));
        assert!(code != 0 && message.contains(name) && message.contains("unset it"), "{message}");
    }
}

#[test]
fn kubernetes_links_are_passed_over_and_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let (address, log) = run(server(
        &folder,
        &[
            ("IMDB_SENTIMENT_PORT", "tcp://10.96.0.5:3000"),
            ("IMDB_SENTIMENT_PORT_3000_TCP_ADDR", "10.96.0.5"),
            ("IMDB_SENTIMENT_SERVICE_HOST", "10.96.0.5"),
            ("PORT", &port),
        ],
    ));
    assert_eq!(address, format!("127.0.0.1:{port}"));
    assert_eq!(log.matches("environment:").count(), 1, "{log}");
    assert!(log.contains("enableServiceLinks"), "{log}");
}

#[test]
fn our_own_port_goes_before_the_platforms_and_a_bad_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (free_port(), free_port());
    let (address, _) = run(server(&folder, &[("IMDB_SENTIMENT_PORT", &ours), ("PORT", &theirs)]));
    assert_eq!(address, format!("127.0.0.1:{ours}"));
    let (code, message) = refused(server(&folder, &[("PORT", "soon")]));
    assert!(code != 0 && message.contains("environment variable PORT"), "{message}");
    let (code, message) = refused(server(&folder, &[("IMDB_SENTIMENT_MAX_TEXTS", "lots"), ("PORT", "0")]));
    assert!(code != 0 && message.contains("environment variable IMDB_SENTIMENT_MAX_TEXTS"), "{message}");
}

#[test]
fn switches_take_what_people_write() {
    let folder = tempfile::tempdir().unwrap();
    for (text, on) in [("1", true), ("yes", true), ("On", true), ("0", false), ("no", false), ("off", false)]
    {
        let variables = [("IMDB_SENTIMENT_LOG_REQUESTS", text), ("PORT", "0")];
        let mut server = Server::launch(server(&folder, &variables).stderr(Stdio::piped()));
        assert_eq!(server.get("/info").status, 200);
        server.signal("-TERM");
        assert_eq!(server.exit_code(), Some(0));
        let mut log = String::new();
        server.child.stderr.as_mut().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(log.contains("/info"), on, "{text}: {log}");
    }
    let (code, message) = refused(server(&folder, &[("IMDB_SENTIMENT_WATCH", "perhaps"), ("PORT", "0")]));
    assert!(code != 0 && message.contains("perhaps"), "{message}");
}

#[test]
fn a_slip_of_the_pen_is_said_once_without_its_value() {
    let folder = tempfile::tempdir().unwrap();
    let (_, log) = run(server(&folder, &[("IMDB_SENTIMENT_API_KEY", "hush"), ("PORT", "0")]));
    assert_eq!(log.matches("IMDB_SENTIMENT_API_KEY").count(), 1, "{log}");
    assert!(!log.contains("hush"), "{log}");
}

#[test]
fn outside_the_clone_the_message_names_the_flag() {
    let folder = tempfile::tempdir().unwrap();
    let (code, message) = refused({
        let mut command = command(&[]);
        command.current_dir(folder.path());
        command
    });
    assert_eq!(code, 1);
    assert!(message.contains("--model DIR") && message.contains("IMDB_SENTIMENT_MODEL"), "{message}");
}

#[test]
fn a_model_mounted_in_place_of_the_shipped_ones_is_served() {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("models"), 1, 8);
    let mut command = command(&[]);
    let server = Server::launch(command.current_dir(folder.path()).stderr(Stdio::null()));
    assert!(server.post("/predict", r#"{"text": "good film"}"#).text().contains(r#""model":"models""#));
}

/// As root every file can be read: another user is taken, where there is `setpriv`.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_may_not_be_read_is_said_with_the_user() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let pair = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    std::fs::write(&cert, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let tls = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let root =
        std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap() == 0;
    let mut command = match root {
        true => {
            // Where another user may reach it: the build folder need not be open to all.
            let binary = folder.path().join("server");
            std::fs::copy(env!("CARGO_BIN_EXE_server"), &binary).unwrap();
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65532", "--regid=65532", "--clear-groups"]).arg(binary);
            command
        }
        false => {
            std::fs::set_permissions(&key, PermissionsExt::from_mode(0o000)).unwrap();
            Command::new(env!("CARGO_BIN_EXE_server"))
        }
    };
    write_model(&folder.path().join("m"), 1, 8);
    command.arg("--port=0").arg("--model").arg(folder.path().join("m")).args(tls);
    let (code, message) = refused(command);
    assert_eq!(code, 1, "{message}");
    assert!(message.contains("permission denied for user") && message.contains("key.pem"), "{message}");
    assert!(!root || message.contains("user 65532") && message.contains("mode 600"), "{message}");
}

fn healthcheck(arguments: &[&str]) -> Option<i32> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
    command.arg("healthcheck").args(arguments).stderr(Stdio::null()).status().unwrap().code()
}

#[test]
fn the_health_check_asks_whatever_port_address_and_tls_it_was_started_with() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let pair = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    std::fs::write(&cert, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let tls =
        ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap(), "--host", "127.0.0.2"];
    let (_model, mut server) = start(&tls);
    // Other tests' servers run beside this one, so that it is picked by its port; neither TLS nor address are named.
    let port = server.address.rsplit(':').next().unwrap().to_string();
    assert_eq!(healthcheck(&["--port", &port]), Some(0));
    assert_eq!(healthcheck(&["--port", &port, "--live"]), Some(0));
    server.signal("-TERM");
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(healthcheck(&["--port", &port]), Some(1));
}

#[test]
fn a_draining_server_is_alive_and_not_ready() {
    let (_folder, server) = start(&["--shutdown-delay", "30s"]);
    let port = server.address.rsplit(':').next().unwrap().to_string();
    assert_eq!(healthcheck(&["--port", &port]), Some(0));
    server.signal("-TERM");
    let end = Instant::now() + Duration::from_secs(10);
    while healthcheck(&["--port", &port]) == Some(0) {
        assert!(Instant::now() < end, "it stays ready");
    }
    assert_eq!(healthcheck(&["--port", &port, "--live"]), Some(0));
}
