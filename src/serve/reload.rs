//! Taking up what changed on disk: on SIGHUP, and by itself with `--watch`.

use std::sync::Arc;

use super::app::{App, AppState};

/// Reads models, keys and certificate again; what is unusable stays as it was. Blocks while it reads.
pub fn reload_all(app: &App) {
    for slot in app.models().iter() {
        slot.reload();
    }
    let tls = app.tls.as_ref().map(|tls| tls.reload());
    for (what, outcome) in [("API keys", Some(app.keys.reload())), ("TLS certificate", tls)] {
        if let Some(Err(error)) = outcome {
            app.telemetry.config_reload_failures.inc();
            tracing::error!(%error, "{what} refused, the old ones stay");
        }
    }
}

/// Reloads on every SIGHUP, for ever.
#[cfg(unix)]
pub async fn on_hangup(app: AppState, mut hangup: tokio::signal::unix::Signal) {
    while hangup.recv().await.is_some() {
        tracing::info!("SIGHUP: reloading");
        let app = app.clone();
        let _ = tokio::task::spawn_blocking(move || reload_all(&app)).await;
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
    let mut taken: Vec<_> = app.models().iter().map(|slot| slot.current().fingerprint.clone()).collect();
    let mut before = taken.clone();
    loop {
        interval.tick().await;
        let Ok(now) = look(app.clone()).await else { continue };
        for index in 0..now.len() {
            if now[index] != taken[index] && now[index] == before[index] {
                taken[index] = now[index].clone();
                let app = app.clone();
                let reload = move || drop(app.models().iter().nth(index).map(|slot| slot.reload()));
                let _ = tokio::task::spawn_blocking(reload).await;
            }
        }
        before = now;
    }
}
