//! TLS over real sockets: versions, HTTP/2, and certificates that are replaced.

use std::io::BufReader;
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use crate::common::{Answer, Server, write_model, write_request};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring, version,
};

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A certificate for `localhost` that signs itself, written with its key into `folder`.
fn certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

/// A server on a small model with the certificate in `folder`.
fn start(folder: &Path) -> Server {
    write_model(&folder.join("m"), 1, 8);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
    Server::start(&["--model", &path("m"), "--tls-cert", &path("cert.pem"), "--tls-key", &path("key.pem")])
}

/// A client that trusts `certificate` alone.
fn client(
    certificate: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    protocol: &str,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    config
}

fn localhost() -> ServerName<'static> {
    "localhost".try_into().unwrap()
}

fn connect(server: &Server, config: ClientConfig) -> Stream {
    let connection = ClientConnection::new(Arc::new(config), localhost()).unwrap();
    StreamOwned::new(connection, TcpStream::connect(&server.address).unwrap())
}

fn get(stream: &mut Stream, path: &str) -> Option<Answer> {
    write_request(stream, "GET", path, &[], b"");
    Answer::read(&mut BufReader::new(stream))
}

#[test]
fn both_versions_are_spoken_and_no_plain_text() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certificate(folder.path());
    let server = start(folder.path());
    for (only, name) in
        [(&version::TLS12, ProtocolVersion::TLSv1_2), (&version::TLS13, ProtocolVersion::TLSv1_3)]
    {
        let mut stream = connect(&server, client(&certificate, &[only], "http/1.1"));
        let answer = get(&mut stream, "/health").unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.headers["strict-transport-security"].starts_with("max-age="));
        assert_eq!(stream.conn.protocol_version(), Some(name));
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    let mut plain = TcpStream::connect(&server.address).unwrap();
    write_request(&mut plain, "GET", "/health", &[], b"");
    assert!(Answer::read(&mut BufReader::new(plain)).is_none_or(|answer| answer.status != 200));

    let port = server.address.rsplit(':').next().unwrap();
    let check = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_server"));
        command.args(["healthcheck", "--port", port]).args(more).stderr(Stdio::null()).status().unwrap()
    };
    assert!(check(&["--tls-cert", folder.path().join("cert.pem").to_str().unwrap()]).success());
    // The server's own command line tells of TLS.
    assert!(check(&[]).success());
}

#[test]
fn http_2_is_agreed_on_and_carries_several_requests_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certificate(folder.path());
    let server = start(folder.path());
    let config = Arc::new(client(&certificate, &[&version::TLS13], "h2"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(&server.address).await.unwrap();
        let stream = TlsConnector::from(config).connect(localhost(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        let mut answers = Vec::new();
        for text in ["good film", "bad plot"] {
            let request = axum::http::Request::post(format!("https://{}/predict", server.address))
                .header("content-type", "application/json")
                .body(())
                .unwrap();
            let (answer, mut body) = client.send_request(request, false).unwrap();
            body.send_data(serde_json::json!({ "text": text }).to_string().into(), true).unwrap();
            answers.push(answer);
        }
        for answer in answers {
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200);
            let mut bytes = Vec::new();
            let mut body = answer.into_body();
            while let Some(piece) = body.data().await {
                bytes.extend_from_slice(&piece.unwrap());
            }
            let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(json["model"], "m");
        }
    });
}

#[test]
fn a_certificate_is_replaced_without_a_restart_and_a_bad_one_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let first = certificate(folder.path());
    let server = start(folder.path());
    let trusting = |certificate: &CertificateDer<'static>| {
        connect(&server, client(certificate, &[&version::TLS13], "http/1.1"))
    };
    let mut open = trusting(&first);
    assert_eq!(get(&mut open, "/health").unwrap().status, 200);

    let second = certificate(folder.path());
    server.signal("-HUP");
    server.wait_until("the new certificate", |_| get(&mut trusting(&second), "/health").is_some());
    assert!(get(&mut trusting(&first), "/health").is_none(), "the old one is still shown");
    // Whoever is connected stays so.
    assert_eq!(get(&mut open, "/health").unwrap().status, 200);

    std::fs::write(folder.path().join("key.pem"), "no key").unwrap();
    server.signal("-HUP");
    server.wait_until("the refusal", |_| {
        let metrics = get(&mut trusting(&second), "/metrics").unwrap().text();
        metrics.lines().any(|line| line == "imdb_sentiment_config_reload_failures_total 1")
    });
    assert_eq!(get(&mut trusting(&second), "/health").unwrap().status, 200);
}

#[test]
fn an_expired_certificate_does_not_take_the_place_of_a_valid_one() {
    let folder = tempfile::tempdir().unwrap();
    let valid = certificate(folder.path());
    let server = start(folder.path());
    let mut expired = rcgen::CertificateParams::new(["localhost".to_string()]).unwrap();
    expired.not_before = rcgen::date_time_ymd(2020, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2020, 2, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(folder.path().join("cert.pem"), expired.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    server.signal("-HUP");
    let ask = |path: &str| {
        get(&mut connect(&server, client(&valid, &[&version::TLS13], "http/1.1")), path).expect("still valid")
    };
    server.wait_until("the refusal", |_| {
        ask("/metrics").text().lines().any(|line| line == "imdb_sentiment_config_reload_failures_total 1")
    });
    assert_eq!(ask("/health").status, 200);
}
