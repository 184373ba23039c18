//! Taking up what changed on disk: on SIGHUP, and by itself with `--watch`.

use std::sync::Arc;
use std::time::Duration;

use super::app::{App, AppState};

/// Reads models, keys and certificate again; what is unusable stays as it was. Blocks while it reads.
pub fn reload_all(app: &App) {
    // Keys and certificate first: they are small, and a revoked key must not wait for a model.
    let tls = app.tls.as_ref().map(|tls| tls.reload());
    for (what, outcome) in [("API keys", Some(app.keys.reload())), ("TLS certificate", tls)] {
        if let Some(Err(error)) = outcome {
            app.telemetry.config_reload_failures.inc();
            tracing::error!(%error, "{what} refused, the old ones stay");
        }
    }
    for slot in app.models().iter() {
        slot.reload();
    }
}

/// How long reading files may take before that is said, and not waited for any longer: a mount may be dead.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Waits for `reading`, but not for ever.
async fn in_time<T>(reading: tokio::task::JoinHandle<T>) -> Option<T> {
    match tokio::time::timeout(TIMEOUT, reading).await {
        Ok(outcome) => outcome.ok(),
        Err(_) => {
            let after_s = TIMEOUT.as_secs();
            tracing::error!(
                after_s,
                "reading the files does not end, what is loaded stays: is a mount dead?"
            );
            None
        }
    }
}

/// Reloads on every SIGHUP, for ever.
#[cfg(unix)]
pub async fn on_hangup(app: AppState, mut hangup: tokio::signal::unix::Signal) {
    while hangup.recv().await.is_some() {
        tracing::info!("SIGHUP: reloading");
        let app = app.clone();
        in_time(tokio::task::spawn_blocking(move || reload_all(&app))).await;
    }
}

/// Looks every `--watch-interval` whether a model directory changed, for ever.
///
/// A change is taken up when it has not gone on since the look before: a directory that is just being copied is
/// left alone until it is still. A refused one is tried again only when it changes again.
pub async fn watch(app: AppState) {
    let mut interval = tokio::time::interval(app.settings.watch_interval);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let look = |app: Arc<App>| {
        tokio::task::spawn_blocking(move || -> Vec<_> {
            app.models().iter().map(|slot| slot.fingerprint()).collect()
        })
    };
    // What was loaded, not what is there by now: it may have changed while other models were being loaded.
    let mut taken: Vec<_> = app
        .models()
        .iter()
        .map(|slot| slot.current().map_or_else(|| slot.fingerprint(), |loaded| loaded.fingerprint.clone()))
        .collect();
    let mut before = taken.clone();
    loop {
        interval.tick().await;
        let Some(now) = in_time(look(app.clone())).await else { continue };
        for index in 0..now.len() {
            if now[index] != taken[index] && now[index] == before[index] {
                taken[index] = now[index].clone();
                let app = app.clone();
                let reload = move || app.models().iter().nth(index).map_or((), |slot| slot.reload());
                in_time(tokio::task::spawn_blocking(reload)).await;
            }
        }
        before = now;
    }
}

/// Looks once a day whether the certificate expires, for ever.
pub async fn watch_certificate(app: AppState) {
    const DAY: Duration = Duration::from_secs(86_400);
    loop {
        tokio::time::sleep(DAY).await;
        if let Some(tls) = &app.tls {
            tls.tell_expiry();
        }
    }
}
